//! Everything PID 1 waits for, in one place: signals, power buttons, and devices that come.
//!
//! A new source is a field here, a row in [`Events::wait`], and a variant of [`Event`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};

use crate::power_key::PowerKeys;
use crate::signals::{self, Meaning, Request};
use crate::uevent::Uevents;

/// Something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Children ended and wait to be reaped.
    ChildrenEnded,
    /// The host shall stop.
    Requested(Request, Origin),
}

/// Who asked for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A signal; Ctrl-Alt-Del arrives as one.
    Signal,
    /// A power button.
    PowerButton,
}

/// The open sources.
#[derive(Debug)]
pub struct Events {
    signals: SignalFd,
    uevents: Uevents,
    power_keys: PowerKeys,
}

impl Events {
    /// Opens all sources; signals must be blocked before.
    pub fn open() -> io::Result<Self> {
        let signals = signals::open()?;
        // Listening starts before the first look, so that no device falls between the two.
        let uevents = Uevents::open()?;
        let mut power_keys = PowerKeys::default();
        power_keys.rescan();
        Ok(Self { signals, uevents, power_keys })
    }

    /// Waits for events, or until `timeout` has passed, and returns them; the list may be empty.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Event>> {
        self.wait_also(timeout, None)
    }

    /// The same, and comes back as soon as `also` can be read.
    pub fn wait_also(
        &mut self,
        timeout: Option<Duration>,
        also: Option<BorrowedFd<'_>>,
    ) -> io::Result<Vec<Event>> {
        let timeout = timeout.map(|time| time.try_into().unwrap_or_default());
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.uevents.as_fd(), PollFlags::IN),
        ];
        fds.extend(also.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(self.power_keys.files().map(|file| PollFd::new(file, PollFlags::IN)));
        poll(&mut fds, timeout.as_ref())?;

        // All sources are non-blocking, so reading one that has nothing to say is cheap and harmless.
        let mut events = Vec::new();
        for meaning in signals::read(&self.signals) {
            events.push(match meaning {
                Meaning::ChildrenEnded => Event::ChildrenEnded,
                Meaning::Request(request) => Event::Requested(request, Origin::Signal),
            });
        }
        if self.power_keys.pressed() {
            events.push(Event::Requested(Request::PowerOff, Origin::PowerButton));
        }
        // After the power keys have dropped devices that are gone: one may come back under the same name.
        if self.uevents.input_added() {
            self.power_keys.rescan();
        }
        Ok(events)
    }
}
