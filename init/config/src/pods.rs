//! `[[pods]]` and `[kubelet]`: what kubelet runs on its own, and the cluster that it joins instead of being alone.
//!
//! A manifest is a text here: kubelet's service reads it, because PID 1 carries no YAML.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::field::{Place, Reader};
use crate::names::{Domain, is_authority};
use crate::table::{Check, table};
use crate::text::{number_type, text_type};

/// RFC 1035 section 2.3.4, in text form; Kubernetes' prefixes of labels are such names.
const MAX_PREFIX: usize = 253;
/// The part of a label, or of a taint's key, without its prefix; also the value of either.
const MAX_NAME: usize = 63;
/// Audiences are names or URLs.
const MAX_AUDIENCE: usize = 253;
/// Kubernetes' own prefixes: kubelet may set these labels of its node and no others of them.
const OWN_LABELS: [&str; 10] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

table! {
    /// A pod that kubelet runs from its manifest, without an API server (a static pod).
    struct Pod {
        required {
            /// The manifest of a Pod (`apiVersion: v1`), YAML or JSON.
            manifest: String,
        }
        optional {
            /// Name of a host: HTTP requests for it that reach this host go to the pod.
            route: Option<Domain>,
            /// The port of the pod that those requests go to. Without this key: the first port of its containers.
            route_port: Option<Port>,
        }
    }
}

table! {
    /// The node agent (kubelet): the cluster it joins, and what its node is. Without `server` and `kubeconfig` it is alone
    /// and runs `[[pods]]`.
    #[derive(Default)]
    struct Kubelet {
        required {}
        optional {
            /// The API server of the cluster to join: `https://HOST[:PORT]`. It takes `ca-hash`, and `token` or `identity`.
            server: Option<ApiServer>,
            /// A bootstrap token (`abcdef.0123456789abcdef`), with which kubelet asks for its certificate. Nothing shows it.
            token: Option<BootstrapToken>,
            /// Join with the host's identity instead of a token: kubelet shows the API server the JWT-SVID that it has as a
            /// service of this host (docs/identity.md).
            identity: Option<bool>,
            /// The audience that the API server expects in it. Without this key: `kubernetes`.
            identity_audience: Option<Audience>,
            /// The cluster's certificate authority by the digest of its public key, as `kubeadm token create
            /// --print-join-command` shows it: `sha256:` and 64 hexadecimal digits.
            ca_hash: Option<CaHash>,
            /// The text of a kubeconfig with credentials for this node, instead of `server`, `token` and `ca-hash`.
            kubeconfig: Option<String>,
            /// The node's name in the cluster. Without this key: the host's name.
            node_name: Option<NodeName>,
            /// Addresses of the node, one for each family. Without this key: those that the default route leads from.
            node_ips: Vec<IpAddr>,
            /// Labels of the node.
            labels: BTreeMap<LabelKey, LabelValue>,
            /// Taints that the node registers with: `KEY[=VALUE]:EFFECT`, where EFFECT is `NoSchedule`, `PreferNoSchedule` or
            /// `NoExecute`.
            taints: Vec<Taint>,
            /// The failure zone of the node: its label `topology.kubernetes.io/zone`.
            zone: Option<LabelValue>,
            /// The region of the node: its label `topology.kubernetes.io/region`.
            region: Option<LabelValue>,
            /// The domain of the cluster's services. Without this key: `cluster.local`.
            cluster_domain: Option<Domain>,
            /// Addresses of the cluster's DNS service. Without any: pods ask the host's servers.
            cluster_dns: Vec<IpAddr>,
            /// Thousandths of a processor that pods cannot reserve. Without this key: it depends on the number of processors.
            reserved_cpu_m: Option<ReservedCpu>,
            /// Memory in MiB that pods cannot reserve. Without this key: it depends on the size of memory.
            reserved_memory_mib: Option<ReservedMemory>,
            /// Most pods at a time. Without this key: 250.
            max_pods: Option<MaxPods>,
            /// Most processes and threads of one pod. Without this key: 4096.
            pod_pids_max: Option<PodPids>,
            /// Fields of a KubeletConfiguration (`kubelet.config.k8s.io/v1beta1`), YAML or JSON, for what has no key here; they
            /// come last and may undo secure defaults.
            settings: Option<String>,
        }
    }
}

number_type!(
    /// A TCP port.
    Port(u16), 1..=65535
);

number_type!(
    /// Thousandths of a processor.
    ReservedCpu(u32), 1..=64000
);

number_type!(
    /// MiB of memory.
    ReservedMemory(u32), 1..=1048576
);

number_type!(
    /// Pods of a node.
    MaxPods(u32), 1..=1000
);

number_type!(
    /// Processes and threads of a pod.
    PodPids(u32), 64..=4194304
);

text_type!(
    /// Where an API server is: `https://HOST[:PORT]`.
    ApiServer(String),
    parse = |text| {
        let message = || format!("{text:?} is not of the form https://HOST[:PORT]");
        let authority = text.strip_prefix("https://").ok_or_else(message)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        is_authority(authority).then(|| format!("https://{authority}")).ok_or_else(message)
    },
    pattern = r"^https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$"
);

