//! A real Prometheus for tests, with the project's own configuration and rules.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command},
    time::Duration,
};

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::{server::until, tidy::read};

/// A running `prometheus`; killed when dropped.
pub struct Prometheus {
    child: Child,
    pub url: String,
    /// Its configuration, its data and its log.
    folder: TempDir,
    client: Client,
    /// When it was ready, by its clock.
    started: f64,
}

/// One series of an answer: its labels, and the values of its samples.
#[derive(Debug)]
pub struct Series {
    pub labels: Value,
    pub values: Vec<f64>,
}

impl Prometheus {
    /// Starts it as `docker-compose.yml` does, with a server of ours in the place of Compose's.
    pub async fn start(target: &str) -> Self {
        // It cannot tell which free port it took, so it is given one, which somebody may take
        // before it does: then it ends, and is given another.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(prometheus) = Self::start_on(port, target).await {
                return prometheus;
            }
        }
        panic!("prometheus does not start; its last words are above");
    }

    /// Starts it on that port; `None` if it ends at once.
    async fn start_on(port: u16, target: &str) -> Option<Self> {
        let itself = format!("127.0.0.1:{port}");
        let mut configuration = read("prometheus.yml");
        for (address, ours) in [("[app:8080]", target), ("[localhost:9090]", &itself)] {
            assert_eq!(configuration.matches(address).count(), 1, "prometheus.yml names {address}");
            configuration = configuration.replace(address, &format!("[{ours}]"));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // It looks for the rules beside its configuration.
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/prometheus");
        std::os::unix::fs::symlink(rules, path("prometheus")).unwrap();
        fs::write(path("prometheus.yml"), configuration).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address={itself}"))
            .arg("--web.enable-remote-write-receiver")
            .stderr(fs::File::create(path("log")).unwrap())
            .spawn()
            .expect("the tests need prometheus; `make test` installs it");
        let client = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        let url = format!("http://{itself}");
        let mut prometheus = Self { child, url, folder, client, started: 0.0 };
        let mut ended = false;
        until("prometheus is ready", async || {
            ended = prometheus.child.try_wait().unwrap().is_some();
            let ready = prometheus.client.get(format!("{}/-/ready", prometheus.url)).send().await;
            ended || ready.is_ok_and(|reply| reply.status().is_success())
        })
        .await;
        if ended {
            eprint!("{}", fs::read_to_string(prometheus.folder.path().join("log")).unwrap());
            return None;
        }
        prometheus.started = prometheus.time().await;
        Some(prometheus)
    }

    /// The time on its clock, in seconds since 1970.
    async fn time(&self) -> f64 {
        self.now("vector(time())").await.unwrap()[0].values[0]
    }

    /// What a query shows at this moment.
    pub async fn now(&self, expr: &str) -> Result<Vec<Series>, String> {
        self.ask("query", &[("query", expr)]).await
    }

    /// What a query has shown since the start, each second.
    pub async fn since_start(&self, expr: &str) -> Result<Vec<Series>, String> {
        let (start, end) = (self.started.to_string(), self.time().await.to_string());
        let times = [("query", expr), ("start", &start), ("end", &end), ("step", "1s")];
        self.ask("query_range", &times).await
    }

    /// How long it has been running, in whole seconds.
    pub async fn age(&self) -> Duration {
        Duration::from_secs_f64((self.time().await - self.started).ceil())
    }

    async fn ask(&self, route: &str, parameters: &[(&str, &str)]) -> Result<Vec<Series>, String> {
        let base = format!("{}/api/v1/{route}", self.url);
        let url = Url::parse_with_params(&base, parameters).unwrap();
        let reply: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
        if reply["status"] != "success" {
            return Err(reply["error"].to_string());
        }
        let result = reply["data"]["result"].as_array().expect("a vector or a matrix");
        Ok(result.iter().map(Series::read).collect())
    }
}

impl Series {
    fn read(series: &Value) -> Self {
        let samples = series["values"].as_array().cloned();
        let samples = samples.unwrap_or_else(|| vec![series["value"].clone()]);
        let value = |sample: &Value| sample[1].as_str().unwrap().parse().unwrap();
        Self { labels: series["metric"].clone(), values: samples.iter().map(value).collect() }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Only fails when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
