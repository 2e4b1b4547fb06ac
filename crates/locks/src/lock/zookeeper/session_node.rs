//! The lock itself: see `lock/zookeeper.rs`.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Stat};

use super::contenders;
use crate::{
    error::BackendError,
    fault::Action,
    lock::{Attempt, Claim, Grant, Lock, Release},
    name::Name,
    token::Token,
    wait::Waitable,
    wires::{metrics::Op, zookeeper::ZooKeeperClient},
};

/// Pause before a look that failed is repeated.
const RETRY: Duration = Duration::from_millis(100);
/// How often a node is created below a parent that ZooKeeper may delete, since it is empty.
const CREATES_MAX: u32 = 3;

/// The lock of `zookeeper`.
pub struct SessionNode {
    zookeeper: Arc<ZooKeeperClient>,
    /// Sessions of claims that are to crash.
    apart: Mutex<HashMap<Token, Client>>,
}

/// What we create: others, whoever they are, may delete it, as in a reset.
const fn options(mode: CreateMode) -> CreateOptions<'static> {
    mode.with_acls(Acls::anyone_all())
}

/// Below which all nodes of a product are.
fn parent(name: &Name) -> String {
    // These two are no names to ZooKeeper; no product's name contains a percent sign.
    match name.as_str() {
        "." => "/locklab/%2E".to_owned(),
        ".." => "/locklab/%2E%2E".to_owned(),
        name => format!("/locklab/{name}"),
    }
}

/// What the name of a claim's node begins with. Whoever knows the token knows it.
fn prefix(token: &Token) -> String {
    let digits = token.as_str();
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    format!("_c_{}-lock-", parts.join("-"))
}

/// The name of a claim's node among others.
fn own(names: &[String], claim: &Claim) -> Option<String> {
    let prefix = prefix(&claim.token);
    names.iter().find(|name| name.starts_with(&prefix)).cloned()
}

/// The terms for whoever holds the lock by a node.
fn granted(deadline: Instant, node: &Stat) -> Attempt {
    let fencing_token = Some(node.czxid.unsigned_abs());
    Attempt::Granted(Grant { fencing_token, ..Grant::until(deadline) }).renewed()
}

impl SessionNode {
    /// At that ensemble.
    #[must_use]
    pub fn new(zookeeper: &Arc<ZooKeeperClient>) -> Self {
        Self { zookeeper: Arc::clone(zookeeper), apart: Mutex::default() }
    }

    /// The session of a claim; when its own has ended, whoever asks learns it from the shared one.
    fn session(&self, claim: &Claim) -> Result<Client, BackendError> {
        let apart = self.apart.lock().get(&claim.token).cloned();
        let apart = apart.filter(|session| !session.state().is_terminated());
        apart.map_or_else(|| self.zookeeper.session(), Ok)
    }

    /// The session in which a claim is to be made: its own, if it is to crash.
    async fn session_to_claim(&self, claim: &Claim) -> Result<Client, BackendError> {
        if !claim.faults.iter().any(|fault| fault.action == Action::Crash) {
            return self.zookeeper.session();
        }
        let session = self.zookeeper.session_apart().await?;
        self.apart.lock().insert(claim.token.clone(), session.clone());
        Ok(session)
    }

    /// Lets go of a claim's own session, unless the claim may be the holder.
    fn forget_unless_held(&self, claim: &Claim, attempt: &Result<Attempt, BackendError>) {
        let may_hold = match attempt {
            Ok(attempt) => matches!(attempt, Attempt::Granted(_)),
            Err(error) => error.is_unknown(),
        };
        if !may_hold {
            self.apart.lock().remove(&claim.token);
        }
    }

    /// Who contends for a product.
    async fn contenders(&self, session: &Client, name: &Name) -> Result<Vec<String>, BackendError> {
        let path = parent(name);
        let list = async |session: &Client| session.list_children(&path).await;
        Ok(self.zookeeper.found(Op::Acquire, session, list).await?.unwrap_or_default())
    }

    /// The same, including everything that was carried out before, at whatever server: the one that we
    /// are connected to may be behind.
    async fn all_contenders(
        &self,
        op: Op,
        session: &Client,
        name: &Name,
    ) -> Result<Vec<String>, BackendError> {
        let path = parent(name);
        let list = async |session: &Client| {
            // Both are sent at once, and carried out in this order.
            let (synced, listed) = (session.sync(&path), session.list_children(&path));
            synced.await?;
            listed.await
        };
        Ok(self.zookeeper.found(op, session, list).await?.unwrap_or_default())
    }

