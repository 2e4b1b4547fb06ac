//! Distributed locks.

pub mod duration;
pub mod error;
pub mod fault;
pub mod lease;
pub mod lock;
pub mod measure;
pub mod name;
pub mod random;
pub mod step;
pub mod token;
pub mod wait;
pub mod wires;
