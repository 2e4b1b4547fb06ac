//! Clients that others wrote, contending with purchases for the same product: they and our buyers
//! exclude each other, for the layout of a lock is that of its field.

use std::collections::HashMap;

use futures_util::future::join;
use serde_json::Value;
use tokio::process::Command;

use crate::{
    etcd_server::Etcd,
    redis_server::{Farm, Redis},
    server::Server,
    zookeeper,
};

/// How often the foreign client holds the lock.
const HOLDS: usize = 40;

/// From when to when somebody held the lock, in nanoseconds of the machine's clock.
type Hold = (u64, u64);

/// Lets a foreign client hold the lock of `p`, by the name that it has there, and returns when it
/// did.
async fn foreign(client: &str, servers: &str, name: &str) -> Vec<Hold> {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(format!("{root}/.venv/bin/python"))
        .arg(format!("{root}/tests/foreign/{client}.py"))
        .args([servers, name, &HOLDS.to_string()])
        .kill_on_drop(true)
        .output()
        .await
        .expect("the tests need foreign clients; `make test` installs them");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let times = |line: &str| {
        let (began, ended) = line.split_once(' ').unwrap();
        (began.parse().unwrap(), ended.parse().unwrap())
    };
    String::from_utf8(output.stdout).unwrap().lines().map(times).collect()
}

/// When our buyers held it, by the history: from the grant to the sending of the release.
async fn ours(server: &Server) -> Vec<Hold> {
    let history = server.get("/history/p").await.text;
    let (mut granted, mut holds) = (HashMap::new(), Vec::new());
    for line in history.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let order = event["order_id"].as_str().unwrap().to_owned();
        match event["type"].as_str().unwrap() {
            "granted" => drop(granted.insert(order, event["at_ns"].as_u64().unwrap())),
            "released" => {
                let released = event["since_ns"].as_u64().unwrap();
                // The oldest records may be gone.
                holds.extend(granted.remove(&order).map(|granted| (granted, released)));
            }
            _ => {}
        }
    }
    holds
}

/// Buys with two buyers at a time, one that asks again and again and one that waits in whatever way
/// the lock has, until the foreign client is done. How often both held the lock at
/// once.
async fn overlaps(farm: &Farm, lock: &str, client: &str, servers: &str) -> usize {
    let server = farm.server(&[]);
    server.reset("p", 1_000_000).await;
    let buy =
        format!("/purchase?product=p&lock={lock}&delay=5ms&base=3ms&max_retries=1000&wait=30s");
    let buyer = async |retry: &str| loop {
        let reply = server.post(&format!("{buy}&retry={retry}")).await;
        assert!(["sold", "busy"].contains(&reply.outcome()), "{}", reply.text);
    };
    let name = match client {
        "etcdctl" => "locklab/p",
        "kazoo_lock" | "curator" => "/locklab/p",
        _ => "lock:p",
    };
    let foreign = tokio::select! {
        holds = foreign(client, servers, name) => holds,
        _ = join(buyer("fixed"), buyer("notify")) => unreachable!("buyers go on for ever"),
    };
    let ours = ours(&server).await;
    assert!(
        foreign.len() == HOLDS && ours.len() > 2,
        "{} theirs, {} ours",
        foreign.len(),
        ours.len()
    );
    let pairs = foreign.iter().flat_map(|theirs| ours.iter().map(move |our| (theirs, our)));
    pairs.filter(|(theirs, our)| theirs.0 < our.1 && our.0 < theirs.1).count()
}

#[tokio::test]
async fn redis_py_and_our_buyers_exclude_each_other() {
    let farm = Farm::bare(Redis::start().await);
    let url = farm.redis.url();
    for lock in ["safe", "watchdog", "fenced"] {
        assert_eq!(overlaps(&farm, lock, "redis_lock", &url).await, 0, "{lock}");
    }
    // The control: whoever does not ask for the lock is seen to overlap.
    assert!(overlaps(&farm, "none", "redis_lock", &url).await > 0);
}

#[tokio::test]
async fn redlock_py_and_our_buyers_exclude_each_other() {
    let farm = Farm::voting().await;
    let urls = farm.redlock_urls();
    assert_eq!(overlaps(&farm, "redlock", "redlock_py", &urls).await, 0);
    assert!(overlaps(&farm, "safe", "redlock_py", &urls).await > 0, "another lock is another lock");
}

#[tokio::test]
async fn etcdctl_and_our_buyers_exclude_each_other() {
    let farm = Farm { etcd: Etcd::start(1).await, ..Farm::bare(Redis::start().await) };
    let endpoints = farm.etcd.endpoints();
    assert_eq!(overlaps(&farm, "etcd", "etcdctl", &endpoints).await, 0);
    assert!(
        overlaps(&farm, "safe", "etcdctl", &endpoints).await > 0,
        "another lock is another lock"
    );
}

/// Kazoo names its nodes otherwise than Curator and we do.
#[tokio::test]
async fn kazoo_and_our_buyers_exclude_each_other() {
    let farm = zookeeper::shared().await;
    let hosts = farm.zookeeper.hosts.clone();
    assert_eq!(overlaps(&farm, "zookeeper", "kazoo_lock", &hosts).await, 0);
    assert!(
        overlaps(&farm, "safe", "kazoo_lock", &hosts).await > 0,
        "another lock is another lock"
    );
}

#[tokio::test]
async fn curator_and_our_buyers_exclude_each_other() {
    let farm = zookeeper::shared().await;
    let hosts = farm.zookeeper.hosts.clone();
    assert_eq!(overlaps(&farm, "zookeeper", "curator", &hosts).await, 0);
    assert!(overlaps(&farm, "safe", "curator", &hosts).await > 0, "another lock is another lock");
}
