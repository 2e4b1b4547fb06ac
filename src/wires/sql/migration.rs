//! The tables, as files that are carried out once each, in their order, and never changed.

use std::borrow::Cow;

use futures_util::future::BoxFuture;
use sqlx::{
    Executor, MySqlConnection, PgConnection,
    error::BoxDynError,
    migrate::{MigrateError, Migration, MigrationSource, MigrationType, Migrator},
};

const POSTGRES: &[(i64, &str, &str)] =
    &[(1, "shop", include_str!("../../../migrations/postgres/1_shop.sql"))];

const MYSQL: &[(i64, &str, &str)] =
    &[(1, "shop", include_str!("../../../migrations/mysql/1_shop.sql"))];

/// The files of one kind of database, within this program.
#[derive(Debug)]
struct Files(&'static [(i64, &'static str, &'static str)]);

impl MigrationSource<'static> for Files {
    fn resolve(self) -> BoxFuture<'static, Result<Vec<Migration>, BoxDynError>> {
        let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
            let (name, sql) = (Cow::Borrowed(name), Cow::Borrowed(sql));
            Migration::new(version, name, MigrationType::Simple, sql, false)
        };
        Box::pin(std::future::ready(Ok(self.0.iter().map(migration).collect())))
    }
}

/// Brings the tables up to date; other servers that do so at the same time take their turn.
pub(super) async fn migrate_postgres(connection: &mut PgConnection) -> Result<(), MigrateError> {
    // It would tell at every start that the table of migrations is there already.
    connection.execute("SET client_min_messages = warning").await?;
    Migrator::new(Files(POSTGRES)).await?.run_direct(connection).await
}

/// As [`migrate_postgres`].
pub(super) async fn migrate_mysql(connection: &mut MySqlConnection) -> Result<(), MigrateError> {
    Migrator::new(Files(MYSQL)).await?.run_direct(connection).await
}
