//! What the operating system and tokio know of this process, read when it is asked for. The `metrics`
//! crate has whole counters only, and seconds are none, so this is written down here.

use std::fmt::{Display, Write};

use metrics_process::collector;
use tokio::{runtime::Handle, time::Duration};

use super::definitions as def;
use locklab_locks::measure::{Definition, Kind};

/// Everything that is known, as Prometheus text.
pub fn render() -> String {
    let mut text = String::new();
    let process = collector::collect();
    write(&mut text, &def::PROCESS_CPU_SECONDS, process.cpu_seconds_total);
    write(&mut text, &def::PROCESS_RESIDENT_MEMORY, process.resident_memory_bytes);
    write(&mut text, &def::PROCESS_VIRTUAL_MEMORY, process.virtual_memory_bytes);
    write(&mut text, &def::PROCESS_OPEN_FDS, process.open_fds);
    write(&mut text, &def::PROCESS_MAX_FDS, process.max_fds);
    write(&mut text, &def::PROCESS_THREADS, process.threads);
    write(&mut text, &def::PROCESS_START_TIME, process.start_time_seconds);
    if let Ok(handle) = Handle::try_current() {
        let tokio = handle.metrics();
        let workers = 0..tokio.num_workers();
        let busy: Duration =
            workers.clone().map(|worker| tokio.worker_total_busy_duration(worker)).sum();
        let parks: u64 = workers.map(|worker| tokio.worker_park_count(worker)).sum();
        write(&mut text, &def::TOKIO_WORKERS, Some(tokio.num_workers()));
        write(&mut text, &def::TOKIO_WORKER_BUSY, Some(busy.as_secs_f64()));
        write(&mut text, &def::TOKIO_WORKER_PARKS, Some(parks));
        write(&mut text, &def::TOKIO_ALIVE_TASKS, Some(tokio.num_alive_tasks()));
        write(&mut text, &def::TOKIO_GLOBAL_QUEUE_DEPTH, Some(tokio.global_queue_depth()));
    }
    text
}

/// What is not known on this system is left out.
fn write(text: &mut String, definition: &Definition, value: Option<impl Display>) {
    let Some(value) = value else { return };
    let Definition { name, help, kind } = definition;
    let kind = if matches!(kind, Kind::Counter) { "counter" } else { "gauge" };
    // Writing to a string does not fail.
    write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n").ok();
}
