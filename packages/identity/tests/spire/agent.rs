//! Our agent as a process: its folders are a test's, and people's questions go through `lepton-id`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lepton_identity_control::{Answer, Client, ClientError, Request, State, Status};
use serde_json::Value;

use super::process::{Daemon, Said, command, run, until};

/// The agent.
pub(crate) struct Agent {
    program: PathBuf,
    cli: PathBuf,
    folder: PathBuf,
    more: Vec<String>,
    daemon: Option<Daemon>,
}

impl Agent {
    /// An agent that has not started, in a folder of its own.
    pub(crate) fn new(folder: &Path) -> Self {
        for below in ["", "workload", "data"] {
            fs::create_dir_all(folder.join(below)).unwrap();
        }
        // Workloads of other users come to the socket, as on a host.
        for open in [folder.to_owned(), folder.join("workload")] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let program = PathBuf::from(env!("CARGO_BIN_EXE_identity"));
        let cli = super::programs::beside(&program, "lepton-id");
        Self { program, cli, folder: folder.to_owned(), more: Vec::new(), daemon: None }
    }

    /// With one more word on its command line.
    pub(crate) fn with(mut self, word: &str) -> Self {
        self.more.push(word.to_owned());
        self
    }

    /// Gives it a machine config and starts it.
    pub(crate) fn start(&mut self, config: &str) {
        fs::write(self.config_path(), config).unwrap();
        self.start_again();
    }

    /// Starts it as it is.
    pub(crate) fn start_again(&mut self) {
        self.daemon = None;
        let places = [
            ("--machine-config", self.config_path()),
            ("--data", self.data()),
            ("--admin", self.admin()),
            ("--workload", self.workload()),
            ("--control", self.folder.join("control.sock")),
            ("--runtime", self.folder.join("runtime.sock")),
            ("--kubelet", self.folder.join("kubelet")),
        ];
        let mut command = command(&self.program, &[]);
        for (option, path) in places {
            command.arg(option).arg(path);
        }
        command.args(&self.more).env("RUST_BACKTRACE", "0");
        self.daemon = Some(Daemon::start(command, &self.log_path()));
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.daemon = None;
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(&mut self) {
        let status = self.daemon.take().unwrap().terminate();
        assert!(status.success(), "the agent ended with {status}:\n{}", self.log());
    }

    pub(crate) fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().unwrap()
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn admin(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    pub(crate) fn workload(&self) -> PathBuf {
        self.folder.join("workload/workload.sock")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// All that it has logged, since its first start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The lines of its log that are audit records.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let log = self.log();
        let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["audit"].is_string()).collect()
    }

    /// Asks over its admin socket.
    pub(crate) fn ask(&self, request: &Request) -> Result<Answer, ClientError> {
        Client::connect_to(&self.admin())?.ask(request)
    }

    /// How it is, when it answers.
    pub(crate) fn status(&self) -> Option<Status> {
        match self.ask(&Request::Status) {
            Ok(Answer::Status(status)) => Some(*status),
            _ => None,
        }
    }

    pub(crate) fn state(&self) -> Option<State> {
        self.status().map(|status| status.state)
    }

    /// Waits for a state.
    #[track_caller]
    pub(crate) fn until(&mut self, state: State, patience: Duration) -> Status {
        let mut last = None;
        let name = format!("the agent to be {state}");
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(&name, patience, || {
                last = self.status();
                last.as_ref().is_some_and(|status| status.state == state)
            });
        }));
        match (result, last) {
            (Ok(()), Some(status)) => status,
            (_, last) => panic!("{name}: it is {last:#?}\n{}", self.log()),
        }
    }

    /// Runs `lepton-id`.
    pub(crate) fn id(&self, words: &[&str]) -> Said {
        let mut command = command(&self.cli, words);
        command.arg("--socket").arg(self.admin());
        run(command)
    }

    /// Its figures.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.id(&["metrics"]).good();
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// A program that finds the Workload API where programs look for it.
    pub(crate) fn client(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = command(program, words);
        command.env("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", self.workload().display()));
        command
    }
}

/// The machine config of a host that joins these servers.
pub(crate) fn joining(trust_domain: &str, servers: &[String], bundle: &str, how: &str) -> String {
    format!(
        "[identity]\ntrust-domain = {trust_domain:?}\nservers = {servers:?}\ntrust-bundle = '''\n{bundle}'''\n{how}\n"
    )
}
