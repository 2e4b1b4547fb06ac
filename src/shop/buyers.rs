//! Buyers in line, and what they hand over to each other.

use tokio::time::{Duration, Instant};

use crate::{product::Product, stock::ledger::Generation, strategy::StrategyId};
use locklab_locks::{
    lease::{Lease, renewal::HOLD_TTLS_MAX},
    wait::line::{Lines, Turn},
};

/// How often one lease is handed over: those who wait at other servers want their turn as well.
pub const HAND_OVERS_MAX: u32 = 16;

/// Who waits in line for a product, with `retry=fifo`.
pub type BuyerLines = Lines<(StrategyId, Product), Wants, Leased>;
/// The turn of one of them.
pub type BuyerTurn = Turn<(StrategyId, Product), Wants, Leased>;

/// What a buyer in line wants of a lease.
pub struct Wants {
    /// How long it wants it to last.
    pub ttl: Duration,
    /// How long its work takes.
    pub delay: Duration,
    /// Whether it must have one of its own.
    pub needs_own: bool,
}

/// A lease that may be handed over.
pub struct Leased {
    /// The reset that the product was at before the lease was wanted.
    pub generation: Generation,
    /// The lease itself.
    pub lease: Lease,
    /// When it was granted.
    pub granted: Instant,
    /// How often it was handed over.
    pub hand_overs: u32,
}

/// No lines yet. A live lease is handed over while half of what the next one wants is left of it.
#[must_use]
pub fn lines() -> BuyerLines {
    Lines::new(|leased, wants| {
        let Leased { lease, granted, hand_overs, .. } = leased;
        // A lease that nobody renews has to last for the work as well; one that is renewed, has to be
        // far from the end of that.
        let work = lease.fixed_deadline().map_or(Duration::ZERO, |_| wants.delay);
        let enough = Instant::now() + work + wants.ttl / 2;
        let lasts = lease.deadline().is_none_or(|deadline| deadline >= enough);
        let is_young = granted.elapsed() + wants.delay < lease.ttl() * (HOLD_TTLS_MAX / 2);
        lasts
            && (is_young || lease.deadline().is_none())
            && !wants.needs_own
            && *hand_overs < HAND_OVERS_MAX
    })
}
