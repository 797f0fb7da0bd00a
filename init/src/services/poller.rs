//! The descriptors of services and clients behind one descriptor (epoll(7)), so that PID 1's own loop stays short.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// Events that are taken at once; the rest waits for the next turn.
const TURN: usize = 32;

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Messages of services.
    Notify,
    /// New clients.
    Listener,
    /// The launcher of a process.
    Channel(usize),
    /// The output of a process.
    Output(usize),
    /// A client.
    Client(usize),
    /// The kernel's log.
    Kernel,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Something to read, or the end.
    Read,
    /// Room to write, or the end.
    Write,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
        }
    }
}

impl Source {
    fn data(self) -> EventData {
        let (kind, place) = match self {
            Self::Notify => (0, 0),
            Self::Listener => (1, 0),
            Self::Channel(place) => (2, place),
            Self::Output(place) => (3, place),
            Self::Client(place) => (4, place),
            Self::Kernel => (5, 0),
        };
        EventData::new_u64((place as u64) << 8 | kind)
    }

    fn from_data(data: EventData) -> Option<Self> {
        let number = data.u64();
        let place = usize::try_from(number >> 8).ok()?;
        match number & 0xff {
            0 => Some(Self::Notify),
            1 => Some(Self::Listener),
            2 => Some(Self::Channel(place)),
            3 => Some(Self::Output(place)),
            4 => Some(Self::Client(place)),
            5 => Some(Self::Kernel),
            _ => None,
        }
    }
}

/// The descriptors; one that is closed goes by itself.
#[derive(Debug)]
pub(super) struct Poller(OwnedFd);

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    pub(super) fn add(&self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, source.data(), interest.flags())?)
    }

    pub(super) fn change(&self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.0, fd, source.data(), interest.flags())?)
    }

    /// What is ready now; never waits.
    pub(super) fn ready(&self) -> Vec<Source> {
        let mut space = [MaybeUninit::uninit(); TURN];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.0, &mut space, Some(&now)) {
            Ok((events, _)) => events.iter().filter_map(|event| Source::from_data(event.data)).collect(),
            Err(_) => Vec::new(),
        }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
