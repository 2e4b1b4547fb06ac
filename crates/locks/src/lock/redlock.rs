//! `redlock`: a majority of N independent Redis servers grants the lock, each as `safe` does.
//!
//! - Algorithm: "Distributed Locks with Redis", the Redlock algorithm: one token, SET NX PX on all
//!   nodes at once, each with its own short timeout; granted by a majority, while the rest of the
//!   ttl, less 1 % and 2 ms for the drift of clocks, is not over. Whatever the round came to, all
//!   nodes are asked to forget a claim that was not granted, those that did not answer as well. A
//!   node that may have lost its memory does not vote: see `backends/redlock.rs`. With `extensions`,
//!   "Making the algorithm more reliable: Extending the lock": every ttl/3, as often as was asked for, a
//!   round of votes makes the lease last longer from before it was sent; a node that does not know the
//!   claim has no vote for it, and learns nothing. A round without a majority leaves the lease as it
//!   was, and is followed by the next; a lease that ends, or that no majority can know any more, is
//!   lost, and nothing is written then (`lost`).
//! - Guarantees: mutual exclusion while every holder finishes within the validity, extended or not, and
//!   the nodes' clocks run at about the same rate; goes on while a minority of nodes is away.
//! - Does not guarantee: anything once work or a pause exceeds the validity, or when a node's clock
//!   steps: there is no fencing token (Kleppmann, "How to do distributed locking", 2016; antirez, "Is
//!   Redlock safe?", 2016).
//! - Clock: deadline = monotonic clock before the first SET, or PEXPIRE, was sent + ttl − drift. Each
//!   node measures the ttl by its own clock.
//! - Cancellation: safe at every await; the token is compared and deleted on all nodes by the release
//!   task, again and again while one does not answer. An extension that arrives later finds no lease.
//! - Commands sent: to each node, EVALSHA of vote (EXISTS locklab:voter, SET lock:{product} token NX
//!   PX ttl); EVALSHA of extend (EXISTS locklab:voter, GET, PEXPIRE); EVALSHA of forget (GET, DEL,
//!   PUBLISH released:{product}); what waiters send, as `safe`; and once a second EVALSHA of mark
//!   (EXISTS, SET locklab:voter).
//!
//! # Example
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use locklab_locks::{lease::{Acquired, keeper::{Keeper, Wish}, release::ReleaseQueue}, wait::Patience};
//! use locklab_locks::{
//!     lock::redlock::RedlockLock,
//!     measure,
//!     wires::redlock::{Nodes, RedlockOptions},
//! };
//!
//! # async fn work() {}
//! # async fn example(releases: ReleaseQueue) -> Result<(), Box<dyn std::error::Error>> {
//! let options = RedlockOptions {
//!     urls: ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|it| format!("redis://{it}:6379")).into(),
//!     timeout: Duration::from_millis(50),
//!     // Longer than any lease: a node that has lost its memory does not vote before.
//!     restart_delay: Duration::from_secs(60),
//!     are_new: false,
//! };
//! let nodes = Arc::new(Nodes::connect(&options, &measure::nowhere()).await?);
//! let keeper = Keeper::silent(RedlockLock::new(nodes), releases);
//! let wish = Wish { extensions: 3, ..Wish::lasting(Duration::from_secs(10)) };
//! match keeper.acquire(&"invoice-7".parse()?, &wish, &Patience::default()).await? {
//!     Acquired::Lease(lease) => {
//!         tokio::select! { () = work() => {}, () = lease.ended() => {} }
//!         println!("{:?}", lease.release().await);
//!     }
//!     Acquired::Outvoted { votes, is_split } => println!("{votes:?}, split: {is_split}"),
//!     Acquired::Busy | Acquired::Late => {}
//! }
//! # Ok(()) }
//! ```

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use rand::RngExt;
use redis::Script;
use tokio::time::{self, Duration, Instant};

use crate::{
    error::BackendError,
    lock::{
        Attempt, Claim, Grant, Lock, Release, Votes,
        safe::{self, lock_key, released_channel},
    },
    name::Name,
    wait::Waitable,
    wires::{
        metrics::Op,
        redis::RedisClient,
        redlock::{Nodes, VOTER_KEY},
        subscription::Subscription,
    },
};

/// KEYS: lock, mark. ARGV: token, ttl in ms, whether a node without the mark may vote. 1: granted;
/// 0: somebody else holds it; -1: this node does not vote.
static VOTE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if ARGV[3] == '0' and redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
        return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
        ",
    )
});

/// The same for a lease that is to last longer. 1: it does; 0: this node does not know it; -1: this
/// node does not vote.
static EXTEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if ARGV[3] == '0' and redis.call('EXISTS', KEYS[2]) == 0 then return -1 end
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('PEXPIRE', KEYS[1], ARGV[2])
        ",
    )
});

