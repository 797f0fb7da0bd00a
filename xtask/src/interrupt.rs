//! Ctrl-C: temporary folders are removed, running tools die, nothing stays under a final name.

use std::thread;

use lepton_builder::{process, scratch};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::INTERRUPTED;

/// Waits for signals on a thread of its own. Sandboxed tools die with this program.
pub(crate) fn install() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        eprintln!("warning: Ctrl-C will leave temporary folders behind");
        return;
    };
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            eprintln!("interrupted");
            process::kill_all();
            scratch::remove_all();
            #[expect(clippy::exit, reason = "other threads may be anywhere; their folders are gone already")]
            std::process::exit(INTERRUPTED);
        }
    });
}
