//! Carts: several products, all or nothing, whatever the strategy; and what the order of the locks
//! has to do with it.

use futures_util::future::join_all;
use locklab::strategy::{Expected, Strategy, table::STRATEGIES};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    redis_server::Redis,
    server::{Reply, Server, until},
};

fn sellers_of_carts() -> impl Iterator<Item = &'static Strategy> {
    STRATEGIES.iter().filter(|strategy| strategy.sells_carts)
}

/// Buys one unit of each product.
async fn buy(server: &Server, products: &[&str], query: &str) -> Reply {
    let items: Vec<Value> =
        products.iter().map(|product| json!({"product_id": product, "quantity": 1})).collect();
    server.post_json(&format!("/purchase?{query}"), &json!({ "items": items })).await
}

async fn left(server: &Server, product: &str) -> i64 {
    server.get(&format!("/stock/{product}")).await.json["stock"].as_i64().unwrap()
}

/// One product short, and nothing of the others is sold; enough of all, and all are.
#[tokio::test]
async fn all_or_nothing() {
    let server = Server::full(&[]).await;
    for strategy in sellers_of_carts() {
        let lock = format!("lock={}", strategy.name);
        for (product, stock) in [("a", 5), ("b", 5), ("c", 0)] {
            server.reset(product, stock).await;
        }
        for cart in [["a", "b", "c"], ["c", "b", "a"]] {
            for order in ["sorted", "given"] {
                let reply = buy(&server, &cart, &format!("{lock}&order={order}")).await;
                assert_eq!(reply.outcome(), "sold_out", "{lock}: {}", reply.text);
                assert_eq!((left(&server, "a").await, left(&server, "b").await), (5, 5), "{lock}");
            }
        }
        let reply = buy(&server, &["b", "a"], &lock).await;
        assert_eq!(reply.outcome(), "sold", "{lock}: {}", reply.text);
        let items = reply.json["items"].as_array().unwrap();
        let names: Vec<&Value> = items.iter().map(|item| &item["product_id"]).collect();
        assert_eq!(names, ["a", "b"], "{lock}: sorted by name");
        for item in items {
            assert_eq!((&item["stock_before"], &item["stock_after"]), (&json!(5), &json!(4)));
            let has_token = strategy.has_fencing_token();
            assert_eq!(item["fencing_token"].is_u64(), has_token, "{lock}: {item}");
        }
        for product in ["a", "b", "c"] {
            assert_eq!(server.audit(product).await["ok"], true, "{lock}: {product}");
        }
    }
}

/// A product that is not on sale, and a crash before the write: nothing of the cart is sold.
#[tokio::test]
async fn nothing_of_a_cart_that_breaks_off_is_sold() {
    let server = Server::full(&[]).await;
    for strategy in sellers_of_carts() {
        let name = strategy.name;
        server.reset("a", 5).await;
        let reply = buy(&server, &["a", "never"], &format!("lock={name}")).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{name}: {}", reply.text);
        for step in strategy.steps.iter().map(|step| step.name()) {
            server.reset("a", 5).await;
            server.reset("b", 5).await;
            buy(&server, &["a", "b"], &format!("lock={name}&fault=crash@{step}")).await;
            let sold = [server.audit("a").await, server.audit("b").await];
            assert_eq!(sold[0]["sold"], sold[1]["sold"], "{name} at {step}: both or none");
        }
    }
}

/// Buyers whose carts overlap in every order: everybody gets all units, and none is sold twice.
#[tokio::test]
async fn carts_that_overlap_are_exact() {
    const BUYERS: usize = 12;
    let server = Server::full(&[]).await;
    let exact = |strategy: &&Strategy| strategy.expected != Expected::Oversells;
    for strategy in sellers_of_carts().filter(exact) {
        for product in ["a", "b", "c"] {
            server.reset(product, BUYERS as u64).await;
        }
        let query = format!(
            "lock={}&retry=jitter&base=5ms&cap=50ms&max_retries=1000&wait=60s",
            strategy.name
        );
        let carts = [["a", "b"], ["b", "a"], ["b", "c"], ["c", "a"]];
        let buyers = (0..BUYERS).map(|buyer| buy(&server, &carts[buyer % carts.len()], &query));
        for reply in join_all(buyers).await {
            assert_eq!(reply.outcome(), "sold", "{}: {}", strategy.name, reply.text);
        }
        let mut left_over = 0;
        for product in ["a", "b", "c"] {
            let audit = server.audit(product).await;
            assert_eq!(audit["ok"], true, "{}: {audit}", strategy.name);
            left_over += audit["stock"].as_u64().unwrap();
        }
        assert_eq!(left_over, BUYERS as u64, "{}: two units each, of three", strategy.name);
    }
}

