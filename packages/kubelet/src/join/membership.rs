//! Which cluster the credentials on this host are of: those of another one are forgotten, never shown to a stranger.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;
use crate::files;
use crate::places::Places;
use crate::role::Role;

/// What kubelet keeps in its folder about its pods and its node; it means nothing elsewhere.
const STATE: [&str; 6] = [
    "cpu_manager_state",
    "memory_manager_state",
    "dra_manager_state",
    "allocated_pods_state",
    "actuated_pods_state",
    "device-plugins/kubelet_internal_checkpoint",
];

/// Removes what an earlier role left, when this is another one, and remembers this one.
pub(super) fn keep_or_forget(role: &Role, node_name: &str, places: &Places) -> Result<(), Failure> {
    files::make_folder(&places.run)?;
    files::make_folder(&places.state)?;
    let wanted = identity(role, node_name).to_string();
    let path = places.membership();
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    if known != wanted {
        for gone in [places.certificates(), places.kubeconfig(), places.bootstrap(), places.client_ca()] {
            files::remove(&gone)?;
        }
        for name in STATE {
            files::remove(&places.state.join(name))?;
        }
        // Last: a power cut in between leaves the old name, and everything is removed again.
        files::write(&path, wanted.as_bytes())?;
    }
    Ok(())
}

/// The token is left out: another one opens the same cluster.
fn identity(role: &Role, node_name: &str) -> Value {
    match role {
        Role::Alone => json!({ "alone": true }),
        Role::Token { server, ca_hash, .. } => {
            json!({ "server": server, "ca-hash": ca_hash, "node": node_name })
        }
        Role::Identity { server, ca_hash, .. } => {
            json!({ "server": server, "ca-hash": ca_hash, "identity": true, "node": node_name })
        }
        Role::Kubeconfig(text) => {
            let digest: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "kubeconfig": format!("sha256:{digest}"), "node": node_name })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn places(folder: &std::path::Path) -> Places {
        Places { run: folder.join("run"), state: folder.join("state"), ..Places::of_host() }
    }

    fn token(server: &str, token: &str) -> Role {
        Role::Token { server: server.to_owned(), token: token.to_owned(), ca_hash: "sha256:0".to_owned() }
    }

    #[test]
    fn a_certificate_is_of_no_use_to_a_host_that_joins_with_its_identity() {
        let by_token = identity(&token("https://a", "1"), "n");
        let (server, ca_hash) = ("https://a".to_owned(), "sha256:0".to_owned());
        let by_identity = |audience: &str| {
            let audience = audience.to_owned();
            identity(&Role::Identity { server: server.clone(), ca_hash: ca_hash.clone(), audience }, "n")
        };
        assert_ne!(by_token, by_identity("kubernetes"));
        assert_eq!(by_identity("other"), by_identity("kubernetes"));
    }

    #[test]
    fn credentials_last_as_long_as_the_membership() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let certificate = places.certificates().join("kubelet-client-current.pem");
        let join = |role: &Role, node: &str| {
            keep_or_forget(role, node, &places).unwrap();
            let was_kept = certificate.exists() && places.kubeconfig().exists();
            fs::create_dir_all(places.certificates()).unwrap();
            fs::write(&certificate, "x").unwrap();
            fs::write(places.kubeconfig(), "x").unwrap();
            was_kept
        };
        assert!(!join(&token("https://a", "1"), "n"));
        assert!(join(&token("https://a", "1"), "n"), "a restart");
        assert!(join(&token("https://a", "2"), "n"), "another token of the same cluster");
        assert!(!join(&token("https://a", "2"), "m"), "another name");
        assert!(!join(&token("https://b", "2"), "m"), "another cluster");
        assert!(!join(&Role::Alone, "m"), "left");
        assert!(!join(&Role::Kubeconfig("k".to_owned()), "m"));
        assert!(join(&Role::Kubeconfig("k".to_owned()), "m"));
        assert!(!join(&Role::Kubeconfig("l".to_owned()), "m"));
        let kept = fs::read_to_string(places.membership()).unwrap();
        assert!(!kept.contains("\"l\""), "{kept}");
    }
}
