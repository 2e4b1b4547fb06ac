//! What is measured of purchases, of their locks as buyers see them, of the server and of its process: one
//! constant per metric. The locks and their wires declare their own.

use locklab_locks::{definitions, measure::Kind};

/// From half a command's round trip to the longest wait, with the default ttl (5 s) as a bound.
const LOCK_SECONDS: Kind = Kind::Histogram(&[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
]);

/// Fine enough for a request that touches nothing, wide enough for one that waits for a lock.
const HTTP_SECONDS: Kind = Kind::Histogram(&[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
]);

/// Fibonacci numbers, around the default maximum of 15.
const RETRIES: Kind =
    Kind::Histogram(&[0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 15.0, 21.0, 34.0, 55.0, 89.0]);

/// 1 is the violation; the bounds below it warn before.
const RATIO: Kind = Kind::Histogram(&[0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.5, 2.0]);

definitions! {
    HTTP_REQUEST_DURATION: "http_server_request_duration_seconds", HTTP_SECONDS,
        "Time from the request's head to the response's head, or to its client's hanging up (499).";
    REQUESTS_IN_FLIGHT: "locklab_requests_in_flight", Kind::Gauge,
        "Purchases being carried out, those included whose client has gone.";
    REQUESTS_SHED: "locklab_requests_shed_total", Kind::Counter,
        "Purchases turned away before they started, by reason.";
    PURCHASES: "locklab_purchases_total", Kind::Counter,
        "Purchases that were not turned away, by strategy and outcome.";
    PURCHASE_RETRIES: "locklab_purchase_retries_total", Kind::Counter,
        "Tries of purchases after their first: to acquire, or, without a lock, to sell.";
    PURCHASES_REPEATED: "locklab_purchases_repeated_total", Kind::Counter,
        "Purchases that got the answer of an earlier one with the same Idempotency-Key.";
    UNITS_SOLD: "locklab_units_sold_total", Kind::Counter,
        "Units sold, as the store confirmed; a sale whose confirmation was lost is in the ledger only.";
    UNITS_OVERSOLD: "locklab_units_oversold_total", Kind::Counter,
        "Units sold beyond what there was, from the ledger.";
    LOST_UPDATES: "locklab_lost_updates_total", Kind::Counter,
        "Units that others had taken from the stock between a read and its write, and that the write put back.";
    LOCK_ATTEMPTS: "locklab_lock_attempts_total", Kind::Counter,
        "Tries to acquire a lock, by how each ended; unknown means that the reply was lost.";
    LOCK_ACQUISITIONS: "locklab_lock_acquisitions_total", Kind::Counter,
        "Callers who wanted a lock, by how the last of their tries ended.";
    LOCK_ACQUISITION_RETRIES: "locklab_lock_acquisition_retries", RETRIES,
        "Tries of one caller after the first, by wait policy.";
    LOCK_WAITERS: "locklab_lock_waiters", Kind::Gauge,
        "Callers who want a lock at this moment.";
    LOCK_WAIT: "locklab_lock_wait_seconds", LOCK_SECONDS,
        "Time from wanting a lock to having it, or to giving up.";
    LOCK_HANDOFF: "locklab_lock_handoff_seconds", LOCK_SECONDS,
        "Time from the beginning of a release, while somebody at this server waits, to the next grant here.";
    LOCK_HOLD: "locklab_lock_hold_seconds", LOCK_SECONDS,
        "Time from being granted a lease, or handed it, to the end of its release.";
    LOCK_HOLD_TTL_RATIO: "locklab_lock_hold_ttl_ratio", RATIO,
        "Age of a lease at its release divided by its ttl: above 1 it ended before the work did.";
    LOCK_TTL_VIOLATIONS: "locklab_lock_ttl_violations_total", Kind::Counter,
        "Leases that outlived their deadline, by the stage at which that was first seen.";
    LOCK_RELEASES: "locklab_lock_releases_total", Kind::Counter,
        "Leases released by their holder, by what the lock service answered.";
    LOCK_HAND_OVERS: "locklab_lock_hand_overs_total", Kind::Counter,
        "Leases handed over to the next in line at the same server, instead of being released.";
    CRITICAL_SECTIONS: "locklab_critical_sections", Kind::Gauge,
        "Critical sections that purchases are in, from the grant to the end of the write; a cart is in several.";
    CRITICAL_SECTIONS_PEAK: "locklab_critical_sections_peak", Kind::Gauge,
        "The most purchases in the critical section of one product at once, since the last scrape.";
    CRITICAL_SECTION_OVERLAPS: "locklab_critical_section_overlaps_total", Kind::Counter,
        "Purchases that entered the critical section of a product while another was in it, at this server.";
    FENCING_REJECTIONS: "locklab_fencing_rejections_total", Kind::Counter,
        "Holders that the store refused, for it had seen a newer fencing token.";
    QUEUE_WAITING: "locklab_queue_waiting", Kind::Gauge,
        "Buyers of this server under queue that have no answer yet.";
    QUEUE_LEASES: "locklab_queue_leases_total", Kind::Counter,
        "Leases that consumers of queues gave up, by what the lock service answered.";
    QUEUE_ELECTIONS: "locklab_queue_elections_total", Kind::Counter,
        "Times that this server became the consumer of a queue.";
    HISTORY_DROPPED: "locklab_history_dropped_records_total", Kind::Counter,
        "Records that may not have come into a history: the queue was full, or the store refused one of a batch.";
    RESETS: "locklab_resets_total", Kind::Counter,
        "Products reset.";
    LAST_RESET_TIMESTAMP: "locklab_last_reset_timestamp_seconds", Kind::Gauge,
        "When a product was last reset, in seconds since 1970; 0 if none was.";
    STRATEGY_INFO: "locklab_strategy_info", Kind::Gauge,
        "Always 1; the labels say what a strategy is, and what is expected of it.";
    BUILD_INFO: "locklab_build_info", Kind::Gauge,
        "Always 1; the labels say which build this is.";
    PROCESS_CPU_SECONDS: "process_cpu_seconds_total", Kind::Counter,
        "Time that this process was given by the processors, in seconds.";
    PROCESS_RESIDENT_MEMORY: "process_resident_memory_bytes", Kind::Gauge,
        "Memory that this process occupies.";
    PROCESS_VIRTUAL_MEMORY: "process_virtual_memory_bytes", Kind::Gauge,
        "Memory that this process may use without asking again.";
    PROCESS_OPEN_FDS: "process_open_fds", Kind::Gauge,
        "File descriptors in use; each connection is one.";
    PROCESS_MAX_FDS: "process_max_fds", Kind::Gauge,
        "File descriptors that this process may use.";
    PROCESS_THREADS: "process_threads", Kind::Gauge,
        "Threads of this process.";
    PROCESS_START_TIME: "process_start_time_seconds", Kind::Gauge,
        "When this process was started, in seconds since 1970.";
    TOKIO_WORKERS: "tokio_workers", Kind::Gauge,
        "Threads that carry out tasks.";
    TOKIO_WORKER_BUSY: "tokio_worker_busy_seconds_total", Kind::Counter,
        "Time that all workers together have spent on tasks, in seconds.";
    TOKIO_WORKER_PARKS: "tokio_worker_parks_total", Kind::Counter,
        "Times that a worker had nothing to do and went to sleep.";
    TOKIO_ALIVE_TASKS: "tokio_alive_tasks", Kind::Gauge,
        "Tasks that have begun and not ended.";
    TOKIO_GLOBAL_QUEUE_DEPTH: "tokio_global_queue_depth", Kind::Gauge,
        "Tasks that are ready, and that no worker has taken up.";
}
