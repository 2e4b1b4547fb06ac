//! ZooKeeper: who is first, who is late, and whose session it is.

use locklab_locks::{
    lock::{Attempt, Release},
    wires::redis::RedisMode,
};
use nix::sys::signal::Signal;
use procfs::process::{Process, all_processes};
use reqwest::Method;
use serde_json::Value;
use zookeeper_client::Client;

use crate::{
    lock_bench::Bench,
    proxy::Proxy,
    redis_server::{Farm, Redis},
    server::{Reply, Server, count, until},
    zookeeper_server::ZooKeeper,
};

/// A Redis, and a root of the ZooKeeper that tests share.
pub async fn shared() -> Farm {
    Farm { zookeeper: ZooKeeper::shared(), ..Farm::bare(Redis::start().await) }
}

/// A Redis, and a ZooKeeper that may be broken.
pub async fn breakable() -> Farm {
    Farm { zookeeper: ZooKeeper::start().await, ..Farm::bare(Redis::start().await) }
}

pub fn server(farm: &Farm, session_timeout: &str) -> Server {
    at(farm, &farm.zookeeper.hosts, &["--zookeeper-session-timeout", session_timeout])
}

fn at(farm: &Farm, hosts: &str, arguments: &[&str]) -> Server {
    let redis = farm.redis.url();
    let all = ["--redis-url", &redis, "--zookeeper-hosts", hosts];
    Server::start(&[&all, arguments].concat())
}

pub fn token(reply: &Reply) -> i64 {
    reply.json["fencing_token"].as_i64().unwrap()
}

/// Who made a product's first node, and with which transaction.
async fn holder(client: &Client, zookeeper: &ZooKeeper) -> Option<(i64, i64)> {
    let name = zookeeper.nodes("p").await.into_iter().next()?;
    let stat = client.check_stat(&format!("/locklab/p/{name}")).await.unwrap()?;
    Some((stat.ephemeral_owner, stat.czxid))
}

/// A node as Curator makes it, whose transaction is the fencing token: it grows although the number in
/// its name begins anew, since ZooKeeper deletes a parent that is empty.
#[tokio::test]
async fn the_token_outlives_the_parent() {
    let farm = shared().await;
    let (server, client) = (server(&farm, "10s"), farm.zookeeper.client().await);
    server.reset("p", 9).await;
    let mut last = 0;
    for _ in 0..3 {
        let held = async {
            let mut held = None;
            let is_held = async || {
                held = held.or(holder(client, &farm.zookeeper).await);
                held.is_some()
            };
            until("it has the lock", is_held).await;
            let names = farm.zookeeper.nodes("p").await;
            let [name] = names.as_slice() else { panic!("one holds it, not {names:?}") };
            let (guid, number) = name.strip_prefix("_c_").unwrap().split_once("-lock-").unwrap();
            assert_eq!((guid.len(), number), (36, "0000000000"), "{name}");
            held.unwrap()
        };
        let buy = server.post("/purchase?product=p&lock=zookeeper&delay=1s");
        let (reply, (owner, czxid)) = tokio::join!(buy, held);
        assert_eq!((reply.outcome(), token(&reply)), ("sold", czxid), "{}", reply.text);
        assert!(czxid > last && owner != 0, "{czxid} after {last}, of session {owner}");
        assert!(farm.zookeeper.nodes("p").await.is_empty(), "it is released");
        last = czxid;
        client.delete("/locklab/p", None).await.unwrap();
    }
}

