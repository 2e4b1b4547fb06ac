//! What Grafana's [dashboard-linter](https://github.com/grafana/dashboard-linter) demands, without
//! its program. Its rules, stricter where this project can be:
//!
//! | rule | demands |
//! |---|---|
//! | template-datasource-rule | one data source variable, `datasource`, labelled `Data source` |
//! | template-job-rule, template-instance-rule | a query of `$datasource`, labelled, multi, all is `.+` |
//! | template-label-promql-rule | variables ask `label_values` of valid PromQL |
//! | template-on-time-change-reload-rule | they are asked again when the time range changes |
//! | panel-datasource-rule | panels use `${datasource}`; here every one that asks |
//! | panel-title-description-rule, panel-units-rule | there, and a unit that Grafana knows |
//! | panel-no-targets-rule | panels that show data ask for some |
//! | target-logql-rule, target-logql-auto-rule | nothing asks Loki, which this project has not |
//! | target-promql-rule | valid PromQL; here in every panel |
//! | target-rate-interval-rule | rate and irate over `$__rate_interval`; increase may be over `$__range` |
//! | target-job-rule, target-instance-rule | every selector has `job=~"$job"`, `instance=~"$instance"` |
//! | target-counter-agg-rule | a counter is only ever under rate, irate or increase |
//! | uneditable-dashboard | the browser is not the place to edit them |
//!
//! Exceptions are in `grafana/dashboards/.lint`, each with its reason, as the program reads them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    dashboards::{Dashboard, RANGE, RATE_INTERVAL, list, parse, selected, selectors, text},
    queries::yaml,
};

/// The units in use, of those that Grafana and its linter know.
const UNITS: &[&str] = &["short", "percentunit", "s", "ops", "reqps", "bytes", "Bps"];
/// The panels that the linter holds to have data, a description and a unit.
const WITH_DATA: &[&str] =
    &["stat", "gauge", "timeseries", "table", "bargauge", "heatmap", "state-timeline"];

/// A rule that was broken.
struct Complaint {
    rule: String,
    dashboard: String,
    /// Empty if it is about the dashboard.
    panel: String,
    what: String,
}

/// What one dashboard is told.
struct Linter<'a> {
    dashboard: &'a Dashboard,
    complaints: Vec<Complaint>,
}

impl Linter<'_> {
    fn lint(dashboard: &Dashboard) -> Vec<Complaint> {
        let mut linter = Linter { dashboard, complaints: Vec::new() };
        linter.variables();
        for panel in dashboard.panels() {
            linter.panel(panel);
            for target in list(&panel["targets"]) {
                linter.target(text(panel, "title"), text(target, "expr"));
            }
        }
        linter.demand(dashboard.json["editable"] == false, "", "uneditable-dashboard", &"editable");
        linter.complaints
    }

    fn demand(&mut self, holds: bool, panel: &str, rule: &str, what: &impl ToString) {
        if !holds {
            self.complaints.push(Complaint {
                rule: rule.to_owned(),
                dashboard: self.dashboard.title().to_owned(),
                panel: panel.to_owned(),
                what: what.to_string(),
            });
        }
    }

    fn variables(&mut self) {
        let dashboard = self.dashboard;
        let sources: Vec<_> =
            dashboard.variables().iter().filter(|it| it["type"] == "datasource").collect();
        let named =
            matches!(&*sources, [it] if it["name"] == "datasource" && it["query"] == "prometheus");
        let labelled = sources.iter().all(|it| it["label"] == "Data source");
        self.demand(named && labelled, "", "template-datasource-rule", &"the data source variable");
        for (name, label) in [("job", "Job"), ("instance", "Instance")] {
            let holds = dashboard.variable(name).is_some_and(|it| {
                it["datasource"]["uid"] == "${datasource}"
                    && it["type"] == "query"
                    && it["label"] == label
                    && it["multi"] == true
                    && it["allValue"] == ".+"
            });
            self.demand(holds, "", &format!("template-{name}-rule"), &name);
        }
        for variable in dashboard.variables().iter().filter(|it| it["type"] == "query") {
            let name = text(variable, "name");
            let parsed = selected(variable).and_then(|(selector, _)| parse(selector).ok());
            let valid = parsed.is_some() && variable["definition"] == variable["query"]["query"];
            self.demand(valid, "", "template-label-promql-rule", &name);
            let reloads = variable["refresh"] == 2;
            self.demand(reloads, "", "template-on-time-change-reload-rule", &name);
        }
    }

    fn panel(&mut self, panel: &Value) {
        let (title, kind) = (text(panel, "title"), text(panel, "type"));
        if !WITH_DATA.contains(&kind) {
            let known = ["row", "alertlist"].contains(&kind);
            self.demand(known, title, "panel-units-rule", &kind);
            return;
        }
        let (source, targets) = (&panel["datasource"], list(&panel["targets"]));
        let templated = source["uid"] == "${datasource}"
            && targets.iter().all(|it| it["datasource"].is_null() || it["datasource"] == *source);
        self.demand(templated, title, "panel-datasource-rule", source);
        let described = !title.is_empty() && !text(panel, "description").is_empty();
        self.demand(described, title, "panel-title-description-rule", &kind);
        let unit = text(&panel["fieldConfig"]["defaults"], "unit");
        let overrides = list(&panel["fieldConfig"]["overrides"]).iter();
        let others =
            overrides.flat_map(|it| list(&it["properties"])).filter(|it| it["id"] == "unit");
        let valid =
            UNITS.contains(&unit) && others.clone().all(|it| UNITS.contains(&text(it, "value")));
        self.demand(valid, title, "panel-units-rule", &unit);
        self.demand(!targets.is_empty(), title, "panel-no-targets-rule", &kind);
        for rule in ["target-logql-rule", "target-logql-auto-rule"] {
            self.demand(source["type"] == "prometheus", title, rule, source);
        }
    }

    fn target(&mut self, panel: &str, expr: &str) {
        let parsed = match parse(expr) {
            Ok(parsed) => parsed,
            Err(error) => return self.demand(false, panel, "target-promql-rule", &error),
        };
        for it in selectors(&parsed) {
            for name in ["job", "instance"] {
                let matches = it
                    .selector
                    .matchers
                    .matchers
                    .iter()
                    .any(|matcher| matcher.to_string() == format!("{name}=~\"${name}\""));
                self.demand(matches, panel, &format!("target-{name}-rule"), it.selector);
            }
            let windows: &[Duration] = match it.function {
                Some("rate" | "irate") => &[RATE_INTERVAL],
                Some("increase") => &[RATE_INTERVAL, RANGE],
                _ => &[],
            };
            let holds = windows.is_empty() || it.range.is_some_and(|it| windows.contains(&it));
            self.demand(holds, panel, "target-rate-interval-rule", &expr);
            let holds = !it.metric().ends_with("_total") || !windows.is_empty();
            self.demand(holds, panel, "target-counter-agg-rule", it.selector);
        }
    }
}

