//! A TCP proxy in front of Redis that can hold one connection's commands back at a chosen one, or
//! the replies: how a network delays, and how a process dies, between two commands.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What the proxy does with commands.
#[derive(Clone, Debug)]
enum Rule {
    /// Passes everything on.
    Pass,
    /// Holds back, for every connection that sends this text, the chunk that contains it and all
    /// that follows; but first lets that many of them through.
    HoldAt(String, Arc<AtomicUsize>),
    /// Passes commands on, and holds back the replies to those that contain this text.
    HoldReplyTo(&'static str),
    /// Ends every connection that is held, and passes everything else on.
    Cut,
}

impl Rule {
    fn holds_nothing(&self) -> bool {
        matches!(self, Self::Pass | Self::Cut)
    }
}

/// A running proxy.
pub struct Proxy {
    pub url: String,
    rule: watch::Sender<Rule>,
    /// How many connections are held.
    held: watch::Sender<usize>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to that Redis.
    pub async fn start(redis: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let target: Arc<str> = redis.trim_start_matches("redis://").into();
        let (rule, rules) = watch::channel(Rule::Pass);
        let held = watch::Sender::new(0);
        let count = held.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, rules, count) = (Arc::clone(&target), rules.clone(), count.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(&*target).await else { return };
                    client.set_nodelay(true).ok();
                    server.set_nodelay(true).ok();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let mute = watch::Sender::new(false);
                    let back =
                        answer(from_server, to_client, rules.clone(), count.clone(), mute.clone());
                    tokio::join!(forward(from_client, to_server, rules, count, mute), back);
                });
            }
        });
        Self { url, rule, held }
    }

    /// From now on, holds back every connection that sends this text.
    pub fn hold_at(&self, text: &str) {
        self.hold_after(0, text);
    }

    /// The same, from the first chunk with this text after that many others with it.
    pub fn hold_after(&self, others: usize, text: &str) {
        self.rule.send_replace(Rule::HoldAt(text.to_owned(), Arc::new(others.into())));
    }

    /// From now on, a connection that sends this text gets no more replies.
    pub fn hold_reply_to(&self, text: &'static str) {
        self.rule.send_replace(Rule::HoldReplyTo(text));
    }

    /// Waits until a connection is held.
    pub async fn held(&self) {
        self.held.subscribe().wait_for(|held| *held > 0).await.unwrap();
    }

    /// Lets everything pass, what was held included.
    pub fn pass(&self) {
        self.rule.send_replace(Rule::Pass);
    }

    /// Ends every connection that is held, what was held with it, and lets everything else pass.
    pub fn cut(&self) {
        self.rule.send_replace(Rule::Cut);
    }

    /// Lets everything pass, and waits until nothing is held any more.
    pub async fn drain(&self) {
        self.pass();
        self.held.subscribe().wait_for(|held| *held == 0).await.unwrap();
    }
}

/// Waits, counted as held, until everything may pass. False: the connection is to end instead.
async fn hold(rules: &mut watch::Receiver<Rule>, held: &watch::Sender<usize>) -> bool {
    held.send_modify(|held| *held += 1);
    // Fails only when the proxy is gone, and nobody waits for anything then.
    let is_cut =
        rules.wait_for(Rule::holds_nothing).await.is_ok_and(|rule| matches!(*rule, Rule::Cut));
    held.send_modify(|held| *held -= 1);
    !is_cut
}

/// Passes commands on; tells `mute` when their replies are to be held back.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut rules: watch::Receiver<Rule>,
    held: watch::Sender<usize>,
    mute: watch::Sender<bool>,
) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        // A client that closes while it is held has sent what it sent: that is still delivered.
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        let text = String::from_utf8_lossy(&chunk[..length]).into_owned();
        let is_held = match &*rules.borrow() {
            Rule::HoldAt(at, others) => {
                let others = || others.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
                text.contains(at.as_str()) && others().is_err()
            }
            Rule::HoldReplyTo(at) => {
                if text.contains(at) {
                    mute.send_replace(true);
                }
                false
            }
            Rule::Pass | Rule::Cut => false,
        };
        if is_held && !hold(&mut rules, &held).await {
            return;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// Passes replies back, except while they are to be held.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut rules: watch::Receiver<Rule>,
    held: watch::Sender<usize>,
    mute: watch::Sender<bool>,
) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        if mute.send_replace(false) && !hold(&mut rules, &held).await {
            return;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
