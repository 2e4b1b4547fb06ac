//! etcd: one connection to each member of a cluster, of which one is used.
//!
//! A supervisor asks every member for a key again and again, in a way that only a member with a
//! leader can answer. Commands go to the first member that did: one that hangs, or has lost sight of
//! the majority, costs the commands that were under way, and no others.

use std::{error::Error as _, io, sync::Arc};

use etcd_client::{Client, ConnectOptions, Error, GetOptions, WatchFilterType, WatchOptions};
use futures_util::future::join_all;
use tokio::{
    sync::{Notify, watch},
    time::{self, Duration, Instant},
};
use url::Url;

use crate::{
    error::BackendError,
    wires::{
        circuit::{self, Circuit},
        metrics::{BackendMetrics, ErrorKind as Kind, Op},
    },
};

/// How often members are asked whether they answer.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How soon to ask again while none does.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);
/// A key that nobody has.
const PROBE_KEY: &str = "locklab";

/// gRPC's codes for answers: the server has understood the command, and will not do it.
const REFUSALS: [i32; 9] = [3, 5, 6, 7, 8, 9, 11, 12, 16];
/// gRPC's code for what is not there.
const NOT_FOUND: i32 = 5;

/// An endpoint is not one. It is not repeated, for it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("expected http://host:port of each member, without a user")]
pub struct InvalidEndpoint;

/// An etcd that is connected to lazily and again after every loss.
pub struct EtcdClient {
    members: Arc<[Client]>,
    /// Which member is used: one that answered its last probe.
    current: watch::Receiver<Option<usize>>,
    /// Wakes the supervisor before its interval is over.
    suspect: Arc<Notify>,
    circuit: Arc<Circuit>,
    timeout: Duration,
    metrics: Arc<BackendMetrics>,
}

impl EtcdClient {
    /// A client for these members of one cluster, with its supervisor running; connects in the
    /// background.
    ///
    /// # Errors
    /// An endpoint is not valid.
    pub async fn connect(
        endpoints: &[String],
        timeout: Duration,
        metrics: Arc<BackendMetrics>,
    ) -> Result<Self, InvalidEndpoint> {
        let mut members = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let is_plain = Url::parse(endpoint).is_ok_and(|url| {
                (url.scheme(), url.path(), url.username()) == ("http", "/", "") && url.has_host()
            });
            if !is_plain {
                return Err(InvalidEndpoint);
            }
            let options =
                ConnectOptions::new().with_connect_timeout(timeout).with_require_leader(true);
            members.push(
                Client::connect([endpoint], Some(options)).await.map_err(|_| InvalidEndpoint)?,
            );
        }
        let members: Arc<[Client]> = members.into();
        let circuit = metrics.circuit();
        let (sender, current) = watch::channel(None);
        let suspect = Arc::new(Notify::new());
        let supervisor = Supervisor {
            members: Arc::clone(&members),
            current: sender,
            suspect: Arc::clone(&suspect),
            circuit: Arc::clone(&circuit),
            timeout,
            metrics: Arc::clone(&metrics),
        };
        supervisor.probe().await;
        tokio::spawn(supervisor.run());
        Ok(Self { members, current, suspect, circuit, timeout, metrics })
    }

    /// Whether a member answered the last probe.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// Whether commands are let through.
    #[must_use]
    pub fn circuit(&self) -> circuit::State {
        self.circuit.state()
    }

    /// What each member says that it is, if it says so in time.
    ///
    /// # Cancellation
    /// Safe: nothing is changed.
    pub async fn versions(&self, patience: Duration) -> Vec<Option<String>> {
        let ask = self.members.iter().map(|member| async move {
            let mut member = member.clone();
            let status = time::timeout(patience, member.status()).await.ok()?.ok()?;
            Some(format!("etcd {}", status.version()))
        });
        join_all(ask).await
    }

    /// Waits until a key is deleted after a revision, or until nobody tells any more: whoever waits has
    /// to look again in any case.
    ///
    /// # Cancellation
    /// Dropping the future ends the watch.
    pub async fn until_deleted(&self, key: &str, after: i64) {
        let mut current = self.current.clone();
        let member = *current.borrow_and_update();
        let Some(client) = member.and_then(|member| self.members.get(member)).cloned() else {
            return time::sleep(RECONNECT_INTERVAL).await;
        };
        tokio::select! {
            told = watch_deletion(client, key, after) => {
                if told.is_none() {
                    // It would not be told any better at once.
                    time::sleep(RECONNECT_INTERVAL).await;
                }
            }
            // Another member is used: the one that is watched may hang.
            _ = current.changed() => {}
        }
    }

    /// Sends one command.
    ///
    /// # Errors
    /// See [`BackendError`]: not sent, reply lost, or refused.
    ///
    /// # Cancellation
    /// Dropping the future does not recall a command that has been sent.
    pub async fn command<T>(
        &self,
        op: Op,
        send: impl AsyncFnOnce(Client) -> Result<T, Error>,
    ) -> Result<T, BackendError> {
        self.found(op, send).await?.ok_or_else(|| {
            let cause = "there is no such lease".into();
            BackendError::Refused { backend: self.metrics.name, cause }
        })
    }

    /// The same, for a command about a lease that may be gone: `None` if it is.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn found<T>(
        &self,
        op: Op,
        send: impl AsyncFnOnce(Client) -> Result<T, Error>,
    ) -> Result<Option<T>, BackendError> {
        let backend = self.metrics.name;
        if !self.circuit.lets_through() {
            self.metrics.error(Kind::CircuitOpen);
            return Err(BackendError::Unavailable { backend, cause: "its circuit is open".into() });
        }
        let current = *self.current.borrow();
        let Some(member) = current.and_then(|member| self.members.get(member)) else {
            self.metrics.error(Kind::Unavailable);
            self.circuit.record(false);
            let cause = "no member with a leader answers".into();
            return Err(BackendError::Unavailable { backend, cause });
        };
        let started = Instant::now();
        let result = match time::timeout(self.timeout, send(member.clone())).await {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(error)) if is_not_found(&error) => Ok(None),
            Ok(Err(error)) => Err(self.classify(error)),
            Err(late) => {
                self.suspect.notify_one();
                self.metrics.error(Kind::Timeout);
                Err(BackendError::Unknown { backend, cause: late.into() })
            }
        };
        self.metrics.request(op, started.elapsed(), result.is_ok());
        let is_answered = matches!(result, Ok(_) | Err(BackendError::Refused { .. }));
        self.circuit.record(is_answered);
        result
    }

    /// Decides whether a command that failed may have been executed.
    fn classify(&self, error: Error) -> BackendError {
        let backend = self.metrics.name;
        if code(&error).is_some_and(|code| REFUSALS.contains(&code)) {
            self.metrics.error(Kind::Refused);
            return BackendError::Refused { backend, cause: error.into() };
        }
        self.suspect.notify_one();
        if was_refused_a_connection(&error) {
            self.metrics.error(Kind::Unavailable);
            return BackendError::Unavailable { backend, cause: error.into() };
        }
        self.metrics.error(Kind::Io);
        BackendError::Unknown { backend, cause: error.into() }
    }
}

