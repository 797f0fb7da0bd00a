//! The time that a caller gives a call: the header `grpc-timeout`. It ends the answer, and not what the call began.
//!
//! tonic ends such a call, too, but as CANCELLED, which says that the caller went away; gRPC's word is DEADLINE_EXCEEDED.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Response};

/// When the answer has to be there. A value that is none, or beyond all time, is no limit.
pub(super) fn of(headers: &HeaderMap) -> Option<Instant> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    Instant::now().checked_add(parse(text)?)
}

/// One to eight digits and a unit, as gRPC over HTTP/2 writes it.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// The answer, or that it came too late.
pub(super) async fn within(
    deadline: Instant,
    answer: impl Future<Output = Result<Response<Body>, Infallible>>,
) -> Result<Response<Body>, Infallible> {
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(answer) => answer,
        Err(_) => Ok(Status::deadline_exceeded("the time that the caller gave is over").into_http()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(parse("950u"), Some(Duration::from_micros(950)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse("1n"), Some(Duration::from_nanos(1)));
        for text in ["", "m", "5", "-5m", "+5m", "123456789S", "5x", "5 m", "5µ"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[tokio::test]
    async fn late_answers() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), None);
        headers.insert("grpc-timeout", "5m".parse().unwrap());
        let late = within(of(&headers).unwrap(), std::future::pending()).await.unwrap();
        assert_eq!(late.headers()["grpc-status"], "4");
        headers.insert("grpc-timeout", "1H".parse().unwrap());
        let there = async { Ok(Status::not_found("no pod").into_http()) };
        let answer = within(of(&headers).unwrap(), there).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "5");
    }
}