/// Others stand in line before us, however their client names its nodes, and only their number counts.
#[tokio::test]
async fn whoever_came_before_is_waited_for() {
    let farm = shared().await;
    let server = server(&farm, "10s");
    server.reset("p", 1).await;
    let client = farm.zookeeper.client().await;
    let buy = "/purchase?product=p&lock=zookeeper";
    let mut nodes = Vec::new();
    for prefix in ["ffff__lock__", "_c_ffffffff-ffff-ffff-ffff-ffffffffffff-lock-", "lock-"] {
        nodes.push(farm.zookeeper.contend("p", prefix).await);
    }
    for node in nodes {
        assert_eq!(server.post(buy).await.outcome(), "busy");
        client.delete(&node, None).await.unwrap();
    }
    assert_eq!(server.post(buy).await.outcome(), "sold");
    // The lock of another product is another lock, and what has no number is no contender.
    farm.zookeeper.contend("pp", "x-lock-").await;
    farm.zookeeper.contend("p", "x-lock-").await;
    let foreign = zookeeper_client::Acls::anyone_all();
    let persistent = zookeeper_client::CreateMode::Persistent.with_acls(foreign);
    client.create("/locklab/p/leases", &[], &persistent).await.unwrap();
    assert_eq!(server.post(buy).await.outcome(), "busy");
    server.reset("p", 1).await;
    assert!(farm.zookeeper.nodes("p").await.is_empty(), "a reset forgets whoever holds it");
    assert_eq!(farm.zookeeper.nodes("pp").await.len(), 1, "and leaves the other alone");
    client.create("/locklab/p/leases", &[], &persistent).await.unwrap();
    assert_eq!(server.post(buy).await.outcome(), "sold");
    // These are products, and no names of nodes.
    for product in [".", ".."] {
        server.reset(product, 1).await;
        let reply = server.post(&format!("/purchase?product={product}&lock=zookeeper")).await;
        assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    }
}

/// The whole server stands still for longer than its session lasts: the next buyer comes in, and the
/// late one is refused by the store. Then it has another session, and sells.
#[tokio::test]
async fn a_session_lost_while_paused_is_fenced() {
    let farm = shared().await;
    let (paused, other) = (server(&farm, "2s"), server(&farm, "10s"));
    paused.reset("p", 3).await;
    let buy = "/purchase?product=p&lock=zookeeper";
    // It stands still between its last look at the node and the write.
    let first = format!("{buy}&fault=pause:3s@write");
    let second = async {
        let pauses = "locklab_faults_injected_total{fault=\"pause\"}";
        until("the first pauses", async || paused.metric(pauses).await == 1.0).await;
        paused.signal(Signal::SIGSTOP);
        let reply = other.post(&format!("{buy}&retry=fixed&max_retries=1000&wait=25s")).await;
        paused.signal(Signal::SIGCONT);
        reply
    };
    let (first, second) = tokio::join!(paused.post(&first), second);
    assert_eq!((first.outcome(), second.outcome()), ("fenced", "sold"), "{}", first.text);
    assert!(token(&first) < token(&second), "transactions grow");
    let audit = other.audit("p").await;
    assert_eq!((&audit["ok"], audit["sold"].as_u64()), (&true.into(), Some(1)), "{audit}");
    let sells = async || paused.post(buy).await.outcome() == "sold";
    until("it sells under another session", sells).await;
    assert!(farm.zookeeper.nodes("p").await.is_empty());
}

/// The node of the holder is deleted by hand: the next renewal sees it, and nothing is written.
#[tokio::test]
async fn a_deleted_node_is_a_lost_lease() {
    let farm = shared().await;
    let server = server(&farm, "10s");
    server.reset("p", 1).await;
    let purchase = server.post("/purchase?product=p&lock=zookeeper&ttl=3s&delay=20s");
    let delete = async {
        let client = farm.zookeeper.client().await;
        until("it has the lock", async || !farm.zookeeper.nodes("p").await.is_empty()).await;
        let name = farm.zookeeper.nodes("p").await.remove(0);
        client.delete(&format!("/locklab/p/{name}"), None).await.unwrap();
    };
    let (reply, ()) = tokio::join!(purchase, delete);
    assert_eq!(reply.outcome(), "lost", "{}", reply.text);
    assert_eq!(server.audit("p").await["sold"], 0);
    let expired = "locklab_lock_releases_total{lock=\"zookeeper\",outcome=\"expired\"}";
    assert_eq!(server.metric(expired).await, 1.0);
}

async fn row(server: &Server) -> Value {
    let strategies = server.get("/strategies").await.json["strategies"].clone();
    let rows = strategies.as_array().unwrap();
    rows.iter().find(|row| row["name"] == "zookeeper").unwrap().clone()
}

