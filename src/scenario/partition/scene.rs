//! What a part is done with.

use parking_lot::Mutex;
use serde_json::json;

use super::farm::{Farm, Wanted};
use crate::{
    backends::version::ServerVersion,
    cli::{Config, PartitionArgs},
    report::Part,
    scenario::error::ScenarioError,
    strategy::{Expected, Family, StrategyId},
};

/// What a part is done with.
pub struct Scene<'a> {
    /// What was configured.
    pub config: &'a Config,
    /// What was asked for.
    pub args: &'a PartitionArgs,
    /// Which of the runs, from 1.
    pub run: u32,
    /// The servers that there have been, in any part.
    pub servers: &'a Mutex<Vec<ServerVersion>>,
}

impl Scene<'_> {
    /// Starts servers, and says in the part's title how nodes are cut off.
    pub async fn farm(&self, wanted: Wanted, part: &mut Part) -> Result<Farm, ScenarioError> {
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
    pub async fn open(&self, wanted: Wanted) -> Result<Farm, ScenarioError> {
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
    pub fn wanted(&self) -> Wanted {
        let PartitionArgs { via, restart_delay, .. } = *self.args;
        Wanted { via, restart_delay, clocks: false, all: false }
    }

    /// Every lock that promises that the store refuses whoever is late.
    pub fn fenced() -> impl Iterator<Item = StrategyId> {
        let is_fenced = |id: &StrategyId| {
            id.row().family == Family::Lock && id.row().expected == Expected::ExactAlways
        };
        StrategyId::all().filter(is_fenced)
    }

    /// A claim, and in which run.
    pub fn claim(&self, claim: &str) -> String {
        if self.args.runs == 1 { claim.to_owned() } else { format!("run {}: {claim}", self.run) }
    }
}
