//! A job that must run once at each tick, on any one of several servers.
//!
//! `cargo run -p locklab-locks --example cron [redis-url] [milliseconds between ticks]`
//!
//! Start it several times. At each tick, all servers want the lock, and who gets it does the job.
//! The others wait until the tick is over: if the holder dies, its lease ends, and one of them does
//! the job instead.
//!
//! The lock saves work; the store makes sure. It keeps the last tick that was done and the highest
//! fencing token it has seen, and refuses a tick that was done already, and whoever comes with a
//! lower token: a server that stood still while its lease ended. That store is the same Redis here,
//! and can be any that compares and writes in one step.

#![expect(clippy::print_stdout, reason = "it tells what it does")]

use std::{
    env,
    error::Error,
    sync::{Arc, LazyLock},
    time::UNIX_EPOCH,
};

use locklab_locks::{
    lease::{
        Acquired, Lease,
        keeper::{Keeper, Wish},
        release,
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
    time::{self, Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// What is locked.
const JOB: &str = "nightly-report";
/// Where the store keeps what it knows of the job.
const RECORD: &str = "cron:record";
/// The effect of the job: a list of ticks, each with the token under which it was done.
const RUNS: &str = "cron:runs";

/// KEYS: record. ARGV: fencing token. The last tick that was done; -1: a newer holder was here.
/// From now on, whoever held the lock before is refused.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local bar = tonumber(redis.call('HGET', KEYS[1], 'bar') or '0')
        if tonumber(ARGV[1]) < bar then return -1 end
        redis.call('HSET', KEYS[1], 'bar', ARGV[1])
        return tonumber(redis.call('HGET', KEYS[1], 'tick') or '0')
        ",
    )
});

/// KEYS: record, runs. ARGV: fencing token, tick. Whether the tick is done now, and was not before.
static FINISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local bar = tonumber(redis.call('HGET', KEYS[1], 'bar') or '0')
        local last = tonumber(redis.call('HGET', KEYS[1], 'tick') or '0')
        if tonumber(ARGV[1]) < bar or tonumber(ARGV[2]) <= last then return 0 end
        redis.call('HSET', KEYS[1], 'tick', ARGV[2])
        redis.call('RPUSH', KEYS[2], ARGV[2] .. ' ' .. ARGV[1])
        return 1
        ",
    )
});

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let every = args.next().map_or(Ok(5_000), |text| text.parse::<u64>())?;

    let metrics = BackendMetrics::silent(Wire::Redis, "redis");
    let redis = Arc::new(RedisClient::connect(&RedisOptions::new(url), metrics).await?);
    let (releases, task) = release::channel();
    let closing = CancellationToken::new();
    let releasing = tokio::spawn(task.run(closing.clone()));

    let keeper = Keeper::silent(RenewedLock::new(Arc::clone(&redis)), releases);
    let server = Server { keeper, redis, job: JOB.parse()?, every: Duration::from_millis(every) };
    tokio::select! {
        result = server.run() => result?,
        interrupted = signal::ctrl_c() => interrupted?,
    }
    // A lease that was dropped just now is released before the process ends.
    closing.cancel();
    releasing.await?;
    Ok(())
}

/// One of the servers.
struct Server {
    keeper: Keeper,
    redis: Arc<RedisClient>,
    job: Name,
    every: Duration,
}

impl Server {
    /// Takes part in each tick from the next one on.
    async fn run(&self) -> Result<(), Failure> {
        let every = self.every.as_millis();
        let mut last = UNIX_EPOCH.elapsed()?.as_millis() / every;
        loop {
            let now = UNIX_EPOCH.elapsed()?.as_millis();
            let tick = (last + 1).max(now / every);
            let until = |at: u128| Duration::from_millis(at.saturating_sub(now) as u64);
            let (starts, ends) = (until(tick * every), until((tick + 1) * every));
            let ends = Instant::now() + ends;
            time::sleep(starts).await;
            let said = self.take_part(tick as u64, ends).await;
            println!("tick {tick}: {}", said.unwrap_or_else(|error| format!("failed: {error}")));
            last = tick;
        }
    }

    /// Waits for the lock until the tick is over, and keeps it for as long.
    async fn take_part(&self, tick: u64, ends: Instant) -> Result<String, Failure> {
        let patience = Patience {
            policy: Policy::Notify,
            wait: ends.saturating_duration_since(Instant::now()),
            max_retries: u32::MAX,
            ..Patience::default()
        };
        // Renewed while its holder lives; if it dies, the next one has half a tick for the job.
        let wish = Wish::lasting(self.every / 2);
        let lease = match self.keeper.acquire(&self.job, &wish, &patience).await? {
            Acquired::Lease(lease) => lease,
            Acquired::Busy | Acquired::Late | Acquired::Outvoted { .. } => {
                return Ok("another server has it".to_owned());
            }
        };
        let said = self.do_once(tick, &lease).await;
        // Released any earlier, the lock would be free for a server whose clock is behind.
        tokio::select! {
            () = time::sleep_until(ends) => {}
            () = lease.ended() => {}
        }
        let release = lease.release().await;
        Ok(format!("{}; the lease was {release:?}", said?))
    }

    /// Does the job unless it was done.
    async fn do_once(&self, tick: u64, lease: &Lease) -> Result<String, Failure> {
        let token = lease.fencing_token().ok_or("this lock has no fencing tokens")?;
        let mut begin = BEGIN.key(RECORD);
        let last: i64 = self.redis.script(Op::Read, begin.arg(token)).await?;
        if last < 0 {
            return Ok(format!("token {token} came too late"));
        }
        if last as u64 >= tick {
            return Ok("it was done already".to_owned());
        }
        tokio::select! {
            () = work() => {}
            () = lease.ended() => return Ok("stopped, for the lease was lost".to_owned()),
        }
        let mut finish = FINISH.key(RECORD);
        finish.key(RUNS).arg(token).arg(tick);
        let is_done: bool = self.redis.script(Op::Write, &finish).await?;
        Ok(if is_done {
            format!("done under token {token}")
        } else {
            format!("token {token} was refused")
        })
    }
}

/// What takes time and has no effect yet; the store's record has.
async fn work() {
    time::sleep(Duration::from_millis(20)).await;
}
