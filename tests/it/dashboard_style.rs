//! What the dashboards have in common, and what Grafana's linter does not ask.

use locklab::{measure::exporter, outcome::Outcome, strategy::table::STRATEGIES};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use strum::VariantArray;

use crate::{
    dashboards::{Dashboard, list, parse, selectors, text},
    queries::known,
    tidy::read,
};

/// Rows of Grafana's grid that a screen of 1920 × 1080 shows without scrolling.
const FIRST_SCREEN: u64 = 22;
/// What the first screen of the overview must answer.
const FIRST_QUESTIONS: &[&str] = &[
    "locklab_units_oversold_total",
    "locklab_lost_updates_total",
    "locklab_critical_section_overlaps_total",
    "locklab_lock_ttl_violations_total",
    "locklab_fencing_rejections_total",
    "locklab_lock_attempts_total",
    "locklab_purchase_retries_total",
    "locklab_lock_acquisition_retries_sum",
    "locklab_lock_wait_seconds_bucket",
    "up",
    "ALERTS",
];
/// What Prometheus itself has to say about a target, and about alerts.
const OF_PROMETHEUS: &[&str] = &["up", "scrape_duration_seconds", "ALERTS"];

/// Every metric that a query selects.
fn metrics(expr: &str) -> BTreeSet<String> {
    let parsed = parse(expr).unwrap_or_else(|error| panic!("{expr}: {error}"));
    selectors(&parsed).iter().map(|it| it.metric().to_owned()).collect()
}

/// Every metric that a dashboard names is there, and every one that is exported is on a dashboard.
#[test]
fn dashboards_show_every_metric_and_no_other() {
    let mut named = BTreeSet::new();
    for dashboard in Dashboard::all() {
        for query in dashboard.queries() {
            named.extend(metrics(&query.expr));
        }
    }
    for name in exporter::definitions().map(|it| it.name) {
        let shown =
            ["", "_bucket", "_count"].iter().any(|it| named.contains(&format!("{name}{it}")));
        assert!(shown, "no dashboard shows {name}");
    }
    // Those of k6 are its own: that they are there is seen in the drill.
    named.retain(|name| !name.starts_with("k6_") && !OF_PROMETHEUS.contains(&&**name));
    let known = known();
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "neither exported nor recorded: {unknown:?}");
}

#[test]
fn panels_have_a_place_of_their_own() {
    let mut uids = BTreeSet::new();
    for dashboard in Dashboard::all() {
        let file = &dashboard.file;
        assert!(uids.insert(text(&dashboard.json, "uid").to_owned()), "{file}: its uid is taken");
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        let mut taken: BTreeMap<(u64, u64), &str> = BTreeMap::new();
        for panel in dashboard.panels() {
            let title = text(panel, "title");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{file}: {title}: its id is taken");
            assert!(titles.insert(title), "{file}: {title} is there twice");
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{file}: {title} leaves the grid");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                if let Some(other) = taken.insert(cell, title) {
                    panic!("{file}: {title} lies over {other}");
                }
            }
        }
    }
}

/// They load in Grafana 10 to 13 without being asked anything, look back equally far, and lead to
/// each other, keeping the time range and what is selected.
#[test]
fn dashboards_go_together() {
    for Dashboard { file, json } in Dashboard::all() {
        let version = json["schemaVersion"].as_u64().unwrap();
        assert!((39..=42).contains(&version), "{file}: schemaVersion {version}");
        for unwanted in ["__inputs", "__requires", "id", "iteration"] {
            assert!(
                json[unwanted].is_null(),
                "{file}: {unwanted} is for dashboards that are shared"
            );
        }
        assert_eq!(json["tags"], serde_json::json!(["locklab"]), "{file}");
        assert_eq!(json["graphTooltip"], 1, "{file}: one cursor in all panels");
        assert_eq!(json["time"]["from"], "now-15m", "{file}");
        let [link] = list(&json["links"]) else { panic!("{file}: one link to all dashboards") };
        assert_eq!((&link["type"], &link["tags"]), (&"dashboards".into(), &json["tags"]), "{file}");
        assert_eq!(
            (&link["keepTime"], &link["includeVars"]),
            (&true.into(), &true.into()),
            "{file}"
        );
    }
    let annotations: BTreeSet<_> =
        Dashboard::all().iter().map(|it| it.json["annotations"].to_string()).collect();
    assert_eq!(annotations.len(), 1, "all dashboards are annotated alike");
}

