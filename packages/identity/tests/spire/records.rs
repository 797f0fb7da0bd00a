//! What is told of it: states, audit records, figures, TLS; and how much of the host it takes.

use std::fs;
use std::process::Command;
use std::time::Duration;

use lepton_identity_control::State;
use serde_json::Value;

use super::Scenario;
use super::agent::{Agent, joining};
use super::client::Workload;
use super::field::Field;
use super::joining::SOON;
use super::process::{run, until};
use super::rotation::joined;
use super::server::Setup;

pub(crate) const ALL: &[Scenario] =
    &[("audit", audit), ("metrics", metrics), ("verbs", verbs), ("tls", tls), ("size", size)];

/// MiB that the agent may take.
const RSS_KIB: u64 = 12 * 1024;

/// One record for a join, for a renewal, for a refusal and for leaving, with who did it; and no secret in any.
fn audit(field: &Field) {
    let server = field.server("a", Setup::default());
    let (mut agent, id) = joined(field, &server, "host");
    server.entry(&id, "/web", &["unix:uid:61001"], &[]);
    let refused = Workload::start(agent.client(&field.programs.client, &["watch"]));
    refused.until("a refusal", SOON, |line| line["kind"] == "refused");
    drop(refused);
    until("the workload's SVID", SOON, || agent.status().is_some_and(|status| status.svids == 1));
    agent.id(&["refresh"]).good();
    agent.id(&["leave"]).good();
    agent.until(State::Left, SOON);
    let records = agent.audit();
    let of =
        |act: &str| records.iter().filter(|record| record["audit"] == act).cloned().collect::<Vec<Value>>();
    assert_eq!(of("join").len(), 1, "{records:#?}");
    assert_eq!(of("join")[0]["spiffe-id"], id.as_str());
    assert!(of("join")[0]["serial"].is_string());
    assert!(!of("rotate").is_empty(), "{records:#?}");
    assert!(of("refuse").iter().any(|record| record["actor"]["pid"].is_u64()), "{records:#?}");
    assert_eq!(of("leave").len(), 1, "{records:#?}");
    let asker = of("leave")[0]["actor"]["pid"].as_u64();
    assert!(asker.is_some_and(|pid| pid != u64::from(agent.daemon().pid())), "who asked: {:?}", of("leave"));
}

/// Figures in OpenMetrics.
fn metrics(field: &Field) {
    let server = field.server("a", Setup::default());
    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/web", &["unix:uid:0"], &[]);
    Workload::start(agent.client(&field.programs.client, &["watch"])).svids(SOON);
    let text = agent.id(&["metrics"]).good();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for name in [
        "lepton_identity_svid_expiry_seconds",
        "lepton_identity_rotations_total",
        "lepton_identity_server_round_trip_seconds",
    ] {
        assert!(agent.metric(name).is_some(), "{name}: {text}");
    }
    assert!(text.contains("# TYPE lepton_identity_attest_failures counter"), "{text}");
    let left = agent.metric("lepton_identity_svid_expiry_seconds").unwrap();
    assert!((3000.0..=3700.0).contains(&left), "{left}");
}

/// Each verb of the command line answers.
fn verbs(field: &Field) {
    let server = field.server("a", Setup::default());
    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/web", &["unix:uid:0"], &["-dns", "web.example.org"]);
    let show = || -> Vec<Value> {
        let text = agent.id(&["show", "--json"]).good();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    until("the entry to be there", SOON, || show().len() == 2 && show()[1]["serial"].is_string());
    assert_eq!((&show()[0]["kind"], &show()[0]["spiffe-id"]), (&"host".into(), &id.as_str().into()));
    assert_eq!(show()[1]["spiffe-id"], "spiffe://example.org/web");
    let status: Value = serde_json::from_str(&agent.id(&["status", "--json"]).good()).unwrap();
    assert_eq!(status["state"], "ready");
    assert_eq!(status["trust-domain"], "example.org");
    assert!(status["expires-in-s"].as_i64().is_some_and(|left| left > 3000), "{status}");
    let out = field.folder("written");
    let said = agent.id(&["fetch", "x509", "--write", &out.to_string_lossy()]);
    assert!(said.code == 0 && said.out.contains("spiffe://example.org/web"), "{}", said.err);
    let mut openssl = Command::new("openssl");
    openssl.args(["verify", "-CAfile", "bundle.0.pem", "-untrusted", "svid.0.pem", "svid.0.pem"]);
    openssl.current_dir(&out);
    assert!(run(openssl).good().contains("OK"));
    assert_eq!(super::scan::open_files(&out), [] as [&str; 0]);
    let bundle = agent.id(&["bundle"]).good();
    assert_eq!(bundle.trim(), server.bundle().trim());
    let jwks: Value = serde_json::from_str(&agent.id(&["bundle", "--jwks"]).good()).unwrap();
    assert!(jwks["keys"].as_array().is_some_and(|keys| keys.len() == 2), "{jwks}");
    assert_eq!(agent.id(&["bundle", "other.example"]).code, 3);
    assert_eq!(agent.id(&["fetch", "x509", "--spiffe-id", "spiffe://example.org/other"]).code, 3);
    let serial = show()[1]["serial"].clone();
    agent.id(&["refresh"]).good();
    until("another certificate", SOON, || show()[1]["serial"] != serial);
}

/// A server that speaks old TLS, or none, is no server.
fn tls(field: &Field) {
    let server = field.server("a", Setup::default());
    let mut openssl = Command::new("openssl");
    let folder = field.folder("old");
    let key = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "1", "-keyout",
        "key.pem", "-out", "cert.pem",
    ];
    openssl.args(key).current_dir(&folder);
    run(openssl).good();
    let port = super::process::free_port();
    let mut old = Command::new("openssl");
    old.args([
        "s_server",
        "-accept",
        &port.to_string(),
        "-tls1_1",
        "-cipher",
        "ALL:@SECLEVEL=0",
        "-key",
        "key.pem",
        "-cert",
        "cert.pem",
    ]);
    old.current_dir(&folder);
    let _old = super::process::Daemon::start(old, &folder.join("log"));
    let mut agent = Agent::new(&field.folder("host"));
    let address = format!("127.0.0.1:{port}");
    agent.start(&joining("example.org", &[address], &server.bundle(), "join-token = \"x\""));
    until("the server to be refused", SOON, || {
        agent.status().is_some_and(|status| status.last_error.is_some() && !status.state.serves())
    });
    assert_eq!(super::scan::keys(agent.folder()), [] as [&str; 0]);
}

/// An idle agent with a hundred workloads is small. The size of its program is a matter of the release build.
fn size(field: &Field) {
    let server = field.server("a", Setup::default());
    let (mut agent, id) = joined(field, &server, "host");
    for number in 0..20 {
        server.entry(&id, &format!("/web/{number}"), &[&format!("unix:uid:{number}")], &[]);
    }
    until("the entries to be there", Duration::from_secs(60), || {
        agent.status().is_some_and(|status| status.svids >= 20)
    });
    let status = fs::read_to_string(format!("/proc/{}/status", agent.daemon().pid())).unwrap();
    let figure = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    // Pages of the program itself count, which a debug build has many of: what it has taken is what is asked for.
    assert!(figure("RssAnon:") < RSS_KIB, "{status}");
}
