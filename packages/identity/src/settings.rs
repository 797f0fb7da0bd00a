//! What the machine config says about the host's identity. A mistake there is said, and what it is in is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use lepton_config::{Identity, IdentityEntry, IdentityFile, Management};
use lepton_spiffe::{Secret, TrustDomain};
use ring::digest::{SHA256, digest};

use crate::attest::{JoinTokenAttestor, NodeAttestor, X509popAttestor};
use crate::local::AuthorityTexts;

/// Where the trust bundle comes from at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// It is in the machine config.
    Pem(String),
    /// It is fetched, and known by its digest.
    Url {
        /// Where it is.
        url: String,
        /// SHA-256, 64 hexadecimal digits.
        sha256: String,
    },
    /// Nowhere.
    None,
}

/// The settings.
#[derive(Debug)]
pub(crate) struct Settings {
    /// None where the host makes up its own.
    pub(crate) trust_domain: Option<TrustDomain>,
    /// The preferred one first.
    pub(crate) servers: Vec<String>,
    pub(crate) roots: Roots,
    /// How to join.
    pub(crate) attestor: Option<Arc<dyn NodeAttestor>>,
    /// Whether any server is believed at first.
    pub(crate) is_insecure: bool,
    pub(crate) site: Option<String>,
    /// What the host issues with, instead of an authority that it makes itself.
    pub(crate) authority: Option<AuthorityTexts>,
    /// Whether the management API is on the network, and so needs the host's identity.
    pub(crate) has_api: bool,
    pub(crate) entries: Vec<IdentityEntry>,
    pub(crate) files: Vec<IdentityFile>,
    /// Changes with what a host joins by; it tells no secret.
    pub(crate) membership: String,
}

impl Settings {
    /// Reads an `[identity]` table; with it comes one sentence for each thing that is left out.
    pub(crate) fn of(identity: &Identity, api: &Management, allow_insecure: bool) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let domain = identity.trust_domain.as_ref().map(|name| name.as_str().parse());
        let trust_domain = domain.transpose().unwrap_or_else(|error: lepton_spiffe::TrustDomainError| {
            problems.push(format!("identity.trust-domain: {error}"));
            None
        });
        let servers = identity.servers.iter().map(ToString::to_string).collect::<Vec<_>>();
        let roots = match (&identity.trust_bundle, &identity.trust_bundle_url, &identity.trust_bundle_sha256)
        {
            (Some(pem), ..) => Roots::Pem(pem.as_str().to_owned()),
            (None, Some(url), Some(sha256)) => {
                Roots::Url { url: url.to_string(), sha256: sha256.to_string() }
            }
            _ => Roots::None,
        };
        let attestor: Option<Arc<dyn NodeAttestor>> = match (&identity.x509pop, &identity.join_token) {
            (Some(pop), _) => match X509popAttestor::new(pop.certificate.as_str(), pop.key.as_str()) {
                Ok(attestor) => Some(Arc::new(attestor)),
                Err(error) => {
                    problems.push(error.to_string());
                    None
                }
            },
            (None, Some(token)) => {
                Some(Arc::new(JoinTokenAttestor::new(Secret::new(token.as_str().to_owned()))))
            }
            (None, None) => None,
        };
        let wants_insecure = identity.insecure_bootstrap == Some(true);
        if wants_insecure && !allow_insecure {
            problems.push("identity.insecure-bootstrap: this image refuses it; give trust-bundle".to_owned());
        }
        let text = (
            &identity.trust_domain,
            &identity.servers,
            &identity.trust_bundle,
            &identity.join_token,
            &identity.x509pop,
        );
        let digest = digest(&SHA256, serde_json::to_string(&text).unwrap_or_default().as_bytes());
        let settings = Self {
            trust_domain,
            servers,
            roots,
            attestor,
            is_insecure: wants_insecure && allow_insecure,
            site: identity.site.as_ref().map(ToString::to_string),
            authority: identity.authority.as_ref().map(|given| AuthorityTexts {
                certificate: given.certificate.as_str().to_owned(),
                key: Secret::new(given.key.as_str().to_owned()),
            }),
            has_api: !api.listen.is_empty(),
            entries: identity.entries.clone(),
            files: identity.files.clone(),
            membership: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        (settings, problems)
    }
}

