//! Real processes, really ended: what a stop finishes and what a kill leaves behind.

use std::path::Path;

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use reqwest::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, Duration},
};

use crate::{
    redis_server::Redis,
    server::{Server, until},
};

/// The process id of the embedded Redis, and its folder.
async fn embedded(server: &Server) -> (Pid, String) {
    let client = redis::Client::open(server.redis.as_str()).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut conn).await.unwrap();
    let (_, folder): (String, String) =
        redis::cmd("CONFIG").arg("GET").arg("dir").query_async(&mut conn).await.unwrap();
    (Pid::from_raw(info.get("process_id").unwrap()), folder)
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap()
}

fn is_gone((pid, folder): &(Pid, String)) -> bool {
    signal::kill(*pid, None).is_err() && !Path::new(folder).exists()
}

/// `kill -9` leaves neither the embedded Redis nor its folder behind.
#[tokio::test]
async fn a_killed_server_leaves_nothing_behind() {
    let server = Server::start(&[]);
    let child = embedded(&server).await;
    assert!(!is_gone(&child));
    server.signal(Signal::SIGKILL);
    until("the embedded Redis is gone", async || is_gone(&child)).await;
}

/// Nor when its Redis hangs at that moment: the kernel then sends signals of its own.
#[tokio::test]
async fn a_server_killed_while_its_redis_hangs_leaves_nothing_behind() {
    for _ in 0..5 {
        let server = Server::start(&[]);
        let child = embedded(&server).await;
        signal::kill(child.0, Signal::SIGSTOP).unwrap();
        server.signal(Signal::SIGKILL);
        until("the embedded Redis is gone", async || is_gone(&child)).await;
    }
}

/// A log that nobody reads any more: the server still notices outages, and still stops.
#[tokio::test]
async fn a_closed_log_breaks_nothing() {
    let redis = Redis::start().await;
    let mut server = Server::start_unread(&["--redis-url", &redis.url()]);
    drop(server.log.take());
    redis.hang();
    let ready = async || server.get("/readyz").await.status;
    until("it notices", async || ready().await == StatusCode::SERVICE_UNAVAILABLE).await;
    redis.wake();
    until("it recovers", async || ready().await == StatusCode::OK).await;
    server.signal(Signal::SIGTERM);
    assert!(server.ended().await.success());
}

/// SIGTERM and Ctrl-C finish the purchases under way, release their leases, then end everything.
#[tokio::test]
async fn a_stopped_server_finishes_what_is_under_way() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let redis = Redis::start().await;
        let server = Server::start(&["--redis-url", &redis.url()]);
        server.reset("p", 1).await;
        let purchase = server.post("/purchase?product=p&lock=safe&delay=1s&ttl=60s");
        let stop = async {
            until("the buyer has the lock", async || redis.is_locked("p").await).await;
            server.signal(signal);
        };
        let (reply, ()) = tokio::join!(purchase, stop);
        assert_eq!(reply.outcome(), "sold", "{}", reply.text);
        assert!(!redis.is_locked("p").await, "the lease is released");
        assert!(server.ended().await.success());
        let sold: i64 = redis.send(&["HGET", "ledger:p", "sold"]).await;
        assert_eq!(sold, 1);
    }
}

/// A connection that has ended is over: it keeps neither its place nor the server from stopping.
#[tokio::test]
async fn a_connection_that_has_ended_is_not_waited_for() {
    // The drain is longer than the test waits, and that far longer than it takes.
    let server = Server::start(&["--drain-timeout", "50s"]);
    assert_eq!(server.race(1, "lock=safe").await[0].outcome(), "sold");
    server.signal(Signal::SIGTERM);
    let ended = time::timeout(Duration::from_secs(25), server.ended()).await;
    assert!(ended.expect("it waits for nobody").success());
}

