//! Two hosts that are looked at and changed from outside, with the command line `lepton` and a trust domain that it made:
//! every verb, who may do what, and a machine config that cuts the host off and goes back by itself.

mod person;

use std::net::TcpListener;

use super::{PATIENCE, machine_of};
use crate::Context;
use crate::boots::state;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::{Forward, Machine, Network};
use crate::runner::Peer;
pub(super) use person::Person;

/// Where the API listens in a guest.
const PORT: u16 = 7443;
/// Bytes of the state disk of a host, and what the kernel command line says about it.
const DISK: u64 = 300 << 20;
const ON_DISK: &str = " lepton.state-disk=/dev/vda lepton.state-wait=30";
/// The exit code of `lepton` for a role that is too small, and for those who do not know each other.
const DENIED: i32 = 5;
/// That for words that are no command.
const USAGE: i32 = 2;
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

pub(in crate::boots) fn host(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let ports = free_ports().map_err(TestError::file("find", "two free ports"))?;
    let names = ports.map(|port| format!("127.0.0.1:{port}"));
    let person = Person::new(cx.peer(Peer::CommandLine)?, dir.path());
    let fragment = person.trust_domain("lab")?;
    person.trust_domain("other")?;
    certificates(&person)?;
    person.ask(0, &["context", "add", "lab", "--keys", "lab", "--hosts", &names.join(",")])?;

    let mut on_disk = cx.clone();
    on_disk.cmdline.push_str(ON_DISK);
    let mut machines = Vec::new();
    for (index, port) in ports.into_iter().enumerate() {
        let path = dir.path().join(format!("state-{index}.raw"));
        state::blank(&path, DISK)?;
        let config = format!("hostname = \"edge-{}\"\n{POD}{fragment}", index + 1);
        let network = Network::Forwarded(vec![Forward { host: port, guest: PORT }]);
        let machine = machine_of(&on_disk, Peer::NodeTests, &config)?.network(network);
        machines.push(machine.disk(state::disk(&path, 512)));
    }
    let guests = meet(cx, &machines, || manage(&person, &names))?;
    for guest in guests {
        guest.wait_restart()?;
    }
    let guests = meet(cx, &machines, || again(&person, &names))?;
    for guest in guests {
        guest.wait_power_off()?;
    }
    Ok(())
}

/// Starts both hosts; what `act` finds wrong is told with what they have said.
fn meet(
    cx: &Context,
    machines: &[Machine],
    act: impl FnOnce() -> Result<(), TestError>,
) -> Result<Vec<Guest>, TestError> {
    let mut guests = Vec::new();
    for machine in machines {
        guests.push(Guest::start(machine, &cx.tools, cx.limit * PATIENCE)?);
    }
    for guest in &mut guests {
        guest.wait_ready()?;
    }
    let result = act();
    for guest in &mut guests {
        guest
            .require(result.is_ok(), || result.as_ref().err().map(ToString::to_string).unwrap_or_default())?;
    }
    Ok(guests)
}

/// Certificates for each role.
fn certificates(person: &Person) -> Result<(), TestError> {
    for (role, folder) in [("admin", "lab"), ("reader", "lab"), ("operator", "lab"), ("admin", "other")] {
        person.ask(0, &["keys", "issue", "--role", role, folder])?;
    }
    Ok(())
}

/// Everything that is done to hosts before they restart.
fn manage(person: &Person, names: &[String; 2]) -> Result<(), TestError> {
    look(person, names)?;
    refusals(person, &names[0])?;
    configs(person, &names[0])?;
    change(person, names)
}

/// Everything that only looks, at two hosts at once.
fn look(person: &Person, [one, two]: &[String; 2]) -> Result<(), TestError> {
    person.until(&["-n", one, "pods"], "Running")?;
    person.until(&["-n", two, "pods"], "Running")?;
    person.until(&["status"], "edge-2")?;
    person.sees(&["status"], &["edge-1", "edge-2", "ready"])?;
    person.sees(&["version"], &["spiffe://lab.example.org/host/", "role/admin"])?;
    person.sees(&["services"], &["kubelet", "runtime", "network", "host"])?;
    person.sees(&["services", "runtime"], &["ready"])?;
    person.sees(&["logs", "--tail", "5", "kubelet"], &["kubelet.go:"])?;
    // The pod is called web-edge-1 there, and web-edge-2 here.
    person.sees(&["logs", "web"], &[&format!("{one} "), &format!("{two} "), "the first line"])?;
    person.sees(&["dmesg", "--tail", "400"], &["starting service kubelet"])?;
    person.sees(&["top", "--count", "1"], &["kubelet"])?;
    person.sees(&["processes"], &["/usr/bin/lepton-host", "kubelet"])?;
    person.sees(&["net"], &["eth0", "10.0.2.15", "[::]:7443"])?;
    person.sees(&["disks"], &["vda"])?;
    person.sees(&["mounts"], &["/var", "erofs", "ext4"])?;
    person.sees(&["time"], &["SYNCHRONIZED", "Z  "])?;
    person.sees(&["config", "get"], &["hostname = \"edge-1\"", "(secret)"])?;
    person.sees(&["pods"], &["web-edge-1", "web-edge-2"])?;
    person.sees(&["containers"], &["app", "running"])?;
    person.sees(&["images"], &["localhost/busybox:1"])?;
    let json = person.ask(0, &["-o", "json", "services"])?;
    let objects = json.lines().filter(|line| {
        serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value["host"].is_string())
    });
    person.require(objects.count() > 2, || format!("each line is an object of a host:\n{json}"))?;
    person.sees(&["-n", one, "exec", "default/web-edge-1", "--", "hostname"], &["web-edge-1"])?;
    person.ask(0, &["-n", one, "support-bundle", "bundle.tar.gz"])?;
    let size = std::fs::metadata(person.path("bundle.tar.gz")).map_or(0, |meta| meta.len());
    person.require(size > 1000, || format!("the bundle has {size} bytes"))
}

