//! How a pod is in a word, from what kubelet says of it: the same words that kubectl has. Pure.

use serde_json::Value;

/// How a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) word: String,
    pub(crate) ready: usize,
    pub(crate) total: usize,
    pub(crate) restarts: u64,
}

/// The summary of a pod in JSON.
pub(crate) fn summary(pod: &Value) -> Summary {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let sidecars: Vec<&str> = items(&spec["initContainers"])
        .filter(|one| is_sidecar(one))
        .filter_map(|one| one["name"].as_str())
        .collect();
    let is_sidecar = |one: &Value| one["name"].as_str().is_some_and(|name| sidecars.contains(&name));
    let mut summary = Summary {
        word: text(&status["reason"]).or(text(&status["phase"])).unwrap_or("Unknown").to_owned(),
        ready: 0,
        total: items(&spec["containers"]).count() + sidecars.len(),
        restarts: 0,
    };
    let (mut beginning, mut sidecar_restarts) = (None, 0);
    let first = items(&status["initContainerStatuses"]);
    let count = items(&spec["initContainers"]).count();
    for (index, one) in first.enumerate() {
        summary.restarts += restarts(one);
        if is_sidecar(one) {
            sidecar_restarts += restarts(one);
        }
        let (ended, waiting) = (&one["state"]["terminated"], text(&one["state"]["waiting"]["reason"]));
        if ended["exitCode"] == 0 {
            continue;
        }
        if is_sidecar(one) && one["started"] == true {
            summary.ready += usize::from(one["ready"] == true);
            continue;
        }
        beginning = Some(match waiting {
            _ if ended.is_object() => format!("Init:{}", end(ended)),
            Some(reason) if reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{index}/{count}"),
        });
        break;
    }
    match beginning {
        Some(word) if !has_condition(status, "Initialized") => summary.word = word,
        _ => {
            summary.restarts = sidecar_restarts;
            containers(status, &mut summary);
        }
    }
    if text(&pod["metadata"]["deletionTimestamp"]).is_some() {
        summary.word = "Terminating".to_owned();
    }
    summary
}

/// What the containers say when the beginning is over.
fn containers(status: &Value, summary: &mut Summary) {
    let mut runs = false;
    let all: Vec<&Value> = items(&status["containerStatuses"]).collect();
    // The first one has the last word.
    for one in all.into_iter().rev() {
        summary.restarts += restarts(one);
        let (ended, waiting) = (&one["state"]["terminated"], text(&one["state"]["waiting"]["reason"]));
        if let Some(reason) = waiting {
            summary.word = reason.to_owned();
        } else if ended.is_object() {
            summary.word = end(ended);
        } else if one["ready"] == true && one["state"]["running"].is_object() {
            runs = true;
            summary.ready += 1;
        }
    }
    if summary.word == "Completed" && runs {
        summary.word = if has_condition(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
    }
}

/// How a container ended.
fn end(ended: &Value) -> String {
    match (text(&ended["reason"]), ended["signal"].as_i64().unwrap_or(0)) {
        (Some(reason), _) => reason.to_owned(),
        (None, 0) => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or(0)),
        (None, signal) => format!("Signal:{signal}"),
    }
}

fn restarts(one: &Value) -> u64 {
    one["restartCount"].as_u64().unwrap_or(0)
}

/// One for the beginning that goes on beside the others.
pub(crate) fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn has_condition(status: &Value, kind: &str) -> bool {
    items(&status["conditions"]).any(|one| one["type"] == kind && one["status"] == "True")
}

