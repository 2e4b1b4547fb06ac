//! What a lease tells its holder, with locks that need no server.

#![expect(clippy::panic, clippy::unwrap_used, reason = "these are tests")]

use async_trait::async_trait;
use locklab_locks::{
    error::BackendError,
    lease::{
        Acquired, Lease,
        keeper::{Keeper, Wish},
        release,
    },
    lock::{Attempt, Claim, Grant, Lock, Release, mutex::ProcessMutex},
    name::Name,
    wait::{Patience, Waitable},
};
use tokio::time::{self, Duration, Instant};

const TTL: Duration = Duration::from_secs(9);

/// Grants everything until the ttl is over, and says that nobody holds it when asked to renew.
struct Stub {
    is_renewed: bool,
}

impl Waitable for Stub {}

#[async_trait]
impl Lock for Stub {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        let attempt = Attempt::Granted(Grant::until(Instant::now() + claim.ttl));
        Ok(if self.is_renewed { attempt.renewed() } else { attempt })
    }

    async fn release(&self, _: &Claim) -> Result<Release, BackendError> {
        Ok(Release::Expired)
    }

    async fn clear(&self, _: &Name) -> Result<(), BackendError> {
        Ok(())
    }
}

/// A lease of that lock, which nobody else wants.
async fn lease(lock: impl Lock + 'static) -> Lease {
    let (releases, _) = release::channel();
    let (keeper, name) = (Keeper::silent(lock, releases), Name::default());
    match keeper.acquire(&name, &Wish::lasting(TTL), &Patience::default()).await.unwrap() {
        Acquired::Lease(lease) => *lease,
        lost => panic!("{lost:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_renews_ends_at_its_deadline() {
    let (since, lease) = (Instant::now(), lease(Stub { is_renewed: false }).await);
    assert!(!lease.has_ended());
    lease.ended().await;
    assert_eq!(since.elapsed(), TTL);
    assert!(lease.has_ended() && !lease.is_lost());
    assert_eq!(lease.release().await, Release::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lease_ends_when_it_is_lost() {
    let (since, lease) = (Instant::now(), lease(Stub { is_renewed: true }).await);
    assert!(!lease.has_ended());
    lease.ended().await;
    assert_eq!(since.elapsed(), TTL / 3, "at its first renewal");
    assert!(lease.has_ended() && lease.is_lost());
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_an_end_does_not_end() {
    let lease = lease(ProcessMutex::default()).await;
    assert!(time::timeout(TTL * 1_000, lease.ended()).await.is_err());
    assert!(!lease.has_ended());
    assert_eq!(lease.release().await, Release::Released);
}
