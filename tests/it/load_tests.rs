//! The k6 scripts against running servers: each in a short form in which it must pass, and in one in
//! which it must fail. Latency is no assertion here, for other tests share the machine.

mod relay;
mod reports;
mod stub;

use locklab::strategy::table::STRATEGIES;
use locklab_locks::wait::Policy;
use serde_json::Value;
use strum::VariantArray;
use tempfile::TempDir;

use self::relay::Relay;
use crate::{redis_server::Redis, server::Server};

/// k6's exit code for a threshold that was crossed.
const THRESHOLD_CROSSED: i32 = 99;
/// k6's exit code for a script that refused its variables.
const SCRIPT_EXCEPTION: i32 = 107;
/// k6's exit code for a run that the script gave up.
const ABORTED: i32 = 108;

/// On a machine that is busy, a reply that is late is no fault of the scripts.
const PATIENT: &[&str] = &["--command-timeout", "10s"];

/// A run of k6 that has ended.
struct Run {
    code: Option<i32>,
    text: String,
    /// What SUMMARY_JSON has; null if the script did not come to that.
    report: Value,
    /// Where `{folder}` in a variable was.
    folder: TempDir,
}

impl Run {
    #[track_caller]
    fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self
    }

    #[track_caller]
    fn says(self, words: &str) -> Self {
        assert!(self.text.contains(words), "says {words:?}: {}", self.text);
        self
    }

    /// The thresholds that were crossed.
    fn crossed(&self) -> Vec<&str> {
        let crossed = self.report["crossed_thresholds"].as_array().unwrap();
        crossed.iter().map(|it| it["metric"].as_str().unwrap()).collect()
    }

    /// One member of each row of a comparison.
    fn column(&self, member: &str) -> Vec<&Value> {
        self.report["rows"].as_array().unwrap().iter().map(|row| &row[member]).collect()
    }
}

/// Runs a script with variables, or with k6's own flags.
async fn k6(url: &str, script: &str, arguments: &[&str]) -> Run {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("summary.json");
    let mut command = tokio::process::Command::new("k6");
    // Nothing of the environment may become a variable, and nothing is reported to anybody.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("K6_NO_USAGE_REPORT", "true").env("SUMMARY_JSON", &report);
    command.args(["run", "--quiet", "-e", &format!("BASE_URL={url}")]);
    for argument in arguments {
        let argument = argument.replace("{folder}", folder.path().to_str().unwrap());
        if !argument.starts_with('-') {
            command.arg("-e");
        }
        command.arg(argument);
    }
    command.arg(format!("{}/load-tests/{script}", env!("CARGO_MANIFEST_DIR")));
    let output = command.output().await.expect("the tests need k6; `make test` installs it");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read(report).unwrap_or_else(|_| b"null".to_vec());
    let report = serde_json::from_slice(&report).unwrap();
    Run { code: output.status.code(), text: text.into_owned(), report, folder }
}

#[tokio::test]
async fn smoke_buys_once_under_every_strategy() {
    let server = Server::full(PATIENT).await;
    let run = k6(&server.url, "smoke-test.js", &[]).await.ended_with(0);
    assert!(run.column("lock").into_iter().eq(STRATEGIES.iter().map(|strategy| strategy.name)));
    assert!(run.column("purchases").iter().all(|purchases| **purchases == 1), "{}", run.text);
    let run = k6(&server.url, "smoke-test.js", &["STOCK=0"]).await.ended_with(THRESHOLD_CROSSED);
    assert!(run.crossed().contains(&"checks{lock:safe}"), "{}", run.text);
}

#[tokio::test]
async fn oversell_passes_with_safe_strategies() {
    let server = Server::start(PATIENT);
    for lock in ["safe", "naive", "mutex", "atomic"] {
        k6(&server.url, "oversell-test.js", &[&format!("LOCK={lock}")]).await.ended_with(0);
    }
    k6(&server.url, "oversell-test.js", &["STOCK=5", "VUS=20", "DELAY=5ms"]).await.ended_with(0);
}

#[tokio::test]
async fn oversell_fails_without_a_lock() {
    let server = Server::start(PATIENT);
    let run = k6(&server.url, "oversell-test.js", &["LOCK=none"]).await;
    let run = run.ended_with(THRESHOLD_CROSSED);
    assert!(run.crossed().contains(&"units_oversold"), "{}", run.text);
}

