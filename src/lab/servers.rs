//! The servers that strategies need: those that are named, or private ones that are started.
//! Whatever keeps one from being there is a reason against the strategies that need it, and not
//! against the lab; only the Redis of the stock has to be there.

use std::sync::Arc;

use futures_util::future::join_all;

use super::error::LabError;
use crate::{
    backends::{Backends, Database},
    cli::{Config, Embed, Secret},
    embedded::{self, Embedded},
    measure::exporter::Exporter,
    stock::sql::tables,
    strategy::server::Backend,
};
use locklab_locks::wires::{
    etcd::EtcdClient,
    metrics::Wire,
    redis::{RedisClient, RedisOptions},
    redlock::{NODES_MAX, NODES_MIN, Nodes, RedlockOptions},
    sql::{Dialect, SqlClient, SqlOptions},
    zookeeper::ZooKeeperClient,
};

/// How many nodes of Redlock are started, if any are.
const REDLOCK_NODES: usize = 5;

/// How many members of etcd are started, if any are.
#[cfg(feature = "etcd")]
const ETCD_MEMBERS: usize = 3;

/// A client, or why there is none and what to do; and where its server is.
type Found<T> = (Result<Arc<T>, String>, Place);

/// Where a server is.
#[derive(Default)]
struct Place {
    /// For people.
    shown: String,
    /// Passwords included.
    url: String,
    /// The private servers.
    embedded: Vec<Arc<Embedded>>,
}

impl Place {
    /// Where private servers are.
    fn of(embedded: Vec<Embedded>, where_one_is: impl Fn(&Embedded) -> String) -> Self {
        let urls: Vec<String> = embedded.iter().map(where_one_is).collect();
        let embedded = embedded.into_iter().map(Arc::new).collect();
        Self { shown: urls.join(","), url: urls.join(","), embedded }
    }

    /// Where a named server is.
    fn named<'a>(urls: impl IntoIterator<Item = &'a Secret>) -> Self {
        let (shown, urls): (Vec<_>, Vec<_>) =
            urls.into_iter().map(|url| (url.redacted_url(), url.expose().to_owned())).unzip();
        Self { shown: shown.join(","), url: urls.join(","), embedded: Vec::new() }
    }

    /// Where a server is whose place holds no password.
    #[cfg(any(feature = "etcd", feature = "zookeeper"))]
    fn plain(url: String) -> Self {
        Self { shown: url.clone(), url, embedded: Vec::new() }
    }
}

/// No client, and no server.
fn absent<T>(reason: impl Into<String>) -> Found<T> {
    (Err(reason.into()), Place::default())
}

