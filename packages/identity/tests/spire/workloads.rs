//! Who gets what: users, processes of other namespaces, tokens and who believes them, other trust domains, files.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;
use std::time::Duration;

use lepton_identity_control::State;
use serde_json::Value;

use super::agent::{Agent, joining};
use super::client::{Workload, ids};
use super::field::Field;
use super::joining::SOON;
use super::process::{Daemon, as_user, command, free_port, run, until};
use super::rotation::joined;
use super::server::Setup;
use super::{Scenario, scan};

pub(crate) const ALL: &[Scenario] = &[
    ("users", users),
    ("container", container),
    ("oidc", oidc),
    ("federation", federation),
    ("files", files),
];

/// Users that no program of a machine has.
const ALICE: u32 = 61_001;
const BOB: u32 = 61_002;
const EVE: u32 = 61_003;

/// Each user gets its own identity, and who has none gets none.
fn users(field: &Field) {
    let server = field.server("a", Setup::default());
    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/alice", &[&format!("unix:uid:{ALICE}")], &[]);
    server.entry(&id, "/bob", &[&format!("unix:uid:{BOB}"), &format!("unix:gid:{BOB}")], &[]);
    let path = field.programs.client.canonicalize().unwrap();
    server.entry(
        &id,
        "/bob/elsewhere",
        &[&format!("unix:uid:{BOB}"), &format!("unix:path:{}", path.display())],
        &[],
    );
    let client = reachable(field);
    let watch = |uid| Workload::start(as_user(agent.client(&client, &["watch"]), uid));
    assert_eq!(ids(&watch(ALICE).svids(SOON)), ["spiffe://example.org/alice"]);
    assert_eq!(ids(&watch(BOB).svids(SOON)), ["spiffe://example.org/bob"]);
    let refused = watch(EVE).until("a refusal", SOON, |line| line["kind"] == "refused");
    assert_eq!(refused["error"], "PermissionDenied");
    // Whoever asks for another's identity gets none.
    let mine = as_user(agent.client(&client, &["jwt", "x", "spiffe://example.org/alice"]), ALICE);
    assert_eq!(run(mine).code, 0);
    let other = run(as_user(agent.client(&client, &["jwt", "x", "spiffe://example.org/bob"]), ALICE));
    assert_eq!(other.code, 1, "{}", other.out);
    let value: Value = serde_json::from_str(other.out.trim()).unwrap();
    assert_eq!(value["error"], "PermissionDenied");
    assert!(!scan::has_secret(&agent.log()), "{}", agent.log());
}

