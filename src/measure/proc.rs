//! What Linux tells of processes and of this machine, in `/proc`.

use nix::unistd::Pid;
use procfs::{
    CpuInfo, Current, Meminfo,
    process::{Process, Stat},
    sys::kernel::random,
    ticks_per_second,
};
use tokio::time::Duration;

/// The processor time that a process has used so far, and the processes that it has started: those
/// that run, and those that have ended and that it has waited for.
#[must_use]
pub fn cpu(pid: Pid) -> Option<Duration> {
    let stat = Process::new(pid.as_raw()).and_then(|process| process.stat()).ok()?;
    let tick = Duration::from_secs(1) / u32::try_from(ticks_per_second()).ok()?;
    let own = tick * u32::try_from(ticks(&stat)?).ok()?;
    Some(own + children(pid).into_iter().filter_map(cpu).sum::<Duration>())
}

/// Ticks of a process, and of those that it has waited for.
fn ticks(stat: &Stat) -> Option<u64> {
    let waited_for = u64::try_from(stat.cutime + stat.cstime).ok()?;
    Some(stat.utime + stat.stime + waited_for)
}

/// The processes that a process has started and that run.
#[must_use]
pub fn children(pid: Pid) -> Vec<Pid> {
    let main = Process::new(pid.as_raw()).and_then(|process| process.task_main_thread());
    let children = main.and_then(|main| main.children()).unwrap_or_default();
    children.into_iter().filter_map(|pid| i32::try_from(pid).ok()).map(Pid::from_raw).collect()
}

/// What its maker calls the processor.
#[must_use]
pub fn processor() -> Option<String> {
    CpuInfo::current().ok()?.model_name(0).map(str::to_owned)
}

/// How much memory there is, in MiB.
#[must_use]
pub fn memory_mib() -> Option<u64> {
    Some(Meminfo::current().ok()?.mem_total >> 20)
}

/// What names this machine since its last start.
#[must_use]
pub fn boot_id() -> Option<String> {
    random::boot_id().ok()
}

#[cfg(test)]
mod tests {
    use procfs::FromRead;

    use super::*;

    #[test]
    fn a_name_of_a_program_may_hold_anything() {
        let ticks = |stat: &str| Stat::from_read(stat.as_bytes()).ok().as_ref().and_then(ticks);
        let rest = "1 0 20 4096 5 9 0 0 0 0 0 0 0 0 0 0 0 0";
        let stat = "7 (a) b (c) R 1 7 7 0 -1 4194560 95 0 0 0 11 22 33 44 20 0";
        assert_eq!(ticks(&format!("{stat} {rest}")), Some(110));
        assert_eq!(ticks("7 (short) R 1 7"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn a_machine_has_memory_and_was_started() {
        assert!(memory_mib().unwrap() > 100);
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
