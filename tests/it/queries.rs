//! What queries name, be they a dashboard's or a rule's.

use locklab::measure::exporter;
use locklab_locks::measure::Kind;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::tidy::{files, read};

/// A YAML file of the project.
pub fn yaml(path: &str) -> Value {
    yaml_serde::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every rule of Prometheus, recording and alerting, in order.
pub fn rules() -> Vec<Value> {
    let mut rules = Vec::new();
    for (path, _) in files("prometheus/rules", "yml") {
        for group in yaml(&path)["groups"].as_array().unwrap() {
            rules.extend(group["rules"].as_array().unwrap().iter().cloned());
        }
    }
    rules
}

/// Every series that a query may name: what the server exports, and what is recorded from it.
pub fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for definition in exporter::definitions() {
        match definition.kind {
            Kind::Histogram(_) => known
                .extend(["_bucket", "_sum", "_count"].map(|it| format!("{}{it}", definition.name))),
            _ => drop(known.insert(definition.name.to_owned())),
        }
    }
    known.extend(rules().iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned())));
    known
}

/// Collects what looks like a metric of ours, or a recorded one (`level:metric:operations`), from every
/// query in a document.
pub fn collect_metrics(node: &Value, named: &mut BTreeSet<String>) {
    match node {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(query)
                        if ["expr", "query", "definition", "series"].contains(&name.as_str()) =>
                    {
                        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                        let words = query.split(|c| !in_name(c));
                        named.extend(words.filter(|word| is_metric(word)).map(str::to_owned));
                    }
                    _ => collect_metrics(value, named),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_metrics(item, named)),
        _ => {}
    }
}

fn is_metric(word: &str) -> bool {
    let is_recorded = word.split(':').count() == 3;
    let ours = ["locklab_", "http_server_", "process_", "tokio_"];
    is_recorded || ours.iter().any(|prefix| word.starts_with(prefix))
}
