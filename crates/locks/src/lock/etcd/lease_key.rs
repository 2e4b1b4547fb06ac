//! The lock itself: see `lock/etcd.rs`.

use std::{pin::pin, sync::Arc};

use async_trait::async_trait;
use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, LeaseGrantOptions, PutOptions,
    SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    error::BackendError,
    lock::{Attempt, Claim, Grant, Lock, Release},
    name::Name,
    token::Token,
    wait::Waitable,
    wires::{etcd::EtcdClient, metrics::Op},
};

/// A lease is kept alive that many times within the time for which it was granted.
const KEEP_ALIVES_PER_LEASE: u32 = 3;
/// Pause before a look that failed is repeated.
const RETRY: Duration = Duration::from_millis(100);

/// Digits of a token that make the id of a lease: 64 bits, less the sign.
const ID_DIGITS: usize = 16;

/// The lock of `etcd`.
pub struct LeaseKey {
    etcd: Arc<EtcdClient>,
}

/// Below which all keys of a product are.
fn prefix(name: &Name) -> String {
    format!("locklab/{name}/")
}

/// The lease of a claim. Whoever knows the token knows it, so a lost reply leaves no lease unnamed.
fn lease_id(token: &Token) -> i64 {
    let bits = u64::from_str_radix(&token.as_str()[..ID_DIGITS], 16).unwrap_or_default();
    // 0 would let etcd choose.
    ((bits >> 1) as i64).max(1)
}

/// The key of a claim.
fn key(claim: &Claim) -> String {
    format!("{}{:x}", prefix(&claim.name), lease_id(&claim.token))
}

/// Asks for the oldest key below a prefix.
fn oldest() -> GetOptions {
    GetOptions::new().with_prefix().with_sort(SortTarget::Create, SortOrder::Ascend).with_limit(1)
}

/// Asks for the newest key below a prefix that is older than a revision: the one that is waited for.
fn newest_before(revision: i64) -> GetOptions {
    GetOptions::new()
        .with_prefix()
        .with_max_create_revision(revision - 1)
        .with_sort(SortTarget::Create, SortOrder::Descend)
        .with_limit(1)
}

/// What a Range inside of a transaction has found, by its place among the answers.
fn found(response: &TxnResponse, place: usize) -> Option<KeyValue> {
    match response.op_responses().into_iter().nth(place) {
        Some(TxnOpResponse::Get(mut found)) => found.take_kvs().pop(),
        _ => None,
    }
}

/// The revision at which the store answered; always there.
fn revision(response: &TxnResponse) -> i64 {
    response.header().map_or(0, etcd_client::ResponseHeader::revision)
}

/// The terms for whoever holds the lock by a key of this revision.
fn granted(deadline: Instant, revision: i64) -> Attempt {
    let fencing_token = Some(revision.unsigned_abs());
    Attempt::Granted(Grant { fencing_token, ..Grant::until(deadline) }).renewed()
}

/// What a look at the queue has found.
enum Place {
    /// Nobody is before the claim.
    First,
    /// Somebody is, at this revision of the store: the key of the one who came just before.
    Behind { predecessor: KeyValue, revision: i64 },
    /// The claim's key is gone, with its lease or by a reset.
    Lost,
}

impl LeaseKey {
    /// At that cluster.
    #[must_use]
    pub fn new(etcd: &Arc<EtcdClient>) -> Self {
        Self { etcd: Arc::clone(etcd) }
    }

    /// The key of the holder.
    async fn holder(&self, op: Op, name: &Name) -> Result<Option<KeyValue>, BackendError> {
        let get =
            async |mut client: etcd_client::Client| client.get(prefix(name), Some(oldest())).await;
        let mut found = self.etcd.command(op, get).await?;
        Ok(found.take_kvs().pop())
    }

    /// Ends the claim's lease, and its key with it. False: there was none.
    async fn revoke(&self, claim: &Claim) -> Result<bool, BackendError> {
        let revoke = async |mut client: etcd_client::Client| {
            client.lease_revoke(lease_id(&claim.token)).await
        };
        Ok(self.etcd.found(Op::LeaseRevoke, revoke).await?.is_some())
    }

