//! Postgres, REPEATABLE READ: the statement that takes an advisory lock has a snapshot before it
//! waits. The lock comes after what the first buyer has done, and the snapshot before it
//! (PostgreSQL documentation, "Transaction Isolation").

use super::{
    judge::{Ends, Trial},
    ledger::{Awaited, Buyer, Ledger, Writes},
};
use crate::{report::Part, scenario::error::ScenarioError};
use locklab_locks::error::BackendError;

const REPEATABLE_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";
const READ_COMMITTED: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// When the lock is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locks {
    /// In the transaction, by its first statement.
    Within,
    /// By the session, before the transaction begins.
    Before,
}

/// What is shown.
struct Arm {
    claim: &'static str,
    begin: &'static str,
    locks: Locks,
    writes: Writes,
    ends: Ends,
}

const ARMS: [Arm; 4] = [
    Arm {
        claim: "REPEATABLE READ, the lock is the first thing it asks for: the unit is sold twice",
        begin: REPEATABLE_READ,
        locks: Locks::Within,
        writes: Writes::Sale,
        ends: Ends::Misread,
    },
    Arm {
        claim: "control, the lock is taken before the transaction begins: sold once",
        begin: REPEATABLE_READ,
        locks: Locks::Before,
        writes: Writes::Sale,
        ends: Ends::TurnedAway,
    },
    Arm {
        claim: "control, READ COMMITTED, where each statement has a snapshot of its own: sold once",
        begin: READ_COMMITTED,
        locks: Locks::Within,
        writes: Writes::Sale,
        ends: Ends::TurnedAway,
    },
    Arm {
        claim: "control, it also changes a row that the first has changed: Postgres refuses",
        begin: REPEATABLE_READ,
        locks: Locks::Within,
        writes: Writes::StockToo,
        ends: Ends::Failed,
    },
];

/// Two buyers of one unit, one of whom waits for the lock of the other.
pub async fn show(ledger: &Ledger, part: &mut Part) -> Result<(), ScenarioError> {
    for (number, arm) in ARMS.iter().enumerate() {
        race(ledger, part, &format!("unit-{number}"), arm).await?;
    }
    Ok(())
}

async fn race(
    ledger: &Ledger,
    part: &mut Part,
    item: &str,
    arm: &Arm,
) -> Result<(), ScenarioError> {
    ledger.put_on_sale(item, 1, 1).await?;
    // Nobody else's, for it belongs to the whole database.
    let key = i64::from(rand::random::<u32>());
    let left = format!(
        "SELECT (SELECT units FROM {} WHERE item = ?) - (SELECT count(*) FROM {} WHERE item = ?)",
        ledger.stock, ledger.sales
    );
    let values = [item.into(), item.into()];
    let (mut first, mut second) = (ledger.enter("first").await?, ledger.enter("second").await?);
    arm.enter(&mut first, key).await?;
    let seen = first.look(item, &left, &values).await?;
    let second_id = second.id;
    let sells = async {
        ledger.until_waits(second_id, Awaited::Advisory).await?;
        let sold = first.decide(item, seen, arm.writes).await;
        arm.leave(&mut first, key).await?;
        Ok::<_, ScenarioError>(sold)
    };
    let waits = async { Ok(arm.enter(&mut second, key).await?) };
    let (sold, ()) = tokio::try_join!(sells, waits)?;
    let look = second.look(item, &left, &values).await?;
    let bought = second.decide(item, look, arm.writes).await;
    let trial = Trial {
        claim: arm.claim,
        ends: arm.ends,
        story: format!("session {second_id} waited for the lock of session {}", first.id),
        purchases: vec![sold, bought],
        tally: ledger.tally(item).await?,
    };
    trial.judge(part, &ledger.steps());
    Ok(())
}

impl Arm {
    async fn enter(&self, buyer: &mut Buyer<'_>, key: i64) -> Result<(), BackendError> {
        match self.locks {
            Locks::Within => {
                buyer.begin(self.begin).await?;
                buyer.send("SELECT pg_advisory_xact_lock(?)", &[key.into()]).await?;
            }
            Locks::Before => {
                buyer.send("SELECT pg_advisory_lock(?)", &[key.into()]).await?;
                buyer.begin(self.begin).await?;
            }
        }
        Ok(())
    }

    async fn leave(&self, buyer: &mut Buyer<'_>, key: i64) -> Result<(), BackendError> {
        if self.locks == Locks::Before {
            buyer.send("SELECT pg_advisory_unlock(?)", &[key.into()]).await?;
        }
        Ok(())
    }
}
