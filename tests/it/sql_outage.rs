//! Postgres or MySQL away, hanging, and back; and URLs that lead nowhere.

use std::{collections::HashSet, io::Read, process::Stdio, sync::Arc, thread};

use futures_util::future::join_all;
use locklab::strategy::table::STRATEGIES;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::{
    redis_server::Redis,
    server::{Server, command, until},
    sql_servers::{MySql, Postgres},
};

const PASSWORD: &str = "hunter2";

/// A database that may be broken.
#[derive(Clone)]
enum Database {
    Postgres(Postgres),
    MySql(MySql),
}

impl Database {
    async fn both() -> [Self; 2] {
        let (postgres, mysql) = tokio::join!(Postgres::start(), MySql::start());
        [Self::Postgres(postgres), Self::MySql(mysql)]
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::MySql(_) => "mysql",
        }
    }

    fn flag(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "--postgres-url",
            Self::MySql(_) => "--mysql-url",
        }
    }

    fn url(&self) -> &str {
        match self {
            Self::Postgres(postgres) => &postgres.url,
            Self::MySql(mysql) => &mysql.url,
        }
    }

    /// Host and port.
    fn address(&self) -> &str {
        self.url().split(['@', '/']).find(|part| part.contains("127.0.0.1:")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        match self {
            Self::Postgres(postgres) => postgres.signal(signal),
            Self::MySql(mysql) => mysql.signal(signal),
        }
    }

    async fn run(&self, statements: &str) {
        match self {
            Self::Postgres(postgres) => postgres.run(statements).await,
            Self::MySql(mysql) => mysql.run(statements).await,
        }
    }

    /// The strategies that sell from it.
    fn strategies(&self) -> Vec<&'static str> {
        let sells = STRATEGIES.iter().filter(|row| row.store.name() == self.name());
        sells.map(|row| row.name).collect()
    }
}

/// A way to a database, which can be led to another one.
#[derive(Clone)]
struct Relay {
    address: String,
    target: Arc<Mutex<String>>,
}

impl Relay {
    async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = Arc::new(Mutex::new(target.to_owned()));
        let to = Arc::clone(&target);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let to = to.lock().clone();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(to).await else { return };
                    copy_bidirectional(&mut client, &mut server).await.ok();
                });
            }
        });
        Self { address, target }
    }
}

/// What `/strategies` says of one of them.
async fn row(server: &Server, name: &str) -> Value {
    let strategies = server.get("/strategies").await.json;
    let mut rows = strategies["strategies"].as_array().unwrap().iter();
    rows.find(|row| row["name"] == name).unwrap().clone()
}

/// Nothing is sold under these strategies, buyers are told why and to come again; and everything else goes on.
async fn assert_away(server: &Server, database: &Database) {
    let name = database.name();
    for lock in database.strategies() {
        let reply = server.post(&format!("/purchase?product=p&lock={lock}&wait=2s")).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{lock}: {}", reply.text);
        assert_eq!((reply.outcome(), reply.header("retry-after")), ("unavailable", "1"), "{lock}");
        let detail = reply.json["detail"].as_str().unwrap();
        assert!(detail.contains(name), "{lock}: {detail}");
    }
    for lock in database.strategies() {
        until("/strategies says so", async || row(server, lock).await["available"] == false).await;
        let reason = row(server, lock).await["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(&format!("{name} does not answer")), "{lock}: {reason}");
        assert!(reason.contains(database.flag()), "{lock}: {reason}");
    }
    let product = format!("safe-without-{name}");
    let reply = server.post(&format!("/reset?product={product}&stock=2&lock=safe")).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    for _ in 0..2 {
        let reply = server.post(&format!("/purchase?product={product}&lock=safe")).await;
        assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    }
    let audit = server.get(&format!("/audit/{product}?lock=safe")).await.json;
    assert_eq!((&audit["sold"], &audit["ok"]), (&2.into(), &true.into()), "{audit}");
    let history = server.get(&format!("/history/{product}?lock=safe")).await.text;
    let orders = history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let orders: HashSet<String> =
        orders.filter_map(|line| line["order_id"].as_str().map(str::to_owned)).collect();
    assert_eq!(orders.len(), 2, "{history}");
}

async fn assert_back(server: &Server, database: &Database) {
    for lock in database.strategies() {
        until("it is back", async || {
            let reset = format!("/reset?product=p&stock=2&lock={lock}");
            server.post(&reset).await.status == StatusCode::OK
                && row(server, lock).await["available"] == true
        })
        .await;
        let reply = server.post(&format!("/purchase?product=p&lock={lock}")).await;
        assert_eq!(reply.outcome(), "sold", "{lock}: {}", reply.text);
    }
    let audit = server.get(&format!("/audit/p?lock={}", database.strategies()[0])).await.json;
    assert_eq!((&audit["ok"], &audit["sold"]), (&true.into(), &1.into()), "{audit}");
}

/// It hangs, and goes on.
#[tokio::test]
async fn a_database_that_hangs() {
    let redis = Redis::start().await;
    join_all(Database::both().await.map(async |database| {
        let arguments =
            ["--redis-url", &redis.url(), database.flag(), database.url(), "--sql-timeout", "1s"];
        let server = Server::start(&arguments);
        assert_back(&server, &database).await;
        database.signal(Signal::SIGSTOP);
        assert_away(&server, &database).await;
        database.signal(Signal::SIGCONT);
        assert_back(&server, &database).await;
    }))
    .await;
}

/// It dies, and what comes back under its address is empty: the tables are made again.
#[tokio::test]
async fn a_database_that_dies_and_comes_back_empty() {
    let redis = Redis::start().await;
    let (first, second) = tokio::join!(Database::both(), Database::both());
    join_all(first.into_iter().zip(second).map(async |(database, next)| {
        let relay = Relay::start(database.address()).await;
        let url = database.url().replace(database.address(), &relay.address);
        let server = Server::start(&["--redis-url", &redis.url(), database.flag(), &url]);
        assert_back(&server, &database).await;
        database.signal(Signal::SIGKILL);
        assert_away(&server, &database).await;
        *relay.target.lock() = next.address().to_owned();
        assert_back(&server, &next).await;
    }))
    .await;
}

/// Several servers that start at once over an empty database: the tables are made once.
#[tokio::test]
async fn servers_that_start_at_once_all_find_the_tables() {
    let redis = Redis::start().await;
    let (postgres, mysql) = tokio::join!(Postgres::shared(), MySql::shared());
    for database in [Database::Postgres(postgres), Database::MySql(mysql)] {
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let (redis, flag) = (redis.url(), database.flag());
                let url = database.url().to_owned();
                thread::spawn(move || Server::start(&["--redis-url", &redis, flag, &url]))
            })
            .collect();
        let servers: Vec<Server> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        for server in &servers {
            assert_back(server, &database).await;
            let reason = row(server, database.strategies()[0]).await["reason"].clone();
            assert!(reason.is_null(), "{reason}");
        }
    }
}

