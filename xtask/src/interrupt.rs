//! Ctrl-C: temporary folders are removed, running tools die, nothing stays under a final name.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lepton_builder::{process, scratch};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::INTERRUPTED;

/// Whether a signal came.
static SEEN: AtomicBool = AtomicBool::new(false);

/// Waits for signals on a thread of its own. Sandboxed tools die with this program.
pub(crate) fn install() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        eprintln!("warning: Ctrl-C will leave temporary folders behind");
        return;
    };
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            SEEN.store(true, Ordering::SeqCst);
            // The terminal may be gone together with whoever sent the signal.
            let _ = writeln!(std::io::stderr(), "interrupted");
            process::kill_all();
            scratch::remove_all();
            #[expect(clippy::exit, reason = "other threads may be anywhere; their folders are gone already")]
            std::process::exit(INTERRUPTED);
        }
    });
}

/// Does not return after a signal: the tool that was killed is no error to report, and the program ends when its
/// folders are gone.
pub(crate) fn wait_if_seen() {
    while SEEN.load(Ordering::SeqCst) {
        thread::park();
    }
}
