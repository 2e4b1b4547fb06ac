//! The nodes of Redlock: independent Redis servers, of which a majority grants a lock.
//!
//! A node that has lost its memory (it crashed without a synchronous log, was flushed, was
//! replaced) would grant a lock that is held. "Distributed Locks with Redis", on crash recovery,
//! has it stay out for longer than any lease lasts. Here, each node carries a mark without which it
//! does not vote; the mark is lost with the rest, and a node without one gets it after that time.
//! It is checked in the same step as the vote, so no restart is too quick to be seen.

use metrics::Counter;
use metrics::Gauge;
use std::sync::{Arc, LazyLock};

use futures_util::future::join_all;
use redis::Script;
use tokio::{
    sync::watch,
    time::{self, Duration, Instant},
};

use crate::{
    definitions,
    error::BackendError,
    measure::{Kind, Registry},
    wires::{
        metrics::{BackendMetrics, Op, Wire},
        redis::{InvalidUrl, RedisClient, RedisMode, RedisOptions},
    },
};

/// What errors and metrics call the nodes.
const NAMES: [&str; 9] = [
    "redlock-1",
    "redlock-2",
    "redlock-3",
    "redlock-4",
    "redlock-5",
    "redlock-6",
    "redlock-7",
    "redlock-8",
    "redlock-9",
];
/// The fewest nodes of which one may be away.
pub const NODES_MIN: usize = 3;
/// The most nodes.
pub const NODES_MAX: usize = NAMES.len();

/// The mark of a node that votes.
pub const VOTER_KEY: &str = "locklab:voter";
/// How often it is looked which nodes vote.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// KEYS: mark. ARGV: whether to set it. Whether the node has it.
static MARK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if ARGV[1] == '1' then redis.call('SET', KEYS[1], 1) end
        return redis.call('EXISTS', KEYS[1])
        ",
    )
});

definitions! {
    REDLOCK_VOTES: "locklab_redlock_votes_total", Kind::Counter,
        "What the nodes of Redlock did when they were asked for a lock, or to extend one.";
    REDLOCK_VOTERS: "locklab_redlock_voters", Kind::Gauge,
        "Nodes of Redlock that vote, at the last look.";
}

/// Handles of all nodes together.
pub struct RedlockMetrics {
    /// Granted, refused, failed.
    votes: [Counter; 3],
    voters: Gauge,
}

impl RedlockMetrics {
    /// Starts every series at 0.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            votes: ["granted", "refused", "failed"]
                .map(|vote| REDLOCK_VOTES.counter(registry, &[("vote", vote)])),
            voters: REDLOCK_VOTERS.gauge(registry, &[]),
        }
    }
}

/// How to reach the nodes.
pub struct RedlockOptions {
    /// One URL per node.
    pub urls: Vec<String>,
    /// The longest wait for a node, to connect and to answer: well below a ttl, so that a node that
    /// hangs costs little of it.
    pub timeout: Duration,
    /// How long a node that has lost its memory does not vote; zero lets it vote at once, which is
    /// how two holders come about.
    pub restart_delay: Duration,
    /// Whether nobody but this process has ever used the nodes: then they have nothing to remember.
    pub are_new: bool,
}

/// The nodes.
pub struct Nodes {
    clients: Vec<Arc<RedisClient>>,
    restart_delay: Duration,
    /// How many nodes vote, at the last look.
    voters: watch::Receiver<usize>,
    metrics: Arc<RedlockMetrics>,
}