text_type!(
    /// A bootstrap token: six and sixteen lower-case letters and digits with a dot between them. Messages never show it.
    BootstrapToken(String),
    parse = |text| {
        let is_part = |part: &str, len| {
            part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        };
        let is_token = text.split_once('.').is_some_and(|(id, secret)| is_part(id, 6) && is_part(secret, 16));
        let message = "it is not a bootstrap token: abcdef.0123456789abcdef, lower-case letters and digits";
        is_token.then(|| text.to_owned()).ok_or_else(|| message.to_owned())
    },
    pattern = r"^[a-z0-9]{6}\.[a-z0-9]{16}$"
);

text_type!(
    /// Whom a JWT-SVID is for.
    Audience(String),
    parse = |text| {
        let is_word = (1..=MAX_AUDIENCE).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_word
            .then(|| text.to_owned())
            .ok_or_else(|| format!("{text:?} is not an audience: 1 to {MAX_AUDIENCE} visible ASCII characters"))
    },
    pattern = r"^[!-~]{1,253}$"
);

text_type!(
    /// SHA-256 of the public key of a certificate authority: `sha256:` and 64 hexadecimal digits.
    CaHash(String),
    parse = |text| {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let is_hash = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash
            .then(|| text.to_ascii_lowercase())
            .ok_or_else(|| format!("{text:?} is not sha256: and 64 hexadecimal digits"))
    },
    pattern = r"^sha256:[0-9A-Fa-f]{64}$"
);

text_type!(
    /// Name of a node: a DNS subdomain in lower case (RFC 1123).
    NodeName(String),
    parse = |text| {
        let message = || format!("{text:?} is not the name of a node: use lower-case letters, digits, hyphens and dots (RFC 1123)");
        (text.len() <= MAX_PREFIX && is_subdomain(text)).then(|| text.to_owned()).ok_or_else(message)
    },
    pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
);

text_type!(
    /// Key of a label: `[PREFIX/]NAME`.
    LabelKey(String),
    parse = |text| {
        if !is_qualified(text) {
            return Err(format!("{text:?} is not the key of a label: [PREFIX/]NAME, where NAME has at most 63 letters, digits, - _ ."));
        }
        if is_reserved(text) {
            return Err(format!("{text:?} cannot be set by a node: use a prefix of your own, node.kubernetes.io or kubelet.kubernetes.io"));
        }
        Ok(text.to_owned())
    },
    pattern = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
);

text_type!(
    /// Value of a label: at most 63 letters, digits, - _ . or nothing.
    LabelValue(String),
    parse = |text| {
        let message = || format!("{text:?} is not the value of a label: at most 63 letters, digits, - _ . beginning and ending with a letter or digit");
        (text.is_empty() || is_name(text)).then(|| text.to_owned()).ok_or_else(message)
    },
    pattern = r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$"
);

/// The parts of a taint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaintParts {
    /// Key of the taint.
    pub key: String,
    /// Its value; may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

text_type!(
    /// A taint: `KEY[=VALUE]:EFFECT`.
    Taint(TaintParts),
    parse = |text| {
        let message = || format!("{text:?} is not a taint: KEY[=VALUE]:EFFECT, where EFFECT is NoSchedule, PreferNoSchedule or NoExecute");
        let (what, effect) = text.rsplit_once(':').ok_or_else(message)?;
        let (key, value) = what.split_once('=').unwrap_or((what, ""));
        let is_effect = ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect);
        if !is_qualified(key) || !(value.is_empty() || is_name(value)) || !is_effect {
            return Err(message());
        }
        Ok(TaintParts { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
    },
    pattern = r"^[A-Za-z0-9./_-]+(=[A-Za-z0-9._-]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$"
);

/// Lower-case labels of letters, digits and inner hyphens, with dots between them.
fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

fn is_name(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= MAX_NAME
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
}

fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => prefix.len() <= MAX_PREFIX && is_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

/// Whether kubelet would refuse to start with such a label of its node.
fn is_reserved(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return false };
    let is_below = |name: &str| prefix == name || prefix.ends_with(&format!(".{name}"));
    let is_own = is_below("kubernetes.io") || is_below("k8s.io");
    let is_free = is_below("node.kubernetes.io") || is_below("kubelet.kubernetes.io");
    is_own && !is_free && !OWN_LABELS.contains(&key)
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}
as_text!(ApiServer, Audience, BootstrapToken, CaHash, NodeName, LabelKey, LabelValue);

impl Taint {
    /// What it is made of.
    pub fn parts(&self) -> &TaintParts {
        &self.0
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TaintParts { key, value, effect } = &self.0;
        let sign = if value.is_empty() { "" } else { "=" };
        write!(f, "{key}{sign}{value}:{effect}")
    }
}

impl Check for Pod {
    /// A pod without the route that it was to have would be taken for one that nobody asks.
    const VITAL: &'static [&'static str] = &["route", "route-port"];

    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if self.manifest.trim().is_empty() {
            reader.report(place.offset, place.key, "manifest is empty: put the text of a Pod there");
            return None;
        }
        if self.route_port.is_some() && self.route.is_none() {
            reader.report(place.offset, place.key, "route-port says where a route leads: give route, too");
            return None;
        }
        Some(self)
    }
}

