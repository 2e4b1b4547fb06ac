//! Runs each example as two processes, on a Redis of its own.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "these are tests")]

use std::{
    collections::BTreeMap,
    env, net,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{self, Duration, Instant},
};

/// For how long what must happen is waited for before the test fails, on a machine however slow.
const HANGS: Duration = Duration::from_secs(120);
/// How many ports are tried.
const PORTS_MAX: u32 = 10;
/// Pause between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// A Redis that ends with the test.
struct Redis {
    url: String,
    connection: MultiplexedConnection,
    _server: Child,
    _folder: TempDir,
}

impl Redis {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        // The port may be somebody else's by the time that the server asks for it.
        for _ in 0..PORTS_MAX {
            let free = net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut server = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no"])
                .current_dir(folder.path())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .expect("these tests need redis-server: install the package redis-server");
            let url = format!("redis://127.0.0.1:{port}");
            let client = redis::Client::open(url.as_str()).unwrap();
            while server.try_wait().unwrap().is_none() {
                if let Ok(connection) = client.get_multiplexed_async_connection().await {
                    return Self { url, connection, _server: server, _folder: folder };
                }
                time::sleep(LOOK).await;
            }
        }
        panic!("redis-server has ended at each of {PORTS_MAX} ports that were free");
    }

    async fn send<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        cmd.query_async(&mut self.connection.clone()).await.unwrap()
    }
}

/// An example that runs, and is killed with the test.
struct Example {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has said.
    said: Vec<String>,
}

impl Example {
    fn start(name: &str, args: &[&str]) -> Self {
        let program = program(name);
        let mut process = Command::new(&program)
            .args(args)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}; `cargo build --examples` makes it", program.display())
            });
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines, said: Vec::new() }
    }

    /// Its next line.
    ///
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> &str {
        let line = time::timeout(HANGS, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("it is silent after {:?}", self.said));
        let line = line.unwrap().unwrap_or_else(|| panic!("it has ended after {:?}", self.said));
        self.said.push(line);
        self.said.last().unwrap()
    }

    /// The rest of its next line that begins like this.
    async fn says(&mut self, beginning: &str) -> String {
        loop {
            if let Some(rest) = self.next().await.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }

    /// Interrupts it, as Ctrl-C does, and waits until it has ended.
    async fn interrupt(&mut self) -> ExitStatus {
        let id = self.process.id().expect("it runs").to_string();
        let told = Command::new("kill").args(["-INT", &id]).status().await.unwrap();
        assert!(told.success());
        time::timeout(HANGS, self.process.wait()).await.expect("it ends").unwrap()
    }
}

/// Where cargo has put the example: beside the folder of the test itself.
fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples").join(name)
}

#[tokio::test]
async fn a_job_runs_once_at_each_tick() {
    const TICKS: usize = 4;
    let redis = Redis::start().await;
    let mut servers = [0; 2].map(|_| Example::start("cron", &[&redis.url, "2000"]));

    // What both of them said of each tick.
    let mut ticks: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    while ticks.values().filter(|said| said.len() == 2).count() < TICKS {
        let [one, two] = &mut servers;
        let line = tokio::select! { line = one.next() => line, line = two.next() => line };
        let (tick, said) = line.strip_prefix("tick ").unwrap().split_once(": ").unwrap();
        ticks.entry(tick.parse().unwrap()).or_default().push(said.to_owned());
    }
    ticks.retain(|_, said| said.len() == 2);

    let runs: Vec<String> = redis.send(&["LRANGE", "cron:runs", "0", "-1"]).await;
    let runs = runs.iter().map(|run| {
        let (tick, token) = run.split_once(' ').unwrap();
        (tick.parse().unwrap(), token.parse().unwrap())
    });
    let runs: Vec<(u64, u64)> = runs.collect();
    let grows =
        |(earlier, later): (&(u64, u64), &(u64, u64))| earlier.0 < later.0 && earlier.1 < later.1;
    assert!(runs.iter().zip(&runs[1..]).all(grows), "a later tick has a higher token: {runs:?}");
    for (tick, said) in &ticks {
        let done: Vec<&String> =
            said.iter().filter(|said| said.starts_with("done under token ")).collect();
        assert_eq!(done.len(), 1, "tick {tick} is done by one of both: {ticks:?}");
        let stored: Vec<u64> = runs.iter().filter(|run| run.0 == *tick).map(|run| run.1).collect();
        assert_eq!(stored.len(), 1, "the store knows tick {tick} once: {runs:?}");
        let token = format!("done under token {};", stored[0]);
        assert!(done[0].starts_with(&token), "{said:?} is not what the store knows: {runs:?}");
    }
    for server in &mut servers {
        assert!(server.interrupt().await.success());
    }
}

#[tokio::test]
async fn one_leads_until_it_dies_loses_its_lease_or_resigns() {
    let redis = Redis::start().await;
    let mut candidates = [0; 2].map(|_| Example::start("leader", &[&redis.url, "2000"]));
    for candidate in &mut candidates {
        candidate.says("stands for election").await;
    }
    let [mut one, mut two] = candidates;
    let (mut leader, mut other, token) = tokio::select! {
        token = one.says("leads under token ") => (one, two, token),
        token = two.says("leads under token ") => (two, one, token),
    };
    let token: u64 = token.parse().unwrap();
    while redis.send::<usize>(&["LLEN", "leader:acts"]).await < 10 {
        time::sleep(LOOK).await;
    }
    let acts: Vec<u64> = redis.send(&["LRANGE", "leader:acts", "0", "-1"]).await;
    assert!(acts.iter().all(|act| *act == token), "{token} is the only leader: {acts:?}");

    // It dies: nobody resigns, and the other one has to wait for the end of the lease.
    leader.process.kill().await.unwrap();
    let asked = Instant::now();
    // Below zero: it has ended already.
    let left: i64 = redis.send(&["PTTL", "lock:leader"]).await;
    let left = Duration::from_millis(left.max(0).unsigned_abs());
    let next: u64 = other.says("leads under token ").await.parse().unwrap();
    assert!(asked.elapsed() + Duration::from_millis(2) >= left, "it did not wait for the ttl");
    assert!(next > token, "{next} follows {token}");

    // Somebody takes its lease away: it notices, stops, and is elected again.
    let _: i64 = redis.send(&["DEL", "lock:leader"]).await;
    let why = other.says("leads no more, for ").await;
    assert_eq!(why, "the lease is lost; the lease was Expired");
    let last: u64 = other.says("leads under token ").await.parse().unwrap();
    assert!(last > next, "{last} follows {next}");

    // It resigns: nobody has to wait.
    assert!(other.interrupt().await.success());
    let why = other.says("leads no more, for ").await;
    assert_eq!(why, "it was interrupted; the lease was Released");
    assert_eq!(redis.send::<i64>(&["EXISTS", "lock:leader"]).await, 0);

    let acts: Vec<u64> = redis.send(&["LRANGE", "leader:acts", "0", "-1"]).await;
    assert!(acts.is_sorted(), "nobody wrote after a newer leader: {acts:?}");
    assert_eq!((acts.first(), acts.contains(&next)), (Some(&token), true));
}
