//! What changes while workloads run: their certificates, the host's own, the authorities.

use std::thread;
use std::time::Duration;

use lepton_identity_control::State;
use serde_json::Value;

use super::agent::{Agent, joining};
use super::client::{Workload, authorities, ids, serial};
use super::field::Field;
use super::joining::SOON;
use super::process::until;
use super::server::{Server, Setup};
use super::{Scenario, scan};

pub(crate) const ALL: &[Scenario] = &[
    ("half-life", half_life),
    ("expired", expired),
    ("authority", authority),
    ("tainted", tainted),
    ("cap", cap),
];

/// The longest that a new authority may take from the server to a workload.
const BUNDLE: Duration = Duration::from_secs(10);

/// A host that has joined `server` by a token, and its SPIFFE ID.
pub(crate) fn joined(field: &Field, server: &Server, name: &str) -> (Agent, String) {
    let token = server.token();
    let mut agent = Agent::new(&field.folder(name));
    let how = format!("join-token = {token:?}");
    agent.start(&joining(server.trust_domain(), &[server.address()], &server.bundle(), &how));
    agent.until(State::Ready, SOON);
    (agent, server.id_of_token(&token))
}

/// SVIDs are renewed at half their life, and neither a server nor a client with go-spiffe loses a connection.
fn half_life(field: &Field) {
    let server = field.server("a", Setup::default());
    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/web", &["unix:uid:0"], &["-x509SVIDTTL", "60"]);
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    let first = workload.svids(SOON);
    let serving = Workload::start(agent.client(&field.programs.client, &["serve", "example.org"]));
    let address = serving.until("an address", SOON, |line| line["kind"] == "serving");
    let address = address["address"].as_str().unwrap().to_owned();
    let client = Workload::start(agent.client(&field.programs.client, &["dial", &address, "example.org"]));
    // Two half lives, and what a slow machine takes.
    let second = workload.svids(Duration::from_secs(50));
    let third = workload.svids(Duration::from_secs(50));
    let time = |line: &Value, name: &str| unix(line["svids"][0][name].as_str().unwrap());
    for (before, after) in [(&first, &second), (&second, &third)] {
        assert_ne!(serial(before), serial(after));
        // SPIRE dates certificates back by ten seconds.
        let lived = time(after, "not_before") - time(before, "not_before");
        assert!((20..=45).contains(&lived), "renewed after {lived} s: {before} {after}");
        assert!(time(before, "not_after") > time(after, "not_before") + 10, "in time");
    }
    let said = client.end();
    let pairs = said.iter().filter(|line| line["kind"] == "connected").count();
    let count = said.last().unwrap()["count"].as_u64().unwrap();
    assert!(count > 100 && pairs >= 3, "{count} connections, {pairs} pairs of certificates: {said:?}");
    assert!(said.iter().all(|line| line["error"].is_null()), "{said:?}");
    serving.end();
    assert!(
        agent.metric("lepton_identity_rotations_total").is_some_and(|count| count >= 2.0),
        "{}",
        agent.log()
    );
}

/// Seconds since 1970 of Go's form of a time.
fn unix(text: &str) -> i64 {
    let output = super::process::run(super::process::command("date".as_ref(), &["-d", text, "+%s"]));
    output.good().trim().parse().unwrap()
}

/// A host that was off until long after its SVID had expired is back by itself, where its certificate brings it in; where a
/// token did, it says that it cannot.
fn expired(field: &Field) {
    let factory = field.factory();
    let setup = Setup { agent_ttl_s: 30, x509pop: Some(factory.bundle.clone()), ..Setup::default() };
    let server = field.server("a", setup);
    let card = factory.certificate("host-1");
    let how =
        format!("[identity.x509pop]\ncertificate = '''\n{}'''\nkey = '''\n{}'''", card.certificate, card.key);
    let mut agent = Agent::new(&field.folder("host"));
    agent.start(&joining("example.org", &[server.address()], &server.bundle(), &how));
    let first = agent.until(State::Ready, SOON);
    // Its own SVID is renewed meanwhile.
    until("the host's own SVID to be renewed", Duration::from_secs(40), || {
        agent.status().is_some_and(|status| status.serial != first.serial && status.serial.is_some())
    });
    let (mut other, _) = joined(field, &server, "token");
    agent.kill();
    other.kill();
    thread::sleep(Duration::from_secs(35));
    agent.start_again();
    agent.until(State::Ready, SOON);
    assert_eq!(server.agents().len(), 2);
    other.start_again();
    let status = other.until(State::Expired, SOON);
    assert!(status.last_error.is_some(), "{status:?}");
    assert_eq!(other.id(&["status"]).code, 13);
}

