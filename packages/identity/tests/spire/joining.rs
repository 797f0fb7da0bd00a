//! How a host joins: by a token, by a certificate, with what trust, and what it leaves behind.

use std::fs;
use std::time::Duration;

use lepton_identity_control::{Request, State};

use super::agent::{Agent, joining};
use super::client::{Workload, ids};
use super::field::Field;
use super::process::{run, until};
use super::server::Setup;
use super::{Scenario, scan};

pub(crate) const ALL: &[Scenario] = &[
    ("join-token", join_token),
    ("join-by-hand", join_by_hand),
    ("x509pop", x509pop),
    ("wrong-bundle", wrong_bundle),
    ("insecure", insecure),
    ("bundle-from-url", bundle_from_url),
];

/// A sync takes five seconds at most, and the machine does other things.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A token brings a host in, once; it stays nowhere. Its workloads are served with foreign clients.
fn join_token(field: &Field) {
    let server = field.server("a", Setup::default());
    let token = server.token();
    let agent_id = server.id_of_token(&token);
    server.entry(&agent_id, "/web", &["unix:uid:0"], &["-dns", "web.example.org", "-hint", "internal"]);
    let how = format!("join-token = {token:?}");
    let config = joining("example.org", &[server.address()], &server.bundle(), &how);
    let mut agent = Agent::new(&field.folder("host"));
    agent.start(&config);
    let status = agent.until(State::Ready, SOON);
    assert_eq!(status.spiffe_id.as_deref(), Some(agent_id.as_str()));
    assert_eq!((status.attestor.as_deref(), status.reattestable), (Some("join_token"), false));
    assert_eq!(server.agents(), [agent_id]);

    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    let seen = workload.svids(SOON);
    assert_eq!(ids(&seen), ["spiffe://example.org/web"]);
    assert_eq!(seen["svids"][0]["dns_names"][0], "web.example.org");
    assert_eq!(seen["svids"][0]["hint"], "internal");
    workload.end();
    // SPIRE's own command line against our socket, unchanged.
    let socket = agent.workload();
    let spire = |words: &[&str]| {
        let mut command = super::process::command(&field.programs.spire_agent(), words);
        command.arg("-socketPath").arg(&socket);
        run(command).good()
    };
    let said = spire(&["api", "fetch", "x509"]);
    assert!(said.contains("spiffe://example.org/web"), "{said}");
    let said = spire(&["api", "fetch", "jwt", "-audience", "someone"]);
    let jwt = said.split_whitespace().find(|word| word.starts_with("eyJ")).unwrap();
    let said = spire(&["api", "validate", "jwt", "-audience", "someone", "-svid", jwt]);
    assert!(said.contains("SVID is valid"), "{said}");

    // The token is used up: another host gets nothing by it, and says so.
    let mut thief = Agent::new(&field.folder("thief"));
    thief.start(&config);
    let status = thief.until(State::Failed, SOON);
    assert!(status.last_error.is_some(), "{status:?}");
    assert_eq!(thief.id(&["status"]).code, 16);
    assert_eq!(server.agents().len(), 1);
    // It is what the host was told, and nothing that the host keeps.
    for agent in [&agent, &thief] {
        // The SPIFFE ID of a host that joined so has the token in it, as SPIRE has it; by itself it is of no use any more.
        let kept: Vec<_> = scan::files(&agent.data())
            .into_iter()
            .filter(|path| {
                let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
                text.replace(&format!("join_token/{token}"), "").contains(&token)
            })
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(kept, [] as [&str; 0]);
        let log = agent.log().replace(&format!("join_token/{token}"), "");
        assert!(!log.contains(&token), "{log}");
        assert!(!scan::has_secret(&log), "{log}");
        assert_eq!(scan::open_files(&agent.data()), [] as [&str; 0]);
    }
    // A restart needs no token.
    agent.stop();
    agent.start_again();
    agent.until(State::Ready, SOON);
    assert_eq!(server.agents().len(), 1);
}

/// A host that waits is given its token by `lepton id join`.
fn join_by_hand(field: &Field) {
    let server = field.server("a", Setup::default());
    let mut agent = Agent::new(&field.folder("host"));
    agent.start(&joining("example.org", &[server.address()], &server.bundle(), ""));
    until("the agent to answer", SOON, || agent.status().is_some());
    // Nothing to join with is nothing that passes by itself.
    agent.until(State::Failed, SOON);
    let timed_out = agent.id(&["wait", "--ready", "--timeout", "1"]);
    assert_eq!(timed_out.code, 4, "{}", timed_out.err);
    let file = field.folder("tokens").join("token");
    fs::write(&file, format!("{}\n", server.token())).unwrap();
    let said = agent.id(&["join", "--token-file", &file.to_string_lossy()]).good();
    assert!(said.starts_with("state         ready"), "{said}");
    assert_eq!(agent.id(&["status"]).code, 0);
    agent.id(&["wait", "--ready", "--timeout", "5"]).good();
}

