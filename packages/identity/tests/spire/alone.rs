//! A host that is its own trust domain, and its way to a server.

use std::fs;
use std::time::Duration;

use lepton_identity_control::{Answer, Request, State};
use serde_json::Value;

use super::Scenario;
use super::agent::{Agent, joining};
use super::client::{Workload, authorities, ids, serial};
use super::field::Field;
use super::joining::SOON;
use super::process::{command, run, until};
use super::server::Setup;

pub(crate) const ALL: &[Scenario] =
    &[("alone", alone), ("site", site), ("moves", moves), ("credential", credential)];

/// The machine config of a host alone.
fn config(more: &str) -> String {
    format!(
        "[identity]\ntrust-domain = \"example.org\"\n{more}\n[[identity.entries]]\npath = \"/web\"\n\
         selectors = [\"unix:uid:0\"]\ndns-names = [\"web.example.org\"]\nx509-ttl-s = 60\njwt-ttl-s = 60\n"
    )
}

/// Foreign clients get what the machine config lists, it is renewed, and the host and its authority survive a restart.
fn alone(field: &Field) {
    let mut agent = Agent::new(&field.folder("host"));
    agent.start(&config(""));
    let status = agent.until(State::Alone, SOON);
    let id = status.spiffe_id.unwrap();
    assert!(id.starts_with("spiffe://example.org/host/"), "{id}");
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    let first = workload.svids(SOON);
    assert_eq!(ids(&first), ["spiffe://example.org/web"]);
    let serving = Workload::start(agent.client(&field.programs.client, &["serve", "example.org"]));
    let address = serving.until("an address", SOON, |line| line["kind"] == "serving");
    let address = address["address"].as_str().unwrap().to_owned();
    let client = Workload::start(agent.client(&field.programs.client, &["dial", &address, "example.org"]));
    let second = workload.svids(Duration::from_secs(50));
    assert_ne!(serial(&first), serial(&second));
    assert!(client.end().iter().all(|line| line["error"].is_null()));
    run(agent.client(&field.programs.client, &["jwt", "someone"])).good();
    agent.kill();
    agent.start_again();
    assert_eq!(agent.until(State::Alone, SOON).spiffe_id, Some(id));
    // The same client, which connects again, sees the same authority.
    let third = workload.until("an SVID after the restart", SOON, |line| {
        line["kind"] == "x509" && serial(line) != serial(&second)
    });
    assert_eq!(authorities(&third, "example.org"), authorities(&first, "example.org"));
    // Another host of the same image is another one.
    let mut clone = Agent::new(&field.folder("clone"));
    clone.start(&config(""));
    clone.until(State::Alone, SOON);
    let bundle = |agent: &Agent| match agent.ask(&Request::Bundle { trust_domain: None }) {
        Ok(Answer::Bundle(bundle)) => bundle.pem,
        other => panic!("{other:?}"),
    };
    assert_ne!(bundle(&clone), bundle(&agent));
}

/// An entry for hosts of one site is served there alone.
fn site(field: &Field) {
    let entry =
        "[[identity.entries]]\npath = \"/rack\"\nselectors = [\"unix:uid:0\", \"lepton:site:rack-7\"]\n";
    for (site, want) in [("rack-7", true), ("rack-8", false)] {
        let mut agent = Agent::new(&field.folder(site));
        agent.start(&format!("[identity]\ntrust-domain = \"example.org\"\nsite = \"{site}\"\n{entry}"));
        agent.until(State::Alone, SOON);
        let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
        let said = workload.until("an answer", SOON, |line| line["kind"] != "jwt-bundles");
        assert_eq!(said["kind"] == "x509", want, "{site}: {said}");
    }
}

/// A host that is given a server goes on with what it has, until the server's entries are there: workloads are never
/// without an identity.
fn moves(field: &Field) {
    let server = field.server("a", Setup::default());
    let token = server.token();
    server.entry(&server.id_of_token(&token), "/web", &["unix:uid:0"], &[]);
    let mut agent = Agent::new(&field.folder("host"));
    agent.start(&config(""));
    agent.until(State::Alone, SOON);
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    let before = workload.svids(SOON);
    // As PID 1 writes it when the machine config changes.
    let how = format!("join-token = {token:?}");
    let next = joining("example.org", &[server.address()], &server.bundle(), &how);
    let path = agent.folder().join("config.toml");
    fs::write(path.with_extension("new"), next).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    agent.until(State::Ready, SOON);
    let after = workload.until("the server's SVID", SOON, |line| {
        assert_ne!(line["kind"], "refused", "{line}");
        line["kind"] == "x509" && authorities(line, "example.org") != authorities(&before, "example.org")
    });
    assert_eq!(ids(&after), ids(&before));
    // The authority of before has gone with its key.
    assert!(!agent.data().join("local.json").exists());
}

/// What kubelet asks with gives a token for its audience, in the form of client.authentication.k8s.io/v1.
fn credential(field: &Field) {
    let mut agent = Agent::new(&field.folder("host"));
    agent.start(&config(""));
    agent.until(State::Alone, SOON);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_identity"));
    let socket = agent.workload().to_string_lossy().into_owned();
    let ask =
        || run(command(program, &["kubelet-credential", "--audience", "kubernetes", "--workload", &socket]));
    until("the identity to be there", SOON, || ask().code == 0);
    let said: Value = serde_json::from_str(&ask().good()).unwrap();
    assert_eq!(
        (&said["apiVersion"], &said["kind"]),
        (&"client.authentication.k8s.io/v1".into(), &"ExecCredential".into())
    );
    let jwks: Value = serde_json::from_str(&agent.id(&["bundle", "--jwks"]).good()).unwrap();
    let claims = super::jwks::verified(said["status"]["token"].as_str().unwrap(), &jwks).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["aud"][0]),
        (&"spiffe://example.org/web".into(), &"kubernetes".into())
    );
    // kubelet asks again before the token ends.
    let date = ["-u", "-d", said["status"]["expirationTimestamp"].as_str().unwrap(), "+%s"];
    let renew: i64 = run(command("date".as_ref(), &date)).good().trim().parse().unwrap();
    let end = claims["exp"].as_i64().unwrap();
    assert!((end - 40..end).contains(&renew), "{renew} {end}");
    // Nobody is told why in a way that kubelet would take for a credential.
    agent.kill();
    let said = ask();
    assert!(said.code == 1 && said.out.is_empty() && said.err.contains("Workload API"), "{}", said.err);
}
