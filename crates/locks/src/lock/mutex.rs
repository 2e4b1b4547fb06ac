//! `mutex`: a mutex per product inside this process. Right, as long as there is one process.
//!
//! - Algorithm: a table of who holds what, in memory.
//! - Guarantees: mutual exclusion among the purchases of one server process.
//! - Does not guarantee: anything towards a second process on the same store.
//! - Clock: none; a lease never expires.
//! - Cancellation: a dropped lease is released by the release task; a claim that was not granted is
//!   not in the table.
//! - Commands sent: none.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Duration};

use crate::{
    error::BackendError,
    lock::{Attempt, Claim, Grant, Lock, Release},
    name::Name,
    token::Token,
    wait::Waitable,
    wires::subscription::Subscription,
};

/// Bounded by the purchases in flight: an entry lives as long as its lease, or its waiters.
#[derive(Default)]
pub struct ProcessMutex(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    holders: HashMap<Name, Token>,
    waiters: HashMap<Name, Waiters>,
}

#[derive(Default)]
struct Waiters {
    count: usize,
    released: Arc<Notify>,
}

impl Table {
    /// Nobody holds it any more: wakes who has waited longest.
    fn free(&mut self, name: &Name) {
        self.holders.remove(name);
        if let Some(waiters) = self.waiters.get(name) {
            waiters.released.notify_one();
        }
    }
}

/// Being counted as a waiter.
struct Membership {
    table: Arc<Mutex<Table>>,
    name: Name,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        if let Some(waiters) = table.waiters.get_mut(&self.name) {
            waiters.count -= 1;
            if waiters.count == 0 {
                table.waiters.remove(&self.name);
            }
        }
    }
}

#[async_trait]
impl Waitable for ProcessMutex {
    async fn subscribe(&self, name: &Name) -> Result<Option<Subscription>, BackendError> {
        let mut table = self.0.lock();
        let waiters = table.waiters.entry(name.clone()).or_default();
        waiters.count += 1;
        let membership = Membership { table: Arc::clone(&self.0), name: name.clone() };
        Ok(Some(Subscription::new(Arc::clone(&waiters.released), membership)))
    }

    async fn time_left(&self, name: &Name) -> Result<Option<Duration>, BackendError> {
        let is_held = self.0.lock().holders.contains_key(name);
        Ok((!is_held).then_some(Duration::ZERO))
    }
}

#[async_trait]
impl Lock for ProcessMutex {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        let holders = &mut self.0.lock().holders;
        if holders.contains_key(&claim.name) {
            return Ok(Attempt::Busy);
        }
        holders.insert(claim.name.clone(), claim.token.clone());
        Ok(Attempt::Granted(Grant::default()))
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        let mut table = self.0.lock();
        Ok(match table.holders.get(&claim.name) {
            Some(holder) if *holder == claim.token => {
                table.free(&claim.name);
                Release::Released
            }
            // Only a reset takes a lease away.
            Some(_) => Release::Stolen,
            None => Release::Expired,
        })
    }

    fn crash(&self, claim: &Claim) {
        // The memory of a process dies with it.
        let mut table = self.0.lock();
        if table.holders.get(&claim.name) == Some(&claim.token) {
            table.free(&claim.name);
        }
    }

    async fn clear(&self, name: &Name) -> Result<(), BackendError> {
        self.0.lock().free(name);
        Ok(())
    }
}
