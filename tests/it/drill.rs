//! The drill: every command of `docs/watching.md` against a real lab, until every query of every
//! dashboard has shown something in a real Prometheus.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use locklab_locks::fault;
use strum::VariantArray;
use tokio::{process::Command, time::Instant};

use crate::{
    dashboards::{Dashboard, Query, SCRAPE},
    prometheus_server::{Prometheus, Series},
    redis_server::Redis,
    server::{Server, until},
    watching::{Recipe, recipes},
};

/// Metrics that may show nothing but 0 in the drill, and why.
const MAY_STAY_AT_ZERO: &[(&str, &str)] = &[(
    "tokio_global_queue_depth",
    "a queue that workers empty within microseconds, looked at once a second",
)];

/// How long the commands are repeated for. Once is enough on a machine that keeps up with being asked
/// every second; one that does not misses what was over between two scrapes.
const PATIENCE: Duration = Duration::from_secs(300);

/// A lab to watch: Locklab and a Redis, and a Prometheus that asks it.
struct Lab {
    server: Server,
    redis: Redis,
    prometheus: Prometheus,
}

impl Lab {
    /// With the flags that the document says.
    async fn start() -> Self {
        let redis = Redis::start().await;
        let server = Server::full(&["--redis-url", &redis.url(), "--queue-max", "20"]).await;
        let prometheus = Prometheus::start(server.url.trim_start_matches("http://")).await;
        until("it has been scraped", async || {
            let up = prometheus.now("up{job=\"locklab\"} == 1").await.unwrap();
            !up.is_empty()
        })
        .await;
        Self { server, redis, prometheus }
    }

    /// Carries out one command as a person would type it.
    async fn carry_out(&self, Recipe { anchor, script }: &Recipe) {
        let write = format!("{}/api/v1/write", self.prometheus.url);
        let output = Command::new("bash")
            .args(["-c", script])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("U", &self.server.url)
            .env("R", self.redis.url())
            .env("BASE_URL", &self.server.url)
            .env("K6_PROMETHEUS_RW_SERVER_URL", write)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("bash");
        let said = String::from_utf8_lossy(&output.stderr);
        // What curl and k6 say of a lab that is being broken is judged in what Prometheus has seen.
        assert!(!said.contains("command not found"), "{anchor}: {said}");
    }

    /// What is wrong with what a query shows.
    async fn fault(&self, query: &Query) -> Option<String> {
        let answer = self.answer(query).await;
        let series = match answer {
            Ok(series) => series,
            Err(error) => return Some(error),
        };
        let excused = MAY_STAY_AT_ZERO.iter().any(|(metric, _)| query.expr.contains(metric));
        let values = || series.iter().flat_map(|it| it.values.iter());
        let lacks = |label: &str| series.iter().any(|it| it.labels[label].is_null());
        if series.is_empty() {
            Some("shows nothing".to_owned())
        } else if let Some(odd) = values().find(|value| !value.is_finite()) {
            Some(format!("shows {odd}"))
        } else if values().all(|value| *value == 0.0) && !excused {
            Some("stays at 0".to_owned())
        } else {
            let missing = query.labels.iter().find(|label| lacks(label));
            missing.map(|label| format!("has series without {label}"))
        }
    }

    async fn answer(&self, query: &Query) -> Result<Vec<Series>, String> {
        let expr = interpolate(query, self.prometheus.age().await);
        if query.instant {
            self.prometheus.now(&expr).await
        } else {
            self.prometheus.since_start(&expr).await
        }
    }
}

/// A query as Grafana sends it, with "All" chosen everywhere.
fn interpolate(query: &Query, range: Duration) -> String {
    // Grafana's: four scrapes, or one more than a step, which is a second here.
    let rate_interval = query.scrape * 4;
    let mut expr = query
        .expr
        .replace("$__rate_interval", &format!("{}s", rate_interval.as_secs()))
        .replace("$__range", &format!("{}s", range.as_secs()));
    for (variable, all) in
        [("job", ".+"), ("instance", ".+"), ("lock", ".+"), ("backend", ".+"), ("testid", ".+")]
    {
        expr = expr.replace(&format!("\"${variable}\""), &format!("\"{all}\""));
    }
    assert!(!expr.contains('$'), "{}: {expr} has a variable that nobody knows", query.at);
    expr
}

