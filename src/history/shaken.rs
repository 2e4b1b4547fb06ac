//! Records as they may come in: in parts, some of them twice, in any order, the oldest dropped.

use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};

use crate::history::{Record, simulated::CLOCKS};

/// The same events, split, some of them sent twice, and shuffled.
pub fn shake(records: &[Record], seed: u64) -> Vec<Record> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut shaken = split(records, &mut rng);
    let again: Vec<Record> = shaken.iter().filter(|_| rng.random_bool(0.2)).cloned().collect();
    shaken.extend(again);
    shaken.shuffle(&mut rng);
    shaken
}

/// The same events, split, without the oldest parts. Parts come in as they end.
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
