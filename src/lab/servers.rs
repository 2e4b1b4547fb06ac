//! The servers that strategies need apart from the Redis of the stock: those that are named, or private
//! ones that are started. Whatever keeps them from being there is a reason against the strategy, and not
//! against the lab.

use std::sync::Arc;

use futures_util::future::join_all;

use super::LabError;
use crate::{
    backends::Database,
    cli::{Config, Embed, Secret},
    embedded::{self, Embedded},
    shop::metrics::Metrics,
    wires::{
        etcd::EtcdClient,
        redlock::{NODES_MAX, NODES_MIN, Nodes, RedlockOptions},
        sql::{Dialect, SqlClient, SqlOptions},
        zookeeper::ZooKeeperClient,
    },
};

/// How many nodes of Redlock are started, if any are.
const REDLOCK_NODES: usize = 5;

/// The nodes of Redlock.
pub(super) async fn redlock(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<(Result<Arc<Nodes>, String>, Vec<Arc<Embedded>>), LabError> {
    let urls = config.redlock_urls();
    let are_new = urls.is_empty() || config.redlock_new;
    let mut embedded = Vec::new();
    let urls: Vec<String> = if !urls.is_empty() {
        if !(NODES_MIN..=NODES_MAX).contains(&urls.len()) {
            let valid = format!("expected {NODES_MIN} to {NODES_MAX} URLs, not {}", urls.len());
            return Err(LabError::RedlockUrls(valid));
        }
        urls.iter().map(|url| url.expose().to_owned()).collect()
    } else if config.embeds(Embed::Redlock) {
        let started = join_all((0..REDLOCK_NODES).map(|_| embedded::redis::start())).await;
        match started.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(started) => embedded.extend(started.into_iter().map(Arc::new)),
            Err(error) => return Ok((Err(error.to_string()), Vec::new())),
        }
        embedded.iter().map(|node| node.url()).collect()
    } else {
        let reason = "no nodes: name them with --redlock-urls (REDLOCK_URLS), or have private ones \
                      started with --embed redlock";
        return Ok((Err(reason.to_owned()), Vec::new()));
    };
    let options = RedlockOptions {
        urls,
        timeout: config.redlock_timeout,
        restart_delay: config.redlock_restart_delay,
        are_new,
    };
    let nodes = Nodes::connect(&options, metrics).await;
    let nodes = nodes.map_err(|error| LabError::RedlockUrls(error.to_string()))?;
    Ok((Ok(Arc::new(nodes)), embedded))
}

/// How many members of etcd are started, if any are.
#[cfg(feature = "etcd")]
const ETCD_MEMBERS: usize = 3;

