//! The terminal that this program runs in: byte by byte while a program of a container uses it, and as before afterwards.

use rustix::termios::{self, OptionalActions, Termios};

/// Undoes the change when it goes.
#[derive(Debug)]
pub struct Raw(Termios);

impl Raw {
    /// Passes on every byte that is typed; nothing when the standard input is no terminal.
    pub fn enter() -> Option<Self> {
        let before = termios::tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Columns and rows of the window.
pub fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
