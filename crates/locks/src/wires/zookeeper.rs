//! ZooKeeper: one session, which all locks of this server share, and which a supervisor renews.
//!
//! An ensemble allows an address few connections (60 by default), so a session for each purchase is out
//! of the question. The supervisor asks for a node again and again, as it does for a session that has
//! ended: its nodes are gone by then, so whoever held a lock under it has lost it. Commands are sent
//! while the session is connected and answers, and at no other time: none waits in a queue for the
//! connection to come back, to be carried out when nobody expects it any more.

mod hosts;
mod version;

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{self, Duration},
};
use zookeeper_client::{Acls, Client, Connector, CreateMode, Error, SessionState};

pub use self::hosts::{Hosts, InvalidHosts};
use crate::{
    error::BackendError,
    wires::{
        circuit,
        exchange::{Exchange, RECONNECT_INTERVAL},
        metrics::{BackendMetrics, ErrorKind as Kind, Op},
    },
};

/// A node that every ensemble has.
const PROBE_NODE: &str = "/";

/// Where an ensemble is, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct ZooKeeperOptions {
    /// Its servers.
    pub hosts: Hosts,
    /// The longest wait for a connection, and for an answer.
    pub timeout: Duration,
    /// How long a session is to outlive its last sign of life; the ensemble has the last word.
    pub session_timeout: Duration,
}

/// A ZooKeeper that is connected to lazily, with a new session after every one that has ended.
pub struct ZooKeeperClient {
    options: ZooKeeperOptions,
    /// The session, while it answers.
    session: watch::Receiver<Option<Client>>,
    exchange: Arc<Exchange>,
}

impl ZooKeeperClient {
    /// A client with its supervisor running. An ensemble that is away is not an error: it may come.
    pub async fn connect(options: ZooKeeperOptions, metrics: Arc<BackendMetrics>) -> Self {
        let exchange = Exchange::new(metrics);
        let (sender, mut session) = watch::channel(None);
        let supervisor = Supervisor {
            options: options.clone(),
            session: sender,
            exchange: Arc::clone(&exchange),
        };
        tokio::spawn(supervisor.run());
        time::timeout(options.timeout, session.wait_for(Option::is_some)).await.ok();
        Self { options, session, exchange }
    }

    /// Whether the session answered its last probe.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.session.borrow().is_some()
    }

    /// Whether commands are let through.
    #[must_use]
    pub fn circuit(&self) -> circuit::State {
        self.exchange.circuit.state()
    }

    /// How long the session outlives its last sign of life: as negotiated, once there has been one.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        let session = self.session.borrow();
        session.as_ref().map_or(self.options.session_timeout, Client::session_timeout)
    }

    /// The session that is shared.
    ///
    /// # Errors
    /// None answers, or the circuit is open.
    pub fn session(&self) -> Result<Client, BackendError> {
        let session = self.session.borrow().clone();
        session.ok_or_else(|| self.exchange.not_sent("no session answers"))
    }

    /// A session apart, which nobody closes: it ends at the ensemble's when it is dropped and has not
    /// been heard of for the session timeout, as that of a process that dies.
    ///
    /// # Errors
    /// There is none to be had.
    ///
    /// # Cancellation
    /// A session that is not waited for ends by itself.
    pub async fn session_apart(&self) -> Result<Client, BackendError> {
        let opened =
            time::timeout(self.options.timeout, self.options.open(Connector::with_detached));
        match opened.await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(self.exchange.not_sent(error)),
            Err(late) => Err(self.exchange.not_sent(late)),
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
        session: &Client,
        send: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, BackendError> {
        self.found(op, session, send).await?.ok_or_else(|| {
            let cause = "there is no such node".into();
            BackendError::Refused { backend: self.exchange.name(), cause }
        })
    }

    /// The same, for a command about a node that may be gone: `None` if it is.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub async fn found<T>(
        &self,
        op: Op,
        session: &Client,
        send: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<Option<T>, BackendError> {
        self.exchange.let_through(|| None)?;
        if session.state() != SessionState::SyncConnected {
            return Err(self.exchange.not_sent("the session is not connected"));
        }
        let reply = async { send(session).await.map(Some) };
        self.exchange.observe(op, self.options.timeout, reply, |error| self.classify(error)).await
    }

    /// Decides whether a command that failed may have been executed.
    fn classify<T>(&self, error: Error) -> Result<Option<T>, BackendError> {
        match error {
            Error::NoNode => Ok(None),
            error if is_refusal(&error) => Err(self.exchange.refused(error)),
            error => Err(self.exchange.unknown(Kind::Io, error)),
        }
    }

    /// Waits until a node is deleted, or changes, or nobody tells any more: whoever waits has to look
    /// again in any case.
    ///
    /// # Cancellation
    /// Dropping the future ends the watch.
    pub async fn until_deleted(&self, session: &Client, path: &str) {
        // `exists` would leave a watch at a node that is gone already.
        let watch = async |session: &Client| session.get_and_watch_data(path).await;
        match self.found(Op::Acquire, session, watch).await {
            Ok(Some((_, _, watcher))) => drop(watcher.changed().await),
            Ok(None) => {}
            // It would not be told any better at once.
            Err(_) => time::sleep(RECONNECT_INTERVAL).await,
        }
    }

    /// Waits until there is a session after one that has ended, at most for the timeout.
    pub async fn another_session(&self) {
        let mut session = self.session.clone();
        let lives = |session: &Option<Client>| {
            session.as_ref().is_some_and(|session| !session.state().is_terminated())
        };
        time::timeout(self.options.timeout, session.wait_for(lives)).await.ok();
    }

    /// Waits until a session that has lost its connection has another one, at most for the timeout.
    pub async fn reconnected(&self, session: &Client) {
        let mut states = session.state_watcher();
        let reconnected = async {
            let mut state = session.state();
            while state == SessionState::Disconnected {
                state = states.changed().await;
            }
        };
        time::timeout(self.options.timeout, reconnected).await.ok();
    }
}