impl Nodes {
    /// Clients for all nodes; connects in the background.
    ///
    /// # Errors
    /// A URL is not valid.
    pub async fn connect(
        options: &RedlockOptions,
        registry: &Arc<Registry>,
    ) -> Result<Self, InvalidUrl> {
        let mut clients = Vec::with_capacity(options.urls.len());
        for (url, name) in options.urls.iter().zip(NAMES) {
            let options = RedisOptions {
                url: url.clone(),
                mode: RedisMode::Multiplexed,
                pool_size: 1,
                timeout: options.timeout,
            };
            clients.push(Arc::new(
                RedisClient::connect(
                    &options,
                    Arc::new(BackendMetrics::new(registry, Wire::RedlockNode, name)),
                )
                .await?,
            ));
        }
        let (sender, voters) = watch::channel(0);
        let metrics = Arc::new(RedlockMetrics::new(&**registry));
        let mut roll = Roll {
            seen_without: vec![None; clients.len()],
            clients: clients.clone(),
            delay: options.restart_delay,
            voters: sender,
            metrics: Arc::clone(&metrics),
        };
        roll.look(options.are_new).await;
        tokio::spawn(roll.keep());
        Ok(Self { clients, restart_delay: options.restart_delay, voters, metrics })
    }

    /// Every node.
    #[must_use]
    pub fn clients(&self) -> &[Arc<RedisClient>] {
        &self.clients
    }

    /// The nodes were asked for a lock, or to extend one; so many did what.
    pub fn count_votes(&self, granted: usize, refused: usize, failed: usize) {
        for (counter, votes) in self.metrics.votes.iter().zip([granted, refused, failed]) {
            counter.increment(votes as u64);
        }
    }

    /// How many are a majority.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.clients.len() / 2 + 1
    }

    /// Whether a node without the mark may not vote.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        !self.restart_delay.is_zero()
    }

    /// The longest ttl of which a node's mark tells: a longer lease could outlast it.
    #[must_use]
    pub fn ttl_max(&self) -> Option<Duration> {
        self.is_guarded().then_some(self.restart_delay)
    }

    /// Whether a majority voted at the last look.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.voters() >= self.quorum()
    }

    /// How many voted at the last look.
    #[must_use]
    pub fn voters(&self) -> usize {
        *self.voters.borrow()
    }

    /// How many vote, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} of {} nodes vote", self.voters(), self.clients.len())
    }

    /// Asks all nodes the same at once, and waits for each answer or its timeout.
    pub async fn ask<T, F: Future<Output = Result<T, BackendError>>>(
        &self,
        ask: impl Fn(Arc<RedisClient>) -> F,
    ) -> Vec<Result<T, BackendError>> {
        join_all(self.clients.iter().map(|client| ask(Arc::clone(client)))).await
    }
}

/// Keeps the roll of voters.
struct Roll {
    clients: Vec<Arc<RedisClient>>,
    /// Since when each node is known to be without the mark.
    seen_without: Vec<Option<Instant>>,
    /// Zero if nodes vote without it.
    delay: Duration,
    voters: watch::Sender<usize>,
    metrics: Arc<RedlockMetrics>,
}

impl Roll {
    /// Looks again and again, until nobody wants to know.
    async fn keep(mut self) {
        while !self.voters.is_closed() {
            time::sleep(LOOK_INTERVAL).await;
            self.look(false).await;
        }
    }

    /// Looks which nodes vote, and gives the mark to those that have waited for it.
    async fn look(&mut self, are_new: bool) {
        let delay = if are_new { Duration::ZERO } else { self.delay };
        let looks = self.clients.iter().zip(&self.seen_without).map(|(client, without)| {
            let is_due = without.is_some_and(|since| since.elapsed() >= delay) || delay.is_zero();
            async move {
                let mut script = MARK.key(VOTER_KEY);
                script.arg(u8::from(is_due));
                client.script::<bool>(Op::Vote, &script).await
            }
        });
        let marks = join_all(looks).await;
        for (without, mark) in self.seen_without.iter_mut().zip(&marks) {
            match mark {
                Ok(true) => *without = None,
                // It may have been without for longer; this is when it was known to be.
                Ok(false) => drop(without.get_or_insert_with(Instant::now)),
                Err(_) => {}
            }
        }
        let voters = marks.iter().filter(|mark| match mark {
            Ok(is_marked) => *is_marked || self.delay.is_zero(),
            Err(_) => false,
        });
        let voters = voters.count();
        self.metrics.voters.set(voters as f64);
        self.voters.send_replace(voters);
    }
}
