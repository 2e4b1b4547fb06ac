//! The HTTP contract: what is accepted, what is refused, and that refusing changes nothing.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    redis_server::Redis,
    server::{Server, count, until},
};

/// The PHP lab's requests and replies, to the letter.
#[tokio::test]
async fn the_php_labs_contract() {
    let server = Server::start(&[]);
    let reset = server.post_json("/reset", &json!({"product_id": "p", "stock": 1})).await;
    assert_eq!(reset.json, json!({"status": "ok", "product_id": "p", "stock": 1}));
    let order = json!({"product_id": "p", "quantity": 1, "lock_strategy": "safe"});

    let sold = server.post_json("/purchase", &order).await;
    assert_eq!(sold.status, StatusCode::OK);
    assert_eq!(sold.json["success"], true);
    assert_eq!(sold.json["process_id"], server.pid());
    assert_eq!(sold.json["lock_acquired"], true);
    assert_eq!((&sold.json["stock_before"], &sold.json["stock_after"]), (&json!(1), &json!(0)));
    assert!(sold.json["duration_ms"].as_f64().unwrap() >= 1.0, "the work alone takes 1 ms");
    assert_eq!(sold.json["error"], Value::Null);

    let sold_out = server.post_json("/purchase", &order).await;
    assert_eq!((sold_out.status, &sold_out.json["success"]), (StatusCode::OK, &json!(false)));
    assert_eq!(sold_out.json["error"], "Insufficient stock");
    assert_eq!(sold_out.json["stock_before"], 0);

    let stock = server.get("/stock/p").await.json;
    assert_eq!((&stock["product_id"], &stock["stock"]), (&json!("p"), &json!(0)));
}

/// What we add to it.
#[tokio::test]
async fn a_sale_in_full() {
    let server = Server::start(&[]);
    server.reset("p", 5).await;
    let reply = server.get("/purchase?lock=safe&product=p&quantity=2&delay=5ms&ttl=2s").await;
    let json = &reply.json;
    assert_eq!((reply.outcome(), &json["lock"]), ("sold", &json!("safe")));
    assert_eq!((&json["retries"], &json["fencing_token"]), (&json!(0), &Value::Null));
    assert_eq!(json["ttl_violated"], false);
    assert_eq!(json["order_id"].as_str().unwrap().len(), 32);
    let number = |name: &str| json[name].as_f64().unwrap();
    assert!(number("hold_ms") >= 5.0, "the work is part of the hold");
    assert!(number("duration_ms") >= number("wait_ms") + number("hold_ms"));
    assert_eq!(reply.header("cache-control"), "no-store");
    let timing = reply.header("server-timing");
    assert!(["wait;dur=", "work;dur=", "backend;dur="].iter().all(|it| timing.contains(it)));
    let stock = server.get("/stock/p").await.json;
    let expected = json!({
        "product_id": "p", "store": "redis", "stock": 3, "initial": 5, "sold": 2, "oversold": 0,
        "lost_updates": 0,
    });
    assert_eq!(stock, expected);
}

/// Without any parameter there is something to buy: the first `curl` of a newcomer.
#[tokio::test]
async fn the_default_product_is_on_sale() {
    let server = Server::start(&[]);
    let reply = server.get("/purchase").await;
    assert_eq!((reply.outcome(), &reply.json["lock"]), ("sold", &json!("safe")));
    assert_eq!(server.get("/stock/default").await.json["initial"], 100);
    assert_eq!(server.get("/reset").await.json["stock"], 1);
}

/// The query wins over the body, and both know the names of the PHP lab.
#[tokio::test]
async fn the_query_wins() {
    let server = Server::start(&[]);
    let body = json!({"product_id": "body", "stock": 3});
    let reply = server.post_json("/reset?product=query", &body).await;
    assert_eq!(reply.json, json!({"status": "ok", "product_id": "query", "stock": 3}));
    let reply = server.post_json("/reset?product_id=query&stock=4", &body).await;
    assert_eq!(reply.json, json!({"status": "ok", "product_id": "query", "stock": 4}));
    let reply = server.post_json("/reset", &json!({"product": 17, "stock": 2.0})).await;
    assert_eq!(reply.json, json!({"status": "ok", "product_id": "17", "stock": 2}));
}

/// `strict` is for tools that see nothing but the status.
#[tokio::test]
async fn strict_maps_outcomes_to_statuses() {
    let server = Server::start(&[]);
    server.reset("p", 1).await;
    let mut replies = server.race(20, "product=p&lock=safe&delay=50ms&strict=true").await;
    replies.push(server.post("/purchase?product=p&strict=true").await);
    let statuses = |status: StatusCode| replies.iter().filter(|it| it.status == status).count();
    assert_eq!(statuses(StatusCode::OK), count(&replies, "sold"));
    assert_eq!(statuses(StatusCode::LOCKED), count(&replies, "busy"));
    assert_eq!(statuses(StatusCode::CONFLICT), count(&replies, "sold_out"));
    assert!(count(&replies, "busy") > 0 && count(&replies, "sold_out") > 0);
}