/// It hangs while a lease is held: nobody can see the node, so the work ends with the lease. Nothing is
/// sold until it wakes, and then the node is deleted, although its ttl is over and its session is not.
#[tokio::test]
async fn a_zookeeper_that_hangs() {
    let farm = breakable().await;
    let arguments = ["--zookeeper-timeout", "500ms", "--zookeeper-session-timeout", "10s"];
    let server = at(&farm, &farm.zookeeper.hosts, &arguments);
    server.reset("p", 100).await;
    let client = farm.zookeeper.client().await;
    let buy = "/purchase?product=p&lock=zookeeper&retry=fixed";
    let long = format!("{buy}&ttl=1s&delay=20s");
    let hang = async {
        until("it has the lock", async || !farm.zookeeper.nodes("p").await.is_empty()).await;
        let (owner, _) = holder(client, &farm.zookeeper).await.unwrap();
        farm.zookeeper.signal(Signal::SIGSTOP);
        owner
    };
    let (held, owner) = tokio::join!(server.post(&long), hang);
    assert_eq!(held.outcome(), "lost", "{}", held.text);
    until("it is missed", async || row(&server).await["available"] == false).await;
    let reply = server.post(buy).await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (503, "unavailable"), "{}", reply.text);
    assert_eq!(server.get("/readyz").await.status, 200, "the stock is there");
    assert_eq!(count(&server.race(10, "product=p&lock=zookeeper").await, "unavailable"), 10);
    assert_eq!(server.audit("p").await["sold"], 0);

    farm.zookeeper.signal(Signal::SIGCONT);
    until("nobody holds it", async || farm.zookeeper.nodes("p").await.is_empty()).await;
    until("it sells again", async || server.post(buy).await.outcome() == "sold").await;
    let longer = format!("{buy}&delay=1s");
    let session = async {
        until("it has the lock", async || !farm.zookeeper.nodes("p").await.is_empty()).await;
        holder(client, &farm.zookeeper).await.unwrap().0
    };
    let (held, session) = tokio::join!(server.post(&longer), session);
    assert_eq!((held.outcome(), session), ("sold", owner), "the session has outlived the hang");
    assert_eq!(server.audit("p").await["ok"], true);
}

/// The connection is lost when the node has been created, and nobody has been told: it is found by its
/// GUID, so there is one node, and its buyer gets the lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_without_an_answer_is_found() {
    let farm = shared().await;
    let (address, root) = farm.zookeeper.hosts.split_once('/').unwrap();
    let proxy = Proxy::start(&format!("redis://{address}")).await;
    let hosts = format!("{}/{root}", proxy.url.trim_start_matches("redis://"));
    let arguments = ["--zookeeper-timeout", "3s", "--zookeeper-session-timeout", "10s"];
    let server = at(&farm, &hosts, &arguments);
    server.reset("p", 2).await;
    let buy = "/purchase?product=p&lock=zookeeper&delay=500ms";
    let reply = server.post(buy).await;
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    // Nothing else names a lock before the reply.
    proxy.hold_reply_to("-lock-");
    let cut = async {
        proxy.held().await;
        until("the node is there", async || !farm.zookeeper.nodes("p").await.is_empty()).await;
        assert_eq!(farm.zookeeper.nodes("p").await.len(), 1);
        proxy.cut();
        until("it is there once", async || farm.zookeeper.nodes("p").await.len() == 1).await;
    };
    let (reply, ()) = tokio::join!(server.post(buy), cut);
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    until("nobody holds it", async || farm.zookeeper.nodes("p").await.is_empty()).await;
}

/// A purchase that crashes keeps others out for the session timeout, whatever its ttl, and no longer;
/// those of the same server are not concerned.
#[tokio::test]
async fn a_crash_leaves_the_lock_to_its_session() {
    let farm = shared().await;
    let server = server(&farm, "4s");
    server.reset("p", 1).await;
    let buy = "/purchase?product=p&lock=zookeeper";
    let crashed = server.post(&format!("{buy}&ttl=100ms&fault=crash@work")).await;
    assert_eq!(crashed.outcome(), "error");
    assert_eq!(farm.zookeeper.nodes("p").await.len(), 1);
    assert_eq!(server.post(buy).await.outcome(), "busy");
    server.reset("q", 1).await;
    let waits = format!("{buy}&retry=fixed&max_retries=1000&wait=25s");
    let other = server.post("/purchase?product=q&lock=zookeeper&delay=6s");
    let (next, other) = tokio::join!(server.post(&waits), other);
    assert_eq!((next.outcome(), other.outcome()), ("sold", "sold"), "{} {}", next.text, other.text);
    let orphans = "locklab_lock_orphans_total{lock=\"zookeeper\",cause=\"crash\"}";
    assert_eq!(server.metric(orphans).await, 1.0);
}

