//! `queue`: bounded, one consumer across servers, fenced, idempotent by ticket.

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};

use crate::{
    redis_server::Redis,
    server::{Server, count, until},
};

const ELECTIONS: &str = "locklab_queue_elections_total";
const WAITING: &str = "locklab_queue_waiting";

/// More than may wait are turned away at once, with 429 and when to come back; those who were let
/// in are served.
#[tokio::test]
async fn a_full_queue_sheds_early() {
    let server = Server::start(&["--queue-max", "3"]);
    server.reset("p", 100).await;
    let replies = server.race(20, "product=p&lock=queue&delay=200ms").await;
    let (served, shed): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|reply| reply.status == StatusCode::OK);
    assert!(served.iter().all(|reply| reply.outcome() == "sold"));
    assert!(served.len() >= 3 && !shed.is_empty(), "{} were served", served.len());
    for reply in &shed {
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{}", reply.text);
        assert!(!reply.header("retry-after").is_empty(), "{}", reply.text);
        assert!(reply.json["detail"].as_str().unwrap().contains("wait already"), "{}", reply.text);
    }
    let audit = server.audit("p").await;
    assert_eq!((&audit["sold"], &audit["ok"]), (&served.len().into(), &true.into()));
    let series = "locklab_requests_shed_total{reason=\"queue_full\"}";
    assert_eq!(server.metric(series).await, shed.len() as f64);
    // What was turned away is no purchase, whatever it was turned away for.
    for (outcome, purchases) in [("sold", served.len()), ("busy", 0)] {
        let series = format!("locklab_purchases_total{{lock=\"queue\",outcome=\"{outcome}\"}}");
        assert_eq!(server.metric(&series).await, purchases as f64);
    }
}

/// Who could not be served before its wait is over is not let in either.
#[tokio::test]
async fn a_wait_that_would_be_in_vain_is_not_begun() {
    let server = Server::start(&[]);
    server.reset("p", 100).await;
    let slow = "/purchase?product=p&lock=queue&delay=1s";
    let first = server.post(slow);
    let second = async {
        until("the first waits", async || server.metric(WAITING).await == 1.0).await;
        until("and is served", async || server.metric(ELECTIONS).await == 1.0).await;
        let reply = server.post(&format!("{slow}&wait=500ms")).await;
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{}", reply.text);
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.outcome(), "sold");
}

/// Two servers, one consumer: whoever it is serves the tickets of both, one after the other.
#[tokio::test]
async fn one_consumer_serves_two_servers() {
    const BUYERS: usize = 30;
    let redis = Redis::start().await;
    let servers = ["a", "b"].map(|_| Server::start(&["--redis-url", &redis.url()]));
    servers[0].reset("p", 100).await;
    let query = "product=p&lock=queue&delay=5ms&wait=60s";
    let races = [&servers[0], &servers[1]].map(|server| server.race(BUYERS, query));
    let replies: Vec<_> = join_all(races).await.into_iter().flatten().collect();
    assert_eq!(count(&replies, "sold"), 2 * BUYERS);
    let mut units: Vec<i64> =
        replies.iter().map(|reply| reply.json["stock_after"].as_i64().unwrap()).collect();
    units.sort_unstable();
    assert_eq!(units, (40..100).collect::<Vec<_>>(), "every buyer has a unit of its own");
    let audit = servers[1].audit("p").await;
    assert_eq!((&audit["ok"], &audit["fencing"]), (&true.into(), &0.into()), "{audit}");
    assert_eq!(audit["overlaps"]["beliefs"], 0, "never two consumers: {audit}");
    until("nobody waits", async || servers[0].metric(WAITING).await == 0.0).await;
    until("the consumer has resigned", async || !redis.is_locked("p").await).await;
}

