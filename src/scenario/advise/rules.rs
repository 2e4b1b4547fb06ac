//! Which strategies fit a case, and why: rules only, nothing is measured here.

use serde::Serialize;
use tokio::time::Duration;

use crate::{
    cli::{Change, DoubleSale, Spread},
    strategy::{
        Expected, Family, Strategy, StrategyId,
        server::{Backend, Store},
    },
};
use locklab_locks::step::Step;

/// What somebody has to decide about.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// How long the work takes.
    pub work: Duration,
    /// The longest that it may take.
    pub worst: Duration,
    /// How long a lease lasts.
    pub ttl: Duration,
    /// How many want the same thing at once.
    pub buyers: u32,
    /// What it costs when two are at it.
    pub double_sale: DoubleSale,
    /// In how many processes they come.
    pub processes: Spread,
    /// What is changed.
    pub change: Change,
    /// What they run; empty if it may be anything.
    pub servers: Vec<Backend>,
}

/// What the rules say of a strategy in a case, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It will do, and is no lock that somebody else has to grant.
    Instead(String),
    /// It will do, and is a lock.
    Lock(String),
    /// It will not do.
    Out(String),
}

impl Case {
    /// Whether anybody can refuse a late write.
    fn is_checked(&self) -> bool {
        self.change != Change::Outside
    }

    /// Whether a lease that is not renewed may end during the work.
    fn outlasts(&self) -> bool {
        self.worst >= self.ttl
    }

    /// The case in words.
    pub fn told(&self) -> String {
        let Self { work, worst, ttl, buyers, double_sale, processes, change, .. } = self;
        let (change, processes) = (<&str>::from(change), <&str>::from(processes));
        format!(
            "--change {change} --double-sale {} --processes {processes} --buyers {buyers} --work {work:?} \
             --worst {worst:?} --ttl {ttl:?}",
            <&str>::from(double_sale)
        )
    }

    /// Whether nothing will do but a lock, or it is not known what else would.
    pub fn needs_lock(&self) -> bool {
        self.change == Change::Outside && self.processes == Spread::Many
    }

