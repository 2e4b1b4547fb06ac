//! Real SQL servers for tests, with everything needed to break them. They take a while to start, so tests
//! share those that they need not break. Postgres keeps databases apart, and each test has one. MySQL's named
//! locks are those of the whole server, so each test has a server to itself, which the next one uses again.

use locklab::{
    backends::Database,
    embedded::{self, Embedded},
    measure::exporter::Exporter,
    stock::sql::tables,
    strategy::{Family, Strategy, server::Store, table::STRATEGIES},
};
use locklab_locks::{
    token::Token,
    wires::{
        metrics::Wire,
        sql::{Dialect, SqlClient, SqlOptions},
    },
};
use std::{
    sync::{Arc, LazyLock, mpsc},
    thread,
};

use nix::sys::signal::Signal;
use parking_lot::Mutex;
use sqlx::{Connection, MySqlConnection, PgConnection, mysql::MySql as InMySql};
use tokio::{runtime, time::Duration};

/// Where the shared one is, with the database that is always there.
static POSTGRES: LazyLock<String> = LazyLock::new(|| keep(async || start_postgres().await));
/// Those that no test has at present.
static IDLE: Mutex<Vec<String>> = parking_lot::const_mutex(Vec::new());

/// The strategies that sell the rows of a database by its own means, whatever lock is before them.
pub fn sellers() -> impl Iterator<Item = &'static Strategy> {
    STRATEGIES.iter().filter(|row| {
        row.store != Store::Redis && (row.family == Family::LockFree || row.locks_rows())
    })
}

/// Those of them that hold no lease, and keep rows locked from the read to the commit.
pub fn row_lockers() -> impl Iterator<Item = &'static Strategy> {
    sellers().filter(|row| row.family == Family::LockFree && row.locks_rows())
}

/// Every test has a runtime, and the server outlives them all: its guard ends it with this process.
fn keep(start: impl AsyncFnOnce() -> Embedded + Send + 'static) -> String {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = start().await;
            sender.send(server.url()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

async fn start_postgres() -> Embedded {
    let server = embedded::postgres::start().await;
    server.expect("the tests need a real PostgreSQL; `make test` installs it")
}

async fn start_mysql() -> Embedded {
    let server = embedded::mysql::start().await;
    server.expect("the tests need a real MariaDB or MySQL; `make test` installs it")
}

async fn open(dialect: Dialect, url: &str, metrics: &Exporter) -> Result<Database, String> {
    if url.is_empty() {
        return Err("this test needs none".to_owned());
    }
    let names = match dialect {
        Dialect::Postgres => ["postgres", "postgres-locks"],
        Dialect::MySql => ["mysql", "mysql-locks"],
    };
    let client = async |wire, name, tables| {
        let timeout = Duration::from_secs(5);
        // Some tests leave locks to their end, each with its connection.
        let options = SqlOptions { url: url.to_owned(), pool_size: 100, timeout, tables };
        let client =
            SqlClient::connect(dialect, &options, metrics.backend(wire, name)).await.unwrap();
        assert!(client.is_up(), "{}", client.last_error());
        Arc::new(client)
    };
    Ok(Database {
        stock: client(Wire::SqlStock, names[0], tables::of(dialect)).await,
        locks: client(Wire::SqlLocks, names[1], &[]).await,
    })
}

/// A database that nobody else has, by its URL.
fn fresh(url: &str) -> (String, String) {
    let name = format!("test_{}", Token::random().as_str());
    let (server, _) = url.rsplit_once('/').unwrap();
    (format!("{server}/{name}"), format!("CREATE DATABASE {name}"))
}

/// A PostgreSQL, and a database in it.
#[derive(Clone)]
pub struct Postgres {
    /// As a flag takes it.
    pub url: String,
    /// The server, if it is not shared.
    server: Option<Arc<Embedded>>,
}

impl Postgres {
    /// A new database in the one that is shared.
    pub async fn shared() -> Self {
        let (url, create) = fresh(&POSTGRES);
        Self { url: POSTGRES.clone(), server: None }.run(&create).await;
        Self { url, server: None }
    }

    /// One that may be broken.
    pub async fn start() -> Self {
        let server = start_postgres().await;
        Self { url: server.url(), server: Some(Arc::new(server)) }
    }

    /// None, for a test that needs none.
    pub fn absent() -> Self {
        Self { url: String::new(), server: None }
    }

    /// What Locklab's strategies use.
    pub async fn open(&self, metrics: &Exporter) -> Result<Database, String> {
        open(Dialect::Postgres, &self.url, metrics).await
    }

    /// Whether somebody has the product's advisory lock.
    pub async fn is_locked(&self, product: &str) -> bool {
        let held = format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND (classid::bigint << 32) | objid::bigint = \
                 ('x' || left(encode(sha256('locklab:{product}'), 'hex'), 16))::bit(64)::bigint"
        );
        !self.url.is_empty() && self.fetch::<i64>(&held).await > 0
    }

    /// The server, which is not shared.
    pub fn embedded(&self) -> &Embedded {
        self.server.as_ref().expect("only one that is not shared may be broken")
    }

    /// Sends it a signal: STOP hangs it, CONT ends that, KILL is a crash.
    pub fn signal(&self, signal: Signal) {
        self.embedded().signal(signal).expect("it runs");
    }

    /// A session of our own.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Carries out statements, in a session of their own.
    pub async fn run(&self, statements: &str) {
        sqlx::raw_sql(statements).execute(&mut self.connect().await).await.unwrap();
    }

    /// The one value that a query gives, in a session of its own.
    pub async fn fetch<T>(&self, query: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(query).fetch_one(&mut self.connect().await).await.unwrap()
    }

    /// Ends the sessions in this database of which that is true, in the words of `pg_stat_activity`, and
    /// waits until they are gone; says how many there were.
    pub async fn end_sessions(&self, condition: &str) -> i64 {
        self.fetch(&format!(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 30000)) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND ({condition})"
        ))
        .await
    }
}