/// The consumer is killed during the work: the other server's buyers lose the rest of its lease,
/// and no more. The killed one's own ticket is served as well, once.
#[tokio::test]
async fn a_killed_consumer_costs_one_lease() {
    let redis = Redis::start().await;
    let [dying, other] = ["a", "b"].map(|_| Server::start(&["--redis-url", &redis.url()]));
    other.reset("p", 5).await;
    let request =
        dying.request(Method::POST, "/purchase?product=p&lock=queue&delay=60s&ttl=1s&wait=60s");
    let buy = async {
        until("it consumes", async || dying.metric(ELECTIONS).await == 1.0).await;
        let reply = async {
            let path = "/purchase?product=p&lock=queue&ttl=1s&wait=60s";
            other.post(path).await
        };
        let kill = async {
            until("another waits", async || other.metric(WAITING).await == 1.0).await;
            // Its ticket would be worked on for a minute: its buyer is gone, and so is its answer.
            let tickets: Vec<String> = redis.send(&["LRANGE", "queue:p", "0", "0"]).await;
            dying.signal(Signal::SIGKILL);
            let () = redis.send(&["LREM", "queue:p", "1", &tickets[0]]).await;
        };
        tokio::join!(reply, kill).0
    };
    let (dead, reply) = tokio::join!(request.send(), buy);
    assert!(dead.is_err(), "the server died");
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    let audit = other.audit("p").await;
    assert_eq!((&audit["sold"], &audit["ok"]), (&1.into(), &true.into()), "{audit}");
}

/// The consumer stands still for longer than its lease and then goes on: the store refuses it, for
/// the next one's epoch is newer, and every ticket is sold once.
#[tokio::test]
async fn a_stopped_consumer_is_fenced() {
    let redis = Redis::start().await;
    let [ghost, next] = ["a", "b"].map(|_| Server::start(&["--redis-url", &redis.url()]));
    next.reset("p", 5).await;
    let buy = "/purchase?product=p&lock=queue&ttl=500ms&wait=60s";
    let slow = format!("{buy}&delay=1s");
    let stop = async {
        until("the ghost consumes", async || ghost.metric(ELECTIONS).await == 1.0).await;
        ghost.signal(Signal::SIGSTOP);
        let reply = next.post(buy).await;
        ghost.signal(Signal::SIGCONT);
        reply
    };
    let (first, second) = tokio::join!(ghost.post(&slow), stop);
    assert_eq!((first.outcome(), second.outcome()), ("sold", "sold"), "{}", first.text);
    assert_eq!(next.metric(ELECTIONS).await, 1.0, "another took over");
    assert!(first.json["fencing_token"].as_u64().unwrap() >= 2, "{}", first.text);
    let audit = next.audit("p").await;
    assert_eq!((&audit["sold"], &audit["ok"]), (&2.into(), &true.into()), "{audit}");
}

/// A fault strikes the consumer at the first delivery of a ticket: the ticket is delivered again,
/// and sold once.
#[tokio::test]
async fn a_ticket_is_sold_once_however_often_it_is_delivered() {
    let server = Server::start(&["--command-timeout", "200ms"]);
    for fault in
        ["crash@before-write", "crash@after-write", "drop-reply@write", "drop-reply@enqueue"]
    {
        server.reset("p", 5).await;
        let path = format!("/purchase?product=p&lock=queue&ttl=300ms&fault={fault}");
        let reply = server.post(&path).await;
        assert_eq!(reply.outcome(), "sold", "{fault}: {}", reply.text);
        let audit = server.audit("p").await;
        assert_eq!((&audit["sold"], &audit["stock"]), (&1.into(), &4.into()), "{fault}: {audit}");
    }
}

/// A buyer that gives up, and one that hangs up, is not sold anything later.
#[tokio::test]
async fn whoever_gives_up_buys_nothing() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 5).await;
    // Nobody can be elected, so nobody is served.
    let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    let reply = server.post("/purchase?product=p&lock=queue&wait=200ms").await;
    assert_eq!(reply.outcome(), "busy", "{}", reply.text);
    let gone = server.request(Method::POST, "/purchase?product=p&lock=queue&wait=60s").send();
    let waits = async || server.metric(WAITING).await == 1.0;
    tokio::select! {
        _ = gone => panic!("it was answered"),
        () = until("it waits", waits) => {}
    }
    until("nobody waits", async || server.metric(WAITING).await == 0.0).await;
    let () = redis.send(&["DEL", "lock:p"]).await;
    assert_eq!(server.post("/purchase?product=p&lock=queue").await.outcome(), "sold");
    let audit = server.audit("p").await;
    assert_eq!((&audit["sold"], &audit["ok"]), (&1.into(), &true.into()), "{audit}");
    let waiting: i64 = redis.send(&["LLEN", "queue:p"]).await;
    assert_eq!(waiting, 0, "whoever gives up takes nobody's place");
}

