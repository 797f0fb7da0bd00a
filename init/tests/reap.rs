//! Reaping, in a process of its own: the test becomes the reaper of its descendants, as PID 1 is of all.

use std::time::{Duration, Instant};

use lepton_init::reap::{Children, reap_all};
use rustix::process::{getpid, set_child_subreaper};

#[test]
#[expect(clippy::disallowed_methods, reason = "a child to reap has to be started")]
#[expect(clippy::zombie_processes, reason = "waiting is what reap_all is tested for")]
fn orphans_and_children_are_reaped() {
    set_child_subreaper(Some(getpid())).unwrap();
    assert_eq!(reap_all(|pid, _| panic!("unexpected child {pid:?}")), Children::None);

    // The shell ends at once with 3; its own child outlives it and becomes ours.
    let shell =
        std::process::Command::new("sh").args(["-c", "(sleep 0.3; exit 4) & exit 3"]).spawn().unwrap();
    let mut exits = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut left_seen = false;
    while reap_all(|pid, status| exits.push((pid.as_raw_pid(), status.exit_status()))) == Children::Left {
        left_seen = true;
        assert!(Instant::now() < deadline, "reaped only {exits:?}");
        std::thread::sleep(Duration::from_millis(10));
    }

    assert!(left_seen);
    assert_eq!(exits.len(), 2, "{exits:?}");
    assert_eq!(exits[0], (shell.id().cast_signed(), Some(3)));
    assert_eq!(exits[1].1, Some(4));
}
