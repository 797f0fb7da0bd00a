//! Decides what happens to services: events and the time in, [`Action`]s out.
//!
//! Pure: nothing here calls the kernel, so every rule is a row of a test. The one promise above all others: a service
//! is started only when nothing of it is left, so that it never has two main processes.

mod changes;
mod ending;

use std::time::Duration;

use lepton_service_spec::{Kind, ReadyWhen, Restart, ServiceSpec};

use super::notify::Notice;
use super::unit::{Ended, Next, State, Unit};
pub use changes::Change;

/// The longest back-off: a service that comes back after a long outage is not far behind.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// A service that was ready for so long starts again with its first back-off.
const HEALTHY: Duration = Duration::from_secs(60);

/// What PID 1 shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the main process of this service.
    Start(usize),
    /// Ask the main process to end (SIGTERM).
    Terminate(usize),
    /// Kill every process of the service.
    Kill(usize),
    /// Write this to the service's log.
    Note(usize, String),
}

/// All services, in start order.
#[derive(Debug, Default)]
pub struct Manager {
    units: Vec<Unit>,
    actions: Vec<Action>,
    changes: Vec<Change>,
    is_stopping: bool,
}

impl Manager {
    /// Services in start order (`lepton_service_spec::order`); nothing runs yet.
    pub fn new(specs: Vec<ServiceSpec>) -> Self {
        Self { units: specs.into_iter().map(Unit::new).collect(), ..Self::default() }
    }

