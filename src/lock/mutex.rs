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

use crate::{
    backends::BackendError,
    lock::{Attempt, Claim, Grant, Lock, Method, Release},
    product::Product,
    stock::Store,
    strategy::{Expected, Family, LOCK_STEPS, Strategy},
    token::Token,
};

/// The registry row.
pub static STRATEGY: Strategy = Strategy {
    name: "mutex",
    family: Family::Lock,
    store: Store::Redis,
    summary: "in-process mutex per product",
    expected: Expected::ExactOnOneServer,
    fails: "a second server process",
    steps: LOCK_STEPS,
    sells_carts: true,
    connect: |_| Method::Lock(Arc::new(ProcessMutex::default())),
};

/// Who holds what. Bounded by the purchases in flight: an entry lives as long as its lease.
#[derive(Default)]
struct ProcessMutex {
    holders: Mutex<HashMap<Product, Token>>,
}

#[async_trait]
impl Lock for ProcessMutex {
    async fn attempt(&self, claim: &Claim) -> Result<Attempt, BackendError> {
        let mut holders = self.holders.lock();
        if holders.contains_key(&claim.product) {
            return Ok(Attempt::Busy);
        }
        holders.insert(claim.product.clone(), claim.token.clone());
        Ok(Attempt::Granted(Grant::default()))
    }

    async fn release(&self, claim: &Claim) -> Result<Release, BackendError> {
        let mut holders = self.holders.lock();
        Ok(match holders.get(&claim.product) {
            Some(holder) if *holder == claim.token => {
                holders.remove(&claim.product);
                Release::Released
            }
            // Only a reset takes a lease away.
            Some(_) => Release::Stolen,
            None => Release::Expired,
        })
    }

    fn crash(&self, claim: &Claim) {
        // The memory of a process dies with it.
        let mut holders = self.holders.lock();
        if holders.get(&claim.product) == Some(&claim.token) {
            holders.remove(&claim.product);
        }
    }

    async fn clear(&self, product: &Product) -> Result<(), BackendError> {
        self.holders.lock().remove(product);
        Ok(())
    }
}
