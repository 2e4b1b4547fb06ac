//! The command line: what it refuses, what it says, and that it keeps secrets.

use std::process::Output;

use crate::server::{Server, command};

fn run(arguments: &[&str]) -> Output {
    // A port that somebody else uses would be a failure of another kind.
    let free = if arguments.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
    command(&[arguments, free].concat()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn invalid_usage_is_exit_code_64() {
    for arguments in [
        &["--nonsense"][..],
        &["--listen", "nowhere"],
        &["--redis-pool-size", "0"],
        &["--command-timeout", "0"],
        &["--command-timeout", "soon"],
        &["--stock", "1000000001"],
        &["--redis-mode", "both"],
        &["--redis-url", "http://127.0.0.1"],
        &["--redis-url", "127.0.0.1:6379"],
        &["--log", "=nonsense="],
        &["--redlock-urls", "redis://127.0.0.1:1,redis://127.0.0.1:2"],
        &["--redlock-urls", "a,b,c"],
        &["--etcd-endpoints", "127.0.0.1:2379"],
        &["--etcd-endpoints", "https://127.0.0.1:2379"],
        &["--etcd-endpoints", "http://root:hunter2@127.0.0.1:2379"],
        &["--zookeeper-hosts", "127.0.0.1"],
        &["--zookeeper-hosts", "127.0.0.1:0"],
        &["--zookeeper-hosts", "a:2181/x,b:2181"],
        &["--zookeeper-session-timeout", "0"],
        &["--embed", "oracle"],
        &["--log-format", "xml"],
        &["--log-slow", "soon"],
        &["--otlp-endpoint", "127.0.0.1:4318"],
        &["--otlp-endpoint", "https://127.0.0.1:4318"],
        &["--otlp-sample", "1.1"],
        &["--otlp-sample", "NaN"],
        &["sell"],
        &["leader", "--lock", "none"],
        &["leader", "--candidates", "1"],
        &["leader", "--rounds", "0"],
        &["leader", "--ttl", "0"],
        &["leader", "--ttl", "1ms"],
        &["leader", "--ttl", "10m"],
        &["leader", "--redlock-urls", "redis://127.0.0.1:1"],
        &["anomaly", "nosuch"],
        &["anomaly", "late-advisory-lock", "--postgres-url", "mysql://127.0.0.1/locklab"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_every_variable_and_no_value() {
    let mut help = command(&["--help"]);
    help.env("REDIS_URL", "redis://:hunter2@127.0.0.1").env("LOCKLAB_ADMIN_TOKEN", "hunter2");
    help.env("LOCKLAB_OTLP_ENDPOINT", "http://:hunter2@127.0.0.1");
    let output = help.output().unwrap();
    assert!(output.status.success());
    let shown = text(&output.stdout);
    for variable in [
        "LOCKLAB_LISTEN",
        "REDIS_URL",
        "LOCKLAB_REDIS_MODE",
        "LOCKLAB_REDIS_POOL_SIZE",
        "LOCKLAB_COMMAND_TIMEOUT",
        "LOCKLAB_STOCK",
        "LOCKLAB_MAX_IN_FLIGHT",
        "LOCKLAB_DRAIN_TIMEOUT",
        "LOCKLAB_ADMIN_TOKEN",
        "LOCKLAB_LOG",
    ] {
        assert!(shown.contains(variable), "{variable}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// A password in a URL is shown nowhere: not when it works, and not when it is refused.
#[tokio::test]
async fn passwords_are_not_shown() {
    for refused in [
        ["--redis-url", "redis://:hunter2@127.0.0.1:port"],
        ["--otlp-endpoint", "https://:hunter2@127.0.0.1:4318"],
    ] {
        let output = run(&refused);
        assert_eq!(output.status.code(), Some(64));
        assert!(!text(&output.stderr).contains("hunter2"), "{}", text(&output.stderr));
    }
    let server = Server::start(&["--redis-url", "redis://user:hunter2@127.0.0.1:1/0"]);
    assert!(!server.redis.contains("hunter2") && server.redis.contains("user"), "{}", server.redis);
}

#[test]
fn a_missing_redis_says_how_to_install_one() {
    let output = command(&["--listen", "127.0.0.1:0"]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    assert!(shown.contains("--redis-url") && shown.contains("redis-server"), "{shown}");
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let server = Server::start(&[]);
    let address = server.url.trim_start_matches("http://").to_owned();
    let output = run(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
}

#[tokio::test]
async fn healthcheck_tells_ready_from_not() {
    let server = Server::start(&[]);
    let address = server.url.trim_start_matches("http://").to_owned();
    assert_eq!(run(&["healthcheck", "--listen", &address]).status.code(), Some(0));
    let any = address.replace("127.0.0.1", "0.0.0.0");
    assert_eq!(run(&["healthcheck", "--listen", &any]).status.code(), Some(0));
    drop(server);
    assert_eq!(run(&["healthcheck", "--listen", &address]).status.code(), Some(1));
}