/// The embedded Redis outlives the purchases that still need it, then ends.
#[tokio::test]
async fn a_stopped_server_ends_its_embedded_redis_last() {
    let server = Server::start(&[]);
    let child = embedded(&server).await;
    server.reset("p", 1).await;
    let in_flight = "locklab_requests_in_flight";
    let stop = async {
        until("a purchase is under way", async || server.metric(in_flight).await == 1.0).await;
        server.signal(Signal::SIGTERM);
    };
    let (reply, ()) = tokio::join!(server.post("/purchase?product=p&delay=1s"), stop);
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    assert!(server.ended().await.success());
    assert!(is_gone(&child));
}

/// Work that outlasts the drain timeout is abandoned: its lease is released nevertheless.
#[tokio::test]
async fn the_drain_is_bounded_and_leaves_no_lock() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url(), "--drain-timeout", "100ms"]);
    server.reset("p", 1).await;
    let path = "/purchase?product=p&lock=safe&delay=60s&ttl=600s";
    let stop = async {
        until("the buyer has the lock", async || redis.is_locked("p").await).await;
        server.signal(Signal::SIGTERM);
    };
    let purchase = server.request(Method::POST, path).send();
    let (reply, ()) = tokio::join!(purchase, stop);
    assert!(reply.is_err(), "the connection is cut");
    assert!(server.ended().await.success());
    assert!(!redis.is_locked("p").await, "the lease is released");
}

/// A client that never finishes its request does not keep the server beyond the drain timeout.
#[tokio::test]
async fn half_a_request_does_not_keep_the_server() {
    let server = Server::start(&["--drain-timeout", "100ms"]);
    let child = embedded(&server).await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET / HT").await.unwrap();
    server.get("/livez").await;
    server.signal(Signal::SIGTERM);
    assert!(server.ended().await.success());
    assert!(is_gone(&child));
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "the connection is cut");
}

/// An embedded Redis that ends by itself cannot come back: `/strategies` says what to do.
#[tokio::test]
async fn an_embedded_redis_that_is_killed() {
    let server = Server::start(&[]);
    let (pid, _) = embedded(&server).await;
    signal::kill(pid, Signal::SIGKILL).unwrap();
    let reason = async || server.get("/strategies").await.json["strategies"][0]["reason"].clone();
    until("it is missed", async || reason().await.as_str().is_some()).await;
    assert!(reason().await.as_str().unwrap().contains("restart locklab"));
}

/// While it drains, a server says so on connections that are still open.
#[tokio::test]
async fn a_draining_server_takes_no_more() {
    let server = Server::start(&[]);
    let mut stream = connect(&server).await;
    // A request whose body is still to come keeps its connection open during the drain.
    let head = "POST /purchase HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut go_on = [0; 25];
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "the handler waits for the body");
    server.signal(Signal::SIGTERM);
    let refused = async || reqwest::get(format!("{}/livez", server.url)).await.is_err();
    until("no more connections are taken", refused).await;
    stream.write_all(b"{}").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
    assert!(reply.contains("retry-after: 1") && reply.contains("draining"), "{reply}");
    assert!(server.ended().await.success());
}

/// More purchases than there are places for: the rest is told so at once, and nothing breaks.
#[tokio::test]
async fn overload_is_refused() {
    let server = Server::start(&["--max-in-flight", "2"]);
    let replies = {
        let path = "/purchase?lock=none&delay=300ms";
        let requests = (0..10).map(|_| server.post(path));
        futures_util::future::join_all(requests).await
    };
    let refused: Vec<_> =
        replies.iter().filter(|it| it.status == StatusCode::SERVICE_UNAVAILABLE).collect();
    assert!(!refused.is_empty() && refused.len() <= 8, "{} of 10 refused", refused.len());
    assert!(refused.iter().all(|it| it.header("retry-after") == "1"));
    let shed = server.metric("locklab_requests_shed_total{reason=\"overload\"}").await;
    assert_eq!(shed as usize, refused.len());
}
