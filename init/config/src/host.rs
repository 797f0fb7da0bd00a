//! The whole machine config, and its tables besides `[network]`.

use std::collections::BTreeMap;
use std::fmt;

use lepton_service_spec::{ContainerSpec, ServiceSpec};
use serde::{Deserialize, Deserializer, Serialize};

use crate::field::{Field, Place, Reader, plain_fields};
use crate::identity::Identity;
use crate::logs::Logs;
use crate::management::Management;
use crate::names::{Hostname, Server};
use crate::network::Network;
use crate::pods::{Kubelet, Pod};
use crate::proxy::Proxy;
use crate::registries::Registry;
use crate::route::Routing;
use crate::table::{Check, table};
use crate::text::{number_type, text_type};

table! {
    /// What a host is told at boot. Every key may be left out.
    ///
    /// Of several sources the first that has a key gives it; a list is one key, and an empty list says nothing.
    #[derive(Default)]
    struct MachineConfig {
        required {}
        optional {
            /// The host's name. Without this key: the name that DHCP gives, else `lepton`.
            hostname: Option<Hostname>,
            /// The network of the host.
            network: Network,
            /// The host's clock.
            time: Time,
            /// Installation to a disk, when the host was started from a CD, a stick or the network.
            install: Install,
            /// Where the host keeps what must survive a restart.
            state: State,
            /// Files to write below /etc before any service starts.
            files: Vec<File>,
            /// Programs of the image that PID 1 runs beside the image's own services; one with the name of an image's service
            /// replaces it.
            services: Vec<ServiceSpec>,
            /// OCI images that run through the container runtime, each as a service of PID 1 (docs/containers.md).
            containers: Vec<ContainerSpec>,
            /// Pods that kubelet runs without an API server (docs/kubelet.md).
            pods: Vec<Pod>,
            /// The node agent, and the cluster that it joins.
            kubelet: Kubelet,
            /// Registries of container images that are reached in another way than over HTTPS by their own name.
            registries: Vec<Registry>,
            /// Proxies through which images are pulled.
            proxy: Proxy,
            /// The HTTP router, which brings requests to the pods that answer for their host names (docs/routes.md).
            route: Routing,
            /// The trust domain that the host belongs to, and what its workloads are called (docs/identity.md).
            identity: Identity,
            /// The management API of the host (docs/api.md).
            host: Management,
            /// Where logs are sent (docs/logs.md).
            logs: Logs,
            /// Kernel settings by name, `"net.ipv4.ip_forward" = 1`; they are set after the image's own.
            sysctl: BTreeMap<SysctlKey, SysctlValue>,
            /// What the consoles show.
            console: Console,
            /// The watchdog device, which restarts a host that hangs.
            watchdog: Watchdog,
        }
    }
}

impl MachineConfig {
    /// Takes from a source of lower precedence every key that is absent here.
    pub fn fill_from(&mut self, lower: Self) {
        self.fill(lower);
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.is_absent()
    }

    /// Every value by its key; see [`crate::rows`].
    pub fn rows(&self) -> Vec<(String, String)> {
        crate::rows(self).expect("every table of a config has text keys")
    }

    /// The config as TOML for people, without its secrets; see [`crate::is_secret`].
    pub fn to_toml_without_secrets(&self) -> String {
        crate::to_toml_without_secrets(self).expect("every table of a config has text keys")
    }

    /// The config as TOML, which [`crate::parse`] reads back.
    pub fn to_toml(&self) -> String {
        crate::to_toml(self)
            .expect("every table of a config has text keys, and no value is without TOML form")
    }
}

table! {
    /// The host's clock.
    #[derive(Default)]
    struct Time {
        required {}
        optional {
            /// NTP servers, by name or address. Without any: those that DHCP names.
            servers: Vec<Server>,
        }
    }
}

table! {
    /// Installation to a disk.
    #[derive(Default)]
    struct Install {
        required {}
        optional {
            /// The disk to install to: a path such as `/dev/vda`, a serial number, or `smallest`.
            disk: Option<String>,
            /// Whether state that is on the disk is given up. Without this key: no.
            wipe: Option<bool>,
        }
    }
}

