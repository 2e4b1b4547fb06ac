//! A picture of what was recorded: who held the lock when, who only believed so, and who sold.

use crate::{
    history::{
        lease::HeldLease,
        trace::{Trace, Traces},
    },
    report::{
        RunEntry,
        timeline::{EXPIRY, Lane, Mark, SOLD, Shade, Span, TOO_MUCH, Timeline},
    },
    scenario::recorded::Recorded,
};

/// The first lease of a product.
pub struct FirstLease {
    /// Whose it was.
    pub order_id: String,
    /// When it was granted.
    pub from_ns: u64,
    /// Until when it certainly stood.
    pub until_ns: u64,
}

impl Recorded {
    /// Who held the lock, and who believed so, each in a lane of their own; `None` if nobody did.
    /// Whoever `name` does not know is numbered.
    pub fn timeline(&self, name: impl Fn(&str) -> Option<String>) -> Option<Timeline> {
        let traces = Traces::new(&self.history);
        let mut lanes: Vec<(&Trace<'_>, Lane)> =
            traces.iter().filter_map(|trace| Some((trace, self.lane(trace)?))).collect();
        lanes.sort_by_key(|(_, lane)| lane.spans.iter().map(|span| span.from_ns).min());
        for (number, (trace, lane)) in lanes.iter_mut().enumerate() {
            lane.name = name(trace.order_id).unwrap_or_else(|| format!("buyer {}", number + 1));
        }
        let mut lanes: Vec<Lane> = lanes.into_iter().map(|(_, lane)| lane).collect();
        mark_overlaps(&mut lanes);
        let spans = || lanes.iter().flat_map(|lane| &lane.spans);
        let marks = || lanes.iter().flat_map(|lane| &lane.marks).map(|mark| mark.at_ns);
        let from_ns = spans().map(|span| span.from_ns).chain(marks()).min()?;
        let until_ns = spans().map(|span| span.until_ns).chain(marks()).max()?;
        let shades = [
            (Shade::Granted, "granted"),
            (Shade::Believed, "only believed"),
            (Shade::Overlap, "while another believed so too"),
        ];
        let letters = [
            (EXPIRY, "the lease ends by its ttl"),
            (SOLD, "sold"),
            (TOO_MUCH, "sold a unit that was not there"),
        ];
        // What lies behind others all the time is not seen.
        let is_seen = |lane: &Lane, behind: &Span| {
            let covers = |front: &Span| {
                front.shade > behind.shade
                    && front.from_ns <= behind.from_ns
                    && front.until_ns >= behind.until_ns
            };
            !lane.spans.iter().any(covers)
        };
        let has_shade = |shade| {
            let of_shade = |span: &&Span| span.shade == shade;
            let in_lane =
                |lane: &Lane| lane.spans.iter().filter(of_shade).any(|span| is_seen(lane, span));
            lanes.iter().any(in_lane)
        };
        let has_letter =
            |letter| lanes.iter().flat_map(|lane| &lane.marks).any(|mark| mark.letter == letter);
        Some(Timeline {
            title: "Who held the lock, and who only believed so".to_owned(),
            from_ns,
            until_ns,
            legend: shades.into_iter().filter(|(shade, _)| has_shade(*shade)).collect(),
            letters: letters.into_iter().filter(|(letter, _)| has_letter(*letter)).collect(),
            lanes,
        })
    }

    /// How long each lease was believed in, in ms.
    pub fn held_ms(&self) -> Vec<f64> {
        let traces = Traces::new(&self.history);
        let leases = traces.iter().flat_map(Trace::leases);
        leases.map(|it| it.believed_until().saturating_sub(it.at_ns) as f64 / 1e6).collect()
    }

    /// The lease that was granted first, if any was.
    pub fn first_lease(&self) -> Option<FirstLease> {
        let traces = Traces::new(&self.history);
        let first = traces.iter().flat_map(Trace::leases).min_by_key(|lease| lease.at_ns)?;
        Some(FirstLease {
            order_id: first.order_id.to_owned(),
            from_ns: first.at_ns,
            until_ns: first.stood_until(),
        })
    }

    /// The lane of an order that had a lease.
    fn lane(&self, trace: &Trace<'_>) -> Option<Lane> {
        let leases: Vec<HeldLease<'_>> = trace.leases().collect();
        if leases.is_empty() {
            return None;
        }
        let (mut spans, mut marks) = (Vec::new(), Vec::new());
        for lease in leases {
            let from_ns = lease.at_ns;
            let believed_ns = lease.believed_until().max(from_ns);
            spans.push(Span { from_ns, until_ns: believed_ns, shade: Shade::Believed });
            if lease.exclusive {
                let until_ns = lease.stood_until().max(from_ns);
                spans.push(Span { from_ns, until_ns, shade: Shade::Granted });
            }
            let is_outlived = |until_ns: &u64| *until_ns <= believed_ns;
            // Nobody has released it: it ends by itself.
            let ends = |until_ns: &u64| is_outlived(until_ns) || lease.released.is_none();
            if let Some(at_ns) = lease.until_ns.filter(ends) {
                marks.push(Mark { at_ns, letter: EXPIRY });
            }
        }
        for sale in trace.sales() {
            let letter = if sale.sold > self.tally.initial { TOO_MUCH } else { SOLD };
            marks.push(Mark { at_ns: sale.at_ns, letter });
        }
        Some(Lane { name: String::new(), spans, marks })
    }
}

/// Names orders by the processes of those purchases.
pub fn processes_of(entries: &[RunEntry]) -> impl Fn(&str) -> Option<String> + '_ {
    |id| {
        let of_order = entries.iter().find(|entry| entry.order_id == id);
        of_order.map(|entry| entry.process_id.clone())
    }
}