/// Waits for the deletion of a key; `None` when the watch ends before.
async fn watch_deletion(mut client: Client, key: &str, after: i64) -> Option<()> {
    let options =
        WatchOptions::new().with_start_revision(after + 1).with_filters([WatchFilterType::NoPut]);
    let mut stream = client.watch(key, Some(options)).await.ok()?;
    loop {
        let response = stream.message().await.ok()??;
        if response.canceled() {
            return None;
        }
        if !response.events().is_empty() {
            return Some(());
        }
    }
}

fn code(error: &Error) -> Option<i32> {
    match error {
        Error::GRpcStatus(status) => Some(status.code().into()),
        _ => None,
    }
}

/// The library says it in words when it is a keep-alive that finds no lease.
fn is_not_found(error: &Error) -> bool {
    code(error) == Some(NOT_FOUND) || matches!(error, Error::LeaseKeepAliveError(_))
}

/// Nobody listens where the member should be: nothing was sent.
fn was_refused_a_connection(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}

/// Knows which members answer.
struct Supervisor {
    members: Arc<[Client]>,
    current: watch::Sender<Option<usize>>,
    suspect: Arc<Notify>,
    circuit: Arc<Circuit>,
    timeout: Duration,
    metrics: Arc<BackendMetrics>,
}

impl Supervisor {
    /// Runs until every client is gone.
    async fn run(self) {
        loop {
            let pause =
                if self.current.borrow().is_some() { PROBE_INTERVAL } else { RECONNECT_INTERVAL };
            tokio::select! {
                () = time::sleep(pause) => {}
                () = self.suspect.notified() => {}
                () = self.current.closed() => return,
            }
            self.probe().await;
        }
    }

    /// Asks all members, and stays with the present one if it answers.
    async fn probe(&self) {
        let before = *self.current.borrow();
        let answers: Vec<bool> = join_all(self.members.iter().map(|member| {
            let mut member = member.clone();
            async move {
                let options = GetOptions::new().with_count_only();
                let read = time::timeout(self.timeout, member.get(PROBE_KEY, Some(options)));
                matches!(read.await, Ok(Ok(_)))
            }
        }))
        .await;
        let after = before
            .filter(|&member| answers.get(member) == Some(&true))
            .or_else(|| answers.iter().position(|&answered| answered));
        match (before, after) {
            (None, Some(_)) => {
                self.circuit.close();
                tracing::info!(backend = self.metrics.name, "it answers");
            }
            (Some(_), None) => tracing::warn!(backend = self.metrics.name, "it is away"),
            (Some(before), Some(after)) if before != after => {
                tracing::warn!(
                    backend = self.metrics.name,
                    before,
                    after,
                    "another member is used"
                );
            }
            _ => {}
        }
        self.metrics.up(after.is_some());
        self.current.send_if_modified(|current| std::mem::replace(current, after) != after);
    }
}
