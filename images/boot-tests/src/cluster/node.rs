//! A node: a guest with a disk for its state, whose machine config tells it which cluster to join.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::control::DNS;
use super::field::{Field, SERVER, address, tap};
use super::spire::{ADDRESS, TRUST_DOMAIN};
use super::{ClusterError, Setup};
use crate::guest::Guest;
use crate::machine::{Bus, Disk, DiskFormat, Firmware, Machine, Network, Writes};

/// Its disk, of which the file holds what was written: images of containers, and logs.
const DISK_BYTES: u64 = 8 << 30;
/// A registry on the node itself.
const LOCAL: &str = "localhost:5000";
/// A node lives as long as its cluster.
const LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How a node joins.
#[derive(Clone, Debug)]
pub(crate) enum Join {
    /// By a bootstrap token.
    Token {
        /// The token.
        token: String,
        /// Digest of the authority's public key.
        ca_hash: String,
    },
    /// By the identity that SPIRE's server gives the host.
    Identity {
        /// Digest of the public key of the cluster's authority.
        ca_hash: String,
        /// The trust bundle of the server.
        bundle: String,
        /// A token of the server.
        token: String,
    },
    /// By a kubeconfig, of which this is the text.
    Kubeconfig(String),
}

impl Join {
    /// The digest that is in it.
    pub(crate) fn ca_hash(&self) -> String {
        match self {
            Self::Token { ca_hash, .. } | Self::Identity { ca_hash, .. } => ca_hash.clone(),
            Self::Kubeconfig(_) => String::new(),
        }
    }
}

/// One node.
#[derive(Debug)]
pub struct Node {
    name: String,
    machine: Machine,
    tools: PathBuf,
    guest: Option<Guest>,
}

impl Node {
    /// Node number `number` (from 1), switched on; its disk is a file in `data`.
    pub(super) fn start(
        setup: &Setup,
        field: &Field,
        number: usize,
        join: &Join,
        data: &Path,
    ) -> Result<Self, ClusterError> {
        let disk = data.join(format!("node-{number}.raw"));
        File::create(&disk)
            .and_then(|file| file.set_len(DISK_BYTES))
            .map_err(ClusterError::file("make", &disk))?;
        let network = Network::Shared { pid: field.pid(), tap: tap(number), card: number };
        let machine = Machine::new(setup.arch)
            .firmware(Firmware::Bios)
            .kernel(setup.kernel.clone())
            .memory_mib(setup.memory_mib)
            .network(network)
            .disk(Disk::new(&disk, DiskFormat::Raw, Bus::VirtioBlk).writes(Writes::Keep))
            .fw_cfg("opt/lepton/config", &config(number, join));
        let mut node =
            Self { name: format!("node-{number}"), machine, tools: setup.tools.clone(), guest: None };
        node.power_on()?;
        Ok(node)
    }

    /// What the cluster calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Switches it on, when it is off.
    pub fn power_on(&mut self) -> Result<(), ClusterError> {
        if self.guest.as_mut().is_none_or(|guest| !guest.is_running()) {
            self.guest = Some(Guest::start(&self.machine, &self.tools, LIMIT)?);
        }
        Ok(())
    }

    /// Cuts its power.
    pub fn cut_power(&mut self) {
        self.guest = None;
    }

    /// Restarts it as an operator would, with a signal that it obeys, and keeps it off then.
    pub fn shut_down(&mut self) -> Result<(), ClusterError> {
        self.guest.take().map_or(Ok(()), Guest::restart).map_err(Into::into)
    }

    /// Everything that it has printed since it was switched on.
    pub fn console(&self) -> String {
        self.guest.as_ref().map(Guest::console).unwrap_or_default()
    }

    /// Fails when its machine ended.
    pub(super) fn check(&mut self) -> Result<(), ClusterError> {
        let Some(guest) = &mut self.guest else { return Ok(()) };
        if guest.is_running() {
            return Ok(());
        }
        Err(ClusterError::NodeEnded { name: self.name.clone(), console: guest.console() })
    }
}

