//! Processor time, as the operating system counts it: of this process to the microsecond, of others in
//! ticks of 10 ms, and only where there is a `/proc`.

use std::fs;

use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeVal,
    },
    unistd::{Pid, SysconfVar, sysconf},
};
use tokio::time::Duration;

/// What this process has used so far, in all of its threads.
#[must_use]
pub fn here() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let time = |it: TimeVal| {
        let (seconds, micros) =
            (u64::try_from(it.tv_sec()).ok()?, u64::try_from(it.tv_usec()).ok()?);
        Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
    };
    Some(time(usage.user_time())? + time(usage.system_time())?)
}

/// What another process has used so far, and the processes that it has started: those that run, and
/// those that have ended and that it has waited for.
#[must_use]
pub fn of(pid: Pid) -> Option<Duration> {
    let tick = Duration::from_secs(1) / u32::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let own = tick * u32::try_from(ticks(&stat)?).ok()?;
    Some(own + children(pid).into_iter().filter_map(of).sum::<Duration>())
}

/// The processes that a process has started and that run. Only Linux says which.
#[must_use]
pub fn children(pid: Pid) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// The sum of utime, stime, cutime and cstime (proc(5)): the fields 14 to 17. The second is the name of
/// the program in parentheses, in which there may be anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().skip(11).take(4).collect();
    if fields.len() < 4 {
        return None;
    }
    fields.into_iter().map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_program_may_hold_anything() {
        let stat = "7 (a) b (c) R 1 7 7 0 -1 4194560 95 0 0 0 11 22 33 44 20 0 1 0";
        assert_eq!(ticks(stat), Some(110));
        assert_eq!(ticks("7 (short) R 1 7"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn work_takes_processor_time() {
        let (before, mut sum) = (here().unwrap(), 0_u64);
        while here().unwrap() < before + Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(of(Pid::this()).unwrap() >= Duration::from_millis(20), "two ticks at least");
        assert!(of(Pid::from_raw(i32::MAX)).is_none(), "there is no such process");
    }
}
