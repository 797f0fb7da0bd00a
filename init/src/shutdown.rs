//! The orderly end: stop every process, write back and detach every file system, then switch off or restart.
//!
//! Every wait has a deadline, and nothing waits for the network: file systems of other hosts are let go.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

use lepton_control::Stopping;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::system::{RebootCommand, reboot};

use crate::clock;
use crate::console::Consoles;
use crate::events::{Event, Events};
use crate::kmsg::{self, Level};
use crate::mountinfo::{self, MountedAt};
use crate::reap::{Children, reap_all};
use crate::services::Services;
use crate::signals::Request;

/// For services whose processes do not go although they were killed at their own deadlines.
const STUCK: Duration = Duration::from_secs(10);
/// Between SIGTERM and SIGKILL; a second request cuts it short.
const GRACE: Duration = Duration::from_secs(10);
/// After SIGKILL: what is still there hangs in the kernel and will not go.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Stops the host; never returns.
pub fn stop(
    request: Request,
    events: &mut Events,
    consoles: &mut Consoles,
    mut services: Option<&mut Services>,
) -> ! {
    let text = match request {
        Request::PowerOff => "lepton: power off",
        Request::Reboot => "lepton: reboot",
    };
    consoles.write_line(text);
    if let Some(services) = &mut services {
        announce(request);
        stop_services(services, events);
        services.finish_logs();
    }
    end_processes(events);
    detach_file_systems();
    // It stays on across a restart, which may hang, too. A host that is off must not be woken by it.
    if request == Request::PowerOff
        && let Some(watchdog) = services.and_then(|services| services.watchdog.take())
    {
        watchdog.close();
    }
    finish(request)
}

/// Tells services that they are stopped because the host is. Those that would hear it only now believe that they are
/// stopped alone.
fn announce(request: Request) {
    let how = match request {
        Request::PowerOff => Stopping::PowerOff,
        Request::Reboot => Stopping::Reboot,
    };
    if let Err(error) = how.announce() {
        kmsg::warn(&format!(
            "cannot write {}, so services do not know that the host stops: {error}",
            Stopping::PATH
        ));
    }
}

/// Leaves the kernel in order, or stays when the kernel does not let go; nothing else is running.
pub fn finish(request: Request) -> ! {
    let command = match request {
        Request::PowerOff => RebootCommand::PowerOff,
        Request::Reboot => RebootCommand::Restart,
    };
    if let Err(error) = reboot(command) {
        kmsg::log(Level::Error, &format!("the kernel refuses to stop: {error}"));
    }
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// Stops the services in order; false when that took too long, or when a second request came.
fn stop_services(services: &mut Services, events: &mut Events) -> bool {
    let longest = services.stop_all();
    let limit = clock::since_boot() + longest + STUCK;
    loop {
        services.turn();
        if services.is_stopped() {
            return true;
        }
        let now = clock::since_boot();
        if now >= limit {
            kmsg::warn("some services did not stop in time");
            return false;
        }
        let until = services.deadline().map_or(limit, |deadline| deadline.min(limit));
        let happened = events.wait_also(Some(until.saturating_sub(now)), Some(services.as_fd()));
        // Without events there is still time: look again soon.
        let happened = happened.unwrap_or_else(|_| {
            sleep(Duration::from_millis(50));
            vec![Event::ChildrenEnded]
        });
        for event in happened {
            match event {
                Event::ChildrenEnded => {
                    reap_all(|pid, status| services.exited(pid, status));
                }
                Event::Requested(..) => return false,
            }
        }
    }
}

/// Asks every process but PID 1 to end, then makes those end that did not.
fn end_processes(events: &mut Events) {
    // A stopped process handles SIGTERM only once it continues.
    signal_all(Signal::TERM);
    signal_all(Signal::CONT);
    if wait_until_alone(events, GRACE) {
        return;
    }
    kmsg::warn("some processes did not end when asked; killing them");
    signal_all(Signal::KILL);
    if !wait_until_alone(events, LAST_WAIT) {
        kmsg::warn("some processes cannot be killed");
    }
}

/// Sends a signal to all processes except this one; having none is fine.
fn signal_all(signal: Signal) {
    // kill(-1): the group of PID 1 means every process, in every PID namespace of the host.
    let _ = kill_process_group(Pid::INIT, signal);
}

/// Reaps until no process is left; false after `time`, or when a second request came.
///
/// Every process is a child of PID 1 once its parents are gone, so "no child" is "no process".
fn wait_until_alone(events: &mut Events, time: Duration) -> bool {
    let deadline = clock::since_boot() + time;
    while reap_all(|_, _| {}) == Children::Left {
        let left = deadline.saturating_sub(clock::since_boot());
        if left.is_zero() {
            return false;
        }
        match events.wait(Some(left)) {
            Ok(events) if events.iter().any(|event| matches!(event, Event::Requested(..))) => return false,
            Ok(_) => {}
            // Without events there is still time: look again soon.
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
    true
}

/// Unmounts what can hold unwritten data, last mounted first.
///
/// There is no sync(2): it would wait for unreachable servers. Each local file system writes back as it goes.
fn detach_file_systems() {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount in mountinfo::parse(&text).iter().rev().filter(|mount| !mount.is_permanent()) {
        if let Err(error) = detach(mount) {
            kmsg::warn(&format!("cannot detach {}: {error}", mount.target));
        }
    }
}

fn detach(mount: &MountedAt) -> io::Result<()> {
    let target = mount.target.as_str();
    if mount.is_remote() {
        return Ok(unmount(target, UnmountFlags::FORCE | UnmountFlags::DETACH)?);
    }
    if unmount(target, UnmountFlags::NOFOLLOW).is_ok() {
        return Ok(());
    }
    if mount_remount(target, MountFlags::RDONLY, c"").is_ok() {
        return Ok(());
    }
    Ok(rustix::fs::syncfs(File::open(target)?)?)
}