/// Two carts that take the same locks in opposite orders wait for each other until a lease ends; in
/// sorted order, never. A lease that ended while the other lock was waited for guards nothing, so
/// it is not used: both start again, and both are exact.
#[tokio::test]
async fn opposite_orders_deadlock_until_the_ttl() {
    const TTL_MS: f64 = 2_000.0;
    let server = Server::full(&[]).await;
    let given_up = "locklab_lock_ttl_violations_total{lock=\"safe\",stage=\"acquire\"}";
    for (order, deadlocks) in [("sorted", false), ("given", true)] {
        server.reset("a", 2).await;
        server.reset("b", 2).await;
        // The pause before each lock gives both buyers the time to take their first one.
        let query = |ttl: &str| {
            format!(
                "lock=safe&order={order}&ttl={ttl}&fault=pause:400ms@acquire&wait=60s&\
                 max_retries=1000&retry=jitter&base=50ms&cap=400ms"
            )
        };
        let (shorter, longer) = (query("2s"), query("4s"));
        let (one, other) = (["a", "b"], ["b", "a"]);
        let (one, other) = (buy(&server, &one, &shorter), buy(&server, &other, &longer));
        let (one, other) = tokio::join!(one, other);
        let waits = [&one, &other].map(|reply| reply.json["wait_ms"].as_f64().unwrap());
        for reply in [one, other] {
            assert_eq!(reply.outcome(), "sold", "{order}: {}", reply.text);
            let locks = reply.json["items"].as_array().unwrap().len();
            assert_eq!(locks, 2, "{order}");
        }
        let deadlocked = waits.iter().all(|wait| *wait >= TTL_MS);
        assert_eq!(deadlocked, deadlocks, "{order}: waited {waits:?} ms");
        assert_eq!(server.metric(given_up).await >= 1.0, deadlocks, "{order}");
        for product in ["a", "b"] {
            let audit = server.audit(product).await;
            assert_eq!((&audit["ok"], &audit["sold"]), (&json!(true), &json!(2)), "{order}");
        }
    }
}

/// The same in line: a place in one line is not kept for longer than the lease of another lasts.
#[tokio::test]
async fn carts_in_line_deadlock_until_the_ttl() {
    let server = Server::full(&[]).await;
    for product in ["a", "b"] {
        server.reset(product, 9).await;
    }
    let query = "lock=safe&order=given&retry=fifo&fault=pause:300ms@acquire&max_retries=1000";
    let (one, other) = (["a", "b"], ["b", "a"]);
    let (first, second) = (format!("{query}&ttl=1s&wait=30s"), format!("{query}&ttl=2s&wait=60s"));
    let (one, other) = tokio::join!(buy(&server, &one, &first), buy(&server, &other, &second));
    for reply in [one, other] {
        assert_eq!(reply.outcome(), "sold", "{}", reply.text);
        assert!(reply.json["wait_ms"].as_f64().unwrap() < 30_000.0, "{}", reply.text);
    }
    for product in ["a", "b"] {
        assert_eq!(server.audit(product).await["ok"], true);
    }
}

