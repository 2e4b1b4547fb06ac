//! Answers in a database. A reset forgets them with their generation.

use async_trait::async_trait;
use tokio::time::Duration;

use super::SqlStock;
use crate::stock::answer::{Answer, Answers, Begun, Key};
use locklab_locks::{
    error::BackendError,
    wires::{
        metrics::Op,
        sql::{Dialect, Session, Value},
    },
};

/// The most outlived answers that are cleared away at once.
const CLEARED_MAX: u32 = 64;

/// Milliseconds since 1970, by the clock of the database.
pub(super) fn now_ms(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        Dialect::MySql => "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
    }
}

fn place(key: &Key) -> [Value<'_>; 2] {
    [key.generation.0.as_str().into(), Value::Text(Some(key.name.as_str()))]
}

fn encode(answer: &Answer) -> Result<String, BackendError> {
    serde_json::to_string(answer).map_err(refused)
}

fn decode(text: &str) -> Result<Answer, BackendError> {
    serde_json::from_str(text).map_err(refused)
}

fn refused(error: serde_json::Error) -> BackendError {
    BackendError::Refused { backend: "the database", cause: error.into() }
}

/// The answer that is kept under a key.
pub(super) async fn kept(session: &mut Session, key: &Key) -> Result<Option<Answer>, BackendError> {
    let sql = "SELECT answer FROM locklab_answers WHERE generation = ? AND name = ?";
    let rows: Vec<(Option<String>,)> = session.rows(Op::Answer, sql, &place(key)).await?;
    rows.into_iter().next().and_then(|(answer,)| answer).as_deref().map(decode).transpose()
}

/// Keeps an answer, unless there is one.
pub(super) async fn keep(
    session: &mut Session,
    key: &Key,
    answer: &Answer,
) -> Result<(), BackendError> {
    let dialect = session.dialect();
    let unless = match dialect {
        Dialect::Postgres => {
            "ON CONFLICT (generation, name) DO UPDATE SET \
             answer = COALESCE(locklab_answers.answer, excluded.answer), until_ms = excluded.until_ms"
        }
        Dialect::MySql => {
            "ON DUPLICATE KEY UPDATE answer = COALESCE(answer, VALUES(answer)), \
             until_ms = VALUES(until_ms)"
        }
    };
    let now = now_ms(dialect);
    let sql = format!(
        "INSERT INTO locklab_answers (generation, name, claim, answer, until_ms) \
         VALUES (?, ?, ?, ?, {now} + ?) {unless}"
    );
    let (answer, ttl) = (encode(answer)?, key.ttl.as_millis() as i64);
    let values =
        [place(key).as_slice(), &[key.claim.as_str().into(), answer.as_str().into(), ttl.into()]]
            .concat();
    session.change(Duration::ZERO, Op::Answer, &sql, &values).await.map(|_| ())
}

/// Clears away what has outlived its time. Others do the same: those rows are theirs.
async fn clear(session: &mut Session) -> Result<(), BackendError> {
    let now = now_ms(session.dialect());
    let sql = match session.dialect() {
        Dialect::Postgres => format!(
            "DELETE FROM locklab_answers WHERE (generation, name) IN (\
                 SELECT generation, name FROM locklab_answers WHERE until_ms <= {now} \
                 ORDER BY until_ms LIMIT {CLEARED_MAX} FOR UPDATE SKIP LOCKED)"
        ),
        Dialect::MySql => format!(
            "DELETE FROM locklab_answers WHERE until_ms <= {now} \
             ORDER BY until_ms, generation, name LIMIT {CLEARED_MAX}"
        ),
    };
    session.change(Duration::ZERO, Op::Answer, &sql, &[]).await.map(|_| ())
}

#[async_trait]
impl Answers for SqlStock {
    async fn begin(&self, key: &Key, ttl: Duration) -> Result<Begun, BackendError> {
        let mut session = self.client.session_soon().await?;
        // Clearing away may meet others who do the same: it can wait.
        match clear(&mut session).await {
            Err(error) if error.is_outage() => return Err(error),
            _ => {}
        }
        let now = now_ms(session.dialect());
        let insert = match session.dialect() {
            Dialect::Postgres => ("INSERT", "ON CONFLICT DO NOTHING"),
            Dialect::MySql => ("INSERT IGNORE", ""),
        };
        let sql = format!(
            "{} INTO locklab_answers (generation, name, claim, until_ms) \
             VALUES (?, ?, ?, {now} + ?) {}",
            insert.0, insert.1
        );
        let (claim, ttl) = (key.claim.as_str().into(), (ttl.as_millis().max(1) as i64).into());
        let values = [place(key).as_slice(), &[claim, ttl]].concat();
        if session.change(Duration::ZERO, Op::Answer, &sql, &values).await? == 1 {
            return Ok(Begun::First);
        }
        let sql = "SELECT answer FROM locklab_answers WHERE generation = ? AND name = ?";
        let there: Vec<(Option<String>,)> = session.rows(Op::Answer, sql, &place(key)).await?;
        // What has outlived its time is not there. It was not cleared away yet, so its place is taken.
        let sql = format!(
            "UPDATE locklab_answers SET claim = ?, answer = NULL, until_ms = {now} + ? \
             WHERE generation = ? AND name = ? AND until_ms <= {now}"
        );
        let values = [[claim, ttl].as_slice(), &place(key)].concat();
        if session.change(Duration::ZERO, Op::Answer, &sql, &values).await? == 1 {
            return Ok(Begun::First);
        }
        Ok(match there.into_iter().next() {
            Some((Some(answer),)) => Begun::Answered(decode(&answer)?),
            // Who has just given up will not be there at the next look.
            Some((None,)) | None => Begun::UnderWay,
        })
    }

    async fn conclude(&self, key: &Key, answer: Answer) -> Result<Answer, BackendError> {
        let mut session = self.client.session_soon().await?;
        keep(&mut session, key, &answer).await?;
        Ok(kept(&mut session, key).await?.unwrap_or(answer))
    }

    async fn abandon(&self, key: &Key) -> Result<(), BackendError> {
        let mut session = self.client.session_soon().await?;
        let sql = "DELETE FROM locklab_answers \
                   WHERE generation = ? AND name = ? AND claim = ? AND answer IS NULL";
        let values = [place(key).as_slice(), &[key.claim.as_str().into()]].concat();
        session.change(Duration::ZERO, Op::Answer, sql, &values).await.map(|_| ())
    }
}
