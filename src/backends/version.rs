//! Which servers these are, by what they say of themselves: what they do not say is unknown.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::{self, Duration};

use super::{Backends, Database};
use crate::strategy::server::Backend;
use locklab_locks::wires::{
    metrics::Op,
    redis::RedisClient,
    sql::{Dialect, SqlClient},
};

/// How long a server may take to say it. It is asked beside the point.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of a server that says nothing.
const UNKNOWN: &str = "unknown";
/// What speaks the protocol of Redis names itself by one of these, and perhaps by the last as well, for
/// what it is compatible with.
const REDIS_NAMES: [(&str, &str); 3] =
    [("valkey_version", "Valkey"), ("dragonfly_version", "Dragonfly"), ("redis_version", "Redis")];

/// A server, as it names itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerVersion {
    /// What it is to strategies.
    pub backend: &'static str,
    /// Its product and version.
    pub version: String,
}

impl Backends {
    /// The version of every server that is configured.
    ///
    /// # Cancellation
    /// Safe: nothing is changed.
    pub async fn versions(&self) -> Vec<ServerVersion> {
        let redis = async { vec![of_redis(&self.redis).await] };
        let redlock = async {
            let Ok(nodes) = &self.redlock else { return Vec::new() };
            join_all(nodes.clients().iter().map(|node| of_redis(node))).await
        };
        let etcd = async {
            let Ok(client) = &self.etcd else { return Vec::new() };
            client.versions(PATIENCE).await
        };
        let zookeeper = async {
            let Ok(client) = &self.zookeeper else { return Vec::new() };
            client.versions(PATIENCE).await
        };
        let (redis, redlock, etcd, zookeeper, postgres, mysql) = tokio::join!(
            redis,
            redlock,
            etcd,
            zookeeper,
            of_database(&self.postgres),
            of_database(&self.mysql)
        );
        let all = [
            (Backend::Redis, redis),
            (Backend::Redlock, redlock),
            (Backend::Etcd, etcd),
            (Backend::ZooKeeper, zookeeper),
            (Backend::Postgres, postgres),
            (Backend::MySql, mysql),
        ];
        let known = all.into_iter().filter(|(_, versions)| !versions.is_empty());
        known.map(|(backend, versions)| together(backend.into(), versions)).collect()
    }
}

async fn of_redis(client: &RedisClient) -> Option<String> {
    let mut ask = redis::cmd("INFO");
    ask.arg("server");
    let info = time::timeout(PATIENCE, client.command::<redis::InfoDict>(Op::Info, &ask)).await;
    let info = info.ok()?.ok()?;
    REDIS_NAMES
        .iter()
        .find_map(|(field, product)| Some(format!("{product} {}", info.get::<String>(field)?)))
}

async fn of_database(database: &Result<Database, String>) -> Vec<Option<String>> {
    match database {
        Ok(database) => vec![of_sql(&database.stock).await],
        Err(_) => Vec::new(),
    }
}

/// The version of a database, if it says so.
async fn of_sql(client: &Arc<SqlClient>) -> Option<String> {
    let ask = async {
        let mut session = client.session_soon().await?;
        session.rows::<(String,)>(Op::Read, "SELECT version()", &[]).await
    };
    let rows = time::timeout(PATIENCE, ask).await.ok()?.ok()?;
    let (text,) = rows.into_iter().next()?;
    named(client.dialect(), &text)
}

/// A product and its version, from what a database says.
fn named(dialect: Dialect, text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    match dialect {
        // What it was built with and for follows.
        Dialect::Postgres => Some(format!("{} {}", words.next()?, words.next()?)),
        Dialect::MySql => {
            let version = words.next()?;
            let maria = version.split_once("-MariaDB").map(|(version, _)| version);
            Some(maria.map_or_else(|| format!("MySQL {version}"), |it| format!("MariaDB {it}")))
        }
    }
}

/// The versions of all servers of a kind, and of how many each is.
fn together(backend: &'static str, versions: Vec<Option<String>>) -> ServerVersion {
    let mut counts = BTreeMap::<String, usize>::new();
    for version in versions {
        *counts.entry(version.unwrap_or_else(|| UNKNOWN.to_owned())).or_default() += 1;
    }
    let told = counts.into_iter().map(|(version, count)| match count {
        1 => version,
        many => format!("{many} × {version}"),
    });
    ServerVersion { backend, version: told.collect::<Vec<_>>().join(", ") }
}

/// The version of one database, for those who have no [`Backends`].
pub async fn of_client(client: &Arc<SqlClient>) -> ServerVersion {
    together(client.dialect().into(), vec![of_sql(client).await])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_name_themselves() {
        let postgres =
            "PostgreSQL 15.13 (Debian 15.13-0+deb12u1) on x86_64-pc-linux-gnu, compiled by";
        assert_eq!(named(Dialect::Postgres, postgres).as_deref(), Some("PostgreSQL 15.13"));
        let mysql = |text| named(Dialect::MySql, text).unwrap_or_default();
        assert_eq!(mysql("10.11.11-MariaDB-0+deb12u1"), "MariaDB 10.11.11");
        assert_eq!(mysql("8.0.36"), "MySQL 8.0.36");
        assert_eq!(named(Dialect::MySql, ""), None);
    }

    #[test]
    fn servers_that_are_alike_are_told_together() {
        let of = |versions: &[Option<&str>]| {
            together("etcd", versions.iter().map(|it| it.map(str::to_owned)).collect()).version
        };
        assert_eq!(of(&[Some("etcd 3.4")]), "etcd 3.4");
        assert_eq!(of(&[None, Some("etcd 3.4"), Some("etcd 3.4")]), "2 × etcd 3.4, unknown");
    }
}
