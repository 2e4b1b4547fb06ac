//! Prometheus' rules: valid, proven by its own unit tests, and explained.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

use crate::{
    queries::{collect_metrics, known, rules, yaml},
    tidy::{files, read},
};

/// Runs Prometheus' own tool in the project's folder.
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the tests need promtool; `make test` installs it");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

fn paths(folder: &str) -> Vec<String> {
    files(folder, "yml").into_iter().map(|(path, _)| path).collect()
}

/// An alert may have several rules, which differ in severity.
type Alert = (String, String);

fn text(node: &Value) -> String {
    node.as_str().unwrap_or_else(|| panic!("{node} is no text")).to_owned()
}

fn alerts() -> BTreeMap<Alert, Value> {
    let mut alerts = BTreeMap::new();
    for rule in rules().into_iter().filter(|rule| !rule["alert"].is_null()) {
        let alert = (text(&rule["alert"]), text(&rule["labels"]["severity"]));
        let twice = alerts.insert(alert, rule);
        assert_eq!(twice, None, "an alert of that severity is there already");
    }
    alerts
}

fn rule_tests() -> Vec<Value> {
    let mut tests = Vec::new();
    for path in paths("prometheus/tests") {
        tests.extend(yaml(&path)["tests"].as_array().unwrap().iter().cloned());
    }
    tests
}

#[test]
fn the_configuration_and_the_rules_are_valid() {
    promtool(&["check", "config", "prometheus.yml"]);
    let rules = paths("prometheus/rules");
    promtool(
        &[&["check", "rules"], &*rules.iter().map(String::as_str).collect::<Vec<_>>()].concat(),
    );
}

#[test]
fn the_rules_do_what_their_tests_say() {
    let tests = paths("prometheus/tests");
    promtool(
        &[&["test", "rules"], &*tests.iter().map(String::as_str).collect::<Vec<_>>()].concat(),
    );
}

/// Every rule is shown to fire, and not to.
#[test]
fn every_alert_is_tested_both_ways() {
    let (mut fires, mut is_silent) = (BTreeSet::new(), BTreeSet::new());
    let alerts = alerts();
    for test in rule_tests() {
        for check in test["alert_rule_test"].as_array().unwrap() {
            let name = text(&check["alertname"]);
            let expected = check["exp_alerts"].as_array().cloned().unwrap_or_default();
            let firing: BTreeSet<Alert> = expected
                .iter()
                .map(|alert| (name.clone(), text(&alert["exp_labels"]["severity"])))
                .collect();
            let silent = alerts.keys().filter(|alert| alert.0 == name && !firing.contains(alert));
            is_silent.extend(silent.cloned());
            fires.extend(firing);
        }
    }
    let mut all: BTreeSet<Alert> = alerts.into_keys().collect();
    assert_eq!(fires, all, "alerts that a test sees firing, and all alerts");
    assert!(all.remove(&("Watchdog".to_owned(), "none".to_owned())), "the watchdog always fires");
    assert_eq!(is_silent, all, "alerts that a test sees silent, and all but the watchdog");
}

#[test]
fn every_alert_is_explained() {
    let mut uids = BTreeSet::new();
    for (path, dashboard) in files("grafana/dashboards", "json") {
        let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
        let uid = dashboard["uid"].as_str().unwrap_or_else(|| panic!("{path} has no uid"));
        uids.insert(uid.to_owned());
    }
    for ((name, severity), rule) in alerts() {
        let annotation = |which: &str| text(&rule["annotations"][which]);
        assert!(
            ["critical", "warning", "info", "none"].contains(&&*severity),
            "{name}: {severity}"
        );
        assert!(!annotation("summary").is_empty(), "{name}");
        let description = annotation("description");
        assert!(description.ends_with('.'), "{name}: a description is made of sentences");
        assert!(description.contains("{{") || name == "Watchdog", "{name}: of what, and how much?");
        assert_eq!(annotation("runbook"), format!("docs/alerts.md#{}", name.to_lowercase()));
        let link = annotation("dashboard");
        let path = link.strip_prefix("http://127.0.0.1:3000/d/").expect("a dashboard in Compose");
        let uid = path.split('?').next().unwrap();
        assert!(uids.contains(uid), "{name} links to {uid}, of {uids:?}");
    }
}

#[test]
fn the_runbook_has_a_section_for_every_alert() {
    let runbook = read("docs/alerts.md");
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    let mut sections: Vec<&str> = headings.collect();
    sections.sort_unstable();
    let alerts = alerts();
    let names: BTreeSet<&str> = alerts.keys().map(|(name, _)| name.as_str()).collect();
    assert_eq!(sections, names.into_iter().collect::<Vec<_>>());
}

#[test]
fn rules_and_their_tests_name_real_metrics() {
    let mut named = BTreeSet::new();
    rules().iter().chain(&rule_tests()).for_each(|node| collect_metrics(node, &mut named));
    assert!(named.len() > 30, "the rules name {named:?}");
    let known = known();
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "neither exported nor recorded: {unknown:?}");
}

/// In Compose, the rules are where the configuration looks for them: relative to itself.
#[test]
fn compose_mounts_the_rules() {
    let volumes = &yaml("docker-compose.yml")["services"]["prometheus"]["volumes"];
    let is_mounted = |volume: String| volumes.as_array().unwrap().contains(&volume.into());
    assert!(is_mounted("./prometheus.yml:/etc/prometheus/prometheus.yml:ro".to_owned()));
    let configuration = yaml("prometheus.yml");
    let globs = configuration["rule_files"].as_array().unwrap();
    assert!(!globs.is_empty());
    for glob in globs {
        let glob = text(glob);
        let folder = glob.strip_suffix("/*.yml").expect("a folder's files");
        assert!(is_mounted(format!("./{folder}:/etc/prometheus/{folder}:ro")), "{folder}");
    }
}
