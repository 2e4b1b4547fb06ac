//! `locklab partition`: servers are stopped, killed and cut off while purchases run, and holders are
//! made stale: Kleppmann's examples ("How to do distributed locking", 2016), each with its control.
//!
//! The servers are private ones, for they are broken. Purchases enter where those of the server do.

mod away;
mod crowd;
mod farm;
mod holders;
mod namespace;
mod pause;
mod proxy;

use parking_lot::Mutex;
use serde_json::json;

use self::farm::{Farm, Wanted};
use crate::{
    backends::version::ServerVersion,
    cli::{Config, How, PartName, PartitionArgs},
    report::{Part, Report},
    scenario::ScenarioError,
    strategy::{Expected, Family, StrategyId},
};

/// What a part is done with.
struct Scene<'a> {
    config: &'a Config,
    args: &'a PartitionArgs,
    run: u32,
    /// The servers that there have been, in any part.
    servers: &'a Mutex<Vec<ServerVersion>>,
}

impl Scene<'_> {
    /// Starts servers, and says in the part's title how nodes are cut off.
    async fn farm(&self, wanted: Wanted, part: &mut Part) -> Result<Farm, ScenarioError> {
        let farm = self.open(wanted).await?;
        let why_no_namespaces = &farm.without_namespaces;
        let cut_by = if why_no_namespaces.is_none() { "namespaces" } else { "a proxy" };
        let told = json!({ "cut_by": cut_by, "why_no_namespaces": why_no_namespaces });
        if !part.evidence.contains(&told) {
            part.title += &format!(" [cut by {cut_by}]");
            part.evidence.push(told);
        }
        Ok(farm)
    }

    /// Starts servers, and notes which versions they have.
    async fn open(&self, wanted: Wanted) -> Result<Farm, ScenarioError> {
        let farm = Farm::open(self.config, wanted).await?;
        for version in farm.labs[0].backends().versions().await {
            let mut servers = self.servers.lock();
            if !servers.contains(&version) {
                servers.push(version);
            }
        }
        Ok(farm)
    }

    /// The servers that a part gets that needs nothing special.
    fn wanted(&self) -> Wanted {
        let PartitionArgs { via, restart_delay, .. } = *self.args;
        Wanted { via, restart_delay, clocks: false, all: false }
    }

    /// A strategy by its name.
    fn lock(&self, name: &str) -> Result<StrategyId, ScenarioError> {
        name.parse().map_err(|_| ScenarioError::Usage(format!("there is no strategy {name}")))
    }

    /// Every lock that promises that the store refuses whoever is late.
    fn fenced() -> impl Iterator<Item = StrategyId> {
        let is_fenced = |id: &StrategyId| {
            id.row().family == Family::Lock && id.row().expected == Expected::ExactAlways
        };
        StrategyId::all().filter(is_fenced)
    }

    /// A claim, and in which run.
    fn claim(&self, claim: &str) -> String {
        if self.args.runs == 1 { claim.to_owned() } else { format!("run {}: {claim}", self.run) }
    }
}

/// Does the parts that were asked for.
///
/// # Errors
/// What was asked for makes no sense, or something could not be measured.
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