/// An entry of `.lint`.
struct Exception {
    rule: String,
    dashboard: String,
    panel: String,
}

/// What `.lint` excepts.
fn exceptions() -> Vec<Exception> {
    let file = yaml("grafana/dashboards/.lint");
    let mut exceptions = Vec::new();
    for (rule, exclusion) in file["exclusions"].as_object().unwrap() {
        assert!(!text(exclusion, "reason").is_empty(), "{rule} is excepted for a reason");
        // Without entries the program would take the rule for excepted everywhere.
        assert!(!list(&exclusion["entries"]).is_empty(), "{rule} is excepted somewhere");
        for entry in list(&exclusion["entries"]) {
            exceptions.push(Exception {
                rule: rule.clone(),
                dashboard: text(entry, "dashboard").to_owned(),
                panel: text(entry, "panel").to_owned(),
            });
        }
    }
    exceptions
}

#[test]
fn the_linter_has_nothing_to_say() {
    let dashboards = Dashboard::all();
    let complaints: Vec<_> = dashboards.iter().flat_map(Linter::lint).collect();
    let exceptions = exceptions();
    // An entry excepts a whole panel; what is the server's in it is held to the rules all the same.
    let excepts = |exception: &Exception, it: &Complaint| {
        ["k6_", "ALERTS"].iter().any(|prefix| it.what.starts_with(prefix))
            && (&exception.rule, &exception.dashboard, &exception.panel)
                == (&it.rule, &it.dashboard, &it.panel)
    };
    let left: Vec<_> = complaints
        .iter()
        .filter(|it| !exceptions.iter().any(|exception| excepts(exception, it)))
        .map(|Complaint { rule, dashboard, panel, what }| {
            format!("{rule}: {dashboard}: {panel}: {what}")
        })
        .collect();
    assert!(left.is_empty(), "{}", left.join("\n"));
    for exception in &exceptions {
        let Exception { rule, dashboard, panel } = exception;
        let needed = complaints.iter().any(|it| excepts(exception, it));
        assert!(needed, "not needed any more: {rule} in {dashboard}: {panel}");
    }
}

/// Each rule is able to complain: of a dashboard in which it was broken, it does.
#[test]
fn each_rule_can_be_broken() {
    let dashboards = Dashboard::all();
    let sound = dashboards.iter().find(|it| it.file == "overview.json").unwrap();
    let expr = "/panels/0/targets/0/expr";
    let series = "locklab_resets_total{job=~\"$job\", instance=~\"$instance\"}";
    let broken = [
        ("template-datasource-rule", "/templating/list/0/label", json!("Prometheus")),
        ("template-job-rule", "/templating/list/1/multi", json!(false)),
        ("template-instance-rule", "/templating/list/2/allValue", json!(".*")),
        (
            "template-label-promql-rule",
            "/templating/list/1/query/query",
            json!("label_values(a{, job)"),
        ),
        ("template-on-time-change-reload-rule", "/templating/list/3/refresh", json!(1)),
        ("panel-datasource-rule", "/panels/0/datasource/uid", json!("locklab-prometheus")),
        ("panel-title-description-rule", "/panels/0/description", json!("")),
        ("panel-units-rule", "/panels/0/fieldConfig/defaults/unit", json!("parsec")),
        ("panel-no-targets-rule", "/panels/0/targets", json!([])),
        ("target-logql-rule", "/panels/0/datasource/type", json!("loki")),
        ("target-logql-auto-rule", "/panels/0/datasource/type", json!("loki")),
        ("target-promql-rule", expr, json!(format!("sum(rate({series}[$__rate_interval]"))),
        ("target-rate-interval-rule", expr, json!(format!("sum(rate({series}[1m]))"))),
        ("target-job-rule", expr, json!("up{instance=~\"$instance\"}")),
        ("target-instance-rule", expr, json!("up{job=~\"$job\", instance=\"$instance\"}")),
        ("target-counter-agg-rule", expr, json!(format!("sum({series})"))),
        ("uneditable-dashboard", "/editable", json!(true)),
    ];
    assert_eq!(broken.len(), 17, "as many rules as the linter has");
    for (rule, pointer, value) in broken {
        let mut dashboard = sound.clone();
        *dashboard.json.pointer_mut(pointer).unwrap() = value;
        let complaints = Linter::lint(&dashboard);
        assert!(complaints.iter().any(|it| it.rule == rule), "{rule} says nothing");
    }
}
