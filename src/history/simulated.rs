//! A shop simulated, with a lock that is correct: what its servers would have recorded, and what
//! the store would say. Whatever a judge finds in it is the judge's mistake.
//!
//! Buyers enter one after the other, on any server, and wait before that all at once. Replies are
//! lost of writes that took effect and of writes that did not; servers die; a holder sleeps past
//! its lease and is refused.

use proptest::{collection::vec, prelude::*};

use crate::{
    history::{Event, EventKind},
    outcome::Outcome,
};
use locklab_locks::step::Step;

/// How long a lease lasts: longer than any buyer takes, unless it sleeps.
const TTL_NS: u64 = 1_000;
/// How a buyer buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Under a lease that ends by itself.
    Safe,
    /// Under one that carries a fencing token.
    Fenced,
    /// Under one that never ends by itself.
    Mutex,
    /// Through a consumer on another server.
    Queue,
    /// Reads again when others were faster.
    Optimistic,
    /// In one step.
    Atomic,
}

/// What becomes of a buyer that gets as far as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing goes wrong.
    Served,
    /// Gives up waiting.
    Busy,
    /// The reply to its acquire is lost.
    AcquireLost,
    /// The reply to its write is lost; whether it took effect.
    WriteLost(bool),
    /// Its server dies while it writes; whether that took effect.
    Died(bool),
    /// The reply to its release is lost.
    ReleaseLost,
    /// Sleeps past its lease before it writes, and is refused.
    Slept,
}

/// A buyer to be simulated.
#[derive(Debug, Clone)]
pub struct Buyer {
    way: Way,
    fate: Fate,
    server: usize,
    quantity: u32,
    waited_ns: u64,
    pace_ns: u64,
    hands_over: bool,
}

/// What one server would have recorded of an order. Times are those of the simulation.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Which server.
    pub server: usize,
    /// The strategy.
    pub lock: &'static str,
    /// What happened.
    pub events: Vec<Event>,
}

/// An order that was simulated.
#[derive(Debug, Clone)]
pub struct SimulatedOrder {
    /// Its name.
    pub order_id: String,
    /// Who recorded it.
    pub lanes: Vec<Lane>,
}

/// What a store says of its product. Histories are below the stock, so this is not its tally.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Units that were there in the beginning.
    pub initial: i64,
    /// Units left, as far as the stock knows.
    pub stock: i64,
    /// Units sold, by the ledger.
    pub sold: i64,
}

/// What happened in a simulation.
#[derive(Debug, Clone)]
pub struct SimulatedShop {
    /// What the store says at the end.
    pub counts: Counts,
    /// Every order.
    pub orders: Vec<SimulatedOrder>,
    /// How many buyers were not told how it ended.
    pub unknown: u64,
    /// Units that the ledger has and of which nobody was told.
    pub untold: i64,
    /// Whether anybody slept past a lease.
    pub slept: bool,
    now_ns: u64,
    fencing_token: u64,
    /// When the last sale was, and what the store said just before.
    before: (u64, Counts),
    /// The lease that was handed over: its server, way, and token.
    handed_over: Option<(usize, Way, String)>,
}

/// Buyers for a simulation.
pub fn buyers() -> impl Strategy<Value = Vec<Buyer>> {
    vec(buyer(), 0..24)
}

fn buyer() -> impl Strategy<Value = Buyer> {
    let way = prop::sample::select(vec![
        Way::Safe,
        Way::Fenced,
        Way::Mutex,
        Way::Queue,
        Way::Optimistic,
        Way::Atomic,
    ]);
    let fate = prop_oneof![
        6 => Just(Fate::Served),
        1 => Just(Fate::Busy),
        1 => Just(Fate::AcquireLost),
        2 => any::<bool>().prop_map(Fate::WriteLost),
        2 => any::<bool>().prop_map(Fate::Died),
        1 => Just(Fate::ReleaseLost),
        1 => Just(Fate::Slept),
    ];
    let numbers = (0..4_usize, 1..4_u32, 0..400_u64, 1..20_u64, any::<bool>());
    (way, fate, numbers).prop_map(|(way, fate, numbers)| {
        let (server, quantity, waited_ns, pace_ns, hands_over) = numbers;
        Buyer { way, fate, server, quantity, waited_ns, pace_ns, hands_over }
    })
}

