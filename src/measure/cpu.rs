//! The processor time of this process, to the microsecond. That of others is in [`super::proc`], in
//! ticks of 10 ms.

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use nix::unistd::Pid;

    use super::*;
    use crate::measure::proc;

    #[test]
    fn work_takes_processor_time() {
        let (before, mut sum) = (here().unwrap(), 0_u64);
        while here().unwrap() < before + Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let ticks = proc::cpu(Pid::this()).unwrap();
        assert!(ticks >= Duration::from_millis(20), "two ticks at least");
        assert!(proc::cpu(Pid::from_raw(i32::MAX)).is_none(), "there is no such process");
    }
}
