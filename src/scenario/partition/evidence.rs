//! What was recorded of a product: its verdict, its records, and a picture of them.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    history::{
        Record,
        trace::{Trace, Traces},
    },
    lab::Lab,
    product::Product,
    report::timeline::{Lane, Mark, Shade, Span, Timeline},
    scenario::{AGAIN, ScenarioError},
    stock::Tally,
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
    /// Reads it, when each of the servers has added what it has recorded.
    ///
    /// # Errors
    /// The store could not be read, or the product was never on sale.
    pub async fn of(
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
        let Tally { initial, sold, .. } = self.tally;
        let oversold = self.verdict.oversold;
        let found = if self.verdict.ok { "audit ok" } else { "audit NOT ok" };
        format!("{sold} sold of {initial}, {oversold} oversold, {found}")
    }

    /// As JSON, as it was recorded.
    pub fn json(&self, more: impl Serialize) -> Value {
        let Verdict {
            ok, oversold, lost_updates, overlaps, fencing, unknown, evidence, gaps, ..
        } = &self.verdict;
        let Tally { initial, stock, sold } = self.tally;
        json!({
            "product_id": self.product.as_str(),
            "conditions": more,
            "audit": {
                "ok": ok, "initial": initial, "stock": stock, "sold": sold, "oversold": oversold,
                "lost_updates": lost_updates, "overlaps": { "grants": overlaps.grants,
                "beliefs": overlaps.beliefs, "effects": overlaps.effects }, "fencing": fencing,
                "unknown": unknown, "evidence": evidence, "gaps": gaps,
            },
            "history": self.history,
        })
    }

    /// Who held it, and who believed to; with a W where somebody sold.
    pub fn timeline(&self) -> Option<Timeline> {
        let traces = Traces::new(&self.history);
        let mut lanes: Vec<(u64, Lane)> = traces.iter().filter_map(lane).collect();
        lanes.sort_by_key(|(from_ns, _)| *from_ns);
        let from_ns = lanes.first()?.0;
        for (number, (_, lane)) in lanes.iter_mut().enumerate() {
            lane.name = format!("buyer {}", number + 1);
        }
        let lanes: Vec<Lane> = lanes.into_iter().map(|(_, lane)| lane).collect();
        let spans = lanes.iter().flat_map(|lane| &lane.spans).map(|span| span.until_ns);
        let marks = lanes.iter().flat_map(|lane| &lane.marks).map(|mark| mark.at_ns);
        let until_ns = spans.chain(marks).max()?;
        let legend = vec![(Shade::Granted, "granted"), (Shade::Believed, "only believed")];
        let letters = vec![('W', "sold")];
        let title = "Who held the lock, and who only believed so".to_owned();
        Some(Timeline { title, from_ns, until_ns, legend, letters, lanes })
    }
}

/// The lane of an order that had a lease.
fn lane(trace: &Trace<'_>) -> Option<(u64, Lane)> {
    let mut spans = Vec::new();
    for lease in trace.leases() {
        let (from_ns, shade) = (lease.at_ns, Shade::Believed);
        spans.push(Span { from_ns, until_ns: lease.believed_until().max(from_ns), shade });
        let shade = Shade::Granted;
        spans.push(Span { from_ns, until_ns: lease.stood_until().max(from_ns), shade });
    }
    let from_ns = spans.iter().map(|span| span.from_ns).min()?;
    let marks = trace.sales().map(|sale| Mark { at_ns: sale.at_ns, letter: 'W' }).collect();
    Some((from_ns, Lane { name: String::new(), spans, marks }))
}
