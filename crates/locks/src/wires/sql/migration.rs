//! Tables, as files that are carried out once each, in their order, and never changed.

use std::borrow::Cow;

use futures_util::future::BoxFuture;
use sqlx::{
    Executor, MySqlConnection, PgConnection,
    error::BoxDynError,
    migrate::{MigrateError, Migration, MigrationSource, MigrationType, Migrator},
};

/// A file that is carried out once.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its place in the order.
    pub version: i64,
    /// What it makes.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

/// The files of one kind of database.
#[derive(Debug)]
struct Files(&'static [Table]);

impl MigrationSource<'static> for Files {
    fn resolve(self) -> BoxFuture<'static, Result<Vec<Migration>, BoxDynError>> {
        let migration = |&Table { version, name, sql }: &Table| {
            let (name, sql) = (Cow::Borrowed(name), Cow::Borrowed(sql));
            Migration::new(version, name, MigrationType::Simple, sql, false)
        };
        Box::pin(std::future::ready(Ok(self.0.iter().map(migration).collect())))
    }
}

/// Brings the tables up to date; other servers that do so at the same time take their turn.
pub(super) async fn migrate_postgres(
    connection: &mut PgConnection,
    tables: &'static [Table],
) -> Result<(), MigrateError> {
    // It would tell at every start that the table of migrations is there already.
    connection.execute("SET client_min_messages = warning").await?;
    Migrator::new(Files(tables)).await?.run_direct(connection).await
}

/// Brings the tables up to date; other servers that do so at the same time take their turn.
pub(super) async fn migrate_mysql(
    connection: &mut MySqlConnection,
    tables: &'static [Table],
) -> Result<(), MigrateError> {
    // What is noted of each file after it was carried out would stay uncommitted.
    connection.execute("SET SESSION autocommit = 1").await?;
    Migrator::new(Files(tables)).await?.run_direct(connection).await
}
