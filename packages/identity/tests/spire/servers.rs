//! Servers that go and come back: several of them, and none.

use std::time::{Duration, Instant};

use lepton_identity_control::State;

use super::Scenario;
use super::agent::{Agent, joining};
use super::client::{Workload, ids};
use super::field::Field;
use super::joining::SOON;
use super::process::{run, until};
use super::rotation::joined;
use super::server::Setup;

pub(crate) const ALL: &[Scenario] = &[("fail-over", fail_over), ("nobody", nobody), ("evict", evict)];

/// The longest that a host may be without a server while another one answers.
const FAIL_OVER: Duration = Duration::from_secs(30);

/// The nearest server ends: the host goes on with the next one, says so, and is back when the first one is.
fn fail_over(field: &Field) {
    let mut near = field.server("a", Setup::default());
    let far = field.server_beside("b", &near, Setup::default());
    let token = near.token();
    let id = near.id_of_token(&token);
    near.entry(&id, "/web", &["unix:uid:0"], &[]);
    let servers = [near.address(), far.address()];
    let mut agent = Agent::new(&field.folder("host"));
    let bundle = format!("{}{}", near.bundle(), far.bundle());
    agent.start(&joining("example.org", &servers, &bundle, &format!("join-token = {token:?}")));
    let status = agent.until(State::Ready, SOON);
    assert_eq!(status.server.as_ref(), Some(&servers[0]));
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    workload.svids(SOON);
    near.kill();
    let gone = Instant::now();
    let status = agent.until(State::OffSite, FAIL_OVER);
    assert_eq!(status.server.as_ref(), Some(&servers[1]));
    assert!(gone.elapsed() < FAIL_OVER, "{:?}", gone.elapsed());
    assert_eq!(agent.id(&["status"]).code, 10);
    // What is new comes from the other one.
    far.entry(&id, "/new", &["unix:uid:0"], &[]);
    workload.until("what is new", SOON, |line| ids(line).iter().any(|id| id.ends_with("/new")));
    near.start_again();
    let status = agent.until(State::Ready, Duration::from_secs(90));
    assert_eq!(status.server.as_ref(), Some(&servers[0]));
}

/// No server answers: what the host has is served until it expires, also to a host that starts anew; a figure counts down.
fn nobody(field: &Field) {
    let mut server = field.server("a", Setup::default());
    let (mut agent, id) = joined(field, &server, "host");
    server.entry(&id, "/web", &["unix:uid:0"], &["-x509SVIDTTL", "100"]);
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    let last = workload.svids(SOON);
    server.kill();
    agent.until(State::Degraded, Duration::from_secs(60));
    assert_eq!(agent.id(&["status"]).code, 11);
    let fetch = |agent: &Agent| {
        let fetched = Workload::start(agent.client(&field.programs.client, &["watch"]));
        ids(&fetched.svids(SOON))
    };
    assert_eq!(fetch(&agent), ids(&last));
    let metric = "lepton_identity_svid_expiry_seconds";
    let first = agent.metric(metric).unwrap_or_else(|| panic!("{}", agent.id(&["metrics"]).out));
    until("the figure to count down", SOON, || agent.metric(metric).is_some_and(|left| left < first - 1.0));
    agent.stop();
    agent.start_again();
    agent.until(State::Degraded, SOON);
    assert_eq!(fetch(&agent), ids(&last));
    // What has expired is served to nobody.
    until("the SVID to expire", Duration::from_secs(120), || {
        let fetched = Workload::start(agent.client(&field.programs.client, &["watch"]));
        let said = fetched.during(Duration::from_secs(1));
        said.iter().any(|line| line["kind"] == "refused" && line["of"] == "x509")
    });
    // Neither after the server is back need anybody do anything.
    server.start_again();
    agent.until(State::Ready, Duration::from_secs(90));
    assert_eq!(fetch(&agent), ids(&last));
}

/// A host that the server has put out gets nothing new at once, knows it, and stays out.
fn evict(field: &Field) {
    let server = field.server("a", Setup::default());
    let (mut agent, id) = joined(field, &server, "host");
    let entry = server.entry(&id, "/web", &["unix:uid:0"], &[]);
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    workload.svids(SOON);
    // An entry that is gone takes its identity with it.
    server.remove_entry(&entry);
    workload.until("a refusal", SOON, |line| line["kind"] == "refused" && line["of"] == "x509");
    server.entry(&id, "/web", &["unix:uid:0"], &[]);
    workload.svids(SOON);
    server.evict(&id);
    agent.until(State::Evicted, SOON);
    assert_eq!(agent.id(&["status"]).code, 14);
    let said = run(agent.client(&field.programs.client, &["jwt", "someone"]));
    assert_eq!(said.code, 1, "{}", said.out);
    // After a restart the token, which is spent, brings it in no more than anything else.
    agent.stop();
    agent.start_again();
    until("the host to stay out", SOON, || {
        agent.status().is_some_and(|status| status.last_error.is_some() && !status.state.serves())
    });
    // A new token is a new beginning.
    let file = field.folder("tokens").join("token");
    std::fs::write(&file, server.token()).unwrap();
    agent.id(&["join", "--token-file", &file.to_string_lossy()]).good();
    agent.until(State::Ready, SOON);
    // A ban is for good.
    let status = agent.status().unwrap();
    server.ban(status.spiffe_id.as_deref().unwrap());
    agent.until(State::Evicted, SOON);
}
