//! The leases of a history: when each stood for certain, and how long its holder believed in it.

use crate::history::{
    Event, EventKind,
    trace::{Trace, TracedEvent},
};

/// A lease as one order had it.
#[derive(Debug, Clone, Copy)]
pub struct HeldLease<'a> {
    /// The clock of its times.
    pub clock: &'a str,
    /// The server that recorded it.
    pub server: &'a str,
    /// The strategy.
    pub lock: &'a str,
    /// The order.
    pub order_id: &'a str,
    /// The first digits of the owner id.
    pub token: &'a str,
    /// The number that orders it.
    pub fencing_token: Option<u64>,
    /// When it was asked for.
    pub since_ns: u64,
    /// When it was known to have been granted.
    pub at_ns: u64,
    /// When it ends at the latest, renewals included as far as they were recorded.
    pub until_ns: Option<u64>,
    /// Whether the lock promised that nobody else holds it.
    pub exclusive: bool,
    /// How it ended, if that was recorded.
    pub released: Option<Released<'a>>,
    /// When the next lease of the same order was asked for: this one is not used any more.
    next_ns: Option<u64>,
    /// When its holder last read or wrote under it.
    used_ns: u64,
    /// When its holder last did anything.
    last_ns: u64,
}

/// The end of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released<'a> {
    /// When the release was sent.
    pub since_ns: u64,
    /// When it was answered.
    pub at_ns: u64,
    /// What the lock service said.
    pub how: &'a str,
}

impl<'a> Trace<'a> {
    /// Its leases.
    pub fn leases(&self) -> impl Iterator<Item = HeldLease<'a>> {
        self.lanes().flat_map(|lane| {
            lane.iter().enumerate().filter_map(|(at, traced)| self.lease(traced, &lane[at + 1..]))
        })
    }

    /// The lease that an event granted, if it granted one; `rest` is what its server recorded
    /// later.
    fn lease(&self, traced: &TracedEvent<'a>, rest: &[TracedEvent<'a>]) -> Option<HeldLease<'a>> {
        let EventKind::Granted { since_ns, token, fencing_token, until_ns, exclusive } =
            &traced.event.kind
        else {
            return None;
        };
        let mut lease = HeldLease {
            clock: traced.clock,
            server: traced.server,
            lock: traced.lock,
            order_id: self.order_id,
            token,
            fencing_token: *fencing_token,
            since_ns: *since_ns,
            at_ns: traced.event.at_ns,
            until_ns: *until_ns,
            exclusive: *exclusive,
            released: None,
            next_ns: None,
            used_ns: traced.event.at_ns,
            last_ns: traced.event.at_ns,
        };
        for TracedEvent { event: Event { at_ns, kind }, .. } in rest {
            match kind {
                EventKind::Granted { since_ns, .. } => {
                    lease.next_ns = Some(*since_ns);
                    break;
                }
                EventKind::Released { since_ns, until_ns, how } if lease.released.is_none() => {
                    let (since_ns, at_ns) = (*since_ns, *at_ns);
                    lease.released = Some(Released { since_ns, at_ns, how });
                    lease.until_ns = until_ns.or(lease.until_ns);
                }
                EventKind::Read { .. } | EventKind::Written { .. } => lease.used_ns = *at_ns,
                _ => {}
            }
            lease.last_ns = *at_ns;
        }
        Some(lease)
    }
}

impl HeldLease<'_> {
    /// Until when the lock service's promise certainly stood. Of a lease that does not end by
    /// itself and whose release was not recorded, only its use shows that it still stood: a process
    /// that dies may lose it before it records how its order ended.
    #[must_use]
    pub fn stood_until(&self) -> u64 {
        let released = self.released.map(|released| released.since_ns);
        let ends = [released, self.until_ns, self.next_ns];
        ends.into_iter().flatten().min().unwrap_or(self.used_ns)
    }

    /// Until when its holder believed to be alone, whatever the lock service thought: until it
    /// sent the release, or else until the last that is known of it.
    #[must_use]
    pub fn believed_until(&self) -> u64 {
        let released = self.released.map(|released| released.since_ns);
        released.into_iter().chain(self.next_ns).min().unwrap_or(self.last_ns)
    }

    /// Whether the lock service lost it: its holder found it gone before it could have ended by
    /// itself.
    #[must_use]
    pub fn was_lost(&self) -> bool {
        self.released.is_some_and(|released| {
            let gone = matches!(released.how, "expired" | "stolen");
            gone && self.until_ns.is_none_or(|until| released.at_ns < until)
        })
    }
}
