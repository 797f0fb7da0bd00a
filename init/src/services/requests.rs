//! What each request of the control protocol does.

use std::time::Duration;

use lepton_control::{Answer, ErrorKind, LogName, Request, ServiceStatus, Status};

use super::Services;
use super::applied::Wish;
use super::cgroup::service_of_process;
use super::client::{Cursor, Log};
use crate::clock::millis;
use crate::kmsg::{self, Level};
use crate::{hostname, signals, state};

/// What follows a request.
pub(super) enum Outcome {
    /// This answer.
    Answer(Answer),
    /// The lines of a log.
    Log(Cursor),
    /// These services, and what becomes of them.
    Watch(Vec<ServiceStatus>),
}

impl Services {
    /// Does what the process `pid` asked.
    pub(super) fn obey(&mut self, request: Request, pid: u32, now: Duration) -> Outcome {
        let answer = match request {
            Request::Status => Answer::Status(Box::new(self.status(now))),
            Request::Services => Answer::Services(self.statuses(now)),
            Request::Service { name } => match self.manager.find(&name) {
                Some(place) => Answer::Service(Box::new(self.status_of(place, now))),
                None => no_service(&name),
            },
            Request::Watch => {
                // What has changed by now is in the answer, and is nothing that comes after it.
                self.tell_changes();
                return Outcome::Watch(self.statuses(now));
            }
            Request::Logs { name: LogName::Kernel, follow, lines, from } => {
                self.open_kernel_log();
                let next = self.kernel_ring.begin(from, lines);
                return Outcome::Log(Cursor { log: Log::Kernel, next, follow });
            }
            Request::Logs { name: LogName::Service(name), follow, lines, from } => match self.log_of(&name) {
                Some(process) => {
                    let next = self.processes[process].ring.begin(from, lines);
                    return Outcome::Log(Cursor { log: Log::Process(process), next, follow });
                }
                None => no_service(&name),
            },
            Request::Start { name } => {
                self.on_service(&name, |services, place| services.manager.start(place, now))
            }
            Request::Stop { name } => {
                self.on_service(&name, |services, place| services.manager.stop(place, now))
            }
            Request::Restart { name } => {
                self.on_service(&name, |services, place| services.manager.restart(place, now))
            }
            Request::Reboot => self.ask(signals::Request::Reboot),
            Request::Poweroff => self.ask(signals::Request::PowerOff),
            Request::SetHostname { hostname } => self.set_hostname(&hostname, pid),
            Request::ResetState => self.reset_state(),
            Request::ApplyConfig { source, text } => self.apply_config(&source, &text, pid, now),
            Request::ConfigFailed { message } => self.config_failed(&message, pid),
            Request::GetConfig => self.host.config.get(self.host.errors(), now),
            Request::CheckConfig { text } => self.check_config(&text, now),
            Request::ApplyConfigChange { text, expected, try_s } => {
                let wish = Wish { text: &text, expected: expected.as_deref(), try_s };
                self.apply_change(wish, now)
            }
            Request::ConfirmConfig { id } => self.host.config.confirm(&id),
        };
        Outcome::Answer(answer)
    }

    fn on_service(&mut self, name: &str, action: impl FnOnce(&mut Self, usize)) -> Answer {
        match self.manager.find(name) {
            Some(place) => {
                action(self, place);
                Answer::Done
            }
            None => no_service(name),
        }
    }

    fn ask(&mut self, request: signals::Request) -> Answer {
        self.request = Some(request);
        Answer::Done
    }

    /// A name that came with a lease; the configuration's own name is stronger.
    fn set_hostname(&mut self, name: &str, pid: u32) -> Answer {
        if service_of_process(pid).as_deref() != Some("network") {
            return Answer::error(ErrorKind::NotAllowed, "only the service network may name the host");
        }
        // For a config that names the host no more.
        self.host.network_name = Some(name.to_owned());
        if self.host.is_named {
            return Answer::error(ErrorKind::Refused, "the configuration names the host");
        }
        match hostname::rename(name) {
            Ok(()) => {
                kmsg::log(Level::Notice, &format!("the network names this host {name}"));
                Answer::Done
            }
            Err(error) => Answer::error(ErrorKind::Refused, error.to_string()),
        }
    }

    fn reset_state(&self) -> Answer {
        if self.host.state.device.is_none() {
            return Answer::error(ErrorKind::Refused, "there is no state partition: state is in memory");
        }
        match state::request_reset() {
            Ok(()) => Answer::Done,
            Err(error) => Answer::error(ErrorKind::Refused, format!("cannot ask for it: {error}")),
        }
    }

    /// The host and its services.
    pub fn status(&self, now: Duration) -> Status {
        self.host.status(self.statuses(now))
    }

    fn log_of(&self, name: &str) -> Option<usize> {
        self.processes.iter().position(|process| process.name == name)
    }

    /// Every service, in start order.
    pub(super) fn statuses(&self, now: Duration) -> Vec<ServiceStatus> {
        (0..self.manager.units().len()).map(|place| self.status_of(place, now)).collect()
    }

    pub(super) fn status_of(&self, place: usize, now: Duration) -> ServiceStatus {
        let unit = &self.manager.units()[place];
        let process = &self.processes[self.process_of(place)];
        let blocked = self.manager.blocked_by(place).map(|name| format!("needs {name}, which does not run"));
        let alive = unit.is_alive();
        ServiceStatus {
            name: unit.spec().name.clone(),
            state: unit.public_state(),
            text: blocked.or_else(|| unit.text().map(str::to_owned)),
            pid: unit.pid(),
            starts: unit.starts(),
            last_end: unit.last_end().map(str::to_owned),
            for_ms: millis(now.saturating_sub(unit.since())),
            memory_kb: alive.then(|| process.cgroup.memory_kb()).flatten(),
            tasks: alive.then(|| process.cgroup.tasks()).flatten(),
            dropped_lines: process.intake.dropped,
        }
    }
}

fn no_service(name: &str) -> Answer {
    Answer::error(ErrorKind::NoService, format!("there is no service {name:?}"))
}
