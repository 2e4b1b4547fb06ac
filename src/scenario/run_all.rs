//! `locklab run-all`: every simulation of the PHP lab, in its order and with its figures.

use std::{fs, path::Path};

use super::{ScenarioError, crash, deadlock, oversell, retry};
use crate::{
    cli::{Command, Config, RunAllArgs},
    report::Report,
};

/// Does one after the other, and tells everything in one report.
///
/// # Errors
/// The configuration is not valid, the store is not there, or a file could not be written.
pub async fn run(config: &Config, args: &RunAllArgs) -> Result<Report, ScenarioError> {
    let mut all = Report::new("run-all");
    all.seed = Some(args.run.seed());
    for command in args.parts(all.seed) {
        let report = match &command {
            Command::Oversell(args) => oversell::run(config, args).await?,
            Command::Deadlock(args) => deadlock::run(config, args).await?,
            Command::Crash(args) => crash::run(config, args).await?,
            Command::Retry(args) => retry::run(config, args).await?,
            _ => continue,
        };
        if let (Command::Oversell(_), Some(folder)) = (&command, &args.output) {
            export(&report, folder)?;
        }
        all.servers = report.servers;
        all.parts.extend(report.parts);
        all.runs.0.extend(report.runs.0);
    }
    Ok(all)
}

/// Writes each race for the last unit into a file, as the PHP lab did.
fn export(report: &Report, folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for run in report.runs.0.iter().filter(|run| run.run == 1) {
        let path = folder.join(format!("{}_{}.json", report.scenario, run.strategy));
        fs::write(path, serde_json::to_vec_pretty(&report.export(run))?)?;
    }
    Ok(())
}