    /// All services, in start order.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The place of a service.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.units.iter().position(|unit| unit.spec.name == name)
    }

    /// What is to be done since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When [`Manager::tick`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.units.iter().filter_map(Unit::deadline).min()
    }

    /// Whether every service that the ready line waits for is ready, done, or cannot become so.
    pub fn is_settled(&self) -> bool {
        let places = 0..self.units.len();
        places.into_iter().all(|place| {
            let unit = &self.units[place];
            !unit.spec.wanted || !unit.goal || unit.is_settled || self.blocked_by(place).is_some()
        })
    }

    /// The service that keeps this one from ever starting, if there is one.
    pub fn blocked_by(&self, place: usize) -> Option<&str> {
        if self.units[place].state != State::Waiting {
            return None;
        }
        self.units[place].spec.needs.iter().find_map(|name| match self.find(name) {
            None => Some(name.as_str()),
            Some(needed) => {
                let unit = &self.units[needed];
                let gone = matches!(unit.state, State::Failed | State::Stopped)
                    || (unit.state == State::Done && !unit.is_up());
                if gone { Some(name.as_str()) } else { self.blocked_by(needed) }
            }
        })
    }

    /// Adds services, or replaces the description of those that are there; a service that runs keeps running as it
    /// was started. The whole set must be in start order afterwards.
    pub fn set_specs(&mut self, specs: Vec<ServiceSpec>, now: Duration) {
        let mut old = std::mem::take(&mut self.units);
        for spec in specs {
            match old.iter().position(|unit| unit.spec.name == spec.name) {
                Some(place) => {
                    let mut unit = old.swap_remove(place);
                    unit.watchdog = spec.watchdog_s.map(|time| time.duration());
                    unit.spec = spec;
                    self.units.push(unit);
                }
                None => {
                    self.units.push(Unit::new(spec));
                    self.changed(self.units.len() - 1, None, now);
                }
            }
        }
    }

    /// Wants every service that starts with the host, and what those need.
    pub fn start_all(&mut self, now: Duration) {
        let enabled = (0..self.units.len()).filter(|place| self.units[*place].spec.enabled).collect();
        self.want_with_needs(enabled, now);
    }

    /// Wants a service and all it needs; a service that was given up begins anew.
    pub fn start(&mut self, place: usize, now: Duration) {
        self.units[place].failures = 0;
        self.units[place].recent.clear();
        // A oneshot that was asked for by its name does its work again.
        self.want(place, now);
        self.want_with_needs(vec![place], now);
    }

    fn want_with_needs(&mut self, mut places: Vec<usize>, now: Duration) {
        let mut is_seen = vec![false; self.units.len()];
        while let Some(place) = places.pop() {
            if std::mem::replace(&mut is_seen[place], true) {
                continue;
            }
            let unit = &mut self.units[place];
            // A oneshot that is done stays done for those that need it.
            if !unit.goal || unit.state == State::Failed {
                unit.failures = 0;
                unit.recent.clear();
                self.want(place, now);
            }
            let needs = self.units[place].spec.needs.clone();
            places.extend(needs.iter().filter_map(|name| self.find(name)));
        }
        self.advance(now);
    }

    /// Stops a service and everything that needs it.
    pub fn stop(&mut self, place: usize, now: Duration) {
        let mut places = vec![place];
        while let Some(place) = places.pop() {
            self.units[place].goal = false;
            let name = self.units[place].spec.name.clone();
            let dependents = self.units.iter().enumerate();
            let dependents = dependents.filter(|(_, unit)| unit.goal && unit.spec.needs.contains(&name));
            places.extend(dependents.map(|(place, _)| place));
        }
        self.advance(now);
    }

    /// Stops a service and starts it again; what needs it keeps running.
    pub fn restart(&mut self, place: usize, now: Duration) {
        match self.units[place].state {
            State::Starting(_) | State::Ready => {
                self.note(place, "restarted on request");
                self.units[place].recent.clear();
                self.units[place].failures = 0;
                self.terminate(place, Next::Start, now);
            }
            State::Stopping(deadline, _) => self.units[place].state = State::Stopping(deadline, Next::Start),
            State::Draining(_) => self.drain_and_start(place, now),
            _ => {
                self.units[place].goal = false;
                return self.start(place, now);
            }
        }
        self.units[place].goal = true;
        self.advance(now);
    }

    /// The same, and the ready line waits for it again.
    pub fn renew(&mut self, place: usize, now: Duration) {
        self.units[place].is_settled = false;
        self.restart(place, now);
    }

    /// Stops every service, each after those that need it or wait for it. Nothing starts any more.
    pub fn stop_all(&mut self, now: Duration) {
        self.is_stopping = true;
        self.units.iter_mut().for_each(|unit| unit.goal = false);
        self.advance(now);
    }

    /// Whether nothing of any service is left.
    pub fn is_stopped(&self) -> bool {
        !self.units.iter().any(Unit::is_alive)
    }

    /// The main process is there; it may still be on its way to the service's program.
    pub fn spawned(&mut self, place: usize, pid: u32) {
        self.units[place].pid = Some(pid);
    }

    /// The main process could not be made, so nothing is left to be cleared away.
    pub fn not_spawned(&mut self, place: usize, error: &str, now: Duration) {
        self.units[place].reason = Some(error.to_owned());
        self.finish(place, false, now);
        self.emptied(place, now);
    }

    /// The service's program runs.
    pub fn executed(&mut self, place: usize, now: Duration) {
        if matches!(self.units[place].state, State::Starting(_))
            && self.units[place].spec.ready_when() == ReadyWhen::Started
        {
            self.become_ready(place, now);
        }
    }

    /// The service's program could not be run; the end of the process follows.
    pub fn not_executed(&mut self, place: usize, error: &str) {
        self.units[place].reason = Some(error.to_owned());
    }

    /// A message of the service.
    pub fn notified(&mut self, place: usize, notice: &Notice, now: Duration) {
        let unit = &mut self.units[place];
        if !unit.is_alive() {
            return;
        }
        if let Some(text) = &notice.status {
            unit.text = Some(text.clone()).filter(|text| !text.is_empty());
        }
        if let Some(pid) = notice.main_pid {
            unit.pid = Some(pid);
        }
        if let Some(time) = notice.watchdog_time {
            unit.watchdog = Some(time);
        }
        if notice.is_alive {
            unit.watchdog_at = unit.watchdog.map(|time| now + time);
        }
        let starting = matches!(unit.state, State::Starting(_));
        if notice.is_ready && starting && unit.spec.ready_when() == ReadyWhen::Notify {
            self.become_ready(place, now);
        }
    }

    /// The process `pid` ended. Gives the service whose main process it was.
    pub fn exited(&mut self, pid: u32, ended: Ended, now: Duration) -> Option<usize> {
        let place = self.units.iter().position(|unit| unit.pid == Some(pid))?;
        self.units[place].pid = None;
        if self.units[place].reason.is_none() {
            self.units[place].reason = Some(ended.to_string());
        }
        self.finish(place, ended == Ended::Exit(0), now);
        Some(place)
    }

    /// Services of which processes may be left: the caller looks, and says so with [`Manager::emptied`].
    pub fn draining(&self) -> impl Iterator<Item = usize> {
        let units = self.units.iter().enumerate();
        units.filter(|(_, unit)| matches!(unit.state, State::Draining(_))).map(|(place, _)| place)
    }

    /// No process of the service is left.
    pub fn emptied(&mut self, place: usize, now: Duration) {
        let State::Draining(next) = self.units[place].state else { return };
        // Its end was not seen, but nothing of it is left: a main process that was named by MAINPID.
        self.units[place].pid = None;
        let wanted = self.units[place].goal && !self.is_stopping;
        match next {
            Next::Done => self.settle(place, State::Done, now),
            Next::Failed => self.settle(place, State::Failed, now),
            Next::Stopped => self.settle(place, State::Stopped, now),
            Next::BackOff | Next::Start if !wanted => self.settle(place, State::Stopped, now),
            Next::Start => self.enter(place, State::Waiting, now),
            Next::BackOff => self.back_off(place, now),
        }
        self.advance(now);
    }

    /// What the time alone changes.
    pub fn tick(&mut self, now: Duration) {
        for place in 0..self.units.len() {
            if self.units[place].deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            match self.units[place].state {
                State::Starting(_) => {
                    let limit = self.units[place].spec.start_timeout_s.duration();
                    self.fail(place, format!("was not ready within {limit:?}"), now);
                }
                State::Ready => {
                    let limit = self.units[place].watchdog.unwrap_or_default();
                    self.fail(place, format!("sent no WATCHDOG=1 for {limit:?}"), now);
                }
                State::Stopping(_, next) => {
                    self.note(place, "did not end in time and is killed");
                    self.drain(place, next, now);
                }
                State::BackOff(_) => self.enter(place, State::Waiting, now),
                _ => {}
            }
        }
        self.advance(now);
    }

    fn want(&mut self, place: usize, now: Duration) {
        if self.is_stopping {
            return;
        }
        self.units[place].goal = true;
        match self.units[place].state {
            State::Stopped | State::Failed | State::Done => self.enter(place, State::Waiting, now),
            State::Stopping(deadline, _) => self.units[place].state = State::Stopping(deadline, Next::Start),
            State::Draining(_) => self.drain_and_start(place, now),
            _ => {}
        }
    }

    /// Starts what can start and stops what must stop, until nothing changes.
    fn advance(&mut self, now: Duration) {
        loop {
            let mut changed = false;
            for place in 0..self.units.len() {
                let unit = &self.units[place];
                changed |= match unit.state {
                    State::Waiting | State::BackOff(_) if !unit.goal => {
                        self.settle(place, State::Stopped, now);
                        true
                    }
                    State::Waiting if self.may_start(place) => {
                        self.launch(place, now);
                        true
                    }
                    State::Starting(_) | State::Ready if !unit.goal && self.may_stop(place) => {
                        self.terminate(place, Next::Stopped, now);
                        true
                    }
                    _ => false,
                };
            }
            if !changed {
                return;
            }
        }
    }

    fn may_start(&self, place: usize) -> bool {
        let spec = &self.units[place].spec;
        let needs =
            spec.needs.iter().all(|name| self.find(name).is_some_and(|place| self.units[place].is_up()));
        let after = spec.after.iter().filter_map(|name| self.find(name)).all(|place| {
            self.units[place].is_settled || !self.units[place].goal || self.blocked_by(place).is_some()
        });
        needs && after
    }

    /// Whether nothing that needs or follows this service is still on its way down.
    fn may_stop(&self, place: usize) -> bool {
        let name = &self.units[place].spec.name;
        let waits = |unit: &&Unit| unit.spec.needs.contains(name) || unit.spec.after.contains(name);
        !self.units.iter().filter(waits).any(|unit| unit.is_alive() && !unit.goal)
    }

    fn launch(&mut self, place: usize, now: Duration) {
        let unit = &mut self.units[place];
        let rule = unit.spec.give_up;
        let window = rule.within_s.duration();
        while unit.recent.front().is_some_and(|start| *start + window < now) {
            unit.recent.pop_front();
        }
        if unit.recent.len() >= usize::try_from(rule.starts).unwrap_or(usize::MAX) {
            let text = format!("given up: {} starts within {window:?}", rule.starts);
            self.note(place, &text);
            let last = self.units[place].last_end.take().unwrap_or_default();
            self.units[place].last_end = Some(format!("{last}; {text}"));
            self.settle(place, State::Failed, now);
            return;
        }
        unit.recent.push_back(now);
        unit.starts += 1;
        unit.text = None;
        unit.reason = None;
        unit.pid = None;
        unit.watchdog_at = None;
        let limit = Some(unit.spec.start_timeout_s.duration()).filter(|limit| !limit.is_zero());
        self.enter(place, State::Starting(limit.map(|limit| now + limit)), now);
        self.actions.push(Action::Start(place));
    }

    fn become_ready(&mut self, place: usize, now: Duration) {
        let unit = &mut self.units[place];
        unit.watchdog_at = unit.watchdog.map(|time| now + time);
        self.settle(place, State::Ready, now);
        self.advance(now);
    }

    /// A service that PID 1 ends because it failed: there is no use in asking it.
    fn fail(&mut self, place: usize, reason: String, now: Duration) {
        self.note(place, &reason);
        let next = self.after_failure(place);
        self.units[place].last_end = Some(reason.clone());
        self.units[place].reason = Some(reason);
        self.count_failure(place, now);
        self.drain(place, next, now);
    }

    fn terminate(&mut self, place: usize, next: Next, now: Duration) {
        let deadline = now + self.units[place].spec.stop_timeout_s.duration();
        self.units[place].reason = Some("stopped on request".to_owned());
        self.enter(place, State::Stopping(deadline, next), now);
        self.actions.push(Action::Terminate(place));
    }

    /// Kills what is left and waits until nothing is.
    fn drain(&mut self, place: usize, next: Next, now: Duration) {
        self.enter(place, State::Draining(next), now);
        self.actions.push(Action::Kill(place));
    }

    /// The main process is gone.
    fn finish(&mut self, place: usize, well: bool, now: Duration) {
        let unit = &self.units[place];
        let reason = unit.reason.clone().unwrap_or_default();
        let next = match unit.state {
            State::Stopping(_, next) | State::Draining(next) => next,
            State::Starting(_) | State::Ready if !unit.goal => Next::Stopped,
            State::Starting(_) | State::Ready => {
                let early = matches!(unit.state, State::Starting(_)) && unit.spec.kind == Kind::Daemon;
                let early = early && unit.spec.ready_when() == ReadyWhen::Notify;
                let well = well && !early;
                self.note(place, &reason);
                if !well {
                    self.count_failure(place, now);
                }
                if well { self.after_success(place) } else { self.after_failure(place) }
            }
            // Nothing runs in the other states.
            _ => return,
        };
        self.units[place].last_end = Some(reason);
        if matches!(self.units[place].state, State::Draining(_)) {
            return;
        }
        self.drain(place, next, now);
    }

    fn after_success(&self, place: usize) -> Next {
        let spec = &self.units[place].spec;
        match (spec.kind, spec.restart_rule()) {
            (Kind::Daemon, Restart::Always) => Next::BackOff,
            _ => Next::Done,
        }
    }

    fn after_failure(&self, place: usize) -> Next {
        match self.units[place].spec.restart_rule() {
            Restart::Always | Restart::OnFailure => Next::BackOff,
            Restart::Never => Next::Failed,
        }
    }

    fn count_failure(&mut self, place: usize, now: Duration) {
        let unit = &mut self.units[place];
        if unit.state == State::Ready && now.saturating_sub(unit.since) >= HEALTHY {
            unit.failures = 0;
        }
        unit.failures = unit.failures.saturating_add(1);
    }

    fn back_off(&mut self, place: usize, now: Duration) {
        let unit = &self.units[place];
        let doubled = unit.failures.saturating_sub(1).min(16);
        let first = unit.spec.restart_s.duration();
        // A first wait past the usual limit is meant, and is not cut.
        let wait = first.saturating_mul(1 << doubled).min(LONGEST_BACK_OFF.max(first));
        self.enter(place, State::BackOff(now + wait), now);
    }

    /// Enters a state for which others need not wait longer.
    fn settle(&mut self, place: usize, state: State, now: Duration) {
        self.enter(place, state, now);
        self.units[place].is_settled = true;
    }

    fn note(&mut self, place: usize, text: &str) {
        self.actions.push(Action::Note(place, text.to_owned()));
    }
}

#[cfg(test)]
mod tests;
