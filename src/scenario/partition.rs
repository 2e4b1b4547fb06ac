//! `locklab partition`: servers are stopped, killed and cut off while purchases run, and holders
//! are made stale: Kleppmann's examples ("How to do distributed locking", 2016), each with its
//! control.
//!
//! The servers are private ones, for they are broken. Purchases enter where those of the server do.

mod away;
mod crowd;
mod farm;
mod holders;
mod namespace;
mod pause;
mod proxy;
mod scene;

use parking_lot::Mutex;

use self::scene::Scene;
use crate::{
    cli::{Config, How, PartName, PartitionArgs},
    report::{Part, Report},
    scenario::error::ScenarioError,
};

/// Does the parts that were asked for.
pub async fn run(config: &Config, args: &PartitionArgs) -> Result<Report, ScenarioError> {
    if !args.restart_delay.is_zero() && args.restart_delay < args.ttl {
        let text =
            "--restart-delay: expected 0, or at least the --ttl: a lease must not outlast it";
        return Err(ScenarioError::Usage(text.to_owned()));
    }
    let mut report = Report::new("partition");
    let (hows, servers) = (args.hows(), Mutex::default());
    for &name in args.parts() {
        let mut part = Part::new(title(name));
        let mut recoveries: Vec<(How, Vec<f64>)> =
            hows.iter().map(|&how| (how, Vec::new())).collect();
        for run in 1..=args.runs {
            let scene = Scene { config, args, run, servers: &servers };
            match name {
                PartName::Minority | PartName::Majority => {
                    let mut farm = scene.farm(scene.wanted(), &mut part).await?;
                    for (how, recoveries) in &mut recoveries {
                        if name == PartName::Minority {
                            away::minority(&scene, &mut farm, *how, &mut part).await?;
                        } else {
                            recoveries
                                .push(away::majority(&scene, &mut farm, *how, &mut part).await?);
                        }
                    }
                    farm.close().await;
                }
                PartName::Restart => holders::restart(&scene, &mut part).await?,
                PartName::Clock => holders::clock(&scene, &mut part).await?,
                PartName::Pause => pause::pause(&scene, &mut part).await?,
            }
        }
        for (how, recoveries) in recoveries {
            let name = format!("nodes were {}, until the first sale", away::past(how));
            part.measure(name, "ms", recoveries);
        }
        report.parts.push(part);
    }
    report.servers = servers.into_inner();
    Ok(report)
}

fn title(name: PartName) -> &'static str {
    match name {
        PartName::Minority => "A minority of Redlock's nodes is away",
        PartName::Majority => "A majority of Redlock's nodes is away, and comes back",
        PartName::Restart => "A node of Redlock crashes, and forgets who holds the lock",
        PartName::Pause => "A server stands still between its last look at the lease and its write",
        PartName::Clock => "The clock of a server that grants locks steps",
    }
}
