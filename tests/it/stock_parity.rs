//! The three stores, driven directly with one table of operations: they answer the same.

use std::sync::Arc;

use futures_util::future::join_all;
use locklab::{
    measure::exporter::Exporter,
    outcome::Outcome,
    stock::{redis::RedisStock, sql::SqlStock},
    strategy::server::Store,
};
use locklab_locks::wires::{
    metrics::Wire,
    redis::{RedisClient, RedisMode, RedisOptions},
};
use tokio::time::Duration;

use crate::{
    redis_server::Redis,
    sql_servers::{MySql, Postgres},
    stock_driver::{
        At::{Kept, Never, Now},
        Do::{
            self, Abandon, Add, Begin, BeginAgain, BeginBriefly, Close, Conclude, Evidence, Keep,
            Open, Raise, Read, Reset, Take, TakeOnce, Tally, Write, WriteOnce,
        },
        Driven, product,
    },
};

const RECORDS_MAX: u32 = 4;

/// What is done, one after the other, and what each store has to answer.
const TABLE: &[(Do, &str)] = &[
    // Nothing is on sale.
    (Keep("a"), "none"),
    (Read("a"), "none"),
    (Tally("a"), "none"),
    (Evidence("a"), "none"),
    (Close("a"), "done"),
    (Raise("a", 9), "true"),
    (Take(&[("a", 1)]), "absent 0"),
    (Write(&[("a", 1, 1)], Never, None), "reset"),
    (Add("a", 1, None), "done"),
    (Evidence("a"), "none"),
    // It is put on sale once.
    (Open("a", 5), "true"),
    (Open("a", 7), "false"),
    (Read("a"), "5 left, 0 sold"),
    (Raise("a", 1), "true"),
    (Reset("a", 5), "done"),
    // Takes.
    (Take(&[("a", 2)]), "sold 5-3:2"),
    (Take(&[("a", 4)]), "sold out 0 of 3"),
    (Take(&[("a", 3)]), "sold 3-0:5"),
    (Take(&[("a", 1)]), "sold out 0 of 0"),
    (Tally("a"), "5 - 5 = 0"),
    // Writes are blind to what others have sold, and the ledger is not.
    (Reset("a", 2), "done"),
    (Write(&[("a", 2, 1)], Now, None), "sold 2-1:1"),
    (Write(&[("a", 2, 1)], Now, None), "sold 1-1:2 lost 1"),
    (Write(&[("a", 1, 1)], Now, None), "sold 1-0:3 over 1"),
    (Write(&[("a", 2, 2)], Now, None), "sold 0-0:5 over 2 lost 2"),
    (Tally("a"), "2 - 5 = 0"),
    (Read("a"), "0 left, 5 sold"),
    // A reset in between.
    (Keep("a"), "some"),
    (Reset("a", 3), "done"),
    (Write(&[("a", 3, 1)], Kept, None), "reset"),
    (Tally("a"), "3 - 0 = 3"),
    // Closed: nothing is sold, whatever the generation.
    (Close("a"), "done"),
    (Keep("a"), "empty"),
    (Write(&[("a", 3, 1)], Now, None), "reset"),
    (Take(&[("a", 1)]), "reset"),
    (Open("a", 9), "false"),
    (Read("a"), "3 left, 0 sold"),
    (Reset("a", 3), "done"),
    // Carts: all or nothing; what is told is of the first, in the order of the cart.
    (Take(&[("a", 1), ("b", 1)]), "absent 1"),
    (Take(&[("b", 1), ("a", 9)]), "absent 0"),
    (Tally("a"), "3 - 0 = 3"),
    (Reset("b", 2), "done"),
    (Take(&[("b", 1), ("a", 2)]), "sold 2-1:1 3-1:2"),
    (Take(&[("b", 9), ("a", 9)]), "sold out 0 of 1"),
    (Take(&[("a", 9), ("b", 9)]), "sold out 0 of 1"),
    (Take(&[("b", 1), ("a", 9)]), "sold out 1 of 1"),
    (Take(&[("a", 1), ("b", 9)]), "sold out 1 of 1"),
    (Close("b"), "done"),
    (Take(&[("a", 9), ("b", 1)]), "sold out 0 of 1"),
    (Take(&[("b", 1), ("a", 9)]), "reset"),
    (Reset("b", 2), "done"),
    (Write(&[("b", 2, 1), ("a", 1, 1)], Now, None), "sold 2-1:1 1-0:3"),
    (Write(&[("a", 1, 1), ("b", 1, 1)], Never, None), "reset"),
    (Tally("b"), "2 - 1 = 1"),
    // Fencing: older holders are refused, and whoever has no token.
    (Reset("a", 9), "done"),
    (Raise("a", 5), "true"),
    (Raise("a", 5), "true"),
    (Raise("a", 4), "false"),
    (Write(&[("a", 9, 1)], Now, Some(4)), "fenced"),
    (Write(&[("a", 9, 1)], Now, None), "fenced"),
    (Write(&[("a", 9, 1)], Kept, Some(9)), "reset"),
    (Write(&[("a", 9, 1)], Now, Some(5)), "sold 9-8:1"),
    (Write(&[("a", 8, 1)], Now, Some(7)), "sold 8-7:2"),
    (Raise("a", 6), "false"),
    (Write(&[("b", 1, 1), ("a", 7, 1)], Now, Some(6)), "fenced"),
    (Tally("b"), "2 - 1 = 1"),
    (Reset("a", 9), "done"),
    (Write(&[("a", 9, 1)], Now, Some(1)), "sold 9-8:1"),
    // Answers: the first stands.
    (Reset("a", 3), "done"),
    (Begin("k"), "first"),
    (Begin("k"), "under way"),
    (Abandon("k"), "done"),
    (Begin("k"), "first"),
    (WriteOnce("k", &[("a", 3, 1)], Now), "sold 3-2:1"),
    (WriteOnce("k", &[("a", 2, 1)], Now), "repeated sold 3-2"),
    (TakeOnce("k", &[("a", 1)], Now), "repeated sold 3-2"),
    (Begin("k"), "answered sold 3-2"),
    (Abandon("k"), "done"),
    (Conclude("k", Outcome::Busy), "sold 3-2"),
    (TakeOnce("l", &[("a", 1)], Now), "sold 2-1:2"),
    (TakeOnce("l", &[("a", 1)], Now), "repeated sold 2-1"),
    (TakeOnce("m", &[("a", 9)], Now), "sold out 0 of 1"),
    (TakeOnce("m", &[("a", 1)], Never), "reset"),
    (Conclude("m", Outcome::SoldOut), "sold_out"),
    (Conclude("m", Outcome::Busy), "sold_out"),
    (TakeOnce("m", &[("a", 1)], Now), "repeated sold_out"),
    (BeginBriefly("brief"), "first"),
    (BeginAgain("brief"), "first"),
    (Keep("a"), "some"),
    (Reset("a", 3), "done"),
    (Begin("k"), "first"),
    (Tally("a"), "3 - 0 = 3"),
    // Histories: those of this reset, the newest, and how many there were.
    (Add("a", 2, Some(Now)), "done"),
    (Add("a", 1, None), "done"),
    (Add("a", 9, Some(Kept)), "done"),
    (Evidence("a"), "3 - 0 = 3, 3 of 3: 0 1 0"),
    (Add("a", 3, Some(Now)), "done"),
    (Evidence("a"), "3 - 0 = 3, 4 of 6: 0 0 1 2"),
    (Reset("a", 1), "done"),
    (Evidence("a"), "1 - 0 = 1, 0 of 0:"),
    (Add("a", 1, Some(Now)), "done"),
    (Evidence("a"), "1 - 0 = 1, 1 of 1: 0"),
    // Of an order that began during a reset, nothing is known of its generation.
    (Close("a"), "done"),
    (Keep("a"), "empty"),
    (Reset("a", 1), "done"),
    (Add("a", 1, Some(Kept)), "done"),
    (Evidence("a"), "1 - 0 = 1, 1 of 1: 0"),
];

