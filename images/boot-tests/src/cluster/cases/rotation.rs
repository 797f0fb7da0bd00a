//! Logs that are longer than a file of them may be.

use super::{PODS, Try, pod, require};
use crate::cluster::ClusterError;

/// One pod fills a file with more than a log may have, while two people read along: nobody misses a line.
pub(super) fn rotation(case: &mut Try<'_>) -> Result<(), ClusterError> {
    const LINES: usize = 16_000;
    // Lines of 1,000 bytes: more than the 10 MiB at which kubelet begins a new file; then one after the other, so that
    // readers are still there when it has done so.
    let write = format!(
        "pad=$(head -c 993 /dev/zero | tr '\\0' x); i=0; \
         while [ $i -lt {LINES} ]; do printf '%06d%s\\n' $i $pad; i=$((i+1)); done; \
         while :; do sleep 1; printf '%06d%s\\n' $i $pad; i=$((i+1)); done"
    );
    case.apply(&pod("writer", &write, "  nodeName: node-1\n"))?;
    case.until_ready("writer")?;
    let readers = [case.follow("writer", "first")?, case.follow("writer", "second")?];
    // The first file has a new name once there is a second.
    let find = "ls /logs/*writer*/main/ | grep -c .";
    let view = "    volumeMounts: [{name: logs, mountPath: /logs}]\n  nodeName: node-1\n  \
                volumes: [{name: logs, hostPath: {path: /var/log/pods}}]\n";
    case.apply(&pod("view", "sleep 3600", view))?;
    case.until_ready("view")?;
    case.until("a second file of the log", PODS, |case| {
        let said = case.kubectl(&["exec", "view", "--", "sh", "-c", find])?;
        Ok(said.trim().parse::<usize>().is_ok_and(|count| count >= 2))
    })?;
    let last = format!("{:06}", LINES + 40);
    case.until("lines written long after that", PODS, |case| {
        Ok(case.kubectl(&["logs", "writer", "--tail=1"])?.as_str() >= last.as_str())
    })?;
    for reader in readers {
        let text = reader.end()?;
        let numbers: Vec<usize> =
            text.lines().filter_map(|line| line.get(..6).and_then(|number| number.parse().ok())).collect();
        require(numbers.len() > LINES + 20, || format!("a reader has {} lines", numbers.len()))?;
        let gap = numbers.iter().enumerate().find(|(index, number)| index != *number);
        require(gap.is_none(), || format!("every line comes once, in order, but: {gap:?}"))?;
    }
    let tail = case.kubectl(&["logs", "writer", "--tail=5"])?;
    require(tail.lines().count() == 5, || format!("--tail=5 gives five lines: {tail:?}"))
}
