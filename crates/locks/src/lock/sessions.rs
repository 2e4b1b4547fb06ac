//! Locks that a database session holds: each lives as long as its connection. Postgres and MySQL have
//! them, and differ in their words.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    error::BackendError,
    lock::{Attempt, Claim, Grant, Lock, Release},
    name::Name,
    wait::Waitable,
    wires::{
        metrics::Op,
        sql::{Session, SqlClient, Value},
    },
};

/// How often it is looked whether a session has ended.
const END_STEP: Duration = Duration::from_millis(5);

/// What a database calls such a lock, and how it is asked for one.
pub trait Words: Send + Sync {
    /// The lock of a product, as a value for a statement.
    type Key: Send + Sync + 'static;

    /// The lock of a product.
    fn key(name: &Name) -> Self::Key;

    /// What stands for it in a statement.
    fn values(key: &Self::Key) -> Vec<Value<'_>>;

    /// Names the session: one number.
    const SESSION: &str;
    /// Takes the lock if nobody has it. 1: taken; 0: somebody has it; NULL: neither is known.
    const TRY: &str;
    /// Whether this session is the holder: 1.
    const IS_HELD: &str;
    /// Gives the lock back: 1 if this session was the holder.
    const RELEASE: &str;

    /// The sessions that hold it.
    fn holders(
        session: &mut Session,
        key: &Self::Key,
    ) -> impl Future<Output = Result<Vec<i64>, BackendError>> + Send;

    /// Tells one session to end, if it holds the lock or waits for it.
    fn end(
        session: &mut Session,
        key: &Self::Key,
        id: i64,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Waits for the lock in the database's own queue, for so long: as [`Self::TRY`].
    fn queue(
        session: &mut Session,
        key: &Self::Key,
        wait: Duration,
    ) -> impl Future<Output = Result<Option<i64>, BackendError>> + Send;
}

/// A session that holds a lock. Whoever uses it has it alone.
type Pinned = Arc<tokio::sync::Mutex<Session>>;

/// Such a lock.
pub struct SessionLock<W> {
    client: Arc<SqlClient>,
    /// By owner id. As many as the pool has connections, at most.
    held: Mutex<HashMap<String, Pinned>>,
    /// Sessions that wait in the database's queue, which does not notice at once when they have gone.
    waiting: Mutex<HashMap<String, i64>>,
    words: std::marker::PhantomData<fn() -> W>,
}

impl<W: Words + 'static> SessionLock<W> {
    /// At that database, on connections of this client's pool, which should have no other use.
    #[must_use]
    pub fn new(client: Arc<SqlClient>) -> Self {
        Self {
            client,
            held: Mutex::default(),
            waiting: Mutex::default(),
            words: std::marker::PhantomData,
        }
    }

    /// Keeps a session that has been granted the lock. From now on, nobody but the claim's owner ends it.
    fn pin(&self, claim: &Claim, session: Session, since: Instant) -> Attempt {
        let pinned = Arc::new(tokio::sync::Mutex::new(session));
        self.held.lock().insert(claim.token.as_str().to_owned(), pinned);
        // The database keeps the lock for as long as the connection lives. That it does is known by its
        // answers, so a holder that has heard nothing for a ttl takes the lock for lost.
        Attempt::Granted(Grant { renewals_max: u32::MAX, ..Grant::until(since + claim.ttl) })
    }

    fn held(&self, claim: &Claim) -> Option<Pinned> {
        self.held.lock().get(claim.token.as_str()).cloned()
    }

    /// The session, which is no longer kept.
    fn unpin(&self, claim: &Claim) -> Option<Pinned> {
        self.held.lock().remove(claim.token.as_str())
    }

    /// Asks the session itself. One that does not say that it is the holder is closed.
    async fn is_held(&self, claim: &Claim, op: Op) -> bool {
        let Some(pinned) = self.held(claim) else { return false };
        let key = W::key(&claim.name);
        // Whoever drops the question must not leave the session in doubt, and the lock with it.
        let asked = tokio::spawn(async move {
            let mut session = pinned.lock().await;
            number(&mut session, op, W::IS_HELD, &W::values(&key)).await
        });
        let is_held = matches!(asked.await, Ok(Ok(Some(1))));
        if !is_held {
            self.unpin(claim);
        }
        is_held
    }

    /// Ends a session that may wait for the lock, or hold it by now, although its connection is closed.
    async fn end(&self, claim: &Claim, session: i64) -> Result<(), BackendError> {
        let key = W::key(&claim.name);
        let mut other = self.client.session_soon().await?;
        W::end(&mut other, &key, session).await
    }
}

