//! The registries of the machine config in the words of the image store. A mistake there is said and left out: a host with a
//! bad config must still run what it has.

use std::path::Path;

use lepton_config::{MachineConfig, RegistryEndpoint};
use lepton_runtime_images::{Endpoint, RegistryConfig};

/// Registries of the machine config in that file, and one sentence for each thing that is left out.
pub(crate) fn read(path: &Path) -> (Vec<RegistryConfig>, Vec<String>) {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Default::default(),
        Err(error) => return (Vec::new(), vec![format!("cannot read {}: {error}", path.display())]),
    };
    let parsed = lepton_config::parse_bytes(&path.display().to_string(), &bytes);
    (of_config(&parsed.config), parsed.problems.iter().map(ToString::to_string).collect())
}

fn of_config(config: &MachineConfig) -> Vec<RegistryConfig> {
    let registries = config.registries.iter().map(|registry| RegistryConfig {
        host: registry.host.as_str().to_owned(),
        endpoints: registry.endpoints.iter().map(endpoint).collect(),
        only_endpoints: registry.only_endpoints == Some(true),
    });
    registries.collect()
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
        assert_eq!(read(&path), (Vec::new(), Vec::new()), "a host without a config");
        let text = r#"
            [[registries]]
            host = "docker.io"
            only-endpoints = true
            endpoints = [{ url = "http://192.0.2.5:5000/hub", pull-credentials = true }, { url = "ftp://192.0.2.6" }]
            [[registries]]
            host = "registry.example:5000"
            endpoints = [{ url = "https://registry.example:5000", ca-file = "/etc/ca.pem", user = "robot", password = "secret" }]
        "#;
        std::fs::write(&path, text).unwrap();
        let (registries, problems) = read(&path);
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
}
