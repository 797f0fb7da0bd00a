//! kubelet on a host that is alone: static pods of the machine config and of people's folder, their probes, restarts and
//! logs, and a kubelet that is killed.
//!
//! The image `node-tests` has a shell on its console, which does what a person would do.

mod applied;
mod drain;
mod host;
mod identity;
mod life;
mod pods;
mod ports;
mod route;
mod start;

use std::time::Duration;

use crate::Context;
use crate::context::TestError;
use crate::guest::{Guest, GuestError};
use crate::machine::{Kernel, Machine, Network};
use crate::runner::Peer;
pub(super) use applied::{applied, applied_cuts, applied_in_memory};
pub(super) use drain::drain;
pub(super) use host::host;
pub(super) use identity::identity;
pub(super) use life::life;
pub(super) use ports::ports;
pub(super) use route::route;
pub(super) use start::start;

/// The guest's address on the network of the test.
const ADDRESS: &str = "192.0.2.10";
const SETUP: &str = "ip addr add 192.0.2.1/24 dev net0\n";
/// kubelet and the pods are large programs for an emulated machine.
const PATIENCE: u32 = 4;
/// Seconds that a state is waited for, in the guest's own time.
const TRIES: u32 = 240;
/// Everything that helps to understand a failure.
const TELL: &str = "lepton ctr ps -a; lepton logs kubelet | tail -n 60";

/// A pod that serves a page which its init container has written, one that crashes, one that its liveness probe ends,
/// and a manifest that is none.
const CONFIG: &str = r#"
hostname = "edge-1"

[[network.links]]
match = { name = "eth0" }
addresses = ["192.0.2.10/24"]

[[pods]]
manifest = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 5
  volumes: [{name: pages, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]
  initContainers:
  - name: page
    image: localhost/busybox:1
    command: [sh, -c, 'echo page of $(hostname) > /pages/index.html']
    volumeMounts: [{name: pages, mountPath: /pages}]
  containers:
  - name: httpd
    image: localhost/busybox:1
    command: [httpd, -f, -vv, -p, '8080', -h, /pages]
    ports: [{containerPort: 8080, hostPort: 8080}]
    readinessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 2}
    volumeMounts: [{name: pages, mountPath: /pages, readOnly: true}]
"""

[[pods]]
manifest = """
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers:
  - {name: crash, image: localhost/busybox:1, command: [sh, -c, 'echo going down; exit 3']}
"""

[[pods]]
manifest = """
apiVersion: v1
kind: Pod
metadata: {name: sick}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: sick
    image: localhost/busybox:1
    command: [sh, -c, 'echo well; touch /tmp/well; sleep 5; rm /tmp/well; sleep 3600']
    livenessProbe: {exec: {command: [cat, /tmp/well]}, periodSeconds: 1, failureThreshold: 1, initialDelaySeconds: 3}
