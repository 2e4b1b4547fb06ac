//! Purchases that are dropped at whatever await, and what the databases keep of them: no row is left locked,
//! and no transaction open.

use futures_util::future::{join, join_all};
use locklab::{
    order::Order,
    outcome::Outcome,
    product::Product,
    strategy::{Family, Strategy, StrategyId, server::Store},
};
use locklab_locks::{step::Step, wait::Patience, wires::redis::RedisMode};
use sqlx::{Connection, Executor};
use tokio::time::Duration;

use crate::{
    lock_bench::{Bench, drop_after},
    server::until,
    sql_servers::{row_lockers, sellers},
};

/// A bench with the servers of a strategy: that of its lock, or of a lock of its database.
async fn bench(strategy: &Strategy) -> Bench {
    let lock = match (strategy.family, strategy.store) {
        (Family::Lock, _) => strategy.name,
        (Family::LockFree, Store::MySql) => "mysql-lock",
        (Family::LockFree, _) => "postgres-advisory",
    };
    Bench::new(lock, RedisMode::Multiplexed).await
}

/// Transactions that are open, in work or idle.
async fn open(bench: &Bench) -> i64 {
    if bench.farm.mysql.url.is_empty() {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND pid <> pg_backend_pid() \
                    AND (xact_start IS NOT NULL OR state LIKE 'idle in transaction%')";
        return bench.farm.postgres.fetch(open).await;
    }
    bench.farm.mysql.fetch("SELECT COUNT(*) FROM information_schema.innodb_trx").await
}

fn order(bench: &Bench, strategy: StrategyId, product: &Product) -> Order {
    let patience = Patience { wait: Duration::from_secs(2), ..Patience::default() };
    let delay = Duration::from_millis(5);
    Order { strategy, delay, patience, ..bench.order(product) }
}

/// While nobody else wants the row.
#[tokio::test]
async fn a_dropped_purchase_leaves_no_transaction() {
    for row in sellers() {
        let (bench, &Strategy { id, name: strategy, store, .. }) = (bench(row).await, row);
        let shop = bench.shop();
        let dropped = bench.at_every_await(async |product, polls| {
            shop.reset(&product, 2, Some(id)).await.unwrap();
            drop_after(polls, shop.purchase(&order(&bench, id, &product))).await
        });
        let products = dropped.await;
        assert!(products.len() > 3, "{strategy} was dropped {} times", products.len());
        until("no transaction is open", async || open(&bench).await == 0).await;
        for product in products {
            let sold = shop.tally(&product, store).await.unwrap().unwrap().sold;
            // Under its lock, the next one has to wait for a write that may still have been under way.
            if strategy != "layered" {
                let next = shop.purchase(&order(&bench, id, &product)).await;
                assert_eq!(next.outcome, Outcome::Sold, "{strategy}, after {product}: {next:?}");
                let now = shop.tally(&product, store).await.unwrap().unwrap();
                assert_eq!((now.sold, now.stock), (sold + 1, 1 - sold), "{strategy}, {product}");
            }
            assert!(sold <= 1, "{strategy}, {product}");
        }
    }
}

/// While somebody else keeps it: whoever waited for the row, and was dropped, does not get it later.
#[tokio::test]
async fn a_dropped_wait_for_a_row_leaves_no_transaction() {
    for row in sellers() {
        let (bench, &Strategy { id, name: strategy, store, .. }) = (bench(row).await, row);
        let shop = bench.shop();
        let keep = "SELECT stock FROM locklab_products FOR UPDATE";
        let dropped = bench.at_every_await(async |product, polls| {
            shop.reset(&product, 1, Some(id)).await.unwrap();
            let purchase = order(&bench, id, &product);
            let purchase = drop_after(polls, shop.purchase(&purchase));
            if bench.farm.mysql.url.is_empty() {
                let mut session = bench.farm.postgres.connect().await;
                let mut keeper = session.begin().await.unwrap();
                keeper.execute(keep).await.unwrap();
                let done = purchase.await;
                keeper.rollback().await.unwrap();
                done
            } else {
                let mut session = bench.farm.mysql.connect().await;
                let mut keeper = session.begin().await.unwrap();
                keeper.execute(keep).await.unwrap();
                let done = purchase.await;
                keeper.rollback().await.unwrap();
                done
            }
        });
        let products = dropped.await;
        until("no transaction is open", async || open(&bench).await == 0).await;
        for product in products {
            let tally = shop.tally(&product, store).await.unwrap().unwrap();
            // One statement is a sale that has been sent. MySQL needs a COMMIT, which was not.
            let is_one = store == Store::Postgres && row.steps.contains(&Step::Take);
            let sold = if is_one { tally.sold } else { 0 };
            assert_eq!((tally.sold, tally.stock), (sold, 1 - sold), "{strategy}, {product}");
        }
    }
}

/// A connection that is checked out while nobody wants it any more goes to the next in the pool's line.
#[tokio::test]
async fn a_dropped_place_in_the_pools_line_is_left() {
    for row in row_lockers() {
        let (bench, &Strategy { id, name: strategy, .. }) = (bench(row).await, row);
        let shop = bench.shop();
        let product = Product::default();
        shop.reset(&product, 50, Some(id)).await.unwrap();
        let patience = Patience { wait: Duration::from_secs(20), ..Patience::default() };
        let order = || Order { patience: patience.clone(), ..order(&bench, id, &product) };
        // The pool has ten.
        let delay = Duration::from_millis(500);
        let slow: Vec<Order> = (0..10).map(|_| Order { delay, ..order() }).collect();
        let holders = join_all(slow.iter().map(|order| shop.purchase(order)));
        let others = async {
            until("all connections are in use", async || {
                let used = "locklab_pool_connections{backend=\"postgres\",state=\"used\"} 10";
                let metrics = bench.exporter.render();
                metrics.contains(used) || metrics.contains(&used.replace("postgres", "mysql"))
            })
            .await;
            for polls in 1..5 {
                assert!(!drop_after(polls, shop.purchase(&order())).await);
            }
            shop.purchase(&order()).await
        };
        let (held, next) = join(holders, others).await;
        for receipt in held {
            assert_eq!(receipt.outcome, Outcome::Sold, "{strategy}: {receipt:?}");
        }
        assert_eq!(next.outcome, Outcome::Sold, "{strategy}: {next:?}");
        until("no transaction is open", async || open(&bench).await == 0).await;
    }
}