/// The number in the one row of an answer.
async fn number(
    session: &mut Session,
    op: Op,
    sql: &str,
    values: &[Value<'_>],
) -> Result<Option<i64>, BackendError> {
    let rows: Vec<(Option<i64>,)> = session.rows(op, sql, values).await?;
    Ok(rows.into_iter().next().and_then(|(number,)| number))
}

/// What an answer of [`Words::TRY`] means.
fn is_granted(answer: Option<i64>, backend: &'static str) -> Result<bool, BackendError> {
    answer.map(|granted| granted == 1).ok_or_else(|| null(backend))
}

/// Neither granted nor refused: the thread was killed, or had no memory.
fn null(backend: &'static str) -> BackendError {
    let cause = "it was asked for the lock and answered NULL".into();
    BackendError::Unavailable { backend, cause }
}

/// Nobody tells of these locks: whoever waits is in the database's queue.
impl<W: Words + 'static> Waitable for SessionLock<W> {}

#[async_trait]
impl<W: Words + 'static> Lock for SessionLock<W> {
    fn outlives_ttl(&self) -> bool {
        true
    }

    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        let key = W::key(&claim.name);
        let mut session = self.client.session_soon().await?;
        let since = Instant::now();
        // Until the database says that it is not: dropped before, the connection is closed.
        session.holds(true);
        let answer = number(&mut session, Op::Acquire, W::TRY, &W::values(&key)).await;
        // A connection that is closed holds nothing: that there was no answer is all there is to know.
        if is_granted(answer.map_err(BackendError::into_undone)?, self.client.name())? {
            return Ok(self.pin(claim, session, since));
        }
        session.holds(false);
        Ok(Attempt::Busy)
    }

    fn has_queue(&self) -> bool {
        true
    }

    async fn queue(
        &self,
        claim: &Claim,
        until: Instant,
        gone: &CancellationToken,
    ) -> Result<Attempt, BackendError> {
        let key = W::key(&claim.name);
        let session = gone.run_until_cancelled(self.client.session(until)).await;
        let Some(session) = session else { return Ok(Attempt::Busy) };
        let mut session = session?;
        let id = number(&mut session, Op::Session, W::SESSION, &[]).await?.unwrap_or_default();
        // Whoever drops this leaves it to the release task, which ends the session.
        self.waiting.lock().insert(claim.token.as_str().to_owned(), id);
        session.holds(true);
        let wait = until.saturating_duration_since(Instant::now());
        let answer = gone.run_until_cancelled(W::queue(&mut session, &key, wait)).await;
        // From when on its answers are counted: it has only just been heard.
        let since = Instant::now();
        let attempt = match answer {
            Some(Ok(Some(1))) => Ok(self.pin(claim, session, since)),
            // What it did is not known, so it is closed.
            Some(Ok(None)) => Err(null(self.client.name())),
            Some(Ok(_)) => {
                session.holds(false);
                Ok(Attempt::Busy)
            }
            // Postgres may have granted it at the very moment, and keeps it for the session although it says
            // that the wait was too long: whatever failed, the connection is closed.
            Some(Err(BackendError::Contended { .. })) => Ok(Attempt::Busy),
            Some(Err(error)) if !error.is_outage() => Err(error),
            unanswered => {
                drop(session);
                // If that fails, it is left to the release task.
                self.end(claim, id).await.map_err(BackendError::into_unknown)?;
                match unanswered {
                    Some(Err(error)) => Err(error.into_undone()),
                    _ => Ok(Attempt::Busy),
                }
            }
        };
        self.waiting.lock().remove(claim.token.as_str());
        attempt
    }

    async fn renew(&self, claim: &Claim) -> Result<Option<Instant>, BackendError> {
        let since = Instant::now();
        Ok(self.is_held(claim, Op::Renew).await.then_some(since + claim.ttl))
    }

    async fn confirm(&self, claim: &Claim) -> bool {
        self.is_held(claim, Op::Renew).await
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        let Some(pinned) = self.unpin(claim) else { return Ok(Release::Expired) };
        let key = W::key(&claim.name);
        let mut session = pinned.lock().await;
        let answer = number(&mut session, Op::Release, W::RELEASE, &W::values(&key)).await?;
        let was_held = answer == Some(1);
        // Otherwise there is doubt, and the connection is closed.
        session.holds(!was_held);
        Ok(if was_held { Release::Released } else { Release::Expired })
    }

    /// What may be held is held by a connection: closing it ends everything.
    async fn undo(&self, claim: &Claim) -> Result<Release, BackendError> {
        let waiting = self.waiting.lock().get(claim.token.as_str()).copied();
        if let Some(session) = waiting {
            self.end(claim, session).await?;
            self.waiting.lock().remove(claim.token.as_str());
        }
        self.release(claim).await
    }

    /// Its connection dies with it.
    fn crash(&self, claim: &Claim) {
        drop(self.unpin(claim));
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        let key = W::key(name);
        let mut session = self.client.session_soon().await?;
        let ended = W::holders(&mut session, &key).await?;
        for id in &ended {
            W::end(&mut session, &key, *id).await?;
        }
        // They have been told; until they have ended, they hold it.
        let until = Instant::now() + self.client.timeout();
        while W::holders(&mut session, &key).await?.iter().any(|id| ended.contains(id)) {
            if Instant::now() >= until {
                let cause = "the session that holds the lock was told to end, and has not".into();
                return Err(BackendError::Unavailable { backend: self.client.name(), cause });
            }
            time::sleep(END_STEP).await;
        }
        Ok(())
    }
}