/// The zone of a node: two of them in turn.
pub(super) fn zone(number: usize) -> &'static str {
    if number % 2 == 1 { "a" } else { "b" }
}

/// The machine config of a node.
fn config(number: usize, join: &Join) -> String {
    let ours = format!("{SERVER}:5000");
    // The last is a registry that a pod on the node itself serves: Kubernetes' specs have one that wants a password.
    let registries =
        [(ours.as_str(), ours.as_str()), ("registry.k8s.io", &ours), (LOCAL, LOCAL)].map(|(host, at)| {
            format!(
                "[[registries]]\nhost = \"{host}\"\nonly-endpoints = true\n\
             [[registries.endpoints]]\nurl = \"http://{at}\"\n"
            )
        });
    let identity = match join {
        Join::Identity { bundle, token, .. } => format!(
            "\n[identity]\ntrust-domain = \"{TRUST_DOMAIN}\"\nservers = [\"{ADDRESS}\"]\njoin-token = \"{token}\"\n\
             trust-bundle = '''\n{bundle}'''\n"
        ),
        _ => String::new(),
    };
    let join = match join {
        Join::Identity { ca_hash, .. } => {
            format!("server = \"https://{SERVER}:6443\"\nidentity = true\nca-hash = \"{ca_hash}\"\n")
        }
        Join::Token { token, ca_hash } => {
            format!("server = \"https://{SERVER}:6443\"\ntoken = \"{token}\"\nca-hash = \"{ca_hash}\"\n")
        }
        Join::Kubeconfig(text) => format!("kubeconfig = '''\n{text}'''\n"),
    };
    format!(
        r#"hostname = "node-{number}"

[[network.links]]
match = {{ name = "eth0" }}
addresses = ["{address}/24"]
gateways = ["{SERVER}"]

[state]
disk = "/dev/vda"

[kubelet]
{join}cluster-dns = ["{DNS}"]
labels = {{ "example.org/rack" = "r{number}" }}
taints = ["example.org/rack=r{number}:PreferNoSchedule"]
zone = "{zone}"
{identity}
{registries}"#,
        address = address(number),
        zone = zone(number),
        registries = registries.concat(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_config_is_one() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let join = Join::Token { token: "abcdef.0123456789abcdef".to_owned(), ca_hash: digest.clone() };
        let text = config(2, &join);
        let value: toml::Value = toml::from_str(&text).unwrap();
        assert_eq!(value["kubelet"]["zone"].as_str(), Some("b"));
        assert_eq!(value["kubelet"]["ca-hash"].as_str(), Some(digest.as_str()));
        assert_eq!(value["registries"].as_array().map(Vec::len), Some(3));
        assert_eq!(value["registries"][2]["endpoints"][0]["url"].as_str(), Some("http://localhost:5000"));
        assert_eq!(value["network"]["links"][0]["addresses"][0].as_str(), Some("192.0.2.12/24"));
        let join = Join::Identity {
            ca_hash: digest.clone(),
            bundle: "-----BEGIN CERTIFICATE-----\n".to_owned(),
            token: "secret".to_owned(),
        };
        let value: toml::Value = toml::from_str(&config(2, &join)).unwrap();
        assert_eq!(value["kubelet"]["identity"].as_bool(), Some(true));
        assert_eq!(value["kubelet"]["ca-hash"].as_str(), Some(digest.as_str()));
        assert_eq!(value["identity"]["servers"][0].as_str(), Some(ADDRESS));
        assert_eq!(value["identity"]["trust-bundle"].as_str(), Some("-----BEGIN CERTIFICATE-----\n"));
        assert_eq!(value["registries"].as_array().map(Vec::len), Some(3));
        let text = config(3, &Join::Kubeconfig("{\"a\": \"b\"}\n".to_owned()));
        let value: toml::Value = toml::from_str(&text).unwrap();
        assert_eq!(value["kubelet"]["kubeconfig"].as_str(), Some("{\"a\": \"b\"}\n"));
        assert_eq!(value["kubelet"]["zone"].as_str(), Some("a"));
    }
}
