//! Which signals ask PID 1 for what.
//!
//! All signals are blocked and read from a descriptor, so no handler ever runs; those not in the table are
//! read and dropped.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What an operator, a power button or the hypervisor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Stop everything and switch off.
    PowerOff,
    /// Stop everything and restart.
    Reboot,
}

/// What one signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// One or more children ended.
    ChildrenEnded,
    /// The host shall stop.
    Request(Request),
}

/// The meaning of a signal by its number in the kernel's ABI, which is the same on x86_64 and aarch64.
///
/// 38 and 39 are `SIGRTMIN+4` and `SIGRTMIN+5` as glibc counts them, which tools written for other
/// first processes send; musl counts from one higher, so the names cannot be used here.
pub fn meaning(signal: u32) -> Option<Meaning> {
    match signal {
        // SIGINT: the kernel sends it for Ctrl-Alt-Del.
        2 => Some(Meaning::Request(Request::Reboot)),
        // SIGTERM
        15 => Some(Meaning::Request(Request::PowerOff)),
        // SIGCHLD
        17 => Some(Meaning::ChildrenEnded),
        // SIGPWR: power is failing.
        30 => Some(Meaning::Request(Request::PowerOff)),
        38 => Some(Meaning::Request(Request::PowerOff)),
        39 => Some(Meaning::Request(Request::Reboot)),
        _ => None,
    }
}

/// Blocks every signal that can be blocked; they wait until [`open`] is there to read them.
pub fn block() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?)
}

/// A descriptor that is readable while a blocked signal waits.
pub fn open() -> io::Result<SignalFd> {
    Ok(SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// The waiting signals that mean something, in the order the kernel gives them.
pub fn read(signals: &SignalFd) -> Vec<Meaning> {
    let mut meanings = Vec::new();
    while let Ok(Some(info)) = signals.read_signal() {
        meanings.extend(meaning(info.ssi_signo));
    }
    meanings
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn numbers_are_those_of_this_architecture() {
        let by_name = |signal: Signal| meaning(u32::try_from(signal as i32).unwrap());
        assert_eq!(by_name(Signal::SIGINT), Some(Meaning::Request(Request::Reboot)));
        assert_eq!(by_name(Signal::SIGTERM), Some(Meaning::Request(Request::PowerOff)));
        assert_eq!(by_name(Signal::SIGPWR), Some(Meaning::Request(Request::PowerOff)));
        assert_eq!(by_name(Signal::SIGCHLD), Some(Meaning::ChildrenEnded));
        assert_eq!(by_name(Signal::SIGHUP), None);
        assert_eq!(meaning(34 + 4), Some(Meaning::Request(Request::PowerOff)));
        assert_eq!(meaning(34 + 5), Some(Meaning::Request(Request::Reboot)));
    }
}
