//! A real ZooKeeper for tests, with everything needed to break it. It takes a Java machine, so all tests
//! share one that need not break it: each below a root of its own, so that their products do not meet.

use locklab::{
    embedded::{self, Embedded},
    measure::exporter::Exporter,
};
use locklab_locks::{
    token::Token,
    wires::{
        metrics::Wire,
        zookeeper::{ZooKeeperClient, ZooKeeperOptions},
    },
};
use std::{
    sync::{Arc, LazyLock, mpsc},
    thread,
};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    sync::OnceCell,
    time::Duration,
};
use zookeeper_client::{Acls, Client, CreateMode};

/// Where the shared one is.
static SHARED: LazyLock<String> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel();
    // Every test has a runtime, and it outlives them all: its guard ends it with this process.
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = start().await;
            sender.send(server.address().to_string()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
});

async fn start() -> Embedded {
    let server = embedded::zookeeper::start().await;
    server.expect("the tests need a real ZooKeeper; `make test` installs it")
}

/// A ZooKeeper, and a root in it.
#[derive(Clone)]
pub struct ZooKeeper {
    /// As a flag takes it.
    pub hosts: String,
    /// The server, if it is not shared.
    server: Option<Arc<Embedded>>,
    client: Arc<OnceCell<Client>>,
}

impl ZooKeeper {
    /// A root that nobody else has, in the one that is shared.
    pub fn shared() -> Self {
        let hosts = format!("{}/{}", *SHARED, Token::random().as_str());
        Self { hosts, server: None, client: Arc::default() }
    }

    /// One that may be broken.
    pub async fn start() -> Self {
        let server = start().await;
        let hosts = server.address().to_string();
        Self { hosts, server: Some(Arc::new(server)), client: Arc::default() }
    }

    /// None, for a test that needs none.
    pub fn absent() -> Self {
        Self { hosts: String::new(), server: None, client: Arc::default() }
    }

    /// Where the server is, without the root.
    pub fn address(&self) -> &str {
        self.hosts.split('/').next().unwrap()
    }

    /// Sends it a signal: STOP hangs it, CONT ends that, KILL is a crash.
    pub fn signal(&self, signal: Signal) {
        let server = self.server.as_ref().expect("only one that is not shared may be broken");
        server.signal(signal).expect("it runs");
    }

    /// What Locklab's strategies use.
    pub async fn open(&self, metrics: &Exporter) -> Result<Arc<ZooKeeperClient>, String> {
        let options = ZooKeeperOptions {
            hosts: self.hosts.parse().map_err(|_| "this test needs none")?,
            timeout: Duration::from_secs(5),
            session_timeout: Duration::from_secs(10),
        };
        let client =
            ZooKeeperClient::connect(options, metrics.backend(Wire::ZooKeeper, "zookeeper")).await;
        assert!(client.is_up());
        Ok(Arc::new(client))
    }

    /// A session of our own.
    pub async fn client(&self) -> &Client {
        let open = async || {
            let client = Client::connect(self.address()).await.unwrap();
            let Some((_, root)) = self.hosts.split_once('/') else { return client };
            let root = format!("/{root}");
            let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
            client.mkdir(&root, &options).await.unwrap();
            client.chroot(root).unwrap()
        };
        self.client.get_or_init(open).await
    }

    /// The nodes of those who hold or want the product's lock, the oldest first.
    pub async fn nodes(&self, product: &str) -> Vec<String> {
        if self.hosts.is_empty() {
            return Vec::new();
        }
        let listed = self.client().await.list_children(&format!("/locklab/{product}")).await;
        let mut names = listed.unwrap_or_default();
        names.sort_by_key(|name| name.rsplit(['-', '_']).next().unwrap().to_owned());
        names
    }

    /// Makes a node of a contender by hand.
    pub async fn contend(&self, product: &str, prefix: &str) -> String {
        let (client, parent) = (self.client().await, format!("/locklab/{product}"));
        let (parents, node) = (CreateMode::Container, CreateMode::EphemeralSequential);
        client.mkdir(&parent, &parents.with_acls(Acls::anyone_all())).await.unwrap();
        let path = format!("{parent}/{prefix}");
        let made = client.create(&path, &[], &node.with_acls(Acls::anyone_all())).await;
        format!("{path}{}", made.unwrap().1)
    }

    /// What the server says to one of its four letter words.
    pub async fn ask(&self, word: &str) -> String {
        let mut socket = TcpStream::connect(self.address()).await.unwrap();
        socket.write_all(word.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }
}
