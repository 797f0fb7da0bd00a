//! The machine config: what a host is told at boot, as types with checks, in TOML.
//!
//! Three rules hold for every source: a mistake names its line and what to do; a mistake voids the smallest thing it
//! is in and nothing else; of several sources the first that has a key gives it ([`MachineConfig::fill_from`]).
//! Nothing here reads files, the clock or the network.
#![forbid(unsafe_code)]

mod address;
mod document;
pub mod encoding;
mod field;
mod host;
mod identity;
pub mod kernel_words;
mod logs;
mod management;
mod names;
mod network;
pub mod ovf;
mod pods;
mod proxy;
mod registries;
mod route;
#[cfg(feature = "schema")]
pub mod schema;
mod services;
pub mod suggest;
mod table;
mod text;
mod writing;

pub use address::{Cidr, Destination, Mac};
pub use document::{MAX_BYTES, Parsed, Problem, parse, parse_bytes};
pub use host::{
    Console, EtcPath, File, Install, MachineConfig, Mode, State, SysctlKey, SysctlValue, Time, Watchdog,
    WatchdogTimeout,
};
pub use identity::{
    BundleUrl, DeliveryPath, DnsName, Identity, IdentityAuthority, IdentityEntry, IdentityFile, IdentityName,
    IdentityPath, IdentityServer, JoinToken, JwtTtl, Reload, ReloadSignal, SelectorText, Sha256Digest, Site,
    TrustDomainName, X509Ttl, X509pop,
};
pub use logs::{
    BufferSize, DestinationName, LogCompression, LogDestination, LogScheme, LogSource, LogSources, LogUrl,
    Logs,
};
pub use management::Management;
pub use names::{Domain, Hostname, LinkName, LinkRef, Server};
pub use network::{
    Bond, BondMode, Bridge, Dhcp, LacpRate, Link, Match, Mtu, Network, Route, TransmitHash, Vlan, VlanId,
};
pub use pods::{
    ApiServer, Audience, BootstrapToken, CaHash, Kubelet, LabelKey, LabelValue, MaxPods, NodeName, Pod,
    PodPids, Port, ReservedCpu, ReservedMemory, Taint, TaintParts,
};
pub use proxy::{NoProxy, Proxy, ProxyUrl};
pub use registries::{CaFile, OnlyEndpoints, Registry, RegistryEndpoint, RegistryHost, RegistryUrl};
pub use route::{
    ListenAddress, PemText, ProxyNetwork, ResponseTimeout, RouteCertificate, RouteHost, Routing,
};
pub use writing::{SECRET, Unwritable, is_secret, rows, to_toml, to_toml_without_secrets};
