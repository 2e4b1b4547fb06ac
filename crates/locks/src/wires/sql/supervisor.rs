//! Knows whether the database answers, on a connection of its own: that all of the pool are in use does not
//! mean that it is away.

use std::sync::Arc;

use sqlx::{ConnectOptions, Connection, MySqlConnection, PgConnection};
use tokio::{
    sync::watch,
    time::{self, Duration},
};

use super::{LastError, Target, migration, pool::Pool};
use crate::{
    error::Cause,
    wires::{exchange::Exchange, sql::Table},
};

/// How long it may take to bring the tables up to date.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(60);

/// The supervisor's connection.
pub(super) enum Own {
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

/// Asks the database, again and again.
pub(super) struct Supervisor {
    pub(super) target: Target,
    pub(super) connection: Option<Own>,
    /// The tables that are to be brought up to date.
    pub(super) tables: &'static [Table],
    /// The pool, which is only counted.
    pub(super) pool: Pool,
    pub(super) up: watch::Sender<bool>,
    pub(super) last_error: LastError,
    pub(super) timeout: Duration,
    pub(super) exchange: Arc<Exchange>,
}

impl Supervisor {
    /// Runs until every client is gone.
    pub(super) async fn run(mut self) {
        loop {
            let is_up = *self.up.borrow();
            if !self.exchange.until_due(is_up, &self.up).await {
                return;
            }
            self.probe().await;
        }
    }

    /// Asks it, on a new connection if there is none, and tells everybody.
    pub(super) async fn probe(&mut self) {
        let connection = self.connection.take();
        let answer = match time::timeout(self.timeout, ask(connection, &self.target)).await {
            Ok(answer) => answer.map_err(Cause::from),
            Err(_) => Err("it did not answer in time".into()),
        };
        let answer = match answer {
            Ok(mut answer) if answer.is_new && !self.tables.is_empty() => {
                migrate(&mut answer.connection, self.tables).await.map(|()| answer.connection)
            }
            answer => answer.map(|answer| answer.connection),
        };
        let is_up = match answer {
            Ok(connection) => {
                self.connection = Some(connection);
                true
            }
            Err(error) => {
                *self.last_error.lock() = error.to_string();
                false
            }
        };
        let was_up = self.up.send_replace(is_up);
        self.exchange.tell(was_up, is_up, Some(&self.last_error.lock()));
        self.pool.count(&self.exchange.metrics);
    }
}

/// Where the answer came from.
struct Answered {
    connection: Own,
    is_new: bool,
}

async fn ask(connection: Option<Own>, target: &Target) -> Result<Answered, sqlx::Error> {
    let is_new = connection.is_none();
    let connection = match (connection, target) {
        (Some(Own::Postgres(mut connection)), _) => {
            connection.ping().await?;
            Own::Postgres(connection)
        }
        (Some(Own::MySql(mut connection)), _) => {
            connection.ping().await?;
            Own::MySql(connection)
        }
        (None, Target::Postgres(target)) => Own::Postgres(target.connect().await?),
        (None, Target::MySql(target)) => Own::MySql(target.connect().await?),
    };
    Ok(Answered { connection, is_new })
}

/// Brings the tables up to date. In MySQL, a change of tables that breaks off in the middle has to be
/// mended by hand: this is not the place for short patience.
async fn migrate(connection: &mut Own, tables: &'static [Table]) -> Result<(), Cause> {
    let migrated = async {
        match connection {
            Own::Postgres(connection) => migration::migrate_postgres(connection, tables).await,
            Own::MySql(connection) => migration::migrate_mysql(connection, tables).await,
        }
    };
    let migrated = time::timeout(MIGRATE_TIMEOUT, migrated).await;
    Ok(migrated.map_err(|_| "its tables could not be brought up to date in time")??)
}
