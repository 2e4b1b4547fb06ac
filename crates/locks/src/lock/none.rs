//! `none`: no lock at all. The control that shows the race.
//!
//! - Algorithm: GET, work, SET.
//! - Guarantees: nothing.
//! - Does not guarantee: anything; any concurrency oversells.
//! - Clock: none.
//! - Cancellation: nothing is held, so nothing leaks.
//! - Commands sent: none.

use async_trait::async_trait;

use crate::{
    error::BackendError,
    lock::{Attempt, Claim, Grant, Lock, Release},
    name::Name,
    wait::Waitable,
};

/// The lock of `none`.
pub struct NoLock;

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

    async fn clear(&self, _: &Name) -> Result<(), BackendError> {
        Ok(())
    }
}