/// Every server, where it is, and those that are private.
pub(super) struct Servers {
    pub(super) backends: Backends,
    /// Where they are, for people.
    pub(super) places: Vec<(Backend, String)>,
    /// The variables by which another process reaches them; they may hold passwords.
    pub(super) reach: Vec<(&'static str, String)>,
    /// The private ones, that of the stock first.
    pub(super) embedded: Vec<(Backend, Arc<Embedded>)>,
}

/// Connects to every server that is configured, or starts it.
///
/// # Errors
/// The configuration is not valid, or the embedded Redis did not start.
pub(super) async fn open(config: &Config, exporter: &Exporter) -> Result<Servers, LabError> {
    let (redis, redis_place) = redis(config, exporter).await?;
    let redis_remedy = match redis_place.embedded.is_empty() {
        false => "its embedded server has ended or hangs; restart locklab",
        true => "start it, or name another with --redis-url",
    };
    let ((redlock, nodes), (etcd, members), (zookeeper, ensemble), postgres, mysql) = tokio::try_join!(
        redlock(config, exporter),
        etcd(config, exporter),
        zookeeper(config, exporter),
        database(config, exporter, postgres(config)),
        database(config, exporter, mysql(config)),
    )?;
    let (mut places, mut reach, mut embedded) = (Vec::new(), Vec::new(), Vec::new());
    for (backend, variable, place) in [
        (Backend::Redis, "REDIS_URL", redis_place),
        (Backend::Redlock, "REDLOCK_URLS", nodes),
        (Backend::Etcd, "ETCD_ENDPOINTS", members),
        (Backend::ZooKeeper, "ZOOKEEPER_HOSTS", ensemble),
        (Backend::Postgres, "POSTGRES_URL", postgres.1),
        (Backend::MySql, "MYSQL_URL", mysql.1),
    ] {
        if !place.url.is_empty() {
            places.push((backend, place.shown));
            reach.push((variable, place.url));
        }
        embedded.extend(place.embedded.into_iter().map(|server| (backend, server)));
    }
    let (postgres, mysql) = (postgres.0, mysql.0);
    let backends = Backends { redis, redis_remedy, redlock, etcd, zookeeper, postgres, mysql };
    Ok(Servers { backends, places, reach, embedded })
}

/// The Redis of the stock.
async fn redis(
    config: &Config,
    exporter: &Exporter,
) -> Result<(Arc<RedisClient>, Place), LabError> {
    let place = match config.redis_url() {
        Some(url) => Place::named([url]),
        None => {
            let embedded = embedded::redis::start().await?;
            let program = embedded.program();
            let mut place = Place::of(vec![embedded], Embedded::url);
            place.shown += &format!(" (embedded {program}; ends with this process)");
            place
        }
    };
    let options = RedisOptions {
        url: place.url.clone(),
        mode: config.redis_mode.into(),
        pool_size: config.redis_pool_size,
        timeout: config.command_timeout,
    };
    let client = RedisClient::connect(&options, exporter.backend(Wire::Redis, "redis")).await?;
    Ok((Arc::new(client), place))
}

/// The nodes of Redlock.
async fn redlock(config: &Config, exporter: &Exporter) -> Result<Found<Nodes>, LabError> {
    let named = config.redlock_urls();
    let place = if !named.is_empty() {
        if !(NODES_MIN..=NODES_MAX).contains(&named.len()) {
            let valid = format!("expected {NODES_MIN} to {NODES_MAX} URLs, not {}", named.len());
            return Err(LabError::RedlockUrls(valid));
        }
        Place::named(named.iter().copied())
    } else if config.embeds(Embed::Redlock) {
        let started = join_all((0..REDLOCK_NODES).map(|_| embedded::redis::start())).await;
        match started.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(nodes) => Place::of(nodes, Embedded::url),
            Err(error) => return Ok(absent(error.to_string())),
        }
    } else {
        return Ok(absent(
            "no nodes: name them with --redlock-urls (REDLOCK_URLS), or have private ones \
             started with --embed redlock",
        ));
    };
    let options = RedlockOptions {
        urls: place.url.split(',').map(str::to_owned).collect(),
        timeout: config.redlock_timeout,
        restart_delay: config.redlock_restart_delay,
        are_new: !place.embedded.is_empty() || config.redlock_new,
    };
    let nodes = Nodes::connect(&options, &exporter.shared_registry()).await;
    let nodes = nodes.map_err(|error| LabError::RedlockUrls(error.to_string()))?;
    Ok((Ok(Arc::new(nodes)), place))
}

/// The etcd cluster.
#[cfg(feature = "etcd")]
async fn etcd(config: &Config, exporter: &Exporter) -> Result<Found<EtcdClient>, LabError> {
    let mut endpoints = config.etcd_endpoints();
    let mut place = Place::plain(endpoints.join(","));
    if endpoints.is_empty() && config.embeds(Embed::Etcd) {
        match embedded::etcd::start(ETCD_MEMBERS).await {
            Ok(members) => place = Place::of(members, Embedded::url),
            Err(error) => return Ok(absent(error.to_string())),
        }
        endpoints = place.embedded.iter().map(|member| member.url()).collect();
    }
    if endpoints.is_empty() {
        return Ok(absent(
            "no etcd: name its members with --etcd-endpoints (ETCD_ENDPOINTS), or have private \
             ones started with --embed etcd",
        ));
    }
    let metrics = exporter.backend(Wire::Etcd, "etcd");
    let client = EtcdClient::connect(&endpoints, config.etcd_timeout, metrics).await;
    Ok((Ok(Arc::new(client.map_err(LabError::EtcdEndpoints)?)), place))
}

#[cfg(not(feature = "etcd"))]
async fn etcd(_: &Config, _: &Exporter) -> Result<Found<EtcdClient>, LabError> {
    Ok(absent(locklab_locks::wires::etcd::REASON))
}