/// Every strategy keeps its promise on one server. On two, `mutex` does not.
#[tokio::test]
async fn strategy_comparison_knows_what_they_promise() {
    let short = ["RATE=20", "DURATION=1s", "WAIT=500ms", "TTL=30s"];
    let one = async {
        let server = Server::full(PATIENT).await;
        let run = k6(&server.url, "strategy-comparison-test.js", &short).await.ended_with(0);
        assert!(run.column("lock").into_iter().eq(STRATEGIES.iter().map(|strategy| strategy.name)));
        assert!(run.column("purchases").iter().all(|it| it.as_u64() > Some(0)), "{}", run.text);
    };
    let two = async {
        let redis = Redis::start().await;
        let servers =
            [(); 2].map(|()| Server::start(&[PATIENT, &["--redis-url", &redis.url()]].concat()));
        let relay = Relay::start(&servers.each_ref().map(|server| server.url.as_str())).await;
        let both = [&short[..], &["LOCKS=mutex,safe", "DELAY=20ms"]].concat();
        let run = k6(&relay.url, "strategy-comparison-test.js", &both).await;
        let run = run.ended_with(THRESHOLD_CROSSED);
        assert_eq!(run.crossed(), ["promise_kept{lock:mutex}"], "{}", run.text);
    };
    tokio::join!(one, two);
}

#[tokio::test]
async fn retry_comparison_tries_every_policy() {
    let server = Server::start(PATIENT);
    let short = ["RATE=10", "DURATION=1s", "WAIT=500ms"];
    let all = async {
        let run = k6(&server.url, "retry-comparison-test.js", &short).await.ended_with(0);
        let policies = Policy::VARIANTS.iter().map(|policy| policy.name());
        assert!(run.column("retry").into_iter().eq(policies), "{}", run.text);
        let fairness = run.column("fairness");
        assert!(fairness[0].is_null(), "with retry=none nobody waits: {}", run.text);
        let is_index = |it: &&Value| it.as_f64().is_some_and(|index| index > 0.0 && index <= 1.0);
        assert!(fairness[1..].iter().all(is_index), "{}", run.text);
    };
    let without_a_lock = async {
        let more = ["LOCK=none", "POLICIES=none,fixed", "DELAY=50ms"];
        let run = k6(&server.url, "retry-comparison-test.js", &[&short[..], &more].concat()).await;
        let run = run.ended_with(THRESHOLD_CROSSED);
        assert!(run.crossed().contains(&"lost_updates{retry:none}"), "{}", run.text);
    };
    tokio::join!(all, without_a_lock);
}

/// Each in a run of its own, since a busy machine must not make the next lease end early.
#[tokio::test]
async fn ttl_violation_needs_fencing_or_renewal() {
    let server = Server::full(PATIENT).await;
    let run = k6(&server.url, "ttl-violation-test.js", &["LOCKS=fenced", "VUS=3"]).await;
    let run = run.ended_with(0);
    assert!(run.column("ttl_violations")[0].as_u64() > Some(0), "{}", run.text);
    let renewed = ["LOCKS=watchdog,redlock", "EXTENSIONS=10", "VUS=3", "TTL=3s", "DELAY=6s"];
    let unfenced = ["LOCKS=safe", "VUS=3", "DELAY=2s"];
    let (renewed, unfenced) = tokio::join!(
        k6(&server.url, "ttl-violation-test.js", &renewed),
        k6(&server.url, "ttl-violation-test.js", &unfenced)
    );
    renewed.ended_with(0);
    let run = unfenced.ended_with(THRESHOLD_CROSSED);
    assert!(run.crossed().contains(&"units_oversold{lock:safe}"), "{}", run.text);
}

#[tokio::test]
async fn deadlock_needs_locks_in_order() {
    let server = Server::start(PATIENT);
    let (sorted, given) = tokio::join!(
        k6(&server.url, "deadlock-test.js", &["PAIRS=2", "TTL=15s"]),
        k6(&server.url, "deadlock-test.js", &["PAIRS=2", "TTL=2s", "ORDER=given"])
    );
    sorted.ended_with(0);
    let run = given.ended_with(THRESHOLD_CROSSED);
    assert_eq!(run.crossed(), ["deadlocks"], "and nothing is sold by halves: {}", run.text);
}

