//! Answers for people and for programs. Keys and tokens are shown by nothing here.

use std::io::{self, Write};

use lepton_identity_control::{Identity, IdentityKind, Status, X509};
use serde_json::{Value, json};

use crate::time::{rfc3339, span};

/// How the host's identity is.
pub(crate) fn status(status: &Status, json: bool, output: &mut impl Write) -> io::Result<()> {
    if json {
        return value(&serde_json::to_value(status).unwrap_or_default(), output);
    }
    let mut line = |name: &str, text: String| writeln!(output, "{name:<13} {text}");
    line("state", status.state.to_string())?;
    line("since", rfc3339(status.since))?;
    line("trust domain", status.trust_domain.clone())?;
    line("identity", status.spiffe_id.clone().unwrap_or_else(|| "-".to_owned()))?;
    if let Some(serial) = &status.serial {
        line("serial", serial.clone())?;
    }
    if let (Some(at), Some(left)) = (status.expires_at, status.expires_in_s) {
        let word = if left < 0 { "expired" } else { "expires in" };
        line("valid until", format!("{} ({word} {})", rfc3339(at), span(left)))?;
    }
    if let Some(attestor) = &status.attestor {
        let again = if status.reattestable { "can join again by itself" } else { "joins once" };
        line("attestation", format!("{attestor} ({again})"))?;
    }
    for server in &status.servers {
        let mark = if Some(&server.address) == status.server.as_ref() { ", in use" } else { "" };
        let how = match (server.answers, server.round_trip_us, &server.last_error) {
            (Some(true), Some(time), _) => format!("answers in {}.{} ms", time / 1000, time % 1000 / 100),
            (Some(true), None, _) => "answers".to_owned(),
            (Some(false), _, Some(error)) => format!("does not answer: {error}"),
            (Some(false), _, None) => "does not answer".to_owned(),
            (None, ..) => "was not asked yet".to_owned(),
        };
        line("server", format!("{} ({how}{mark})", server.address))?;
    }
    line("workloads", format!("{} entries, {} SVIDs", status.entries, status.svids))?;
    if let Some(last) = status.last_sync {
        line("last sync", rfc3339(last))?;
    }
    if let Some(error) = &status.last_error {
        line("last error", error.clone())?;
    }
    if !status.persistent {
        line("note", "the state is in memory: this identity does not survive a restart".to_owned())?;
    }
    Ok(())
}

/// The host's identity and those of its workloads.
pub(crate) fn identities(list: &[Identity], json: bool, output: &mut impl Write) -> io::Result<()> {
    if json {
        return list.iter().try_for_each(|one| value(&serde_json::to_value(one).unwrap_or_default(), output));
    }
    for (index, one) in list.iter().enumerate() {
        if index > 0 {
            writeln!(output)?;
        }
        let whose = match one.kind {
            IdentityKind::Host => "host",
            IdentityKind::Workload => "workload",
        };
        writeln!(output, "{} ({whose})", one.spiffe_id)?;
        let mut line = |name: &str, text: String| match text.is_empty() {
            true => Ok(()),
            false => writeln!(output, "  {name:<14} {text}"),
        };
        line("selectors", one.selectors.join(", "))?;
        line("DNS names", one.dns_names.join(", "))?;
        line("hint", one.hint.clone())?;
        line("federates with", one.federates_with.join(", "))?;
        match (&one.serial, one.expires_at) {
            (Some(serial), Some(at)) => line("X.509-SVID", format!("{serial}, until {}", rfc3339(at)))?,
            _ => line("X.509-SVID", "none yet".to_owned())?,
        }
        if let (Some(from), Some(until), Some(asked)) = (one.not_before, one.expires_at, one.capped_from_s) {
            let lifetime = span(until.saturating_sub(from));
            line("lifetime", format!("{lifetime}, capped: the entry asks for {}", span(asked)))?;
        }
    }
    Ok(())
}

/// X.509-SVIDs, without their keys.
pub(crate) fn x509(list: &[X509], json: bool, output: &mut impl Write) -> io::Result<()> {
    for one in list {
        if json {
            let fields = json!({
                "spiffe-id": one.spiffe_id, "hint": one.hint, "expires-at": one.expires_at,
                "chain": one.chain, "bundle": one.bundle,
            });
            value(&fields, output)?;
        } else {
            writeln!(output, "{}  until {}{}", one.spiffe_id, rfc3339(one.expires_at), hint(&one.hint))?;
        }
    }
    Ok(())
}

fn hint(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("  ({hint})") }
}

/// A JSON value on a line.
pub(crate) fn value(value: &Value, output: &mut impl Write) -> io::Result<()> {
    writeln!(output, "{value}")
}