/// The stores, and servers that have to outlive them.
async fn stores() -> ((Redis, MySql), Vec<Driven>) {
    let (redis, postgres, mysql) =
        tokio::join!(Redis::start(), Postgres::shared(), MySql::shared());
    let (metrics, timeout) = (Exporter::default(), Duration::from_secs(5));
    let mode = RedisMode::Multiplexed;
    let options = RedisOptions { url: redis.url(), mode, pool_size: 4, timeout };
    let client =
        RedisClient::connect(&options, metrics.backend(Wire::Redis, "redis")).await.unwrap();
    let in_redis = RedisStock::new(Arc::new(client), RECORDS_MAX);
    let in_postgres = SqlStock::new(postgres.open(&metrics).await.unwrap().stock, RECORDS_MAX);
    let in_mysql = SqlStock::new(mysql.open(&metrics).await.unwrap().stock, RECORDS_MAX);
    let driven = vec![
        Driven::new(Box::new(in_redis), Store::Redis),
        Driven::new(Box::new(in_postgres), Store::Postgres),
        Driven::new(Box::new(in_mysql), Store::MySql),
    ];
    ((redis, mysql), driven)
}

#[tokio::test]
async fn all_stores_answer_the_same() {
    let (_servers, driven) = stores().await;
    join_all(driven.into_iter().map(async |mut it| {
        for (place, (what, expected)) in TABLE.iter().enumerate() {
            let answer = it.carry_out(*what).await.unwrap_or_else(|error| error.to_string());
            assert_eq!(answer, *expected, "{:?}, {place}: {what:?}", it.store);
        }
    }))
    .await;
}

/// Two servers that bring the first records of a product at the same time, and go on: each is counted once,
/// and none keeps out what follows.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_several_servers_are_all_counted() {
    let (_servers, driven) = stores().await;
    for it in &driven {
        for round in 0..20 {
            let name = format!("p{round}");
            it.stock.reset(&product(&name), 1).await.unwrap();
            let bring = [1, 2, 3, 4].map(async |many| {
                for _ in 0..5 {
                    let notes = it.notes(&name, many, None);
                    // As the recorder does, until the store has them.
                    while let Err(error) = it.stock.record(&notes).await {
                        assert!(error.is_passing(), "{error}");
                    }
                }
            });
            let all = tokio::time::timeout(Duration::from_secs(20), join_all(bring)).await;
            assert!(all.is_ok(), "{:?} refuses records for ever", it.store);
            let evidence = it.stock.evidence(&product(&name)).await.unwrap().unwrap();
            assert_eq!(evidence.recorded, 50, "{:?}, {name}", it.store);
            assert_eq!(evidence.history.len(), RECORDS_MAX as usize, "{:?}, {name}", it.store);
        }
    }
}
