//! MySQL, REPEATABLE READ: a transaction that has read something, and then waits for a row, is
//! given the row as it is by then. But whatever it reads without a lock is as it was before the
//! wait (InnoDB documentation, "Consistent Nonlocking Reads"; it oversold in vendure, pull request
//! 4930).

use super::{
    judge::{Ends, Trial},
    ledger::{Awaited, Ledger, Writes},
    purchase::{Did, Look},
};
use crate::{report::Part, scenario::error::ScenarioError};
use locklab_locks::error::BackendError;

/// Which of the two numbers the buyer who has waited acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acts {
    /// That of the row that FOR UPDATE gave.
    OnRow,
    /// That of a plain SELECT after it.
    OnRead,
}

/// MariaDB from 10.6.18 can refuse FOR UPDATE to whoever would be given a newer row than the
/// snapshot has, and from 11.6 does so unless told otherwise. MySQL has no such setting.
const REFUSES: &str = "innodb_snapshot_isolation";

/// Two buyers of one unit, one of whom waits for the other.
pub async fn show(ledger: &Ledger, part: &mut Part) -> Result<(), ScenarioError> {
    let sql = "SELECT COUNT(*) FROM information_schema.system_variables WHERE variable_name = ?";
    // MySQL has no such table either.
    let can_refuse = ledger.ask(sql, &[REFUSES.into()]).await.is_ok_and(|count| count == Some(1));
    let off = if can_refuse { "SET SESSION innodb_snapshot_isolation = OFF; " } else { "" };
    let repeatable =
        format!("{off}SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION");
    let committed =
        format!("{off}SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION");
    let mut arms = vec![
        (
            "REPEATABLE READ, and acts on a plain SELECT after FOR UPDATE: the unit is sold twice",
            repeatable.clone(),
            Acts::OnRead,
            Ends::Misread,
        ),
        (
            "control, acts on the row that FOR UPDATE gave: sold once",
            repeatable.clone(),
            Acts::OnRow,
            Ends::TurnedAway,
        ),
        (
            "control, READ COMMITTED, and acts on a plain SELECT: sold once",
            committed,
            Acts::OnRead,
            Ends::TurnedAway,
        ),
    ];
    if can_refuse {
        arms.push((
            "control, innodb_snapshot_isolation of MariaDB: FOR UPDATE is refused",
            repeatable.replace("OFF", "ON"),
            Acts::OnRead,
            Ends::Failed,
        ));
    }
    for (number, (claim, begin, acts, ends)) in arms.into_iter().enumerate() {
        race(ledger, part, &format!("unit-{number}"), (claim, &begin, acts, ends)).await?;
    }
    Ok(())
}

async fn race(
    ledger: &Ledger,
    part: &mut Part,
    item: &str,
    (claim, begin, acts, ends): (&str, &str, Acts, Ends),
) -> Result<(), ScenarioError> {
    ledger.put_on_sale(item, 1, 1).await?;
    let plain = format!("SELECT stock FROM {} WHERE item = ?", ledger.stock);
    let locking = format!("{plain} FOR UPDATE");
    let values = [item.into()];
    let (mut first, mut second) = (ledger.enter("first").await?, ledger.enter("second").await?);
    first.begin(begin).await?;
    let seen = first.look(item, &locking, &values).await?;
    second.begin(begin).await?;
    // It shows a page, and means to buy only later. From here on, it has a snapshot.
    let shown = second.look(item, &plain, &values).await?;
    let second_id = second.id;
    let sells = async {
        ledger.until_waits(second_id, Awaited::Row).await?;
        Ok::<_, ScenarioError>(first.decide(item, seen, Writes::StockToo).await)
    };
    let waits = async {
        match second.look(item, &locking, &values).await {
            Ok(row) => Ok(Ok(row)),
            // The row is not as it was in the snapshot.
            Err(BackendError::Undone { cause, .. }) => Ok(Err(cause.to_string())),
            Err(error) => Err(error.into()),
        }
    };
    let (sold, row) = tokio::try_join!(sells, waits)?;
    let gave = row.as_ref().map_or("nothing".to_owned(), |row| row.read.to_string());
    let bought = match row {
        Ok(row) => {
            let look: Look = match acts {
                Acts::OnRow => row,
                Acts::OnRead => second.look(item, &plain, &values).await?,
            };
            second.decide(item, look, Writes::StockToo).await
        }
        Err(refusal) => second.leave(shown, Did::Failed(refusal)).await,
    };
    let trial = Trial {
        claim,
        ends,
        story: format!("FOR UPDATE waited, and gave {gave}"),
        purchases: vec![sold, bought],
        tally: ledger.tally(item).await?,
    };
    trial.judge(part, &ledger.steps());
    Ok(())
}
