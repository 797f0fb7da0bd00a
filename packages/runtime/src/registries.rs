//! The registries and proxies of the machine config in the words of the image store. A mistake there is said and left out: a host with a
//! bad config must still run what it has.

use std::path::Path;

use lepton_config::{NoProxy, Proxy, ProxyUrl, RegistryEndpoint};
use lepton_runtime_images::{Endpoint, Proxies, RegistryConfig};

/// What the machine config says of pulls.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ways {
    pub(crate) registries: Vec<RegistryConfig>,
    pub(crate) proxies: Proxies,
    /// One sentence for each thing that is left out.
    pub(crate) problems: Vec<String>,
}

/// Reads the machine config in that file.
pub(crate) fn read(path: &Path) -> Ways {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ways::default(),
        Err(error) => {
            let problems = vec![format!("cannot read {}: {error}", path.display())];
            return Ways { problems, ..Ways::default() };
        }
    };
    let parsed = lepton_config::parse_bytes(&path.display().to_string(), &bytes);
    let registries = parsed.config.registries.iter().map(|registry| RegistryConfig {
        host: registry.host.as_str().to_owned(),
        endpoints: registry.endpoints.iter().map(endpoint).collect(),
        only_endpoints: registry.is_only_endpoints(),
    });
    Ways {
        registries: registries.collect(),
        proxies: proxies(&parsed.config.proxy),
        problems: parsed.problems.iter().map(ToString::to_string).collect(),
    }
}

fn proxies(proxy: &Proxy) -> Proxies {
    let text = |url: &Option<ProxyUrl>| url.as_ref().map(|url| url.as_str().to_owned());
    let no: Vec<&str> = proxy.no_proxy.iter().map(NoProxy::as_str).collect();
    Proxies { http: text(&proxy.http), https: text(&proxy.https), no: no.join(",") }
}

fn endpoint(endpoint: &RegistryEndpoint) -> Endpoint {
    Endpoint {
        url: endpoint.url.as_str().to_owned(),
        ca_file: endpoint.ca_file.as_ref().map(|file| file.as_str().into()),
        skip_verify: false,
        credentials: endpoint.user.clone().zip(endpoint.password.clone()),
        gets_credentials: endpoint.pull_credentials == Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_voids_its_entry_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(read(&path), Ways::default(), "a host without a config");
        let text = r#"
            [[registries]]
            host = "docker.io"
            only-endpoints = true
            endpoints = [{ url = "http://192.0.2.5:5000/hub", pull-credentials = true }, { url = "ftp://192.0.2.6" }]
            [[registries]]
            host = "registry.example:5000"
            endpoints = [{ url = "https://registry.example:5000", ca-file = "/etc/ca.pem", user = "robot", password = "secret" }]
            [proxy]
            http = "http://192.0.2.7:3128"
            https = "https://robot:secret@192.0.2.7"
            no-proxy = ["192.0.2.0/24", ".example.org", "http://x"]
        "#;
        std::fs::write(&path, text).unwrap();
        let Ways { registries, proxies, mut problems } = read(&path);
        // A proxy that is reached over TLS, and an address where a host is wanted.
        let of_proxies = problems.split_off(1);
        assert!(of_proxies[0].contains("proxy.https") && !of_proxies[0].contains("secret"), "{of_proxies:?}");
        assert!(of_proxies[1].contains("proxy.no-proxy[2]"), "{of_proxies:?}");
        let wanted = Proxies {
            http: Some("http://192.0.2.7:3128".to_owned()),
            https: None,
            no: "192.0.2.0/24,.example.org".to_owned(),
        };
        assert_eq!(proxies, wanted);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("registries[0].endpoints[1].url"), "{problems:?}");
        let hub = Endpoint {
            url: "http://192.0.2.5:5000/hub".to_owned(),
            gets_credentials: true,
            ..Endpoint::default()
        };
        let own = Endpoint {
            url: "https://registry.example:5000".to_owned(),
            ca_file: Some("/etc/ca.pem".into()),
            credentials: Some(("robot".to_owned(), "secret".to_owned())),
            ..Endpoint::default()
        };
        let wanted = [
            RegistryConfig { host: "docker.io".to_owned(), endpoints: vec![hub], only_endpoints: true },
            RegistryConfig {
                host: "registry.example:5000".to_owned(),
                endpoints: vec![own],
                only_endpoints: false,
            },
        ];
        assert_eq!(registries, wanted);
    }

    /// Of a registry that may be asked at its endpoints alone there is something left when none of them is right.
    #[test]
    fn nothing_is_asked_directly_against_the_wish() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let text =
            "[[registries]]\nhost = \"a.example\"\nonly-endpoints = true\nendpoints = [{ url = \"b\" }]\n";
        std::fs::write(&path, text).unwrap();
        let written = lepton_config::parse("x", text).config.to_toml();
        for text in [text, &written] {
            std::fs::write(&path, text).unwrap();
            let wanted =
                RegistryConfig { host: "a.example".to_owned(), endpoints: Vec::new(), only_endpoints: true };
            assert_eq!(read(&path).registries, [wanted], "{text}");
        }
    }
}
