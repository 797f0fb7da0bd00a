//! `identity kubelet-credential`: gives kubelet a JWT-SVID whenever it needs one (client.authentication.k8s.io/v1).
//!
//! It is a workload as any other: the Workload API knows it by the service kubelet, whose process starts it. Nothing is kept,
//! and the token goes to kubelet alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lepton_spiffe_api::workload::JwtsvidRequest;
use lepton_spiffe_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use zeroize::Zeroizing;

/// The word that asks for this.
pub(crate) const COMMAND: &str = "kubelet-credential";
const USAGE: &str = "usage: identity kubelet-credential --audience NAME [--workload SOCKET]";
/// The agent answers at once, or after its server does.
const PATIENCE: Duration = Duration::from_secs(20);
/// A token without the time of its issue is asked for anew so long before its end.
const BEFORE_END: i64 = 30;

/// Why kubelet gets none.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot reach the Workload API at {0}: {1}; is the service identity running?")]
    Connect(PathBuf, String),
    #[error(
        "the Workload API has no identity for the service kubelet\nhint: it takes an entry with the selector lepton:service:kubelet"
    )]
    Nobody,
    #[error("the Workload API refused: {0}")]
    Refused(String),
    #[error("the Workload API gave a token that is none")]
    Token,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    audience: String,
    workload: PathBuf,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let (mut audience, mut workload) = (None, PathBuf::from(lepton_workload_api::SOCKET));
        while let Some(word) = words.next() {
            match &*word {
                "--audience" => audience = Some(words.next().filter(|name| !name.is_empty())?),
                "--workload" => workload = words.next()?.into(),
                _ => return None,
            }
        }
        Some(Self { audience: audience?, workload })
    }
}

/// Writes the credential to standard output.
pub(crate) async fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let Some(options) = Options::parse(words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let asked = tokio::time::timeout(PATIENCE, ask(&options)).await;
    let asked = asked.unwrap_or_else(|_| Err(Failure::Refused("it does not answer in time".to_owned())));
    let written = asked.and_then(|token| credential(&token)).map(|text| {
        // kubelet that does not read it any more asks again.
        std::io::stdout().write_all(text.as_bytes())
    });
    match written {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("identity: cannot write: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("identity: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(options: &Options) -> Result<Zeroizing<String>, Failure> {
    let Options { audience, workload } = options;
    let unreachable = |why: String| Failure::Connect(workload.clone(), why);
    if !Path::new(workload).exists() {
        return Err(unreachable("there is no such socket".to_owned()));
    }
    let endpoint = Endpoint::from_shared(format!("unix://{}", workload.display()));
    let channel = match endpoint {
        Ok(endpoint) => endpoint.connect().await.map_err(|error| unreachable(error.to_string()))?,
        Err(error) => return Err(unreachable(error.to_string())),
    };
    let mut request =
        Request::new(JwtsvidRequest { audience: vec![audience.clone()], spiffe_id: String::new() });
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    let answer = SpiffeWorkloadApiClient::new(channel).fetch_jwtsvid(request).await;
    let answer = answer.map_err(|status| match status.code() {
        Code::PermissionDenied => Failure::Nobody,
        code => Failure::Refused(format!("{code:?}: {}", status.message())),
    })?;
    // The first one is a workload's default identity (SPIFFE Workload API, section 5.2.1).
    let svid = answer.into_inner().svids.into_iter().next().ok_or(Failure::Nobody)?;
    Ok(Zeroizing::new(svid.svid))
}

/// The text that kubelet reads. It asks again at three quarters of the token's life: the agent has another one by then.
fn credential(token: &str) -> Result<Zeroizing<String>, Failure> {
    let claims = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Value =
        claims.and_then(|claims| serde_json::from_slice(&claims).ok()).ok_or(Failure::Token)?;
    let moment = |name: &str| claims.get(name).and_then(Value::as_i64);
    let end = moment("exp").ok_or(Failure::Token)?;
    let renew = match moment("iat") {
        Some(start) if start < end => end - (end - start) / 4,
        _ => end - BEFORE_END,
    };
    let document = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": { "token": token, "expirationTimestamp": rfc3339(renew).ok_or(Failure::Token)? },
    });
    Ok(Zeroizing::new(document.to_string()))
}

fn rfc3339(seconds: i64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    Some(format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &Value) -> String {
        format!("eyJhbGciOiJFUzI1NiJ9.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn a_credential_ends_before_its_token() {
        let end = |claims: Value| {
            let text = credential(&token(&claims)).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["status"]["token"], token(&claims).as_str());
            value["status"]["expirationTimestamp"].as_str().unwrap().to_owned()
        };
        assert_eq!(end(json!({ "iat": 1_795_951_230, "exp": 1_795_951_530 })), "2026-11-29T11:24:15Z");
        assert_eq!(end(json!({ "exp": 1_795_951_230 })), "2026-11-29T11:20:00Z");
        for bad in ["", "a.b.c", &token(&json!({})), &token(&json!({ "exp": i64::MAX }))] {
            assert!(matches!(credential(bad), Err(Failure::Token)), "{bad}");
        }
    }

    #[test]
    fn command_lines() {
        let parse = |words: &[&str]| Options::parse(words.iter().map(|&word| word.to_owned()));
        let options = parse(&["--audience", "kubernetes"]).unwrap();
        assert_eq!(
            options,
            Options { audience: "kubernetes".into(), workload: lepton_workload_api::SOCKET.into() }
        );
        assert_eq!(parse(&["--workload", "/a", "--audience", "b"]).unwrap().workload, PathBuf::from("/a"));
        for bad in [&[][..], &["--audience"], &["--audience", ""], &["x"], &["--audience", "a", "--x", "y"]] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