    /// What there is to be said before any lock is thought of.
    pub fn first(&self) -> Vec<&'static str> {
        let mut first = Vec::new();
        match self.change {
            Change::Counter => first.push(
                "A number in a store needs no lock: one step at the store checks and changes it, \
                 be it a script (`atomic`) or UPDATE … SET n = n − q WHERE n ≥ q (`…-atomic`).",
            ),
            Change::Row => first.push(
                "A row needs no lock from elsewhere: UPDATE … WHERE (`…-atomic`), a version in \
                 that WHERE (`…-optimistic`), or SELECT … FOR UPDATE in the same transaction \
                 (`…-row`); and a CHECK behind all of them.",
            ),
            Change::Outside => first.push(
                "What does no harm when it comes twice needs no lock: give each an idempotency key that \
                 the other side knows again.",
            ),
        }
        if self.processes == Spread::One {
            first.push(
                "One process needs no lock service: a mutex of its own will do (`mutex`), for as long \
                 as there is certainly no second process, not even while a new version starts.",
            );
        }
        if self.change != Change::Outside {
            first.push(
                "A request that is sent again is another matter, with or without a lock: only an \
                 idempotency key keeps it from being done twice.",
            );
        }
        first
    }

    /// Whether what is asked for can be had from no lock, in words.
    pub fn impossible(&self) -> Option<&'static str> {
        let is_harm = self.double_sale != DoubleSale::Annoying;
        (is_harm && !self.is_checked() && self.processes == Spread::Many).then_some(
            "No lock can guarantee it: a holder that stands still does not know that its lease has \
             ended, or its session, and what is outside cannot refuse what it then does. Put something \
             before it that can refuse: a row that is written first, under a constraint, and tells what \
             is to be done outside, under a key that the other side knows again.",
        )
    }

    /// What the rules say of all strategies: those that will do come first, and before them what is
    /// no lock.
    pub fn rulings(&self) -> Vec<(StrategyId, Ruling)> {
        let mut rulings: Vec<_> = StrategyId::all().map(|id| (id, self.ruling(id.row()))).collect();
        rulings.sort_by_key(|(id, ruling)| match ruling {
            Ruling::Instead(_) => (0, !id.row().steps.contains(&Step::Take)),
            // Its row is the one that is changed.
            Ruling::Lock(_) => (1, self.change != Change::Row || !id.row().locks_rows()),
            Ruling::Out(_) => (2, false),
        });
        rulings
    }

    fn ruling(&self, row: &Strategy) -> Ruling {
        if matches!(row.expected, Expected::Oversells | Expected::OversellsOrSticks) {
            return Ruling::Out(format!("it {}", row.expected));
        }
        if row.expected == Expected::ExactOnOneServer {
            return match self.processes {
                Spread::One => {
                    Ruling::Instead("nobody outside of the process has to be asked".into())
                }
                Spread::Many => Ruling::Out("other processes do not know of it".to_owned()),
            };
        }
        if let Some(missing) = self.missing(row) {
            return Ruling::Out(format!("you do not run {missing}"));
        }
        match row.family {
            Family::LockFree => self.without_lease(row),
            Family::Lock => self.with_lease(row),
        }
    }

    /// What a strategy needs and they do not run.
    fn missing(&self, row: &Strategy) -> Option<&'static str> {
        let mut needs = vec![row.backend];
        // The others guard whatever one wants.
        if row.family == Family::LockFree || row.expected == Expected::ExactInLayers {
            needs.push(row.store.into());
        }
        let is_missing = |it: &Backend| !self.servers.is_empty() && !self.servers.contains(it);
        needs.into_iter().find(is_missing).map(<&str>::from)
    }

    fn without_lease(&self, row: &Strategy) -> Ruling {
        let store = row.store.name();
        match self.change {
            Change::Outside => {
                return Ruling::Out(format!("it guards what is in {store}, and nothing outside"));
            }
            Change::Row if row.store == Store::Redis => {
                return Ruling::Out(
                    "what it guards is in redis, and the row is in a database".into(),
                );
            }
            Change::Row | Change::Counter => {}
        }
        let crowd = self.buyers > 1;
        Ruling::Instead(if row.steps.contains(&Step::Take) {
            "the store checks and changes it in one step, so nobody has to wait for anybody's work; the \
             work comes after it"
                .to_owned()
        } else if row.locks_rows() {
            let waits = "; whoever waits keeps a connection of the pool";
            let waits = if crowd { waits } else { "" };
            format!("the database locks the row itself, in the transaction that changes it{waits}")
        } else if row.steps.contains(&Step::Enqueue) {
            "one consumer serves all, one after the other, and the store refuses one that was deposed"
                .to_owned()
        } else {
            let waste =
                format!("; of {} at once all but one work in vain, again and again", self.buyers);
            let waste = if crowd { waste.as_str() } else { "" };
            format!("whoever was overtaken is told so by the store, and begins anew{waste}")
        })
    }

    fn with_lease(&self, row: &Strategy) -> Ruling {
        let (ttl, worst) = (self.ttl, self.worst);
        match row.expected {
            Expected::ExactInLayers if self.is_checked() => {
                return Ruling::Lock(
                    "when its lock fails, the row lock and the CHECK behind it hold".into(),
                );
            }
            Expected::ExactInLayers => {
                return Ruling::Out(
                    "its layers are in a database: outside, it is `safe`".to_owned(),
                );
            }
            Expected::ExactAlways if self.is_checked() => {
                return Ruling::Lock(
                    "the store refuses who is late, if each write carries the fencing token and the \
                     store compares it"
                        .to_owned(),
                );
            }
            _ => {}
        }
        // From here on, nobody refuses who is late: it is about when somebody can be.
        let is_fixed = row.expected == Expected::ExactWithinTtl
            || row.expected == Expected::ExactAlways && row.backend == Backend::Redis;
        if is_fixed && self.outlasts() {
            return Ruling::Out(format!(
                "its lease lasts for {ttl:?}, and the work may take {worst:?}: then two are at it"
            ));
        }
        let late = match row.expected {
            Expected::ExactWhileConnected => "when its connection dies",
            _ if is_fixed => "when it stands still for longer than its lease",
            _ => "when its process stands still for longer than its lease or session",
        };
        match (self.double_sale, self.is_checked()) {
            (DoubleSale::Annoying, _) => Ruling::Lock(format!(
                "two are at it only after a failure: {late}, which you can bear"
            )),
            (_, true) => Ruling::Out(format!(
                "nobody refuses a holder that was overtaken, {late}: it needs fencing or layers"
            )),
            (DoubleSale::Costly, false) if !is_fixed => Ruling::Lock(format!(
                "no guarantee, but as near as a lock comes: two are at it {late}, so find and repair that"
            )),
            (DoubleSale::Costly, false) => Ruling::Out(
                "a lease that is renewed costs as much, and does not end by itself".into(),
            ),
            (DoubleSale::Forbidden, false) => {
                Ruling::Out(format!("two are at it {late}, and nobody refuses the late one"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
