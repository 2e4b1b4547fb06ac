//! Stock and ledger are read as of one instant, also when something is always sold meanwhile.

use std::sync::Arc;

use locklab::{
    product::Product,
    stock::{
        Stock,
        redis::{READS_MAX, RedisStock, ledger_key, stock_key},
    },
};
use locklab_locks::wires::{
    metrics::{BackendMetrics, Wire},
    redis::{RedisClient, RedisMode, RedisOptions},
};
use tokio::time::Duration;

use crate::memory_redis::{MemoryRedis, Store};

/// How many there were.
const INITIAL: i64 = 100;

fn set(store: &mut Store, product: &Product, sold: i64) {
    store.strings.insert(stock_key(product), ((INITIAL - sold).to_string(), None));
    let ledger = store.hashes.entry(ledger_key(product)).or_default();
    ledger.insert("sold".to_owned(), sold.to_string());
}

#[tokio::test(start_paused = true)]
async fn what_is_always_sold_is_read_in_a_transaction() {
    let (server, product) = (MemoryRedis::default(), Product::default());
    let options = RedisOptions {
        url: "redis://in-memory/".to_owned(),
        mode: RedisMode::Multiplexed,
        pool_size: 1,
        timeout: Duration::from_secs(1),
    };
    let metrics = BackendMetrics::silent(Wire::Redis, "redis");
    let connect = Arc::new(server.clone());
    let client = RedisClient::connect_through(connect, &options, metrics).await.unwrap();
    let stock = RedisStock::new(Arc::new(client), 100);

    server.with(|store| set(store, &product, 0));
    let seen = stock.read(&product).await.unwrap().unwrap();
    assert_eq!((seen.stock, seen.sold), (INITIAL, 0));
    let times = |name: &str| {
        server.with(|store| store.log.iter().filter(|command| command[0] == name).count())
    };
    assert_eq!((times("GET"), times("EXEC")), (1, 0), "nothing is sold: one try is enough");

    let of = product.clone();
    server.with(|store| {
        store.log.clear();
        store.meddler = Some(Box::new(move |store, command| {
            if command[0] == "GET" {
                let sold: i64 = store.hashes[&ledger_key(&of)]["sold"].parse().unwrap();
                set(store, &of, sold + 1);
            }
        }));
    });
    let seen = stock.read(&product).await.unwrap().unwrap();
    assert_eq!(seen.stock + seen.sold, INITIAL, "both are of one instant");
    let tries = READS_MAX as usize;
    assert_eq!((times("GET"), times("EXEC")), (tries + 1, 1), "the last one in a transaction");
}
