//! A pooler gives each transaction any of its sessions, and keeps them when clients go. A lock of a
//! session that one of them has taken is released in vain over another, and outlives its client
//! (authentik 23876, DistributedLock 168, pgbouncer 102).

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::databases::{Databases, Pooled};
use crate::{
    embedded::pgbouncer,
    report::Part,
    scenario::{
        error::ScenarioError,
        ground::{AGAIN, poll},
    },
};
use locklab_locks::{
    error::BackendError,
    wires::{
        metrics::Op,
        sql::{Session, SqlClient},
    },
};
/// A question, over the session of Postgres that answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Answered {
    session: i64,
    yes: bool,
}

/// What happened to a lock, and who had it then.
#[derive(Debug, Serialize)]
struct LockTries {
    /// It was taken, by a client that has gone since.
    taken: Answered,
    /// The client asked for its release before, if it did.
    released: Option<Answered>,
    /// Somebody else asked for it while it was held, if anybody did.
    meanwhile: Option<Answered>,
    /// When it had gone, the next client asked for it.
    next: Answered,
    /// And another one, that was given the session in which it was taken, if any was.
    same: Option<Answered>,
    /// Who held it at the end, by pg_locks: the session, and its state.
    holders: Vec<(i64, String)>,
}

/// A session lock through the pooler; and the controls, where it ends with its client, or its
/// transaction.
pub async fn show(databases: &Databases, part: &mut Part) -> Result<(), ScenarioError> {
    let pooled = databases.pooled()?;
    judge_stranded(part, &strand(pooled).await?);
    let claim = "control, the same without the pooler: the lock ends with its client's session";
    judge_free(part, claim, &directly(pooled).await?);
    let claim = "control, pg_advisory_xact_lock through the pooler: it ends with its transaction";
    judge_free(part, claim, &within(pooled).await?);
    Ok(())
}

/// Takes a lock through the pooler, releases it over another session, and goes.
async fn strand(pooled: &Pooled) -> Result<LockTries, ScenarioError> {
    let (key, try_it) = lock("pg_try_advisory_lock");
    let mut client = enter(&pooled.through).await?;
    let taken = ask(&mut client, &try_it).await?;
    // Others come. One of them is given the session in which the lock was taken, for its
    // transaction.
    let mut others = [enter(&pooled.through).await?, enter(&pooled.through).await?];
    let mut sessions = Vec::new();
    for other in &mut others {
        other.run(Op::Begin, "BEGIN").await?;
        sessions.push(ask(other, "SELECT true").await?.session);
    }
    let [one, other] = others;
    let (mut same, mut next) =
        if sessions[0] == taken.session { (one, other) } else { (other, one) };
    if !sessions.contains(&taken.session) {
        let text = format!("nobody was given session {}, but {sessions:?}; {AGAIN}", taken.session);
        return Err(ScenarioError::NotMeasured(text));
    }
    next.run(Op::Rollback, "ROLLBACK").await?;
    let release = format!("SELECT pg_advisory_unlock({key})");
    let released = ask(&mut client, &release).await?;
    let clients = pgbouncer::clients(&pooled.pooler).await?;
    drop(client);
    poll("the pooler knows that its client has gone", async || {
        Ok((pgbouncer::clients(&pooled.pooler).await? < clients).then_some(()))
    })
    .await?;
    let next = ask(&mut next, &try_it).await?;
    let granted = ask(&mut same, &try_it).await?;
    if granted.yes {
        // What it was granted, it gives back.
        ask(&mut same, &release).await?;
    }
    same.run(Op::Rollback, "ROLLBACK").await?;
    let (released, same) = (Some(released), Some(granted));
    let holders = holders(pooled, key).await?;
    Ok(LockTries { taken, released, meanwhile: None, next, same, holders })
}

/// Takes a lock without the pooler, and goes.
async fn directly(pooled: &Pooled) -> Result<LockTries, ScenarioError> {
    let (key, try_it) = lock("pg_try_advisory_lock");
    let mut client = enter(&pooled.direct).await?;
    let taken = ask(&mut client, &try_it).await?;
    let mut next = enter(&pooled.direct).await?;
    let meanwhile = Some(ask(&mut next, &try_it).await?);
    drop(client);
    // The server ends a session when it notices that its client has gone.
    let is_free = async || {
        let holders = holders(pooled, key).await?;
        Ok(holders.is_empty().then_some(holders))
    };
    let holders = poll("nobody holds the lock", is_free).await?;
    let next = ask(&mut next, &try_it).await?;
    Ok(LockTries { taken, released: None, meanwhile, next, same: None, holders })
}

/// Takes a lock of the transaction through the pooler, and commits.
async fn within(pooled: &Pooled) -> Result<LockTries, ScenarioError> {
    let (key, try_it) = lock("pg_try_advisory_xact_lock");
    let mut client = enter(&pooled.through).await?;
    client.run(Op::Begin, "BEGIN").await?;
    let taken = ask(&mut client, &try_it).await?;
    let mut next = enter(&pooled.through).await?;
    let meanwhile = Some(ask(&mut next, &try_it).await?);
    client.run(Op::Commit, "COMMIT").await?;
    let holders = holders(pooled, key).await?;
    let next = ask(&mut next, &try_it).await?;
    Ok(LockTries { taken, released: None, meanwhile, next, same: None, holders })
}

