//! The dashboards, as Grafana reads them: their panels, variables, annotations and queries.

use std::time::Duration;

use promql_parser::parser::{self, Expr, MatrixSelector, VectorSelector};
use serde_json::Value;

use crate::tidy::files;

/// The most often that Prometheus asks Locklab; `prometheus.yml` says why.
pub const SCRAPE: Duration = Duration::from_secs(1);

/// One file of `grafana/dashboards`.
#[derive(Clone)]
pub struct Dashboard {
    /// Its name there.
    pub file: String,
    pub json: Value,
}

impl Dashboard {
    /// Every dashboard, by name.
    pub fn all() -> Vec<Self> {
        let read = |(path, text): (String, String)| Self {
            file: path.rsplit('/').next().unwrap().to_owned(),
            json: serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}")),
        };
        let mut all: Vec<_> = files("grafana/dashboards", "json").into_iter().map(read).collect();
        all.sort_by(|one, other| one.file.cmp(&other.file));
        all
    }

    pub fn title(&self) -> &str {
        text(&self.json, "title")
    }

    /// Every panel and row, those inside of rows included.
    pub fn panels(&self) -> Vec<&Value> {
        let outer = list(&self.json["panels"]);
        outer.iter().flat_map(|panel| [panel].into_iter().chain(list(&panel["panels"]))).collect()
    }

    pub fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    /// The variable of that name.
    pub fn variable(&self, name: &str) -> Option<&Value> {
        self.variables().iter().find(|variable| variable["name"] == name)
    }

    /// Annotations that ask Prometheus.
    pub fn annotations(&self) -> impl Iterator<Item = &Value> {
        let all = list(&self.json["annotations"]["list"]).iter();
        all.filter(|annotation| annotation["builtIn"] != 1)
    }

    /// Every query: of panels, of annotations, and what the variables select.
    pub fn queries(&self) -> Vec<Query> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            for target in list(&panel["targets"]) {
                let at = format!("{} ({})", text(panel, "title"), text(target, "refId"));
                queries.push(Query::new(self, &at, target));
            }
        }
        for annotation in self.annotations() {
            let at = format!("annotation {}", text(annotation, "name"));
            queries.push(Query::new(self, &at, annotation));
        }
        for variable in self.variables().iter().filter(|variable| variable["type"] == "query") {
            let (selector, label) = selected(variable).expect("label_values(…, …)");
            queries.push(Query {
                at: format!("{}: variable {}", self.file, text(variable, "name")),
                expr: format!("count by ({label}) ({selector})"),
                labels: vec![label.to_owned()],
                instant: false,
                scrape: SCRAPE,
            });
        }
        queries
    }
}

/// The selector and the label in `label_values(selector, label)` of a variable.
pub fn selected(variable: &Value) -> Option<(&str, &str)> {
    let query = variable["query"]["query"].as_str()?;
    let arguments = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    arguments.rsplit_once(", ")
}

/// A query and where it stands.
pub struct Query {
    pub at: String,
    /// With Grafana's variables in it.
    pub expr: String,
    /// What its legend names: each series has to have them.
    pub labels: Vec<String>,
    /// Whether it asks for the end of the time range only.
    pub instant: bool,
    /// How often its series get a sample.
    pub scrape: Duration,
}

impl Query {
    fn new(dashboard: &Dashboard, at: &str, query: &Value) -> Self {
        let scrape = query["interval"].as_str().map_or(SCRAPE, |interval| {
            Duration::from_secs(interval.trim_end_matches('s').parse().expect("seconds"))
        });
        let labels = text(query, "legendFormat").split("{{").skip(1);
        Self {
            at: format!("{}: {at}", dashboard.file),
            expr: text(query, "expr").to_owned(),
            labels: labels.map(|it| it.split("}}").next().unwrap().to_owned()).collect(),
            instant: query["instant"] == true,
            scrape,
        }
    }
}

/// Parses a query in which [`RATE_INTERVAL`] and [`RANGE`] stand for Grafana's.
pub fn parse(expr: &str) -> Result<Expr, String> {
    let [rate_interval, range] = [RATE_INTERVAL, RANGE].map(|it| format!("{}s", it.as_secs()));
    parser::parse(&expr.replace("$__rate_interval", &rate_interval).replace("$__range", &range))
}

/// Stands for `$__rate_interval` where a query is only read: a duration that nobody would write.
pub const RATE_INTERVAL: Duration = Duration::from_secs(8_887);
/// The same for `$__range`.
pub const RANGE: Duration = Duration::from_secs(6_067);

/// A selector of series, the range that it is asked for, and the function that is given it.
pub struct Selected<'a> {
    pub selector: &'a VectorSelector,
    pub range: Option<Duration>,
    pub function: Option<&'static str>,
}

impl Selected<'_> {
    /// The metric's name.
    pub fn metric(&self) -> &str {
        self.selector.name.as_deref().expect("a selector names its metric")
    }
}

/// Every selector of a query.
pub fn selectors(expr: &Expr) -> Vec<Selected<'_>> {
    let mut found = Vec::new();
    collect(expr, None, &mut found);
    found
}

fn collect<'a>(expr: &'a Expr, function: Option<&'static str>, found: &mut Vec<Selected<'a>>) {
    match expr {
        Expr::VectorSelector(selector) => {
            found.push(Selected { selector, range: None, function });
        }
        Expr::MatrixSelector(MatrixSelector { vs, range }) => {
            found.push(Selected { selector: vs, range: Some(*range), function });
        }
        Expr::Call(call) => {
            for argument in &call.args.args {
                collect(argument, Some(call.func.name), found);
            }
        }
        Expr::Aggregate(inner) => {
            for expr in [Some(&inner.expr), inner.param.as_ref()].into_iter().flatten() {
                collect(expr, None, found);
            }
        }
        Expr::Binary(inner) => {
            collect(&inner.lhs, None, found);
            collect(&inner.rhs, None, found);
        }
        Expr::Unary(inner) => collect(&inner.expr, None, found),
        Expr::Paren(inner) => collect(&inner.expr, function, found),
        Expr::Subquery(inner) => collect(&inner.expr, None, found),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// A list of JSON; what is not there is empty.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A member that is text; what is not there is empty.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