/// Marks when somebody believed to hold it while another one did as well.
fn mark_overlaps(lanes: &mut [Lane]) {
    let believed: Vec<(usize, Span)> = lanes
        .iter()
        .enumerate()
        .flat_map(|(lane, it)| it.spans.iter().map(move |span| (lane, *span)))
        .filter(|(_, span)| span.shade == Shade::Believed)
        .collect();
    for (index, lane) in lanes.iter_mut().enumerate() {
        let own = believed.iter().filter(|(lane, _)| *lane == index).map(|(_, span)| span);
        let overlaps: Vec<Span> = own
            .flat_map(|own| {
                let others = believed.iter().filter(|(lane, _)| *lane != index);
                let common = others.map(|(_, other)| Span {
                    from_ns: own.from_ns.max(other.from_ns),
                    until_ns: own.until_ns.min(other.until_ns),
                    shade: Shade::Overlap,
                });
                common.filter(|span| span.from_ns < span.until_ns)
            })
            .collect();
        lane.spans.extend(joined(overlaps));
    }
}

/// All of this time, in as few spans as possible.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.from_ns);
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.from_ns <= last.until_ns => {
                last.until_ns = last.until_ns.max(span.until_ns);
            }
            _ => joined.push(span),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(believed: &[(u64, u64)]) -> Lane {
        let span = |&(from_ns, until_ns)| Span { from_ns, until_ns, shade: Shade::Believed };
        let spans = believed.iter().map(span).collect();
        Lane { name: String::new(), spans, marks: Vec::new() }
    }

    #[test]
    fn overlaps_are_where_two_believed_at_once() {
        let mut lanes = vec![lane(&[(0, 10), (20, 30)]), lane(&[(5, 25)]), lane(&[(30, 40)])];
        mark_overlaps(&mut lanes);
        let overlaps = |lane: &Lane| {
            let spans = lane.spans.iter().filter(|span| span.shade == Shade::Overlap);
            spans.map(|span| (span.from_ns, span.until_ns)).collect::<Vec<_>>()
        };
        assert_eq!(overlaps(&lanes[0]), [(5, 10), (20, 25)]);
        assert_eq!(overlaps(&lanes[1]), [(5, 10), (20, 25)]);
        assert_eq!(overlaps(&lanes[2]), [], "one after the other is no overlap");
    }
}