/// A new authority of the server is with workloads in seconds, and the old one is still believed beside it.
fn authority(field: &Field) {
    let server = field.server("a", Setup::default());
    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/web", &["unix:uid:0"], &[]);
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    let before = workload.svids(SOON);
    assert_eq!(authorities(&before, "example.org").len(), 1);
    let next = server.prepare_authority();
    let seen =
        workload.until("the next authority", BUNDLE, |line| authorities(line, "example.org").len() == 2);
    let both = authorities(&seen, "example.org");
    assert!(both.contains(&authorities(&before, "example.org")[0]), "{both:?}");
    // From now on SVIDs are signed by it; those that are out are good still.
    server.activate_authority(&next);
    let serving = Workload::start(agent.client(&field.programs.client, &["serve", "example.org"]));
    let address = serving.until("an address", SOON, |line| line["kind"] == "serving");
    let address = address["address"].as_str().unwrap().to_owned();
    let client = Workload::start(agent.client(&field.programs.client, &["dial", &address, "example.org"]));
    client.until("a connection", SOON, |line| line["kind"] == "connected");
    agent.id(&["refresh"]).good();
    let renewed = workload.until("an SVID of the next authority", SOON, |line| {
        line["kind"] == "x509" && serial(line) != serial(&before) && !ids(line).is_empty()
    });
    assert_eq!(authorities(&renewed, "example.org").len(), 2);
    client.until("a connection with it", SOON, |line| line["kind"] == "connected");
    client.end();
    // A new key for JWT-SVIDs comes the same way.
    server.json(&["localauthority", "jwt", "prepare"]);
    workload.until("the next JWT key", BUNDLE, |line| {
        line["keys"]["example.org"].as_array().is_some_and(|keys| keys.len() == 2)
    });
}

/// What an authority has signed that was declared no good is made anew at once, long before its time.
fn tainted(field: &Field) {
    let server = field.server("a", Setup::default());
    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/web", &["unix:uid:0"], &[]);
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    let before = workload.svids(SOON);
    let own = agent.status().unwrap().serial;
    let next = server.prepare_authority();
    server.activate_authority(&next);
    server.taint_old_authority();
    workload.until("an SVID of the next authority", SOON, |line| {
        line["kind"] == "x509" && serial(line) != serial(&before) && !ids(line).is_empty()
    });
    until("the host's own SVID to be renewed", SOON, || {
        agent.status().is_some_and(|status| status.serial != own)
    });
    assert_eq!(agent.state(), Some(State::Ready));
}

/// The server has the last word on how long an SVID is good for, and where that is less than the entry asks for, the agent
/// says so.
fn cap(field: &Field) {
    let server = field.server("a", Setup { ca_ttl_s: 1800, ..Setup::default() });
    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/long", &["unix:uid:0"], &["-x509SVIDTTL", "86400"]);
    server.entry(&id, "/short", &["unix:uid:61001"], &["-x509SVIDTTL", "600"]);
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    let seen = workload.svids(SOON);
    let time = |name: &str| unix(seen["svids"][0][name].as_str().unwrap());
    let life = time("not_after") - time("not_before");
    assert!(life <= 1800 + 20, "{life}");
    until("both SVIDs", SOON, || agent.status().is_some_and(|status| status.svids == 2));
    let of = |values: Vec<Value>, path: &str| -> Value {
        let id = format!("spiffe://example.org{path}");
        values.into_iter().rfind(|value| value["spiffe-id"] == id.as_str()).unwrap()
    };
    let shown = || -> Vec<Value> {
        let text = agent.id(&["show", "--json"]).good();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for values in [agent.audit(), shown()] {
        assert_eq!(of(values.clone(), "/long")["capped-from-s"], 86_400, "{values:#?}");
        assert!(of(values.clone(), "/short")["capped-from-s"].is_null(), "{values:#?}");
    }
    let text = agent.id(&["show"]).good();
    assert_eq!(text.matches("capped: the entry asks for 1 d").count(), 1, "{text}");
    assert_eq!(scan::open_files(&agent.data()), [] as [&str; 0]);
}
