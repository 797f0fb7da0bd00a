//! What the machine config says about the API. A mistake there closes it on the network: whom to believe is never guessed.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use lepton_config::MachineConfig as Config;
use lepton_spiffe::{Bundle, TrustDomain};

use crate::trusted::Clients;

/// How the API is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Addresses on the network.
    pub(crate) listen: Vec<SocketAddr>,
    /// Whom to believe there.
    pub(crate) clients: Clients,
}

impl Settings {
    /// Reads the tables `[host]` and `[identity]`; with it comes what is wrong.
    fn of(config: &Config) -> (Self, Option<String>) {
        let host = &config.host;
        let listen: Vec<SocketAddr> = host.listen.iter().map(|address| address.get()).collect();
        if listen.is_empty() {
            return (Self::default(), None);
        }
        let domain = host.trust_domain.as_ref().or(config.identity.trust_domain.as_ref());
        let clients = match (&host.trust_bundle, domain) {
            (Some(pem), Some(domain)) => bundle(&domain.to_string(), pem.to_string().as_bytes()),
            (Some(_), None) => {
                Err("host.trust-bundle needs host.trust-domain or identity.trust-domain".to_owned())
            }
            // The bundle of a host that is its own authority leads to nothing but itself.
            (None, _) if config.identity.servers.is_empty() => {
                Err("nobody to believe: host.listen needs host.trust-bundle, or identity.servers".to_owned())
            }
            (None, Some(domain))
                if host.trust_domain.is_some() && host.trust_domain != config.identity.trust_domain =>
            {
                Err(format!("host.trust-domain is {domain}, and there is no host.trust-bundle for it"))
            }
            (None, _) => Ok(Clients::OwnDomain),
        };
        match clients {
            Ok(clients) => (Self { listen, clients }, None),
            Err(why) => (Self::default(), Some(format!("the API does not listen on the network: {why}"))),
        }
    }
}

fn bundle(domain: &str, pem: &[u8]) -> Result<Clients, String> {
    let domain: TrustDomain = domain.parse().map_err(|error| format!("host.trust-domain: {error}"))?;
    let bundle = Bundle::from_pem(domain, pem).map_err(|error| format!("host.trust-bundle: {error}"))?;
    Ok(Clients::Bundle(Arc::new(bundle)))
}

/// The machine config's file, which PID 1 writes anew when the config changes.
#[derive(Debug)]
pub(crate) struct MachineConfig {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
    was_read: bool,
}

impl MachineConfig {
    /// It was not read yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, stamp: None, was_read: false }
    }

    /// What it says now, and what is wrong with it; nothing when the file is the one that was read before.
    pub(crate) fn changed(&mut self) -> Option<(Settings, Vec<String>)> {
        let stamp = stamp(&self.path);
        if self.was_read && stamp == self.stamp {
            return None;
        }
        (self.stamp, self.was_read) = (stamp, true);
        Some(match fs::read(&self.path) {
            Ok(bytes) => {
                let parsed = lepton_config::parse_bytes(&self.path.display().to_string(), &bytes);
                let (settings, wrong) = Settings::of(&parsed.config);
                (settings, parsed.problems.iter().map(ToString::to_string).chain(wrong).collect())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Default::default(),
            Err(error) => {
                (Settings::default(), vec![format!("cannot read {}: {error}", self.path.display())])
            }
        })
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
    use crate::testing::Authority;

    fn settings(text: &str) -> (Settings, Vec<String>) {
        let parsed = lepton_config::parse("x", text);
        let (settings, wrong) = Settings::of(&parsed.config);
        (settings, parsed.problems.iter().map(ToString::to_string).chain(wrong).collect())
    }

    #[test]
    fn nothing_listens_for_nobody() {
        let pem = Authority::new("a").bundle("a").to_pem();
        let listen = "[host]\nlisten = ['127.0.0.1:7443']\n";
        assert_eq!(settings(""), Default::default());
        for bad in [
            listen.to_owned(),
            format!("{listen}[identity]\ntrust-domain = 'a'\n"),
            format!("{listen}trust-bundle = '''{pem}'''\n"),
            format!(
                "{listen}trust-domain = 'a'\ntrust-bundle = '''-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'''\n"
            ),
            format!(
                "{listen}trust-domain = 'a'\n[identity]\ntrust-domain = 'b'\nservers = ['192.0.2.1:8081']\n"
            ),
        ] {
            let (settings, wrong) = settings(&bad);
            assert_eq!((settings, wrong.is_empty()), (Settings::default(), false), "{bad}");
        }
    }

    #[test]
    fn whom_to_believe() {
        let bundle = Authority::new("a").bundle("a");
        let listen = "[host]\nlisten = ['127.0.0.1:7443', '[::]:7443']\n";
        for good in [
            format!("{listen}trust-domain = 'a'\ntrust-bundle = '''{}'''\n", bundle.to_pem()),
            format!("{listen}trust-bundle = '''{}'''\n[identity]\ntrust-domain = 'a'\n", bundle.to_pem()),
        ] {
            let (settings, wrong) = settings(&good);
            assert_eq!(wrong, Vec::<String>::new());
            assert_eq!(settings.listen.len(), 2);
            assert_eq!(settings.clients, Clients::Bundle(Arc::new(bundle.clone())));
        }
    }
}