/// The machine config's file, which PID 1 writes anew when the config changes.
#[derive(Debug)]
pub(crate) struct MachineConfig {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
    allow_insecure: bool,
}

impl MachineConfig {
    /// It was not read yet.
    pub(crate) fn new(path: PathBuf, allow_insecure: bool) -> Self {
        Self { path, stamp: None, allow_insecure }
    }

    /// What it says now.
    pub(crate) fn read(&mut self) -> (Settings, Vec<String>) {
        self.stamp = stamp(&self.path);
        let mut problems = Vec::new();
        let bytes = fs::read(&self.path).unwrap_or_else(|error| {
            if error.kind() != std::io::ErrorKind::NotFound {
                problems.push(format!("cannot read {}: {error}", self.path.display()));
            }
            Vec::new()
        });
        let bytes = zeroize::Zeroizing::new(bytes);
        let parsed = lepton_config::parse_bytes(&self.path.display().to_string(), &bytes);
        let (settings, more) =
            Settings::of(&parsed.config.identity, &parsed.config.host, self.allow_insecure);
        // PID 1 has said what is wrong with the rest.
        let of_ours = parsed.problems.iter().map(ToString::to_string).filter(|it| it.contains("identity"));
        problems.extend(of_ours.chain(more));
        (settings, problems)
    }

    /// Whether it has changed since it was read.
    pub(crate) fn has_changed(&self) -> bool {
        stamp(&self.path) != self.stamp
    }
}

/// What changes with a file.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, allow_insecure: bool) -> (Settings, Vec<String>) {
        let parsed = lepton_config::parse("x", text);
        assert_eq!(parsed.problems, []);
        Settings::of(&parsed.config.identity, &parsed.config.host, allow_insecure)
    }

    #[test]
    fn insecure_bootstrap_is_for_images_that_allow_it() {
        let text = "[identity]\ninsecure-bootstrap = true";
        let (settings, problems) = read(text, false);
        assert!(!settings.is_insecure && problems[0].contains("this image refuses it"), "{problems:?}");
        let (settings, problems) = read(text, true);
        assert!(settings.is_insecure && problems.is_empty());
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "[identity]\ntrust-domain = 'td'\nservers = ['a:1']\njoin-token = 'very-secret'";
        let (settings, _) = read(text, false);
        assert!(!format!("{settings:?}").contains("very-secret"));
        assert_eq!(settings.attestor.as_ref().unwrap().name(), "join_token");
        let (other, _) = read(&text.replace("very", "other"), false);
        assert_ne!(settings.membership, other.membership);
    }

    #[test]
    fn the_key_of_an_authority_is_not_shown() {
        let pem = |text: &str| format!("'''-----BEGIN A-----\n{text}\n-----END A-----'''");
        let (certificate, key) = (pem("public"), pem("hidden"));
        let text = format!(
            "[identity]\ntrust-domain = 'td'\nauthority = {{ certificate = {certificate}, key = {key} }}"
        );
        let (settings, problems) = read(&text, false);
        assert!(settings.authority.is_some() && !settings.has_api && problems.is_empty());
        assert!(!format!("{settings:?}").contains("hidden"));
        assert!(read("[host]\nlisten = ['[::]:7443']", false).0.has_api);
    }

    #[test]
    fn a_bad_certificate_is_said() {
        let pem = "'''-----BEGIN A-----\n-----END A-----'''";
        let (settings, problems) =
            read(&format!("[identity]\nx509pop = {{ certificate = {pem}, key = {pem} }}"), false);
        assert!(settings.attestor.is_none() && problems[0].contains("x509pop.certificate"), "{problems:?}");
    }
}