/// What a server says, on all ways, of a URL that leads nowhere: why, and never the password.
async fn assert_told(redis: &Redis, database: &Database, url: &str, told: &str) {
    let flag = database.flag();
    let mut server = Server::start_unread(&["--redis-url", &redis.url(), flag, url]);
    let mut log = server.log.take().unwrap();
    let lock = database.strategies()[0];
    let purchase = server.post(&format!("/purchase?product=p&lock={lock}")).await;
    assert_eq!(purchase.status, StatusCode::SERVICE_UNAVAILABLE, "{}", purchase.text);
    let detail = purchase.json["detail"].as_str().unwrap();
    assert!(detail.contains(told), "{detail}");
    let reason = row(&server, lock).await["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(told), "{reason}");
    for path in ["/strategies", "/readyz", "/metrics", "/"] {
        let reply = server.request(reqwest::Method::GET, path).send().await.unwrap();
        assert!(!reply.text().await.unwrap().contains(PASSWORD), "{path}");
    }
    drop(server);
    let mut said = String::new();
    log.read_to_string(&mut said).unwrap();
    assert!(said.contains(told), "{said}");
    for text in [&purchase.text, &reason, &said] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

/// An unknown database, a wrong password.
#[tokio::test]
async fn a_url_that_leads_nowhere() {
    let redis = Redis::start().await;
    let [postgres, mysql] = Database::both().await;
    let at = |database: &Database, scheme: &str, name: &str| {
        format!("{scheme}://locked:{PASSWORD}@{}/{name}", database.address())
    };
    postgres.run("CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'another'").await;
    let user = "'locked'@'127.0.0.1'";
    mysql.run(&format!("CREATE USER {user} IDENTIFIED BY '{PASSWORD}'")).await;
    mysql.run(&format!("GRANT ALL ON *.* TO {user}")).await;
    let nowhere = at(&postgres, "postgres", "nowhere");
    assert_told(&redis, &postgres, &nowhere, "database \"nowhere\" does not exist").await;
    assert_told(&redis, &mysql, &at(&mysql, "mysql", "nowhere"), "Unknown database 'nowhere'")
        .await;
    mysql.run(&format!("SET PASSWORD FOR {user} = PASSWORD('another')")).await;
    assert_told(&redis, &mysql, &at(&mysql, "mysql", "locklab"), "Access denied").await;
    // Whoever comes over the network needs a password from now on.
    let Database::Postgres(server) = &postgres else { unreachable!() };
    let rules: String = server.fetch("SHOW hba_file").await;
    let rule = "host all all 127.0.0.1/32 scram-sha-256";
    postgres.run(&format!("COPY (SELECT '{rule}') TO '{rules}'; SELECT pg_reload_conf()")).await;
    let denied = "password authentication failed";
    assert_told(&redis, &postgres, &at(&postgres, "postgres", "locklab"), denied).await;
    let here = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (database, scheme) in [(&postgres, "postgres"), (&mysql, "mysql")] {
        let url = format!("{scheme}://locked:{PASSWORD}@{here}/locklab");
        assert_told(&redis, database, &url, "refused").await;
    }
}

/// What is no URL of a database ends the program at once, with a line that says what is valid.
#[test]
fn what_is_no_url_is_a_mistake_of_usage() {
    for (flag, scheme) in [("--postgres-url", "postgres"), ("--mysql-url", "mysql")] {
        for url in [
            format!("redis://u:{PASSWORD}@127.0.0.1/d"),
            format!("{scheme}//u:{PASSWORD}@127.0.0.1/d"),
            format!("{scheme}://u:{PASSWORD}@127.0.0.1:port/d"),
            format!("{scheme}://u:{PASSWORD}@/:0/d?{scheme}={PASSWORD}"),
            PASSWORD.to_owned(),
        ] {
            let arguments = [flag, &url, "--listen", "127.0.0.1:0"];
            let output = command(&arguments).stdout(Stdio::piped()).output().unwrap();
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(64), "{url}: {said}");
            assert!(said.contains(flag) && said.contains(&format!("{scheme}://")), "{url}: {said}");
            assert!(!said.contains(PASSWORD), "{said}");
        }
    }
}
