//! Puts together again what servers recorded of each order.
//!
//! Records come in parts, in any order, some of them twice: a flush whose reply was lost is sent
//! again. A trace is what they hold of one order, each event once, in lanes: a lane is what one
//! server recorded, in the order of time. Between lanes there is no order that a clock could show.

use std::collections::BTreeMap;

use crate::{
    history::{Event, EventKind, Record},
    outcome::Outcome,
};
use locklab_locks::step::Step;

/// An event, and who recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TracedEvent<'a> {
    /// The clock of its times.
    pub clock: &'a str,
    /// The server that recorded it.
    pub server: &'a str,
    /// What happened.
    pub event: &'a Event,
    /// The strategy.
    pub lock: &'a str,
}

/// What the history holds of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace<'a> {
    /// Names the order.
    pub order_id: &'a str,
    /// Every event once, lane after lane.
    events: Vec<TracedEvent<'a>>,
}

/// Every order of a history, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces<'a> {
    orders: Vec<Trace<'a>>,
    zeros: BTreeMap<&'a str, u64>,
}

/// How an order ended, as its buyer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The units are the buyer's.
    Sold,
    /// Certainly nothing was sold.
    Fail(Outcome),
    /// The buyer was told that nobody knows.
    Unknown(Step),
    /// The history does not say: still under way, or its server died.
    Open,
}

/// A sale that the store has confirmed.
#[derive(Debug, Clone, Copy)]
pub struct ConfirmedSale<'a> {
    /// The clock of its times.
    pub clock: &'a str,
    /// The server that recorded it.
    pub server: &'a str,
    /// The strategy.
    pub lock: &'a str,
    /// When it was known.
    pub at_ns: u64,
    /// The last read before it; absent if one atomic step read and wrote, or if the history dropped
    /// the read.
    pub read: Option<Read>,
    /// How many units.
    pub quantity: i64,
    /// Units sold from then on, by the ledger.
    pub sold: i64,
    /// What the stock became.
    pub stock: i64,
    /// The fencing token that it carried.
    pub fencing_token: Option<u64>,
}

impl<'a> Traces<'a> {
    /// Sorts a history into its orders.
    #[must_use]
    pub fn new(history: &'a [Record]) -> Self {
        let mut orders: BTreeMap<&str, Vec<TracedEvent<'_>>> = BTreeMap::new();
        let mut zeros: BTreeMap<&str, u64> = BTreeMap::new();
        for record in history {
            let Record { order_id, server, clock, lock, events, .. } = record;
            let of_order = orders.entry(order_id).or_default();
            for event in events {
                of_order.push(TracedEvent { clock, server, event, lock });
                let first = zeros.entry(clock).or_insert(u64::MAX);
                *first = event.began_ns().min(*first);
            }
        }
        let orders = orders.into_iter().map(|(order_id, mut events)| {
            events.sort_unstable();
            events.dedup();
            Trace { order_id, events }
        });
        Self { orders: orders.collect(), zeros }
    }

    /// The orders.
    pub fn iter(&self) -> impl Iterator<Item = &Trace<'a>> {
        self.orders.iter()
    }

    /// How many events there are, each counted once.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.orders.iter().map(|trace| trace.events.len() as u64).sum()
    }

    /// Its clocks.
    pub fn clocks(&self) -> impl Iterator<Item = &'a str> {
        self.zeros.keys().copied()
    }

    /// Nanoseconds since the first event of the same clock.
    #[must_use]
    pub fn since_first(&self, clock: &str, at_ns: u64) -> u64 {
        at_ns.saturating_sub(self.zeros.get(clock).copied().unwrap_or_default())
    }
}

impl<'a> Trace<'a> {
    /// What each server recorded.
    pub fn lanes(&self) -> impl Iterator<Item = &[TracedEvent<'a>]> {
        self.events.chunk_by(|one, other| (one.clock, one.server) == (other.clock, other.server))
    }