#[tokio::test]
async fn crash_blocks_until_the_ttl_or_for_ever() {
    let server = Server::start(PATIENT);
    let step = "STEP=between-setnx-and-expire";
    let stuck = ["LOCK=naive", step, "TTL=1s", "SLACK=4s", "RATE=10", "VUS=40"];
    let (safe, stuck) = tokio::join!(
        k6(&server.url, "crash-test.js", &["TTL=1s", "SLACK=30s", "RATE=10", "VUS=40"]),
        k6(&server.url, "crash-test.js", &stuck)
    );
    let run = safe.ended_with(0);
    assert!(run.report["recovery_ms_max"].as_f64() > Some(0.0), "{}", run.text);
    let run = stuck.ended_with(THRESHOLD_CROSSED);
    assert_eq!(run.crossed(), ["recoveries"], "and the ledger is exact: {}", run.text);
}

#[tokio::test]
async fn high_load_passes_with_safe_and_fails_without_a_lock() {
    let server = Server::start(PATIENT);
    // As many VUs as arrivals, here and elsewhere: however slow the machine is, none is dropped.
    let short = ["DURATION=4s", "RATE=100", "VUS=400", "P95_MS=30000", "P99_MS=30000"];
    k6(&server.url, "high-load-test.js", &short).await.ended_with(0);
    // The control: on one hot product, updates are lost.
    let hot = ["DURATION=3s", "RATE=300", "PRODUCTS=1", "LOCK=none", "DELAY=20ms"];
    k6(&server.url, "high-load-test.js", &hot).await.ended_with(THRESHOLD_CROSSED);
}

/// One product, of which five a second can be sold, breaks soon.
#[tokio::test]
async fn breakpoint_says_where_it_broke() {
    let server = Server::start(PATIENT);
    let held = ["MAX_RATE=20", "DURATION=3s", "VUS=100", "SLOW_MS=60000", "RETRY=jitter"];
    let run = k6(&server.url, "breakpoint-test.js", &held).await.ended_with(0);
    assert_eq!(run.report["broke"], false, "{}", run.text);
    let hot = ["MAX_RATE=100", "DURATION=20s", "VUS=20", "PRODUCTS=1", "DELAY=200ms", "RETRY=fifo"];
    let run = k6(&server.url, "breakpoint-test.js", &hot).await.ended_with(THRESHOLD_CROSSED);
    let rate = run.report["reached_rate"].as_f64().unwrap();
    assert!(rate > 0.0 && rate < 100.0, "{}", run.text);
    assert!(run.crossed().contains(&"dropped_iterations"), "{}", run.text);
}

#[tokio::test]
async fn spike_passes_with_safe_and_fails_without_a_lock() {
    let server = Server::start(PATIENT);
    let short = ["DURATION=1s", "RATE=20", "SPIKE_RATE=100", "VUS=300", "P95_MS=30000"];
    let run = k6(&server.url, "spike-test.js", &short).await.ended_with(0);
    assert!(run.column("purchases").iter().all(|it| it.as_u64() > Some(0)), "{}", run.text);
    let hot = ["LOCK=none", "PRODUCTS=1", "DELAY=50ms"];
    let run = k6(&server.url, "spike-test.js", &[&short[..], &hot].concat()).await;
    let run = run.ended_with(THRESHOLD_CROSSED);
    assert!(run.crossed().contains(&"lost_updates"), "{}", run.text);
}

#[tokio::test]
async fn soak_watches_the_server() {
    let server = Server::start(PATIENT);
    let short = ["DURATION=6s", "RATE=20", "VUS=200", "GROWTH_MB=1000", "GROWTH_FDS=10000"];
    let (safe, hot) = tokio::join!(
        k6(&server.url, "soak-test.js", &short),
        k6(&server.url, "soak-test.js", &["DURATION=3s", "LOCK=none", "PRODUCTS=1", "DELAY=50ms"])
    );
    let run = safe.ended_with(0);
    for fact in ["memory_bytes", "open_fds"] {
        assert!(run.report[fact].as_f64() > Some(0.0), "{fact}: {}", run.text);
    }
    for fact in ["memory_growth_bytes", "open_fds_growth"] {
        assert!(run.report[fact].is_number(), "{fact}: {}", run.text);
    }
    let run = hot.ended_with(THRESHOLD_CROSSED);
    assert!(run.crossed().contains(&"lost_updates"), "{}", run.text);
}
