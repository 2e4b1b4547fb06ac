//! Locklab servers for tests: the real binary in its own process, on a free port.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::Duration,
};

use futures_util::future::{join, join_all};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{HeaderName, HeaderValue},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    openapi::Contract,
    sql_servers::{MySql, Postgres},
    zookeeper_server::ZooKeeper,
};

/// A running `locklab`; killed when dropped.
pub struct Server {
    child: Child,
    /// What it logs, until somebody takes it.
    pub log: Option<ChildStderr>,
    pub url: String,
    /// The Redis that it printed.
    pub redis: String,
    client: Client,
    /// Nobody else's, for as long as this runs.
    mysql: Option<MySql>,
}

impl Server {
    /// Starts `locklab` with these arguments on a free port, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        let mut server = Self::start_unread(arguments);
        // Read, so that the pipe never fills up.
        let mut log = server.log.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        server
    }

    /// The same, with private servers for every strategy.
    pub async fn full(arguments: &[&str]) -> Self {
        let zookeeper = ZooKeeper::shared();
        let (postgres, mysql) = join(Postgres::shared(), MySql::shared()).await;
        let all = ["--embed", "all", "--zookeeper-hosts", &zookeeper.hosts];
        let databases = ["--postgres-url", &postgres.url, "--mysql-url", &mysql.url];
        // A busy machine is no fault.
        let patient = [
            ["--redlock-timeout", "5s"],
            ["--etcd-timeout", "5s"],
            ["--zookeeper-timeout", "5s"],
            ["--zookeeper-session-timeout", "10s"],
            ["--sql-timeout", "10s"],
        ];
        let own = patient.concat();
        let mut server = Self::start(&[&all, &databases, own.as_slice(), arguments].concat());
        server.mysql = Some(mysql);
        server
    }

    /// As [`Self::start`], and nobody reads its log yet.
    pub fn start_unread(arguments: &[&str]) -> Self {
        let mut child = command(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("locklab starts");
        let mut banner = BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            banner.read_line(&mut line).unwrap();
            line.trim().to_owned()
        };
        let (first, second) = (line(), line());
        let Some((_, url)) = first.split_once(" on ") else {
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("locklab did not start: {log}");
        };
        let redis = second.split_whitespace().nth(1).unwrap().to_owned();
        let client = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { log: child.stderr.take(), child, url: url.to_owned(), redis, client, mysql: None }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub async fn ended(mut self) -> ExitStatus {
        tokio::task::spawn_blocking(move || self.child.wait().unwrap()).await.unwrap()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request and holds the reply against the API description.
    pub async fn exchange(&self, request: reqwest::RequestBuilder) -> Reply {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.client.execute(request).await.expect("a reply");
        let reply = Reply::read(response).await;
        Contract::get().check(&method, &path, &reply);
        reply
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.exchange(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str) -> Reply {
        self.exchange(self.request(Method::POST, path)).await
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.exchange(self.request(Method::POST, path).json(body)).await
    }

    /// Puts units on sale.
    pub async fn reset(&self, product: &str, stock: u64) {
        let path = format!("/reset?product={product}&stock={stock}");
        // A server with little patience may find a busy machine's Redis away at first.
        until("the product is on sale", async || self.post(&path).await.status == StatusCode::OK)
            .await;
    }

    /// Sends that many purchases at the same instant and returns their replies. Over sockets that
    /// are connected before, for a client that connects and encodes one after the other is no race.
    pub async fn race(&self, buyers: usize, query: &str) -> Vec<Reply> {
        let address = self.url.trim_start_matches("http://");
        let connect = (0..buyers).map(|_| TcpStream::connect(address));
        let mut sockets =
            join_all(connect).await.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
        let order = format!(
            "POST /purchase?{query} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        );
        for socket in &mut sockets {
            socket.write_all(order.as_bytes()).await.unwrap();
        }
        let replies = join_all(sockets.into_iter().map(Reply::read_from)).await;
        for reply in &replies {
            Contract::get().check(&Method::POST, "/purchase", reply);
        }
        replies
    }

    /// The verdict over a product.
    pub async fn audit(&self, product: &str) -> Value {
        self.get(&format!("/audit/{product}")).await.json
    }

    /// How often a lock was tried to be acquired.
    pub async fn attempts(&self, lock: &str) -> f64 {
        let metrics = self.get("/metrics").await.text;
        let prefix = format!("locklab_lock_attempts_total{{lock=\"{lock}\"");
        let lines = metrics.lines().filter(|line| line.starts_with(&prefix));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// The value of one series of `/metrics`.
    pub async fn metric(&self, series: &str) -> f64 {
        let metrics = self.get("/metrics").await.text;
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series}")).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only fails when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The binary under test, with an environment of its own.
pub fn command(arguments: &[&str]) -> Command {
    command_of(env!("CARGO_BIN_EXE_locklab"), arguments)
}

/// The same of another binary.
pub fn command_of(binary: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).args(arguments).stdin(Stdio::null());
    // A busy machine is no fault: what is to take less says so with a flag.
    command.env("LOCKLAB_COMMAND_TIMEOUT", "2s");
    command
}

/// A reply, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    /// Null if the reply is not JSON.
    pub json: Value,
}

impl Reply {
    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Self { status, headers, text, json }
    }

    /// Reads a reply without a client: to the end of the connection.
    async fn read_from(mut socket: TcpStream) -> Self {
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.unwrap();
        let reply = String::from_utf8(bytes).unwrap();
        let (head, text) = reply.split_once("\r\n\r\n").expect("a whole reply");
        let (status, fields) = head.split_once("\r\n").unwrap();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let fields = fields.lines().filter_map(|field| field.split_once(": "));
        let field = |(name, value): (&str, &str)| {
            (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
        };
        let json = serde_json::from_str(text).unwrap_or_default();
        Self { status, headers: fields.map(field).collect(), text: text.to_owned(), json }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// How the purchase ended.
    pub fn outcome(&self) -> &str {
        self.json["outcome"].as_str().unwrap_or_else(|| panic!("no outcome: {}", self.text))
    }
}

/// How many of the replies have that outcome.
pub fn count(replies: &[Reply], outcome: &str) -> usize {
    replies.iter().filter(|reply| reply.outcome() == outcome).count()
}

/// Waits until a condition holds; a condition that never does fails the test.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    // Far longer than anything takes: this is no assertion on speed.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
