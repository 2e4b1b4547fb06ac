//! What was recorded of a product: its numbers, its records, and what they prove.

use serde::Serialize;
use serde_json::{Value, json};

use super::{error::ScenarioError, ground::AGAIN};
use crate::{
    history::Record,
    lab::Lab,
    product::Product,
    report::{Run, RunEntry, numbers},
    stock::ledger::Tally,
    strategy::StrategyId,
    verdict::{self, Audit, Verdict},
};

/// Everything that is known of a product at the end.
pub struct Recorded {
    /// Its numbers.
    pub tally: Tally,
    /// What its purchases recorded.
    pub history: Vec<Record>,
    /// What that proves.
    pub verdict: Verdict,
    product: Product,
    lock: StrategyId,
}

impl Recorded {
    /// Reads it, when this server has added what it has recorded.
    pub async fn of(lab: &Lab, product: &Product, lock: StrategyId) -> Result<Self, ScenarioError> {
        Self::of_all(std::slice::from_ref(lab), product, lock).await
    }

    /// Reads it, when each of the servers has added what it has recorded.
    pub async fn of_all(
        labs: &[Lab],
        product: &Product,
        lock: StrategyId,
    ) -> Result<Self, ScenarioError> {
        let mut evidence = None;
        for lab in labs {
            evidence = lab.shop().evidence(product, lock.row().store).await?;
        }
        let evidence = evidence.ok_or_else(|| {
            ScenarioError::NotMeasured(format!("{product} is not on sale any more; {AGAIN}"))
        })?;
        let verdict = verdict::judge(&evidence.tally, &evidence.history, evidence.recorded);
        let (tally, history, product) = (evidence.tally, evidence.history, product.clone());
        Ok(Self { tally, history, verdict, product, lock })
    }

    /// Whether every unit is accounted for, as many were sold as are named, and none twice.
    pub fn is_exact(&self, sold: u64) -> bool {
        self.verdict.ok && self.tally.oversold() == 0 && self.tally.sold == sold as i64
    }

    /// The numbers, in words.
    pub fn numbers(&self) -> String {
        numbers(&self.tally, self.verdict.ok)
    }

    /// The verdict as JSON.
    pub fn audit(&self) -> Value {
        json!(Audit { tally: &self.tally, verdict: &self.verdict })
    }

    /// Everything that was recorded, as JSON.
    pub fn json(&self, conditions: impl Serialize) -> Value {
        json!({
            "product_id": self.product.as_str(),
            "conditions": conditions,
            "audit": self.audit(),
            "history": self.history,
        })
    }

    /// A run of these purchases.
    pub fn run(&self, entries: Vec<RunEntry>) -> Run {
        Run::new(self.lock.row().name, &self.tally, self.audit(), entries)
    }
}