/// Whether the ensemble has understood the command, and will not do it.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::BadArguments(_)
            | Error::NoAuth
            | Error::BadVersion
            | Error::NoChildrenForEphemerals
            | Error::NodeExists
            | Error::NotEmpty
            | Error::InvalidAcl
            | Error::NotReadOnly
            | Error::NoWatcher
            | Error::QuotaExceeded
            | Error::Throttled
            | Error::MarshallingError
            | Error::Unimplemented
            | Error::UnexpectedErrorCode(_)
    )
}

impl ZooKeeperOptions {
    /// A new session, below the root that the hosts name.
    async fn open(&self, how: impl FnOnce(Connector) -> Connector) -> Result<Client, Error> {
        let connector = Client::connector()
            .with_session_timeout(self.session_timeout)
            .with_connection_timeout(self.timeout)
            .with_fail_eagerly();
        let session = how(connector).connect(self.hosts.servers()).await?;
        let Some(root) = self.hosts.root() else { return Ok(session) };
        // Below a root that is not there, every command would find nothing.
        session.mkdir(root, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await?;
        session.chroot(root).map_err(|_| Error::BadArguments(&"the root is not a path"))
    }
}

/// Sees to it that there is a session.
struct Supervisor {
    options: ZooKeeperOptions,
    session: watch::Sender<Option<Client>>,
    exchange: Arc<Exchange>,
}

impl Supervisor {
    /// Runs until every client is gone.
    async fn run(self) {
        loop {
            tokio::select! {
                opened = self.options.open(|connector| connector) => match opened {
                    Ok(session) => self.attend(&session).await,
                    Err(error) => tracing::debug!(backend = self.exchange.name(), %error, "no session"),
                },
                () = self.session.closed() => return,
            }
            self.publish(None);
            tokio::select! {
                () = time::sleep(RECONNECT_INTERVAL) => {}
                () = self.session.closed() => return,
            }
        }
    }

    /// Asks a session whether it answers, until it has ended.
    async fn attend(&self, session: &Client) {
        let mut states = session.state_watcher();
        loop {
            // Without a connection, the question would wait for one.
            let answers = session.state() == SessionState::SyncConnected && {
                let probe = time::timeout(self.options.timeout, session.check_stat(PROBE_NODE));
                matches!(probe.await, Ok(Ok(_)))
            };
            self.publish(answers.then(|| session.clone()));
            let state = tokio::select! {
                state = states.changed() => state,
                is_due = self.exchange.until_due(answers, &self.session) => match is_due {
                    true => session.state(),
                    false => return,
                },
            };
            if state.is_terminated() {
                let (backend, id) = (self.exchange.name(), session.session_id());
                tracing::warn!(backend, %id, %state, "a session has ended, and every lock held under it");
                return;
            }
        }
    }

    /// Makes known which session answers, if one does.
    fn publish(&self, session: Option<Client>) {
        let was_up = self.session.borrow().is_some();
        self.exchange.tell(was_up, session.is_some(), None);
        let id = |session: &Option<Client>| session.as_ref().map(Client::session_id);
        self.session.send_if_modified(|current| {
            let is_new = id(current) != id(&session);
            *current = session;
            is_new
        });
    }
}
