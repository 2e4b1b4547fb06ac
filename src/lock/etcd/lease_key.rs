//! The lock itself: see `lock/etcd.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, LeaseGrantOptions, PutOptions,
    SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse,
};
use tokio::time::{Duration, Instant};

use crate::{
    backends::{BackendError, etcd::EtcdClient},
    lock::{Attempt, Claim, Grant, Lock, Release},
    metrics::Op,
    product::Product,
    token::Token,
    wait::{Subscription, Waitable},
};

/// How long members may take to delete the key of a lease that has ended.
const EXPIRY: Duration = Duration::from_millis(500);

/// Digits of a token that make the id of a lease: 64 bits, less the sign.
const ID_DIGITS: usize = 16;

pub(super) struct LeaseKey {
    etcd: Arc<EtcdClient>,
}

/// Below which all keys of a product are.
fn prefix(product: &Product) -> String {
    format!("locklab/{product}/")
}

/// The lease of a claim. Whoever knows the token knows it, so a lost reply leaves no lease unnamed.
fn lease_id(token: &Token) -> i64 {
    let bits = u64::from_str_radix(&token.as_str()[..ID_DIGITS], 16).unwrap_or_default();
    // 0 would let etcd choose.
    ((bits >> 1) as i64).max(1)
}

/// The key of a claim.
fn key(claim: &Claim) -> String {
    format!("{}{:x}", prefix(&claim.product), lease_id(&claim.token))
}

/// Asks for the oldest key below a prefix.
fn oldest() -> GetOptions {
    GetOptions::new().with_prefix().with_sort(SortTarget::Create, SortOrder::Ascend).with_limit(1)
}

impl LeaseKey {
    pub(super) fn new(etcd: &Arc<EtcdClient>) -> Self {
        Self { etcd: Arc::clone(etcd) }
    }

    /// The key of the holder.
    async fn holder(&self, op: Op, product: &Product) -> Result<Option<KeyValue>, BackendError> {
        let get = async |mut client: etcd_client::Client| {
            client.get(prefix(product), Some(oldest())).await
        };
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
}

#[async_trait]
impl Lock for LeaseKey {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        // Most tries under contention end here, having written nothing.
        if self.holder(Op::Acquire, &claim.product).await?.is_some() {
            return Ok(Attempt::Busy);
        }
        let deadline = Instant::now() + claim.ttl;
        let (id, seconds) = (lease_id(&claim.token), claim.ttl_ms().div_ceil(1_000) as i64);
        let grant = async |mut client: etcd_client::Client| {
            client.lease_grant(seconds, Some(LeaseGrantOptions::new().with_id(id))).await
        };
        self.etcd.command(Op::LeaseGrant, grant).await?;
        let nobody = Compare::create_revision(prefix(&claim.product), CompareOp::Equal, 0);
        let put = TxnOp::put(key(claim), "", Some(PutOptions::new().with_lease(id)));
        let take = Txn::new().when([nobody.with_prefix()]).and_then([put]);
        let taken = self.etcd.command(Op::Acquire, async |mut client| client.txn(take).await).await;
        // The lease is there, at least.
        let taken = taken.map_err(BackendError::into_unknown)?;
        if !taken.succeeded() {
            self.revoke(claim).await.map_err(BackendError::into_unknown)?;
            return Ok(Attempt::Busy);
        }
        let revision = taken.header().map_or(0, etcd_client::ResponseHeader::revision);
        let grant =
            Grant { fencing_token: Some(revision.unsigned_abs()), ..Grant::until(deadline) };
        Ok(Attempt::Granted(grant).renewed())
    }

    async fn renew(&self, claim: &Claim) -> Result<bool, BackendError> {
        let keep_alive = async |mut client: etcd_client::Client| {
            client.lease_keep_alive(lease_id(&claim.token)).await
        };
        if self.etcd.found(Op::Renew, keep_alive).await?.is_none() {
            return Ok(false);
        }
        // The lease may outlive its key: a reset deletes that.
        let count = GetOptions::new().with_count_only();
        let get = async |mut client: etcd_client::Client| client.get(key(claim), Some(count)).await;
        Ok(self.etcd.command(Op::Renew, get).await?.count() > 0)
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        let ours = Compare::create_revision(key(claim), CompareOp::Greater, 0);
        let delete = TxnOp::delete(key(claim), None);
        let holder = TxnOp::get(prefix(&claim.product), Some(oldest()));
        let free = Txn::new().when([ours]).and_then([delete]).or_else([holder]);
        let freed =
            self.etcd.command(Op::Release, async |mut client| client.txn(free).await).await?;
        // The others may come in; what is left of the lease keeps nobody out, and ends by itself.
        if let Err(error) = self.revoke(claim).await {
            tracing::debug!(product = %claim.product, %error, "a lease without a key is left");
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

    async fn clear(&self, product: &Product) -> Result<(), BackendError> {
        // A write takes the disks of a majority, and most products are held by nobody.
        if self.holder(Op::Clear, product).await?.is_none() {
            return Ok(());
        }
        let delete = async |mut client: etcd_client::Client| {
            client.delete(prefix(product), Some(DeleteOptions::new().with_prefix())).await
        };
        self.etcd.command(Op::Clear, delete).await.map(|_| ())
    }
}

#[async_trait]
impl Waitable for LeaseKey {
    async fn subscribe(&self, product: &Product) -> Result<Option<Subscription>, BackendError> {
        self.etcd.watches().subscribe(&prefix(product)).await.map(Some)
    }

    async fn time_left(&self, product: &Product) -> Result<Option<Duration>, BackendError> {
        let Some(holder) = self.holder(Op::TimeLeft, product).await? else {
            return Ok(Some(Duration::ZERO));
        };
        if holder.lease() == 0 {
            return Ok(None);
        }
        let ask = async |mut client: etcd_client::Client| {
            client.lease_time_to_live(holder.lease(), None).await
        };
        let left = self.etcd.found(Op::TimeLeft, ask).await?.map_or(-1, |left| left.ttl());
        // Whole seconds, rounded down; negative once the lease has ended.
        let seconds = u64::try_from(left + 1).unwrap_or_default();
        Ok(Some(Duration::from_secs(seconds) + EXPIRY))
    }
}

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