/// Who may not, and what is not there.
fn refusals(person: &Person, one: &str) -> Result<(), TestError> {
    person.sees(&["--role", "reader", "status"], &["edge-1", "edge-2"])?;
    for words in [
        &["restart", "network"][..],
        &["reboot"],
        &["poweroff"],
        &["reset", "--yes"],
        &["support-bundle", "none.tar.gz"],
        &["-n", one, "exec", "default/web-edge-1", "--", "hostname"],
    ] {
        person.ask(DENIED, &[&["--role", "reader"], words].concat())?;
    }
    person.ask(DENIED, &["--role", "operator", "reset", "--yes"])?;
    person.ask(NOT_FOUND, &["services", "webb"])?;
    // The same words, of another authority: hosts do not know it, and it does not know the hosts.
    person.ask(DENIED, &["--keys", "other", "status"])?;
    Ok(())
}

/// A machine config that is looked at, tried and kept.
fn configs(person: &Person, one: &str) -> Result<(), TestError> {
    person.write("motd.toml", MOTD)?;
    person.write("cut.toml", CUT_OFF)?;
    person.write("wrong.toml", "hostnam = \"x\"\n")?;
    person.ask(0, &["config", "check", "motd.toml"])?;
    person.ask(1, &["config", "check", "wrong.toml"])?;
    person.sees(&["config", "diff", "motd.toml"], &["files", "at once"])?;
    person.ask(0, &["config", "apply", "motd.toml"])?;
    person.until(&["-n", one, "config", "get"], "/etc/motd")?;
    // It cuts the host off, which nobody can confirm then.
    let get = ["-n", one, "config", "get"];
    let before = person.ask(0, &get)?;
    person.run(&["-n", one, "config", "apply", "--try", "30s", "cut.toml"])?;
    person.until(&get, "/etc/motd")?;
    let after = person.ask(0, &get)?;
    person.require(!after.contains("198.51.100.7"), || {
        format!("the config of before:\n{before}\nnot\n{after}")
    })?;
    // One that is on trial keeps others out, and is kept when somebody says so.
    person.write("longer.toml", &MOTD.replace("motd", "issue"))?;
    person.ask(0, &["-n", one, "config", "apply", "--try", "600s", "longer.toml"])?;
    person.ask(CONFLICT, &["-n", one, "config", "apply", "motd.toml"])?;
    person.ask(0, &["-n", one, "config", "confirm"])?;
    person.until(&get, "/etc/issue")
}

/// What operators do; in the end one host restarts, and the other one forgets everything first.
fn change(person: &Person, names: &[String; 2]) -> Result<(), TestError> {
    let [one, two] = names;
    person.sees(&["--role", "operator", "restart", "network"], &["network"])?;
    person.until(&["services", "network"], "ready")?;
    person.ask(0, &["-n", two, "stop", "route"])?;
    person.until(&["-n", two, "services", "route"], "stopped")?;
    person.ask(0, &["-n", two, "start", "route"])?;
    person.until(&["-n", two, "services", "route"], "ready")?;
    person.sees(&["events", "--count", "1", "network"], &["network"])?;
    person.sees(&["-n", two, "config", "get"], &["/etc/motd"])?;
    person.ask(USAGE, &["-n", two, "reset"])?;
    person.sees(&["--role", "operator", "-n", one, "reboot"], &["restarts"])?;
    person.sees(&["-n", two, "reset", "--yes"], &["is emptied"])?;
    Ok(())
}

/// What hosts are after it: the same certificates are good, one has the config that was applied, the other one has not.
fn again(person: &Person, names: &[String; 2]) -> Result<(), TestError> {
    let [one, two] = names;
    person.until(&["status"], "edge-2")?;
    person.sees(&["-n", one, "config", "get"], &["/etc/issue"])?;
    let said = person.ask(0, &["-n", two, "config", "get"])?;
    person.require(!said.contains("/etc/motd"), || format!("everything is forgotten:\n{said}"))?;
    person.sees(&["poweroff"], &["goes down"])?;
    Ok(())
}

/// Two ports of the loopback interface that nobody has.
fn free_ports() -> std::io::Result<[u16; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let [one, two] = &listeners;
    Ok([one.local_addr()?.port(), two.local_addr()?.port()])
}
