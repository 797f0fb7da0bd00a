//! The lives of pods on a host that is alone: the order in which containers start and end, deadlines, work that is done
//! once, grace, and pods that take more than is theirs.
//!
//! Containers write what happens to them below /seen, a folder of the host's state disk.

use super::{ADDRESS, PATIENCE, Shell, machine_with};
use crate::Context;
use crate::boots::state;
use crate::context::TestError;
use crate::guest::Guest;

/// Bytes of the state disk.
const DISK: u64 = 1 << 30;

/// A manifest; `spec` is what stands below `spec:`.
fn manifest(name: &str, spec: &str) -> String {
    let mut manifest = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n");
    for line in spec.lines() {
        manifest.push_str("  ");
        manifest.push_str(line);
        manifest.push('\n');
    }
    manifest
}

/// A pod of the machine config.
fn pod(manifest: &str) -> String {
    format!("[[pods]]\nmanifest = '''\n{manifest}'''\n")
}

/// A manifest that a person puts into the folder of manifests later.
fn file(name: &str, manifest: &str) -> String {
    format!("[[files]]\npath = \"/etc/pods/{name}.yaml\"\ncontent = '''\n{manifest}'''\n")
}

/// The manifest of a pod with one container that has /seen.
fn simple(name: &str, before: &str, container: &str, script: &str) -> String {
    let spec = format!(
        "{before}
volumes: [{{name: seen, hostPath: {{path: /var/lib/seen, type: DirectoryOrCreate}}}}, {{name: scratch, emptyDir: {{}}}}]
containers:
- name: {name}
  image: localhost/busybox:1
  volumeMounts: [{{name: seen, mountPath: /seen}}, {{name: scratch, mountPath: /scratch}}]
  command: [sh, -c, \"{script}\"]
{container}"
    );
    manifest(name, spec.trim_start())
}

fn config() -> String {
    let link = format!(
        "hostname = \"edge-1\"\n[[network.links]]\nmatch = {{ name = \"eth0\" }}\naddresses = [\"{ADDRESS}/24\"]\n"
    );
    let trap = |name: &str| {
        format!("trap 'echo {name} ends >> /seen/order; exit 0' TERM; echo {name} >> /seen/order")
    };
    let order = manifest(
        "order",
        &format!(
            "terminationGracePeriodSeconds: 20
volumes: [{{name: seen, hostPath: {{path: /var/lib/seen, type: DirectoryOrCreate}}}}]
initContainers:
- name: first
  image: localhost/busybox:1
  command: [sh, -c, 'echo first >> /seen/order']
  volumeMounts: [{{name: seen, mountPath: /seen}}]
- name: sidecar
  restartPolicy: Always
  image: localhost/busybox:1
  command: [sh, -c, \"{sidecar}; while :; do sleep 0.2; done\"]
  startupProbe: {{exec: {{command: [grep, sidecar, /seen/order]}}, periodSeconds: 1, failureThreshold: 60}}
  volumeMounts: [{{name: seen, mountPath: /seen}}]
- name: second
  image: localhost/busybox:1
  command: [sh, -c, 'echo second >> /seen/order']
  volumeMounts: [{{name: seen, mountPath: /seen}}]
containers:
- name: main
  image: localhost/busybox:1
  command: [sh, -c, \"{main}; while :; do sleep 0.2; done\"]
  volumeMounts: [{{name: seen, mountPath: /seen}}]
",
            sidecar = trap("sidecar"),
            main = trap("main"),
        ),
    );
    let never = "restartPolicy: Never\nterminationGracePeriodSeconds: 2";
    let pods = [
        simple(
            "late",
            &format!("{never}\nactiveDeadlineSeconds: 10"),
            "",
            "echo late >> /seen/late; sleep 3600",
        ),
        simple(
            "once",
            never,
            "",
            "echo run >> /seen/once; sleep 25; echo result > /dev/termination-log; echo end >> /seen/once; exit 3",
        ),
        simple(
            "slow",
            "terminationGracePeriodSeconds: 1",
            "  startupProbe: {tcpSocket: {port: 81}, periodSeconds: 1, failureThreshold: 5}\n",
            "echo slow >> /seen/slow; sleep 3600",
        ),
        simple(
            "addresses",
            never,
            "  env:\n  - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}\n  \
             - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n",
            "echo $NAME $IPS > /seen/addresses; sleep 3600",
        ),
        simple(
            "eater",
            never,
            "  resources: {limits: {memory: 24Mi}}\n",
            "echo eats >> /seen/eater; tail /dev/zero; echo code $? >> /seen/eater",
        ),
        simple(
            "bomb",
            never,
            "",
            "(for i in $(seq 300); do sleep 3600 & done) 2> /scratch/refused; read line < /scratch/refused; \
             echo $line > /seen/bomb; exec sleep 3600",
        ),
    ];
    let stubborn = simple(
        "stubborn",
        "terminationGracePeriodSeconds: 6",
        "",
        "trap 'cut -d. -f1 /proc/uptime > /seen/term' TERM; echo up > /seen/stubborn; \
         while :; do cut -d. -f1 /proc/uptime > /seen/alive; sleep 0.2; done",
    );
    let mut config = link;
    config.extend(pods.iter().map(|manifest| pod(manifest)));
    config.push_str(&file("order", &order));
    config.push_str(&file("stubborn", &stubborn));
    config.push_str("[kubelet]\npod-pids-max = 128\n");
    config
}

pub(in crate::boots) fn life(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = dir.path().join("state.raw");
    state::blank(&path, DISK)?;
    let mut on_disk = cx.clone();
    on_disk.cmdline.push_str(" lepton.state-disk=/dev/vda lepton.state-wait=5");
    let machine = machine_with(&on_disk, &config())?.disk(state::disk(&path, 512));
    let mut guest = Guest::start(&machine, &cx.tools, cx.limit * PATIENCE)?;
    guest.wait_ready()?;
    let mut shell = Shell { guest: &mut guest, count: 0 };
    let seen = "/var/lib/seen";

    shell.run("cp /etc/pods/*.yaml /var/lib/lepton/pods/")?;

    // Work that is done once: kubelet is killed while it is being done.
    shell.until("the work begins", &format!("grep run {seen}/once"))?;
    shell.run("kill -9 $(pidof kubelet)")?;
    shell.until(
        "kubelet is back",
        "lepton services kubelet | tr '\\n' ' ' | grep -E 'state +ready.* starts +2 '",
    )?;
    shell.until("the work ends", &format!("grep end {seen}/once"))?;

    // Init containers and a sidecar, in order.
    shell.until("the pod has started", &format!("grep main {seen}/order"))?;
    shell.run(&format!("test \"$(tr '\\n' ' ' < {seen}/order)\" = 'first sidecar second main '"))?;

    // A startup probe that never succeeds starts the container anew; a deadline ends the pod.
    shell.until("the startup probe ends a container", &format!("test $(grep -c slow {seen}/slow) -ge 2"))?;
    shell.until(
        "the deadline ends a pod",
        &format!("test -e {seen}/late && ! lepton ctr ps | grep 'late .*running'"),
    )?;

    // Both addresses.
    shell.until(
        "the pod knows its addresses",
        &format!("grep -E '^addresses-edge-1 10[.]85[.][0-9.]+,fd00:85::' {seen}/addresses"),
    )?;

    // What one pod takes too much of, the others still have.
    shell.until(
        "memory: killed, and nothing else of the pod",
        &format!("grep eats {seen}/eater && ! lepton ctr ps | grep 'eater .*running'"),
    )?;
    shell.until("processes: refused", &format!("grep fork {seen}/bomb"))?;
    shell.run("lepton services kubelet | grep -E 'state +ready'")?;
    shell.run("lepton ctr ps | grep 'main .*running'")?;

    // Pods go: a sidecar after the others, and one that ignores SIGTERM when its grace is over.
    shell.until("the stubborn pod runs", &format!("test -e {seen}/alive"))?;
    shell.run("rm /var/lib/lepton/pods/order.yaml /var/lib/lepton/pods/stubborn.yaml")?;
    shell.until("the pods are gone", "! lepton ctr ps | grep -E 'main|sidecar|stubborn'")?;
    shell.run(&format!("test \"$(tail -n 2 {seen}/order | tr '\\n' ' ')\" = 'main ends sidecar ends '"))?;
    shell.run(&format!(
        "grace=$(($(cat {seen}/alive) - $(cat {seen}/term))); test $grace -ge 5 -a $grace -le 12"
    ))?;

    // Nothing was done twice meanwhile.
    shell.run(&format!("test \"$(grep -c run {seen}/once)\" = 1"))?;
    Ok(guest.power_off()?)
}