/// The etcd cluster.
#[cfg(feature = "etcd")]
pub(super) async fn etcd(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<(Result<Arc<EtcdClient>, String>, Vec<Arc<Embedded>>), LabError> {
    let mut endpoints = config.etcd_endpoints();
    let mut embedded = Vec::new();
    if endpoints.is_empty() && config.embeds(Embed::Etcd) {
        match embedded::etcd::start(ETCD_MEMBERS).await {
            Ok(started) => embedded.extend(started.into_iter().map(Arc::new)),
            Err(error) => return Ok((Err(error.to_string()), Vec::new())),
        }
        endpoints = embedded.iter().map(|member| member.url()).collect();
    }
    if endpoints.is_empty() {
        let reason = "no etcd: name its members with --etcd-endpoints (ETCD_ENDPOINTS), or have \
                      private ones started with --embed etcd";
        return Ok((Err(reason.to_owned()), Vec::new()));
    }
    let client = EtcdClient::connect(&endpoints, config.etcd_timeout, metrics.backend("etcd"));
    let client = client.await.map_err(LabError::EtcdEndpoints)?;
    Ok((Ok(Arc::new(client)), embedded))
}

#[cfg(not(feature = "etcd"))]
pub(super) async fn etcd(
    _: &Config,
    _: &Arc<Metrics>,
) -> Result<(Result<Arc<EtcdClient>, String>, Vec<Arc<Embedded>>), LabError> {
    Ok((Err(crate::wires::etcd::REASON.to_owned()), Vec::new()))
}

/// The ZooKeeper ensemble.
#[cfg(feature = "zookeeper")]
pub(super) async fn zookeeper(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<(Result<Arc<ZooKeeperClient>, String>, Option<Arc<Embedded>>), LabError> {
    let mut embedded = None;
    let hosts = match config.zookeeper_hosts() {
        Some(hosts) => hosts.to_owned(),
        None if config.embeds(Embed::Zookeeper) => match embedded::zookeeper::start().await {
            Ok(server) => embedded.insert(Arc::new(server)).address().to_string(),
            Err(error) => return Ok((Err(error.to_string()), None)),
        },
        None => {
            let reason = "no ZooKeeper: name its servers with --zookeeper-hosts (ZOOKEEPER_HOSTS), or \
                          have a private one started with --embed zookeeper";
            return Ok((Err(reason.to_owned()), None));
        }
    };
    let options = crate::wires::zookeeper::ZooKeeperOptions {
        hosts: hosts.parse()?,
        timeout: config.zookeeper_timeout,
        session_timeout: config.zookeeper_session_timeout,
    };
    let client = ZooKeeperClient::connect(options, metrics.backend("zookeeper")).await;
    Ok((Ok(Arc::new(client)), embedded))
}

#[cfg(not(feature = "zookeeper"))]
pub(super) async fn zookeeper(
    _: &Config,
    _: &Arc<Metrics>,
) -> Result<(Result<Arc<ZooKeeperClient>, String>, Option<Arc<Embedded>>), LabError> {
    Ok((Err(crate::wires::zookeeper::REASON.to_owned()), None))
}

/// Which database, and how it is configured.
pub(super) struct Wanted<'a> {
    pub(super) dialect: Dialect,
    pub(super) url: Option<&'a Secret>,
    pub(super) pool_size: u32,
    pub(super) embed: Embed,
    /// What its two pools are called.
    pub(super) names: [&'static str; 2],
    /// Why there is none.
    pub(super) absent: &'static str,
}

/// A database, and its two pools.
pub(super) async fn database(
    config: &Config,
    metrics: &Arc<Metrics>,
    wanted: Wanted<'_>,
) -> Result<(Result<Database, String>, Option<Arc<Embedded>>), LabError> {
    let mut embedded = None;
    let url = match wanted.url {
        Some(url) => url.expose().to_owned(),
        None if config.embeds(wanted.embed) => {
            let started = match wanted.dialect {
                Dialect::Postgres => embedded::postgres::start().await,
                Dialect::MySql => embedded::mysql::start().await,
            };
            match started {
                Ok(server) => embedded.insert(Arc::new(server)).url(),
                Err(error) => return Ok((Err(error.to_string()), None)),
            }
        }
        None => return Ok((Err(wanted.absent.to_owned()), None)),
    };
    let connect = async |name, migrates| {
        let (url, pool_size) = (url.clone(), wanted.pool_size);
        let options =
            SqlOptions { url, pool_size, timeout: config.databases.sql_timeout, migrates };
        let client = SqlClient::connect(wanted.dialect, &options, metrics.backend(name)).await;
        client.map(Arc::new).map_err(|error| match wanted.dialect {
            Dialect::Postgres => LabError::PostgresUrl(error),
            Dialect::MySql => LabError::MySqlUrl(error),
        })
    };
    let [stock, locks] = wanted.names;
    let database =
        Database { stock: connect(stock, true).await?, locks: connect(locks, false).await? };
    Ok((Ok(database), embedded))
}

/// What there is to know of Postgres.
pub(super) fn postgres(config: &Config) -> Wanted<'_> {
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
pub(super) fn mysql(config: &Config) -> Wanted<'_> {
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
