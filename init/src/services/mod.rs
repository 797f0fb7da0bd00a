//! PID 1 as service manager.
//!
//! `manager.rs` decides and is pure; everything else here carries its decisions out, without ever waiting for a service
//! or for a client.

pub mod applied;
pub mod cgroup;
mod changes;
mod client;
pub mod effects;
pub mod host;
mod late;
pub mod load;
pub mod log;
mod log_feed;
pub mod manager;
pub mod notify;
mod poller;
mod process;
mod requests;
mod server;
mod spawn;
pub mod unit;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use lepton_control::{Change, LogLine, Phase, ServiceState, ServiceStatus};
use lepton_service_spec::ServiceSpec;
use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use crate::kmsg::{self, Level};
use crate::watchdog::Watchdog;
use crate::{clock, launch, signals};
use changes::Changes;
use client::{Client, Log};
use host::Host;
use log::Ring;
use log_feed::LogFeed;
use manager::{Action, Manager};
use notify::{Notice, NotifySocket};
use poller::{Interest, Poller, Source};
use process::Process;
use spawn::Launch;
use unit::Ended;

/// How often a cgroup is looked at whose last processes are on their way out.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Turns that follow each other before PID 1 looks at its own events again.
const TURNS: usize = 4;
/// Messages that are taken at once.
const NOTICES: usize = 64;
/// Records of the kernel's log that are taken at once; the first time it is all that the kernel has kept.
const RECORDS: usize = 64;
const FIRST_RECORDS: usize = 8192;
/// How long the last lines of a host may take on their way to files.
const LAST_LINES: Duration = Duration::from_secs(1);

/// All services and clients.
#[derive(Debug)]
pub struct Services {
    manager: Manager,
    processes: Vec<Process>,
    poller: Poller,
    notify: Option<NotifySocket>,
    listener: Option<UnixListener>,
    clients: Vec<Option<Client>>,
    request: Option<signals::Request>,
    kernel: Option<kmsg::Records>,
    kernel_ring: Ring,
    feed: LogFeed,
    changes: Changes,
    /// The watchdog device, which [`Services::turn`] feeds.
    pub watchdog: Option<Watchdog>,
    /// Facts of the host.
    pub host: Host,
}

impl Services {
    /// Services in start order; nothing runs yet. What cannot be had is reported among the host's errors.
    pub fn new(specs: Vec<ServiceSpec>, mut host: Host, watchdog: Option<Watchdog>) -> io::Result<Self> {
        for dir in ["/run/lepton", launch::STAGE] {
            fs::create_dir_all(dir)?;
        }
        let poller = Poller::new()?;
        host.errors.extend(cgroup::prepare());
        let mut got = |what: &str, error: io::Error| host.errors.push(format!("cannot {what}: {error}"));
        let notify =
            NotifySocket::bind(notify::PATH).map_err(|error| got("take messages of services", error)).ok();
        let listener = server::bind().map_err(|error| got("take control requests", error)).ok();
        if let Some(notify) = &notify {
            poller.add(notify, Source::Notify, Interest::Read)?;
        }
        if let Some(listener) = &listener {
            poller.add(listener, Source::Listener, Interest::Read)?;
        }
        let processes = specs.iter().map(|spec| Process::new(&spec.name)).collect();
        let manager = Manager::new(specs);
        Ok(Self {
            manager,
            processes,
            poller,
            notify,
            listener,
            clients: Vec::new(),
            request: None,
            kernel: None,
            kernel_ring: Ring::default(),
            feed: LogFeed::default(),
            changes: Changes::default(),
            watchdog,
            host,
        })
    }

    /// Wants every service.
    pub fn start_all(&mut self) {
        self.manager.start_all(clock::since_boot());
        self.act();
    }

    /// What a client asked of the host as a whole.
    pub fn take_request(&mut self) -> Option<signals::Request> {
        self.request.take()
    }

    /// When [`Services::turn`] has something to do although nothing happened.
    pub fn deadline(&self) -> Option<Duration> {
        let now = clock::since_boot();
        let draining = self.manager.draining().next().map(|_| now + LOOK_EVERY);
        let clients = self.clients.iter().flatten().filter_map(Client::deadline);
        let watchdog = self.watchdog.as_ref().map(Watchdog::deadline);
        // While the host goes down it ends with the host.
        let trial = self.host.config.end_of_trial().filter(|_| self.host.phase != Phase::Stopping);
        let others = watchdog.into_iter().chain(self.feed.deadline(now)).chain(trial);
        self.manager.deadline().into_iter().chain(draining).chain(clients).chain(others).min()
    }

