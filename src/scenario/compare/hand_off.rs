//! How long a lock takes to come from one holder to the next.

use crate::history::{
    Record,
    lease::HeldLease,
    trace::{Trace, Traces},
};

/// From the end of one lease of a product to the next grant, each, in ms: from when its holder sent
/// the release to when the next one knew that it has it. There are none without leases that exclude
/// others; and none is counted where it is not known when a lease was released, or where the next
/// one was granted before.
pub fn hand_offs(history: &[Record]) -> Vec<f64> {
    let traces = Traces::new(history);
    let leases = traces.iter().flat_map(Trace::leases).filter(|lease| lease.exclusive);
    let mut leases: Vec<HeldLease<'_>> = leases.collect();
    leases.sort_by_key(|lease| (lease.clock, lease.at_ns));
    let pairs = leases.windows(2).filter_map(|pair| {
        let [one, next] = pair else { return None };
        let ended_ns = one.released?.since_ns;
        let is_next = one.clock == next.clock && next.at_ns >= ended_ns;
        is_next.then(|| (next.at_ns - ended_ns) as f64 / 1e6)
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, EventKind};

    /// What one order recorded: a lease from one millisecond to another, without an end if there is
    /// none.
    fn record(order: &str, clock: &str, from_ms: u64, until_ms: Option<u64>) -> Record {
        let (at_ns, since_ns) = (from_ms * 1_000_000, from_ms * 1_000_000 - 1);
        let granted = EventKind::Granted {
            since_ns,
            token: order.to_owned(),
            fencing_token: None,
            until_ns: None,
            exclusive: true,
        };
        let mut events = vec![Event { at_ns, kind: granted }];
        if let Some(until_ms) = until_ms {
            let since_ns = until_ms * 1_000_000;
            let kind = EventKind::Released { since_ns, until_ns: None, how: "released".to_owned() };
            // The answer to a release may come after the next one has the lock.
            events.push(Event { at_ns: since_ns + 50_000_000, kind });
        }
        let (server, lock) = (format!("server of {order}"), "safe".to_owned());
        Record {
            order_id: order.to_owned(),
            server,
            clock: clock.to_owned(),
            lock,
            run_id: None,
            events,
        }
    }

    #[test]
    fn is_the_time_from_a_release_to_the_next_grant() {
        // As they come: in no order.
        let history = [
            record("c", "x", 30, Some(40)),
            record("a", "x", 1, Some(10)),
            record("b", "x", 12, Some(25)),
        ];
        assert_eq!(hand_offs(&history), [2.0, 5.0]);
    }

    #[test]
    fn what_is_not_known_is_not_counted() {
        assert!(hand_offs(&[]).is_empty());
        assert!(hand_offs(&[record("a", "x", 1, Some(10))]).is_empty(), "nobody came after");
        let unreleased = [record("a", "x", 1, None), record("b", "x", 12, Some(25))];
        assert!(hand_offs(&unreleased).is_empty());
        let overlapping = [record("a", "x", 1, Some(20)), record("b", "x", 12, Some(25))];
        assert!(hand_offs(&overlapping).is_empty());
        let elsewhere = [record("a", "x", 1, Some(10)), record("b", "y", 12, Some(25))];
        assert!(hand_offs(&elsewhere).is_empty(), "clocks cannot be compared");
        let mut shared = [record("a", "x", 1, Some(10)), record("b", "x", 12, Some(25))];
        for record in &mut shared {
            if let EventKind::Granted { exclusive, .. } = &mut record.events[0].kind {
                *exclusive = false;
            }
        }
        assert!(hand_offs(&shared).is_empty(), "a lock that excludes nobody is handed to nobody");
    }
}
