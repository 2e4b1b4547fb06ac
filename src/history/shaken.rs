//! The records of a simulated shop, as they may come in: in parts, some of them twice, in any
//! order, the oldest dropped.

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::history::{Event, EventKind, Record, simulated::SimulatedShop};

/// What the clocks of the machines show when the simulation begins.
const CLOCKS: [(&str, u64); 2] = [("boot-a", 5_000_000), ("boot-b", 70_000)];

impl SimulatedShop {
    /// What the history holds, in the order in which it came in.
    pub fn records(&self) -> Vec<Record> {
        self.records_by(&CLOCKS)
    }

    /// What the history holds, by these clocks.
    pub fn records_by(&self, clocks: &[(&str, u64); 2]) -> Vec<Record> {
        let lanes = self.orders.iter().flat_map(|order| {
            order.lanes.iter().filter(|lane| !lane.events.is_empty()).map(|lane| {
                let (clock, zero_ns) = clocks[lane.server / 2];
                let events = lane.events.iter().map(|event| event.later(zero_ns)).collect();
                Record {
                    order_id: order.order_id.clone(),
                    server: format!("server-{}", lane.server),
                    clock: clock.to_owned(),
                    lock: lane.lock.to_owned(),
                    run_id: None,
                    events,
                }
            })
        });
        lanes.collect()
    }
}

impl Event {
    /// This event, on a clock that shows so much more.
    fn later(&self, by_ns: u64) -> Self {
        let mut kind = self.kind.clone();
        match &mut kind {
            EventKind::Granted { since_ns, until_ns, .. }
            | EventKind::Released { since_ns, until_ns, .. } => {
                *since_ns += by_ns;
                *until_ns = until_ns.map(|until| until + by_ns);
            }
            EventKind::Read { since_ns, .. } | EventKind::Written { since_ns, .. } => {
                *since_ns += by_ns;
            }
            EventKind::Invoke { .. }
            | EventKind::Ok
            | EventKind::Fail { .. }
            | EventKind::Unknown { .. } => {}
        }
        Self { at_ns: self.at_ns + by_ns, kind }
    }
}

/// These records, split into parts, of which some are sent twice, and shuffled.
pub fn shake(records: &[Record], seed: u64) -> Vec<Record> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut shaken = split(records, &mut rng);
    let again: Vec<Record> = shaken.iter().filter(|_| rng.random_bool(0.2)).cloned().collect();
    shaken.extend(again);
    shaken.shuffle(&mut rng);
    shaken
}

/// These records, split into parts, without the oldest; and how many parts there were. Parts come
/// in when they end.
pub fn drop_oldest(records: &[Record], seed: u64) -> (Vec<Record>, u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut parts = split(records, &mut rng);
    let recorded = parts.len() as u64;
    let zero = |clock: &str| CLOCKS.iter().find(|it| it.0 == clock).map_or(0, |it| it.1);
    parts.sort_by_key(|part| part.events.last().map(|last| last.at_ns - zero(&part.clock)));
    let dropped = rng.random_range(0..=parts.len());
    (parts.split_off(dropped), recorded)
}

fn split(records: &[Record], rng: &mut SmallRng) -> Vec<Record> {
    let mut parts = Vec::new();
    for record in records {
        let mut rest = record.clone();
        while rest.events.len() > 1 && rng.random_bool(0.5) {
            let at = rng.random_range(1..rest.events.len());
            let later = rest.events.split_off(at);
            let first = std::mem::replace(&mut rest.events, later);
            parts.push(Record { events: first, ..rest.clone() });
        }
        parts.push(rest);
    }
    parts
}
