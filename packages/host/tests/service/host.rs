//! The service, as a program.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lepton_spiffe::Bundle;
use lepton_spiffe_api::workload as api;
use tokio::sync::watch;

use crate::authority::{Authority, DOMAIN};
use crate::pid1::Pid1;
use crate::workload;

/// The host's name in its certificate.
pub(crate) const NAME: &str = "edge-1.example.org";

pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    /// What hosts are verified with.
    pub(crate) hosts: Bundle,
    pub(crate) pid1: Pid1,
    /// Whose certificate the host shows.
    pub(crate) authority: Authority,
    given: watch::Sender<api::X509svidResponse>,
    folder: tempfile::TempDir,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) child: Child,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Host {
    /// A host that believes an authority, and listens.
    pub(crate) async fn start(operators: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let pid1 = Pid1::serve(&place("control.sock"));
        let authority = Authority::new();
        let (given, receiver) = watch::channel(svid(&authority));
        workload::serve(&place("workload.sock"), receiver);
        // Nobody else takes a port that was used a moment ago.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut hosts = Bundle::empty(DOMAIN.parse().unwrap());
        hosts.add(authority.certificate.clone()).unwrap();

        #[expect(clippy::disallowed_methods, reason = "it is the program that is tested")]
        let mut command = std::process::Command::new(program());
        for (option, name) in [
            ("--machine-config", "config.toml"),
            ("--control", "control.sock"),
            ("--socket", "api.sock"),
            ("--workload", "workload.sock"),
            ("--runtime", "runtime.sock"),
            ("--credentials", "kubelet"),
            ("--network", "network.json"),
        ] {
            command.arg(option).arg(place(name));
        }
        std::fs::write(place("config.toml"), config(address, &[operators])).unwrap();
        let mut child = command.env_clear().stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let host = Self { address, hosts, pid1, authority, given, folder, log, child };
        eventually(|| host.log().iter().any(|line| line.starts_with("listening on")).then_some(())).await;
        host
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.place("api.sock")
    }

    /// A file of its folder.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Records among that.
    pub(crate) fn audit(&self) -> Vec<serde_json::Value> {
        let log = self.log();
        log.iter()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Gives the host another certificate.
    pub(crate) fn rotate(&self) {
        self.given.send_replace(svid(&self.authority));
    }

    /// Has the machine config name these authorities.
    pub(crate) fn believe(&self, operators: &[&Authority]) {
        self.configure(&config(self.address, operators));
    }

    /// Replaces the machine config, as PID 1 does it.
    pub(crate) fn configure(&self, text: &str) {
        let new = self.folder.path().join("new.toml");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder.path().join("config.toml")).unwrap();
    }
}

/// The program of this build; figures are those of another one.
#[expect(clippy::disallowed_methods, reason = "tests and figures are told where programs are")]
fn program() -> PathBuf {
    let own = option_env!("CARGO_BIN_EXE_lepton-host").map(PathBuf::from);
    own.or_else(|| std::env::var_os("LEPTON_BENCH_HOST").map(PathBuf::from)).unwrap()
}

fn config(address: SocketAddr, operators: &[&Authority]) -> String {
    let pem: String = operators.iter().map(|it| it.pem.as_str()).collect();
    format!("[host]\nlisten = ['{address}']\ntrust-domain = '{DOMAIN}'\ntrust-bundle = '''\n{pem}'''\n")
}

fn svid(authority: &Authority) -> api::X509svidResponse {
    let id = format!("spiffe://{DOMAIN}/host/1");
    let issued = authority.host(&id, NAME);
    let svid = api::X509svid {
        spiffe_id: id,
        x509_svid: issued.certificate.to_vec(),
        x509_svid_key: issued.key,
        bundle: authority.certificate.to_vec(),
        hint: String::new(),
    };
    api::X509svidResponse { svids: vec![svid], ..Default::default() }
}

/// What comes to be true within some seconds.
pub(crate) async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..400 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come to be within 20 s");
}
