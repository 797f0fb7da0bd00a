//! A SPIRE server on loopback, told what to do by its own command line. Several can share one store, as in production.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::{Daemon, Said, command, free_port, run, until};

/// A server makes its keys at the first start.
const START: Duration = Duration::from_secs(120);

/// What a server is like.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) trust_domain: String,
    /// Seconds that SVIDs of agents are good for.
    pub(crate) agent_ttl_s: u32,
    /// The same of workloads, where their entry does not say.
    pub(crate) svid_ttl_s: u32,
    /// Seconds that its authority is good for.
    pub(crate) ca_ttl_s: u32,
    /// Authorities of certificates that hosts may join with.
    pub(crate) x509pop: Option<PathBuf>,
    /// Who signs JWT-SVIDs, as relying parties know it.
    pub(crate) jwt_issuer: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            trust_domain: "example.org".to_owned(),
            agent_ttl_s: 3600,
            svid_ttl_s: 3600,
            ca_ttl_s: 86_400,
            x509pop: None,
            jwt_issuer: "https://oidc.example.org".to_owned(),
        }
    }
}

/// A server.
pub(crate) struct Server {
    program: PathBuf,
    folder: PathBuf,
    setup: Setup,
    port: u16,
    daemon: Option<Daemon>,
}

impl Server {
    /// Starts the first server of a trust domain in an empty folder.
    pub(crate) fn start(programs: &Path, folder: &Path, setup: Setup) -> Self {
        let store = folder.join("store.sqlite3");
        Self::start_with_store(programs, folder, &store, setup)
    }

    /// Starts one more server with the store of another, in a folder of its own.
    pub(crate) fn start_with_store(programs: &Path, folder: &Path, store: &Path, setup: Setup) -> Self {
        fs::create_dir_all(folder).unwrap();
        let port = free_port();
        fs::write(folder.join("server.conf"), configuration(folder, store, port, &setup)).unwrap();
        let program = programs.join("spire-server");
        let mut server = Self { program, folder: folder.to_owned(), setup, port, daemon: None };
        server.start_again();
        server
    }

