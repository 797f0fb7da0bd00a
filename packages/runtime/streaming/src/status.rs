//! How a command ended, as its client reads it on the error stream: `metav1.Status` as JSON, or plain text for old ones.

use serde::Serialize;

use crate::backend::{BackendError, ExitCode};

/// How a protocol writes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StatusFormat {
    /// From v4 on.
    Json,
    /// Before v4: the message of a failure, and nothing for success.
    Text,
}

/// The part of `metav1.Status` that is used.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
}

#[derive(Debug, Serialize)]
struct Details {
    causes: [Cause; 1],
}

/// What Kubernetes calls the type of a cause is its reason on the wire.
#[derive(Debug, Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
}

impl Status {
    fn success() -> Self {
        Self { status: "Success", message: String::new(), reason: None, details: None, code: None }
    }

    /// How a command ended.
    pub(crate) fn of_exec(result: Result<ExitCode, BackendError>) -> Self {
        match result {
            Ok(ExitCode(0)) => Self::success(),
            Ok(ExitCode(code)) => Self {
                status: "Failure",
                message: format!("command terminated with non-zero exit code: {code}"),
                reason: Some("NonZeroExitCode"),
                details: Some(Details { causes: [Cause { reason: "ExitCode", message: code.to_string() }] }),
                code: None,
            },
            Err(error) => Self::internal(&format!("error executing command in container: {error}")),
        }
    }

    /// How an attached client's time ended.
    pub(crate) fn of_attach(result: Result<(), BackendError>) -> Self {
        match result {
            Ok(()) => Self::success(),
            Err(error) => Self::internal(&format!("error attaching to container: {error}")),
        }
    }

    fn internal(message: &str) -> Self {
        Self {
            status: "Failure",
            message: format!("Internal error occurred: {message}"),
            reason: Some("InternalError"),
            details: None,
            code: Some(500),
        }
    }

    /// The bytes for the error stream.
    pub(crate) fn write(&self, format: StatusFormat) -> Vec<u8> {
        match format {
            StatusFormat::Json => serde_json::to_vec(self).expect("it has no map and no float"),
            StatusFormat::Text => self.message.clone().into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &Status, json: &str, text: &str) {
        assert_eq!(String::from_utf8(status.write(StatusFormat::Json)).unwrap(), json);
        assert_eq!(String::from_utf8(status.write(StatusFormat::Text)).unwrap(), text);
    }

    #[test]
    fn as_kubernetes_writes_them() {
        check(&Status::of_exec(Ok(ExitCode(0))), r#"{"status":"Success"}"#, "");
        check(
            &Status::of_exec(Ok(ExitCode(137))),
            r#"{"status":"Failure","message":"command terminated with non-zero exit code: 137","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"137"}]}}"#,
            "command terminated with non-zero exit code: 137",
        );
        check(
            &Status::of_attach(Err(BackendError("no such container".to_owned()))),
            r#"{"status":"Failure","message":"Internal error occurred: error attaching to container: no such container","reason":"InternalError","code":500}"#,
            "Internal error occurred: error attaching to container: no such container",
        );
    }
}
