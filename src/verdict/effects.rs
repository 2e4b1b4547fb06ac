//! What sales did: judged by the ledger's own count, which orders them without any clock.
//!
//! Each sale says how many units were sold from then on. So a buyer who read when `r` were sold,
//! and whose sale of `q` units brought that to `c`, was alone exactly if `c − q = r`. That needs no
//! clock, and it can only be otherwise if somebody sold in between, or if the ledger went back:
//!
//! - Who reads and does not write (sold out, fenced, lost, busy, conflict) has no effect.
//! - Who tries again is judged by the last read before the write.
//! - A sale in one atomic step has nothing between read and write, records no read, and is not
//!   judged here. A strategy whose write does not depend on what it read must not record the read.

use crate::{
    history::trace::{ConfirmedSale, End, Read, Trace, Traces},
    stock::ledger::Tally,
    verdict::findings::{self, Findings, ms, short, units},
};

/// What the effects of a history add up to.
pub(super) struct Effects {
    /// Sales between whose read and write somebody else sold.
    pub(super) interleaved: u64,
    /// Sales under an older fencing token than one before, if any carried one.
    pub(super) regressions: Option<u64>,
    /// Orders whose buyer was not told how they ended.
    pub(super) unknown: u64,
    /// Units of the ledger that neither a sale nor an unknown fate explains.
    pub(super) unexplained: i64,
}

/// A sale, and whose.
#[derive(Clone, Copy)]
struct OrderSale<'t, 'a> {
    trace: &'t Trace<'a>,
    sale: ConfirmedSale<'a>,
}

/// Judges the sales of a history against its ledger.
pub(super) fn judge(tally: &Tally, traces: &Traces<'_>, findings: &mut Findings) -> Effects {
    let of = |trace| Trace::sales(trace).map(move |sale| OrderSale { trace, sale });
    let mut sales: Vec<OrderSale<'_, '_>> = traces.iter().flat_map(of).collect();
    // The order in which the store committed them. Two sales at the same count are a finding of
    // their own, and not one about their tokens.
    sales.sort_by_key(|OrderSale { sale, .. }| (sale.sold, sale.fencing_token));
    let (lost, unexplained) = account(tally, traces, &sales);
    if lost > 0 {
        let line = format!(
            "the store confirmed {} more than the {} in its ledger: it has forgotten sales",
            units(lost),
            tally.sold
        );
        findings.add("lost sales", [line]);
    }
    findings.add("sold twice", sold_twice(traces, &sales));
    findings.add("denied sale", traces.iter().filter_map(denied));
    let interleaved: Vec<_> = sales.iter().filter_map(|sold| interleaved(traces, sold)).collect();
    let count = interleaved.len() as u64;
    findings.add("effects interleave", interleaved);
    let regressions = regressions(&sales);
    let fenced = sales.iter().any(|sold| sold.sale.fencing_token.is_some());
    let fencing = fenced.then_some(regressions.len() as u64);
    findings.add("fencing regression", regressions);
    let is_unknown = |trace: &&Trace<'_>| matches!(trace.end(), End::Unknown(_) | End::Open);
    let unknown = traces.iter().filter(is_unknown).count() as u64;
    Effects { interleaved: count, regressions: fencing, unknown, unexplained }
}

/// Units that the store confirmed and that its ledger lacks; units in the ledger that neither a
/// confirmed sale nor an unknown fate explains.
fn account(tally: &Tally, traces: &Traces<'_>, sales: &[OrderSale<'_, '_>]) -> (i64, i64) {
    let (mut confirmed, mut possible) = (0, 0);
    for trace in traces.iter() {
        let written: i64 = trace.sales().map(|sale| sale.quantity).sum();
        let wanted = trace.invoked().map_or(0, |(_, quantity)| i64::from(quantity));
        if written > 0 {
            confirmed += written;
        } else if trace.end() == End::Sold {
            confirmed += wanted;
        } else if trace.may_have_sold() {
            possible += wanted;
        }
    }
    // The ledger never goes back: this finds lost sales when the history has forgotten others.
    let highest = sales.last().map_or(0, |last| last.sale.sold);
    let lost = confirmed.max(highest).saturating_sub(tally.sold).max(0);
    (lost, tally.sold.saturating_sub(confirmed + possible).max(0))
}

