//! The servers of a run: those that are named, or private ones, and only those that are needed.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::{
    backends::version::{self, ServerVersion},
    cli::{AnomalyName, Config, Secret},
    embedded::{self, Embedded, EmbeddedError},
    lab::error::LabError,
    measure::exporter::Exporter,
    scenario::error::ScenarioError,
};
use locklab_locks::wires::{
    metrics::Wire,
    sql::{Dialect, SqlClient, SqlOptions},
};

/// Sessions of one database at once: three buyers, and those who look.
const POOL_SIZE: u32 = 10;
/// How many sessions the pooler shares out.
const POOLER_SESSIONS: u32 = 2;

/// What is there, or why it is not.
type Found<T> = Result<T, String>;

/// The servers.
pub struct Databases {
    /// What was configured.
    pub config: Config,
    postgres: Found<Arc<SqlClient>>,
    mysql: Found<Arc<SqlClient>>,
    mysql_url: Found<String>,
    pooled: Found<Pooled>,
    /// Those that are private.
    embedded: Vec<Embedded>,
}

/// A private Postgres, with PgBouncer in front.
pub struct Pooled {
    /// The pooler, which gives each transaction one of its sessions.
    pub pooler: Embedded,
    /// Its clients.
    pub through: Arc<SqlClient>,
    /// Those who ask Postgres itself.
    pub direct: Arc<SqlClient>,
}

impl Databases {
    /// Connects to what is needed, or starts it.
    pub async fn open(config: &Config, names: &[AnomalyName]) -> Result<Self, ScenarioError> {
        use AnomalyName::*;
        let any = |wanted: &[AnomalyName]| names.iter().any(|name| wanted.contains(name));
        let (pooler, postgres, mysql) = (
            any(&[StrandedAdvisoryLock]),
            any(&[SkipLockedMiscount, LateAdvisoryLock]),
            any(&[LostGetLock, StaleSnapshot]),
        );
        let (named_postgres, named_mysql) =
            (config.databases.postgres_url(), config.databases.mysql_url());
        let (own_postgres, own_mysql) = tokio::join!(
            start_if(pooler || (postgres && named_postgres.is_none()), embedded::postgres::start()),
            start_if(mysql && named_mysql.is_none(), embedded::mysql::start()),
        );
        let exporter = Exporter::default();
        let connect = async |is_needed: bool, dialect, url: Found<String>| match url {
            Ok(url) if is_needed => connect(config, dialect, url, &exporter).await,
            Ok(_) => Ok(Err(UNASKED.to_owned())),
            Err(reason) => Ok(Err(reason)),
        };
        let (postgres_url, mysql_url) =
            (place(named_postgres, &own_postgres), place(named_mysql, &own_mysql));
        let pooled = match &own_postgres {
            Ok(server) if pooler => pooled(config, server, &exporter).await?,
            Ok(_) => Err(UNASKED.to_owned()),
            Err(reason) => Err(reason.clone()),
        };
        Ok(Self {
            config: config.clone(),
            postgres: connect(postgres, Dialect::Postgres, postgres_url).await?,
            mysql: connect(mysql, Dialect::MySql, mysql_url.clone()).await?,
            mysql_url,
            pooled,
            embedded: own_postgres.into_iter().chain(own_mysql).collect(),
        })
    }

    /// The versions of the databases.
    pub async fn versions(&self) -> Vec<ServerVersion> {
        let direct = self.pooled.as_ref().map(|pooled| &pooled.direct);
        let postgres = self.postgres.as_ref().or(direct);
        let clients = [postgres, self.mysql.as_ref()].into_iter().filter_map(Result::ok);
        join_all(clients.map(version::of_client)).await
    }

    /// A Postgres.
    pub fn postgres(&self) -> Result<&Arc<SqlClient>, ScenarioError> {
        found(&self.postgres)
    }

    /// A MySQL.
    pub fn mysql(&self) -> Result<&Arc<SqlClient>, ScenarioError> {
        found(&self.mysql)
    }

    /// Where that MySQL is.
    pub fn mysql_url(&self) -> Result<&String, ScenarioError> {
        found(&self.mysql_url)
    }

    /// A Postgres behind a pooler.
    pub fn pooled(&self) -> Result<&Pooled, ScenarioError> {
        found(&self.pooled)
    }

    /// Ends the private servers.
    pub async fn close(self) {
        let Self { pooled, embedded, .. } = self;
        if let Ok(Pooled { pooler, .. }) = pooled {
            pooler.stop().await;
        }
        join_all(embedded.into_iter().map(Embedded::stop)).await;
    }
}

/// Nobody reads this: no server was needed.
const UNASKED: &str = "nothing that was asked for needs it";

fn found<T>(found: &Found<T>) -> Result<&T, ScenarioError> {
    found.as_ref().map_err(|reason| ScenarioError::NotMeasured(reason.clone()))
}

async fn start_if(
    is_needed: bool,
    start: impl Future<Output = Result<Embedded, EmbeddedError>>,
) -> Found<Embedded> {
    if is_needed { start.await.map_err(|error| error.to_string()) } else { Err(UNASKED.to_owned()) }
}

fn place(named: Option<&Secret>, own: &Found<Embedded>) -> Found<String> {
    match named {
        Some(url) => Ok(url.expose().to_owned()),
        None => own.as_ref().map(Embedded::url).map_err(Clone::clone),
    }
}

/// Puts a pooler in front of a private Postgres.
async fn pooled(
    config: &Config,
    server: &Embedded,
    exporter: &Exporter,
) -> Result<Found<Pooled>, ScenarioError> {
    let pooler = match embedded::pgbouncer::start(server, POOLER_SESSIONS).await {
        Ok(pooler) => pooler,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let through = connect(config, Dialect::Postgres, pooler.url(), exporter).await?;
    let direct = connect(config, Dialect::Postgres, server.url(), exporter).await?;
    Ok(through.and_then(|through| Ok(Pooled { pooler, through, direct: direct? })))
}

/// Connects to a database, if it answers.
async fn connect(
    config: &Config,
    dialect: Dialect,
    url: String,
    exporter: &Exporter,
) -> Result<Found<Arc<SqlClient>>, ScenarioError> {
    let timeout = config.databases.sql_timeout;
    let options = SqlOptions { url, pool_size: POOL_SIZE, timeout, tables: &[] };
    // Nobody reads the metrics of a command that ends.
    let client =
        SqlClient::connect(dialect, &options, exporter.backend(Wire::SqlStock, dialect.into()))
            .await;
    let client = client.map_err(|error| match dialect {
        Dialect::Postgres => LabError::PostgresUrl(error),
        Dialect::MySql => LabError::MySqlUrl(error),
    })?;
    let is_up = client.is_up();
    let client = Arc::new(client);
    Ok(if is_up {
        Ok(client)
    } else {
        Err(format!("{} is away: {}", client.name(), client.last_error()))
    })
}
