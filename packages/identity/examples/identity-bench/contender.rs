//! One of the two agents as a process with a configuration of its own, and what it takes of the host.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Daemon, command};
use crate::server::Server;

/// USER_HZ, in which the kernel counts the time of processes (proc_pid_stat(5)).
const TICKS: u64 = 100;

/// Whose agent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Lepton,
    Spire,
}

impl fmt::Display for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lepton => "lepton",
            Self::Spire => "spire",
        })
    }
}

/// An agent that joins by a token.
pub(crate) struct Contender {
    program: PathBuf,
    words: Vec<String>,
    socket: PathBuf,
    log: PathBuf,
    /// What the server calls the host.
    pub(crate) host: String,
    /// Its workloads have IDs below this path.
    pub(crate) path: String,
    /// Seconds that SVIDs of its workloads are good for.
    pub(crate) ttl_s: u32,
    daemon: Option<Daemon>,
}

impl Contender {
    /// One that has not started, with what it needs in `folder`.
    pub(crate) fn new(make: Make, program: &Path, folder: &Path, server: &Server, ttl_s: u32) -> Self {
        let token = server.token();
        let socket = folder.join("workload/api.sock");
        fs::create_dir_all(folder.join("workload")).unwrap();
        fs::create_dir_all(folder.join("data")).unwrap();
        let words = match make {
            Make::Lepton => lepton(folder, &socket, server, &token),
            Make::Spire => spire(folder, &socket, server, &token),
        };
        let name = folder.file_name().unwrap().to_string_lossy();
        Self {
            program: program.to_owned(),
            words,
            socket,
            log: folder.join("agent.log"),
            host: server.id_of_token(&token),
            path: format!("/{name}"),
            ttl_s,
            daemon: None,
        }
    }

    pub(crate) fn start(&mut self) {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        self.daemon = Some(Daemon::start(command(&self.program, &words), &self.log));
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(&mut self) {
        self.daemon.take().unwrap().terminate();
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn process(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.daemon.as_ref().unwrap().pid())).unwrap()
    }

    /// Resident memory.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = self.process("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Time of processors that it has had.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.process("stat");
        // The name in parentheses may have spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|&place| fields[place].parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / TICKS)
    }
}

/// Files and command line of ours.
fn lepton(folder: &Path, socket: &Path, server: &Server, token: &str) -> Vec<String> {
    let config = folder.join("config.toml");
    let text = format!(
        "[identity]\ntrust-domain = {:?}\nservers = [{:?}]\njoin-token = {token:?}\ntrust-bundle = '''\n{}'''\n",
        server.trust_domain(),
        server.address(),
        server.bundle()
    );
    fs::write(&config, text).unwrap();
    let places = [
        ("--machine-config", config),
        ("--data", folder.join("data")),
        ("--admin", folder.join("admin.sock")),
        ("--workload", socket.to_owned()),
        ("--control", folder.join("control.sock")),
        ("--runtime", folder.join("runtime.sock")),
        ("--kubelet", folder.join("kubelet")),
    ];
    let words = places.map(|(option, path)| [option.to_owned(), path.display().to_string()]);
    words.into_iter().flatten().collect()
}

/// Files and command line of SPIRE's; what is not said is as it is by default.
fn spire(folder: &Path, socket: &Path, server: &Server, token: &str) -> Vec<String> {
    let (bundle, config, data) = (folder.join("bundle.pem"), folder.join("agent.conf"), folder.join("data"));
    fs::write(&bundle, server.bundle()).unwrap();
    let address = server.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let text = format!(
        r#"agent {{
  data_dir = {data:?}
  server_address = "{host}"
  server_port = "{port}"
  socket_path = {socket:?}
  trust_domain = "{trust_domain}"
  trust_bundle_path = {bundle:?}
  join_token = "{token}"
}}
plugins {{
  KeyManager "disk" {{ plugin_data {{ directory = {data:?} }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#,
        trust_domain = server.trust_domain(),
    );
    fs::write(&config, text).unwrap();
    vec!["run".to_owned(), "-config".to_owned(), config.display().to_string()]
}
