//! Two hosts that are looked at and changed from outside, with the command line `lepton` and a trust domain that it made:
//! every verb, who may do what, and a machine config that cuts the host off and goes back by itself.

use std::cell::RefCell;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lepton_builder::process::{Process, ProcessError};

use super::{PATIENCE, machine_of};
use crate::Context;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::{Forward, Network};
use crate::runner::Peer;

/// The trust domain of the test.
const DOMAIN: &str = "lab.example.org";
/// Where the API listens in a guest.
const PORT: u16 = 7443;
/// How long a state is waited for, on a machine that emulates two others.
const WAIT: Duration = Duration::from_secs(240);
/// The exit code of `lepton` for a role that is too small, and for those who do not know each other.
const DENIED: i32 = 5;
/// That for a service that is not there.
const NOT_FOUND: i32 = 3;
/// That for a config that somebody else has changed.
const CONFLICT: i32 = 4;
/// A network that the test cannot reach, and something that stays.
const CUT_OFF: &str = "[[network.links]]\nmatch = { name = \"eth0\" }\naddresses = [\"198.51.100.7/24\"]\n";
const MOTD: &str = "[[files]]\npath = \"/etc/motd\"\ncontent = \"hello from outside\"\n";

/// A pod to look at, and to run programs in.
const POD: &str = "[[pods]]
manifest = '''
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: localhost/busybox:1, command: [sh, -c, 'echo the first line; exec sleep 100000']}
'''
";

/// The person at the workstation.
pub(super) struct Person {
    program: PathBuf,
    home: PathBuf,
    hosts: String,
    /// What was run last, for a failure.
    last: RefCell<String>,
}

/// What a call of `lepton` came to.
struct Said {
    code: i32,
    text: String,
}

impl Person {
    /// One who has nothing but the folder `home` and the programs of `folder`, and knows no host.
    pub(super) fn new(folder: &Path, home: &Path) -> Self {
        let (program, home) = (folder.join("lepton-remote"), home.to_owned());
        Self { program, home, hosts: String::new(), last: RefCell::default() }
    }

    /// Makes a trust domain in a folder; gives what of it goes into the machine config of its hosts.
    pub(super) fn trust_domain(&self, folder: &str) -> Result<String, TestError> {
        let made = self.run(&["keys", "new", folder, "--trust-domain", DOMAIN])?;
        self.require(made.code == 0, || made.text)?;
        let path = self.home.join(folder).join("host.toml");
        std::fs::read_to_string(&path).map_err(TestError::file("read", &path))
    }

    /// Runs `lepton` with these words.
    fn run(&self, words: &[&str]) -> Result<Said, TestError> {
        *self.last.borrow_mut() = words.join(" ");
        let process = Process::new(&self.program).args(words.iter().copied()).cwd(&self.home);
        match process.env("HOME", &self.home).output() {
            Ok(text) => Ok(Said { code: 0, text }),
            Err(ProcessError::Failed { status, tail, .. }) => {
                Ok(Said { code: status.code().unwrap_or(-1), text: tail })
            }
            Err(error) => Err(TestError::Tool(error)),
        }
    }

    /// Asks the hosts of the test; the exit code must be this one.
    fn ask(&self, hosts: &str, code: i32, words: &[&str]) -> Result<String, TestError> {
        let said = self.run(&[&["--keys", "lab", "-n", hosts], words].concat())?;
        self.require(said.code == code, || {
            format!("it ends with {code}, not with {}:\n{}", said.code, said.text)
        })?;
        Ok(said.text)
    }

    /// Asks both hosts at once; every part must be in the answer.
    fn both(&self, words: &[&str], parts: &[&str]) -> Result<String, TestError> {
        let text = self.ask(&self.hosts, 0, words)?;
        for part in parts {
            self.require(text.contains(part), || format!("{part:?} is in\n{text}"))?;
        }
        Ok(text)
    }