/// A reply to the enqueue that is lost, while the ticket itself fills the queue: the buyer is not
/// told that it was turned away, for it was not.
#[tokio::test]
async fn a_ticket_that_may_be_in_the_queue_is_not_turned_away() {
    let server = Server::start(&["--queue-max", "1"]);
    server.reset("p", 5).await;
    let path = "/purchase?product=p&lock=queue&delay=500ms&fault=drop-reply@enqueue";
    let reply = server.post(path).await;
    assert_eq!((reply.status, reply.outcome()), (StatusCode::OK, "sold"), "{}", reply.text);
    let audit = server.audit("p").await;
    assert_eq!((&audit["sold"], &audit["ok"]), (&1.into(), &true.into()), "{audit}");
}

/// A queue of tickets that nobody waits for any more, for their server was killed: it is full until
/// their time is over, and then it is not.
#[tokio::test]
async fn the_tickets_of_a_dead_server_end() {
    let redis = Redis::start().await;
    let start = || Server::start(&["--redis-url", &redis.url(), "--queue-max", "2"]);
    let [dying, other] = [start(), start()];
    other.reset("p", 5).await;
    let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    let path = "/purchase?product=p&lock=queue&wait=2s";
    let buyers = join_all((0..2).map(|_| dying.request(Method::POST, path).send()));
    let kill = async {
        let full = async || redis.send::<i64>(&["LLEN", "queue:p"]).await == 2;
        until("the queue is full", full).await;
        dying.signal(Signal::SIGKILL);
        let shed = other.post("/purchase?product=p&lock=queue").await;
        assert_eq!(shed.status, StatusCode::TOO_MANY_REQUESTS, "{}", shed.text);
        let () = redis.send(&["DEL", "lock:p"]).await;
        until("it is not full any more", async || {
            other.post("/purchase?product=p&lock=queue").await.status == StatusCode::OK
        })
        .await;
    };
    tokio::join!(buyers, kill);
    assert_eq!(other.audit("p").await["ok"], true);
}

/// A server that stops in the middle of a ticket resigns: its lease is released.
#[tokio::test]
async fn a_server_that_stops_resigns() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url(), "--drain-timeout", "200ms"]);
    server.reset("p", 5).await;
    let path = "/purchase?product=p&lock=queue&delay=60s&ttl=600s&wait=60s";
    let request = server.request(Method::POST, path).send();
    let stop = async {
        until("it consumes", async || redis.is_locked("p").await).await;
        server.signal(Signal::SIGTERM);
    };
    let (_, ()) = tokio::join!(request, stop);
    server.ended().await;
    assert!(!redis.is_locked("p").await, "the lease was released");
}

/// A queue that has lost its tickets is looked at again, but not in a frenzy.
#[tokio::test]
async fn an_empty_queue_is_not_stormed() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    server.reset("p", 5).await;
    let () = redis.send(&["SET", "lock:p", "a stranger"]).await;
    let buyer = server.post("/purchase?product=p&lock=queue&wait=1s");
    let lose = async {
        until("it waits", async || redis.send::<i64>(&["LLEN", "queue:p"]).await == 1).await;
        let () = redis.send(&["DEL", "queue:p", "lock:p"]).await;
        let () = redis.send(&["PUBLISH", "released:p", ""]).await;
    };
    let (reply, ()) = tokio::join!(buyer, lose);
    assert_eq!(reply.outcome(), "busy", "{}", reply.text);
    assert_eq!(server.metric(ELECTIONS).await, 1.0, "one lease is enough to wait under");
}

/// The queue sells one product at a time, and says so.
#[tokio::test]
async fn carts_are_refused() {
    let server = Server::start(&[]);
    let items = serde_json::json!({"items": [{"product_id": "a"}, {"product_id": "b"}]});
    let reply = server.post_json("/purchase?lock=queue", &items).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text);
    assert!(reply.json["valid"].as_str().unwrap().contains("one product"), "{}", reply.text);
}