    /// Creates the claim's node, and its parents if they are missing. Returns its name too.
    async fn create(
        &self,
        session: &Client,
        claim: &Claim,
    ) -> Result<(String, Stat), BackendError> {
        let (parent, prefix) = (parent(&claim.name), prefix(&claim.token));
        let path = format!("{parent}/{prefix}");
        let mut tries = 1;
        loop {
            let create = async |session: &Client| {
                session.create(&path, &[], &options(CreateMode::EphemeralSequential)).await
            };
            match self.zookeeper.found(Op::Enqueue, session, create).await {
                Ok(Some((stat, number))) => return Ok((format!("{prefix}{number}"), stat)),
                Ok(None) if tries < CREATES_MAX => tries += 1,
                Ok(None) => {
                    let cause = "the parent is deleted as soon as it is made".into();
                    return Err(BackendError::Refused { backend: "zookeeper", cause });
                }
                Err(error) if error.is_unknown() => {
                    return self.created(session, claim).await.ok_or(error);
                }
                Err(error) => return Err(error),
            }
            let make = async |session: &Client| {
                session.mkdir(&parent, &options(CreateMode::Container)).await
            };
            self.zookeeper.command(Op::Enqueue, session, make).await?;
        }
    }

    /// Looks for the claim's node after a create without an answer: it may be there.
    async fn created(&self, session: &Client, claim: &Claim) -> Option<(String, Stat)> {
        self.zookeeper.reconnected(session).await;
        let names = self.all_contenders(Op::Acquire, session, &claim.name).await.ok()?;
        let name = own(&names, claim)?;
        let stat = self.stat(Op::Acquire, session, claim, &name).await.ok()??;
        Some((name, stat))
    }

    async fn stat(
        &self,
        op: Op,
        session: &Client,
        claim: &Claim,
        name: &str,
    ) -> Result<Option<Stat>, BackendError> {
        let path = format!("{}/{name}", parent(&claim.name));
        let look = async |session: &Client| session.check_stat(&path).await;
        self.zookeeper.command(op, session, look).await
    }

    /// Deletes a node. False: there was none.
    async fn delete(
        &self,
        op: Op,
        session: &Client,
        name: &Name,
        node: &str,
    ) -> Result<bool, BackendError> {
        let path = format!("{}/{node}", parent(name));
        let delete = async |session: &Client| session.delete(&path, None).await;
        Ok(self.zookeeper.found(op, session, delete).await?.is_some())
    }

    /// One try in a given session.
    async fn attempt_in(&self, session: &Client, claim: &Claim) -> Result<Attempt, BackendError> {
        let deadline = Instant::now() + claim.ttl;
        let (name, stat) = self.create(session, claim).await?;
        // The node is there, at least.
        let names = self.contenders(session, &claim.name).await;
        let names = names.map_err(BackendError::into_unknown)?;
        if !names.contains(&name) {
            // Somebody has deleted it: a reset does.
            return Ok(Attempt::Busy);
        }
        if contenders::predecessor(&names, &name).is_some() {
            let deleted = self.delete(Op::Acquire, session, &claim.name, &name).await;
            deleted.map_err(BackendError::into_unknown)?;
            return Ok(Attempt::Busy);
        }
        Ok(granted(deadline, &stat))
    }

    /// The same, waiting for its turn.
    async fn queue_in(
        &self,
        session: &Client,
        claim: &Claim,
        until: Instant,
        gone: &CancellationToken,
    ) -> Result<Attempt, BackendError> {
        let (name, stat) = self.create(session, claim).await?;
        let turn = time::timeout_at(until, self.wait_turn(session, claim, &name));
        // If not, it is too late, or nobody wants it any more.
        let is_called = matches!(gone.run_until_cancelled(turn).await, Some(Ok(true)));
        // It may have waited for longer than a ttl, and its node may have gone just now, or be left of a
        // session that has ended.
        if is_called
            && let Some(deadline) = self.renew(claim).await.map_err(BackendError::into_unknown)?
        {
            return Ok(granted(deadline, &stat));
        }
        let left = self.release(claim).await.map_err(BackendError::into_unknown)?;
        tracing::trace!(name = %claim.name, ?left, "left the queue");
        Ok(Attempt::Busy)
    }

