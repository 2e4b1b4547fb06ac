//! One run of a report, for a file of its own.

use serde::Serialize;

use super::{Host, Report, Run};
use crate::backends::version::ServerVersion;

/// One run, as the PHP lab wrote it into a file, and where it comes from.
#[derive(Debug, Serialize)]
pub struct Export<'a> {
    scenario: &'static str,
    #[serde(flatten)]
    run: &'a Run,
    timestamp: &'a str,
    version: &'static str,
    commit: &'static str,
    seed: Option<u64>,
    host: &'a Host,
    servers: &'a [ServerVersion],
}

impl Report {
    /// One of its runs, for a file of its own.
    #[must_use]
    pub fn export<'a>(&'a self, run: &'a Run) -> Export<'a> {
        Export {
            scenario: self.scenario,
            run,
            timestamp: &self.timestamp,
            version: self.version,
            commit: self.commit,
            seed: self.seed,
            host: &self.host,
            servers: &self.servers,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{report::Runs, stock::ledger::Tally};

    fn run() -> Run {
        let tally = Tally { initial: 1, stock: 0, sold: 2 };
        Run::new("none", &tally, json!({ "ok": false }), Vec::new())
    }

    /// One run is told as the PHP lab did; several are a list.
    #[test]
    fn a_single_run_is_told_at_the_top_as_well() {
        let report = |runs| Report { runs: Runs(runs), ..Report::new("oversell") };
        let one = serde_json::to_value(report(vec![run()])).unwrap();
        assert_eq!((&one["oversold"], &one["runs"][0]["oversold"]), (&true.into(), &true.into()));
        let two = serde_json::to_value(report(vec![run(), run()])).unwrap();
        assert!(two["oversold"].is_null() && two["runs"].as_array().unwrap().len() == 2);
        let none = serde_json::to_value(report(Vec::new())).unwrap();
        assert!(none["runs"].is_null());
        let report = report(vec![run()]);
        let export = serde_json::to_value(report.export(&report.runs.0[0])).unwrap();
        assert_eq!(
            (&export["scenario"], &export["units_oversold"]),
            (&"oversell".into(), &1.into())
        );
    }
}
