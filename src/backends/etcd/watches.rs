//! Who waits for keys to be deleted, and how they learn of it: one watch for each prefix that
//! somebody waits for, shared by all who do.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use etcd_client::{Client, EventType, WatchFilterType, WatchOptions, WatchStream};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{self, Duration},
};

use crate::{backends::BackendError, wait::Subscription};

/// Pause before a watch that has ended is begun again.
const RETRY: Duration = Duration::from_millis(100);

type Watched = Mutex<HashMap<String, Weak<Membership>>>;

/// The watches of one client.
pub struct Watches {
    watched: Arc<Watched>,
    members: Arc<[Client]>,
    current: watch::Receiver<Option<usize>>,
    timeout: Duration,
}

/// What all have who wait for one prefix; the watch ends with the last of them.
struct Membership {
    prefix: String,
    watched: Arc<Watched>,
    releases: Arc<Notify>,
    /// Whether every deletion is told from now on.
    is_told: watch::Receiver<bool>,
    task: AbortHandle,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
        let mut watched = self.watched.lock();
        // Somebody may have begun another one meanwhile.
        if watched.get(&self.prefix).is_some_and(|it| it.strong_count() == 0) {
            watched.remove(&self.prefix);
        }
    }
}

impl Watches {
    pub(super) fn new(
        members: Arc<[Client]>,
        current: watch::Receiver<Option<usize>>,
        timeout: Duration,
    ) -> Self {
        Self { watched: Arc::default(), members, current, timeout }
    }

    /// Tells of every deletion below the prefix after this has returned.
    ///
    /// # Errors
    /// No member tells at the moment.
    ///
    /// # Cancellation
    /// Dropping the future ends the subscription.
    pub async fn subscribe(&self, prefix: &str) -> Result<Subscription, BackendError> {
        let membership = self.join(prefix);
        let mut is_told = membership.is_told.clone();
        let told = time::timeout(self.timeout, is_told.wait_for(|told| *told)).await;
        if let Ok(Ok(_)) = told {
            return Ok(Subscription::new(Arc::clone(&membership.releases), membership));
        }
        let cause = "it does not tell of deletions".into();
        Err(BackendError::Unavailable { backend: "etcd", cause })
    }

    fn join(&self, prefix: &str) -> Arc<Membership> {
        let mut watched = self.watched.lock();
        if let Some(membership) = watched.get(prefix).and_then(Weak::upgrade) {
            return membership;
        }
        let (sender, is_told) = watch::channel(false);
        let releases = Arc::new(Notify::new());
        let watcher = Watcher {
            prefix: prefix.to_owned(),
            members: Arc::clone(&self.members),
            current: self.current.clone(),
            timeout: self.timeout,
            releases: Arc::clone(&releases),
            is_told: sender,
        };
        let membership = Arc::new(Membership {
            prefix: prefix.to_owned(),
            watched: Arc::clone(&self.watched),
            releases,
            is_told,
            task: tokio::spawn(watcher.run()).abort_handle(),
        });
        watched.insert(prefix.to_owned(), Arc::downgrade(&membership));
        membership
    }
}

/// Watches one prefix.
struct Watcher {
    prefix: String,
    members: Arc<[Client]>,
    current: watch::Receiver<Option<usize>>,
    timeout: Duration,
    releases: Arc<Notify>,
    is_told: watch::Sender<bool>,
}

impl Watcher {
    /// Watches again and again, always at the member that is used: whoever tries reads there, so what
    /// the watch begins after has been seen.
    async fn run(self) {
        let mut current = self.current.clone();
        let mut was_told = false;
        loop {
            let member = *current.borrow_and_update();
            let client = member.and_then(|member| self.members.get(member)).cloned();
            if let Some(client) = client
                && let Ok(Some(mut stream)) =
                    time::timeout(self.timeout, begin(client, &self.prefix)).await
            {
                self.is_told.send_replace(true);
                if std::mem::replace(&mut was_told, true) {
                    // There may have been deletions since the last watch ended.
                    self.releases.notify_one();
                }
                tokio::select! {
                    () = self.tell(&mut stream) => {}
                    _ = current.changed() => {}
                }
                self.is_told.send_replace(false);
            }
            time::sleep(RETRY).await;
        }
    }

    /// Wakes one waiter for every deletion, until the watch ends.
    async fn tell(&self, stream: &mut WatchStream) {
        while let Ok(Some(response)) = stream.message().await {
            if response.canceled() {
                return;
            }
            let deletions =
                response.events().iter().filter(|event| event.event_type() == EventType::Delete);
            deletions.for_each(|_| self.releases.notify_one());
        }
    }
}

/// A watch for deletions that has begun.
async fn begin(mut client: Client, prefix: &str) -> Option<WatchStream> {
    let options = WatchOptions::new().with_prefix().with_filters([WatchFilterType::NoPut]);
    let mut stream = client.watch(prefix, Some(options)).await.ok()?;
    let first = stream.message().await.ok()??;
    (first.created() && !first.canceled()).then_some(stream)
}
