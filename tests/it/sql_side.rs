//! A database whose sessions hold locks, and what is said to it about them, in plain SQL.

use sqlx::Executor;

use crate::{
    redis_server::{Farm, Redis},
    server::until,
    sql_servers::{MySql, Postgres},
};

/// One of the two.
pub struct Side {
    pub lock: &'static str,
    pub farm: Farm,
}

impl Side {
    pub async fn postgres() -> Self {
        let farm = Farm::bare(Redis::start().await);
        let farm = Farm { postgres: Postgres::shared().await, ..farm };
        Self { lock: "postgres-advisory", farm }
    }

    pub async fn mysql() -> Self {
        let farm = Farm { mysql: MySql::shared().await, ..Farm::bare(Redis::start().await) };
        Self { lock: "mysql-lock", farm }
    }

    pub async fn both() -> [Self; 2] {
        tokio::join!(Self::postgres(), Self::mysql()).into()
    }

    fn is_postgres(&self) -> bool {
        self.lock == "postgres-advisory"
    }

    pub fn buy(&self, parameters: &str) -> String {
        format!("/purchase?product=p&lock={}&{parameters}", self.lock)
    }

    pub async fn is_locked(&self) -> bool {
        self.farm.is_locked("p").await
    }

    pub async fn held(&self) {
        until("somebody has the lock", async || self.is_locked().await).await;
    }

    /// Ends the connection that holds the lock, and says how many did.
    pub async fn kill_holder(&self) -> i64 {
        if self.is_postgres() {
            let held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted";
            return self.farm.postgres.end_sessions(&format!("pid IN ({held})")).await;
        }
        let killed = self.farm.mysql.end_sessions("id = IS_USED_LOCK('locklab:p')").await;
        killed.try_into().unwrap()
    }

    /// Which sessions are in the database's queue for a lock, whichever.
    pub async fn waiting(&self) -> i64 {
        if self.is_postgres() {
            // Those of the database, for others are in use at the same server.
            let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                           AND database = (SELECT oid FROM pg_database \
                                           WHERE datname = current_database())";
            return self.farm.postgres.fetch(waiting).await;
        }
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
                       WHERE info LIKE '%GET_LOCK%' AND id <> CONNECTION_ID()";
        self.farm.mysql.fetch(waiting).await
    }

    /// The session that holds the lock of the product.
    pub async fn holder(&self) -> i64 {
        if self.is_postgres() {
            let holder = "SELECT CAST(pid AS BIGINT) FROM pg_locks WHERE locktype = 'advisory' \
                          AND granted AND database = (SELECT oid FROM pg_database \
                                                      WHERE datname = current_database())";
            return self.farm.postgres.fetch(holder).await;
        }
        self.farm.mysql.fetch("SELECT CAST(IS_USED_LOCK('locklab:p') AS SIGNED)").await
    }

    pub async fn is_there(&self, session: i64) -> bool {
        let found: i64 = if self.is_postgres() {
            let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {session}");
            self.farm.postgres.fetch(&sql).await
        } else {
            let processes = "information_schema.processlist";
            let sql = format!("SELECT COUNT(*) FROM {processes} WHERE id = {session}");
            self.farm.mysql.fetch(&sql).await
        };
        found == 1
    }

    /// Takes the lock as another program would, by its documented name, and keeps it.
    pub async fn foreigner(&self, product: &str) -> Foreigner {
        if self.is_postgres() {
            let mut session = self.farm.postgres.connect().await;
            let key = format!(
                "('x' || left(encode(sha256('locklab:{product}'), 'hex'), 16))::bit(64)::bigint"
            );
            let sql = format!("SELECT CAST(CAST(pg_try_advisory_lock({key}) AS INT) AS BIGINT)");
            let taken = sqlx::query_scalar(&sql).fetch_one(&mut session).await.unwrap();
            return Foreigner { taken, session: Session::Postgres(session) };
        }
        let mut session = self.farm.mysql.connect().await;
        let name = if product.len() <= 56 {
            format!("'locklab:{product}'")
        } else {
            format!("CONCAT('locklab:', LEFT(SHA2('locklab:{product}', 256), 56))")
        };
        let sql = format!("SELECT CAST(GET_LOCK({name}, 0) AS SIGNED)");
        let taken = sqlx::query_scalar(&sql).fetch_one(&mut session).await.unwrap();
        Foreigner { taken, session: Session::MySql(session) }
    }
}

enum Session {
    Postgres(sqlx::PgConnection),
    MySql(sqlx::MySqlConnection),
}

/// Another program that contends for the same lock.
pub struct Foreigner {
    /// Whether it has it: 1.
    pub taken: i64,
    session: Session,
}

impl Foreigner {
    pub async fn release(mut self) {
        match &mut self.session {
            Session::Postgres(session) => {
                session.execute("SELECT pg_advisory_unlock_all()").await.map(|_| ()).unwrap();
            }
            Session::MySql(session) => {
                session.execute("SELECT RELEASE_ALL_LOCKS()").await.map(|_| ()).unwrap();
            }
        }
    }
}
