//! One pub/sub connection, shared by everybody in this process who waits for a message.
//!
//! It is a connection of its own, made when it is first needed: once subscribed, it takes no other
//! commands, so bb8, which lends connections and takes them back, cannot own it.
//!
//! One task keeps it. Waiters only say in a table which channels are wanted; the task brings Redis in
//! line with the table, one command at a time, so that no order of subscribing and unsubscribing can
//! end otherwise than the table says. A message wakes one waiter of its channel. Redis forgets who
//! listened when the connection breaks: after it has been made again, one waiter of every channel is
//! woken, for there may have been a message.
//!
//! Channels, unlike keys, are shared by all databases of a server: a message may be about another
//! one's key. A waiter that it wakes looks, and waits on.

mod table;

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::StreamExt;
use redis::{
    RedisError,
    aio::{PubSubSink, PubSubStream},
};
use tokio::time::{self, Duration};
use tokio_util::sync::CancellationToken;

use self::table::{Phase, Table};
use super::link::Linker;
use crate::{
    error::BackendError,
    wires::{
        metrics::{BackendMetrics, ErrorKind},
        subscription::Subscription,
    },
};

/// How often a silent connection is checked.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Pause before the connection is made again; doubled each time that fails, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause before the connection is made again.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Who waits for a message, and is woken by it. Ends its task when dropped.
pub struct Wakeups {
    linker: Linker,
    table: Arc<Table>,
    started: AtomicBool,
    ended: CancellationToken,
    metrics: Arc<BackendMetrics>,
}

impl Wakeups {
    /// Connects when there is a first subscriber.
    pub(super) fn new(linker: Linker, metrics: Arc<BackendMetrics>) -> Self {
        let (table, started, ended) = Default::default();
        Self { linker, table, started, ended, metrics }
    }

    /// Subscribes to a channel. When this returns, Redis has confirmed it, so every message that is
    /// published afterwards wakes a subscriber of this process. Subscribers of one channel share one
    /// subscription; it ends, in the background, when the last of them is dropped.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`]: Redis did not confirm it within the command timeout.
    ///
    /// # Cancellation
    /// Dropping the future ends the subscription.
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription, BackendError> {
        self.start();
        let mut failures = self.table.failure.subscribe();
        let (membership, wakeup, mut phase) = Table::join(&self.table, channel);
        let confirmed = async {
            tokio::select! {
                biased;
                confirmed = phase.wait_for(|phase| *phase == Phase::Confirmed) => confirmed.is_ok(),
                _ = failures.changed() => false,
            }
        };
        if time::timeout(self.linker.timeout, confirmed).await == Ok(true) {
            return Ok(Subscription::new(wakeup, membership));
        }
        let cause = self.table.failure.borrow().clone();
        self.metrics.error(ErrorKind::Unavailable);
        let cause = cause.unwrap_or_else(|| "no confirmation in time".to_owned()).into();
        Err(BackendError::Unavailable { backend: self.metrics.name, cause })
    }

    /// Starts the task, unless it runs.
    fn start(&self) {
        if !self.started.swap(true, Ordering::Relaxed) {
            let table = Arc::clone(&self.table);
            let listener = Listener { linker: self.linker.clone(), table };
            let ended = self.ended.clone();
            tokio::spawn(async move { ended.run_until_cancelled(listener.run()).await });
        }
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl fmt::Debug for Wakeups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakeups").field("channels", &self.table.len()).finish_non_exhaustive()
    }
}

/// The task that keeps the connection.
struct Listener {
    /// Its timeout is for making the connection, and for the reply to each command.
    linker: Linker,
    table: Arc<Table>,
}

impl Listener {
    /// Runs until it is dropped.
    async fn run(self) {
        let mut pause = PAUSE_MIN;
        loop {
            self.table.wanted().await;
            let (was_live, error) = self.listen().await;
            self.table.lost();
            if was_live && !error.is_refusal() {
                pause = PAUSE_MIN;
                tracing::debug!(%error, "redis: the connection for wake-ups was lost");
            } else if self.table.failure.send_replace(Some(error.to_string())).is_none() {
                tracing::warn!(%error, "redis sends no wake-ups: waiters ask again and again");
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Makes the connection and keeps it until it breaks. Says whether Redis had answered any command
    /// on it, and why it ended.
    async fn listen(&self) -> (bool, Broken) {
        let pubsub = match self.in_time(self.linker.pubsub()).await {
            Ok(pubsub) => pubsub,
            Err(error) => return (false, error),
        };
        let (sink, stream) = pubsub.split();
        let mut was_live = false;
        let error = tokio::select! {
            error = self.subscribe(sink, &mut was_live) => error,
            () = self.wake(stream) => Broken::Closed,
        };
        (was_live, error)
    }

    /// Passes messages on until the connection breaks.
    async fn wake(&self, mut stream: PubSubStream) {
        while let Some(message) = stream.next().await {
            self.table.wake(message.get_channel_name());
        }
    }

    /// Brings Redis in line with the table, again and again. Gives up at the first failure, which
    /// leaves it uncertain what Redis knows: only a new connection knows that.
    async fn subscribe(&self, mut sink: PubSubSink, was_live: &mut bool) -> Broken {
        let mut live = HashSet::new();
        self.table.connected();
        loop {
            if let Err(error) = self.align(&mut sink, &mut live).await {
                return error;
            }
            *was_live = true;
        }
    }

    /// Tells Redis what has changed in the table; waits for that if nothing has.
    async fn align(
        &self,
        sink: &mut PubSubSink,
        live: &mut HashSet<Arc<str>>,
    ) -> Result<(), Broken> {
        let (wanted, unwanted) = self.table.changes(live);
        if !wanted.is_empty() {
            self.in_time(sink.subscribe(names(&wanted))).await?;
            self.table.confirm(&wanted);
        }
        if !unwanted.is_empty() {
            self.in_time(sink.unsubscribe(names(&unwanted))).await?;
        }
        if time::timeout(PROBE_INTERVAL, self.table.changed.notified()).await.is_err() {
            // A half-open connection is silent for ever.
            self.in_time(sink.ping::<redis::Value>()).await?;
        }
        Ok(())
    }

    async fn in_time<T>(
        &self,
        reply: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Broken> {
        Ok(time::timeout(self.linker.timeout, reply).await.map_err(|_| Broken::Silent)??)
    }
}

fn names(channels: &[Arc<str>]) -> Vec<&str> {
    channels.iter().map(|channel| &**channel).collect()
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the connection was closed")]
    Closed,
    #[error("no answer in time")]
    Silent,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl Broken {
    /// Whether Redis answered, and will not do it.
    fn is_refusal(&self) -> bool {
        let Self::Redis(error) = self else { return false };
        matches!(error.kind(), redis::ErrorKind::Server(_) | redis::ErrorKind::Extension)
    }
}