    /// A lease for a claim; says how long it lasts, which is what the members see fit.
    async fn lease(&self, claim: &Claim) -> Result<Duration, BackendError> {
        let (id, seconds) = (lease_id(&claim.token), claim.ttl_ms().div_ceil(1_000) as i64);
        let grant = async |mut client: etcd_client::Client| {
            client.lease_grant(seconds, Some(LeaseGrantOptions::new().with_id(id))).await
        };
        let granted = self.etcd.command(Op::LeaseGrant, grant).await?;
        Ok(Duration::from_secs(granted.ttl().max(1).unsigned_abs()))
    }

    /// Makes a claim's lease begin anew. False: there is none any more.
    async fn keep_alive(&self, claim: &Claim) -> Result<bool, BackendError> {
        let keep_alive = async |mut client: etcd_client::Client| {
            client.lease_keep_alive(lease_id(&claim.token)).await
        };
        Ok(self.etcd.found(Op::Renew, keep_alive).await?.is_some())
    }

    /// Creates a claim's key, whoever is there already. Says by which revision, and whether nobody is.
    async fn enqueue(&self, claim: &Claim) -> Result<(i64, bool), BackendError> {
        let options = PutOptions::new().with_lease(lease_id(&claim.token));
        let put = TxnOp::put(key(claim), "", Some(options));
        let first = TxnOp::get(prefix(&claim.name), Some(oldest()));
        let enqueue = Txn::new().and_then([put, first]);
        let enqueued =
            self.etcd.command(Op::Enqueue, async |mut client| client.txn(enqueue).await).await?;
        let first = found(&enqueued, 1);
        let is_first = first.is_some_and(|first| first.key() == key(claim).as_bytes());
        Ok((revision(&enqueued), is_first))
    }

    /// Looks where in the queue a claim is, by its key of this revision.
    async fn place(&self, claim: &Claim, created: i64) -> Result<Place, BackendError> {
        let own = TxnOp::get(key(claim), None);
        let before = TxnOp::get(prefix(&claim.name), Some(newest_before(created)));
        let look = Txn::new().and_then([own, before]);
        let look = self.etcd.command(Op::Acquire, async |mut client| client.txn(look).await);
        let seen = look.await?;
        Ok(match (found(&seen, 0), found(&seen, 1)) {
            (Some(own), _) if own.create_revision() != created => Place::Lost,
            (None, _) => Place::Lost,
            (Some(_), None) => Place::First,
            (Some(_), Some(predecessor)) => {
                Place::Behind { predecessor, revision: revision(&seen) }
            }
        })
    }

    /// Waits until nobody is before a claim. False: its place is lost.
    async fn wait_turn(
        &self,
        claim: &Claim,
        created: i64,
        lasts: Duration,
    ) -> Result<bool, BackendError> {
        let interval = lasts / KEEP_ALIVES_PER_LEASE;
        let mut ends = Instant::now() + lasts;
        // Without an answer, the place is kept for as long as the lease may last.
        let unless_lost = |error: BackendError, ends| {
            if Instant::now() < ends { Ok(()) } else { Err(error) }
        };
        loop {
            let (predecessor, revision) = match self.place(claim, created).await {
                Ok(Place::First) => return Ok(true),
                Ok(Place::Lost) => return Ok(false),
                Ok(Place::Behind { predecessor, revision }) => (predecessor, revision),
                Err(error) => {
                    unless_lost(error, ends)?;
                    time::sleep(RETRY).await;
                    continue;
                }
            };
            let key = predecessor.key_str().unwrap_or_default();
            let mut deleted = pin!(self.etcd.until_deleted(key, revision));
            loop {
                tokio::select! {
                    () = &mut deleted => break,
                    () = time::sleep(interval) => {}
                }
                let asked = Instant::now();
                match self.keep_alive(claim).await {
                    Ok(true) => ends = asked + lasts,
                    Ok(false) => return Ok(false),
                    Err(error) => unless_lost(error, ends)?,
                }
            }
        }
    }
}

