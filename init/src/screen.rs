//! The status of the host on its consoles: drawn in place on a screen, and as plain lines on a serial console, when it
//! has changed and not too often.
//!
//! It comes after the ready line, and looks at the host by itself: nothing waits for it, and nothing tells it.

use std::time::Duration;

use lepton_control::{Phase, Status};

use crate::clock;
use crate::console::Consoles;
use crate::status::{self, Detail};

/// Between two looks at the host.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two reports on a console that keeps every line.
const PLAIN_EVERY: Duration = Duration::from_secs(30);
/// A host that is not ready after this time shows what it waits for.
const LATE: Duration = Duration::from_secs(30);

/// What was shown last.
#[derive(Debug)]
pub struct Screen {
    is_on: bool,
    next: Option<Duration>,
    phase: Option<Phase>,
    plain: Vec<String>,
    plain_at: Option<Duration>,
    drawn: Vec<String>,
}

impl Screen {
    /// A screen on which nothing is shown yet; one that is not on stays so.
    pub fn new(is_on: bool) -> Self {
        Self { is_on, next: None, phase: None, plain: Vec::new(), plain_at: None, drawn: Vec::new() }
    }

    /// When it wants to look again.
    pub fn deadline(&self) -> Option<Duration> {
        self.next.filter(|_| self.is_on)
    }

    /// Shows what has changed; `status` is asked only when it is time.
    pub fn look(&mut self, phase: Phase, consoles: &mut Consoles, status: impl FnOnce() -> Status) {
        let now = clock::since_boot();
        if !self.is_due(phase, now) {
            return;
        }
        let status = status();
        let names = Consoles::active();
        let (screens, lines): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_screen(name));
        if let Some(text) = self.plain_text(&status, now) {
            lines.iter().for_each(|name| consoles.write(name, text.as_bytes()));
        }
        if let Some(text) = self.drawn_text(&status) {
            screens.iter().for_each(|name| consoles.write(name, text.as_bytes()));
        }
    }

    /// Whether a look is due; a new phase is shown at once.
    fn is_due(&mut self, phase: Phase, now: Duration) -> bool {
        if !self.is_on || phase == Phase::Starting && now < LATE {
            self.next = Some(LATE.max(now));
            return false;
        }
        if self.phase == Some(phase) && self.next.is_some_and(|next| now < next) {
            return false;
        }
        if self.phase != Some(phase) {
            self.plain_at = None;
        }
        self.phase = Some(phase);
        self.next = Some(now + LOOK_EVERY);
        true
    }

    fn plain_text(&mut self, status: &Status, now: Duration) -> Option<String> {
        let rows = status::rows(status, Detail::Facts);
        if rows == self.plain || self.plain_at.is_some_and(|at| now < at + PLAIN_EVERY) {
            return None;
        }
        let text = status::plain(&rows);
        self.plain = rows;
        self.plain_at = Some(now);
        Some(text)
    }

    fn drawn_text(&mut self, status: &Status) -> Option<String> {
        let rows = status::rows(status, Detail::Sayings);
        if rows == self.drawn {
            return None;
        }
        let text = status::drawn(&rows, self.drawn.len());
        self.drawn = rows;
        Some(text)
    }
}

/// Whether a console is a virtual terminal: `tty` and a number.
fn is_screen(name: &str) -> bool {
    name.strip_prefix("tty").is_some_and(|number| number.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screens_and_lines() {
        for (name, expected) in
            [("tty0", true), ("tty12", true), ("ttyS0", false), ("ttyAMA0", false), ("hvc0", false)]
        {
            assert_eq!(is_screen(name), expected, "{name}");
        }
    }

    #[test]
    fn it_looks_after_the_ready_line_and_then_seldom() {
        let s = Duration::from_secs;
        let mut screen = Screen::new(true);
        assert!(!screen.is_due(Phase::Starting, s(1)));
        assert_eq!(screen.deadline(), Some(LATE));
        assert!(screen.is_due(Phase::Ready, s(2)));
        assert!(!screen.is_due(Phase::Ready, s(3)));
        assert_eq!(screen.deadline(), Some(s(7)));
        assert!(screen.is_due(Phase::Ready, s(7)));
        assert!(screen.is_due(Phase::Failed, s(8)), "a new phase is shown at once");
        assert!(Screen::new(true).is_due(Phase::Starting, s(31)), "a late host says what it waits for");
        let mut off = Screen::new(false);
        assert!(!off.is_due(Phase::Ready, s(2)));
        assert_eq!(off.deadline(), None);
    }
}
