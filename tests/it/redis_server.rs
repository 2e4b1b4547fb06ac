//! A real Redis for tests, with everything needed to break it.

use std::sync::Arc;

use futures_util::future::{join, join_all, join3};
use locklab::embedded::{self, Embedded};
use locklab_locks::wires::redlock::VOTER_KEY;
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
};

use crate::{
    etcd_server::Etcd,
    server::Server,
    sql_servers::{MySql, Postgres},
    zookeeper_server::ZooKeeper,
};

/// A private Redis that several servers can share.
#[derive(Clone)]
pub struct Redis(Arc<Embedded>);

impl Redis {
    pub async fn start() -> Self {
        let redis = embedded::redis::start().await;
        Self(Arc::new(redis.expect("the tests need a real redis-server; `make test` installs it")))
    }

    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Makes it hang: it keeps its connections and answers nothing.
    pub fn hang(&self) {
        self.0.signal(Signal::SIGSTOP).expect("redis runs");
    }

    /// Ends a hang.
    pub fn wake(&self) {
        self.0.signal(Signal::SIGCONT).expect("redis runs");
    }

    pub async fn connect(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Sends one command and returns its reply.
    pub async fn send<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        cmd.query_async(&mut self.connect().await).await.unwrap()
    }

    /// Whether the product's lock exists.
    pub async fn is_locked(&self, product: &str) -> bool {
        let keys = [format!("lock:{product}"), format!("lock:postgres/{product}")];
        self.send::<i64>(&["EXISTS", &keys[0], &keys[1]]).await > 0
    }
}

/// What Redis is told, in its own words.
pub struct Monitor(Lines<BufReader<TcpStream>>);

impl Monitor {
    pub async fn start(redis: &Redis) -> Self {
        let address = redis.url().trim_start_matches("redis://").to_owned();
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"MONITOR\r\n").await.unwrap();
        let mut lines = BufReader::new(socket).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("+OK"));
        Self(lines)
    }

    /// The commands since the last question that name the lock of a product, also those inside of scripts.
    pub async fn named(&mut self, redis: &Redis, product: &str) -> Vec<String> {
        let (mut named, key) = (Vec::new(), format!("\"lock:{product}\""));
        let () = redis.send(&["ECHO", "so far"]).await;
        loop {
            let line = self.0.next_line().await.unwrap().unwrap();
            if line.contains("\"so far\"") {
                return named;
            }
            if line.contains(&key) {
                named.push(line);
            }
        }
    }
}

/// The nodes of Redlock, all of which vote.
pub async fn voters() -> Vec<Redis> {
    let nodes = join_all((0..5).map(|_| Redis::start())).await;
    for node in &nodes {
        // They are new, and nobody but the test knows.
        node.send::<()>(&["SET", VOTER_KEY, "1"]).await;
    }
    nodes
}

/// Every server that any strategy needs, for several locklabs to share.
pub struct Farm {
    pub redis: Redis,
    /// The nodes of Redlock.
    pub nodes: Vec<Redis>,
    pub etcd: Etcd,
    pub zookeeper: ZooKeeper,
    pub postgres: Postgres,
    pub mysql: MySql,
}

impl Farm {
    pub async fn start() -> Self {
        let servers = join3(Redis::start(), voters(), Etcd::start(1));
        let databases = join(Postgres::shared(), MySql::shared());
        let ((redis, nodes, etcd), (postgres, mysql)) = join(servers, databases).await;
        Self { redis, nodes, etcd, zookeeper: ZooKeeper::shared(), postgres, mysql }
    }

    /// A Redis, and the nodes of Redlock.
    pub async fn voting() -> Self {
        Self { nodes: voters().await, ..Self::bare(Redis::start().await) }
    }

    /// Only a Redis.
    pub fn bare(redis: Redis) -> Self {
        let (etcd, zookeeper) = (Etcd::absent(), ZooKeeper::absent());
        let (postgres, mysql) = (Postgres::absent(), MySql::absent());
        Self { redis, nodes: Vec::new(), etcd, zookeeper, postgres, mysql }
    }

    /// Whether the product's lock exists, at any of them.
    pub async fn is_locked(&self, product: &str) -> bool {
        let servers = self.nodes.iter().chain([&self.redis]);
        let in_redis = join_all(servers.map(|redis| redis.is_locked(product))).await;
        in_redis.contains(&true)
            || !self.etcd.keys(product).await.is_empty()
            || !self.zookeeper.nodes(product).await.is_empty()
            || self.postgres.is_locked(product).await
            || self.mysql.is_locked(product).await
    }

    /// Where the nodes are, as a flag takes it.
    pub fn redlock_urls(&self) -> String {
        self.nodes.iter().map(Redis::url).collect::<Vec<_>>().join(",")
    }

    /// A locklab that uses all of it.
    pub fn server(&self, arguments: &[&str]) -> Server {
        self.server_at(&self.redis.url(), arguments)
    }

    /// The same, with its Redis behind something.
    pub fn server_at(&self, redis_url: &str, arguments: &[&str]) -> Server {
        let (nodes, members) = (self.redlock_urls(), self.etcd.endpoints());
        let mut all = vec!["--redis-url", redis_url, "--redlock-urls", &nodes];
        all.extend(["--etcd-endpoints", &members, "--zookeeper-hosts", &self.zookeeper.hosts]);
        all.extend(["--postgres-url", &self.postgres.url, "--mysql-url", &self.mysql.url]);
        // A busy machine is no fault.
        for (timeout, patient) in [
            ("--redlock-timeout", "5s"),
            ("--etcd-timeout", "5s"),
            ("--zookeeper-timeout", "5s"),
            ("--zookeeper-session-timeout", "10s"),
            ("--sql-timeout", "10s"),
        ] {
            if !arguments.contains(&timeout) {
                all.extend([timeout, patient]);
            }
        }
        Server::start(&[&all, arguments].concat())
    }
}
