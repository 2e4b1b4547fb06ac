//! ZooKeeper's own queue: who stands in it, who leaves it, and who is called.

use nix::sys::signal::Signal;
use reqwest::Method;

use crate::{
    server::{Reply, until},
    zookeeper::{breakable, server, shared, token},
};

/// Looks at the queue, among the commands that are counted.
const LOOKS: &str = "locklab_backend_request_duration_seconds_count\
                     {backend=\"zookeeper\",op=\"acquire\",outcome=\"ok\"}";

/// Whoever waits stands in the queue of ZooKeeper itself, across servers: in the order of arrival,
/// each watching the one who came just before. One release calls one of them, and no other looks.
#[tokio::test]
async fn the_queue_is_served_in_order() {
    const WAITERS: usize = 6;
    // Watches are counted for all that use it.
    let farm = breakable().await;
    let servers = [server(&farm, "10s"), server(&farm, "10s")];
    servers[0].reset("p", WAITERS as u64).await;
    let stranger = farm.zookeeper.contend("p", "ffff__lock__").await;
    let mut waiting = Vec::new();
    for place in 0..WAITERS {
        let buy = "/purchase?product=p&lock=zookeeper&retry=notify&wait=60s&ttl=60s";
        waiting.push(tokio::spawn(servers[place % 2].request(Method::POST, buy).send()));
        until("it is in the queue", async || farm.zookeeper.nodes("p").await.len() == place + 2)
            .await;
    }
    let watches = async |total: usize| {
        let wanted = format!("watching {total} paths\nTotal watches:{total}\n");
        farm.zookeeper.ask("wchs").await.ends_with(&wanted)
    };
    until("each watches another node", async || watches(WAITERS).await).await;
    let looks = async || servers[0].metric(LOOKS).await + servers[1].metric(LOOKS).await;
    until("everybody has looked", async || looks().await >= (2 * WAITERS) as f64).await;
    let before = looks().await;
    farm.zookeeper.client().await.delete(&stranger, None).await.unwrap();
    let mut last = 0;
    for (place, reply) in waiting.into_iter().enumerate() {
        let reply = Reply::read(reply.await.unwrap().unwrap()).await;
        assert_eq!(reply.outcome(), "sold", "{}", reply.text);
        assert_eq!(reply.json["stock_after"], WAITERS - 1 - place, "in the order of arrival");
        assert_eq!(reply.json["retries"], 0, "who stands in a queue does not try again");
        assert!(token(&reply) > last, "and so are their tokens");
        last = token(&reply);
    }
    assert_eq!(looks().await - before, WAITERS as f64, "nobody looks who is not called");
    assert!(farm.zookeeper.nodes("p").await.is_empty());
    assert!(watches(0).await, "{}", farm.zookeeper.ask("wchs").await);
}

/// Who gives up takes the node away, whether time is over or the client has gone; and who waits
/// behind that node is not called by it.
#[tokio::test]
async fn whoever_gives_up_leaves_the_queue() {
    let farm = shared().await;
    let server = server(&farm, "10s");
    server.reset("p", 1).await;
    let stranger = farm.zookeeper.contend("p", "ffff__lock__").await;
    let buy = "/purchase?product=p&lock=zookeeper&retry=notify&ttl=60s";
    let queue = async |long: usize| {
        let is_so_long = async || farm.zookeeper.nodes("p").await.len() == long;
        until("the queue is so long", is_so_long).await;
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
    farm.zookeeper.client().await.delete(&stranger, None).await.unwrap();
    let reply = Reply::read(patient.await.unwrap().unwrap()).await;
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    queue(0).await;
}

/// A server stands still while a buyer of its waits, for longer than its session lasts: the node is
/// gone when it wakes. It does not believe that it is first because nobody is before it.
#[tokio::test]
async fn a_place_lost_while_waiting_is_noticed() {
    let farm = shared().await;
    let (paused, other) = (server(&farm, "2s"), server(&farm, "10s"));
    paused.reset("p", 2).await;
    let stranger = farm.zookeeper.contend("p", "ffff__lock__").await;
    let buy = "/purchase?product=p&lock=zookeeper&wait=60s";
    let nodes = async || farm.zookeeper.nodes("p").await.len();
    let meanwhile = async {
        until("it waits", async || nodes().await == 2).await;
        paused.signal(Signal::SIGSTOP);
        until("its place is lost", async || nodes().await == 1).await;
        farm.zookeeper.client().await.delete(&stranger, None).await.unwrap();
        // Somebody works in the lock when it wakes.
        let wake = async {
            until("the other holds it", async || nodes().await == 1).await;
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