/// A shop that has served some buyers.
pub fn shops() -> impl Strategy<Value = SimulatedShop> {
    (0..60_i64, buyers()).prop_map(|(initial, buyers)| SimulatedShop::simulate(initial, &buyers))
}

impl SimulatedShop {
    /// Serves buyers, one after the other.
    pub fn simulate(initial: i64, buyers: &[Buyer]) -> Self {
        let counts = Counts { initial, stock: initial, sold: 0 };
        let mut shop = Self {
            counts,
            before: (0, counts),
            orders: Vec::new(),
            unknown: 0,
            untold: 0,
            slept: false,
            now_ns: 1_000,
            fencing_token: 0,
            handed_over: None,
        };
        for (number, buyer) in buyers.iter().enumerate() {
            shop.serve(number, buyer);
        }
        shop
    }

    fn serve(&mut self, number: usize, buyer: &Buyer) {
        let Buyer { way, fate, server, quantity, .. } = *buyer;
        let (mut client, mut seller) = (Vec::new(), Vec::new());
        let invoked_ns = self.now_ns - buyer.waited_ns.min(self.now_ns);
        client.push(event(invoked_ns, EventKind::Invoke { quantity }));
        let end = match (way, fate) {
            (Way::Atomic, _) => self.take(buyer, &mut seller),
            (Way::Optimistic, _) => self.exec(buyer, invoked_ns, &mut seller),
            (_, Fate::Busy) => Some(EventKind::Fail { outcome: Outcome::Busy }),
            (_, Fate::AcquireLost) => {
                // It may have been the holder, until its lease ended.
                self.now_ns += TTL_NS;
                Some(EventKind::Unknown { step: Step::Acquire })
            }
            _ => self.hold(number, buyer, &mut seller),
        };
        self.unknown += u64::from(matches!(end, None | Some(EventKind::Unknown { .. })));
        let last_ns = seller.iter().map(|event| event.at_ns).max().unwrap_or(invoked_ns);
        client.extend(end.map(|kind| event(self.now_ns.max(last_ns) + 1, kind)));
        self.now_ns += 2;
        let lock = match way {
            Way::Safe => "safe",
            Way::Fenced => "fenced",
            Way::Mutex => "mutex",
            Way::Queue => "queue",
            Way::Optimistic => "optimistic",
            Way::Atomic => "atomic",
        };
        let lane = |server, events| Lane { server, lock, events };
        let mut lanes = vec![lane(server, client)];
        if way == Way::Queue {
            lanes.push(lane((server + 1) % 4, seller));
        } else {
            // The end of an order may be recorded before or after the release of its lease.
            lanes[0].events.extend(seller);
        }
        for lane in &mut lanes {
            lane.events.sort();
        }
        self.orders.push(SimulatedOrder { order_id: format!("order-{number:04}"), lanes });
    }

    /// The next moment at which something happens.
    fn tick(&mut self, buyer: &Buyer) -> u64 {
        self.now_ns += buyer.pace_ns;
        self.now_ns
    }

    /// Sells, if the store is to.
    fn sell(&mut self, quantity: u32) {
        self.before = (self.now_ns, self.counts);
        self.counts.sold += i64::from(quantity);
        self.counts.stock -= i64::from(quantity);
    }

