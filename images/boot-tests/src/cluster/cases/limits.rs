//! A pod that wants too much of a node gets no more than it may have, and the node stays well.

use std::time::Duration;

use serde_json::Value;

use super::{PODS, Try, pod, require};
use crate::cluster::{ClusterError, is_ready};

/// Each process makes two more, until there are no more to be had.
const BOMB: &str = "b() { b | b & }; b; sleep 3600";
/// `tail` keeps what might be the last line, and this line never ends.
const EAT: &str = "tail /dev/zero";
/// More than either limit below.
const FILL: &str = "dd if=/dev/zero of=/kept/x bs=1M count=60; sleep 3600";
/// How long the fork bomb goes on beside the others.
const SETTLE: Duration = Duration::from_secs(30);

/// Processes, memory and disk.
pub(super) fn limits(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let on_node = "  nodeName: node-1\n  restartPolicy: Never\n";
    let share = "    resources: {limits: {cpu: 300m, memory: 96Mi}}\n";
    let kept = "    volumeMounts: [{name: kept, mountPath: /kept}]\n";
    let volume = "  volumes: [{name: kept, emptyDir: {}}]\n";
    let small_volume = "  volumes: [{name: kept, emptyDir: {sizeLimit: 20Mi}}]\n";
    let small_share = "    resources: {limits: {ephemeral-storage: 20Mi}}\n";
    let since = ready_since(case)?;
    case.apply(
        &[
            pod("bomb", BOMB, &format!("{share}{on_node}")),
            pod("hungry", EAT, &format!("{share}{on_node}")),
            pod("volume", FILL, &format!("{kept}{on_node}{small_volume}")),
            pod("storage", FILL, &format!("{kept}{small_share}{on_node}{volume}")),
            pod("witness", "sleep 3600", on_node),
        ]
        .concat(),
    )?;
    case.until_ready("witness")?;
    case.until("the pod that eats memory to be killed", PODS, |case| {
        let ended = status(case, "hungry")?["containerStatuses"][0]["state"]["terminated"].clone();
        Ok(ended["reason"] == "OOMKilled")
    })?;
    for (name, said) in [("volume", "emptyDir"), ("storage", "ephemeral")] {
        case.until(&format!("pod {name} to be evicted"), PODS, |case| {
            let status = status(case, name)?;
            let message = status["message"].as_str().unwrap_or_default().to_lowercase();
            Ok(status["reason"] == "Evicted" && message.contains(&said.to_lowercase()))
        })?;
    }
    case.until("the fork bomb to run", PODS, |case| Ok(status(case, "bomb")?["phase"] != "Pending"))?;
    std::thread::sleep(SETTLE);
    let said = case.kubectl(&["exec", "witness", "--", "echo", "well"])?;
    require(said.trim() == "well", || format!("another pod of the node still answers: {said:?}"))?;
    let now = ready_since(case)?;
    require(now == since, || format!("the node was ready all the time: {since} and {now}"))
}

/// What a node says that it has is what it has, less what is kept for the host.
pub(super) fn capacity(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let kept = "    volumeMounts: [{name: kept, mountPath: /kept}]\n  nodeName: node-1\n  \
                volumes: [{name: kept, emptyDir: {}}]\n";
    case.apply(&pod("look", "sleep 3600", kept))?;
    case.until_ready("look")?;
    let look = "grep -c ^processor /proc/cpuinfo; sed -n 's/^MemTotal: *//p' /proc/meminfo; stat -f -c '%b %S' /kept";
    let said = case.kubectl(&["exec", "look", "--", "sh", "-c", look])?;
    let words: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [cpus, memory_kib, blocks, block] = words[..] else {
        return Err(ClusterError::Unexpected(format!("four numbers of the node: {said:?}")));
    };
    let node = case.json(&["get", "node", "node-1"])?;
    let [capacity, allocatable] = ["capacity", "allocatable"].map(|name| &node["status"][name]);
    for (name, truth) in
        [("cpu", cpus * 1000), ("memory", memory_kib << 10), ("ephemeral-storage", blocks * block)]
    {
        let scale = if name == "cpu" { 1000.0 } else { 1.0 };
        let [has, may] = [capacity, allocatable].map(|list| quantity(&list[name]).map(|value| value * scale));
        let (Some(has), Some(may)) = (has, may) else {
            return Err(ClusterError::Unexpected(format!("the node says what {name} it has: {node}")));
        };
        let truth = truth as f64;
        require((has - truth).abs() <= truth / 100.0, || format!("{name}: {has}, and the node has {truth}"))?;
        require(may < has, || format!("some {name} is kept for the host: {may} of {has}"))?;
    }
    Ok(())
}

/// Since when the first node has been ready.
fn ready_since(case: &Try<'_>) -> Result<Value, ClusterError> {
    let node = case.json(&["get", "node", "node-1"])?;
    require(is_ready(&node), || "node-1 is ready".to_owned())?;
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|one| one["type"] == "Ready").unwrap_or_default();
    Ok(ready["lastTransitionTime"].clone())
}

fn status(case: &Try<'_>, pod: &str) -> Result<Value, ClusterError> {
    Ok(case.json(&["get", "pod", pod])?["status"].clone())
}

/// A quantity of Kubernetes (`1930Mi`, `1800m`, `7915624Ki`, `2`) as a number.
fn quantity(value: &Value) -> Option<f64> {
    let text = value.as_str()?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "m" => 0.001,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_numbers() {
        let of = |text: &str| quantity(&json!(text));
        assert_eq!(of("2"), Some(2.0));
        assert_eq!(of("1800m"), Some(1.8));
        assert_eq!(of("10Ki"), Some(10_240.0));
        assert_eq!(of("1Mi"), Some(1_048_576.0));
        assert_eq!(of("1E"), None);
    }
}
