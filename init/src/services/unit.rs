//! One service as PID 1 sees it: where it is in its life and what was noted about it.
//!
//! Data and small questions only; what follows from an event is decided in `manager.rs`.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use lepton_control::ServiceState;
use lepton_service_spec::{Kind, ServiceSpec};

/// How a main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "ended with status {status}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// What a service becomes once nothing of it runs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It ended well and stays ended.
    Done,
    /// It ended badly and stays ended.
    Failed,
    /// It was stopped.
    Stopped,
    /// It is started again after its back-off.
    BackOff,
    /// It is started again at once.
    Start,
}

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not running, and not wanted to.
    Stopped,
    /// It starts when what it waits for is there.
    Waiting,
    /// Its program was started and is not ready; `None` is no deadline.
    Starting(Option<Duration>),
    /// It runs and is ready.
    Ready,
    /// It was told to end; killed at the deadline.
    Stopping(Duration, Next),
    /// Its main process is gone, or everything was killed; other processes may be left.
    Draining(Next),
    /// It waits to be started again.
    BackOff(Duration),
    /// It ended well and stays ended.
    Done,
    /// It was given up.
    Failed,
}

/// One service.
#[derive(Debug)]
pub struct Unit {
    pub(super) spec: ServiceSpec,
    pub(super) state: State,
    pub(super) since: Duration,
    /// Whether it shall run.
    pub(super) goal: bool,
    /// Whether it was ready, done, given up or stopped once: what only waits for its turn need not wait longer.
    pub(super) is_settled: bool,
    pub(super) pid: Option<u32>,
    pub(super) starts: u32,
    pub(super) recent: VecDeque<Duration>,
    /// Starts again since it was last ready for long enough.
    pub(super) failures: u32,
    pub(super) text: Option<String>,
    pub(super) last_end: Option<String>,
    pub(super) watchdog: Option<Duration>,
    pub(super) watchdog_at: Option<Duration>,
    /// Why it is being ended, when PID 1 decided so.
    pub(super) reason: Option<String>,
}

impl Unit {
    pub(super) fn new(spec: ServiceSpec) -> Self {
        Self {
            watchdog: spec.watchdog_s.map(|time| time.duration()),
            spec,
            state: State::Stopped,
            since: Duration::ZERO,
            goal: false,
            is_settled: false,
            pid: None,
            starts: 0,
            recent: VecDeque::new(),
            failures: 0,
            text: None,
            last_end: None,
            watchdog_at: None,
            reason: None,
        }
    }

    /// What it is.
    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// Its main process.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// How often it was started.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// What it said of itself last.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// How it ended last.
    pub fn last_end(&self) -> Option<&str> {
        self.last_end.as_deref()
    }

    /// When it came into its state.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Whether processes of it may be left.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Starting(_) | State::Ready | State::Stopping(..) | State::Draining(_))
    }

    /// Whether what needs it may start.
    pub(super) fn is_up(&self) -> bool {
        match self.state {
            State::Ready => true,
            State::Done => self.spec.kind == Kind::Oneshot,
            _ => false,
        }
    }

    /// Whether it was given up.
    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// Its state in the words of the control protocol.
    pub fn public_state(&self) -> ServiceState {
        match self.state {
            State::Stopped => ServiceState::Stopped,
            State::Waiting => ServiceState::Waiting,
            State::Starting(_) => ServiceState::Starting,
            State::Ready => ServiceState::Ready,
            State::Stopping(..) | State::Draining(Next::Stopped) => ServiceState::Stopping,
            State::Draining(_) | State::BackOff(_) => ServiceState::BackOff,
            State::Done => ServiceState::Done,
            State::Failed => ServiceState::Failed,
        }
    }

    /// When time alone changes something.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let own = match self.state {
            State::Starting(deadline) => deadline,
            State::Stopping(deadline, _) | State::BackOff(deadline) => Some(deadline),
            _ => None,
        };
        let watchdog = self.watchdog_at.filter(|_| self.state == State::Ready);
        own.into_iter().chain(watchdog).min()
    }
}
