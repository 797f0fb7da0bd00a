//! What the machine config says about routes. A mistake there is said and left out: a host with a bad config must still
//! serve what it has.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lepton_config::{ProxyNetwork, RouteHost, Routing};
use rustls::ServerConfig;

use crate::tls;

/// Ports of the web.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;
/// How long an instance has for the head of its response.
const RESPONSE: Duration = Duration::from_secs(60);

/// How the router serves.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Plain.
    pub(crate) listen: Vec<SocketAddr>,
    /// With TLS.
    pub(crate) listen_tls: Vec<SocketAddr>,
    /// Whether the machine config names either: then it listens without pods, too.
    pub(crate) is_told_where: bool,
    /// With the certificates, if there are any.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Host names that there are certificates for.
    certified: Vec<RouteHost>,
    /// Whether plain requests for those are sent to HTTPS.
    pub(crate) redirect_https: bool,
    /// Proxies that are believed.
    pub(crate) trusted: Vec<ProxyNetwork>,
    /// From the last byte of a request's body that was passed on to the response's head.
    pub(crate) response_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(&Routing::default()).0
    }
}

impl Settings {
    /// Reads a `[route]` table; with it comes one sentence for each thing that is left out.
    fn of(routing: &Routing) -> (Self, Vec<String>) {
        let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let or_any = |addresses: &[lepton_config::ListenAddress], port| {
            if addresses.is_empty() { vec![any(port)] } else { addresses.iter().map(|it| it.get()).collect() }
        };
        let (tls, problems) = tls::server(&routing.certificates);
        let is_certified = tls.is_some();
        let settings = Self {
            listen: or_any(&routing.listen, HTTP),
            listen_tls: if is_certified { or_any(&routing.listen_tls, HTTPS) } else { Vec::new() },
            is_told_where: !routing.listen.is_empty() || !routing.listen_tls.is_empty(),
            tls,
            certified: routing.certificates.iter().flat_map(|it| it.hosts.clone()).collect(),
            redirect_https: is_certified && routing.redirect_https == Some(true),
            trusted: routing.trusted_proxies.clone(),
            response_timeout: routing
                .response_timeout_s
                .map_or(RESPONSE, |seconds| Duration::from_secs(seconds.get().into())),
        };
        (settings, problems)
    }

    /// Whether there is a certificate for that host.
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.certified.iter().any(|name| tls::is_for(name.as_str(), host))
    }
}

/// The machine config's file, which PID 1 writes anew when the config changes.
#[derive(Debug)]
pub(crate) struct MachineConfig {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
}

impl MachineConfig {
    /// It was not read yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, stamp: None }
    }

    /// What it says now.
    pub(crate) fn read(&mut self) -> (Settings, Vec<String>) {
        self.stamp = stamp(&self.path);
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Default::default(),
            Err(error) => {
                let problem = format!("cannot read {}: {error}", self.path.display());
                return (Settings::default(), vec![problem]);
            }
        };
        let parsed = lepton_config::parse_bytes(&self.path.display().to_string(), &bytes);
        let (settings, problems) = Settings::of(&parsed.config.route);
        (settings, parsed.problems.iter().map(ToString::to_string).chain(problems).collect())
    }

    /// Whether it has changed since it was read.
    pub(crate) fn has_changed(&self) -> bool {
        stamp(&self.path) != self.stamp
    }
}

/// What changes with a file.
pub(crate) fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let mut config = MachineConfig::new(path.clone());
        let (settings, problems) = config.read();
        assert_eq!(
            (settings.listen.as_slice(), problems.as_slice()),
            (&["[::]:80".parse().unwrap()][..], &[][..])
        );
        assert!(settings.tls.is_none() && settings.listen_tls.is_empty() && !settings.is_told_where);
        assert!(!config.has_changed());

        let pem = |kind: &str| format!("-----BEGIN {kind}-----\nMIIB\n-----END {kind}-----\n");
        let text = format!(
            "[route]\nlisten = [\"127.0.0.1:8080\", \"nowhere\"]\nredirect-https = true\nresponse-timeout-s = 5\n\
             [[route.certificates]]\nhosts = [\"app.example\"]\nchain = '''{}'''\nkey = '''{}'''\n",
            pem("CERTIFICATE"),
            pem("PRIVATE KEY")
        );
        fs::write(&path, text).unwrap();
        assert!(config.has_changed());
        let (settings, problems) = config.read();
        assert_eq!(settings.listen, ["127.0.0.1:8080".parse().unwrap()]);
        assert!(settings.is_told_where);
        assert_eq!(settings.response_timeout, Duration::from_secs(5));
        assert!(!settings.redirect_https, "there is no good certificate");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("nowhere") && problems[1].contains("app.example"), "{problems:?}");
    }
}
