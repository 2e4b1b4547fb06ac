//! A TCP proxy in front of Redis that can hold one connection's commands back at a chosen one: how
//! a network delays, and how a process dies, between two commands.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What the proxy does with commands.
#[derive(Clone, Debug)]
enum Rule {
    /// Passes everything on.
    Pass,
    /// Holds back, for every connection that sends this text, the chunk that contains it and all
    /// that follows.
    HoldAt(&'static str),
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
                    let (from_client, mut to_client) = client.into_split();
                    let (mut from_server, to_server) = server.into_split();
                    let back = tokio::io::copy(&mut from_server, &mut to_client);
                    tokio::join!(forward(from_client, to_server, rules, count), back).1.ok();
                });
            }
        });
        Self { url, rule, held }
    }

    /// From now on, holds back every connection that sends this text.
    pub fn hold_at(&self, text: &'static str) {
        self.rule.send_replace(Rule::HoldAt(text));
    }

    /// Waits until a connection is held.
    pub async fn held(&self) {
        self.held.subscribe().wait_for(|held| *held > 0).await.unwrap();
    }

    /// Lets everything pass, what was held included.
    pub fn pass(&self) {
        self.rule.send_replace(Rule::Pass);
    }
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut rules: watch::Receiver<Rule>,
    held: watch::Sender<usize>,
) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        // A client that closes while it is held has sent what it sent: that is still delivered.
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        let text = String::from_utf8_lossy(&chunk[..length]).into_owned();
        let hold = matches!(&*rules.borrow(), Rule::HoldAt(at) if text.contains(at));
        if hold {
            held.send_modify(|held| *held += 1);
            if rules.wait_for(|rule| matches!(rule, Rule::Pass)).await.is_err() {
                return;
            }
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
