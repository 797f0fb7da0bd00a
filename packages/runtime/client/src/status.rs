//! How a program in a container ended, as the streaming server says it. Pure.

use serde_json::Value;

use crate::failure::Failure;

/// A program could not be run at all; those that run have their own codes.
pub const NOT_RUN: u8 = 125;

/// The exit code in a `metav1.Status`.
pub fn code(status: &[u8]) -> Result<u8, Failure> {
    let status: Value = serde_json::from_slice(status)
        .map_err(|_| Failure::Exec("the connection ended before the program did".to_owned()))?;
    if status["status"] == "Success" {
        return Ok(0);
    }
    let cause = status["details"]["causes"].as_array().and_then(|causes| causes.first());
    let code =
        cause.filter(|cause| cause["reason"] == "ExitCode").and_then(|cause| cause["message"].as_str());
    match code {
        Some(code) => Ok(code.parse().unwrap_or(NOT_RUN)),
        None => Err(Failure::Exec(
            status["message"].as_str().unwrap_or("the program could not be run").to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_programs() {
        assert_eq!(code(br#"{"status":"Success"}"#).unwrap(), 0);
        let failed = br#"{"status":"Failure","message":"command terminated with non-zero exit code: 42","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"42"}]}}"#;
        assert_eq!(code(failed).unwrap(), 42);
        let unknown =
            br#"{"status":"Failure","message":"no such program","reason":"InternalError","code":500}"#;
        assert_eq!(code(unknown).unwrap_err().to_string(), "no such program");
        assert!(code(b"").is_err());
    }
}
