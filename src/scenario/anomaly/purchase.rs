//! One purchase: what its buyer saw, and what it did then.

use serde::Serialize;

/// What became of one purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Purchase {
    /// Who wanted a unit.
    pub buyer: &'static str,
    /// In which session.
    pub session: i64,
    /// What it decided from.
    #[serde(flatten)]
    pub look: Look,
    /// What it did then.
    pub did: Did,
}

/// A look at what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Look {
    /// How many units a buyer was told of.
    pub read: i64,
    /// How many there were at that moment, by what was committed to the ledger.
    pub free: i64,
}

/// What a buyer did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    /// It bought a unit.
    Sold,
    /// It saw that there was none.
    TurnedAway,
    /// The database did not do what it was told.
    Failed(String),
}

impl Purchase {
    /// The purchase in words.
    pub fn seen(&self) -> String {
        let Self { buyer, session, look: Look { read, free }, did } = self;
        let did = match did {
            Did::Sold => "sold",
            Did::TurnedAway => "turned away",
            Did::Failed(why) => &format!("failed ({why})"),
        };
        format!("{buyer} (session {session}) read {read} (free: {free}): {did}")
    }
}
