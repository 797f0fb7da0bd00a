//! SPIRE beside the control plane: its server, and the provider of its keys that the API server trusts; both are SPIRE's own
//! programs, as processes of this machine in the cluster's network.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lepton_builder::sandbox::Sandbox;
use serde_json::Value;

use super::daemon::Daemon;
use super::field::{Field, SERVER};
use super::{ClusterError, Setup};

/// Where hosts reach the server.
pub(crate) const ADDRESS: &str = "192.0.2.1:8081";
/// The trust domain.
pub(crate) const TRUST_DOMAIN: &str = "example.org";
/// Who signs them, as relying parties know it: the provider of its keys answers there.
const ISSUER: &str = "https://192.0.2.1:8443";
/// Nodes are called so, with their name behind it.
const NODE: &str = "spiffe://example.org/node/";
/// The file in the folder of keys that tells the API server whom to believe; and the argument that names it.
const CONFIGURATION: &str = "authentication.json";
pub(crate) const ARGUMENT: &str = "--authentication-config=/pki/authentication.json";
/// A server makes its keys at its first start.
pub(crate) const START: Duration = Duration::from_secs(120);

/// Where things lie in the sandboxes.
const PROGRAMS: &str = "/programs";
const DATA: &str = "/data";

/// The processes; they end with this.
pub(crate) struct Spire {
    server: Daemon,
    provider: Option<Daemon>,
    /// Its command line, to which words are added.
    command: Sandbox,
    /// What the provider is started with, when the server answers.
    waiting: Sandbox,
    folder: PathBuf,
}

impl Spire {
    /// Starts the server; its data and logs are in a folder of its own.
    pub(crate) fn start(setup: &Setup, field: &Field) -> Result<Self, ClusterError> {
        let programs = setup.programs.spire.as_ref().ok_or_else(|| {
            ClusterError::Unexpected("the programs of SPIRE were made for this cluster".to_owned())
        })?;
        let (folder, pki) = (setup.folder.join("spire"), setup.folder.join("pki"));
        fs::create_dir_all(&folder).map_err(ClusterError::file("make", &folder))?;
        let put =
            |path: PathBuf, text: &str| fs::write(&path, text).map_err(ClusterError::file("write", &path));
        put(folder.join("server.conf"), &server_configuration())?;
        put(folder.join("oidc.conf"), &provider_configuration())?;
        let ca = pki.join("ca.pem");
        let ca = fs::read_to_string(&ca).map_err(ClusterError::file("read", &ca))?;
        put(pki.join(CONFIGURATION), &format!("{:#}\n", authentication(&ca)))?;
        let program = |name: &str| {
            let sandbox = field.sandbox(&setup.tools, &format!("{PROGRAMS}/{name}"));
            sandbox.read_only(programs, PROGRAMS).writable(&folder, DATA)
        };
        let server = program("spire-server").args(["run", "-config", "/data/server.conf"]);
        Ok(Self {
            server: Daemon::start("spire-server", server, &folder)?,
            provider: None,
            command: program("spire-server"),
            waiting: program("oidc-discovery-provider")
                .read_only(&pki, "/pki")
                .args(["-config", "/data/oidc.conf"]),
            folder,
        })
    }

    /// Whether the server answers; the provider is started when it does.
    pub(crate) fn is_ready(&mut self) -> Result<bool, ClusterError> {
        self.server.check()?;
        let answers = self.ask(&["healthcheck"]).is_ok();
        if answers && self.provider.is_none() {
            let waiting = self.waiting.clone();
            self.provider = Some(Daemon::start("oidc-discovery-provider", waiting, &self.folder)?);
        }
        Ok(answers)
    }

    /// The trust bundle in PEM.
    pub(crate) fn bundle(&self) -> Result<String, ClusterError> {
        self.ask(&["bundle", "show"])
    }

    /// A token for one host.
    pub(crate) fn token(&self) -> Result<String, ClusterError> {
        let said = self.ask(&["token", "generate", "-ttl", "7200", "-output", "json"])?;
        let answer: Value = serde_json::from_str(&said).unwrap_or_default();
        let token = answer["value"].as_str().map(str::to_owned);
        token.ok_or_else(|| ClusterError::Unexpected("the server gives a token".to_owned()))
    }

