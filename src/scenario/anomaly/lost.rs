//! GET_LOCK lives as long as its connection, and its holder is told nothing of its end. Whoever
//! works over another connection goes on, beside the next holder.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{
    databases::Databases,
    judge::{Ends, Trial},
    ledger::{Awaited, Ledger, Writes},
};
use crate::{
    lab::Lab,
    order::{Order, receipt::Receipt},
    outcome::Outcome,
    report::Part,
    scenario::{
        error::ScenarioError,
        ground::{self, AGAIN, PATIENCE, poll},
    },
    stock::ledger::Tally,
    strategy::{
        StrategyId,
        server::{Backend, Store},
    },
};
use locklab_locks::token::Token;

/// Over which connection the first buyer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Works {
    /// One of a pool, while another one holds the lock.
    Elsewhere,
    /// The one that holds the lock.
    There,
}

/// Who holds a named lock.
const HOLDER: &str = "SELECT CAST(IS_USED_LOCK(?) AS SIGNED)";
/// How long its work takes: until it is told.
const WORK: Duration = PATIENCE;
/// It asks every third of this.
const TTL: Duration = Duration::from_secs(3);

/// Two buyers of one unit; the connection by which the first holds the lock is killed during its
/// work.
pub async fn show(
    databases: &Databases,
    ledger: &Ledger,
    part: &mut Part,
) -> Result<(), ScenarioError> {
    let claim = "the holder works over another connection: both sell the unit";
    race(ledger, part, "elsewhere", (claim, Works::Elsewhere, Ends::Overlap)).await?;
    let claim =
        "control, it writes over the connection that held the lock: it fails, and sold once";
    race(ledger, part, "there", (claim, Works::There, Ends::Failed)).await?;
    let claim =
        "control, `mysql-lock`, which asks for its lock before it writes: lost, and sold once";
    match ask_first(databases, ledger).await {
        Ok(asked) => asked.judge(part, claim, &ledger.steps()),
        Err(error) => part.unknown(claim, error),
    }
    Ok(())
}

async fn race(
    ledger: &Ledger,
    part: &mut Part,
    item: &str,
    (claim, works, ends): (&str, Works, Ends),
) -> Result<(), ScenarioError> {
    ledger.put_on_sale(item, 1, 1).await?;
    // Nobody else's, for it belongs to the whole server.
    let lock = format!("{}_{item}", ledger.stock);
    let left = format!("SELECT stock FROM {} WHERE item = ?", ledger.stock);
    let mut holder = ledger.enter("first").await?;
    let (holder_id, mut other) = (holder.id, ledger.enter("first").await?);
    holder.number("SELECT CAST(GET_LOCK(?, 0) AS SIGNED)", &[lock.as_str().into()]).await?;
    let first = if works == Works::There { &mut holder } else { &mut other };
    let first_look = first.look(item, &left, &[item.into()]).await?;
    let mut second = ledger.enter("second").await?;
    let second_id = second.id;
    let strikes = async {
        ledger.until_waits(second_id, Awaited::Named).await?;
        let before = ledger.ask(HOLDER, &[lock.as_str().into()]).await?;
        ledger.enter("operator").await?.run(&format!("KILL {holder_id}")).await?;
        Ok::<_, ScenarioError>(before)
    };
    let waits = async {
        let values = [lock.as_str().into(), (PATIENCE.as_secs() as i64).into()];
        Ok(second.number("SELECT CAST(GET_LOCK(?, ?) AS SIGNED)", &values).await?)
    };
    let (before, granted) = tokio::try_join!(strikes, waits)?;
    let after = ledger.ask(HOLDER, &[lock.as_str().into()]).await?;
    if granted != Some(1) || (before, after) != (Some(holder_id), Some(second_id)) {
        let text =
            format!("the lock was not passed on: {before:?} held it, then {after:?}; {AGAIN}");
        return Err(ScenarioError::NotMeasured(text));
    }
    let second_look = second.look(item, &left, &[item.into()]).await?;
    let sold = first.decide(item, first_look, Writes::StockToo).await;
    let bought = second.decide(item, second_look, Writes::StockToo).await;
    let trial = Trial {
        claim,
        ends,
        story: format!(
            "session {holder_id} held the lock and was killed, then {second_id} held it"
        ),
        purchases: vec![sold, bought],
        tally: ledger.tally(item).await?,
    };
    trial.judge(part, &ledger.steps());
    Ok(())
}

/// What became of two purchases under the strategy.
struct Asked {
    killed: i64,
    first: Receipt,
    second: Receipt,
    tally: Tally,
}

/// Two buyers of one unit under the strategy, in a lab that sells from that MySQL.
async fn ask_first(databases: &Databases, ledger: &Ledger) -> Result<Asked, ScenarioError> {
    let url = databases.mysql_url()?.clone();
    let config = databases.config.with_servers(&[(Backend::MySql, url)]);
    let lab = Lab::open(&config, CancellationToken::new()).await?;
    let asked = purchases(&lab, ledger).await;
    lab.close(Instant::now()).await;
    asked
}

async fn purchases(lab: &Lab, ledger: &Ledger) -> Result<Asked, ScenarioError> {
    let strategy = StrategyId::MysqlLock;
    if let Some(reason) = lab.backends().reason_against(strategy.row()) {
        return Err(ScenarioError::NotMeasured(reason));
    }
    let product = ground::named(&format!("anomaly-{}", &Token::random().as_str()[..8]))?;
    let shop = lab.shop();
    shop.reset(&product, 1, Some(strategy)).await?;
    let lock = format!("locklab:{product}");
    let holder = async || Ok(ledger.ask(HOLDER, &[lock.as_str().into()]).await?);
    let order = || Order { ttl: TTL, ..Order::of(strategy, product.clone()) };
    let first = Order { delay: WORK, ..order() };
    let second = Order { delay: Duration::ZERO, ..order() };
    let strikes = async {
        let killed = poll("the first buyer holds the lock", holder).await?;
        ledger.enter("operator").await?.run(&format!("KILL {killed}")).await?;
        let is_free = async || Ok(holder().await?.is_none().then_some(()));
        poll("the lock is free", is_free).await?;
        Ok::<_, ScenarioError>((killed, shop.purchase(&second).await))
    };
    let (first, struck) = tokio::join!(shop.purchase(&first), strikes);
    let (killed, second) = struck?;
    let tally = shop.tally(&product, Store::MySql).await?;
    let missing = || ScenarioError::NotMeasured(format!("there is no {product} on sale any more"));
    let tally = tally.ok_or_else(missing)?;
    Ok(Asked { killed, first, second, tally })
}

impl Asked {
    fn judge(&self, part: &mut Part, claim: &str, steps: &[Value]) {
        let Self { killed, first, second, tally } = self;
        let (initial, sold, oversold) = (tally.initial, tally.sold, tally.oversold());
        let outcomes = [first.outcome, second.outcome].map(<&str>::from);
        let seen = format!(
            "session {killed} held it and was killed; first: {}; second: {}; \
             {sold} sold of {initial}, {oversold} oversold",
            outcomes[0], outcomes[1]
        );
        let is_met = (first.outcome, second.outcome) == (Outcome::Lost, Outcome::Sold)
            && (initial, sold) == (1, 1);
        part.check(claim, seen, is_met);
        part.evidence.push(json!({
            "claim": claim, "killed": killed, "outcomes": outcomes,
            "ledger": { "initial": initial, "sold": sold, "oversold": oversold }, "steps": steps,
        }));
    }
}
