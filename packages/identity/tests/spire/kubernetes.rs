//! kubelet's credential as Kubernetes' API server judges it: with its own authenticator, which takes the keys from SPIRE's
//! OIDC discovery provider, and with the file that the test cluster's API server has.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::Scenario;
use super::client::Workload;
use super::field::Field;
use super::joining::SOON;
use super::process::{Daemon, as_user, command, free_port, run, until};
use super::rotation::joined;
use super::server::Setup;

pub(crate) const ALL: &[Scenario] = &[("kubernetes", kubernetes)];

/// What the cluster's API server is told.
const CONFIGURATION: &str = include_str!("../../../../images/boot-tests/src/cluster/authentication.json");
/// A user of another workload.
const ALICE: u32 = 61_001;

/// A node is who SPIRE says that it is; other workloads, and tokens for others, are nobody.
fn kubernetes(field: &Field) {
    let port = free_port();
    let issuer = format!("https://127.0.0.1:{port}");
    let server = field.server("a", Setup { jwt_issuer: issuer.clone(), ..Setup::default() });
    let factory = field.factory();
    let folder = field.folder("oidc");
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let card = factory.server();
    let (certificate, key) = (put("server.pem", &card.certificate), put("server.key", &card.key));
    let configuration = put(
        "oidc.conf",
        &format!(
            "domains = [\"127.0.0.1\"]\njwt_issuer = \"{issuer}\"\n\
             serving_cert_file {{ cert_file_path = {certificate:?} key_file_path = {key:?} addr = \"127.0.0.1:{port}\" }}\n\
             server_api {{ address = \"unix://{}\" poll_interval = \"1s\" }}\n",
            server.socket().display()
        ),
    );
    let program = field.programs.spire.join("oidc-discovery-provider");
    let words = ["-config", &configuration.to_string_lossy()];
    let _provider = Daemon::start(command(&program, &words), &folder.join("oidc.log"));

    let (agent, id) = joined(field, &server, "host");
    server.entry(&id, "/node/edge-1", &["unix:uid:0"], &["-jwtSVIDTTL", "60"]);
    server.entry(&id, "/web", &[&format!("unix:uid:{ALICE}")], &[]);
    let mut document: Value = serde_json::from_str(CONFIGURATION).unwrap();
    let jwt = &mut document["jwt"][0]["issuer"];
    jwt["url"] = json!(issuer);
    jwt["certificateAuthority"] = json!(fs::read_to_string(&factory.bundle).unwrap());
    let configuration = put("authentication.json", &document.to_string());
    let judge = command(&field.programs.authentication, &[&configuration.to_string_lossy()]);
    let mut judge = Workload::start(judge);

    let program = Path::new(env!("CARGO_BIN_EXE_identity"));
    let socket = agent.workload().to_string_lossy().into_owned();
    let ask = |audience: &str, uid: u32| {
        let words = ["kubelet-credential", "--audience", audience, "--workload", &socket];
        let said = run(as_user(command(program, &words), uid));
        let value: Value = serde_json::from_str(&said.out).ok()?;
        value["status"]["token"].as_str().map(str::to_owned)
    };
    until("the identities to be there", SOON, || {
        ask("kubernetes", 0).is_some() && ask("kubernetes", ALICE).is_some()
    });
    let mut judged = |token: &str| {
        judge.tell(token);
        judge.until("a judgement", SOON, |_| true)
    };
    let node = judged(&ask("kubernetes", 0).unwrap());
    assert_eq!(
        (&node["username"], &node["groups"]),
        (&json!("system:node:edge-1"), &json!(["system:nodes"])),
        "{node}"
    );
    let other = judged(&ask("kubernetes", ALICE).unwrap());
    assert!(other["error"].as_str().is_some_and(|why| why.contains("of no node")), "{other}");
    let elsewhere = judged(&ask("somebody-else", 0).unwrap());
    assert!(elsewhere["error"].as_str().is_some_and(|why| why.contains("audience")), "{elsewhere}");
    // A host that is put out gets no more of them.
    server.evict(&id);
    until("the host to have no identity", SOON, || ask("kubernetes", 0).is_none());
}
