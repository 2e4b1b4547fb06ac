//! The lab as a library: a server without a socket, and its housekeeping.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use clap::Parser;
use locklab::{backends::version::ServerVersion, cli::Cli, lab::Lab, measure::exporter::Exporter};
use locklab_locks::wires::metrics::{Op, Wire};
use procfs::process::Process;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    sql_servers::{MySql, Postgres},
    zookeeper_server::ZooKeeper,
};

async fn open() -> Lab {
    let config = Cli::parse_from(["locklab"]).config;
    Lab::open(&config, CancellationToken::new()).await.unwrap()
}

fn get(path: &str) -> Request {
    Request::get(path).body(Body::empty()).unwrap()
}

async fn read(response: Response) -> Value {
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_purchase_without_a_socket() {
    let lab = open().await;
    let router = lab.router();
    let sold = router.clone().oneshot(get("/purchase?lock=safe")).await.unwrap();
    assert_eq!(read(sold).await["outcome"], "sold");
    let stock = router.oneshot(get("/stock/default")).await.unwrap();
    assert_eq!(read(stock).await["sold"], 1);
    assert!(lab.close(Instant::now() + Duration::from_secs(10)).await);
}

/// Servers say which versions they are; one that is away is unknown, and one that there is not is not told.
#[tokio::test]
async fn servers_name_their_versions() {
    let zookeeper = ZooKeeper::shared();
    let (postgres, mysql) = (Postgres::shared().await, MySql::shared().await);
    let arguments = [
        ["locklab", "--embed=redlock,etcd"],
        ["--zookeeper-hosts", &zookeeper.hosts],
        ["--postgres-url", &postgres.url],
        ["--mysql-url", &mysql.url],
    ];
    let config = Cli::parse_from(arguments.concat()).config;
    let lab = Lab::open(&config, CancellationToken::new()).await.unwrap();
    let versions = lab.backends().versions().await;
    let told: Vec<_> = versions.iter().map(|it| (it.backend, it.version.as_str())).collect();
    let expected = [
        ("redis", ""),
        ("redlock", "5 × "),
        ("etcd", "3 × etcd "),
        ("zookeeper", "ZooKeeper "),
        ("postgres", "PostgreSQL "),
        ("mysql", ""),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((backend, version), (expected, product)) in told.iter().zip(expected) {
        assert_eq!(*backend, expected, "{told:?}");
        assert!(version.starts_with(product), "{told:?}");
        assert!(version.ends_with(|c: char| c.is_ascii_digit()), "{told:?}");
    }
    lab.close(Instant::now() + Duration::from_secs(10)).await;
    let config = Cli::parse_from(["locklab", "--redis-url", "redis://127.0.0.1:1"]).config;
    let lab = Lab::open(&config, CancellationToken::new()).await.unwrap();
    let unknown = ServerVersion { backend: "redis", version: "unknown".to_owned() };
    assert_eq!(lab.backends().versions().await, [unknown]);
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = Process::myself().and_then(|process| process.statm()).unwrap().resident;
    pages as usize * 4096
}

/// Samples are moved into their buckets by upkeep, without anybody scraping. Samples that nobody
/// moves take 16 bytes each.
#[tokio::test]
async fn samples_do_not_pile_up() {
    const ROUNDS: usize = 40;
    const SAMPLES: usize = 100_000;
    let record = |metrics: &Exporter| {
        let redis = metrics.backend(Wire::Redis, "redis");
        for _ in 0..SAMPLES {
            redis.request(Op::Read, Duration::from_micros(70), true);
        }
    };
    let lab = open().await;
    let metrics = lab.exporter();
    let before = resident();
    for _ in 0..ROUNDS {
        record(metrics);
        sleep(Duration::from_millis(100)).await;
    }
    let kept = resident().saturating_sub(before);

    // The control: the same samples, and no upkeep.
    let unkept = Exporter::default();
    let before = resident();
    (0..ROUNDS).for_each(|_| record(&unkept));
    let piled_up = resident().saturating_sub(before);
    assert!(piled_up >= ROUNDS * SAMPLES * 16 / 2, "the control piles up {piled_up} bytes");
    assert!(kept * 2 < piled_up, "{kept} bytes with upkeep, {piled_up} without");
    assert!(lab.close(Instant::now() + Duration::from_secs(10)).await);
}