/// The ZooKeeper ensemble.
#[cfg(feature = "zookeeper")]
async fn zookeeper(
    config: &Config,
    exporter: &Exporter,
) -> Result<Found<ZooKeeperClient>, LabError> {
    let place = match config.zookeeper_hosts() {
        Some(hosts) => Place::plain(hosts.to_owned()),
        None if config.embeds(Embed::Zookeeper) => match embedded::zookeeper::start().await {
            Ok(server) => Place::of(vec![server], |server| server.address().to_string()),
            Err(error) => return Ok(absent(error.to_string())),
        },
        None => {
            return Ok(absent(
                "no ZooKeeper: name its servers with --zookeeper-hosts (ZOOKEEPER_HOSTS), or \
                 have a private one started with --embed zookeeper",
            ));
        }
    };
    let options = locklab_locks::wires::zookeeper::ZooKeeperOptions {
        hosts: place.url.parse()?,
        timeout: config.zookeeper_timeout,
        session_timeout: config.zookeeper_session_timeout,
    };
    let metrics = exporter.backend(Wire::ZooKeeper, "zookeeper");
    Ok((Ok(Arc::new(ZooKeeperClient::connect(options, metrics).await)), place))
}

#[cfg(not(feature = "zookeeper"))]
async fn zookeeper(_: &Config, _: &Exporter) -> Result<Found<ZooKeeperClient>, LabError> {
    Ok(absent(locklab_locks::wires::zookeeper::REASON))
}

/// Which database, and how it is configured.
struct Wanted<'a> {
    dialect: Dialect,
    url: Option<&'a Secret>,
    pool_size: u32,
    embed: Embed,
    /// What its two pools are called: from one is sold, the sessions of the other hold locks.
    names: [&'static str; 2],
    /// Why there is none.
    absent: &'static str,
}

/// A database, and its two pools.
async fn database(
    config: &Config,
    exporter: &Exporter,
    wanted: Wanted<'_>,
) -> Result<(Result<Database, String>, Place), LabError> {
    let place = match wanted.url {
        Some(url) => Place::named([url]),
        None if config.embeds(wanted.embed) => {
            let started = match wanted.dialect {
                Dialect::Postgres => embedded::postgres::start().await,
                Dialect::MySql => embedded::mysql::start().await,
            };
            match started {
                Ok(server) => Place::of(vec![server], Embedded::url),
                Err(error) => return Ok((Err(error.to_string()), Place::default())),
            }
        }
        None => return Ok((Err(wanted.absent.to_owned()), Place::default())),
    };
    let connect = async |wire, name, tables| {
        let (url, pool_size) = (place.url.clone(), wanted.pool_size);
        let options = SqlOptions { url, pool_size, timeout: config.databases.sql_timeout, tables };
        let metrics = exporter.backend(wire, name);
        let client = SqlClient::connect(wanted.dialect, &options, metrics).await;
        client.map(Arc::new).map_err(|error| match wanted.dialect {
            Dialect::Postgres => LabError::PostgresUrl(error),
            Dialect::MySql => LabError::MySqlUrl(error),
        })
    };
    let [stock, locks] = wanted.names;
    let database = Database {
        stock: connect(Wire::SqlStock, stock, tables::of(wanted.dialect)).await?,
        locks: connect(Wire::SqlLocks, locks, &[]).await?,
    };
    Ok((Ok(database), place))
}

/// What there is to know of Postgres.
fn postgres(config: &Config) -> Wanted<'_> {
    Wanted {
        dialect: Dialect::Postgres,
        url: config.databases.postgres_url(),
        pool_size: config.databases.postgres_pool_size,
        embed: Embed::Postgres,
        names: ["postgres", "postgres-locks"],
        absent: "no Postgres: name one with --postgres-url (POSTGRES_URL), or have a private one \
                 started with --embed postgres",
    }
}

/// What there is to know of MySQL.
fn mysql(config: &Config) -> Wanted<'_> {
    Wanted {
        dialect: Dialect::MySql,
        url: config.databases.mysql_url(),
        pool_size: config.databases.mysql_pool_size,
        embed: Embed::Mysql,
        names: ["mysql", "mysql-locks"],
        absent: "no MySQL: name one with --mysql-url (MYSQL_URL), or have a private one started \
                 with --embed mysql",
    }
}
