//! Instruments: what is measured, on what, and how it is exported.

pub mod clock;
pub mod cpu;
pub mod definitions;
pub mod exporter;
pub mod runtime;
pub mod sample;