/// The client where every user can run it.
fn reachable(field: &Field) -> std::path::PathBuf {
    let path = field.folder("programs").join("client");
    if !path.exists() {
        fs::copy(&field.programs.client, &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    path
}

/// A process in namespaces of its own never passes as one of the host with its user.
fn container(field: &Field) {
    let server = field.server("a", Setup::default());
    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/root", &["unix:uid:0"], &[]);
    let own = Workload::start(agent.client(&field.programs.client, &["watch"]));
    assert_eq!(ids(&own.svids(SOON)), ["spiffe://example.org/root"]);
    let client = field.programs.client.to_string_lossy().into_owned();
    for namespaces in [
        &["--mount"][..],
        &["--pid", "--fork"],
        &["--pid", "--fork", "--mount"],
        &["--user", "--map-root-user"],
    ] {
        let words = [namespaces, &[&client, "watch"]].concat();
        let shut_off = Workload::start(agent.client("unshare".as_ref(), &words));
        let said =
            shut_off.until("a refusal", SOON, |line| line["kind"] == "refused" || line["kind"] == "x509");
        assert_eq!(
            (&said["kind"], &said["error"]),
            (&"refused".into(), &"PermissionDenied".into()),
            "{namespaces:?}: {said}"
        );
    }
}

/// A JWT-SVID is believed by who takes SPIRE's keys from its OIDC discovery provider, for its audience alone.
fn oidc(field: &Field) {
    let server = field.server("a", Setup::default());
    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/web", &["unix:uid:0"], &["-jwtSVIDTTL", "120"]);
    let port = free_port();
    let folder = field.folder("oidc");
    let configuration = folder.join("oidc.conf");
    fs::write(
        &configuration,
        format!(
            "domains = [\"127.0.0.1\"]\nallow_insecure_scheme = true\ninsecure_addr = \"127.0.0.1:{port}\"\n\
             server_api {{ address = \"unix://{}\" poll_interval = \"1s\" }}\n",
            server.socket().display()
        ),
    )
    .unwrap();
    let words = ["-config", &configuration.to_string_lossy()];
    let program = field.programs.spire.join("oidc-discovery-provider");
    let _provider = Daemon::start(command(&program, &words), &folder.join("oidc.log"));
    let get = |path: &str| -> Option<Value> {
        let url = format!("http://127.0.0.1:{port}{path}");
        serde_json::from_str(&super::http::get(&url)?).ok()
    };
    let mut document = None;
    until("the provider to answer", SOON, || {
        document = get("/.well-known/openid-configuration");
        document.is_some() && get("/keys").is_some_and(|keys| keys["keys"][0].is_object())
    });
    assert!(document.unwrap()["jwks_uri"].as_str().is_some_and(|uri| uri.ends_with("/keys")));
    until("the identity to be there", SOON, || {
        run(agent.client(&field.programs.client, &["jwt", "relying.example"])).code == 0
    });
    let said = run(agent.client(&field.programs.client, &["jwt", "relying.example"])).good();
    let jwt: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(jwt["id"], "spiffe://example.org/web");
    let token = jwt["token"].as_str().unwrap();
    let keys = get("/keys").unwrap();
    let claims = super::jwks::verified(token, &keys).unwrap();
    assert_eq!(claims["sub"], "spiffe://example.org/web");
    assert_eq!(claims["aud"][0], "relying.example");
    assert_eq!(claims["iss"], "https://oidc.example.org");
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((100..=130).contains(&life), "{life}");
    // A changed token is none.
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let other = run(agent.client(&field.programs.client, &["jwt", "other.example"])).good();
    let other: Value = serde_json::from_str(other.trim()).unwrap();
    parts[1] = other["token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    assert!(super::jwks::verified(&parts.join("."), &keys).is_err());
    // The command line gives the same identity, and the agent gave a cached token for the same audience.
    let said = agent.id(&["fetch", "jwt", "--audience", "relying.example"]).good();
    assert_eq!(super::jwks::verified(said.trim(), &keys).unwrap()["sub"], "spiffe://example.org/web");
}

/// Workloads of two trust domains that federate believe each other.
fn federation(field: &Field) {
    let here = field.server("a", Setup::default());
    let there = field.server("b", Setup { trust_domain: "other.example".to_owned(), ..Setup::default() });
    here.federate(&there);
    there.federate(&here);
    let (agent, id) = joined(field, &here, "here");
    let (other, other_id) = joined(field, &there, "there");
    here.entry(&id, "/client", &["unix:uid:0"], &["-federatesWith", "spiffe://other.example"]);
    there.entry(&other_id, "/server", &["unix:uid:0"], &["-federatesWith", "spiffe://example.org"]);
    let watch = Workload::start(agent.client(&field.programs.client, &["watch"]));
    let seen = watch.svids(SOON);
    assert!(seen["bundles"]["other.example"].as_array().is_some_and(|list| list.len() == 1), "{seen}");
    let serving = Workload::start(other.client(&field.programs.client, &["serve", "example.org"]));
    let address = serving.until("an address", SOON, |line| line["kind"] == "serving");
    let address = address["address"].as_str().unwrap().to_owned();
    let client = Workload::start(agent.client(&field.programs.client, &["dial", &address, "other.example"]));
    let connected = client.until("a connection", SOON, |line| line["kind"] == "connected");
    assert_eq!(connected["peer"], "spiffe://other.example/server");
    assert_eq!(connected["seen_as"], "spiffe://example.org/client");
    // Who does not federate does not.
    let stranger = Workload::start(agent.client(&field.programs.client, &["dial", &address, "example.org"]));
    stranger.until("a refusal", SOON, |line| !line["error"].is_null());
}

/// A program that speaks no API has its identity as files, with its owner and mode, and they change together.
fn files(field: &Field) {
    let server = field.server("a", Setup::default());
    let token = server.token();
    let id = server.id_of_token(&token);
    server.entry(&id, "/web", &["lepton:service:web"], &["-x509SVIDTTL", "60", "-dns", "web.example.org"]);
    let out = field.folder("web");
    let path = |name: &str| out.join(name).to_string_lossy().into_owned();
    let how = format!(
        "join-token = {token:?}\n[[identity.files]]\nspiffe-id = \"spiffe://example.org/web\"\ncertificate = {:?}\n\
         key = {:?}\nbundle = {:?}\nuid = {ALICE}\ngid = {BOB}\nmode = \"0440\"\n",
        path("cert.pem"),
        path("key.pem"),
        path("bundle.pem"),
    );
    let mut agent = Agent::new(&field.folder("host"));
    agent.start(&joining("example.org", &[server.address()], &server.bundle(), &how));
    agent.until(State::Ready, SOON);
    until("the files", SOON, || out.join("cert.pem").exists() && out.join("key.pem").exists());
    for name in ["cert.pem", "key.pem", "bundle.pem"] {
        let metadata = fs::metadata(out.join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (ALICE, BOB), "{name}");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o440, "{name}");
    }
    // openssl, which speaks no SPIFFE, takes them: the key is the certificate's, and the bundle vouches for it.
    let openssl = |words: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(words).current_dir(&out);
        run(command).good()
    };
    let fits = || {
        let of_key = openssl(&["pkey", "-in", "key.pem", "-pubout"]);
        let of_certificate = openssl(&["x509", "-in", "cert.pem", "-noout", "-pubkey"]);
        openssl(&["verify", "-CAfile", "bundle.pem", "-untrusted", "cert.pem", "cert.pem"]);
        of_key == of_certificate
    };
    assert!(fits());
    let text = openssl(&["x509", "-in", "cert.pem", "-noout", "-text"]);
    assert!(text.contains("URI:spiffe://example.org/web") && text.contains("DNS:web.example.org"), "{text}");
    let before = fs::read(out.join("cert.pem")).unwrap();
    until("the files to change", Duration::from_secs(60), || {
        fs::read(out.join("cert.pem")).unwrap() != before
    });
    until("the files to fit together", Duration::from_secs(5), fits);
    // Nothing half written stays.
    let names: Vec<String> = scan::files(&out)
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["bundle.pem", "cert.pem", "key.pem"]);
}
