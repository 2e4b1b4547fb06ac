//! `locklab run-all`: every simulation of the PHP lab, in its order and with its figures.

use super::{crash, deadlock, export, oversell, retry};
use crate::{
    cli::{Config, RunAllArgs, Simulation},
    report::Report,
    scenario::error::ScenarioError,
};

/// Does one after the other, and tells everything in one report.
pub async fn run(config: &Config, args: &RunAllArgs) -> Result<Report, ScenarioError> {
    if let Some(folder) = &args.output {
        export::check(&folder.join("oversell.json"))?;
    }
    let mut all = Report::new("run-all");
    all.seed = Some(args.run.seed);
    for simulation in args.parts() {
        let report = match &simulation {
            Simulation::Oversell(args) => oversell::run(config, args).await?,
            Simulation::Deadlock(args) => deadlock::run(config, args).await?,
            Simulation::Crash(args) => crash::run(config, args).await?,
            Simulation::Retry(args) => retry::run(config, args).await?,
        };
        if let (Simulation::Oversell(_), Some(folder)) = (&simulation, &args.output) {
            // As the PHP lab named them.
            export::write(&report, |run, which| {
                folder.join(format!("{which}oversell_{}.json", run.strategy))
            })?;
        }
        all.servers = report.servers;
        all.parts.extend(report.parts);
        all.runs.0.extend(report.runs.0);
    }
    Ok(all)
}
