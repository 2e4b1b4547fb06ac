//! etcd: one connection to each member of a cluster, of which one is used.
//!
//! A supervisor asks every member for a key again and again, in a way that only a member with a
//! leader can answer. Commands go to the first member that did: one that hangs, or has lost sight of
//! the majority, costs the commands that were under way, and no others.

use std::{error::Error as _, io, sync::Arc};

use etcd_client::{Client, ConnectOptions, Error, GetOptions, WatchFilterType, WatchOptions};
use futures_util::future::join_all;
use tokio::{
    sync::watch,
    time::{self, Duration},
};
use url::Url;

use crate::{
    error::BackendError,
    wires::{
        circuit,
        exchange::{Exchange, RECONNECT_INTERVAL},
        metrics::{BackendMetrics, ErrorKind as Kind, Op},
    },
};

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
    timeout: Duration,
    exchange: Arc<Exchange>,
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
        let exchange = Exchange::new(metrics);
        let (sender, current) = watch::channel(None);
        let supervisor = Supervisor {
            members: Arc::clone(&members),
            current: sender,
            timeout,
            exchange: Arc::clone(&exchange),
        };
        supervisor.probe().await;
        tokio::spawn(supervisor.run());
        Ok(Self { members, current, timeout, exchange })
    }

    /// Whether a member answered the last probe.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// Whether commands are let through.
    #[must_use]
    pub fn circuit(&self) -> circuit::State {
        self.exchange.circuit.state()
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
            BackendError::Refused { backend: self.exchange.name(), cause }
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
        self.exchange.let_through(|| None)?;
        let current = *self.current.borrow();
        let Some(member) = current.and_then(|member| self.members.get(member)) else {
            return Err(self.exchange.not_sent("no member with a leader answers"));
        };
        let reply = async { send(member.clone()).await.map(Some) };
        self.exchange.observe(op, self.timeout, reply, |error| self.classify(error)).await
    }

    /// Decides whether a command that failed may have been executed.
    fn classify<T>(&self, error: Error) -> Result<Option<T>, BackendError> {
        if is_not_found(&error) {
            return Ok(None);
        }
        Err(if code(&error).is_some_and(|code| REFUSALS.contains(&code)) {
            self.exchange.refused(error)
        } else if was_refused_a_connection(&error) {
            self.exchange.suspect.notify_one();
            self.exchange.unavailable(error)
        } else {
            self.exchange.unknown(Kind::Io, error)
        })
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
    timeout: Duration,
    exchange: Arc<Exchange>,
}

impl Supervisor {
    /// Runs until every client is gone.
    async fn run(self) {
        loop {
            let is_up = self.current.borrow().is_some();
            if !self.exchange.until_due(is_up, &self.current).await {
                return;
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
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            let backend = self.exchange.name();
            tracing::warn!(backend, before, after, "another member is used");
        }
        self.exchange.tell(before.is_some(), after.is_some(), None);
        self.current.send_if_modified(|current| std::mem::replace(current, after) != after);
    }
}
