//! The simulations of the PHP lab and their negative controls, as a user runs them.

use std::{collections::BTreeSet, fs, process::Output};

use serde_json::Value;

use crate::server::command;

/// Runs a subcommand; its exit code and what it printed.
async fn run(flags: &[&str]) -> (i32, Output) {
    let mut command = command(flags);
    // A busy machine is no fault.
    command.env("LOCKLAB_ETCD_TIMEOUT", "5s").env("LOCKLAB_ZOOKEEPER_TIMEOUT", "5s");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code().unwrap(), output)
}

/// The same, with its report as JSON.
async fn report(flags: &[&str]) -> (i32, Value) {
    let (code, output) = run(&[flags, &["--json"]].concat()).await;
    let report = serde_json::from_slice(&output.stdout);
    (code, report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn checks(report: &Value) -> impl Iterator<Item = &Value> {
    list(report, "parts").iter().flat_map(|part| list(part, "checks"))
}

#[tokio::test]
async fn what_is_expected_decides_the_exit_code() {
    for (flags, expected) in [
        (&["--lock=none"][..], 1),
        (&["--lock=none", "--expect=oversell"], 0),
        (&["--lock=safe"], 0),
        (&["--lock=safe", "--expect=oversell"], 1),
        (&["--lock=none,safe", "--expect=listed"], 0),
        // As many units as buyers: an oversell could not show.
        (&["--lock=none", "--expect=oversell", "--stock=50"], 2),
        (&["--lock=mutex", "--processes=2", "--expect=oversell"], 0),
        (&["--lock=mutex"], 0),
        (
            &[
                "--lock=safe",
                "--ttl=100ms",
                "--delay=300ms",
                "--retry=fixed",
                "--concurrency=5",
                "--expect=listed",
            ],
            0,
        ),
        (&["--lock=nosuch"], 64),
        (&["--stock=0"], 64),
        (&["--concurrency=0"], 64),
        (&["--delay=soon"], 64),
        (&["--ttl=1us"], 64),
        // Nothing is run whose files could not be written.
        (&["--output=/dev/null/report.json"], 64),
        (&["--output=/"], 64),
        (&["--ttl=601s"], 64),
        (&["--all", "--lock=safe"], 64),
    ] {
        let (code, output) = run(&[&["oversell", "--quiet"], flags].concat()).await;
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            code,
            expected,
            "{flags:?}: {shown} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The fields that scripts of the PHP lab read, from the last one's export.
#[tokio::test]
async fn the_export_keeps_the_fields_of_the_php_lab() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/result.json");
    let output = format!("--output={}", path.display());
    let (code, shown) = report(&["oversell", "--lock=safe", "--stock=3", &output]).await;
    assert_eq!(code, 0);
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for report in [&shown, &written] {
        assert_eq!(report["strategy"], "safe");
        assert_eq!((&report["initial_stock"], &report["total_attempts"]), (&3.into(), &50.into()));
        assert_eq!(report["oversold"], false);
        let successes = report["successes"].as_i64().unwrap();
        assert_eq!(report["final_stock"].as_i64().unwrap(), 3 - successes);
        assert_eq!(report["failures"].as_i64().unwrap(), 50 - successes);
        assert!(report["timestamp"].as_str().unwrap().contains('T'), "{}", report["timestamp"]);
        assert!(report["scenario"].is_string() && report["commit"].is_string());
        assert!(report["seed"].is_number() && report["host"]["cores"].is_number());
        let entries = list(report, "entries");
        assert_eq!(entries.len(), 50);
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(entry["process_id"], format!("proc_{number}"));
            assert!(entry["lock_acquired"].is_boolean() && entry["success"].is_boolean());
            assert!(entry["stock_before"].is_i64() && entry["stock_after"].is_i64());
            assert!(entry["duration_ms"].as_f64().unwrap() > 0.0);
            assert_eq!(entry["error"].is_null(), entry["success"] == true);
        }
        let sold = entries.iter().filter(|entry| entry["success"] == true).count();
        assert_eq!(sold as i64, successes);
    }
}

/// Several strategies or runs go into files of their own, named as the PHP lab named them.
#[tokio::test]
async fn several_exports_have_names_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let output = format!("--output={}", folder.path().join("r.json").display());
    let (code, shown) = report(&["oversell", "--lock=naive,safe", "--runs=2", &output]).await;
    assert_eq!(code, 0);
    assert_eq!(list(&shown, "runs").len(), 4);
    let names: BTreeSet<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected =
        ["naive_run1_r.json", "naive_run2_r.json", "safe_run1_r.json", "safe_run2_r.json"];
    assert_eq!(names, expected.map(str::to_owned).into());
}

/// Every strategy does what it is listed to do, within one process and between several.
#[tokio::test]
async fn every_strategy_does_what_it_is_listed_to_do() {
    for processes in ["1", "3"] {
        let flags = ["oversell", "--all", "--concurrency=12", "--processes", processes];
        let (code, report) = report(&flags).await;
        assert_eq!(code, 0, "{:#?}", checks(&report).collect::<Vec<_>>());
        let runs = list(&report, "runs");
        assert_eq!(runs.len(), locklab::strategy::StrategyId::names().len());
        for run in runs {
            let pids: BTreeSet<_> =
                list(run, "entries").iter().map(|entry| entry["pid"].as_u64()).collect();
            assert_eq!(pids.len().to_string(), processes, "{}", run["strategy"]);
            let sold = run["sold"].as_i64().unwrap();
            let is_safe =
                run["strategy"] != "none" && (run["strategy"] != "mutex" || processes == "1");
            assert_eq!(sold == 1, is_safe, "{}: {sold} sold", run["strategy"]);
        }
    }
}

/// The one that oversells is pointed at: by its write, and by who believed to be alone at that
/// time.
#[tokio::test]
async fn the_timeline_points_at_the_write_that_oversold() {
    let (_, report) =
        report(&["oversell", "--lock=none", "--concurrency=4", "--expect=oversell"]).await;
    let picture = &report["parts"][0]["pictures"][0];
    assert_eq!(picture["kind"], "timeline");
    let lanes = list(picture, "lanes");
    assert_eq!(lanes.len(), 4);
    let marks = |letter: &str| {
        lanes
            .iter()
            .flat_map(|lane| list(lane, "marks"))
            .filter(|it| it["letter"] == letter)
            .count()
    };
    let oversold = report["units_oversold"].as_u64().unwrap() as usize;
    assert_eq!((marks("W"), marks("X")), (1, oversold));
    let overlaps = lanes.iter().flat_map(|lane| list(lane, "spans"));
    assert!(overlaps.clone().any(|span| span["shade"] == "overlap"), "{picture:#}");
}

/// Servers that are not installed: nothing was measured, and the report says what to install.
#[tokio::test]
async fn what_is_not_there_is_unknown() {
    let redis = crate::redis_server::Redis::start().await;
    let mut command = command(&["oversell", "--lock=etcd", "--json", "--redis-url", &redis.url()]);
    command.env("PATH", "/nowhere");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = checks(&report).next().unwrap();
    assert_eq!(check["met"], "unknown");
    assert!(check["seen"].as_str().unwrap().contains("etcd"), "{check}");
}

/// A server that dies in the middle: what was seen before is told, and the rest is unknown.
#[tokio::test]
async fn what_a_dead_server_leaves_is_unknown() {
    let redis = crate::redis_server::Redis::start().await;
    let mut command =
        command(&["oversell", "--lock=safe", "--delay=2s", "--json", "--redis-url", &redis.url()]);
    command.env("LOCKLAB_COMMAND_TIMEOUT", "200ms");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    while redis.send::<Vec<String>>(&["KEYS", "lock:*"]).await.is_empty() {}
    drop(redis);
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(checks(&report).all(|check| check["met"] == "unknown"), "{report:#}");
}

/// A lease that is over too soon shows nothing of what it keeps others from.
#[tokio::test]
async fn what_a_short_lease_cannot_show_is_no_failure() {
    for scenario in ["crash", "deadlock"] {
        let (code, report) = report(&[scenario, "--ttl=1"]).await;
        // Who was too slow to be granted anything was kept out as well.
        assert!([0, 2].contains(&code), "{:#?}", checks(&report).collect::<Vec<_>>());
        assert!(checks(&report).all(|check| check["met"] != "no"), "{report:#}");
    }
}

#[tokio::test]
async fn opposite_orders_block_each_other_and_sorted_ones_do_not() {
    let locks = "--lock=safe,fenced,postgres-row,mysql-row,optimistic";
    let (code, blocked) = report(&["deadlock", "--ttl=1000", locks]).await;
    assert_eq!(code, 0, "{:#?}", checks(&blocked).collect::<Vec<_>>());
    let (code, sorted) = report(&["deadlock", "--ttl=3000", "--mitigate", locks]).await;
    assert_eq!(code, 0, "{:#?}", checks(&sorted).collect::<Vec<_>>());
    for run in list(&sorted, "runs") {
        assert!(list(run, "entries").iter().all(|entry| entry["success"] == true), "{run:#}");
    }
    let (code, three) = report(&["deadlock", "--ttl=1000", "--processes=3"]).await;
    assert_eq!(code, 0, "{:#?}", checks(&three).collect::<Vec<_>>());
    assert_eq!(list(&three, "entries").len(), 3);
    let (code, output) = run(&["deadlock", "--lock=queue"]).await;
    assert_eq!(code, 64);
    assert!(String::from_utf8_lossy(&output.stderr).contains("postgres-row"));
}

/// A holder that is killed keeps others out until its lease is over, unless its server sees it go.
#[tokio::test]
async fn a_dead_holder_keeps_others_out_for_its_lease() {
    let locks = "--lock=safe,naive,watchdog,redlock,etcd,postgres-advisory,mysql-row,atomic,queue";
    let (code, report) = report(&["crash", "--ttl=1000", locks]).await;
    assert_eq!(code, 0, "{:#?}", checks(&report).collect::<Vec<_>>());
    let blocked = |lock: &str| {
        let of_lock = |part: &&Value| part["title"].as_str().unwrap().starts_with(lock);
        let part = list(&report, "parts").iter().find(of_lock).unwrap();
        part["figures"][0]["samples"][0].as_f64().unwrap()
    };
    // The same kill, in one run: what the ttl costs.
    assert!(blocked("safe") > blocked("atomic"), "{report:#}");
}

#[tokio::test]
async fn work_that_outlasts_its_lease_sells_twice_unless_the_store_refuses() {
    let (code, report) = report(&[
        "crash",
        "--ttl-edge",
        "--ttl=500",
        "--work=1000",
        "--lock=safe,watchdog,fenced,mutex,postgres-advisory",
    ])
    .await;
    assert_eq!(code, 0, "{:#?}", checks(&report).collect::<Vec<_>>());
    let sold = |lock: &str| {
        let run = list(&report, "runs").iter().find(|run| run["strategy"] == lock).unwrap();
        run["sold"].as_i64().unwrap()
    };
    assert_eq!((sold("safe"), sold("fenced"), sold("watchdog")), (2, 1, 1));
}

/// A process that really stood still: its write lands under a lock alone, and is refused where the
/// store looks at the fencing token.
#[tokio::test]
async fn a_ghost_writes_unless_it_is_fenced() {
    let (code, report) =
        report(&["pause", "--lock=safe,watchdog,fenced,etcd,layered,atomic"]).await;
    assert_eq!(code, 0, "{:#?}", checks(&report).collect::<Vec<_>>());
    for run in list(&report, "runs") {
        let [ghost, other] = list(run, "entries") else { panic!("{run:#}") };
        assert_ne!(ghost["pid"], other["pid"]);
        match run["strategy"].as_str().unwrap() {
            "safe" | "watchdog" => assert_eq!(run["units_oversold"], 1, "{run:#}"),
            "fenced" | "etcd" => assert_eq!(ghost["outcome"], "fenced", "{run:#}"),
            _ => assert_eq!(run["sold"], 1, "{run:#}"),
        }
    }
}

#[tokio::test]
async fn what_losers_do_is_compared() {
    let flags = ["retry", "--concurrency=8", "--stock=4", "--max-retries=4", "--runs=2"];
    let (code, report) =
        report(&[&flags[..], &["--retry=fixed,jitter,notify,fifo"]].concat()).await;
    assert_eq!(code, 0, "{:#?}", checks(&report).collect::<Vec<_>>());
    assert_eq!(list(&report, "runs").len(), 8);
    let part = &report["parts"][0];
    let rows = list(&part["tables"][0], "rows");
    let names: Vec<_> = rows.iter().map(|row| row[0].as_str().unwrap()).collect();
    assert_eq!(names, ["fixed", "jitter", "notify", "fifo"]);
    let kinds: Vec<_> =
        list(part, "pictures").iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["distribution", "lines"]);
    for run in list(&report, "runs") {
        assert!(list(run, "entries").iter().all(|entry| entry["retries"].as_u64() <= Some(4)));
    }
}

/// All of it, as the PHP lab did: its controls are caught, its safe lock holds.
#[tokio::test]
async fn everything_that_the_php_lab_showed() {
    let folder = tempfile::tempdir().unwrap();
    let output = format!("--output={}", folder.path().display());
    let (code, report) = report(&["run-all", &output]).await;
    assert_eq!(code, 0, "{:#?}", checks(&report).collect::<Vec<_>>());
    for name in ["none", "naive", "safe"] {
        let path = folder.path().join(format!("oversell_{name}.json"));
        let export: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(export["oversold"], name == "none", "{name}");
    }
    assert!(list(&report, "parts").len() >= 8, "{report:#}");
}
