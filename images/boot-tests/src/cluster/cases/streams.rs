//! What streams through the API server to kubelet and the runtime: logs, exec, cp, port-forward.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Duration;

use super::terminal::on_terminal;
use super::{PODS, Try, pod, require};
use crate::cluster::ClusterError;

/// How much goes through port-forward and cp.
const BYTES: usize = 10 << 20;
/// The forwarded port, on the cluster's network.
const PORT: &str = "18080:8080";
/// The size follows the start; it may take a while.
const TYPED: &str = "n=0; until [ $(stty size | cut -d' ' -f1) = 33 ] || [ $n = 30 ]; do n=$((n+1)); sleep 1; done; \
stty size; tty; exit 5\n";
const COUNT: &str = "i=0; while true; do echo line $i; i=$((i+1)); sleep 1; done";
const SERVE: &str = "mkdir /tmp/www; exec httpd -f -p 8080 -h /tmp/www";

pub(super) fn streams(case: &mut Try<'_>) -> Result<(), ClusterError> {
    case.apply(&(pod("count", COUNT, "") + &pod("serve", SERVE, "")))?;
    case.until_ready("count")?;
    case.until_ready("serve")?;
    logs(case)?;
    exec(case)?;
    let file = copy(case)?;
    forward(case, &file)
}

/// What nodes and pods use, as `kubectl top` tells it: a pod that is busy uses a processor, or most of one.
pub(super) fn top(case: &mut Try<'_>) -> Result<(), ClusterError> {
    case.apply(&pod("busy", "while :; do :; done", ""))?;
    case.until_ready("busy")?;
    let count = case.cluster.setup.nodes;
    case.until("figures of every node and of the pod", PODS, |case| {
        let (Ok(nodes), Ok(pods)) = (
            case.kubectl(&["top", "nodes", "--no-headers"]),
            case.kubectl(&["top", "pod", "busy", "--no-headers"]),
        ) else {
            return Ok(false);
        };
        let cpu = pods.split_whitespace().nth(1).and_then(|text| text.strip_suffix('m'));
        let is_busy = cpu.and_then(|text| text.parse::<u32>().ok()).is_some_and(|milli| milli > 100);
        Ok(nodes.lines().filter(|line| line.contains("Mi")).count() == count && is_busy)
    })
}

/// `logs -f` shows what comes, line by line, and misses nothing.
fn logs(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let process = case.cluster.kubectl.process(&["-n", &case.namespace, "logs", "-f", "count"]);
    let mut child = process.spawn(Stdio::null(), Stdio::piped(), Stdio::null())?;
    let stdout = child.stdout.take().expect("standard output was asked for as a pipe");
    let before = case.kubectl(&["logs", "count"])?.lines().count();
    let want = before + 10;
    let lines: Vec<String> = BufReader::new(stdout).lines().map_while(Result::ok).take(want).collect();
    // It would follow for good.
    let _ = child.kill();
    let _ = child.wait();
    let expected: Vec<String> = (0..want).map(|number| format!("line {number}")).collect();
    require(lines == expected, || format!("logs -f shows {want} lines: {lines:?}"))
}

/// Exit codes, standard input, and a terminal.
fn exec(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let command = |args: &[&str]| {
        let namespace = ["-n", &case.namespace, "exec"];
        case.cluster.kubectl.process(&[&namespace, args].concat())
    };
    let status =
        command(&["count", "--", "sh", "-c", "exit 7"]).spawn(Stdio::null(), Stdio::null(), Stdio::null())?;
    let status = wait(status)?;
    require(status == Some(7), || format!("exec gives the exit code 7: {status:?}"))?;

    let mut child =
        command(&["-i", "count", "--", "sha256sum"]).spawn(Stdio::piped(), Stdio::piped(), Stdio::null())?;
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ends early shows in what it says.
        let _ = stdin.write_all(&bytes);
    }
    let output =
        child.wait_with_output().map_err(ClusterError::file("read from", "kubectl exec".as_ref()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let digest = lepton_builder::digest::Digest::of(&bytes).to_string();
    require(said.starts_with(&digest), || format!("exec -i passes every byte on: {said:?}"))?;

    let shell = command(&["-it", "count", "--", "sh"]);
    let (shown, status) = on_terminal(&shell, (33, 99), TYPED)?;
    require(shown.contains("33 99"), || format!("the terminal has this one's size: {shown:?}"))?;
    require(shown.contains("/dev/pts/"), || format!("there is a terminal: {shown:?}"))?;
    require(status.code() == Some(5), || format!("exec -it gives the exit code 5: {status:?}"))
}

/// A file goes there and back; gives the digest of it.
fn copy(case: &mut Try<'_>) -> Result<String, ClusterError> {
    let folder = case.cluster.setup.folder.clone();
    let (there, back) = (folder.join("sent"), folder.join("fetched"));
    // No two blocks are equal.
    let words = BYTES as u64 / 8;
    let bytes: Vec<u8> =
        (0..words).flat_map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    fs::write(&there, &bytes).map_err(ClusterError::file("write", &there))?;
    case.kubectl(&["cp", &there.to_string_lossy(), "serve:/tmp/www/file"])?;
    case.kubectl(&["cp", "serve:/tmp/www/file", &back.to_string_lossy()])?;
    let fetched = fs::read(&back).map_err(ClusterError::file("read", &back))?;
    require(fetched == bytes, || format!("cp gives the same {BYTES} bytes back, not {}", fetched.len()))?;
    Ok(lepton_builder::digest::Digest::of(&bytes).to_string())
}

/// The same file over a forwarded port.
fn forward(case: &mut Try<'_>, digest: &str) -> Result<(), ClusterError> {
    let process = case.cluster.kubectl.process(&["-n", &case.namespace, "port-forward", "pod/serve", PORT]);
    let mut child = process.spawn(Stdio::null(), Stdio::null(), Stdio::null())?;
    let fetch = "busybox wget -q -T 60 -O - http://127.0.0.1:18080/file | busybox sha256sum";
    let tools = case.cluster.setup.tools.clone();
    let shell = case.cluster.field.sandbox(&tools, "sh").args(["-c", fetch]);
    let mut said = String::new();
    let result = case.until("an answer at the forwarded port", PODS.min(Duration::from_secs(180)), |_| {
        said = shell.process().output()?;
        Ok(said.starts_with(digest))
    });
    // It forwards until it is told to stop.
    let _ = child.kill();
    let _ = child.wait();
    result.map_err(|error| match error {
        ClusterError::TimedOut { what, details, .. } => ClusterError::TimedOut { what, last: said, details },
        other => other,
    })
}

fn wait(mut child: std::process::Child) -> Result<Option<i32>, ClusterError> {
    let status = child.wait().map_err(ClusterError::file("wait for", "kubectl exec".as_ref()))?;
    Ok(status.code())
}
