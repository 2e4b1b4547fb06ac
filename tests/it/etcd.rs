//! etcd: who is first, who is late, and what it takes to have a majority.

use nix::sys::signal::Signal;
use reqwest::Method;

use crate::{
    etcd_server::Etcd,
    redis_server::{Farm, Redis},
    server::{Reply, Server, count, until},
};

/// A cluster of three, which can lose one.
async fn cluster() -> Farm {
    Farm { etcd: Etcd::start(3).await, ..Farm::bare(Redis::start().await) }
}

fn server(farm: &Farm, timeout: &str) -> Server {
    let (redis, members) = (farm.redis.url(), farm.etcd.endpoints());
    let all = ["--redis-url", &redis, "--etcd-endpoints", &members, "--etcd-timeout", timeout];
    Server::start(&all)
}

/// The whole server stands still for longer than its lease lasts: the next buyer comes in, and the
/// late one is refused by the store, or has seen its loss before.
#[tokio::test]
async fn a_lease_lost_while_paused_is_fenced() {
    let farm = Farm { etcd: Etcd::start(1).await, ..Farm::bare(Redis::start().await) };
    let (paused, other) = (server(&farm, "5s"), server(&farm, "5s"));
    paused.reset("p", 2).await;
    let buy = "/purchase?product=p&lock=etcd&ttl=1s";
    // It stands still between its last look at the lease and the write.
    let first = format!("{buy}&fault=pause:3s@write");
    let second = async {
        let pauses = "locklab_faults_injected_total{fault=\"pause\"}";
        until("the first pauses", async || paused.metric(pauses).await == 1.0).await;
        paused.signal(Signal::SIGSTOP);
        let reply = other.post(&format!("{buy}&retry=notify&wait=20s")).await;
        paused.signal(Signal::SIGCONT);
        reply
    };
    let (first, second) = tokio::join!(paused.post(&first), second);
    assert_eq!((first.outcome(), second.outcome()), ("fenced", "sold"), "{}", first.text);
    let token = |reply: &Reply| reply.json["fencing_token"].as_u64().unwrap();
    assert!(token(&first) < token(&second), "revisions grow");
    let audit = other.audit("p").await;
    assert_eq!((&audit["ok"], audit["sold"].as_u64()), (&true.into(), Some(1)), "{audit}");
    until("no lease is left", async || farm.etcd.leases().await == 0).await;
}

/// The key of the holder is deleted by hand: the next renewal sees it, and nothing is written.
#[tokio::test]
async fn a_deleted_key_is_a_lost_lease() {
    let farm = Farm { etcd: Etcd::start(1).await, ..Farm::bare(Redis::start().await) };
    let server = server(&farm, "5s");
    server.reset("p", 1).await;
    let purchase = server.post("/purchase?product=p&lock=etcd&ttl=3s&delay=20s");
    let delete = async {
        until("it has the lock", async || !farm.etcd.keys("p").await.is_empty()).await;
        let key = farm.etcd.keys("p").await.remove(0);
        farm.etcd.connect().await.delete(key, None).await.unwrap();
    };
    let (reply, ()) = tokio::join!(purchase, delete);
    assert_eq!(reply.outcome(), "lost", "{}", reply.text);
    assert_eq!(server.audit("p").await["sold"], 0);
    let expired = "locklab_lock_releases_total{lock=\"etcd\",outcome=\"expired\"}";
    assert_eq!(server.metric(expired).await, 1.0);
    until("no lease is left", async || farm.etcd.leases().await == 0).await;
}

/// Whoever waits stands in the queue of etcd itself, across servers: in the order of arrival, each
/// behind the one who came just before. One release calls one of them, and no other looks.
#[tokio::test]
async fn the_queue_is_served_in_order() {
    const WAITERS: usize = 6;
    let farm = Farm { etcd: Etcd::start(1).await, ..Farm::bare(Redis::start().await) };
    let servers = [server(&farm, "5s"), server(&farm, "5s")];
    servers[0].reset("p", WAITERS as u64).await;
    let mut etcd = farm.etcd.connect().await;
    // It ends in an hour, so whoever gets in was told.
    let lease = etcd.lease_grant(3_600, None).await.unwrap().id();
    let options = etcd_client::PutOptions::new().with_lease(lease);
    etcd.put("locklab/p/stranger", "", Some(options)).await.unwrap();
    let mut waiting = Vec::new();
    for place in 0..WAITERS {
        let buy = "/purchase?product=p&lock=etcd&retry=notify&wait=60s&ttl=60s";
        waiting.push(tokio::spawn(servers[place % 2].request(Method::POST, buy).send()));
        until("it is in the queue", async || farm.etcd.keys("p").await.len() == place + 2).await;
    }
    let looks = async || {
        let mut sum = 0.0;
        for server in &servers {
            sum += server.metric(LOOKS).await;
        }
        sum
    };
    until("everybody has looked", async || looks().await >= WAITERS as f64).await;
    let before = looks().await;
    etcd.lease_revoke(lease).await.unwrap();
    let mut revision = 0;
    for (place, reply) in waiting.into_iter().enumerate() {
        let reply = Reply::read(reply.await.unwrap().unwrap()).await;
        assert_eq!(reply.outcome(), "sold", "{}", reply.text);
        assert_eq!(reply.json["stock_after"], WAITERS - 1 - place, "in the order of arrival");
        assert_eq!(reply.json["retries"], 0, "who stands in a queue does not try again");
        let token = reply.json["fencing_token"].as_u64().unwrap();
        assert!(token > revision, "and so are their tokens");
        revision = token;
    }
    assert_eq!(looks().await - before, WAITERS as f64, "nobody looks who is not called");
    until("no lease is left", async || farm.etcd.leases().await == 0).await;
}