/// A body on GET would be ignored by half of the world's proxies: it is refused.
#[tokio::test]
async fn get_takes_no_body_and_head_buys_nothing() {
    let server = Server::start(&[]);
    let request = server.request(Method::GET, "/purchase").json(&json!({"lock": "none"}));
    assert_eq!(server.exchange(request).await.status, StatusCode::BAD_REQUEST);
    for path in ["/purchase", "/reset"] {
        let reply = server.exchange(server.request(Method::HEAD, path)).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(reply.header("allow"), "GET, POST");
    }
    let stock = server.get("/stock/default").await.json;
    assert_eq!((&stock["initial"], &stock["sold"]), (&json!(100), &json!(0)));
}

#[tokio::test]
async fn unknown_routes_methods_and_products() {
    let server = Server::start(&[]);
    let reply = server.get("/purchases").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert!(reply.json["detail"].as_str().unwrap().contains("/purchase "), "{}", reply.text);
    let reply = server.exchange(server.request(Method::DELETE, "/purchase")).await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.header("allow"), "GET, POST");
    for path in ["/stock/nothing", "/audit/nothing", "/purchase?product=nothing"] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert!(reply.json["detail"].as_str().unwrap().contains("/reset?product=nothing"));
    }
    for lock in ["none", "atomic"] {
        let reply = server.get(&format!("/purchase?product=nothing&lock={lock}")).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{lock}");
    }
}

#[tokio::test]
async fn what_the_server_says_of_itself() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/livez").await.json["status"], "alive");
    let ready = server.get("/readyz").await;
    assert_eq!(
        ready.json,
        json!({
            "status": "ready",
            "backends": [{"name": "redis", "up": true, "circuit": "closed"}],
        })
    );
    let strategies = server.get("/strategies").await.json;
    let safe = strategies["strategies"].as_array().unwrap().iter().find(|it| it["name"] == "safe");
    let expected = json!({
        "name": "safe", "summary": "SET NX PX token; compare-and-delete script", "store": "redis",
        "expected": "exact while work < ttl", "available": true, "reason": null,
        "sells_carts": true,
        "extends_leases": false,
        "steps": [
            "acquire", "after-acquire", "read", "work", "before-write", "write", "after-write",
            "release",
        ],
    });
    assert_eq!(safe, Some(&expected));
    let page = server.get("/").await;
    assert!(page.header("content-type").starts_with("text/html"));
    for link in page.text.split("href=\"").skip(1).filter_map(|it| it.split('"').next()) {
        assert_eq!(server.get(link).await.status, StatusCode::OK, "{link}");
    }
}

/// An empty token is none: a compose file passes variables that nobody has set as empty ones.
#[tokio::test]
async fn empty_variables_are_not_given() {
    let server = Server::start(&["--admin-token", "", "--redis-url", ""]);
    assert_eq!(server.post("/reset?stock=9").await.status, StatusCode::OK);
}

/// With an admin token, a reset needs it; without it, nothing changes.
#[tokio::test]
async fn the_admin_token_guards_resets() {
    let server = Server::start(&["--admin-token", "s3cret"]);
    let reset = |token: &str| {
        server.request(Method::POST, "/reset?stock=9").header("authorization", token.to_owned())
    };
    for token in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic s3cret", "Bearer s3cre"] {
        let reply = server.exchange(reset(token)).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{token}");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let fault = server.post("/purchase?fault=crash@write").await;
    assert_eq!(fault.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.get("/stock/default").await.json["initial"], 100);
    assert_eq!(server.exchange(reset("bearer s3cret")).await.status, StatusCode::OK);
    assert_eq!(server.get("/stock/default").await.json["initial"], 9);
}

/// A client that hangs up in the middle: its purchase is finished and its lock is freed.
#[tokio::test]
async fn a_client_that_hangs_up_leaks_nothing() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    for lock in ["safe", "naive", "mutex"] {
        server.reset(lock, 1).await;
        let path = format!("/purchase?product={lock}&lock={lock}&delay=2s&ttl=60s");
        {
            let request = server.request(Method::POST, &path).send();
            let in_flight = async || server.metric("locklab_requests_in_flight").await == 1.0;
            tokio::select! {
                _ = request => panic!("the purchase takes longer"),
                () = until("the purchase is in flight", in_flight) => {}
            }
        }
        until("the unit is sold", async || server.audit(lock).await["sold"] == 1).await;
        let in_flight = "locklab_requests_in_flight";
        until("it is done", async || server.metric(in_flight).await == 0.0).await;
        assert!(!redis.is_locked(lock).await, "{lock}");
        let next = server.post(&format!("/purchase?product={lock}&lock={lock}")).await;
        assert_eq!(next.outcome(), "sold_out", "{lock}");
    }
}