table! {
    /// Where the host keeps what must survive a restart.
    #[derive(Default)]
    struct State {
        required {}
        optional {
            /// A blank disk on which a state partition is made: a path such as `/dev/vdb` or a serial number.
            disk: Option<String>,
        }
    }
}

table! {
    /// A file below /etc.
    struct File {
        required {
            /// Where it is written.
            path: EtcPath,
            /// What is in it.
            content: String,
        }
        optional {
            /// Permission bits in octal. Without this key: `0644`.
            mode: Option<Mode>,
        }
    }
}

table! {
    /// What the consoles show.
    #[derive(Default)]
    struct Console {
        required {}
        optional {
            /// Whether the status screen is shown. Without this key: yes.
            status: Option<bool>,
        }
    }
}

table! {
    /// The watchdog device.
    #[derive(Default)]
    struct Watchdog {
        required {}
        optional {
            /// Seconds without a sign of life after which the device restarts the host. Without this key the device is left
            /// alone.
            timeout_s: Option<WatchdogTimeout>,
        }
    }
}

number_type!(
    /// Seconds of the watchdog device.
    WatchdogTimeout(u32), 5..=3600
);

text_type!(
    /// A path below /etc.
    EtcPath(String),
    parse = |text| {
        let Some(below) = text.strip_prefix("/etc/") else {
            return Err(format!("{text} is not below /etc, the only place for files of a machine config"));
        };
        let is_name = |name: &str| !name.is_empty() && name != "." && name != ".." && name.len() <= 255;
        if !below.split('/').all(is_name) || text.contains('\0') || text.len() > 4000 {
            return Err(format!("{text:?} is not a plain path: no empty part, no . and no .."));
        }
        Ok(text.to_owned())
    },
    pattern = r"^/etc/[^/\u0000]+(/[^/\u0000]+)*$"
);

text_type!(
    /// Permission bits of a file, in octal: `0644`.
    Mode(u32),
    parse = |text| {
        let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| is_octal && *bits <= 0o777);
        bits.ok_or_else(|| format!("{text:?} is not a mode in octal such as \"0644\" (at most 0777)"))
    },
    pattern = r"^0?[0-7]{3}$"
);

text_type!(
    /// Name of a kernel setting below /proc/sys, with dots or slashes.
    SysctlKey(String),
    parse = |text| {
        let separator = if text.contains('/') { '/' } else { '.' };
        let is_part = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            !part.is_empty() && !part.trim_matches('.').is_empty() && part.bytes().all(plain)
        };
        let is_key = text.contains(separator) && text.split(separator).all(is_part);
        is_key.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is not the name of a kernel setting"))
    },
    pattern = r"^[A-Za-z0-9_-]+([./][A-Za-z0-9_.-]+)+$"
);

impl EtcPath {
    /// The absolute path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Mode {
    /// The permission bits.
    pub fn bits(&self) -> u32 {
        self.0
    }
}

impl SysctlKey {
    /// The file of the setting. Written with slashes a name keeps its dots, as links such as `eth0.5` need it.
    pub fn path(&self) -> String {
        if self.0.contains('/') {
            format!("/proc/sys/{}", self.0)
        } else {
            format!("/proc/sys/{}", self.0.replace('.', "/"))
        }
    }
}

impl fmt::Display for EtcPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Display for SysctlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Value of a kernel setting: a text or a whole number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SysctlValue(String);

impl SysctlValue {
    /// The text that is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SysctlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = SysctlValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a whole number")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SysctlValue, E> {
                if text.contains(['\n', '\0']) || text.len() > 4000 {
                    return Err(E::custom("a kernel setting is one line"));
                }
                Ok(SysctlValue(text.to_owned()))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<SysctlValue, E> {
                Ok(SysctlValue(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

plain_fields!(SysctlValue);

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SysctlValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SysctlValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}

impl Check for MachineConfig {}
impl Check for Time {}
impl Check for State {}
impl Check for Console {}
impl Check for Watchdog {}

impl Check for Install {
    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if self.disk.as_ref().is_some_and(|disk| disk.trim().is_empty()) {
            reader.report(
                place.offset,
                place.key,
                "disk is empty: name a path, a serial number or \"smallest\"",
            );
            return None;
        }
        Some(self)
    }
}

impl Check for File {
    fn identity(&self) -> Option<String> {
        Some(self.path.to_string())
    }
}
