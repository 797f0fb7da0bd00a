//! Alone or in a cluster: what the machine config asks for. Pure.

use lepton_config::{Kubelet, MachineConfig};

/// Whom the API server expects JWT-SVIDs to be for, unless it is said.
const AUDIENCE: &str = "kubernetes";
/// What a host is called that nobody named; several may be called so.
const UNNAMED: &str = "lepton";

/// Where kubelet's pods come from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// From manifests of this host alone.
    Alone,
    /// From a cluster that a bootstrap token opens.
    Token {
        /// Its API server.
        server: String,
        /// The token.
        token: String,
        /// Digest of the public key of its authority.
        ca_hash: String,
    },
    /// From a cluster that trusts who gives this host its identity.
    Identity {
        /// Its API server.
        server: String,
        /// Digest of the public key of its authority.
        ca_hash: String,
        /// Whom the JWT-SVIDs are for that it expects.
        audience: String,
    },
    /// From a cluster that a kubeconfig describes.
    Kubeconfig(String),
}

impl Role {
    /// What the config asks for; it never has half a role.
    pub(crate) fn of(kubelet: &Kubelet) -> Self {
        if let Some(text) = &kubelet.kubeconfig {
            return Self::Kubeconfig(text.clone());
        }
        if let (Some(server), Some(true), Some(ca_hash)) =
            (&kubelet.server, kubelet.identity, &kubelet.ca_hash)
        {
            return Self::Identity {
                server: server.to_string(),
                ca_hash: ca_hash.to_string(),
                audience: kubelet
                    .identity_audience
                    .as_ref()
                    .map_or(AUDIENCE, |text| text.as_str())
                    .to_owned(),
            };
        }
        match (&kubelet.server, &kubelet.token, &kubelet.ca_hash) {
            (Some(server), Some(token), Some(ca_hash)) => Self::Token {
                server: server.to_string(),
                token: token.to_string(),
                ca_hash: ca_hash.to_string(),
            },
            _ => Self::Alone,
        }
    }

    /// Whether kubelet has a certificate to show to its API server, which it asks for and renews by itself.
    pub(crate) fn has_certificate(&self) -> bool {
        matches!(self, Self::Token { .. } | Self::Kubeconfig(_))
    }

    /// Whether there is no API server.
    pub(crate) fn is_alone(&self) -> bool {
        *self == Self::Alone
    }
}

/// Tokens and kubeconfigs are secrets.
impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Alone => f.write_str("Alone"),
            Self::Token { server, .. } => write!(f, "Token({server})"),
            Self::Identity { server, .. } => write!(f, "Identity({server})"),
            Self::Kubeconfig(_) => f.write_str("Kubeconfig"),
        }
    }
}

/// The node's name; nothing when several hosts could have the same one.
///
/// A host alone keeps one name for all its life, whatever DHCP calls it later: pods are told apart by it, too, and a new
/// name would start every one of them anew.
pub(crate) fn node_name(config: &MachineConfig, role: &Role, current: &str) -> Option<String> {
    let given = config.kubelet.node_name.as_ref().map(ToString::to_string);
    let configured = config.hostname.as_ref().map(|name| name.to_string().to_lowercase());
    let known = given.or(configured);
    if role.is_alone() {
        return Some(known.unwrap_or_else(|| UNNAMED.to_owned()));
    }
    known.or_else(|| (current != UNNAMED && !current.is_empty()).then(|| current.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> MachineConfig {
        let parsed = lepton_config::parse("x", text);
        assert_eq!(parsed.problems, []);
        parsed.config
    }

    #[test]
    fn names() {
        let joins = Role::Kubeconfig("secret".to_owned());
        for (text, role, current, want) in [
            ("", &Role::Alone, "dhcp-7", Some("lepton")),
            ("hostname = \"Edge-1\"", &Role::Alone, "edge-1", Some("edge-1")),
            ("", &joins, "lepton", None),
            ("", &joins, "dhcp-7", Some("dhcp-7")),
            ("hostname = \"edge-1\"", &joins, "edge-1", Some("edge-1")),
            ("hostname = \"a\"\n[kubelet]\nnode-name = \"b\"", &joins, "a", Some("b")),
        ] {
            assert_eq!(node_name(&config(text), role, current).as_deref(), want, "{text} {role:?}");
        }
    }

    #[test]
    fn roles() {
        assert!(Role::of(&config("").kubelet).is_alone());
        let digits = "0".repeat(64);
        let text = format!(
            "[kubelet]\nserver = \"https://a\"\ntoken = \"abcdef.0123456789abcdef\"\nca-hash = \"sha256:{digits}\""
        );
        let role = Role::of(&config(&text).kubelet);
        assert!(matches!(role, Role::Token { .. }));
        assert!(!format!("{role:?}").contains("0123456789abcdef"), "{role:?}");
        let text =
            format!("[kubelet]\nserver = \"https://a\"\nidentity = true\nca-hash = \"sha256:{digits}\"");
        let audience = |text: &str| match Role::of(&config(text).kubelet) {
            Role::Identity { audience, .. } => audience,
            other => panic!("{other:?}"),
        };
        assert_eq!(audience(&text), "kubernetes");
        assert_eq!(audience(&format!("{text}\nidentity-audience = \"https://a\"")), "https://a");
        assert!(!Role::of(&config(&text).kubelet).has_certificate());
        let role = Role::of(&config("[kubelet]\nkubeconfig = \"secret\"").kubelet);
        assert_eq!(format!("{role:?}"), "Kubeconfig");
    }
}