#[async_trait]
impl Lock for LeaseKey {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        // Most tries under contention end here, having written nothing.
        if self.holder(Op::Acquire, &claim.name).await?.is_some() {
            return Ok(Attempt::Busy);
        }
        let deadline = Instant::now() + claim.ttl;
        self.lease(claim).await?;
        let nobody = Compare::create_revision(prefix(&claim.name), CompareOp::Equal, 0);
        let options = PutOptions::new().with_lease(lease_id(&claim.token));
        let put = TxnOp::put(key(claim), "", Some(options));
        let take = Txn::new().when([nobody.with_prefix()]).and_then([put]);
        let taken = self.etcd.command(Op::Acquire, async |mut client| client.txn(take).await).await;
        // The lease is there, at least.
        let taken = taken.map_err(BackendError::into_unknown)?;
        if !taken.succeeded() {
            self.revoke(claim).await.map_err(BackendError::into_unknown)?;
            return Ok(Attempt::Busy);
        }
        Ok(granted(deadline, revision(&taken)))
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
        let deadline = Instant::now() + claim.ttl;
        let lasts = self.lease(claim).await?;
        let (created, is_first) = self.enqueue(claim).await.map_err(BackendError::into_unknown)?;
        if is_first {
            return Ok(granted(deadline, created));
        }
        let turn = time::timeout_at(until, self.wait_turn(claim, created, lasts));
        let is_called = match gone.run_until_cancelled(turn).await {
            Some(Ok(called)) => called.map_err(BackendError::into_unknown)?,
            // Too late, or nobody wants it any more.
            Some(Err(_)) | None => false,
        };
        // It may have waited for longer than a ttl, and its key may have gone just now.
        if is_called
            && let Some(deadline) = self.renew(claim).await.map_err(BackendError::into_unknown)?
        {
            return Ok(granted(deadline, created));
        }
        self.revoke(claim).await.map_err(BackendError::into_unknown)?;
        Ok(Attempt::Busy)
    }

    async fn renew(&self, claim: &Claim) -> Result<Option<Instant>, BackendError> {
        let deadline = Instant::now() + claim.ttl;
        if !self.keep_alive(claim).await? {
            return Ok(None);
        }
        // The lease may outlive its key: a reset deletes that.
        let count = GetOptions::new().with_count_only();
        let get = async |mut client: etcd_client::Client| client.get(key(claim), Some(count)).await;
        let is_there = self.etcd.command(Op::Renew, get).await?.count() > 0;
        Ok(is_there.then_some(deadline))
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        let ours = Compare::create_revision(key(claim), CompareOp::Greater, 0);
        let delete = TxnOp::delete(key(claim), None);
        let holder = TxnOp::get(prefix(&claim.name), Some(oldest()));
        let free = Txn::new().when([ours]).and_then([delete]).or_else([holder]);
        let freed =
            self.etcd.command(Op::Release, async |mut client| client.txn(free).await).await?;
        // The others may come in; what is left of the lease keeps nobody out, and ends by itself.
        if let Err(error) = self.revoke(claim).await {
            tracing::debug!(name = %claim.name, %error, "a lease without a key is left");
        }
        if freed.succeeded() {
            return Ok(Release::Released);
        }
        let is_held = freed.op_responses().iter().any(|response| match response {
            TxnOpResponse::Get(found) => !found.kvs().is_empty(),
            _ => false,
        });
        Ok(if is_held { Release::Stolen } else { Release::Expired })
    }

    /// In one step, after which nothing that arrives late can take the lock.
    async fn undo(&self, claim: &Claim) -> Result<Release, BackendError> {
        Ok(if self.revoke(claim).await? { Release::Released } else { Release::Expired })
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        // A write takes the disks of a majority, and most products are held by nobody.
        if self.holder(Op::Clear, name).await?.is_none() {
            return Ok(());
        }
        let delete = async |mut client: etcd_client::Client| {
            client.delete(prefix(name), Some(DeleteOptions::new().with_prefix())).await
        };
        self.etcd.command(Op::Clear, delete).await.map(|_| ())
    }
}

/// Nobody who waits for it has to be told: see [`Lock::queue`].
impl Waitable for LeaseKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_names_a_lease_of_its_own() {
        let tokens: Vec<Token> = (0..1_000).map(|_| Token::random()).collect();
        let mut ids: Vec<i64> = tokens.iter().map(lease_id).collect();
        assert!(ids.iter().all(|id| *id > 0));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), tokens.len());
    }
}