    /// Asks until a part is in the answer.
    fn until(&self, hosts: &str, words: &[&str], part: &str) -> Result<(), TestError> {
        let deadline = Instant::now() + WAIT;
        loop {
            let said = self.run(&[&["--keys", "lab", "-n", hosts], words].concat())?;
            if said.code == 0 && said.text.contains(part) {
                return Ok(());
            }
            self.require(Instant::now() < deadline, || format!("{part:?} never comes:\n{}", said.text))?;
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn require(&self, holds: bool, fact: impl FnOnce() -> String) -> Result<(), TestError> {
        match holds {
            true => Ok(()),
            false => Err(TestError::Refused {
                judge: "a person at a workstation",
                reason: format!("lepton {}: {}", self.last.borrow(), fact()),
            }),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), TestError> {
        let path = self.home.join(name);
        std::fs::write(&path, text).map_err(TestError::file("write", &path))
    }
}

pub(in crate::boots) fn host(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let ports = free_ports().map_err(TestError::file("find", "two free ports"))?;
    let names = ports.map(|port| format!("127.0.0.1:{port}"));
    let hosts = names.join(",");
    let person = Person { hosts, ..Person::new(cx.peer(Peer::CommandLine)?, dir.path()) };
    let fragment = person.trust_domain("lab")?;
    person.trust_domain("other")?;
    certificates(&person)?;
    let mut guests = Vec::new();
    for (index, port) in ports.into_iter().enumerate() {
        let config = format!("hostname = \"edge-{}\"\n{POD}{fragment}", index + 1);
        let forwards = vec![Forward { host: port, guest: PORT }];
        let machine = machine_of(cx, Peer::NodeTests, &config)?.network(Network::Forwarded(forwards));
        guests.push(Guest::start(&machine, &cx.tools, cx.limit * PATIENCE)?);
    }
    for guest in &mut guests {
        guest.wait_ready()?;
    }
    let result = manage(&person, &names);
    for guest in &mut guests {
        // What the hosts have said helps to understand a failure.
        guest
            .require(result.is_ok(), || result.as_ref().err().map(ToString::to_string).unwrap_or_default())?;
    }
    person.both(&["poweroff"], &["goes down"])?;
    for guest in guests {
        guest.wait_power_off()?;
    }
    Ok(())
}

/// Certificates for each role.
fn certificates(person: &Person) -> Result<(), TestError> {
    for (role, folder) in [("admin", "lab"), ("reader", "lab"), ("operator", "lab"), ("admin", "other")] {
        let made = person.run(&["keys", "issue", "--role", role, folder])?;
        person.require(made.code == 0, || made.text)?;
    }
    Ok(())
}

fn manage(person: &Person, names: &[String; 2]) -> Result<(), TestError> {
    look(person, &names[0])?;
    refusals(person, &names[0])?;
    configs(person, &names[0])?;
    change(person, names)
}

/// Everything that only looks, of two hosts at once.
fn look(person: &Person, one: &str) -> Result<(), TestError> {
    person.until(one, &["pods"], "Running")?;
    person.until(&person.hosts, &["status"], "edge-2")?;
    person.both(&["status"], &["edge-1", "edge-2", "ready"])?;
    person.both(&["version"], &["spiffe://lab.example.org/host/", "role/admin"])?;
    person.both(&["services"], &["kubelet", "runtime", "network", "host"])?;
    person.both(&["services", "runtime"], &["ready"])?;
    person.both(&["logs", "--tail", "5", "kubelet"], &["kubelet.go:"])?;
    person
        .ask(one, 0, &["logs", "web-edge-1"])
        .and_then(|said| person.require(said.contains("the first line"), || said.clone()))?;
    person.both(&["dmesg", "--tail", "400"], &["starting service kubelet"])?;
    person.both(&["top", "--count", "1"], &["kubelet"])?;
    person.both(&["processes"], &["/usr/bin/lepton-host", "kubelet"])?;
    person.both(&["net"], &["eth0", "10.0.2.15", "[::]:7443"])?;
    person.both(&["disks"], &[])?;
    person.both(&["mounts"], &["/var", "erofs"])?;
    person.both(&["time"], &["SYNCHRONIZED", "Z  "])?;
    person.both(&["config", "get"], &["hostname = \"edge-1\"", "(secret)"])?;
    person.both(&["pods"], &["web-edge-1", "web-edge-2"])?;
    person.both(&["containers"], &["app", "running"])?;
    person.both(&["images"], &["localhost/busybox:1"])?;
    let json = person.both(&["-o", "json", "services"], &[])?;
    let objects = json.lines().filter(|line| {
        serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value["host"].is_string())
    });
    person.require(objects.count() > 2, || format!("each line is an object of a host:\n{json}"))?;
    let said = person.ask(one, 0, &["exec", "default/web-edge-1", "--", "hostname"])?;
    person.require(said.contains("web-edge-1"), || said)?;
    person.ask(one, 0, &["support-bundle", "bundle.tar.gz"])?;
    let size = std::fs::metadata(person.home.join("bundle.tar.gz")).map_or(0, |meta| meta.len());
    person.require(size > 1000, || format!("the bundle has {size} bytes"))?;
    Ok(())
}

/// Who may not, and what is not there.
fn refusals(person: &Person, one: &str) -> Result<(), TestError> {
    let reader = |words: &[&'static str]| [&["--role", "reader"], words].concat();
    person.both(&reader(&["status"]), &["edge-1", "edge-2"])?;
    for words in [
        &["restart", "network"][..],
        &["reboot"],
        &["poweroff"],
        &["reset", "--yes"],
        &["support-bundle", "none.tar.gz"],
    ] {
        person.ask(&person.hosts, DENIED, &reader(words))?;
    }
    person.ask(one, DENIED, &reader(&["exec", "default/web-edge-1", "--", "hostname"]))?;
    person.ask(&person.hosts, DENIED, &["--role", "operator", "reset", "--yes"])?;
    person.ask(&person.hosts, NOT_FOUND, &["services", "webb"])?;
    // The same words, of another authority: hosts do not know it, and it does not know the hosts.
    let said = person.run(&["--keys", "other", "-n", &person.hosts, "status"])?;
    person.require(said.code == DENIED, || format!("another authority: {} {}", said.code, said.text))
}

/// A machine config that is looked at, tried and kept.
fn configs(person: &Person, one: &str) -> Result<(), TestError> {
    person.write("motd.toml", MOTD)?;
    person.write("cut.toml", CUT_OFF)?;
    person.write("wrong.toml", "hostnam = \"x\"\n")?;
    person.ask(one, 0, &["config", "check", "motd.toml"])?;
    person.ask(one, 1, &["config", "check", "wrong.toml"])?;
    let said = person.ask(one, 0, &["config", "diff", "motd.toml"])?;
    person.require(said.contains("files") && said.contains("at once"), || said)?;
    person.ask(one, 0, &["config", "apply", "motd.toml"])?;
    person.until(one, &["config", "get"], "/etc/motd")?;
    // It cuts the host off, which nobody can confirm then.
    let before = person.ask(one, 0, &["config", "get"])?;
    person.run(&["--keys", "lab", "-n", one, "config", "apply", "--try", "30s", "cut.toml"])?;
    person.until(one, &["config", "get"], "/etc/motd")?;
    let after = person.ask(one, 0, &["config", "get"])?;
    person.require(!after.contains("198.51.100.7"), || {
        format!("the config of before:\n{before}\nnot\n{after}")
    })?;
    // One that is on trial keeps others out, and is kept when somebody says so.
    person.write("longer.toml", &MOTD.replace("motd", "issue"))?;
    person.ask(one, 0, &["config", "apply", "--try", "600s", "longer.toml"])?;
    person.ask(one, CONFLICT, &["config", "apply", "motd.toml"])?;
    person.ask(one, 0, &["config", "confirm"])?;
    person.until(one, &["config", "get"], "/etc/issue")
}

/// What operators do.
fn change(person: &Person, names: &[String; 2]) -> Result<(), TestError> {
    person.both(&["--role", "operator", "restart", "network"], &["network"])?;
    person.until(&person.hosts, &["services", "network"], "ready")?;
    person.ask(&names[1], 0, &["stop", "route"])?;
    person.until(&names[1], &["services", "route"], "stopped")?;
    person.ask(&names[1], 0, &["start", "route"])?;
    person.until(&names[1], &["services", "route"], "ready")?;
    person.both(&["events", "--count", "1", "network"], &["network"])?;
    Ok(())
}

/// Two ports of the loopback interface that nobody has.
fn free_ports() -> std::io::Result<[u16; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let [one, two] = &listeners;
    Ok([one.local_addr()?.port(), two.local_addr()?.port()])
}
