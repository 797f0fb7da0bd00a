//! The two senders, and a run of one.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::receiver::Receiver;
use crate::running::Running;
use crate::tools::Tree;

/// Something has gone wrong.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a run took.
#[derive(Debug)]
pub(crate) struct Run {
    /// From the start of the program to the last message.
    pub(crate) wall_ms: u64,
    /// Time of processors that the program used until then.
    pub(crate) cpu_ms: u64,
    pub(crate) peak_kib: u64,
}

/// A sender.
pub(crate) trait Contender {
    /// How it is started, with its files in `work`.
    fn command(&self, receiver: &Receiver, log: &Path, work: &Path) -> Command;
}

/// Ours, which always keeps lines on a disk.
pub(crate) struct Lepton<'a> {
    pub(crate) program: &'a Path,
}

impl Contender for Lepton<'_> {
    fn command(&self, receiver: &Receiver, log: &Path, work: &Path) -> Command {
        let path = |name: &str| work.join(name);
        let pod = path("pods/shop_web-1_c7e4c2a1/app");
        fs::create_dir_all(&pod).unwrap();
        fs::create_dir_all(path("containers")).unwrap();
        fs::create_dir_all(path("host/services")).unwrap();
        fs::hard_link(log, pod.join("0.log")).unwrap();
        let config = format!(
            "[logs]\nbuffer-mib = 1024\n[[logs.destinations]]\nname = 'central'\nurl = 'syslog+tls://{}'\n\
             trust-bundle = '''{}'''\n",
            receiver.address, receiver.pem
        );
        fs::write(path("config.toml"), config).unwrap();
        let mut command = Command::new(self.program);
        for (word, name) in [
            ("--machine-config", "config.toml"),
            ("--state", "state"),
            ("--pods", "pods"),
            ("--containers", "containers"),
            ("--host-logs", "host"),
            ("--control", "control.sock"),
            ("--workload", "workload.sock"),
            ("--metrics", "metrics.sock"),
        ] {
            command.arg(word).arg(path(name));
        }
        command
    }
}

/// Debian's.
pub(crate) struct Rsyslogd<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) is_on_disk: bool,
}

impl Contender for Rsyslogd<'_> {
    fn command(&self, receiver: &Receiver, log: &Path, work: &Path) -> Command {
        let path = |name: &str| work.join(name).display().to_string();
        fs::write(path("ca.pem"), &receiver.pem).unwrap();
        let queue = if self.is_on_disk {
            "queue.type=\"Disk\" queue.fileName=\"queue\" queue.maxDiskSpace=\"1g\""
        } else {
            "queue.type=\"LinkedList\" queue.size=\"100000\""
        };
        let settings = format!(
            r#"global(workDirectory="{work}" DefaultNetstreamDriverCAFile="{ca}")
module(load="imfile" mode="inotify")
input(type="imfile" file="{log}" tag="app" facility="local0" severity="info")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted" {queue}
  StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/certvalid"
  template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1")
"#,
            work = work.display(),
            ca = path("ca.pem"),
            log = log.display(),
            port = receiver.address.port(),
        );
        fs::write(path("rsyslog.conf"), settings).unwrap();
        let mut command = self.tree.command("usr/sbin/rsyslogd");
        command.args(["-n", "-f", &path("rsyslog.conf"), "-i", &path("rsyslog.pid"), "-M"]);
        command.arg(self.tree.libraries().join("rsyslog"));
        command
    }
}

/// Sends all lines, from the start of the program to the last message.
pub(crate) fn run(contender: &dyn Contender, log: &Path, lines: u64, folder: &Path) -> Run {
    let receiver = Receiver::start();
    let work = folder.join("run");
    fs::create_dir(&work).unwrap();
    let mut command = contender.command(&receiver, log, &work);
    let start = Instant::now();
    let running = Running(command.stdin(Stdio::null()).spawn().unwrap());
    while receiver.messages() < lines {
        assert!(start.elapsed() < PATIENCE, "{} of {lines} have come", receiver.messages());
        std::thread::sleep(Duration::from_millis(5));
    }
    let run = Run {
        wall_ms: u64::try_from(start.elapsed().as_millis()).unwrap(),
        cpu_ms: cpu_ms(&running.0),
        peak_kib: peak_kib(&running.0),
    };
    drop(running);
    fs::remove_dir_all(work).unwrap();
    run
}

/// `utime` and `stime` of proc_pid_stat(5).
fn cpu_ms(child: &Child) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = [fields[11], fields[12]].map(|field| field.parse::<u64>().unwrap()).iter().sum();
    ticks * 1000 / rustix::param::clock_ticks_per_second()
}

fn peak_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