    /// Does what can be done now, with a bound, and never waits.
    pub fn turn(&mut self) {
        let now = clock::since_boot();
        for _ in 0..TURNS {
            let ready = self.poller.ready();
            if ready.is_empty() {
                break;
            }
            for source in ready {
                self.serve(source, now);
            }
        }
        self.end_trial(now);
        self.manager.tick(now);
        self.act();
        self.serve_followers(now);
        self.keep_logs(now);
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.feed(now);
        }
    }

    /// Reads the kernel's log from now on; it is not needed before somebody wants it.
    fn open_kernel_log(&mut self) {
        if self.kernel.is_some() {
            return;
        }
        let opened = kmsg::Records::open().and_then(|records| {
            self.poller.add(&records, Source::Kernel, Interest::Read)?;
            Ok(records)
        });
        match opened {
            Ok(records) => {
                self.kernel = Some(records);
                self.read_kernel_log(FIRST_RECORDS);
            }
            Err(error) => self.kernel_ring.push(LogLine::new(
                clock::millis(clock::since_boot()),
                format!("lepton: cannot read the kernel's log: {error}"),
            )),
        }
    }

    fn read_kernel_log(&mut self, most: usize) {
        let records = self.kernel.iter_mut().flat_map(|records| records.take(most));
        records.for_each(|line| self.kernel_ring.push(line));
    }

    /// The lines of a log.
    fn ring(&self, log: Log) -> &Ring {
        match log {
            Log::Kernel => &self.kernel_ring,
            Log::Process(place) => &self.processes[place].ring,
            Log::Changes => self.changes.ring(),
        }
    }

    /// Sends log lines to files, once the host is up and has a place for them.
    fn keep_logs(&mut self, now: Duration) {
        if self.host.state.device.is_none() || self.host.phase == Phase::Starting {
            return;
        }
        self.open_kernel_log();
        if self.host.phase != Phase::Stopping {
            self.feed.enable(now);
        }
        let services = self.processes.iter().map(|process| (process.name.as_str(), &process.ring));
        self.feed.feed(std::iter::once((log_feed::FIRST, &self.kernel_ring)).chain(services), now);
    }

    /// Sends the last lines, with a bound; the process that writes them then ends by itself.
    pub fn finish_logs(&mut self) {
        let limit = clock::since_boot() + LAST_LINES;
        loop {
            let now = clock::since_boot();
            self.read_kernel_log(RECORDS);
            self.keep_logs(now);
            if self.feed.deadline(now).is_none() || now >= limit {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.feed.finish();
    }

    /// A child of PID 1 ended.
    pub fn exited(&mut self, pid: Pid, status: WaitStatus) {
        let ended = match (status.exit_status(), status.terminating_signal()) {
            (Some(status), _) => Ended::Exit(status),
            (None, Some(signal)) => Ended::Signal(signal),
            (None, None) => return,
        };
        let Ok(pid) = u32::try_from(pid.as_raw_nonzero().get()) else { return };
        if self.feed.exited(pid, clock::since_boot()) {
            return;
        }
        if let Some(place) = self.manager.units().iter().position(|unit| unit.pid() == Some(pid)) {
            // Its last words first: why it could not start, or that it was ready.
            self.look_at_channel(self.process_of(place));
        }
        self.manager.exited(pid, ended, clock::since_boot());
    }

    /// Whether the ready line can be printed.
    pub fn is_settled(&self) -> bool {
        self.manager.is_settled()
    }

    /// The required service that was given up, and why.
    pub fn failed(&self) -> Option<(String, String)> {
        self.manager.units().iter().enumerate().find_map(|(place, unit)| {
            let blocked =
                self.manager.blocked_by(place).map(|name| format!("needs {name}, which does not run"));
            let failed = unit.has_failed().then(|| unit.last_end().unwrap_or("failed").to_owned());
            Some((unit.spec().name.clone(), failed.or(blocked)?)).filter(|_| unit.spec().required)
        })
    }

    /// Every service with what became of it, for the ready line.
    pub fn summary(&self) -> Vec<(String, String)> {
        let units = self.manager.units().iter().enumerate();
        units
            .map(|(place, unit)| {
                let state = match (unit.public_state(), self.manager.blocked_by(place)) {
                    (_, Some(name)) => format!("failed: needs {name}"),
                    (ServiceState::Failed, _) => format!("failed: {}", unit.last_end().unwrap_or("given up")),
                    (state, _) => state.to_string(),
                };
                (unit.spec().name.clone(), state)
            })
            .collect()
    }

    /// Begins to stop every service, each after those that need it; returns how long that may take.
    pub fn stop_all(&mut self) -> Duration {
        self.host.phase = Phase::Stopping;
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.begin_stop();
        }
        let longest = self.manager.longest_stop();
        self.manager.stop_all(clock::since_boot());
        self.act();
        longest
    }

    /// Whether nothing of any service is left.
    pub fn is_stopped(&self) -> bool {
        self.manager.is_stopped()
    }

    fn serve(&mut self, source: Source, now: Duration) {
        match source {
            Source::Notify => self.take_notices(now),
            Source::Listener => self.accept(now),
            Source::Channel(place) => self.look_at_channel(place),
            Source::Output(place) => self.processes[place].read_output(now),
            Source::Client(slot) => self.serve_client(slot, now),
            Source::Kernel => self.read_kernel_log(RECORDS),
        }
    }

    fn take_notices(&mut self, now: Duration) {
        for _ in 0..NOTICES {
            let Some((pid, notice)) = self.notify.as_ref().and_then(NotifySocket::receive) else { return };
            let Some(name) = cgroup::service_of_process(pid) else { continue };
            let Some(place) = self.manager.find(&name) else { continue };
            // A main process of another service would let a service hide behind it.
            let stranger = notice
                .main_pid
                .is_some_and(|main| cgroup::service_of_process(main).as_deref() != Some(name.as_str()));
            let notice = Notice { main_pid: notice.main_pid.filter(|_| !stranger), ..notice };
            self.manager.notified(place, &notice, now);
        }
    }

    fn look_at_channel(&mut self, process: usize) {
        let Some(channel) = &self.processes[process].channel else { return };
        let launch = spawn::look(channel);
        let place = self.manager.find(&self.processes[process].name);
        match launch {
            Launch::Pending => return,
            Launch::Executed => {
                place.into_iter().for_each(|place| self.manager.executed(place, clock::since_boot()));
            }
            Launch::Failed(error) => {
                place.into_iter().for_each(|place| self.manager.not_executed(place, &error));
            }
        }
        self.processes[process].channel = None;
    }

    /// Carries out what the manager decided, and what follows from that.
    fn act(&mut self) {
        loop {
            self.clear_drained();
            let actions = self.manager.take_actions();
            if actions.is_empty() {
                return self.tell_changes();
            }
            for action in actions {
                self.carry_out(action);
            }
        }
    }

    /// Keeps what has changed for clients that follow it; without one nothing is kept.
    fn tell_changes(&mut self) {
        let changes = self.manager.take_changes();
        let follows =
            |client: &Client| client.cursor.as_ref().is_some_and(|cursor| cursor.log == Log::Changes);
        if changes.is_empty() || !self.clients.iter().flatten().any(follows) {
            return;
        }
        for manager::Change { place, at, before, state, starts } in changes {
            let now = self.status_of(place, at);
            let service = ServiceStatus { state, starts, for_ms: 0, ..now };
            self.changes.push(Change { ms: clock::millis(at), before, service });
        }
    }

    fn clear_drained(&mut self) {
        let now = clock::since_boot();
        let draining: Vec<usize> = self.manager.draining().collect();
        for place in draining {
            let process = self.process_of(place);
            let process = &mut self.processes[process];
            if process.cgroup.is_empty() {
                process.cgroup.remove();
                process.finish_output(now);
                process.channel = None;
                self.manager.emptied(place, now);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        let now = clock::since_boot();
        match action {
            Action::Start(place) => self.start(place, now),
            Action::Terminate(place) => {
                let pid = self.manager.units()[place].pid();
                let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
                // It is not reaped yet, so the number cannot belong to another process.
                if let Some(pid) = pid {
                    let _ = kill_process(pid, Signal::TERM);
                    let _ = kill_process(pid, Signal::CONT);
                }
            }
            Action::Kill(place) => {
                let process = self.process_of(place);
                if let Err(error) = self.processes[process].cgroup.kill() {
                    kmsg::warn(&format!("cannot kill service {}: {error}", self.processes[process].name));
                }
            }
            Action::Note(place, text) => {
                let process = self.process_of(place);
                let process = &mut self.processes[process];
                kmsg::log(Level::Warning, &format!("service {} {text}", process.name));
                process.note(&text, now);
            }
        }
    }

    fn start(&mut self, place: usize, now: Duration) {
        let process = self.process_of(place);
        let spec = self.manager.units()[place].spec();
        kmsg::log(Level::Debug, &format!("starting service {}", spec.name));
        let spawned = spawn::spawn(spec, &self.processes[process].cgroup).and_then(|spawned| {
            self.poller.add(&spawned.channel, Source::Channel(process), Interest::Read)?;
            self.poller.add(&spawned.output, Source::Output(process), Interest::Read)?;
            Ok(spawned)
        });
        match spawned {
            Ok(spawned) => {
                self.processes[process].channel = Some(spawned.channel);
                self.processes[process].output = Some(spawned.output);
                self.manager.spawned(place, spawned.pid);
            }
            Err(error) => self.manager.not_spawned(place, &format!("cannot start: {error}"), now),
        }
    }

    /// The process of a unit; processes keep their places for ever, so that a descriptor always means the same one.
    fn process_of(&self, place: usize) -> usize {
        let name = &self.manager.units()[place].spec().name;
        let found = self.processes.iter().position(|process| process.name == *name);
        found.expect("every service has its process from the start")
    }
}

impl AsFd for Services {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
