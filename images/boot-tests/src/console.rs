//! The serial console of a guest: everything it ever printed, and waiting for a line of it.
//!
//! It knows no guest and no QEMU, only a stream of bytes that ends.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// What a guest has printed so far. Clones show the same console.
#[derive(Clone, Debug, Default)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    is_closed: bool,
}

/// Why a line was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// The deadline passed.
    #[error("timed out")]
    TimedOut,
    /// The stream ended.
    #[error("the console closed")]
    Closed,
}

impl Console {
    /// A console that collects `stream` until it ends.
    pub fn new(stream: impl Read + Send + 'static) -> Self {
        let console = Self::default();
        let writer = console.clone();
        thread::spawn(move || writer.collect(stream));
        console
    }

    /// Everything printed so far, without the control sequences that firmware moves its cursor with.
    pub fn text(&self) -> String {
        plain(&self.state().bytes)
    }

    /// Waits until `look` finds what it wants in a complete line; lines are looked at once each, from the first on.
    pub fn wait_for<T>(
        &self,
        deadline: Instant,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, ConsoleError> {
        let mut seen = 0;
        let mut state = self.state();
        loop {
            while let Some(end) = line_end(&state, seen) {
                let line = plain(&state.bytes[seen..end]);
                seen = end;
                if let Some(found) = look(line.trim_end()) {
                    return Ok(found);
                }
            }
            if state.is_closed {
                return Err(ConsoleError::Closed);
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return Err(ConsoleError::TimedOut);
            };
            let wait = self.shared.changed.wait_timeout(state, left);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn collect(&self, mut stream: impl Read) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            self.state().bytes.extend_from_slice(&buffer[..count]);
            self.shared.changed.notify_all();
        }
        self.state().is_closed = true;
        self.shared.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The bytes are valid whatever a panicking thread was doing.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// End of the line that starts at `start`; the last line is complete only once the stream ended.
fn line_end(state: &State, start: usize) -> Option<usize> {
    let rest = &state.bytes[start..];
    match rest.iter().position(|byte| *byte == b'\n') {
        Some(at) => Some(start + at + 1),
        None if state.is_closed && !rest.is_empty() => Some(state.bytes.len()),
        None => None,
    }
}

/// Drops ANSI control sequences (ECMA-48 section 5.4: ESC [ parameters, final byte) and carriage returns.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_sequence(&mut chars),
            '\r' | '\0' => {}
            _ => out.push(c),
        }
    }
    out
}

fn skip_sequence(chars: &mut std::str::Chars<'_>) {
    if chars.next() == Some('[') {
        // Ends with the final byte, 0x40 to 0x7e.
        chars.find(|c| ('\x40'..='\x7e').contains(c));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn finds_a_line_among_control_sequences() {
        let console = Console::new(&b"\x1b[2J\x1b[01;01Hfirst\r\nlepton: \x1b[0mready {}\r\nrest"[..]);
        let found = console.wait_for(soon(), |line| line.strip_prefix("lepton: ready ").map(str::to_owned));
        assert_eq!(found.as_deref(), Ok("{}"));
        assert_eq!(console.text(), "first\nlepton: ready {}\nrest");
    }

    #[test]
    fn the_last_line_needs_no_line_feed() {
        let console = Console::new(&b"a\nb"[..]);
        assert_eq!(console.wait_for(soon(), |line| (line == "b").then_some(())), Ok(()));
    }

    #[test]
    fn an_ended_stream_ends_the_wait() {
        let console = Console::new(&b"a\nb\n"[..]);
        assert_eq!(console.wait_for(soon(), |_| None::<()>), Err(ConsoleError::Closed));
    }

    #[test]
    fn a_silent_stream_times_out() {
        let (reader, writer) = std::io::pipe().expect("a pipe needs nothing");
        let console = Console::new(reader);
        let wait = console.wait_for(Instant::now() + Duration::from_millis(20), |_| None::<()>);
        assert_eq!(wait, Err(ConsoleError::TimedOut));
        drop(writer);
    }
}
