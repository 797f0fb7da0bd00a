//! The end of a host with pods: ordinary pods end before critical ones, within their time, and the log says so.
//!
//! What happens lies on the state disk, where the next boot of the same disk finds it.

use super::{PATIENCE, Shell, machine_with};
use crate::Context;
use crate::boots::state;
use crate::context::TestError;
use crate::guest::Guest;

/// Bytes of the state disk.
const DISK: u64 = 1 << 30;
/// Where pods write, on the host.
const ORDER: &str = "/var/lib/drain/order";

/// An ordinary pod takes its time at its end, and a critical one does not: without an order it would be the first.
/// A third one ignores SIGTERM and has more time of its own than the host gives.
const CONFIG: &str = r#"
hostname = "edge-1"

[kubelet]
settings = "{shutdownGracePeriod: 60s, shutdownGracePeriodCriticalPods: 20s}"

[[pods]]
manifest = """
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  terminationGracePeriodSeconds: 30
  volumes: [{name: drain, hostPath: {path: /var/lib/drain, type: DirectoryOrCreate}}]
  containers:
  - name: plain
    image: localhost/busybox:1
    command: [sh, -c, 'trap "sleep 3; echo plain >> /drain/order; exit 0" TERM; echo up >> /drain/up; while :; do sleep 0.2; done']
    lifecycle: {preStop: {exec: {command: [sh, -c, 'sleep 1; echo hook >> /drain/order']}}}
    volumeMounts: [{name: drain, mountPath: /drain}]
"""

[[pods]]
manifest = """
apiVersion: v1
kind: Pod
metadata: {name: critical, namespace: kube-system}
spec:
  priorityClassName: system-node-critical
  terminationGracePeriodSeconds: 10
  volumes: [{name: drain, hostPath: {path: /var/lib/drain, type: DirectoryOrCreate}}]
  containers:
  - name: critical
    image: localhost/busybox:1
    command: [sh, -c, 'trap "echo critical >> /drain/order; exit 0" TERM; echo up >> /drain/up; while :; do sleep 0.2; done']
    volumeMounts: [{name: drain, mountPath: /drain}]
"""

[[pods]]
manifest = """
apiVersion: v1
kind: Pod
metadata: {name: stubborn}
spec:
  terminationGracePeriodSeconds: 8
  volumes: [{name: drain, hostPath: {path: /var/lib/drain, type: DirectoryOrCreate}}]
  containers:
  - name: stubborn
    image: localhost/busybox:1
    command: [sh, -c, 'trap "echo told >> /drain/stubborn" TERM; echo up >> /drain/up; while :; do sleep 0.2; done']
    volumeMounts: [{name: drain, mountPath: /drain}]
"""
"#;

pub(in crate::boots) fn drain(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = dir.path().join("state.raw");
    state::blank(&path, DISK)?;
    let mut on_disk = cx.clone();
    on_disk.cmdline.push_str(" lepton.state-disk=/dev/vda lepton.state-wait=5");
    let disk = || state::disk(&path, 512);

    let machine = machine_with(&on_disk, CONFIG)?.disk(disk());
    let mut guest = Guest::start(&machine, &cx.tools, cx.limit * PATIENCE)?;
    guest.wait_ready()?;
    let mut shell = Shell { guest: &mut guest, count: 0 };
    shell.until("the pods run", "test $(wc -l < /var/lib/drain/up) = 3")?;
    shell.until("kubelet says so", "test $(lepton pods | grep -c ' 1/1 *Running') = 3")?;
    // A service that ends alone leaves its pods.
    shell.run("lepton restart kubelet")?;
    shell.until("kubelet is back", "test $(lepton pods | grep -c ' 1/1 *Running') = 3")?;
    shell.run(&format!("test ! -e {ORDER} && test $(wc -l < /var/lib/drain/up) = 3"))?;
    guest.power_off()?;

    // Without pods: nothing writes there any more.
    let machine = machine_with(&on_disk, "hostname = \"edge-1\"\n")?.disk(disk());
    let mut guest = Guest::start(&machine, &cx.tools, cx.limit * PATIENCE)?;
    guest.wait_ready()?;
    let mut shell = Shell { guest: &mut guest, count: 0 };
    shell.run(&format!("test \"$(tr '\\n' ' ' < {ORDER})\" = 'hook plain critical '"))?;
    shell.run("grep told /var/lib/drain/stubborn")?;
    shell.run("lepton logs -p kubelet | grep -E 'after [0-9.]+ s the host may go down for \"kubelet\"'")?;
    shell.run("! lepton logs -p kubelet | grep -E 'does not wait any longer|is killed'")?;
    Ok(guest.power_off()?)
}