/// A MySQL or MariaDB, and a database in it.
#[derive(Clone)]
pub struct MySql {
    /// As a flag takes it.
    pub url: String,
    /// The server, if it may be broken.
    server: Option<Arc<Embedded>>,
    /// Where it is, if others will use it again.
    _lent: Option<Arc<Lent>>,
}

struct Lent(String);

impl Drop for Lent {
    fn drop(&mut self) {
        IDLE.lock().push(std::mem::take(&mut self.0));
    }
}

impl MySql {
    /// A new database in one that nobody else uses at present.
    pub async fn shared() -> Self {
        let idle = IDLE.lock().pop();
        let server = match idle {
            Some(server) => server,
            None => {
                let start = || keep(async || start_mysql().await);
                tokio::task::spawn_blocking(start).await.unwrap()
            }
        };
        let (url, create) = fresh(&server);
        let admin = Self { url: server.clone(), server: None, _lent: None };
        // What was killed may not be gone yet, nor its locks.
        admin.end_sessions_of_all().await;
        admin.run(&create).await;
        Self { url, server: None, _lent: Some(Arc::new(Lent(server))) }
    }

    /// One that may be broken.
    pub async fn start() -> Self {
        let server = start_mysql().await;
        Self { url: server.url(), server: Some(Arc::new(server)), _lent: None }
    }

    /// None, for a test that needs none.
    pub fn absent() -> Self {
        Self { url: String::new(), server: None, _lent: None }
    }

    /// What Locklab's strategies use.
    pub async fn open(&self, metrics: &Exporter) -> Result<Database, String> {
        open(Dialect::MySql, &self.url, metrics).await
    }

    /// Whether somebody has the product's lock.
    pub async fn is_locked(&self, product: &str) -> bool {
        let held = format!("SELECT CAST(IS_FREE_LOCK('locklab:{product}') = 0 AS SIGNED)");
        !self.url.is_empty() && self.fetch::<i64>(&held).await == 1
    }

    /// Sends it a signal: STOP hangs it, CONT ends that, KILL is a crash.
    pub fn signal(&self, signal: Signal) {
        let server = self.server.as_ref().expect("only one that is not shared may be broken");
        server.signal(signal).expect("it runs");
    }

    /// A session of our own.
    pub async fn connect(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url).await.unwrap()
    }

    /// Carries out statements, in a session of their own.
    pub async fn run(&self, statements: &str) {
        sqlx::raw_sql(statements).execute(&mut self.connect().await).await.unwrap();
    }

    /// The one value that a query gives, in a session of its own.
    pub async fn fetch<T>(&self, query: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, InMySql> + sqlx::Type<InMySql> + Send + Unpin,
    {
        sqlx::query_scalar(query).fetch_one(&mut self.connect().await).await.unwrap()
    }

    /// Ends the sessions in this database of which that is true, in the words of
    /// `information_schema.processlist`, and waits until they are gone; says how many there were.
    pub async fn end_sessions(&self, condition: &str) -> usize {
        self.end_those(&format!("db = DATABASE() AND ({condition})")).await
    }

    async fn end_sessions_of_all(&self) {
        self.end_those("user = 'root'").await;
    }

    async fn end_those(&self, condition: &str) -> usize {
        let mut conn = self.connect().await;
        let sessions = format!(
            "SELECT CAST(id AS UNSIGNED) FROM information_schema.processlist \
             WHERE id <> CONNECTION_ID() AND ({condition})"
        );
        let ids: Vec<u64> = sqlx::query_scalar(&sessions).fetch_all(&mut conn).await.unwrap();
        for id in &ids {
            // An error says that it has ended by itself.
            sqlx::raw_sql(&format!("KILL {id}")).execute(&mut conn).await.ok();
        }
        for id in &ids {
            let is_there =
                format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id}");
            crate::server::until("the session is gone", async || {
                self.fetch::<i64>(&is_there).await == 0
            })
            .await;
        }
        ids.len()
    }
}
