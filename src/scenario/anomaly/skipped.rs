//! SKIP LOCKED leaves out what others have locked. Whoever picks one row of many wants that;
//! whoever counts does not: what was sold and is being packed is not counted, and sold once more
//! (The-Leetcode-City 1654).

use super::{
    judge::{Ends, Trial},
    ledger::{Ledger, Writes},
    purchase::Look,
};
use crate::{report::Part, scenario::error::ScenarioError};

/// How many units there are.
const UNITS: i64 = 2;

/// Buyers who count, beside somebody who has a row locked; and buyers who pick.
pub async fn show(ledger: &Ledger, part: &mut Part) -> Result<(), ScenarioError> {
    let sales = &ledger.sales;
    count(
        ledger,
        part,
        "counted",
        &format!("SELECT 1 FROM {sales} WHERE item = ? FOR UPDATE SKIP LOCKED"),
        ("sold units are counted with SKIP LOCKED: one more is sold", Ends::Misread),
    )
    .await?;
    count(
        ledger,
        part,
        "counted-all",
        &format!("SELECT 1 FROM {sales} WHERE item = ?"),
        ("control, counted without it: nothing more is sold", Ends::TurnedAway),
    )
    .await?;
    pick(ledger, part).await
}

/// Everything is sold, and one of the sales is locked by who packs it. Then a buyer comes.
async fn count(
    ledger: &Ledger,
    part: &mut Part,
    item: &str,
    sales: &str,
    (claim, ends): (&str, Ends),
) -> Result<(), ScenarioError> {
    ledger.put_on_sale(item, 1, UNITS).await?;
    let mut past = ledger.enter("past").await?;
    let insert = format!("INSERT INTO {} (item, buyer) VALUES (?, ?)", ledger.sales);
    for buyer in ["one", "another"] {
        past.send(&insert, &[item.into(), buyer.into()]).await?;
    }
    let mut packer = ledger.enter("packer").await?;
    packer.begin("BEGIN").await?;
    let lock = format!("SELECT 1 FROM {} WHERE item = ? AND buyer = ? FOR UPDATE", ledger.sales);
    packer.send(&lock, &[item.into(), "one".into()]).await?;
    let mut buyer = ledger.enter("buyer").await?;
    buyer.begin("BEGIN").await?;
    // Buyers take turns by this, so nothing but the count can be wrong.
    let turn = format!("SELECT units FROM {} WHERE item = ? FOR UPDATE", ledger.stock);
    let units = buyer.number(&turn, &[item.into()]).await?.unwrap_or_default();
    let left = format!("SELECT CAST(? AS BIGINT) - count(*) FROM ({sales}) AS sold");
    let look = buyer.look(item, &left, &[units.into(), item.into()]).await?;
    let bought = buyer.decide(item, look, Writes::Sale).await;
    packer.run("COMMIT").await?;
    let trial = Trial {
        claim,
        ends,
        story: format!("{UNITS} are sold, one of them locked by session {}", packer.id),
        purchases: vec![bought],
        tally: ledger.tally(item).await?,
    };
    trial.judge(part, &ledger.steps());
    Ok(())
}

/// Each unit is a row, and each buyer picks one that nobody has locked.
async fn pick(ledger: &Ledger, part: &mut Part) -> Result<(), ScenarioError> {
    let (item, stock) = ("picked", &ledger.stock);
    ledger.put_on_sale(item, UNITS, 1).await?;
    let pick = format!(
        "SELECT unit FROM {stock} WHERE item = ? AND stock > 0 ORDER BY unit \
         FOR UPDATE SKIP LOCKED LIMIT 1"
    );
    let take = format!("UPDATE {stock} SET stock = 0 WHERE item = ? AND unit = ?");
    let mut buyers = Vec::new();
    // All of them pick before anybody commits.
    for name in ["first", "second", "third"] {
        let mut buyer = ledger.enter(name).await?;
        buyer.begin("BEGIN").await?;
        let unit = buyer.number(&pick, &[item.into()]).await?;
        let free = ledger.tally(item).await?.expected();
        buyers.push((buyer, unit, Look { read: i64::from(unit.is_some()), free }));
    }
    let mut purchases = Vec::new();
    for (mut buyer, unit, look) in buyers {
        if let Some(unit) = unit {
            buyer.send(&take, &[item.into(), unit.into()]).await?;
        }
        purchases.push(buyer.decide(item, look, Writes::Sale).await);
    }
    let trial = Trial {
        claim: "control, each buyer picks one of many rows with SKIP LOCKED: each is sold once",
        ends: Ends::TurnedAway,
        story: "all pick before anybody commits".to_owned(),
        purchases,
        tally: ledger.tally(item).await?,
    };
    trial.judge(part, &ledger.steps());
    Ok(())
}
