//! Records of who changed what, and of who was refused: one JSON line each. PID 1 keeps them with the rest of what the
//! service prints. Texts of machine configs and what programs are given to read are never in them.

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

/// Records that a connection was refused.
pub(crate) fn handshake(peer: &str, reason: &str) {
    record(
        "refuse",
        json!({ "caller": null, "peer": peer, "method": null, "result": "handshake", "reason": reason }),
    );
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
    fn long_texts_are_cut() {
        let long = format!("{}é", "a".repeat(LONGEST - 1));
        let cut = shortened(json!({ "x": [long] }));
        assert_eq!(cut["x"][0], format!("{}…", "a".repeat(LONGEST - 1)));
    }
}