/// So does a server that is killed.
#[tokio::test]
async fn a_dead_holder_is_followed() {
    let farm = shared().await;
    let (dying, other) = (server(&farm, "2s"), server(&farm, "10s"));
    dying.reset("p", 1).await;
    let path = "/purchase?product=p&lock=zookeeper&delay=60s";
    let purchase = dying.request(Method::POST, path).send();
    let kill = async {
        until("it has the lock", async || !farm.zookeeper.nodes("p").await.is_empty()).await;
        dying.signal(Signal::SIGKILL);
    };
    let (reply, ()) = tokio::join!(purchase, kill);
    assert!(reply.is_err(), "the server died");
    assert_eq!(other.post("/purchase?product=p&lock=zookeeper").await.outcome(), "busy");
    let wait = "retry=fixed&max_retries=1000&wait=25s";
    let next = other.post(&format!("/purchase?product=p&lock=zookeeper&{wait}")).await;
    assert_eq!(next.outcome(), "sold", "{}", next.text);
}

/// Whose child a process is, by its id.
fn parent(pid: i32) -> Option<i32> {
    Some(Process::new(pid).and_then(|process| process.stat()).ok()?.ppid)
}

/// The private one is there without a flag more, and ends with its server, even when that is killed.
#[tokio::test]
async fn the_embedded_one() {
    let server = Server::start(&["--embed", "zookeeper"]);
    server.reset("p", 1).await;
    let reply = server.post("/purchase?product=p&lock=zookeeper").await;
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    assert_eq!(row(&server).await["available"], true);
    let is_java = |process: &Process| {
        process.cmdline().is_ok_and(|command| command.first().is_some_and(|it| it == "java"))
    };
    // Its guard is between them.
    let is_ours = |pid: &i32| parent(*pid).and_then(parent) == Some(server.pid());
    let processes = all_processes().unwrap().flatten().filter(is_java).map(|process| process.pid);
    let java: Vec<i32> = processes.filter(is_ours).collect();
    let [java] = java[..] else { panic!("one serves, not {java:?}") };
    server.signal(Signal::SIGKILL);
    until("it is gone", async || parent(java).is_none()).await;
}

/// Without hosts, the strategy says what to do, and everything else sells.
#[tokio::test]
async fn without_hosts() {
    let server = Server::start(&[]);
    let reply = server.post("/purchase?lock=zookeeper").await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (503, "unavailable"));
    assert!(reply.text.contains("--zookeeper-hosts"), "{}", reply.text);
    server.reset("p", 1).await;
    assert_eq!(server.post("/purchase?product=p").await.outcome(), "sold");
}

/// The node of a claim is there and first, but was made under another session, which ends when it does:
/// it is no lease. It is deleted all the same.
#[tokio::test]
async fn a_node_of_another_session_is_not_ours() {
    let bench = Bench::new("zookeeper", RedisMode::Multiplexed).await;
    let claim = bench.claim(&"p".parse().unwrap());
    assert!(matches!(bench.lock.attempt(&claim).await.unwrap(), Attempt::Granted(_)));
    assert!(bench.lock.renew(&claim).await.unwrap().is_some());
    let zookeeper = &bench.farm.zookeeper;
    let name = zookeeper.nodes("p").await.remove(0);
    zookeeper.client().await.delete(&format!("/locklab/p/{name}"), None).await.unwrap();
    assert_eq!(bench.lock.renew(&claim).await.unwrap(), None, "it is gone");
    let (prefix, _) = name.split_at(name.len() - 10);
    zookeeper.contend("p", prefix).await;
    assert_eq!(bench.lock.renew(&claim).await.unwrap(), None, "it is another session's");
    assert_eq!(bench.lock.release(&claim).await.unwrap(), Release::Released);
    assert!(zookeeper.nodes("p").await.is_empty());
}
