//! One leader among several processes.
//!
//! `cargo run -p locklab-locks --example leader [redis-url] [ttl in milliseconds]`
//!
//! Start it several times. One leads, and works for as long as it does: until its lease is lost,
//! the store refuses it, its term is over, or it is interrupted. When it resigns, another one is
//! told and leads at once; when it dies, another one leads after the ttl.
//!
//! A leader that stands still does not notice that its lease has ended, and may write afterwards.
//! The store therefore compares fencing tokens, and refuses any that is lower than one it has seen.
//! That store is the same Redis here, and can be any that compares and writes in one step.

#![expect(clippy::print_stdout, reason = "it tells what it does")]

use std::{
    env,
    error::Error,
    sync::{Arc, LazyLock},
};

use locklab_locks::{
    lease::{
        Acquired, Lease,
        keeper::{Keeper, Wish},
        release,
        renewal::HOLD_TTLS_MAX,
    },
    lock::fenced::renewed::RenewedLock,
    name::Name,
    wait::{Patience, Policy},
    wires::{
        metrics::{BackendMetrics, Op, Wire},
        redis::{RedisClient, RedisOptions},
    },
};
use redis::Script;
use tokio::{
    signal,
    time::{self, Duration},
};
use tokio_util::sync::CancellationToken;

/// What is locked.
const OFFICE: &str = "leader";
/// The highest fencing token that the store has seen.
const BAR: &str = "leader:bar";
/// What leaders have done: a list of the tokens under which they did it.
const ACTS: &str = "leader:acts";
/// Pause between two pieces of work, and after a failure.
const PAUSE: Duration = Duration::from_millis(50);

/// KEYS: bar, acts. ARGV: fencing token. Whether the act was accepted.
static ACT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1]) or '0') then return 0 end
        redis.call('SET', KEYS[1], ARGV[1])
        redis.call('RPUSH', KEYS[2], ARGV[1])
        return 1
        ",
    )
});

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let ttl = args.next().map_or(Ok(5_000), |text| text.parse())?;

    let metrics = BackendMetrics::silent(Wire::Redis, "redis");
    let redis = Arc::new(RedisClient::connect(&RedisOptions::new(url), metrics).await?);
    let (releases, task) = release::channel();
    let closing = CancellationToken::new();
    let releasing = tokio::spawn(task.run(closing.clone()));

    let candidate = Candidate {
        keeper: Keeper::silent(RenewedLock::new(Arc::clone(&redis)), releases),
        redis,
        office: OFFICE.parse()?,
        ttl: Duration::from_millis(ttl),
        unwilling: CancellationToken::new(),
    };
    let unwilling = candidate.unwilling.clone();
    let standing = tokio::spawn(async move { candidate.run().await });
    signal::ctrl_c().await?;
    unwilling.cancel();
    standing.await?;

    closing.cancel();
    releasing.await?;
    Ok(())
}

/// Who wants to lead.
struct Candidate {
    keeper: Keeper,
    redis: Arc<RedisClient>,
    office: Name,
    ttl: Duration,
    /// Cancelled when it does not want to lead any more.
    unwilling: CancellationToken,
}

impl Candidate {
    /// Stands for election again and again.
    async fn run(&self) {
        println!("stands for election");
        let wish = Wish::lasting(self.ttl);
        while !self.unwilling.is_cancelled() {
            let patience = Patience {
                policy: Policy::Notify,
                wait: Duration::from_secs(60),
                max_retries: u32::MAX,
                gone: self.unwilling.clone(),
                ..Patience::default()
            };
            match self.keeper.acquire(&self.office, &wish, &patience).await {
                Ok(Acquired::Lease(lease)) => self.lead(*lease).await,
                Ok(Acquired::Busy | Acquired::Late | Acquired::Outvoted { .. }) => {}
                Err(error) => {
                    println!("cannot stand: {error}");
                    time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// One term, which ends before the most that a lease can be renewed to.
    async fn lead(&self, lease: Lease) {
        let Some(token) = lease.fencing_token() else { return };
        println!("leads under token {token}");
        let term = self.ttl * (HOLD_TTLS_MAX / 2);
        let why = tokio::select! {
            why = self.work(token) => why,
            () = lease.ended() => "the lease is lost".to_owned(),
            () = time::sleep(term) => "its term is over".to_owned(),
            () = self.unwilling.cancelled() => "it was interrupted".to_owned(),
        };
        // Tells the next one, if the lease was still ours.
        let release = lease.release().await;
        println!("leads no more, for {why}; the lease was {release:?}");
    }

    /// Works until the store refuses it. What is under way when this is dropped may still be done,
    /// but not after the next leader's first act.
    async fn work(&self, token: u64) -> String {
        loop {
            let mut act = ACT.key(BAR);
            act.key(ACTS).arg(token);
            match self.redis.script::<bool>(Op::Write, &act).await {
                Ok(true) => time::sleep(PAUSE).await,
                Ok(false) => return "the store has seen a newer leader".to_owned(),
                Err(error) => return format!("the store failed: {error}"),
            }
        }
    }
}
