//! PID 1 of a pod whose containers share a PID namespace: it reaps what they leave behind, and ends with the shim. It
//! must do nothing else: its end is the end of every process of the pod.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitOptions, wait};

/// Runs until standard input is over.
pub fn run() -> io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    let children = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    loop {
        let stdin = rustix::stdio::stdin();
        let mut waits = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&children, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut waits, None))?;
        let over = !waits[0].revents().is_empty();
        while let Ok(Some(_)) = children.read_signal() {}
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        if over && matches!(rustix::io::read(stdin, &mut [0; 16]), Ok(0) | Err(_)) {
            return Ok(());
        }
    }
}
