//! Collects ended children, ours and the orphans of the whole host.
//!
//! Nothing else in this crate may wait for a child: two waiters would steal each other's exits.

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// Whether children are left after reaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    /// At least one still runs.
    Left,
    /// There is none.
    None,
}

/// Reaps every child that has ended, without waiting for others, and tells `on_exit` of each.
pub fn reap_all(mut on_exit: impl FnMut(Pid, WaitStatus)) -> Children {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => on_exit(pid, status),
            Ok(None) => return Children::Left,
            Err(Errno::INTR) => {}
            // ECHILD; the call has no other error.
            Err(_) => return Children::None,
        }
    }
}