/// A client, whose connection is closed when it goes.
async fn enter(client: &Arc<SqlClient>) -> Result<Session, BackendError> {
    let mut session = client.session_soon().await?;
    session.holds(true);
    Ok(session)
}

/// A key that nobody else has, and what asks for it.
fn lock(function: &str) -> (u32, String) {
    let key = rand::random::<u32>();
    (key, format!("SELECT {function}({key})"))
}

/// Asks, in a statement that also says which session answers.
async fn ask(client: &mut Session, question: &str) -> Result<Answered, BackendError> {
    let sql = format!("{question}, CAST(pg_backend_pid() AS BIGINT)");
    let rows: Vec<(bool, i64)> = client.rows_of_text(Op::LockRow, &sql).await?;
    let (yes, session) = rows.into_iter().next().unwrap_or_default();
    Ok(Answered { session, yes })
}

/// Who holds a key, as Postgres itself says.
async fn holders(pooled: &Pooled, key: u32) -> Result<Vec<(i64, String)>, BackendError> {
    let sql = "SELECT CAST(pid AS BIGINT), COALESCE(state, 'unknown') \
               FROM pg_locks JOIN pg_stat_activity USING (pid) \
               WHERE locktype = 'advisory' AND classid = 0 AND CAST(objid AS BIGINT) = ? AND granted";
    pooled.direct.session_soon().await?.rows(Op::Read, sql, &[key.into()]).await
}

fn judge_stranded(part: &mut Part, tries: &LockTries) {
    let LockTries { taken, released, holders, next, same, .. } = tries;
    let took = taken.session;
    let is_by =
        |answered: &Answered, yes, same| answered.yes == yes && (answered.session == took) == same;
    part.check(
        "the release comes over another session of the pooler, and releases nothing",
        format!("taken by session {took}; pg_advisory_unlock {}", told(released.as_ref())),
        taken.yes && released.as_ref().is_some_and(|released| is_by(released, false, false)),
    );
    part.check(
        "its client has gone, and the next one does not get it",
        format!("a try {}", told(Some(next))),
        is_by(next, false, false),
    );
    part.check(
        "but whoever is given that session by the pooler is granted it at once",
        format!("a try {}", told(same.as_ref())),
        same.as_ref().is_some_and(|same| is_by(same, true, true)),
    );
    part.check(
        "when all of them are done, it is still held",
        format!("by {}", named(holders)),
        matches!(holders.as_slice(), [(holder, _)] if *holder == took),
    );
    part.evidence.push(json!(tries));
}

fn judge_free(part: &mut Part, claim: &str, tries: &LockTries) {
    let LockTries { taken, meanwhile, holders, next, .. } = tries;
    let seen = format!(
        "taken by session {}; another try meanwhile {}; then held by {}; the next try {}",
        taken.session,
        told(meanwhile.as_ref()),
        named(holders),
        told(Some(next))
    );
    let was_held = taken.yes && meanwhile.is_some_and(|meanwhile| !meanwhile.yes);
    part.check(claim, seen, was_held && holders.is_empty() && next.yes);
    part.evidence.push(json!(tries));
}

fn told(answered: Option<&Answered>) -> String {
    answered.map_or("was not made".to_owned(), |Answered { session, yes }| {
        format!("over session {session} answered {yes}")
    })
}

fn named(holders: &[(i64, String)]) -> String {
    if holders.is_empty() {
        return "nobody".to_owned();
    }
    let holders = holders.iter().map(|(session, state)| format!("session {session} ({state})"));
    holders.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Met;

    fn tries() -> LockTries {
        let answered = |session, yes| Answered { session, yes };
        LockTries {
            taken: answered(1, true),
            released: Some(answered(2, false)),
            meanwhile: Some(answered(2, false)),
            holders: vec![(1, "idle".to_owned())],
            next: answered(2, false),
            same: Some(answered(1, true)),
        }
    }

    fn met(judge: impl Fn(&mut Part, &LockTries), tries: &LockTries) -> Vec<bool> {
        let mut part = Part::new("a lock");
        judge(&mut part, tries);
        part.checks.iter().map(|check| check.met == Met::Yes).collect()
    }

    #[test]
    fn a_lock_is_stranded_or_it_is_not() {
        let met = |tries: LockTries| met(judge_stranded, &tries);
        let yes = |session| Answered { session, yes: true };
        assert_eq!(met(tries()), [true, true, true, true]);
        assert_eq!(met(LockTries { released: Some(yes(2)), ..tries() }), [false, true, true, true]);
        assert_eq!(met(LockTries { released: None, ..tries() }), [false, true, true, true]);
        assert_eq!(met(LockTries { next: yes(2), ..tries() }), [true, false, true, true]);
        assert_eq!(met(LockTries { same: Some(yes(2)), ..tries() }), [true, true, false, true]);
        assert_eq!(met(LockTries { holders: Vec::new(), ..tries() }), [true, true, true, false]);
    }

    #[test]
    fn a_control_has_to_be_held_and_then_free() {
        let met =
            |tries: LockTries| met(|part, tries| judge_free(part, "it is free", tries), &tries);
        let next = Answered { session: 2, yes: true };
        let free = || LockTries { holders: Vec::new(), next, ..tries() };
        assert_eq!(met(free()), [true]);
        assert_eq!(met(tries()), [false], "stranded");
        assert_eq!(met(LockTries { meanwhile: Some(next), ..free() }), [false], "never exclusive");
        assert_eq!(met(LockTries { meanwhile: None, ..free() }), [false]);
    }
}
