//! A history in Jepsen's format, for checkers that others wrote: Knossos, Elle, Porcupine.
//!
//! One operation map a line, in the order of time: an `:invoke`, and at most one completion by the
//! same process: `:ok`, `:fail` (certainly no effect) or `:info` (nobody knows). `:time` is in
//! nanoseconds since the first event. `:order`, `:server` and `:clock` say where an operation comes
//! from; checkers ignore them.
//!
//! A product has three sides, each with a model of its own. Filter by `:f` before checking:
//!
//! | `:f` | `:value` | model |
//! |---|---|---|
//! | `:purchase` | `[quantity stock-left]`, before `:ok` `[quantity nil]` | an inventory |
//! | `:acquire`, `:release` | the fencing token or `nil` | a mutex, as the lock service promised it |
//! | `:read`, `:write` | the stock | a register that begins at the stock of the reset |
//!
//! - An order has one process for its purchase, and one on each server for its steps. After an
//!   `:info`, or when two operations would overlap, its next operation gets a process of its own.
//! - Only leases whose lock promised exclusion are acquired and released. A lease that ends without
//!   a confirmed release (it expired, its holder crashed, it was handed over) is released by an
//!   `:info` of a process of its own: from then on, the lock may be free.
//! - A release that found its lease gone is a `:fail`.
//! - A write whose reply was lost is an `:info` that begins just after its read: when it was sent
//!   is not recorded. An atomic step whose reply was lost has no known value: it is a `:purchase`
//!   with `:info`, but no `:write`, and a comment says that the register is not whole.
//! - An operation whose beginning the history dropped is left out.
//! - Times of different clocks cannot be compared. If there is more than one, a comment says so.

use std::fmt::Write;

use crate::{
    history::{
        EventKind, Record,
        lease::HeldLease,
        trace::{End, Trace, TracedEvent, Traces, last_read},
    },
    outcome::Outcome,
};
use locklab_locks::step::Step;

/// Which order an operation belongs to, and who recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Origin<'a> {
    order_id: &'a str,
    server: &'a str,
    clock: &'a str,
}

/// How an operation completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Completion {
    Ok,
    Fail,
    Info,
}

/// An operation: what was asked for, and, if that is known, what came of it and when.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Operation<'a> {
    origin: Origin<'a>,
    began_ns: u64,
    ended: Option<(u64, Completion)>,
    f: &'static str,
    asked: String,
    answered: String,
    error: Option<&'static str>,
}

/// The history of a product in Jepsen's format.
#[must_use]
pub fn edn(history: &[Record]) -> String {
    let traces = Traces::new(history);
    let (mut steps, mut alone) = (Vec::new(), Vec::new());
    let mut unseen_writes = 0;
    for trace in traces.iter() {
        alone.extend(purchase(trace));
        steps.extend(refused_acquire(trace));
        for lane in trace.lanes() {
            steps.extend(lane.iter().filter_map(|traced| access(trace, traced)));
            steps.extend(unconfirmed_write(trace, lane));
        }
        let read = trace.lanes().any(|lane| last_read(lane, u64::MAX).is_some());
        unseen_writes += usize::from(trace.may_have_sold() && !read);
    }
    hold(&traces, &mut steps, &mut alone);
    let mut processes = sequences(steps);
    processes.extend(alone.into_iter().map(|op| vec![op]));
    for op in processes.iter_mut().flatten() {
        op.began_ns = traces.since_first(op.origin.clock, op.began_ns);
        let ended = |at_ns| traces.since_first(op.origin.clock, at_ns).max(op.began_ns);
        op.ended = op.ended.map(|(at_ns, how)| (ended(at_ns), how));
    }
    // Numbered by when they begin, so that a reader finds them in that order.
    processes.sort_unstable_by_key(|ops| (ops[0].began_ns, ops[0].clone()));
    let mut text = warnings(traces.clocks().count(), unseen_writes);
    write(&mut text, &processes);
    text
}