/// Looks at the queue, among the commands that are counted.
const LOOKS: &str = "locklab_backend_request_duration_seconds_count\
                     {backend=\"etcd\",op=\"acquire\",outcome=\"ok\"}";

/// Who gives up takes the key away, whether time is over or the client has gone; and who waits
/// behind that key is not called by it.
#[tokio::test]
async fn whoever_gives_up_leaves_the_queue() {
    let farm = Farm { etcd: Etcd::start(1).await, ..Farm::bare(Redis::start().await) };
    let server = server(&farm, "5s");
    server.reset("p", 1).await;
    let mut etcd = farm.etcd.connect().await;
    etcd.put("locklab/p/stranger", "", None).await.unwrap();
    let buy = "/purchase?product=p&lock=etcd&retry=notify&ttl=60s";
    let queue = async |long: usize| {
        until("the queue is so long", async || farm.etcd.keys("p").await.len() == long).await;
    };
    let impatient = server.request(Method::POST, &format!("{buy}&wait=3s")).send();
    let impatient = tokio::spawn(impatient);
    queue(2).await;
    let gone = tokio::spawn(server.request(Method::POST, &format!("{buy}&wait=60s")).send());
    queue(3).await;
    let patient = tokio::spawn(server.request(Method::POST, &format!("{buy}&wait=60s")).send());
    queue(4).await;
    gone.abort();
    let reply = Reply::read(impatient.await.unwrap().unwrap()).await;
    assert_eq!(reply.outcome(), "busy", "{}", reply.text);
    queue(2).await;
    assert_eq!(server.audit("p").await["sold"], 0, "the stranger still holds it");
    etcd.delete("locklab/p/stranger", None).await.unwrap();
    let reply = Reply::read(patient.await.unwrap().unwrap()).await;
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    until("no lease is left", async || farm.etcd.leases().await == 0).await;
}

/// A server stands still while a buyer of its waits, for longer than the lease lasts: the key is
/// gone when it wakes. It does not believe that it is first because nobody is before it, as others
/// did.
#[tokio::test]
async fn a_place_lost_while_waiting_is_noticed() {
    let farm = Farm { etcd: Etcd::start(1).await, ..Farm::bare(Redis::start().await) };
    let (paused, other) = (server(&farm, "5s"), server(&farm, "5s"));
    paused.reset("p", 2).await;
    let mut etcd = farm.etcd.connect().await;
    etcd.put("locklab/p/stranger", "", None).await.unwrap();
    let buy = "/purchase?product=p&lock=etcd&wait=60s&ttl=1s";
    let meanwhile = async {
        until("it waits", async || farm.etcd.keys("p").await.len() == 2).await;
        paused.signal(Signal::SIGSTOP);
        until("its place is lost", async || farm.etcd.keys("p").await.len() == 1).await;
        etcd.delete("locklab/p/stranger", None).await.unwrap();
        // Somebody works in the lock when it wakes.
        let wake = async {
            until("the other holds it", async || farm.etcd.keys("p").await.len() == 1).await;
            paused.signal(Signal::SIGCONT);
        };
        let hold = format!("{buy}&delay=2s");
        tokio::join!(other.post(&hold), wake).0
    };
    let wait = format!("{buy}&retry=notify");
    let (waited, holder) = tokio::join!(paused.post(&wait), meanwhile);
    assert_eq!((waited.outcome(), holder.outcome()), ("sold", "sold"), "{}", waited.text);
    assert_eq!((&holder.json["stock_after"], &waited.json["stock_after"]), (&1.into(), &0.into()));
    assert!(waited.json["retries"].as_u64() >= Some(1), "it began again: {}", waited.text);
    let audit = other.audit("p").await;
    assert_eq!((&audit["ok"], audit["sold"].as_u64()), (&true.into(), Some(2)), "{audit}");
}

