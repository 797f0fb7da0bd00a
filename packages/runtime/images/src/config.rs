//! What the images of a host are told from outside: where their contents lie, which registries are reached how, and
//! every limit with its reason. It reads nothing by itself.

use std::path::PathBuf;
use std::time::Duration;

/// All settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The folder that holds everything; it is made when missing.
    pub root: PathBuf,
    /// Read-only OCI layouts whose images are there from the start and pinned. A missing folder is an empty one.
    pub preloaded: Vec<PathBuf>,
    /// The architecture to choose from indexes, in OCI's words.
    pub platform: Platform,
    /// Files of PEM certificates that registries are verified against.
    pub ca_files: Vec<PathBuf>,
    /// Registries with settings of their own.
    pub registries: Vec<RegistryConfig>,
    /// Proxies.
    pub proxies: Proxies,
    /// Limits.
    pub limits: Limits,
    /// Whether layers may bring device nodes; the device controller of the container's cgroup still decides on access.
    pub devices: Devices,
    /// Whether a layer's compressed bytes stay after it was unpacked. They are needed again only by an image that has the
    /// same layer on top of others.
    pub keep_layers: bool,
    /// Whether contents are on the disk before they get their final name. Only tests can do without.
    pub durable: bool,
}

impl Config {
    /// The settings of a host that keeps its images in a folder.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            preloaded: Vec::new(),
            platform: Platform::host(),
            ca_files: Vec::new(),
            registries: Vec::new(),
            proxies: Proxies::default(),
            limits: Limits::default(),
            devices: Devices::Create,
            keep_layers: false,
            durable: true,
        }
    }
}

/// An architecture in OCI's words; the operating system is always `linux`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// `v8`; none on amd64.
    pub variant: Option<String>,
}

impl Platform {
    /// The architecture that this program was compiled for.
    #[must_use]
    pub fn host() -> Self {
        match std::env::consts::ARCH {
            "x86_64" => Self { architecture: "amd64".into(), variant: None },
            "aarch64" => Self { architecture: "arm64".into(), variant: Some("v8".into()) },
            other => Self { architecture: other.into(), variant: None },
        }
    }
}

/// What happens to device nodes in layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// They are made.
    Create,
    /// The layer is refused.
    Refuse,
}

/// How one registry is reached.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RegistryConfig {
    /// The host of references, with its port if they have one: `docker.io`, `registry.example:5000`.
    pub host: String,
    /// Where it is asked, in this order; the registry itself comes last, unless it is named here.
    pub endpoints: Vec<Endpoint>,
    /// Whether nothing but the endpoints is asked.
    pub only_endpoints: bool,
}

/// A place that answers for a registry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Endpoint {
    /// `https://HOST[:PORT][/PREFIX]`; with `http://` it is plain HTTP, which nothing else allows.
    pub url: String,
    /// PEM certificates that it is verified against, instead of those of all registries.
    pub ca_file: Option<PathBuf>,
    /// Whether any certificate will do.
    pub skip_verify: bool,
    /// User and password for this place alone.
    pub credentials: Option<(String, String)>,
    /// Whether it gets the credentials of a pull although it is not the registry itself.
    pub gets_credentials: bool,
}

/// The values of `http_proxy`, `https_proxy` and `no_proxy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// For plain HTTP: `http://[USER:PASSWORD@]HOST[:PORT]`.
    pub http: Option<String>,
    /// For HTTPS, through CONNECT.
    pub https: Option<String>,
    /// Hosts, domains, addresses and networks that are reached directly, with commas between them; `*` for all.
    pub no: String,
}

/// What one pull may use. Bytes unless it says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// A manifest, index or image configuration. Registries must take 4 MiB, so none is larger.
    pub manifest: u64,
    /// Layers of an image. overlayfs takes 500.
    pub layers: usize,
    /// One blob.
    pub blob: u64,
    /// What a layer may be unpacked.
    pub unpacked: u64,
    /// How many times its compressed size a layer may be unpacked, once it is larger than `ratio_from`. deflate cannot
    /// go beyond 1032, file systems of programs stay below 10.
    pub ratio: u64,
    /// Unpacked size from which on `ratio` counts: small layers of zeros are common.
    pub ratio_from: u64,
    /// Files, folders and links of a layer.
    pub entries: u64,
    /// Extended headers of one entry.
    pub header: usize,
    /// zstd's window, and so most of the memory of unpacking. `zstd -19` makes 8 MiB.
    pub window: u64,
    /// Downloads at a time, over all pulls.
    pub downloads: usize,
    /// Redirects of one request.
    pub redirects: usize,
    /// Tries of one request.
    pub tries: u32,
    /// The first pause between two tries; it doubles each time.
    pub pause: Duration,
    /// For a connection with TLS.
    pub connect: Duration,
    /// For the head of an answer.
    pub answer: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
    /// For a whole pull.
    pub pull: Duration,
    /// How long a download that broke off waits for the next pull.
    pub partial: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: 4 << 20,
            layers: 256,
            blob: 32 << 30,
            unpacked: 64 << 30,
            ratio: 200,
            ratio_from: 1 << 30,
            entries: 2_000_000,
            header: 1 << 20,
            window: 32 << 20,
            downloads: 3,
            redirects: 5,
            tries: 4,
            pause: Duration::from_millis(250),
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            pull: Duration::from_secs(3600),
            partial: Duration::from_secs(24 * 3600),
        }
    }
}