    /// The store that another server may share.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("store.sqlite3")
    }

    /// Starts it again, with what it knows.
    pub(crate) fn start_again(&mut self) {
        let configuration = self.folder.join("server.conf");
        let command = command(&self.program, &["run", "-config", &configuration.to_string_lossy()]);
        self.daemon = Some(Daemon::start(command, &self.folder.join("server.log")));
        until("the server to be healthy", START, || {
            assert!(self.daemon.as_mut().unwrap().is_running(), "the server ended:\n{}", self.log());
            self.socket().exists() && run(self.cli(&["healthcheck"])).code == 0
        });
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.daemon = None;
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn trust_domain(&self) -> &str {
        &self.setup.trust_domain
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("api.sock")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    fn cli(&self, words: &[&str]) -> Command {
        let mut command = command(&self.program, words);
        command.arg("-socketPath").arg(self.socket());
        command
    }

    /// Runs a command of its command line.
    pub(crate) fn ask(&self, words: &[&str]) -> Said {
        run(self.cli(words))
    }

    /// The same, with its answer as JSON.
    #[track_caller]
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let out = self.ask(&[words, &["-output", "json"]].concat()).good();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{words:?}: {error}: {out}"))
    }

    /// A token for one host.
    pub(crate) fn token(&self) -> String {
        let answer = self.json(&["token", "generate", "-ttl", "3600"]);
        answer["value"].as_str().unwrap().to_owned()
    }

    /// What a host is called that joins with a token.
    pub(crate) fn id_of_token(&self, token: &str) -> String {
        format!("spiffe://{}/spire/agent/join_token/{token}", self.setup.trust_domain)
    }

    /// Makes an entry for a workload; gives its name.
    #[track_caller]
    pub(crate) fn entry(&self, parent: &str, path: &str, selectors: &[&str], more: &[&str]) -> String {
        let id = format!("spiffe://{}{path}", self.setup.trust_domain);
        let mut words = vec!["entry", "create", "-parentID", parent, "-spiffeID", &id];
        for selector in selectors {
            words.extend(["-selector", selector]);
        }
        words.extend(more);
        let answer = self.json(&words);
        let entry = &answer["results"][0]["entry"]["id"];
        entry.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Removes an entry.
    pub(crate) fn remove_entry(&self, entry: &str) {
        self.ask(&["entry", "delete", "-entryID", entry]).good();
    }

    /// The SPIFFE IDs of hosts that have joined.
    pub(crate) fn agents(&self) -> Vec<String> {
        let answer = self.json(&["agent", "list"]);
        let agents = answer["agents"].as_array().cloned().unwrap_or_default();
        let id = |agent: &Value| {
            let part = |name: &str| agent["id"][name].as_str().unwrap_or_default().to_owned();
            format!("spiffe://{}{}", part("trust_domain"), part("path"))
        };
        agents.iter().map(id).collect()
    }

    /// Forgets a host.
    pub(crate) fn evict(&self, agent: &str) {
        self.ask(&["agent", "evict", "-spiffeID", agent]).good();
    }

    /// Forbids a host for good.
    pub(crate) fn ban(&self, agent: &str) {
        self.ask(&["agent", "ban", "-spiffeID", agent]).good();
    }

    /// The trust bundle in PEM.
    pub(crate) fn bundle(&self) -> String {
        self.ask(&["bundle", "show"]).good()
    }

    /// The trust bundle as a SPIFFE JWK set.
    pub(crate) fn bundle_jwks(&self) -> String {
        self.ask(&["bundle", "show", "-format", "spiffe"]).good()
    }

    /// Takes the bundle of another trust domain.
    pub(crate) fn federate(&self, other: &Self) {
        let path = self.folder.join("other.json");
        fs::write(&path, other.bundle_jwks()).unwrap();
        let id = format!("spiffe://{}", other.trust_domain());
        self.ask(&["bundle", "set", "-id", &id, "-path", &path.to_string_lossy(), "-format", "spiffe"])
            .good();
    }

    /// Makes the next X.509 authority, which goes into the bundle at once; gives its name.
    pub(crate) fn prepare_authority(&self) -> String {
        let answer = self.json(&["localauthority", "x509", "prepare"]);
        answer["prepared_authority"]["authority_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Declares the authority of before no good.
    pub(crate) fn taint_old_authority(&self) {
        let shown = self.json(&["localauthority", "x509", "show"]);
        let old = shown["old"]["authority_id"].as_str().unwrap_or_else(|| panic!("{shown}"));
        self.ask(&["localauthority", "x509", "taint", "-authorityID", old]).good();
    }

    /// Signs with it from now on.
    pub(crate) fn activate_authority(&self, authority: &str) {
        self.ask(&["localauthority", "x509", "activate", "-authorityID", authority]).good();
    }
}

/// The file that says all of it (HCL).
fn configuration(folder: &Path, store: &Path, port: u16, setup: &Setup) -> String {
    let x509pop = setup.x509pop.as_ref().map_or(String::new(), |bundle| {
        format!("NodeAttestor \"x509pop\" {{ plugin_data {{ ca_bundle_path = {bundle:?} }} }}")
    });
    format!(
        r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = {socket:?}
  data_dir = {folder:?}
  trust_domain = "{trust_domain}"
  log_level = "DEBUG"
  agent_ttl = "{agent}s"
  default_x509_svid_ttl = "{svid}s"
  ca_ttl = "{ca}s"
  jwt_issuer = "{issuer}"
  ratelimit {{ attestation = false signing = false }}
  experimental {{ cache_reload_interval = "1s" }}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = {store:?} }} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = {keys:?} }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  {x509pop}
}}
"#,
        socket = folder.join("api.sock"),
        trust_domain = setup.trust_domain,
        agent = setup.agent_ttl_s,
        svid = setup.svid_ttl_s,
        ca = setup.ca_ttl_s,
        issuer = setup.jwt_issuer,
        keys = folder.join("keys.json"),
    )
}
