//! What was recorded of a product: its verdict, its records, and a picture of them.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    history::Record,
    lab::Lab,
    product::Product,
    report,
    scenario::{error::ScenarioError, ground::AGAIN},
    stock::ledger::Tally,
    strategy::StrategyId,
    verdict::{self, Verdict},
};

/// Everything that is known of a product at the end.
pub struct Recorded {
    /// Its numbers.
    pub tally: Tally,
    /// What was recorded.
    pub history: Vec<Record>,
    /// What that proves.
    pub verdict: Verdict,
    product: Product,
}

impl Recorded {
    /// Reads it, when this server has added what it has recorded.
    ///
    /// # Errors
    /// The store could not be read, or the product was never on sale.
    pub async fn of(lab: &Lab, product: &Product, lock: StrategyId) -> Result<Self, ScenarioError> {
        Self::of_all(std::slice::from_ref(lab), product, lock).await
    }

    /// Reads it, when each of the servers has added what it has recorded.
    ///
    /// # Errors
    /// The store could not be read, or the product was never on sale.
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
        let product = product.clone();
        Ok(Self { tally: evidence.tally, history: evidence.history, verdict, product })
    }

    /// Whether every unit is accounted for, as many were sold as are named, and none twice.
    pub fn is_exact(&self, sold: u64) -> bool {
        self.verdict.ok && self.tally.oversold() == 0 && self.tally.sold == sold as i64
    }

    /// The numbers, in words.
    pub fn numbers(&self) -> String {
        report::numbers(&self.tally, self.verdict.ok)
    }

    /// The verdict as JSON.
    pub fn audit(&self) -> Value {
        let Verdict {
            ok, oversold, lost_updates, overlaps, fencing, unknown, evidence, gaps, ..
        } = &self.verdict;
        let Tally { initial, stock, sold } = self.tally;
        json!({
            "ok": ok, "initial": initial, "stock": stock, "sold": sold, "oversold": oversold,
            "lost_updates": lost_updates, "overlaps": overlaps, "fencing": fencing,
            "unknown": unknown, "evidence": evidence, "gaps": gaps,
        })
    }

    /// As JSON, as it was recorded.
    pub fn json(&self, more: impl Serialize) -> Value {
        json!({
            "product_id": self.product.as_str(),
            "conditions": more,
            "audit": self.audit(),
            "history": self.history,
        })
    }
}
