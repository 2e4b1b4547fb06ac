//! One binary for every integration test: `server`, `redis_server`, `prometheus_server` and `proxy`
//! start real processes, the other modules are what is asked of them.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod bad_input;
mod carts;
mod cli;
mod contract;
mod dashboard_linter;
mod dashboard_style;
mod dashboards;
mod drill;
mod etcd;
mod etcd_server;
mod evidence;
mod extension;
mod faults;
mod foreign;
mod hang_up;
mod http;
mod idempotency;
mod known_defects;
mod lab;
mod leader;
mod load_tests;
mod lock_bench;
mod logs;
mod metrics;
mod metrics_document;
mod notify;
mod openapi;
mod outage;
mod processes;
mod prometheus_server;
mod proxy;
mod queries;
mod queue;
mod redis_server;
mod redlock;
mod release;
mod renewal;
mod rules;
mod server;
mod tidy;
mod traces;
mod waiting;
mod wakeups;
mod watching;