/// The purchase, as its buyer saw it.
fn purchase<'a>(trace: &Trace<'a>) -> Option<Operation<'a>> {
    let (invoked, quantity) = trace.invoked()?;
    let ended = trace.ended().filter(|traced| traced.clock == invoked.clock);
    let (how, error) = match trace.end() {
        End::Sold => (Completion::Ok, None),
        End::Fail(outcome) => (Completion::Fail, Some(outcome.into())),
        End::Unknown(step) => (Completion::Info, Some(step.name())),
        // Without an event that ended it, this is not looked at.
        End::Open => (Completion::Info, None),
    };
    let left = trace.sales().next().map_or_else(nil, |sale| sale.stock.to_string());
    Some(Operation {
        origin: origin(trace, invoked),
        began_ns: invoked.event.at_ns,
        ended: ended.map(|traced| (traced.event.at_ns, how)),
        f: "purchase",
        asked: format!("[{quantity} nil]"),
        answered: format!("[{quantity} {left}]"),
        error,
    })
}

/// An acquire that was not granted, or whose answer was lost.
fn refused_acquire<'a>(trace: &Trace<'a>) -> Option<Operation<'a>> {
    let how = match trace.end() {
        End::Fail(Outcome::Busy) => Completion::Fail,
        End::Unknown(Step::Acquire | Step::BetweenSetnxAndExpire) => Completion::Info,
        _ => return None,
    };
    let ((invoked, _), ended) = (trace.invoked()?, trace.ended()?);
    let same = (invoked.clock, invoked.server) == (ended.clock, ended.server);
    same.then(|| Operation {
        ended: Some((ended.event.at_ns, how)),
        ..op(origin(trace, invoked), "acquire", invoked.event.at_ns)
    })
}

/// A read or a write that was answered.
fn access<'a>(trace: &Trace<'a>, traced: &TracedEvent<'a>) -> Option<Operation<'a>> {
    let ended = Some((traced.event.at_ns, Completion::Ok));
    let origin = origin(trace, traced);
    match traced.event.kind {
        EventKind::Read { since_ns, stock, .. } => {
            Some(Operation { ended, answered: stock.to_string(), ..op(origin, "read", since_ns) })
        }
        EventKind::Written { since_ns, stock, .. } => {
            let (asked, answered) = (stock.to_string(), stock.to_string());
            Some(Operation { ended, asked, answered, ..op(origin, "write", since_ns) })
        }
        _ => None,
    }
}

/// A write that may have been sent after the last read of a lane, and was never answered.
fn unconfirmed_write<'a>(trace: &Trace<'a>, lane: &[TracedEvent<'a>]) -> Option<Operation<'a>> {
    let (_, quantity) = trace.invoked().filter(|_| trace.may_have_sold())?;
    let (quantity, read) = (i64::from(quantity), last_read(lane, u64::MAX)?);
    let origin = origin(trace, lane.first()?);
    let lost = lane.iter().find(|traced| matches!(traced.event.kind, EventKind::Unknown { .. }));
    let ended = lost.map(|traced| (traced.event.at_ns, Completion::Info));
    let asked = read.stock.saturating_sub(quantity).to_string();
    // Who reads that there is not enough does not write.
    (read.stock >= quantity).then(|| Operation {
        ended,
        asked,
        ..op(origin, "write", read.at_ns + 1)
    })
}

/// Who acquired and released the lock. Releases that nobody sent, or that had no effect, are
/// processes of their own.
fn hold<'a>(traces: &Traces<'a>, steps: &mut Vec<Operation<'a>>, alone: &mut Vec<Operation<'a>>) {
    let leases = traces.iter().flat_map(Trace::leases).filter(|lease| lease.exclusive);
    let mut leases: Vec<HeldLease<'_>> = leases.collect();
    leases.sort_unstable_by_key(|lease| (lease.clock, lease.token, lease.at_ns, lease.order_id));
    for (at, lease) in leases.iter().enumerate() {
        let HeldLease { order_id, server, clock, .. } = *lease;
        let origin = Origin { order_id, server, clock };
        let token = lease.fencing_token.map_or_else(nil, |token| token.to_string());
        // A lease that several orders had in turn was acquired by the first and released by the
        // last, unless it was handed over by name.
        let passes = |one: &HeldLease<'_>, next: &HeldLease<'_>| {
            (one.clock, one.token) == (next.clock, next.token) && one.released.is_none()
        };
        let received = at.checked_sub(1).is_some_and(|before| passes(&leases[before], lease));
        let passed_on = leases.get(at + 1).is_some_and(|next| passes(lease, next));
        if !received {
            let ended = Some((lease.at_ns, Completion::Ok));
            let answered = token.clone();
            steps.push(Operation { ended, answered, ..op(origin, "acquire", lease.since_ns) });
        }
        let mut confirmed = false;
        if let Some(released) = lease.released {
            let how = match released.how {
                "released" => Completion::Ok,
                "expired" | "stolen" => Completion::Fail,
                _ => Completion::Info,
            };
            confirmed = how != Completion::Fail && released.since_ns <= lease.stood_until();
            let (asked, answered) = (token.clone(), token.clone());
            let ended = Some((released.at_ns, how));
            let release = op(origin, "release", released.since_ns);
            steps.push(Operation { ended, asked, answered, ..release });
        }
        if !confirmed && !passed_on {
            let end_ns = lease.stood_until();
            let ended = Some((end_ns, Completion::Info));
            alone.push(Operation { ended, asked: token, ..op(origin, "release", end_ns) });
        }
    }
}

