//! The release task: ends claims that nobody else will end.
//!
//! A purchase whose acquire was never answered, or whose future was dropped, may still be the
//! holder. Its claim comes here and is released by token, again and again until the lock service
//! has said so or the ttl has freed it anyway.

use std::sync::Arc;

use enum_map::Enum;
use strum::IntoStaticStr;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{self, Duration, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::lock::{Claim, Lock, Release};

/// Claims that may wait to be taken up, and claims that may be under way; for more than that their
/// ttl has to do.
const CLAIMS_MAX: usize = 8_192;
/// Commands sent at once, so that an outage that ends is not followed by a flood.
const SENDING_MAX: usize = 64;
/// How often "you are not the holder" is checked again after a lost reply.
const CHECKS_MAX: u32 = 6;
/// Pause after the first try; doubled each time, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between tries.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why nobody else ends a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// The reply to its acquire or its release was lost.
    Unknown,
    /// Its future was dropped.
    Dropped,
    /// The backend failed while it was held, and the caller did not wait for it again.
    BackendDown,
    /// The reply to a write under its lease was lost: the write may still land.
    WriteUnknown,
    /// A fault ended its purchase as if the process had died: nobody releases it.
    Crash,
}

/// A claim that nobody else will end.
pub struct Orphan {
    /// The claim.
    pub claim: Claim,
    /// Where it was made.
    pub lock: Arc<dyn Lock>,
    /// Why it is here.
    pub cause: Cause,
}

/// The way to the release task. Cheap to clone.
#[derive(Clone)]
pub struct ReleaseQueue {
    sender: mpsc::Sender<Orphan>,
}

impl ReleaseQueue {
    /// Hands a claim over; never waits, so that it can be called from `Drop`.
    pub fn push(&self, orphan: Orphan) {
        if let Err(error) = self.sender.try_send(orphan) {
            tracing::warn!(%error, "a claim was not released: its ttl has to free it");
        }
    }
}

/// The release task; see the module.
pub struct ReleaseTask(mpsc::Receiver<Orphan>);

/// A queue and its task.
#[must_use]
pub fn channel() -> (ReleaseQueue, ReleaseTask) {
    let (sender, receiver) = mpsc::channel(CLAIMS_MAX);
    (ReleaseQueue { sender }, ReleaseTask(receiver))
}

impl ReleaseTask {
    /// Releases claims until `closing` is cancelled, then those that have come by then.
    pub async fn run(mut self, closing: CancellationToken) {
        let tracker = TaskTracker::new();
        let sending = Arc::new(Semaphore::new(SENDING_MAX));
        let under_way = Arc::new(Semaphore::new(CLAIMS_MAX));
        loop {
            let orphan = match closing.run_until_cancelled(self.0.recv()).await {
                Some(orphan) => orphan,
                None => {
                    self.0.close();
                    self.0.recv().await
                }
            };
            let Some(orphan) = orphan else { break };
            let Ok(place) = Arc::clone(&under_way).acquire_owned().await else { break };
            let (sending, closing) = (Arc::clone(&sending), closing.clone());
            tracker.spawn(async move {
                orphan.end(&sending, &closing).await;
                drop(place);
            });
        }
        tracker.close();
        tracker.wait().await;
    }
}

impl Orphan {
    /// Tries until the lock service has answered for good, or the ttl has freed the claim, if it can.
    async fn end(&self, sending: &Semaphore, closing: &CancellationToken) {
        if self.cause == Cause::WriteUnknown {
            // The write may still land, and must not land on the next holder's: the lease has to
            // last as long as it was granted for. On the way out, that is left to the lock service.
            let ttl = time::sleep(self.claim.ttl);
            if closing.run_until_cancelled(ttl).await.is_none() {
                return;
            }
        }
        let freed = Instant::now() + self.claim.ttl;
        let (mut pause, mut checks) = (PAUSE_MIN, 0);
        loop {
            let place = sending.acquire().await;
            let answer = self.lock.undo(&self.claim).await;
            drop(place);
            match answer {
                Ok(Release::Expired | Release::Stolen) if self.may_come_late() => checks += 1,
                Ok(_) => return,
                Err(error) => tracing::debug!(name = %self.claim.name, %error, "release"),
            }
            let is_freed = !self.lock.outlives_ttl() && Instant::now() + pause >= freed;
            if checks > CHECKS_MAX || is_freed {
                return;
            }
            if closing.run_until_cancelled(time::sleep(pause)).await.is_none() {
                // One last try on the way out; after it, the ttl has to do.
                self.lock.undo(&self.claim).await.ok();
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whether "you are not the holder" can be too early: the acquire may still be under way, on a
    /// connection that we no longer have, and succeed once the present holder is gone.
    fn may_come_late(&self) -> bool {
        matches!(self.cause, Cause::Unknown | Cause::Dropped)
    }
}