pub(crate) fn items(value: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text that says something.
pub(crate) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(name: &str, restarts: u64, ready: bool, state: &Value) -> Value {
        json!({ "name": name, "restartCount": restarts, "ready": ready, "started": ready, "state": state })
    }

    fn pod(spec: &Value, phase: &str, first: &[Value], main: &[Value], conditions: &[&str]) -> Value {
        let conditions: Vec<Value> =
            conditions.iter().map(|kind| json!({ "type": kind, "status": "True" })).collect();
        json!({
            "metadata": {},
            "spec": spec,
            "status": {
                "phase": phase,
                "conditions": conditions,
                "initContainerStatuses": first,
                "containerStatuses": main,
            },
        })
    }

    #[test]
    fn words_of_kubectl() {
        let running = json!({ "running": { "startedAt": "2026-11-29T10:20:30Z" } });
        let waiting = |reason: &str| json!({ "waiting": { "reason": reason } });
        let ended = |reason: &str, code: i64| json!({ "terminated": { "reason": reason, "exitCode": code } });
        let one = json!({ "containers": [{ "name": "a" }] });
        let two = json!({ "containers": [{ "name": "a" }, { "name": "b" }] });
        let begins = json!({
            "initContainers": [{ "name": "i" }, { "name": "j" }],
            "containers": [{ "name": "a" }],
        });
        let sidecar = json!({
            "initContainers": [{ "name": "s", "restartPolicy": "Always" }, { "name": "i" }],
            "containers": [{ "name": "a" }],
        });
        let ready = &["Initialized", "Ready"][..];
        for (pod, word, shown) in [
            (pod(&one, "Pending", &[], &[], &[]), "Pending", "0/1 0"),
            (pod(&one, "Running", &[], &[container("a", 0, true, &running)], ready), "Running", "1/1 0"),
            (
                pod(&one, "Running", &[], &[container("a", 4, false, &waiting("CrashLoopBackOff"))], &[]),
                "CrashLoopBackOff",
                "0/1 4",
            ),
            (
                pod(&one, "Succeeded", &[], &[container("a", 0, false, &ended("Completed", 0))], &[]),
                "Completed",
                "0/1 0",
            ),
            (
                pod(&one, "Failed", &[], &[container("a", 0, false, &ended("", 3))], &[]),
                "ExitCode:3",
                "0/1 0",
            ),
            (
                pod(
                    &two,
                    "Running",
                    &[],
                    &[container("a", 1, true, &running), container("b", 2, false, &ended("Completed", 0))],
                    &[],
                ),
                "NotReady",
                "1/2 3",
            ),
            (
                pod(
                    &begins,
                    "Pending",
                    &[container("i", 0, true, &ended("Completed", 0)), container("j", 0, false, &running)],
                    &[container("a", 0, false, &waiting("PodInitializing"))],
                    &[],
                ),
                "Init:1/2",
                "0/1 0",
            ),
            (
                pod(
                    &begins,
                    "Pending",
                    &[container("i", 2, false, &waiting("CrashLoopBackOff"))],
                    &[container("a", 0, false, &waiting("PodInitializing"))],
                    &[],
                ),
                "Init:CrashLoopBackOff",
                "0/1 2",
            ),
            (
                pod(&begins, "Pending", &[container("i", 0, false, &ended("Error", 1))], &[], &[]),
                "Init:Error",
                "0/1 0",
            ),
            (
                pod(
                    &sidecar,
                    "Running",
                    &[container("s", 1, true, &running), container("i", 9, true, &ended("Completed", 0))],
                    &[container("a", 1, true, &running)],
                    ready,
                ),
                "Running",
                "2/2 2",
            ),
        ] {
            let found = summary(&pod);
            let figures = format!("{}/{} {}", found.ready, found.total, found.restarts);
            assert_eq!((found.word.as_str(), figures.as_str()), (word, shown), "{pod}");
        }
        let mut leaving = pod(&one, "Running", &[], &[container("a", 0, true, &running)], ready);
        leaving["metadata"]["deletionTimestamp"] = "2026-11-29T10:20:30Z".into();
        assert_eq!(summary(&leaving).word, "Terminating");
        let evicted = json!({ "status": { "phase": "Failed", "reason": "Evicted" } });
        assert_eq!(summary(&evicted).word, "Evicted");
        assert_eq!(summary(&json!({})).word, "Unknown");
    }
}