    /// Waits until nobody is before a claim's node. False: its place is lost.
    async fn wait_turn(&self, session: &Client, claim: &Claim, name: &str) -> bool {
        while !session.state().is_terminated() {
            let Ok(names) = self.contenders(session, &claim.name).await else {
                // Without an answer, the place is kept for as long as the session lasts.
                self.zookeeper.reconnected(session).await;
                time::sleep(RETRY).await;
                continue;
            };
            if !names.iter().any(|other| other == name) {
                return false;
            }
            let Some(predecessor) = contenders::predecessor(&names, name) else { return true };
            let path = format!("{}/{predecessor}", parent(&claim.name));
            self.zookeeper.until_deleted(session, &path).await;
        }
        // Its node ends with it. Whoever tries again does so under the next.
        self.zookeeper.another_session().await;
        false
    }
}

#[async_trait]
impl Lock for SessionNode {
    fn lease_ttl(&self, ttl: Duration) -> Duration {
        ttl.min(self.zookeeper.session_timeout())
    }

    /// The node lasts as long as the session, which is shared.
    fn outlives_ttl(&self) -> bool {
        true
    }

    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        // Most tries under contention end here, having written nothing.
        let names = self.contenders(&self.zookeeper.session()?, &claim.name).await?;
        if contenders::any(&names) {
            return Ok(Attempt::Busy);
        }
        let session = self.session_to_claim(claim).await?;
        let attempt = self.attempt_in(&session, claim).await;
        self.forget_unless_held(claim, &attempt);
        attempt
    }

    fn has_queue(&self) -> bool {
        true
    }

    async fn queue(
        &self,
        claim: &Claim,
        until: Instant,
        gone: &CancellationToken,
    ) -> Result<Attempt, BackendError> {
        let session = self.session_to_claim(claim).await?;
        let attempt = self.queue_in(&session, claim, until, gone).await;
        self.forget_unless_held(claim, &attempt);
        attempt
    }

    async fn renew(&self, claim: &Claim) -> Result<Option<Instant>, BackendError> {
        let deadline = Instant::now() + claim.ttl;
        let session = self.session(claim)?;
        let names = self.all_contenders(Op::Renew, &session, &claim.name).await?;
        let Some(name) = own(&names, claim) else { return Ok(None) };
        let stat = self.stat(Op::Renew, &session, claim, &name).await?;
        // A node of a session that has ended is listed until every server knows of the end: Curator
        // took it for its own (CURATOR-604).
        let is_ours = stat.is_some_and(|stat| stat.ephemeral_owner == session.session_id().0);
        Ok(is_ours.then_some(deadline))
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        let session = self.session(claim)?;
        let names = self.all_contenders(Op::Release, &session, &claim.name).await?;
        let is_deleted = match own(&names, claim) {
            Some(name) => self.delete(Op::Release, &session, &claim.name, &name).await?,
            None => false,
        };
        self.apart.lock().remove(&claim.token);
        Ok(match is_deleted {
            true => Release::Released,
            false if contenders::any(&names) => Release::Stolen,
            false => Release::Expired,
        })
    }

    /// Lets go of the claim's session without closing it.
    fn crash(&self, claim: &Claim) {
        self.apart.lock().remove(&claim.token);
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        let session = self.zookeeper.session()?;
        for node in self.all_contenders(Op::Clear, &session, name).await? {
            self.delete(Op::Clear, &session, name, &node).await?;
        }
        Ok(())
    }
}

/// Nobody who waits for it has to be told: see [`Lock::queue`].
impl Waitable for SessionNode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_as_curator_names_them() {
        let name = prefix(&Token::random());
        // What its ProtectedUtils takes for a protected name.
        assert_eq!((name.len(), &name[..3], &name[39..]), (45, "_c_", "-lock-"));
        assert!([11, 16, 21, 26].iter().all(|at| name.as_bytes()[*at] == b'-'));
    }

    #[test]
    fn every_product_has_a_node_of_its_own() {
        let parent = |name: &str| parent(&name.parse().unwrap());
        assert_eq!(parent("p"), "/locklab/p");
        assert_eq!(parent("a.b:c-d_E"), "/locklab/a.b:c-d_E");
        assert_eq!((parent("."), parent("..")), ("/locklab/%2E".into(), "/locklab/%2E%2E".into()));
    }
}