/// KEYS: lock. ARGV: token, channel. 1: freed; 0: nobody holds it; -1: somebody else does. Says so on
/// the channel in any case: a waiter listens at one node, which need not have voted for the holder.
static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        redis.pcall('PUBLISH', ARGV[2], '')
        local holder = redis.call('GET', KEYS[1])
        if not holder then return 0 end
        if holder ~= ARGV[1] then return -1 end
        redis.call('DEL', KEYS[1])
        return 1
        ",
    )
});

/// How much of a ttl, and how much besides, clocks may drift apart while it lasts.
const DRIFT_PER_TTL: u32 = 100;
const DRIFT: Duration = Duration::from_millis(2);

/// How many rounds have to fit into a ttl, so that an extension that fails can be tried again.
const ROUNDS_PER_TTL: u32 = 6;

/// How much of a ttl can be relied on.
pub fn validity(ttl: Duration) -> Duration {
    ttl.saturating_sub(ttl / DRIFT_PER_TTL + DRIFT)
}

/// When a lease ends that was granted, or extended, by a round whose first command was sent at `sent`.
fn validity_ends(sent: Instant, ttl: Duration) -> Instant {
    sent + validity(ttl)
}

/// The lock of `redlock`.
pub struct RedlockLock {
    nodes: Arc<Nodes>,
}

impl RedlockLock {
    /// At those nodes.
    #[must_use]
    pub fn new(nodes: Arc<Nodes>) -> Self {
        Self { nodes }
    }

    /// Has all nodes vote on a claim, and counts what each did. Waits for each that long, or until its
    /// own timeout.
    async fn vote(
        &self,
        op: Op,
        script: &Script,
        claim: &Claim,
        patience: Duration,
    ) -> (Votes, Vec<Result<bool, BackendError>>) {
        let may_be_unmarked = u8::from(!self.nodes.is_guarded());
        let vote = |node: Arc<RedisClient>| async move {
            let mut script = script.key(lock_key(claim.name.as_str()));
            script.key(VOTER_KEY).arg(claim.token.as_str()).arg(claim.ttl_ms());
            let asked = node.script::<i64>(op, script.arg(may_be_unmarked));
            let vote = time::timeout(patience, asked).await.map_err(|elapsed| {
                BackendError::Unknown { backend: node.name(), cause: elapsed.into() }
            })??;
            if vote >= 0 {
                return Ok(vote == 1);
            }
            let cause = "it has lost its memory, and does not vote yet".into();
            Err(BackendError::Unavailable { backend: node.name(), cause })
        };
        let answers = self.nodes.ask(vote).await;
        let votes = Votes::count(&answers);
        self.nodes.count_votes(votes.granted, votes.refused, votes.failed);
        (votes, answers)
    }

    /// Asks all nodes to forget a claim. What each said, and which did not.
    async fn forget(&self, claim: &Claim) -> Vec<Result<i64, BackendError>> {
        let forget = |node: Arc<RedisClient>| async move {
            let mut script = FORGET.key(lock_key(claim.name.as_str()));
            script.arg(claim.token.as_str()).arg(released_channel(claim.name.as_str()));
            node.script::<i64>(Op::Release, &script).await
        };
        self.nodes.ask(forget).await
    }

    /// Why too few nodes have answered: unknown, if one of them may have done what it was asked.
    fn too_few<T>(&self, answers: Vec<Result<T, BackendError>>) -> BackendError {
        let backend = "redlock";
        let (total, mut causes) = (answers.len(), Vec::new());
        let mut is_unknown = false;
        for error in answers.into_iter().filter_map(Result::err) {
            is_unknown |= error.is_unknown();
            causes.push(error.to_string());
        }
        let answered = total - causes.len();
        let cause = format!("{answered} of {total} nodes answered; {}", causes.join("; ")).into();
        if is_unknown {
            BackendError::Unknown { backend, cause }
        } else {
            BackendError::Unavailable { backend, cause }
        }
    }
}