    /// Buys under a lease: what the seller's server records, and how it ends.
    fn hold(&mut self, number: usize, buyer: &Buyer, seen: &mut Vec<Event>) -> Option<EventKind> {
        let Buyer { way, fate, server, .. } = *buyer;
        let handed = self.handed_over.take().filter(|it| (it.0, it.1) == (server, way));
        self.fencing_token += u64::from(handed.is_none());
        let token = handed.map_or_else(|| format!("t{number}"), |(.., token)| token);
        let (since_ns, at_ns) = (self.tick(buyer), self.tick(buyer));
        let until_ns = (way != Way::Mutex).then_some(since_ns + TTL_NS);
        let fencing_token = (way == Way::Fenced).then_some(self.fencing_token);
        let (exclusive, held) = (true, token.clone());
        seen.push(event(
            at_ns,
            EventKind::Granted { since_ns, token, fencing_token, until_ns, exclusive },
        ));
        let enough = self.read(buyer, seen);
        if fate == Fate::Slept && way == Way::Fenced {
            self.slept = true;
            let (since_ns, how) = (at_ns + 5 * TTL_NS, "expired".to_owned());
            seen.push(event(since_ns + 1, EventKind::Released { since_ns, until_ns, how }));
            self.now_ns = at_ns + TTL_NS;
            return Some(EventKind::Fail { outcome: Outcome::Fenced });
        }
        let end = if enough {
            self.write(buyer, fencing_token, seen)
        } else {
            Some(EventKind::Fail { outcome: Outcome::SoldOut })
        };
        if end.is_none() {
            // Nobody releases it.
            self.now_ns = at_ns + TTL_NS;
            return end;
        }
        let hands_over = buyer.hands_over && end == Some(EventKind::Ok);
        let how = match (fate, hands_over) {
            (Fate::ReleaseLost, _) => "unknown",
            (_, true) => {
                self.handed_over = Some((server, way, held));
                "handed_over"
            }
            _ => "released",
        };
        let (since_ns, at_ns) = (self.tick(buyer), self.tick(buyer));
        let how = how.to_owned();
        seen.push(event(at_ns, EventKind::Released { since_ns, until_ns, how }));
        end
    }

    /// Reads; says whether there is enough.
    fn read(&mut self, buyer: &Buyer, seen: &mut Vec<Event>) -> bool {
        let (since_ns, at_ns) = (self.tick(buyer), self.tick(buyer));
        let Counts { stock, sold, .. } = self.counts;
        seen.push(event(at_ns, EventKind::Read { since_ns, stock, sold }));
        stock >= i64::from(buyer.quantity)
    }

    /// Sells to a buyer who may; `None` if nobody can tell it of it.
    fn write(
        &mut self,
        buyer: &Buyer,
        fencing_token: Option<u64>,
        seen: &mut Vec<Event>,
    ) -> Option<EventKind> {
        let Buyer { way, fate, quantity, .. } = *buyer;
        if !matches!(fate, Fate::WriteLost(false) | Fate::Died(false)) {
            self.sell(quantity);
        }
        let (since_ns, at_ns) = (self.tick(buyer), self.tick(buyer));
        let Counts { stock, sold, .. } = self.counts;
        match fate {
            Fate::WriteLost(took_effect) | Fate::Died(took_effect) => {
                self.untold += if took_effect { i64::from(quantity) } else { 0 };
                let step = if way == Way::Atomic { Step::Take } else { Step::Write };
                matches!(fate, Fate::WriteLost(_)).then_some(EventKind::Unknown { step })
            }
            _ => {
                let written = EventKind::Written { since_ns, stock, quantity, sold, fencing_token };
                seen.push(event(at_ns, written));
                Some(EventKind::Ok)
            }
        }
    }

    /// Buys in one step.
    fn take(&mut self, buyer: &Buyer, seen: &mut Vec<Event>) -> Option<EventKind> {
        if self.counts.stock < i64::from(buyer.quantity) {
            self.tick(buyer);
            return Some(EventKind::Fail { outcome: Outcome::SoldOut });
        }
        self.write(buyer, None, seen)
    }

    /// Reads, loses against somebody faster if there was one, reads again and sells.
    fn exec(&mut self, buyer: &Buyer, invoked_ns: u64, seen: &mut Vec<Event>) -> Option<EventKind> {
        let (sold_ns, Counts { stock, sold, .. }) = self.before;
        if invoked_ns < sold_ns {
            let (since_ns, at_ns) = (invoked_ns, self.tick(buyer));
            seen.push(event(at_ns, EventKind::Read { since_ns, stock, sold }));
        }
        if !self.read(buyer, seen) {
            return Some(EventKind::Fail { outcome: Outcome::SoldOut });
        }
        self.write(buyer, None, seen)
    }

    /// When it is, at the end.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }
}

/// Something that happened.
pub fn event(at_ns: u64, kind: EventKind) -> Event {
    Event { at_ns, kind }
}