fn origin<'a>(trace: &Trace<'a>, traced: &TracedEvent<'a>) -> Origin<'a> {
    Origin { order_id: trace.order_id, server: traced.server, clock: traced.clock }
}

fn op<'a>(origin: Origin<'a>, f: &'static str, began_ns: u64) -> Operation<'a> {
    Operation { origin, began_ns, ended: None, f, asked: nil(), answered: nil(), error: None }
}

fn nil() -> String {
    "nil".to_owned()
}

/// Distributes the steps of orders on processes: one after the other on the same, as long as each
/// was known to have ended before the next began.
fn sequences(mut steps: Vec<Operation<'_>>) -> Vec<Vec<Operation<'_>>> {
    steps.sort_unstable();
    let follows = |one: &Operation<'_>, next: &Operation<'_>| {
        let known = one.ended.filter(|(_, how)| *how != Completion::Info);
        one.origin == next.origin && known.is_some_and(|(at_ns, _)| at_ns < next.began_ns)
    };
    steps.chunk_by(follows).map(<[_]>::to_vec).collect()
}

/// What this export cannot be used for, as comments.
fn warnings(clocks: usize, unseen_writes: usize) -> String {
    let mut text = String::new();
    if clocks > 1 {
        text.push_str("; several clocks: only times of the same :clock can be compared\n");
    }
    if unseen_writes > 0 {
        text.push_str("; lost replies: the stock may have become what no :write here says\n");
    }
    text
}

/// Writes the operations of processes, each as its invocation and its completion.
fn write(text: &mut String, processes: &[Vec<Operation<'_>>]) {
    let mut lines = Vec::new();
    for (process, ops) in processes.iter().enumerate() {
        for op in ops {
            lines.push((op.began_ns, false, process, op, "invoke", &op.asked));
            if let Some((at_ns, how)) = op.ended {
                let (name, value) = match how {
                    Completion::Ok => ("ok", &op.answered),
                    Completion::Fail => ("fail", &op.asked),
                    Completion::Info => ("info", &op.asked),
                };
                lines.push((at_ns, true, process, op, name, value));
            }
        }
    }
    // Of what happened in the same nanosecond, nothing is known to have ended before the other
    // began.
    lines.sort_unstable_by_key(|&(at_ns, completes, process, ..)| (at_ns, completes, process));
    for (index, (time, completes, process, op, name, value)) in lines.into_iter().enumerate() {
        let error = op.error.filter(|_| completes);
        let error = error.map_or_else(String::new, |error| format!(", :error :{error}"));
        let Origin { order_id, server, clock } = op.origin;
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "{{:index {index}, :type :{name}, :process {process}, :f :{}, :value {value}, \
             :time {time}{error}, :order {}, :server {}, :clock {}}}",
            op.f,
            string(order_id),
            string(server),
            string(clock)
        );
    }
}

/// A string as EDN has it, on one line.
fn string(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