/// A certificate from the factory brings a host in without anything typed, for an entry that was made before.
fn x509pop(field: &Field) {
    let factory = field.factory();
    let setup = Setup { x509pop: Some(factory.bundle.clone()), ..Setup::default() };
    let server = field.server("a", setup);
    let card = factory.certificate("host-1");
    let agent_id = format!("spiffe://example.org/spire/agent/x509pop/{}", card.fingerprint);
    server.entry(&agent_id, "/web", &["unix:uid:0"], &[]);
    let how =
        format!("[identity.x509pop]\ncertificate = '''\n{}'''\nkey = '''\n{}'''", card.certificate, card.key);
    let config = joining("example.org", &[server.address()], &server.bundle(), &how);
    let mut agent = Agent::new(&field.folder("host"));
    agent.start(&config);
    let status = agent.until(State::Ready, SOON);
    assert_eq!(status.spiffe_id, Some(agent_id));
    assert_eq!((status.attestor.as_deref(), status.reattestable), (Some("x509pop"), true));
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    assert_eq!(ids(&workload.svids(SOON)), ["spiffe://example.org/web"]);
    // A certificate of somebody else's factory does not.
    let stranger = field.factory().certificate("host-1");
    let how = format!(
        "[identity.x509pop]\ncertificate = '''\n{}'''\nkey = '''\n{}'''",
        stranger.certificate, stranger.key
    );
    let config = joining("example.org", &[server.address()], &server.bundle(), &how);
    let mut other = Agent::new(&field.folder("stranger"));
    other.start(&config);
    until("the server to refuse", SOON, || {
        other.status().is_some_and(|status| status.last_error.is_some() && !status.state.serves())
    });
    assert_eq!(server.agents().len(), 1);
}

/// A server that the bundle does not vouch for gets nothing, not even the token.
fn wrong_bundle(field: &Field) {
    let server = field.server("a", Setup::default());
    let other = field.server("b", Setup::default());
    let token = server.token();
    let how = format!("join-token = {token:?}");
    let mut agent = Agent::new(&field.folder("host"));
    agent.start(&joining("example.org", &[server.address()], &other.bundle(), &how));
    until("the server to be refused", SOON, || {
        agent.status().is_some_and(|status| status.last_error.is_some() && !status.state.serves())
    });
    assert_eq!(server.agents(), [] as [&str; 0]);
    let said = run(agent.client(&field.programs.client, &["jwt", "someone"]));
    assert_eq!(said.code, 1, "{}", said.out);
    assert_eq!(scan::keys(&agent.data()), [] as [&str; 0]);
    // The token was not spent: with the right bundle it still brings the host in.
    agent.kill();
    agent.start(&joining("example.org", &[server.address()], &server.bundle(), &how));
    agent.until(State::Ready, SOON);
    // A server of another trust domain is none of ours, whatever its bundle.
    let elsewhere = field.server("c", Setup { trust_domain: "other.example".to_owned(), ..Setup::default() });
    let token = elsewhere.token();
    let mut agent = Agent::new(&field.folder("lost"));
    let how = format!("join-token = {token:?}");
    agent.start(&joining("example.org", &[elsewhere.address()], &elsewhere.bundle(), &how));
    until("the server to be refused", SOON, || {
        agent.status().is_some_and(|status| status.last_error.is_some() && !status.state.serves())
    });
    assert_eq!(elsewhere.agents(), [] as [&str; 0]);
}

/// Whom to believe must be said; an image for tests alone may believe anybody.
fn insecure(field: &Field) {
    let server = field.server("a", Setup::default());
    let config = |token: &str| {
        format!(
            "[identity]\ntrust-domain = \"example.org\"\nservers = [\"{}\"]\njoin-token = {token:?}\n\
             insecure-bootstrap = true\n",
            server.address()
        )
    };
    let mut agent = Agent::new(&field.folder("production"));
    agent.start(&config(&server.token()));
    let status = agent.until(State::Failed, SOON);
    assert!(status.last_error.is_some() && agent.log().contains("insecure-bootstrap"), "{}", agent.log());
    assert_eq!(server.agents(), [] as [&str; 0]);
    let mut agent = Agent::new(&field.folder("test")).with("--allow-insecure-bootstrap");
    agent.start(&config(&server.token()));
    agent.until(State::Ready, SOON);
}

/// The trust bundle may be fetched, when its digest is known; another one is not taken.
fn bundle_from_url(field: &Field) {
    let server = field.server("a", Setup::default());
    let bundle = server.bundle();
    let url = super::field::serve_once_and_again(bundle.clone());
    let config = |digest: &str| {
        format!(
            "[identity]\ntrust-domain = \"example.org\"\nservers = [\"{}\"]\njoin-token = \"{}\"\n\
             trust-bundle-url = {url:?}\ntrust-bundle-sha256 = {digest:?}\n",
            server.address(),
            server.token()
        )
    };
    let mut agent = Agent::new(&field.folder("wrong"));
    agent.start(&config(&"0".repeat(64)));
    until("the bundle to be refused", SOON, || {
        agent.status().is_some_and(|status| status.last_error.is_some() && !status.state.serves())
    });
    assert_eq!(server.agents(), [] as [&str; 0]);
    let mut agent = Agent::new(&field.folder("right"));
    agent.start(&config(&super::field::sha256(bundle.as_bytes())));
    agent.until(State::Ready, SOON);
    let request = Request::Bundle { trust_domain: None };
    let lepton_identity_control::Answer::Bundle(kept) = agent.ask(&request).unwrap() else {
        panic!("no bundle")
    };
    assert_eq!(kept.pem.matches("BEGIN CERTIFICATE").count(), 1);
}
