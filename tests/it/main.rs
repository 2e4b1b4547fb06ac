//! One binary for every integration test: each module is a room, `support` starts real servers.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod bad_input;
mod cli;
mod contract;
mod http;
mod load_tests;
mod metrics;
mod openapi;
mod outage;
mod processes;
mod redis_server;
mod release;
mod server;
mod tidy;
