//! `/openapi.json` against what the server does: every reply of every test is held against it.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use jsonschema::Validator;
use locklab::http;
use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{Reply, Server};

/// The API description, ready to check replies.
pub struct Contract {
    description: Value,
    /// What was made of each schema of a reply: to make it takes longer than most replies do.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Contract {
    pub fn get() -> &'static Self {
        static CONTRACT: OnceLock<Contract> = OnceLock::new();
        CONTRACT.get_or_init(|| Self {
            description: serde_json::to_value(http::description()).unwrap(),
            validators: Mutex::default(),
        })
    }

    /// Checks against a schema of the description.
    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let make = || {
            let components = &self.description["components"];
            let whole = json!({"$ref": "#/schema", "schema": schema, "components": components});
            Arc::new(jsonschema::validator_for(&whole).unwrap())
        };
        Arc::clone(self.validators.lock().entry(schema.to_string()).or_insert_with(make))
    }

    /// Fails when a described route gives a status, a media type or a body that is not described.
    pub fn check(&self, method: &Method, path: &str, reply: &Reply) {
        let Some(operation) = self.operation(method, path) else {
            let refused = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
            assert!(refused.contains(&reply.status), "{method} {path} is not described");
            return;
        };
        let described = &operation["responses"][reply.status.as_str()];
        assert!(described.is_object(), "{method} {path}: {} is not described", reply.status);
        let media_type = reply.header("content-type").split(';').next().unwrap();
        let content = &described["content"][media_type];
        assert!(content.is_object(), "{method} {path}: {media_type} is not described");
        if media_type.ends_with("json")
            && !content["schema"].is_null()
            && let Err(error) = self.validator(&content["schema"]).validate(&reply.json)
        {
            panic!("{method} {path}: {error}\n{}", reply.text);
        }
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let paths = self.description["paths"].as_object().unwrap();
        let (_, item) = paths.iter().find(|(template, _)| match template.split_once('{') {
            Some((prefix, _)) => path
                .strip_prefix(prefix)
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('/')),
            None => template.as_str() == path,
        })?;
        item.get(method.as_str().to_lowercase())
    }

    /// The names of the query parameters of a route.
    fn parameters(&self, method: &Method, path: &str) -> Vec<&str> {
        let parameters = self.operation(method, path).unwrap()["parameters"].as_array();
        let query = parameters.into_iter().flatten().filter(|it| it["in"] == "query");
        query.map(|parameter| parameter["name"].as_str().unwrap()).collect()
    }
}

/// The server serves the description that the tests check against.
#[tokio::test]
async fn the_description_is_served() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/openapi.json").await.json, Contract::get().description);
}

/// Operation ids are unique, and every reference leads somewhere.
#[test]
fn the_description_is_consistent() {
    let contract = &Contract::get().description;
    let mut ids = Vec::new();
    for item in contract["paths"].as_object().unwrap().values() {
        ids.extend(item.as_object().unwrap().values().map(|it| it["operationId"].to_string()));
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
    let text = contract.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|it| it.split('"').next()) {
        assert!(contract.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}

/// What is accepted is what is described, in the query and in the body.
#[tokio::test]
async fn parameters_are_those_described() {
    let server = Server::start(&[]);
    for (method, path) in [
        (Method::POST, "/purchase"),
        (Method::GET, "/purchase"),
        (Method::POST, "/reset"),
        (Method::GET, "/reset"),
        (Method::GET, "/stock/default"),
        (Method::GET, "/audit/default"),
    ] {
        let described = Contract::get().parameters(&method, path);
        let refused = server.exchange(server.request(method, &format!("{path}?nonsense=1"))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json["valid"], json!(described), "{path}");
    }
    for path in ["/purchase", "/reset"] {
        let refused = server.post_json(path, &json!({"nonsense": 1})).await;
        assert_eq!(refused.json["valid"], json!(Contract::get().parameters(&Method::POST, path)));
    }
}
