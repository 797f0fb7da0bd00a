//! Records of who changed what, and of who was refused: one JSON line each. PID 1 keeps them with the rest of what the
//! service prints. Texts of machine configs and what programs are given to read are never in them.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use crate::caller::Admitted;
use crate::clock;
use crate::log::say;

/// Longest text of a record in bytes: names come from callers.
const LONGEST: usize = 512;

/// Records a call that changes something, with how it went.
pub(crate) fn call(caller: &Admitted, method: &str, arguments: Value, result: Result<(), &Status>) {
    let mut facts = json!({
        "caller": caller.name, "role": caller.role.name(), "peer": caller.peer, "method": method,
        "arguments": arguments,
    });
    match result {
        Ok(()) => facts["result"] = json!("ok"),
        Err(status) => {
            facts["result"] = json!(code(status.code()));
            // More lines quote what the caller wrote, which may be secret.
            facts["reason"] = json!(status.message().lines().next().unwrap_or_default());
        }
    }
    record("call", facts);
}

/// Records that somebody was refused.
pub(crate) fn refusal(name: Option<&str>, peer: &str, method: &str, status: &Status) {
    let facts = json!({
        "caller": name, "peer": peer, "method": method, "result": code(status.code()),
        "reason": status.message(),
    });
    record("refuse", facts);
}

/// Records that a connection was refused. Anybody can make such a record, so only so many are written: they must not push
/// out those of calls.
pub(crate) fn handshake(peer: &str, reason: &str) {
    let passed = HANDSHAKES.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now());
    let Some(held_back) = passed else { return };
    let facts = json!({
        "caller": null, "peer": peer, "method": null, "result": "handshake", "reason": reason, "held-back": held_back,
    });
    record("refuse", facts);
}

/// Records that may come at once, and how many a second after that.
const BURST: f64 = 100.0;
const RATE: f64 = 1.0;

static HANDSHAKES: Mutex<Valve> = Mutex::new(Valve { left: BURST, filled: None, held_back: 0 });

/// Lets some records through.
#[derive(Debug)]
struct Valve {
    left: f64,
    filled: Option<Instant>,
    held_back: u64,
}

impl Valve {
    /// Whether a record may pass, and how many did not since the last one.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        let since = self.filled.replace(now).map_or(0.0, |before| now.duration_since(before).as_secs_f64());
        self.left = (self.left + since * RATE).min(BURST);
        if self.left < 1.0 {
            self.held_back += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.held_back))
    }
}

fn record(act: &str, facts: Value) {
    say(format_args!("{}", line(clock::seconds(), act, facts)));
}

fn line(now: i64, act: &str, facts: Value) -> Value {
    let mut record = Map::new();
    record.insert("audit".to_owned(), json!(act));
    record.insert("time".to_owned(), json!(now));
    if let Value::Object(facts) = facts {
        record.extend(facts.into_iter().map(|(key, value)| (key, shortened(value))));
    }
    Value::Object(record)
}

fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > LONGEST => {
            let mut end = LONGEST;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Value::String(format!("{}…", &text[..end]))
        }
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, shortened(value))).collect(),
        Value::Array(list) => list.into_iter().map(shortened).collect(),
        other => other,
    }
}

/// A code as the gRPC documents write it.
pub(crate) fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_each() {
        let line =
            line(5, "call", json!({ "method": "StopService", "arguments": { "name": "a\nb" } })).to_string();
        assert_eq!(line, r#"{"arguments":{"name":"a\nb"},"audit":"call","method":"StopService","time":5}"#);
    }

    #[test]
    fn a_burst_then_a_rate() {
        use std::time::Duration;
        let (mut valve, now) = (Valve { left: BURST, filled: None, held_back: 0 }, Instant::now());
        assert_eq!((0..150).filter(|_| valve.pass(now).is_some()).count(), 100);
        assert_eq!(valve.pass(now + Duration::from_millis(900)), None);
        assert_eq!(valve.pass(now + Duration::from_millis(1900)), Some(51));
    }

    #[test]
    fn long_texts_are_cut() {
        let long = format!("{}é", "a".repeat(LONGEST - 1));
        let cut = shortened(json!({ "x": [long] }));
        assert_eq!(cut["x"][0], format!("{}…", "a".repeat(LONGEST - 1)));
    }
}
