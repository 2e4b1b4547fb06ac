//! Real processes, really ended: what a stop finishes and what a kill leaves behind.

use std::path::Path;

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use reqwest::StatusCode;

use crate::{
    redis_server::Redis,
    server::{Server, until},
};

/// The process id of the embedded Redis, and its folder.
async fn embedded(server: &Server) -> (Pid, String) {
    let client = redis::Client::open(server.redis.as_str()).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut conn).await.unwrap();
    let (_, folder): (String, String) = redis::cmd("CONFIG")
        .arg("GET")
        .arg("dir")
        .query_async(&mut conn)
        .await
        .unwrap();
    (Pid::from_raw(info.get("process_id").unwrap()), folder)
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

/// SIGTERM and Ctrl-C finish the purchases under way, release their leases, then end everything.
#[tokio::test]
async fn a_stopped_server_finishes_what_is_under_way() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let redis = Redis::start().await;
        let server = Server::start(&["--redis-url", &redis.url()]);
        server.reset("p", 1).await;
        let purchase = server.post("/purchase?product=p&lock=safe&delay=1s&ttl=60s");
        let stop = async {
            until("the buyer has the lock", async || {
                redis.is_locked("p").await
            })
            .await;
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

/// The embedded Redis outlives the purchases that still need it, then ends.
#[tokio::test]
async fn a_stopped_server_ends_its_embedded_redis_last() {
    let server = Server::start(&[]);
    let child = embedded(&server).await;
    server.reset("p", 1).await;
    let in_flight = "locklab_requests_in_flight";
    let stop = async {
        until("a purchase is under way", async || {
            server.metric(in_flight).await == 1.0
        })
        .await;
        server.signal(Signal::SIGTERM);
    };
    let (reply, ()) = tokio::join!(server.post("/purchase?product=p&delay=1s"), stop);
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    assert!(server.ended().await.success());
    assert!(is_gone(&child));
}

/// Work that outlasts the drain timeout does not keep the server: it ends, and so does its Redis.
#[tokio::test]
async fn the_drain_is_bounded() {
    let server = Server::start(&["--drain-timeout", "100ms"]);
    let child = embedded(&server).await;
    let path = "/purchase?lock=safe&delay=60s&ttl=600s";
    let purchase = server.request(reqwest::Method::POST, path).send();
    let in_flight = "locklab_requests_in_flight";
    let stop = async {
        until("a purchase is under way", async || {
            server.metric(in_flight).await == 1.0
        })
        .await;
        server.signal(Signal::SIGTERM);
    };
    let (reply, ()) = tokio::join!(purchase, stop);
    assert!(reply.is_err(), "the connection is cut");
    server.ended().await;
    until("the embedded Redis is gone", async || is_gone(&child)).await;
}

/// While it drains, a server says so on connections that are still open.
#[tokio::test]
async fn a_draining_server_takes_no_more() {
    let server = Server::start(&[]);
    let (host, port) = server
        .url
        .trim_start_matches("http://")
        .split_once(':')
        .unwrap();
    let address = (host.to_owned(), port.parse::<u16>().unwrap());
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    // A request whose body is still to come keeps its connection open during the drain.
    let head = "POST /purchase HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut go_on = [0; 25];
    {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.read_exact(&mut go_on).await.unwrap();
        assert!(
            go_on.starts_with(b"HTTP/1.1 100"),
            "the handler waits for the body"
        );
        server.signal(Signal::SIGTERM);
        let refused = async || reqwest::get(format!("{}/livez", server.url)).await.is_err();
        until("no more connections are taken", refused).await;
        stream.write_all(b"{}").await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
        assert!(
            reply.contains("retry-after: 1") && reply.contains("draining"),
            "{reply}"
        );
    }
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
    let refused: Vec<_> = replies
        .iter()
        .filter(|it| it.status == StatusCode::SERVICE_UNAVAILABLE)
        .collect();
    assert!(
        !refused.is_empty() && refused.len() <= 8,
        "{} of 10 refused",
        refused.len()
    );
    assert!(refused.iter().all(|it| it.header("retry-after") == "1"));
    let shed = server
        .metric("locklab_requests_shed_total{reason=\"overload\"}")
        .await;
    assert_eq!(shed as usize, refused.len());
}