/// What was locked first has to last for the work as well, however long the other locks were waited
/// for: if it does not, the cart begins again.
#[tokio::test]
async fn the_first_lease_of_a_cart_lasts_for_the_work() {
    let redis = Redis::start().await;
    let servers = ["a", "b"].map(|_| Server::start(&["--redis-url", &redis.url()]));
    for product in ["a", "b"] {
        servers[0].reset(product, 9).await;
    }
    let wait = "lock=safe&ttl=4s&retry=notify&wait=60s&max_retries=1000";
    let holder = format!("/purchase?product=b&{wait}&delay=3200ms");
    let late = async {
        until("b is locked", async || redis.is_locked("b").await).await;
        let rival = async {
            until("a is locked", async || redis.is_locked("a").await).await;
            servers[1].post(&format!("/purchase?product=a&{wait}&delay=2s")).await
        };
        let query = format!("{wait}&delay=2800ms");
        tokio::join!(buy(&servers[0], &["a", "b"], &query), rival)
    };
    let (holder, (cart, rival)) = tokio::join!(servers[0].post(&holder), late);
    for reply in [holder, cart, rival] {
        assert_eq!((reply.outcome(), &reply.json["ttl_violated"]), ("sold", &false.into()));
    }
    for product in ["a", "b"] {
        assert_eq!(servers[1].audit(product).await["ok"], true, "{product}");
    }
}

/// One deadline over all locks of a cart, not one for each.
#[tokio::test]
async fn one_deadline_over_all_locks() {
    let server = Server::start(&[]);
    for product in ["a", "b", "c"] {
        server.reset(product, 1).await;
    }
    // Three locks, each behind a pause of 400 ms, within 600 ms: the last is only tried once.
    let query = "lock=safe&fault=pause:400ms@acquire&retry=fixed&base=1ms&wait=600ms";
    let holder = server.post("/purchase?product=c&lock=safe&fault=crash@after-acquire&ttl=60s");
    assert_eq!(holder.await.outcome(), "error");
    let reply = buy(&server, &["a", "b", "c"], query).await;
    assert_eq!((reply.outcome(), &reply.json["retries"]), ("busy", &json!(0)), "{}", reply.text);
    for product in ["a", "b"] {
        let path = format!("/purchase?product={product}&lock=safe");
        assert_eq!(server.post(&path).await.outcome(), "sold", "{product} was released");
    }
}

/// A cart names each product once; given twice, its quantities are added, for to lock a product
/// twice is to wait for oneself.
#[tokio::test]
async fn what_a_cart_may_be() {
    let server = Server::full(&[]).await;
    server.reset("a", 5).await;
    server.reset("b", 5).await;
    let twice = json!({"items": [{"product": "a"}, {"product_id": "b"}, {"product_id": "a"}]});
    let reply = server.post_json("/purchase", &twice).await;
    assert_eq!(reply.outcome(), "sold", "{}", reply.text);
    assert_eq!((left(&server, "a").await, left(&server, "b").await), (3, 4));
    let by_url = "/purchase?items=%7B%22product%22:%22a%22%7D&items=%7B%22product%22:%22b%22%7D";
    assert_eq!(server.get(by_url).await.outcome(), "sold");
    assert_eq!((left(&server, "a").await, left(&server, "b").await), (2, 3));
    let many: Vec<Value> = (0..17).map(|n| json!({"product_id": format!("p{n}")})).collect();
    let large = json!({"product_id": "a", "quantity": 600});
    for bad in [
        json!({"items": []}),
        json!({ "items": many }),
        json!({"items": {"product_id": "a"}}),
        json!({"items": ["a"]}),
        json!({"items": [{"quantity": 1}]}),
        json!({"items": [{"product_id": "a", "quantity": 0}]}),
        json!({"items": [{"product_id": "a", "quantity": "1"}]}),
        json!({"items": [{"product_id": "a", "price": 1}]}),
        json!({"items": [{"product_id": "a", "product": "a"}]}),
        json!({"items": [large, large]}),
        json!({"items": [{"product_id": "a"}], "quantity": 1}),
        json!({"items": [{"product_id": "a"}], "product_id": "a"}),
        json!({"items": [{"product_id": "a"}], "order": "random"}),
    ] {
        let reply = server.post_json("/purchase", &bad).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{bad}: {}", reply.text);
        assert!(!reply.json["valid"].is_null(), "{bad} says what is valid: {}", reply.text);
    }
    assert_eq!((left(&server, "a").await, left(&server, "b").await), (2, 3));
}
