//! A PID 1 with two services, which does nothing and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lepton_control::{
    Answer, Change, ConfigChange, ConfigProblem, ConfigStatus, Difference, Effect, ErrorKind, HostConfig,
    LogLine, Phase, Request, ServiceState, ServiceStatus, StateStatus, Status, Trial,
};

#[derive(Clone)]
pub(crate) struct Pid1(Arc<Mutex<State>>);

struct State {
    services: Vec<ServiceStatus>,
    asked: Vec<Request>,
    delay: Duration,
    watchers: Vec<UnixStream>,
}

impl Pid1 {
    pub(crate) fn serve(socket: &Path) -> Self {
        let services = ["db", "web"].map(|name| ServiceStatus {
            name: name.into(),
            state: ServiceState::Ready,
            text: None,
            pid: Some(7),
            starts: 1,
            last_end: None,
            for_ms: 1,
            memory_kb: Some(4),
            tasks: Some(1),
            dropped_lines: 0,
        });
        let state = State {
            services: services.into(),
            asked: Vec::new(),
            delay: Duration::ZERO,
            watchers: Vec::new(),
        };
        let pid1 = Self(Arc::new(Mutex::new(state)));
        let listener = UnixListener::bind(socket).unwrap();
        let served = pid1.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let pid1 = served.clone();
                thread::spawn(move || pid1.talk(stream));
            }
        });
        pid1
    }

    pub(crate) fn asked(&self) -> Vec<Request> {
        self.0.lock().unwrap().asked.clone()
    }

    pub(crate) fn set_state(&self, name: &str, state: ServiceState) {
        let mut held = self.0.lock().unwrap();
        let Some(service) = held.services.iter_mut().find(|it| it.name == name) else { return };
        let before = Some(std::mem::replace(&mut service.state, state));
        let change = Answer::Change(Box::new(Change { ms: 9, before, service: service.clone() }));
        held.watchers.retain_mut(|watcher| watcher.write_all(change.to_line().as_bytes()).is_ok());
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.0.lock().unwrap().delay = delay;
    }

    fn talk(&self, mut stream: UnixStream) {
        let reader = BufReader::new(stream.try_clone().unwrap());
        for line in reader.lines().map_while(Result::ok) {
            let request = Request::from_line(line.as_bytes()).unwrap();
            self.0.lock().unwrap().asked.push(request.clone());
            thread::sleep(self.0.lock().unwrap().delay);
            if request == Request::Watch {
                let mut held = self.0.lock().unwrap();
                let all = Answer::Services(held.services.clone()).to_line();
                if stream.write_all(all.as_bytes()).is_ok() {
                    held.watchers.push(stream.try_clone().unwrap());
                }
                continue;
            }
            let is_followed = matches!(request, Request::Logs { follow: true, .. });
            for answer in self.answers(request) {
                if stream.write_all(answer.to_line().as_bytes()).is_err() {
                    return;
                }
            }
            if is_followed {
                thread::sleep(Duration::from_secs(60));
            }
        }
    }

    fn answers(&self, request: Request) -> Vec<Answer> {
        let services = self.0.lock().unwrap().services.clone();
        let service = |name: &str| match services.iter().find(|it| it.name == name) {
            Some(found) => Answer::Service(Box::new(found.clone())),
            None => Answer::error(ErrorKind::NoService, format!("there is no service {name:?}")),
        };
        let order = |name: &str| match service(name) {
            Answer::Service(_) => Answer::Done,
            refused => refused,
        };
        vec![match request {
            Request::Status => Answer::Status(Box::new(status(services))),
            Request::Services => Answer::Services(services),
            Request::Service { name } => service(&name),
            Request::Logs { follow, from, .. } => {
                let line = |ms, text: &str| Answer::Line(LogLine { number: ms - 1, ms, text: text.into() });
                let mut answers = vec![line(1, "one"), line(2, "two")];
                answers.drain(..usize::try_from(from.unwrap_or(0)).unwrap().min(2));
                answers.extend((!follow).then_some(Answer::End));
                return answers;
            }
            Request::Start { name } | Request::Stop { name } | Request::Restart { name } => order(&name),
            Request::Reboot | Request::Poweroff | Request::ResetState => Answer::Done,
            Request::GetConfig => Answer::Config(Box::new(config())),
            Request::CheckConfig { text } => change(&text, None),
            Request::ApplyConfigChange { expected, .. }
                if expected.as_deref().is_some_and(|it| it != "r-1") =>
            {
                Answer::error(ErrorKind::Conflict, "the machine config is another one by now")
            }
            Request::ApplyConfigChange { text, try_s, .. } => change(
                &text,
                try_s.map(|seconds| Trial { id: "t-1".into(), left_ms: u64::from(seconds) * 1000 }),
            ),
            Request::ConfirmConfig { id } if id == "t-1" => Answer::Done,
            Request::ConfirmConfig { .. } => Answer::error(ErrorKind::NoTrial, "no such trial"),
            other => Answer::error(ErrorKind::NotAllowed, format!("{other:?}")),
        }]
    }
}

fn status(services: Vec<ServiceStatus>) -> Status {
    Status {
        image: Some("node".into()),
        version: Some("1".into()),
        arch: "x86_64".into(),
        kernel: "6.1".into(),
        phase: Phase::Ready,
        uptime_ms: 5,
        ready_ms: Some(3),
        hostname: "edge-1".into(),
        addresses: vec!["192.0.2.10".into()],
        state: StateStatus { device: None, filesystem: "tmpfs".into() },
        config: ConfigStatus::default(),
        memory: None,
        services,
    }
}

fn config() -> HostConfig {
    let text = "hostname = \"edge-1\"\n\n[[files]]\npath = \"/etc/motd\"\ncontent = \"hunter2\"\n";
    HostConfig {
        revision: "r-1".into(),
        effective: text.into(),
        applied: Some(text.into()),
        sources: vec!["image".into()],
        errors: vec![],
        persistent: true,
        trial: None,
    }
}

fn change(text: &str, trial: Option<Trial>) -> Answer {
    let parsed = lepton_config::parse("x", text);
    if !parsed.problems.is_empty() {
        let problem =
            ConfigProblem { line: 1, key: "hostnam".into(), message: format!("unknown key in {text:?}") };
        return Answer::ConfigProblems(vec![problem]);
    }
    Answer::ConfigChange(Box::new(ConfigChange {
        revision: "r-2".into(),
        differences: vec![Difference {
            key: "hostname".into(),
            old: Some("\"edge-1\"".into()),
            new: Some("\"a\"".into()),
            effect: Effect::Overridden { source: "cmdline".into() },
        }],
        left_out: 0,
        persistent: true,
        trial,
        errors: vec![],
    }))
}
