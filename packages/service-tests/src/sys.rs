//! fork(2), which no safe function offers.
#![expect(unsafe_code, reason = "see the function")]

use std::io;

use nix::unistd::{ForkResult, fork};

/// Runs `child` in a new process, which ends after it.
pub(crate) fn in_child(child: impl FnOnce()) -> io::Result<()> {
    // SAFETY: this program never starts a thread, so the child finds every lock free.
    let result = unsafe { fork() };
    match result? {
        ForkResult::Parent { .. } => Ok(()),
        ForkResult::Child => {
            child();
            // No destructors and no buffers of the parent: they are not the child's.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
            Ok(())
        }
    }
}
