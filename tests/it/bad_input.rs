//! Input that is not valid: refused with what would have been, and without any effect.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::server::{Reply, Server};

/// Each of these is refused, says what is valid, and changes nothing.
#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    let server = Server::start(&[]);
    server.reset("default", 5).await;
    let long = "x".repeat(65);
    let bad_queries = [
        ("/purchase?lock=safee", "lock"),
        ("/purchase?lock=", "lock"),
        ("/purchase?lock=SAFE", "lock"),
        ("/purchase?quantity=0", "quantity"),
        ("/purchase?quantity=-1", "quantity"),
        ("/purchase?quantity=%2B1", "quantity"),
        ("/purchase?quantity=1.5", "quantity"),
        ("/purchase?quantity=1001", "quantity"),
        ("/purchase?quantity=1000000000000000000000000000000", "quantity"),
        ("/purchase?quantity=one", "quantity"),
        ("/purchase?product=a%20b", "product"),
        ("/purchase?product=a%2Fb", "product"),
        ("/purchase?product=%00", "product"),
        ("/purchase?product=%ff", "product"),
        ("/purchase?product=", "product"),
        (&format!("/purchase?product={long}"), "product"),
        ("/purchase?delay=61s", "delay"),
        ("/purchase?delay=-1", "delay"),
        ("/purchase?delay=1h", "delay"),
        ("/purchase?ttl=0", "ttl"),
        ("/purchase?ttl=601s", "ttl"),
        ("/purchase?ttl=1500us", "ttl"),
        ("/purchase?lock=redlock&extensions=11", "extensions"),
        ("/purchase?lock=redlock&extensions=-1", "extensions"),
        ("/purchase?lock=redlock&extensions=1.5", "extensions"),
        ("/purchase?lock=redlock&extensions=", "extensions"),
        ("/purchase?lock=watchdog&extensions=1", "extensions"),
        ("/purchase?extensions=1", "extensions"),
        ("/purchase?strict=yes", "strict"),
        ("/purchase?retry=jitters", "retry"),
        ("/purchase?retry=", "retry"),
        ("/purchase?max_retries=1001", "max_retries"),
        ("/purchase?max_retries=-1", "max_retries"),
        ("/purchase?wait=61s", "wait"),
        ("/purchase?base=soon", "base"),
        ("/purchase?cap=1h", "cap"),
        ("/purchase?fault=crash", "fault"),
        ("/purchase?fault=crash@nowhere", "fault"),
        ("/purchase?fault=pause:61s@write", "fault"),
        ("/purchase?lock=safe&fault=crash@between-setnx-and-expire", "fault"),
        ("/purchase?lock=none&fault=crash@acquire", "fault"),
        ("/purchase?LOCK=safe", "LOCK"),
        ("/purchase?lock=safe&lock=safe", "lock"),
        ("/purchase?lock=safe&lock_strategy=none", "lock"),
        ("/reset?stock=1000000001", "stock"),
        ("/reset?stock=-1", "stock"),
        ("/reset?stock=0.5", "stock"),
        ("/reset?product=%7Bdefault%7D", "product"),
        ("/reset?quantity=1", "quantity"),
        ("/stock/default?lock=safee", "lock"),
        ("/stock/a%20b", "product"),
        ("/stock/default?x=1", "x"),
        ("/audit/%7B%7D", "product"),
        ("/stock/%ff", "product"),
        ("/audit/%ff", "product"),
    ];
    for (path, parameter) in bad_queries {
        let reply = server.get(path).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path}: {}", reply.text);
        assert_eq!(reply.json["parameter"], parameter, "{path}: {}", reply.text);
        assert!(!reply.json["valid"].is_null(), "{path} says what is valid: {}", reply.text);
    }
    let bad_bodies = [
        json!({"quantity": 0}),
        json!({"quantity": -1}),
        json!({"quantity": 1.5}),
        json!({"quantity": 1e30}),
        json!({"quantity": "1"}),
        json!({"quantity": null}),
        json!({"quantity": [1]}),
        json!({"quantity": true}),
        json!({"product_id": ""}),
        json!({"product_id": {"a": 1}}),
        json!({"product_id": -5}),
        json!({"product_id": 1.5}),
        json!({"product_id": 1e30}),
        json!({"lock_strategy": 1}),
        json!({"lock": "redlock", "extensions": "1"}),
        json!({"lock": "redlock", "extensions": 11}),
        json!({"strict": "true"}),
        json!({"items": []}),
        json!({"fault": ["crash@write", 1]}),
        json!({"fault": "crash@write"}),
        json!({"fault": [["crash@write"]]}),
        json!({"fault": vec!["pause:0@write"; 9]}),
        json!({"quantity": [1, 2]}),
    ];
    for body in bad_bodies {
        let reply = server.post_json("/purchase", &body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}: {}", reply.text);
        assert!(!reply.json["valid"].is_null(), "{body} says what is valid: {}", reply.text);
    }
    let stock = server.get("/stock/default").await.json;
    assert_eq!((&stock["stock"], &stock["sold"]), (&json!(5), &json!(0)));
}

/// A body that is not one JSON object of parameters.
#[tokio::test]
async fn bad_bodies_are_refused_and_change_nothing() {
    let server = Server::start(&[]);
    server.reset("default", 5).await;
    let send = async |body: &str, content_type: Option<&str>| -> Reply {
        let mut request = server.request(Method::POST, "/purchase").body(body.to_owned());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        server.exchange(request).await
    };
    let json_type = Some("application/json");
    let deep = "[".repeat(10_000);
    for body in [
        "{",
        "[]",
        "1",
        "null",
        "\"x\"",
        "{\"quantity\":1}{}",
        "{quantity:1}",
        "\u{feff}{}",
        "{\"quantity\":1e999}",
        &deep,
    ] {
        let reply = send(body, json_type).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body:.40}: {}", reply.text);
        assert!(reply.json["detail"].as_str().unwrap().contains("JSON object"), "{}", reply.text);
    }
    let twice = send("{\"quantity\":1,\"quantity\":2}", json_type).await;
    assert_eq!(
        (twice.status, &twice.json["parameter"]),
        (StatusCode::BAD_REQUEST, &json!("quantity"))
    );
    for content_type in [Some("text/plain"), Some("application/x-www-form-urlencoded"), None] {
        let reply = send("{}", content_type).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
        assert!(reply.json["detail"].as_str().unwrap().contains("application/json"));
    }
    let megabyte = format!("{{\"product_id\":\"{}\"}}", "x".repeat(1_000_000));
    assert_eq!(send(&megabyte, json_type).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let with_charset = send("{\"quantity\":1}", Some("Application/JSON; charset=utf-8")).await;
    assert_eq!(with_charset.outcome(), "sold", "a charset does no harm");
    assert_eq!(server.get("/stock/default").await.json["sold"], 1);
}