    /// When the order was placed, and for how many units, if the history still has that.
    #[must_use]
    pub fn invoked(&self) -> Option<(&TracedEvent<'a>, u32)> {
        self.events.iter().find_map(|traced| match traced.event.kind {
            EventKind::Invoke { quantity } => Some((traced, quantity)),
            _ => None,
        })
    }

    /// The event that says how the order ended. What is certain wins: when one server gave up
    /// waiting and another knows, the order's fate is known.
    #[must_use]
    pub fn ended(&self) -> Option<&TracedEvent<'a>> {
        let certainty = |traced: &&TracedEvent<'_>| match traced.event.kind {
            EventKind::Ok => 3,
            EventKind::Fail { .. } => 2,
            EventKind::Unknown { .. } => 1,
            _ => 0,
        };
        self.events.iter().filter(|traced| certainty(traced) > 0).max_by_key(certainty)
    }

    /// How the order ended.
    #[must_use]
    pub fn end(&self) -> End {
        match self.ended().map(|traced| &traced.event.kind) {
            Some(EventKind::Ok) => End::Sold,
            Some(EventKind::Fail { outcome }) => End::Fail(*outcome),
            Some(EventKind::Unknown { step }) => End::Unknown(*step),
            _ => End::Open,
        }
    }

    /// How the order failed, if any server told its buyer that nothing was sold.
    #[must_use]
    pub fn failure(&self) -> Option<Outcome> {
        self.events.iter().find_map(|traced| match traced.event.kind {
            EventKind::Fail { outcome } => Some(outcome),
            _ => None,
        })
    }

    /// Its confirmed sales: one, unless something is wrong.
    pub fn sales(&self) -> impl Iterator<Item = ConfirmedSale<'a>> {
        self.lanes().flat_map(|lane| {
            lane.iter().filter_map(|traced| {
                let EventKind::Written { since_ns, stock, quantity, sold, fencing_token } =
                    traced.event.kind
                else {
                    return None;
                };
                Some(ConfirmedSale {
                    clock: traced.clock,
                    server: traced.server,
                    lock: traced.lock,
                    at_ns: traced.event.at_ns,
                    read: last_read(lane, since_ns),
                    quantity: i64::from(quantity),
                    sold,
                    stock,
                    fencing_token,
                })
            })
        })
    }

    /// Whether the store may have recorded a sale that nobody confirmed: the buyer was not told how
    /// it ended, and it had come to where a sale can be sent.
    #[must_use]
    pub fn may_have_sold(&self) -> bool {
        let sent = match self.end() {
            End::Sold | End::Fail(_) => false,
            End::Open => true,
            End::Unknown(step) => !matches!(
                step,
                Step::Acquire
                    | Step::BetweenSetnxAndExpire
                    | Step::AfterAcquire
                    | Step::RaiseBar
                    | Step::Read
            ),
        };
        sent && self.sales().next().is_none()
    }
}

/// A read that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// When it was answered.
    pub at_ns: u64,
    /// The stock.
    pub stock: i64,
    /// Units sold by then.
    pub sold: i64,
}

/// The last read of a lane that was answered by then. Whoever tries again reads again, and writes
/// what follows from the last time.
#[must_use]
pub fn last_read(lane: &[TracedEvent<'_>], by_ns: u64) -> Option<Read> {
    let known = lane.iter().rev().filter(|traced| traced.event.at_ns <= by_ns);
    known.into_iter().find_map(|traced| match traced.event.kind {
        EventKind::Read { stock, sold, .. } => {
            Some(Read { at_ns: traced.event.at_ns, stock, sold })
        }
        _ => None,
    })
}

impl Event {
    /// When it may have begun to have an effect.
    fn began_ns(&self) -> u64 {
        match self.kind {
            EventKind::Granted { since_ns, .. }
            | EventKind::Read { since_ns, .. }
            | EventKind::Written { since_ns, .. }
            | EventKind::Released { since_ns, .. } => since_ns.min(self.at_ns),
            EventKind::Invoke { .. }
            | EventKind::Ok
            | EventKind::Fail { .. }
            | EventKind::Unknown { .. } => self.at_ns,
        }
    }
}
