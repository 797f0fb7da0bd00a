//! Records of who did what: one JSON line each. PID 1 keeps them with the rest of what the agent prints.

use std::sync::Arc;

use lepton_spiffe::X509Svid;
use lepton_workload_api::{Caller, Event, Observer};
use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::log::say;
use crate::metrics::Metrics;

/// Who made the agent do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    pid: u32,
    uid: Option<u32>,
    unit: Option<String>,
}

impl Actor {
    /// The agent itself: a timer, or the machine config.
    pub(crate) fn agent() -> Self {
        Self { pid: std::process::id(), uid: None, unit: Some("identity".to_owned()) }
    }

    /// A process.
    pub(crate) fn process(pid: u32, uid: u32) -> Self {
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let unit = cgroup.lines().find_map(|line| line.strip_prefix("0::")).map(unit);
        Self { pid, uid: Some(uid), unit }
    }

    fn of_caller(caller: &Caller) -> Self {
        let unit = caller.cgroup.as_deref().map(unit);
        Self { pid: caller.pid, uid: Some(caller.uid), unit }
    }
}

/// The service of PID 1 that a cgroup is of, else the cgroup.
fn unit(cgroup: &str) -> String {
    let service = cgroup.strip_prefix("/lepton/").and_then(|rest| rest.split('/').next());
    service.unwrap_or(cgroup).to_owned()
}

/// Prints a record.
pub(crate) fn record(clock: &dyn Clock, act: &str, actor: &Actor, facts: Value) {
    say(format_args!("{}", line(clock.now(), act, actor, facts)));
}

fn line(now: i64, act: &str, actor: &Actor, facts: Value) -> Value {
    let mut record = Map::new();
    record.insert("audit".to_owned(), json!(act));
    record.insert("time".to_owned(), json!(now));
    record.insert("actor".to_owned(), json!({ "pid": actor.pid, "uid": actor.uid, "unit": actor.unit }));
    if let Value::Object(facts) = facts {
        record.extend(facts);
    }
    Value::Object(record)
}

/// What a record says of an SVID.
pub(crate) fn svid(svid: &X509Svid) -> Value {
    json!({ "spiffe-id": svid.id.to_string(), "serial": svid.serial, "expires-at": svid.not_after })
}

/// Records of what workloads ask: refusals, one by one. What is served is counted only, as it is most of what happens.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Observer for Calls {
    fn saw(&self, event: &Event<'_>) {
        match event {
            Event::Served { .. } => self.metrics.called(true),
            Event::Refused { caller, call, code, why, selectors } => {
                self.metrics.called(false);
                let selectors: Vec<_> = selectors.iter().map(ToString::to_string).collect();
                let facts = json!({
                    "call": call, "code": format!("{code:?}"), "reason": why, "selectors": selectors,
                });
                record(&*self.clock, "refuse", &Actor::of_caller(caller), facts);
            }
            Event::AttestorFailed { caller, attestor, why } => {
                self.metrics.attest_failed(attestor);
                let facts = json!({ "attestor": attestor, "reason": why });
                record(&*self.clock, "attest-failure", &Actor::of_caller(caller), facts);
            }
            Event::TurnedAway { uid, why } => {
                self.metrics.called(false);
                say(format_args!("a caller of the user {uid:?} was turned away: {why}"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_each() {
        let actor = Actor { pid: 7, uid: Some(0), unit: Some(unit("/lepton/web/sub")) };
        let line = line(5, "leave", &actor, json!({ "reason": "a\nb" })).to_string();
        assert_eq!(
            line,
            r#"{"actor":{"pid":7,"uid":0,"unit":"web"},"audit":"leave","reason":"a\nb","time":5}"#
        );
        assert_eq!(unit("/user/1"), "/user/1");
    }
}
