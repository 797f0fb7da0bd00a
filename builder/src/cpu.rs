//! CPU time: of a thread with the tools it ran, and of the whole program. For people who ask where the time went; no
//! build depends on it.

use std::cell::Cell;
use std::process::Child;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

thread_local! {
    /// CPU time of the tools that this thread ran to their end.
    static TOOLS_CPU: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// CPU time that this thread has used itself and in the tools it ran to their end.
pub fn thread_cpu() -> Duration {
    let own = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
    own + TOOLS_CPU.get()
}

/// CPU time of this whole program and of every process it waited for.
pub(crate) fn program_cpu() -> Duration {
    let of = |who| {
        getrusage(who).map_or(Duration::ZERO, |usage| {
            [usage.user_time(), usage.system_time()].into_iter().map(from_time_val).sum()
        })
    };
    of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN)
}

fn from_time_val(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0))
}

/// Waits for the child and adds its CPU time to this thread's; the caller reaps it. std reaps without telling, but
/// /proc still has the figures of a child that has ended and is not reaped (proc_pid_stat(5)).
pub(crate) fn count(child: &Child) {
    let Ok(pid) = i32::try_from(child.id()) else { return };
    let ended = waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    let text = ended.ok().and_then(|_| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    if let Some(ticks) = text.as_deref().and_then(ticks)
        && let Ok(Some(per_second)) = sysconf(SysconfVar::CLK_TCK)
    {
        let millis = ticks * 1000 / u64::try_from(per_second).unwrap_or(100).max(1);
        TOOLS_CPU.set(TOOLS_CPU.get() + Duration::from_millis(millis));
    }
}

/// Fields 14 to 17: time in user and kernel mode, of the process and of the children it waited for.
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name, which may hold anything, in parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').skip(11).take(4).map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    #[test]
    fn the_name_of_a_program_does_not_move_the_fields() {
        let stat = "7 (a) b (c) Z 1 2 3 4 -1 6 7 8 9 10 100 20 3000 4 20 0 1 0 5";
        assert_eq!(ticks(stat), Some(100 + 20 + 3000 + 4));
        assert_eq!(ticks("7 a Z 1"), None);
        assert_eq!(ticks("7 (a) Z 1 2 3 4 -1 6 7 8 9 10 x 20 3000 4"), None);
    }

    #[test]
    fn cpu_time_of_tools_is_counted() {
        let before = thread_cpu();
        let spin = Process::new("/bin/sh").args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"]);
        spin.run(|_| {}).unwrap();
        let spent = thread_cpu() - before;
        assert!(spent >= Duration::from_millis(50), "{spent:?}");
    }
}
