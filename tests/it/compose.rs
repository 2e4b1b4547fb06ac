//! What Compose starts: known versions with no more rights than they need, within reach of this
//! machine only. Compose itself is not asked: most machines that run the tests have no Docker.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use url::Url;

use crate::queries::yaml;

/// With what it merges under the key `<<`, which gives way to what it says itself.
fn merged(service: &Value) -> Map<String, Value> {
    let own = service.as_object().unwrap().clone();
    let Some(base) = own.get("<<") else { return own };
    let mut all = merged(base);
    all.extend(own.into_iter().filter(|(key, _)| key != "<<"));
    all
}

fn services() -> BTreeMap<String, Map<String, Value>> {
    let services = &yaml("docker-compose.yml")["services"];
    let services = services.as_object().unwrap().iter();
    services.map(|(name, service)| (name.clone(), merged(service))).collect()
}

#[test]
fn every_service_is_pinned_and_hardened() {
    for (name, service) in services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        let options = &service["security_opt"];
        assert_eq!(*options, serde_json::json!(["no-new-privileges:true"]), "{name}");
        assert!(service["mem_limit"].is_string() && service["pids_limit"].is_u64(), "{name}");
        let image = service["image"].as_str().unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap();
        let is_exact = tag.split('.').count() >= 3 || image.starts_with("postgres:17.");
        assert!(is_exact || image == "locklab:local", "{name}: {image} can change");
        for port in service.get("ports").and_then(Value::as_array).into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
}

#[test]
fn every_volume_is_declared_and_used() {
    let declared: BTreeSet<String> =
        yaml("docker-compose.yml")["volumes"].as_object().unwrap().keys().cloned().collect();
    let services = services();
    let mounts = services.values().filter_map(|service| service.get("volumes"));
    let mounts = mounts.flat_map(|mounts| mounts.as_array().unwrap());
    let sources = mounts.map(|mount| mount.as_str().unwrap().split(':').next().unwrap().to_owned());
    let named: BTreeSet<String> = sources.filter(|source| !source.starts_with('.')).collect();
    assert_eq!(declared, named);
}

/// The databases that locklab is told of are those that the servers create, for as many sessions as
/// the embedded ones take, and as whom it comes they let in without a password.
#[test]
fn the_databases_are_those_that_locklab_is_told_of() {
    let services = services();
    for (variable, scheme, user, database, trust) in [
        ("POSTGRES_URL", "postgres", "postgres", "POSTGRES_DB", "POSTGRES_HOST_AUTH_METHOD"),
        ("MYSQL_URL", "mysql", "root", "MYSQL_DATABASE", "MYSQL_ALLOW_EMPTY_PASSWORD"),
    ] {
        let url: Url = services["app"]["environment"][variable].as_str().unwrap().parse().unwrap();
        assert_eq!((url.scheme(), url.username(), url.password()), (scheme, user, None));
        let server = &services[url.host_str().unwrap()];
        assert_eq!(url.path().trim_start_matches('/'), server["environment"][database]);
        assert!(server["environment"][trust].is_string(), "no password is asked for");
        assert!(server["healthcheck"].is_object() && !server.contains_key("ports"));
        let sessions = |word: &&Value| {
            word.as_str().unwrap().replace('_', "-").ends_with("max-connections=500")
        };
        assert_eq!(server["command"].as_array().unwrap().iter().filter(sessions).count(), 1);
    }
}