impl Check for Kubelet {
    /// Without one of these the node would join another cluster, as another node, or none.
    const VITAL: &'static [&'static str] =
        &["server", "token", "identity", "identity-audience", "ca-hash", "kubeconfig", "node-name", "taints"];

    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut refuse = |message: &str| {
            reader.report(place.offset, place.key, message);
            None
        };
        let has_identity = self.identity == Some(true);
        if self.token.is_some() && has_identity {
            return refuse("token and identity are two ways to join: give one of them");
        }
        let joins = [self.server.is_some(), self.token.is_some() || has_identity, self.ca_hash.is_some()];
        if joins.contains(&true) && joins.contains(&false) {
            return refuse("server, ca-hash and token or identity belong together: give all three or none");
        }
        if self.identity_audience.is_some() && !has_identity {
            return refuse("identity-audience belongs to identity = true");
        }
        if self.server.is_some() && self.kubeconfig.is_some() {
            return refuse(
                "kubeconfig names a server and credentials itself: leave server, token, identity and ca-hash out",
            );
        }
        if self.node_ips.len() > 2 || self.node_ips.iter().filter(|ip| ip.is_ipv4()).count() > 1 {
            return refuse(
                "node-ips has more than one address of a family: give one IPv4 and one IPv6 address",
            );
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_checked_and_never_shown() {
        assert!("abcdef.0123456789abcdef".parse::<BootstrapToken>().is_ok());
        for bad in
            ["", "abcdef", "abcdef.0123456789ABCDEF", "abcde.0123456789abcdef", "abcdef.0123456789abcde"]
        {
            let message = bad.parse::<BootstrapToken>().unwrap_err();
            assert!(bad.is_empty() || !message.contains(&format!("{bad:?}")), "{message}");
        }
    }

    #[test]
    fn a_cluster_is_joined_in_one_way() {
        let digits = "0".repeat(64);
        let base = format!("[kubelet]\nserver = \"https://a\"\nca-hash = \"sha256:{digits}\"\n");
        let token = "token = \"abcdef.0123456789abcdef\"\n";
        for (text, problem) in [
            (format!("{base}{token}"), None),
            (format!("{base}identity = true\n"), None),
            (format!("{base}identity = true\nidentity-audience = \"https://a\"\n"), None),
            (base.clone(), Some("belong together")),
            (format!("{base}{token}identity = true\n"), Some("two ways to join")),
            (format!("{base}{token}identity-audience = \"a\"\n"), Some("belongs to identity")),
            (format!("{base}identity = true\nidentity-audience = \"a b\"\n"), Some("not an audience")),
            ("[kubelet]\nidentity = true\n".to_owned(), Some("belong together")),
        ] {
            let parsed = crate::parse("x", &text);
            match problem {
                None => assert_eq!(parsed.problems, [], "{text}"),
                Some(problem) => {
                    assert!(parsed.problems[0].to_string().contains(problem), "{:?}", parsed.problems);
                    assert_eq!(parsed.config.kubelet.identity, None, "{text}");
                }
            }
        }
    }

    #[test]
    fn servers_and_hashes() {
        for (text, good) in [
            ("https://192.0.2.1:6443", true),
            ("https://api.example", true),
            ("https://[2001:db8::1]:6443/", true),
            ("http://api.example", false),
            ("https://api.example/path", false),
            ("https://user@api.example", false),
            ("api.example:6443", false),
        ] {
            assert_eq!(text.parse::<ApiServer>().is_ok(), good, "{text}");
        }
        assert_eq!("https://a/".parse::<ApiServer>().unwrap().as_str(), "https://a");
        let digits = "0123456789abcdef".repeat(4);
        assert!(format!("sha256:{digits}").parse::<CaHash>().is_ok());
        assert!(digits.parse::<CaHash>().is_err());
        assert!(format!("sha256:{}", &digits[1..]).parse::<CaHash>().is_err());
    }

    #[test]
    fn labels_that_a_node_may_set() {
        for good in
            ["rack", "example.org/rack", "node.kubernetes.io/kind", "topology.kubernetes.io/zone", "a.b_c-d"]
        {
            assert!(good.parse::<LabelKey>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a/b/c",
            "Example/a",
            "node-role.kubernetes.io/worker",
            "kubernetes.io/role",
            "x.k8s.io/a",
        ] {
            assert!(bad.parse::<LabelKey>().is_err(), "{bad}");
        }
        assert!("".parse::<LabelValue>().is_ok());
        assert!("a b".parse::<LabelValue>().is_err());
    }

    #[test]
    fn taints() {
        for good in ["dedicated=gpu:NoSchedule", "example.org/key:NoExecute", "key:PreferNoSchedule"] {
            assert_eq!(good.parse::<Taint>().unwrap().to_string(), good);
        }
        for bad in ["", "key", "key:Never", "=v:NoSchedule", "key=a b:NoSchedule"] {
            assert!(bad.parse::<Taint>().is_err(), "{bad}");
        }
    }
}