/// Others stand in line before us, and a key of theirs is respected wherever it comes in.
#[tokio::test]
async fn whoever_came_before_is_waited_for() {
    let farm = Farm { etcd: Etcd::start(1).await, ..Farm::bare(Redis::start().await) };
    let server = server(&farm, "5s");
    server.reset("p", 1).await;
    let mut etcd = farm.etcd.connect().await;
    for key in ["locklab/p/holder", "locklab/p/waiter"] {
        etcd.put(key, "", None).await.unwrap();
    }
    let buy = "/purchase?product=p&lock=etcd";
    for key in ["locklab/p/holder", "locklab/p/waiter"] {
        assert_eq!(server.post(buy).await.outcome(), "busy");
        etcd.delete(key, None).await.unwrap();
    }
    assert_eq!(server.post(buy).await.outcome(), "sold");
    // The lock of another product is another lock.
    etcd.put("locklab/pp/holder", "", None).await.unwrap();
    server.reset("p", 1).await;
    assert_eq!(server.post(buy).await.outcome(), "sold");
    assert_eq!(farm.etcd.keys("pp").await.len(), 1, "and a reset leaves it alone");
    assert_eq!(farm.etcd.leases().await, 0, "nobody leaves a lease behind");
}

/// One member is killed: purchases go on. Another hangs: nothing is sold, and the strategy says
/// why. It wakes: they go on, and the books are right.
#[tokio::test]
async fn a_minority_of_members_may_be_away() {
    let farm = cluster().await;
    let server = server(&farm, "1s");
    server.reset("p", 100).await;
    let buy = "/purchase?product=p&lock=etcd&retry=fixed";
    assert_eq!(server.post(buy).await.outcome(), "sold");
    // The one that is used.
    farm.etcd.signal(0, Signal::SIGKILL);
    let sells = async || server.post(buy).await.outcome() == "sold";
    until("the others sell", sells).await;
    let is_available = async || {
        let strategies = server.get("/strategies").await.json["strategies"].clone();
        let rows = strategies.as_array().unwrap();
        rows.iter().find(|row| row["name"] == "etcd").unwrap()["available"] == true
    };
    until("they are known to", is_available).await;

    farm.etcd.signal(1, Signal::SIGSTOP);
    until("the majority is missed", async || !is_available().await).await;
    let reply = server.post(buy).await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (503, "unavailable"), "{}", reply.text);
    assert_eq!(server.get("/readyz").await.status, 200, "the stock is there");
    let sold = server.audit("p").await["sold"].clone();
    let replies = server.race(10, "product=p&lock=etcd").await;
    assert_eq!(count(&replies, "unavailable"), 10);
    assert_eq!(server.audit("p").await["sold"], sold);

    farm.etcd.signal(1, Signal::SIGCONT);
    until("they sell again", sells).await;
    until("nobody holds it", async || farm.etcd.keys("p").await.is_empty()).await;
    assert_eq!(server.audit("p").await["ok"], true);
}

/// A holder that dies keeps others out until its lease ends, and no longer.
#[tokio::test]
async fn a_dead_holder_is_followed() {
    let farm = Farm { etcd: Etcd::start(1).await, ..Farm::bare(Redis::start().await) };
    let (dying, other) = (server(&farm, "5s"), server(&farm, "5s"));
    dying.reset("p", 1).await;
    let path = "/purchase?product=p&lock=etcd&ttl=2s&delay=60s";
    let purchase = dying.request(Method::POST, path).send();
    let kill = async {
        until("it has the lock", async || !farm.etcd.keys("p").await.is_empty()).await;
        dying.signal(Signal::SIGKILL);
    };
    let (reply, ()) = tokio::join!(purchase, kill);
    assert!(reply.is_err(), "the server died");
    assert_eq!(other.post("/purchase?product=p&lock=etcd").await.outcome(), "busy");
    let next = other.post("/purchase?product=p&lock=etcd&retry=notify&wait=25s").await;
    assert_eq!(next.outcome(), "sold", "{}", next.text);
}

/// Without members, the strategy says what to do, and everything else sells.
#[tokio::test]
async fn without_members() {
    let server = Server::start(&[]);
    let reply = server.post("/purchase?lock=etcd").await;
    assert_eq!((reply.status.as_u16(), reply.outcome()), (503, "unavailable"));
    assert!(reply.text.contains("--etcd-endpoints"), "{}", reply.text);
    server.reset("p", 1).await;
    assert_eq!(server.post("/purchase?product=p").await.outcome(), "sold");
}