#[async_trait]
impl Lock for RedlockLock {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        let sent = Instant::now();
        let (votes, answers) = self.vote(Op::Acquire, &VOTE, claim, Duration::MAX).await;
        if votes.granted >= self.nodes.quorum() {
            let grant = Grant::until(validity_ends(sent, claim.ttl));
            let (renewals_max, votes) = (claim.extensions, Some(votes));
            return Ok(Attempt::Granted(Grant { renewals_max, votes, ..grant }));
        }
        let is_unknown =
            |vote: &Result<bool, BackendError>| vote.as_ref().is_err_and(BackendError::is_unknown);
        let mut is_settled = true;
        if answers.iter().any(|vote| matches!(vote, Ok(true)) || is_unknown(vote)) {
            let forgotten = self.forget(claim).await;
            // A vote that was not answered may land after it was forgotten; a node that was never asked,
            // or has refused, has nothing to forget.
            is_settled = answers.iter().zip(&forgotten).all(|(vote, forgotten)| match vote {
                Ok(granted) => !granted || forgotten.is_ok(),
                Err(_) => !is_unknown(vote),
            });
        }
        if votes.granted + votes.refused < self.nodes.quorum() {
            let error = self.too_few(answers);
            return Err(if is_settled { error } else { error.into_unknown() });
        }
        if votes.is_split(self.nodes.quorum()) {
            // Whoever split it with us must not meet us again: for longer than a round takes.
            let pause = claim.token.rng().random_range(Duration::ZERO..=sent.elapsed() * 3);
            time::sleep(pause).await;
        }
        Ok(Attempt::Outvoted { votes, is_split: votes.is_split(self.nodes.quorum()), is_settled })
    }

    async fn renew(&self, claim: &Claim) -> Result<Option<Instant>, BackendError> {
        let sent = Instant::now();
        // A node that hangs must not take the time of the next round, whatever its timeout is.
        let patience = claim.ttl / ROUNDS_PER_TTL;
        let (votes, answers) = self.vote(Op::Renew, &EXTEND, claim, patience).await;
        if votes.granted >= self.nodes.quorum() {
            return Ok(Some(validity_ends(sent, claim.ttl)));
        }
        if answers.len() - votes.refused < self.nodes.quorum() {
            // Those that do not know the claim may grant the lock to somebody else.
            return Ok(None);
        }
        Err(self.too_few(answers))
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        let answers = self.forget(claim).await;
        let count = |of: i64| answers.iter().flatten().filter(|&&answer| answer == of).count();
        let (freed, free, stolen) = (count(1), count(0), count(-1));
        if freed >= self.nodes.quorum() {
            return Ok(Release::Released);
        }
        if freed + free + stolen < self.nodes.quorum() {
            return Err(self.too_few(answers).into_unknown());
        }
        Ok(if stolen > 0 { Release::Stolen } else { Release::Expired })
    }

    /// As a release, but for all nodes: one that has not answered may have the claim.
    async fn undo(&self, claim: &Claim) -> Result<Release, BackendError> {
        let answers = self.forget(claim).await;
        if answers.iter().any(Result::is_err) {
            return Err(self.too_few(answers).into_unknown());
        }
        let freed = answers.iter().flatten().any(|&answer| answer == 1);
        Ok(if freed { Release::Released } else { Release::Expired })
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        let answers =
            self.nodes.ask(|node| async move { safe::clear(&node, name.as_str()).await }).await;
        if answers.iter().filter(|answer| answer.is_ok()).count() >= self.nodes.quorum() {
            return Ok(());
        }
        Err(self.too_few(answers))
    }
}

#[async_trait]
impl Waitable for RedlockLock {
    /// At one node: each of them is told of every release that reaches it.
    async fn subscribe(&self, name: &Name) -> Result<Option<Subscription>, BackendError> {
        let channel = released_channel(name.as_str());
        let mut last = Ok(None);
        for node in self.nodes.clients().iter().filter(|node| node.is_up()) {
            last = node.wakeups().subscribe(&channel).await.map(Some);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    async fn waiters(&self, name: &Name) -> Result<u64, BackendError> {
        let waiters =
            |node: Arc<RedisClient>| async move { safe::waiters(&node, name.as_str()).await };
        Ok(self.nodes.ask(waiters).await.into_iter().flatten().max().unwrap_or(0))
    }

    /// Until a majority of nodes is free again.
    async fn time_left(&self, name: &Name) -> Result<Option<Duration>, BackendError> {
        let left =
            |node: Arc<RedisClient>| async move { safe::time_left(&node, name.as_str()).await };
        let answers = self.nodes.ask(left).await;
        if answers.iter().filter(|answer| answer.is_ok()).count() < self.nodes.quorum() {
            return Err(self.too_few(answers));
        }
        // A key without an end is no lease of ours; it never frees its node.
        let mut left: Vec<Duration> = answers.into_iter().flatten().flatten().collect();
        left.sort_unstable();
        Ok(left.get(self.nodes.quorum() - 1).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drift_shortens_a_lease() {
        let (sent, ms) = (Instant::now(), Duration::from_millis);
        assert_eq!(validity_ends(sent, ms(1_000)) - sent, ms(988));
        assert_eq!(validity_ends(sent, ms(1)), sent, "nothing is left of the shortest");
    }
}