"""

[[pods]]
manifest = "kind: Service"
"#;

/// What a person puts into the folder of manifests.
const PEOPLES: &str = "apiVersion: v1\\nkind: Pod\\nmetadata: {name: later}\\nspec: {hostNetwork: true, containers: \
[{name: later, image: \"localhost/busybox:1\", command: [sleep, \"3600\"]}]}\\n";

pub(super) fn alone(cx: &Context) -> Result<(), TestError> {
    let mut guest = Guest::start(&machine(cx)?, &cx.tools, cx.limit * PATIENCE)?;
    guest.wait_ready()?;
    let mut shell = Shell { guest: &mut guest, count: 0 };
    shell.until(
        "the mistake is named",
        "lepton services kubelet | grep 'pods.3. of the machine config: it is Service'",
    )?;
    // Init container, volume in memory, port of the host, network of the pod.
    shell.serves("page of web-edge-1")?;
    shell.until("the readiness probe asks", "lepton ctr logs httpd 2>&1 | grep 'url:/index.html'")?;
    shell.until("the log of a container that ended", "lepton ctr logs crash | grep 'going down'")?;
    shell.until(
        "the back-off grows",
        "lepton logs kubelet | grep -E 'back-off ([248]0s|[0-9]+m[0-9]+s) restarting failed container=crash'",
    )?;
    shell.until(
        "the liveness probe ends a container",
        "lepton logs kubelet | grep 'back-off .*container=sick'",
    )?;

    pods::look(&mut shell)?;

    shell.run(&format!("printf '{PEOPLES}' > /var/lib/lepton/pods/later.yaml"))?;
    shell.until("a pod of the folder runs", "lepton ctr ps | grep 'later .*running'")?;
    // Whoever has no certificate is not heard.
    shell.run("test $(stat -c %a /run/lepton/kubelet/client.pem) = 600")?;
    shell.run("! wget -q -O - --no-check-certificate https://127.0.0.1:10250/pods 2>&1 | grep kind")?;
    shell.run("! wget -q -T 3 -O - http://127.0.0.1:10255/pods")?;

    let containers = "lepton ctr ps | grep -E 'httpd|later' | cut -c1-12 | sort";
    shell.run(&format!("{containers} > /tmp/before; test $(wc -l < /tmp/before) = 2"))?;
    shell.run("kill -9 $(pidof kubelet)")?;
    shell.until(
        "kubelet is started again",
        "lepton services kubelet | tr '\\n' ' ' | grep -E 'state +ready.* starts +2 '",
    )?;
    shell.run("rm /var/lib/lepton/pods/later.yaml")?;
    // kubelet that takes this pod away has looked at the others, too.
    shell.until("a pod whose manifest is gone ends", "! lepton ctr ps | grep 'later .*running'")?;
    shell.serves("page of web-edge-1")?;
    shell.run(&format!(
        "{containers} > /tmp/after; grep -qxF -f /tmp/after /tmp/before; test $(wc -l < /tmp/after) = 1"
    ))?;
    Ok(guest.power_off()?)
}

fn machine(cx: &Context) -> Result<Machine, TestError> {
    machine_with(cx, CONFIG)
}

/// A machine with the image `node-tests` and this machine config.
fn machine_with(cx: &Context, config: &str) -> Result<Machine, TestError> {
    machine_of(cx, Peer::NodeTests, config)
}

/// A machine with another image that has kubelet.
fn machine_of(cx: &Context, image: Peer, config: &str) -> Result<Machine, TestError> {
    let dir = cx.peer(image)?;
    let kernel = Kernel::new(&dir.join(cx.arch.direct_boot_kernel()), &dir.join("initrd"), &cx.cmdline);
    let network = Network::Field { cards: 1, setup: SETUP.to_owned() };
    Ok(cx.bios().kernel(kernel).network(network).memory_mib(2048).cpus(2).fw_cfg("opt/lepton/config", config))
}

/// The shell on the guest's console.
struct Shell<'g> {
    guest: &'g mut Guest,
    count: u32,
}

impl Shell<'_> {
    /// Runs a command, which must succeed.
    fn run(&mut self, command: &str) -> Result<(), GuestError> {
        let end = self.type_command(command)?;
        let is_good = self.guest.wait_for("the end of a command", |line| {
            line.contains(&end).then(|| line.contains(&format!("{end}0")))
        })?;
        self.guest.require(is_good, || format!("this succeeds: {command}"))
    }

    /// Runs a command again and again until it succeeds; the console then has what is known when it never does.
    fn until(&mut self, what: &'static str, command: &str) -> Result<(), GuestError> {
        let end = self.type_command(&format!(
            "n=0; until {command} > /dev/null 2>&1 || test $n -ge {TRIES}; do n=$((n + 1)); sleep 1; done; \
             test $n -lt {TRIES} || {{ {TELL}; false; }}"
        ))?;
        let is_good = self
            .guest
            .wait_for(what, |line| line.contains(&end).then(|| line.contains(&format!("{end}0"))))?;
        self.guest.require(is_good, || format!("{what}: {command}"))
    }

    /// Waits until requests from outside get this answer.
    fn serves(&mut self, answer: &str) -> Result<(), GuestError> {
        let ask = format!("busybox wget -q -T 5 -O - http://{ADDRESS}:8080/ | grep '{answer}'");
        let mut tries = 0;
        loop {
            if self.guest.there(&ask)?.is_success {
                return Ok(());
            }
            tries += 1;
            self.guest.require(tries < 120, || format!("the host serves {answer:?}"))?;
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    /// What is printed at the end, before the status; the line that is typed does not contain it.
    fn type_command(&mut self, command: &str) -> Result<String, GuestError> {
        self.count += 1;
        let count = self.count;
        self.guest.type_line(&format!("{command}; echo done=$(({count}))=$?"))?;
        Ok(format!("done={count}="))
    }
}