#[tokio::test]
async fn every_panel_shows_data() {
    let lab = Lab::start().await;
    let queries: Vec<Query> = Dashboard::all().iter().flat_map(Dashboard::queries).collect();
    let recipes = recipes();
    assert!(queries.len() > 100 && recipes.len() > 10);
    let began = Instant::now();
    loop {
        for recipe in &recipes {
            lab.carry_out(recipe).await;
        }
        // What has just happened is seen with the next scrape.
        let last = lab.server.metric("locklab_resets_total").await;
        until("Prometheus has seen the end", async || {
            let seen = lab.prometheus.now("locklab_resets_total").await.unwrap();
            seen.iter().any(|it| it.values[0] >= last)
        })
        .await;
        let mut faults = Vec::new();
        for query in &queries {
            if let Some(fault) = lab.fault(query).await {
                faults.push(format!("{} {fault}: {}", query.at, query.expr));
            }
        }
        if faults.is_empty() {
            break;
        }
        eprintln!("once more, for the sake of:\n{}", faults.join("\n"));
        assert!(began.elapsed() < PATIENCE, "some panels stay without data");
    }

    for (metric, reason) in MAY_STAY_AT_ZERO {
        let asked = queries.iter().any(|query| query.expr.contains(metric));
        assert!(asked, "no longer needed: {metric}: {reason}");
    }

    // The check is one that fails: for a name that is not there, for what is no number, for nothing but
    // 0, for a legend without a name, and for what is no query.
    let fault = async |expr: &str| {
        let query = Query {
            at: String::new(),
            expr: expr.to_owned(),
            labels: vec!["lock".to_owned()],
            instant: true,
            scrape: SCRAPE,
        };
        lab.fault(&query).await
    };
    assert_eq!(fault("sum(locklab_units_soled_total)").await.as_deref(), Some("shows nothing"));
    assert_eq!(fault("vector(0) / 0").await.as_deref(), Some("shows NaN"));
    assert_eq!(fault("vector(0)").await.as_deref(), Some("stays at 0"));
    assert_eq!(fault("vector(1)").await.as_deref(), Some("has series without lock"));
    assert!(fault("sum(").await.unwrap().contains("parse error"));

    every_fault_is_shown(&lab, &queries).await;
    alerts_were_right(&lab).await;
}

/// The panel adds what has a gauge and what has none: each kind of fault has to come through.
async fn every_fault_is_shown(lab: &Lab, queries: &[Query]) {
    let panel = queries.iter().find(|query| query.at == "overview.json: Faults (A)").unwrap();
    let struck = lab.answer(panel).await.unwrap();
    let struck = struck.iter().filter(|it| it.values.contains(&1.0));
    let shown: BTreeSet<&str> = struck.map(|it| it.labels["fault"].as_str().unwrap()).collect();
    assert_eq!(shown, fault::Kind::VARIANTS.iter().map(<&str>::from).collect());
}

/// Without a lock it was oversold, as is expected, and that is what was said; nobody was accused of it
/// who must not do it, in all this time.
async fn alerts_were_right(lab: &Lab) {
    let fired = async |matchers: &str| {
        let alerts = format!("ALERTS{{alertstate=\"firing\", {matchers}}}");
        lab.prometheus.since_start(&alerts).await.unwrap()
    };
    until("it is said that none oversold", async || {
        !fired("alertname=\"UnsafeStrategyOversold\", lock=\"none\"").await.is_empty()
    })
    .await;
    for wrong in
        ["alertname=\"UnsafeStrategyOversold\", lock!~\"none|naive\"", "alertname=\"Oversold\""]
    {
        let fired = fired(wrong).await;
        assert!(fired.is_empty(), "{fired:?}");
    }
    let names: BTreeSet<String> = fired("")
        .await
        .iter()
        .map(|it| it.labels["alertname"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.contains("Watchdog"), "alerts work: {names:?}");
}