    /// Calls the service kubelet of the host with a token by the name of a node.
    pub(crate) fn name_node(&self, token: &str, node: &str) -> Result<(), ClusterError> {
        let words = [
            "entry",
            "create",
            "-parentID",
            &host_of(token),
            "-spiffeID",
            &format!("{NODE}{node}"),
            "-selector",
            "lepton:service:kubelet",
            // Soon over, so that a host that is put out is out.
            "-jwtSVIDTTL",
            "60",
        ];
        self.ask(&words).map(drop)
    }

    /// Puts that host out.
    pub(crate) fn evict(&self, token: &str) -> Result<(), ClusterError> {
        self.ask(&["agent", "evict", "-spiffeID", &host_of(token)]).map(drop)
    }

    /// The ends of logs.
    pub(crate) fn details(&self) -> String {
        let provider = self.provider.as_ref().map(Daemon::tail).unwrap_or_default();
        format!("--- spire-server\n{}\n--- oidc-discovery-provider\n{provider}", self.server.tail())
    }

    /// Runs a command of the server's command line.
    fn ask(&self, words: &[&str]) -> Result<String, ClusterError> {
        let command =
            self.command.clone().args(words.iter().copied()).args(["-socketPath", "/data/api.sock"]);
        Ok(command.process().output()?)
    }
}

/// What a host is called that joined with a token.
fn host_of(token: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/spire/agent/join_token/{token}")
}

fn server_configuration() -> String {
    format!(
        r#"server {{
  bind_address = "{SERVER}"
  bind_port = "8081"
  socket_path = "/data/api.sock"
  data_dir = "/data"
  trust_domain = "{TRUST_DOMAIN}"
  log_level = "DEBUG"
  jwt_issuer = "{ISSUER}"
  experimental {{ cache_reload_interval = "1s" }}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "/data/store.sqlite3" }} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "/data/keys.json" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"#
    )
}

/// It shows the API server's own certificate, because both are at one address.
fn provider_configuration() -> String {
    format!(
        r#"domains = ["{SERVER}"]
jwt_issuer = "{ISSUER}"
serving_cert_file {{
  cert_file_path = "/pki/server.pem"
  key_file_path = "/pki/server.key"
  addr = "{SERVER}:8443"
}}
server_api {{ address = "unix:///data/api.sock" poll_interval = "5s" }}
"#
    )
}

/// Tells the API server to believe what SPIRE says of nodes, and of nobody else: the SPIFFE ID of a node becomes its name.
/// The tests of the identity client have Kubernetes' own authenticator judge the same file.
fn authentication(ca: &str) -> Value {
    let mut document: Value =
        serde_json::from_str(include_str!("authentication.json")).expect("it is a file of ours");
    document["jwt"][0]["issuer"]["certificateAuthority"] = ca.into();
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_believes_nodes_alone() {
        let document = authentication("PEM");
        let jwt = &document["jwt"][0];
        let name = jwt["claimMappings"]["username"]["expression"].as_str().unwrap();
        assert!(name.contains(&format!("replace(\"{NODE}\", \"system:node:\")")), "{name}");
        let rule = jwt["claimValidationRules"][0]["expression"].as_str().unwrap();
        assert!(rule.contains(&format!("startsWith(\"{NODE}\")")), "{rule}");
        assert_eq!(
            (&jwt["issuer"]["url"], &jwt["issuer"]["certificateAuthority"]),
            (&ISSUER.into(), &"PEM".into())
        );
        assert!(ARGUMENT.ends_with(CONFIGURATION));
        // The provider says of itself what the API server expects, and the server signs as that.
        for text in [server_configuration(), provider_configuration()] {
            assert!(text.contains(&format!("jwt_issuer = \"{ISSUER}\"")), "{text}");
        }
        assert!(ISSUER.ends_with(":8443") && provider_configuration().contains(":8443\""));
        assert!(ADDRESS.starts_with(SERVER) && server_configuration().contains("8081"));
    }
}