/// Every panel says what it means, and has a word for having nothing to show.
#[test]
fn panels_explain_themselves() {
    for dashboard in Dashboard::all() {
        for panel in dashboard.panels().into_iter().filter(|panel| panel["type"] != "row") {
            let at = format!("{}: {}", dashboard.file, text(panel, "title"));
            let description = text(panel, "description");
            assert!(description.len() > 20 && description.ends_with('.'), "{at}: {description}");
            let needs_word = ["stat", "bargauge", "table", "state-timeline"];
            if needs_word.contains(&text(panel, "type")) {
                let word = text(&panel["fieldConfig"]["defaults"], "noValue");
                assert!(!word.is_empty(), "{at}: noValue");
            }
        }
    }
}

/// A burst of ten seconds is seen: each point of a graph is a second at best, as often as is
/// scraped.
#[test]
fn a_burst_is_seen() {
    for dashboard in Dashboard::all() {
        for panel in dashboard.panels() {
            let over_time = list(&panel["targets"]).iter().any(|it| it["instant"] != true);
            let at = format!("{}: {}", dashboard.file, text(panel, "title"));
            assert_eq!(over_time, panel["interval"] == "1s", "{at}: interval 1s");
        }
    }
    assert!(read("prometheus.yml").contains("  scrape_interval: 1s\n"));
    let source = read("grafana/provisioning/datasources/prometheus.yaml");
    assert!(source.contains("      timeInterval: 1s\n"), "$__rate_interval is computed from it");
}

/// The colour that an override gives to a name.
fn colours(panel: &Value) -> BTreeMap<String, String> {
    let mut colours = BTreeMap::new();
    for change in list(&panel["fieldConfig"]["overrides"]) {
        let name = text(&change["matcher"], "options").trim_matches(['/', '^']);
        for property in list(&change["properties"]).iter().filter(|it| it["id"] == "color") {
            let name = name.trim_end_matches("\\b").to_owned();
            colours.insert(name, text(&property["value"], "fixedColor").to_owned());
        }
    }
    colours
}

/// A strategy has one colour wherever it is drawn, and so has an outcome. Grafana gives one that is
/// not listed a colour by its name.
#[test]
fn colours_mean_the_same_everywhere() {
    let (mut strategies, mut outcomes) = (BTreeSet::new(), BTreeSet::new());
    for dashboard in Dashboard::all() {
        for panel in dashboard.panels().into_iter().filter(|it| it["type"] == "timeseries") {
            let target = &panel["targets"][0];
            let at = format!("{}: {}", dashboard.file, text(panel, "title"));
            let mut colours = colours(panel);
            if text(target, "legendFormat").starts_with("{{lock}}") {
                let mode = &panel["fieldConfig"]["defaults"]["color"]["mode"];
                assert_eq!(mode, "palette-classic-by-name", "{at}");
                strategies.insert(colours);
            } else if text(target, "expr").contains("by (outcome) (rate(locklab_purchases_total") {
                colours
                    .retain(|name, _| Outcome::VARIANTS.iter().any(|it| name == <&str>::from(it)));
                outcomes.insert(colours);
            }
        }
    }
    assert_eq!((strategies.len(), outcomes.len()), (1, 1), "{strategies:#?}, {outcomes:#?}");
    let (strategies, outcomes) = (strategies.pop_first().unwrap(), outcomes.pop_first().unwrap());
    let distinct: BTreeSet<_> = strategies.values().collect();
    assert_eq!(distinct.len(), strategies.len(), "no two strategies look alike: {strategies:?}");
    assert!(strategies.keys().all(|name| STRATEGIES.iter().any(|row| row.name == name)));
    assert_eq!((&*outcomes["sold"], &*strategies["none"]), ("green", "red"));
}

/// Whoever opens the overview sees without scrolling whether anything broke, and what it cost.
#[test]
fn the_first_screen_says_what_matters() {
    let dashboards = Dashboard::all();
    let overview = dashboards.iter().find(|it| it.json["uid"] == "locklab-overview").unwrap();
    assert!(read("docker-compose.yml").contains(&format!("/dashboards/{}\n", overview.file)));
    let mut answered = BTreeSet::new();
    for panel in overview.panels() {
        let place = &panel["gridPos"];
        if place["y"].as_u64().unwrap() + place["h"].as_u64().unwrap() <= FIRST_SCREEN {
            for target in list(&panel["targets"]) {
                answered.extend(metrics(text(target, "expr")));
            }
        }
    }
    for question in FIRST_QUESTIONS {
        assert!(answered.contains(*question), "{question} is not on the first screen");
    }
}