#[cfg(test)]
mod tests {
    use lepton_identity_control::{ServerStatus, State, Text};

    use super::*;

    fn shown(show: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut output = Vec::new();
        show(&mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    fn joined() -> Status {
        Status {
            state: State::OffSite,
            since: 0,
            trust_domain: "example.org".to_owned(),
            spiffe_id: Some("spiffe://example.org/spire/agent/join_token/1".to_owned()),
            serial: Some("12".to_owned()),
            not_before: Some(0),
            expires_at: Some(3600),
            expires_in_s: Some(61),
            attestor: Some("join_token".to_owned()),
            reattestable: false,
            server: Some("192.0.2.2:8081".to_owned()),
            servers: vec![
                ServerStatus {
                    address: "192.0.2.1:8081".to_owned(),
                    answers: Some(false),
                    round_trip_us: None,
                    last_error: Some("refused".to_owned()),
                },
                ServerStatus {
                    address: "192.0.2.2:8081".to_owned(),
                    answers: Some(true),
                    round_trip_us: Some(1520),
                    last_error: None,
                },
            ],
            entries: 2,
            svids: 1,
            last_sync: Some(60),
            last_error: None,
            bundle_sequence: Some(1),
            persistent: true,
        }
    }

    #[test]
    fn the_status_for_people() {
        let text = shown(|output| status(&joined(), false, output));
        assert_eq!(
            text,
            "state         off-site\n\
             since         1970-01-01T00:00:00Z\n\
             trust domain  example.org\n\
             identity      spiffe://example.org/spire/agent/join_token/1\n\
             serial        12\n\
             valid until   1970-01-01T01:00:00Z (expires in 1 min 1 s)\n\
             attestation   join_token (joins once)\n\
             server        192.0.2.1:8081 (does not answer: refused)\n\
             server        192.0.2.2:8081 (answers in 1.5 ms, in use)\n\
             workloads     2 entries, 1 SVIDs\n\
             last sync     1970-01-01T00:01:00Z\n"
        );
        let gone = Status { expires_in_s: Some(-61), persistent: false, ..joined() };
        let text = shown(|output| status(&gone, false, output));
        assert!(text.contains("(expired 1 min 1 s ago)") && text.contains("does not survive"), "{text}");
    }

    #[test]
    fn the_status_for_programs() {
        let text = shown(|output| status(&joined(), true, output));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["state"], "off-site");
        assert_eq!(value["servers"][1]["round-trip-us"], 1520);
    }

    #[test]
    fn keys_are_not_shown() {
        let list = [X509 {
            spiffe_id: "spiffe://example.org/web".to_owned(),
            chain: "chain".to_owned(),
            key: Text::new("secret".to_owned()),
            bundle: "bundle".to_owned(),
            expires_at: 0,
            hint: "internal".to_owned(),
        }];
        for json in [false, true] {
            let text = shown(|output| x509(&list, json, output));
            assert!(text.contains("spiffe://example.org/web") && text.contains("internal"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn identities_with_and_without_svids() {
        let workload = Identity {
            kind: IdentityKind::Workload,
            spiffe_id: "spiffe://example.org/web".to_owned(),
            entry: "1".to_owned(),
            selectors: vec!["unix:uid:1000".to_owned(), "lepton:service:web".to_owned()],
            dns_names: vec!["web.example".to_owned()],
            hint: String::new(),
            serial: None,
            not_before: None,
            expires_at: None,
            capped_from_s: None,
            federates_with: Vec::new(),
        };
        let text = shown(|output| identities(std::slice::from_ref(&workload), false, output));
        assert_eq!(
            text,
            "spiffe://example.org/web (workload)\n  selectors      unix:uid:1000, lepton:service:web\n  \
             DNS names      web.example\n  X.509-SVID     none yet\n"
        );
        let with = Identity {
            serial: Some("7".to_owned()),
            not_before: Some(-1800),
            expires_at: Some(0),
            ..workload
        };
        let text = shown(|output| identities(std::slice::from_ref(&with), false, output));
        assert!(text.contains("X.509-SVID     7, until 1970-01-01T00:00:00Z"), "{text}");
        assert!(!text.contains("lifetime"), "{text}");
        let capped = Identity { capped_from_s: Some(86_400), ..with };
        let text = shown(|output| identities(std::slice::from_ref(&capped), false, output));
        assert!(text.ends_with("  lifetime       30 min, capped: the entry asks for 1 d\n"), "{text}");
        let text = shown(|output| identities(&[capped], true, output));
        assert!(text.contains(r#""capped-from-s":86400"#), "{text}");
    }
}
