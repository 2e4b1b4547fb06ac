//! Instruments: what is measured, on what, and how it is exported.

pub mod clock;
pub mod cpu;
pub mod definitions;
pub mod exporter;
#[cfg_attr(not(target_os = "linux"), path = "measure/no_proc.rs")]
pub mod proc;
pub mod runtime;
pub mod sample;
