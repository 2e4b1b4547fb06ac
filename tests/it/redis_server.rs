//! A real Redis for tests, with everything needed to break it.

use std::sync::Arc;

use locklab::backends::embedded::EmbeddedRedis;
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
};

/// A private Redis that several servers can share.
#[derive(Clone)]
pub struct Redis(Arc<EmbeddedRedis>);

impl Redis {
    pub async fn start() -> Self {
        let redis = EmbeddedRedis::start().await;
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
        self.send(&["EXISTS", &format!("lock:{product}")]).await
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
