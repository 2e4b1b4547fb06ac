//! `locklab anomaly`: what goes wrong with the locks of SQL databases, each by its name, really
//! done, and right beside it the control in which it goes well.
//!
//! Everything that waits is awaited by what the database says of it, so each shows the same every
//! time.

mod databases;
mod judge;
mod late;
mod ledger;
mod lost;
mod purchase;
mod skipped;
mod stale;
mod stranded;

use self::{databases::Databases, ledger::Ledger};
use crate::{
    cli::{AnomalyArgs, AnomalyName, Config},
    report::{Part, Report},
    scenario::{error::ScenarioError, progress::Progress},
};

/// Shows the anomalies that were asked for.
pub async fn run(config: &Config, args: &AnomalyArgs) -> Result<Report, ScenarioError> {
    let progress = Progress::spinner("anomaly: servers are started");
    let databases = Databases::open(config, args.names()).await?;
    let mut report = Report::new("anomaly");
    report.servers = databases.versions().await;
    for &name in args.names() {
        let mut part = Part::new(title(name));
        progress.say(format!("anomaly: {}", part.title));
        if let Err(error) = show(name, &databases, &mut part).await {
            part.unknown("it was shown to its end", error);
        }
        report.parts.push(part);
    }
    databases.close().await;
    Ok(report)
}

async fn show(
    name: AnomalyName,
    databases: &Databases,
    part: &mut Part,
) -> Result<(), ScenarioError> {
    let client = match name {
        AnomalyName::StrandedAdvisoryLock => return stranded::show(databases, part).await,
        AnomalyName::LostGetLock | AnomalyName::StaleSnapshot => databases.mysql()?,
        AnomalyName::SkipLockedMiscount | AnomalyName::LateAdvisoryLock => databases.postgres()?,
    };
    let ledger = Ledger::create(client).await?;
    let shown = match name {
        AnomalyName::LostGetLock => lost::show(databases, &ledger, part).await,
        AnomalyName::StaleSnapshot => stale::show(&ledger, part).await,
        AnomalyName::SkipLockedMiscount => skipped::show(&ledger, part).await,
        AnomalyName::LateAdvisoryLock | AnomalyName::StrandedAdvisoryLock => {
            late::show(&ledger, part).await
        }
    };
    // What is left behind is to be known, whatever else went wrong.
    let dropped = ledger.drop_tables().await;
    shown.and(dropped)
}

fn title(name: AnomalyName) -> &'static str {
    match name {
        AnomalyName::StrandedAdvisoryLock => {
            "stranded-advisory-lock: a session lock of Postgres, taken through a pooler"
        }
        AnomalyName::LostGetLock => "lost-get-lock: the connection that holds GET_LOCK is killed",
        AnomalyName::SkipLockedMiscount => {
            "skip-locked-miscount: a count that leaves out what is locked"
        }
        AnomalyName::StaleSnapshot => "stale-snapshot: MySQL reads what was there before the wait",
        AnomalyName::LateAdvisoryLock => {
            "late-advisory-lock: Postgres gives the lock after the snapshot"
        }
    }
}
