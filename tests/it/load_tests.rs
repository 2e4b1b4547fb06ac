//! The k6 scripts against a running server: those that must pass and those that must fail.

use std::process::Output;

use crate::server::Server;

/// k6's exit code for a threshold that was crossed.
const THRESHOLD_CROSSED: i32 = 99;
/// k6's exit code for a script that refused its variables.
const SCRIPT_EXCEPTION: i32 = 107;
/// k6's exit code for a run that the script gave up.
const ABORTED: i32 = 108;

async fn k6(server: &Server, script: &str, variables: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new("k6");
    command.args(["run", "--quiet", "-e", &format!("BASE_URL={}", server.url)]);
    for variable in variables {
        command.args(["-e", variable]);
    }
    command.arg(format!("{}/load-tests/{script}", env!("CARGO_MANIFEST_DIR")));
    let Output { status, stdout, stderr } =
        command.output().await.expect("the tests need k6; `make test` installs it");
    let text = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    (status.code(), text.into_owned())
}

#[tokio::test]
async fn oversell_passes_with_safe_strategies() {
    let server = Server::start(&[]);
    for lock in ["safe", "naive", "mutex", "atomic"] {
        let (code, text) = k6(&server, "oversell-test.js", &[&format!("LOCK={lock}")]).await;
        assert_eq!(code, Some(0), "{lock}: {text}");
    }
    let (code, text) = k6(&server, "oversell-test.js", &["STOCK=5", "VUS=20", "DELAY=5ms"]).await;
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test]
async fn oversell_fails_without_a_lock() {
    let server = Server::start(&[]);
    let (code, text) = k6(&server, "oversell-test.js", &["LOCK=none"]).await;
    assert_eq!(code, Some(THRESHOLD_CROSSED), "{text}");
    assert!(text.contains("units_oversold"), "{text}");
}

#[tokio::test]
async fn high_load_passes_with_safe_and_fails_without_a_lock() {
    let server = Server::start(&[]);
    // Latency is no assertion here: other tests share the machine.
    let short = ["DURATION=5s", "RATE=200", "VUS=400", "P95_MS=30000", "P99_MS=30000"];
    let (code, text) = k6(&server, "high-load-test.js", &short).await;
    assert_eq!(code, Some(0), "{text}");
    // The control: on one hot product, updates are lost.
    let hot = ["DURATION=3s", "RATE=300", "PRODUCTS=1", "LOCK=none", "DELAY=20ms"];
    let (code, text) = k6(&server, "high-load-test.js", &hot).await;
    assert_eq!(code, Some(THRESHOLD_CROSSED), "{text}");
}

#[tokio::test]
async fn bad_variables_are_refused() {
    let server = Server::start(&[]);
    let (code, text) = k6(&server, "oversell-test.js", &["VUS=many"]).await;
    assert_eq!(code, Some(SCRIPT_EXCEPTION), "{text}");
    let (code, text) = k6(&server, "oversell-test.js", &["LOCK=safee"]).await;
    assert_eq!(code, Some(ABORTED), "{text}");
    assert!(text.contains("atomic"), "it names what is valid: {text}");
}