/// Orders that were written more than once, and units that two orders got.
fn sold_twice(traces: &Traces<'_>, sales: &[OrderSale<'_, '_>]) -> Vec<String> {
    let mut found = Vec::new();
    for trace in traces.iter() {
        let counts: Vec<String> = trace.sales().map(|sale| unit(&sale)).collect();
        if counts.len() > 1 {
            let (order, times) = (short(trace.order_id), counts.len());
            let counts = counts.join(", then as ");
            found.push(format!("order {order} was written {times} times: as {counts}"));
        }
    }
    // Whoever reaches furthest: a big sale can cover several small ones.
    let mut furthest: Option<&OrderSale<'_, '_>> = None;
    for sold in sales {
        let before = first_unit(&sold.sale);
        match furthest {
            Some(other)
                if other.sale.sold > before && other.trace.order_id != sold.trace.order_id =>
            {
                found.push(format!(
                    "{} got {}, of which {} got {}",
                    who(other),
                    unit(&other.sale),
                    who(sold),
                    unit(&sold.sale)
                ));
            }
            _ => {}
        }
        if furthest.is_none_or(|other| other.sale.sold < sold.sale.sold) {
            furthest = Some(sold);
        }
    }
    found
}

/// A buyer who was told that nothing was sold, while the ledger has the sale.
fn denied(trace: &Trace<'_>) -> Option<String> {
    let outcome: &str = trace.failure()?.into();
    let sale = trace.sales().next()?;
    Some(format!(
        "{} ended as {outcome}, which promises that nothing was sold, but the store sold it {}",
        who(&OrderSale { trace, sale }),
        unit(&sale)
    ))
}

/// A sale between whose read and write somebody else sold.
fn interleaved(traces: &Traces<'_>, sold: &OrderSale<'_, '_>) -> Option<String> {
    let OrderSale { trace, sale } = sold;
    let Read { at_ns: read_ns, sold: read, .. } = sale.read?;
    let before = sale.sold.saturating_sub(sale.quantity);
    // An order that was written twice did not come between itself.
    let own = trace.sales().filter(|own| own.sold > read && own.sold <= before);
    let own: i64 = own.map(|own| own.quantity).sum();
    let between = before.saturating_sub(read).saturating_sub(own);
    let what = match between {
        0 => return None,
        1 => "1 unit was sold in between".to_owned(),
        2.. => format!("{between} units were sold in between"),
        _ => format!("the ledger went back by {} in between", units(between.saturating_neg())),
    };
    Some(format!(
        "{} read at {}, after {} had been sold, and wrote {} at {}: {what}",
        who(sold),
        ms(traces, sale.clock, read_ns),
        units(read),
        unit(sale),
        ms(traces, sale.clock, sale.at_ns)
    ))
}

/// Sales under a fencing token that is older than one that the store had seen by then.
fn regressions(sales: &[OrderSale<'_, '_>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut newest: Option<(u64, &OrderSale<'_, '_>)> = None;
    for sold in sales {
        let Some(token) = sold.sale.fencing_token else { continue };
        match newest {
            Some((newer, before)) if token < newer => found.push(format!(
                "{} wrote {} under token {token}, after {} had written {} under token {newer}",
                who(sold),
                unit(&sold.sale),
                who(before),
                unit(&before.sale)
            )),
            _ => newest = Some((token, sold)),
        }
    }
    found
}

/// A buyer as evidence names it.
fn who(OrderSale { trace, sale }: &OrderSale<'_, '_>) -> String {
    findings::who(trace.order_id, sale.server, sale.lock)
}

/// Units sold before a sale.
fn first_unit(sale: &ConfirmedSale<'_>) -> i64 {
    sale.sold.saturating_sub(sale.quantity)
}

/// The units of a sale, counted by the ledger: `unit 7`, `units 7 to 9`.
fn unit(sale: &ConfirmedSale<'_>) -> String {
    let (first, last) = (first_unit(sale).saturating_add(1), sale.sold);
    if first == last { format!("unit {last}") } else { format!("units {first} to {last}") }
}
