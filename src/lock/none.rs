//! `none`: no lock at all. The control that shows the race.
//!
//! - Algorithm: GET, work, SET.
//! - Guarantees: nothing.
//! - Does not guarantee: anything; any concurrency oversells.
//! - Clock: none.
//! - Cancellation: nothing is held, so nothing leaks.
//! - Commands sent: none.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    backends::{Backend, BackendError},
    fault::Step,
    lock::{Attempt, Claim, Grant, Lock, Method, Release},
    product::Product,
    stock::Store,
    strategy::{Expected, Family, Strategy},
    wait::Waitable,
};

/// The registry row.
pub static STRATEGY: Strategy = Strategy {
    name: "none",
    family: Family::Lock,
    store: Store::Redis,
    backend: Backend::Redis,
    summary: "GET, work, SET",
    expected: Expected::Oversells,
    fails: "any concurrency",
    steps: &[Step::Read, Step::Work, Step::BeforeWrite, Step::Write, Step::AfterWrite],
    sells_carts: true,
    extends_leases: false,
    connect: |_| Method::Lock(Arc::new(NoLock)),
};

struct NoLock;

/// It is never busy.
impl Waitable for NoLock {}

#[async_trait]
impl Lock for NoLock {
    async fn attempt(&self, _: &Claim) -> Result<Attempt, BackendError> {
        Ok(Attempt::Granted(Grant { excludes_nobody: true, ..Grant::default() }))
    }

    async fn release(&self, _: &Claim) -> Result<Release, BackendError> {
        Ok(Release::Released)
    }

    async fn clear(&self, _: &Product) -> Result<(), BackendError> {
        Ok(())
    }
}
