//! `docs/metrics.md` is what a server says of itself, and nothing else.

use locklab::measure::exporter;
use locklab_locks::measure::{Definition, Kind};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use crate::server::Server;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");

const HEAD: &str = "\
# Metrics

What `/metrics` shows, written down from a running server: change `src/measure/definitions.rs`, run
`cargo test --test it -- metrics_document`, and commit what it has written here.

Every series is there from the start, at 0, so that `increase(…) > 0` sees the first time as well.
Label values come from fixed lists: no request opens a series. `lock` is a strategy's name; labels
with many values are listed without them. `backend` is `redis`, `redlock-1` and so on, `etcd`, `zookeeper`, or
one of the two pools of a database: `postgres` and `mysql` to sell with, `postgres-locks` and `mysql-locks` for
sessions that hold locks. There is no gauge of an inventory's drift: the stock drifts
from the ledger by exactly the units of `locklab_lost_updates_total`.

| metric | type | labels | meaning |
|---|---|---|---|
";

/// More values than these are not listed.
const VALUES_MAX: usize = 9;

/// The values of each label of a metric.
type Labels<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// What is exported, by the name of the series.
fn exported(text: &str) -> BTreeMap<&str, Labels<'_>> {
    let mut exported: BTreeMap<&str, Labels<'_>> = BTreeMap::new();
    for series in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, _) = series.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of_name = exported.entry(name).or_default();
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").unwrap();
            of_name.entry(label).or_default().insert(value.trim_end_matches('"'));
        }
    }
    exported
}

fn row(definition: &Definition, labels: &Labels<'_>) -> String {
    let label = |(name, values): (&&str, &BTreeSet<&str>)| {
        let values: Vec<&str> = values.iter().copied().collect();
        match *name {
            "lock" | "version" | "revision" => format!("`{name}`"),
            _ if values.len() > VALUES_MAX => format!("`{name}`"),
            _ => format!("`{name}`: {}", values.join(", ")),
        }
    };
    let labels: Vec<String> = labels.iter().filter(|(name, _)| **name != "le").map(label).collect();
    let kind = match definition.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    format!("| `{}` | {kind} | {} | {} |\n", definition.name, labels.join("; "), definition.help)
}

#[tokio::test]
async fn the_document_is_true() {
    let server = Server::full(&[]).await;
    let text = server.get("/metrics").await.text;
    let exported = exported(&text);
    let mut document = HEAD.to_owned();
    let mut buckets = String::new();
    for definition in exporter::definitions() {
        let first = match definition.kind {
            Kind::Histogram(_) => format!("{}_bucket", definition.name),
            _ => definition.name.to_owned(),
        };
        let labels = exported.get(first.as_str());
        let labels = labels.unwrap_or_else(|| panic!("{first} is not there from the start"));
        document += &row(definition, labels);
        if let Kind::Histogram(bounds) = definition.kind {
            let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
            writeln!(buckets, "- `{}`: {}", definition.name, bounds.join(" ")).unwrap();
        }
    }
    write!(document, "\nUpper bounds of the buckets:\n\n{buckets}").unwrap();
    if fs::read_to_string(PATH).unwrap_or_default() != document {
        fs::write(PATH, &document).unwrap();
        panic!("docs/metrics.md was not up to date; it is now: commit it");
    }
}
