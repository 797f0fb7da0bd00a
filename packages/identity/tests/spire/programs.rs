//! Where the programs are that these tests need.

use std::path::{Path, PathBuf};

/// Folder with spire-server, spire-agent and oidc-discovery-provider.
const SPIRE: &str = "LEPTON_TEST_SPIRE";
/// The client with go-spiffe.
const CLIENT: &str = "LEPTON_TEST_SPIFFE_CLIENT";
/// What judges tokens for Kubernetes.
const AUTHENTICATION: &str = "LEPTON_TEST_AUTHENTICATION";

/// Programs of others.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The folder of SPIRE's.
    pub(crate) spire: PathBuf,
    /// The client with go-spiffe.
    pub(crate) client: PathBuf,
    /// The API server's own judge of tokens.
    pub(crate) authentication: PathBuf,
}

impl Programs {
    /// From the environment; what is missing as a sentence.
    pub(crate) fn find() -> Result<Self, String> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .ok_or_else(|| format!("{name} is not set; `cargo xtask test` makes what it names"))
        };
        let found = Self {
            spire: variable(SPIRE)?,
            client: variable(CLIENT)?,
            authentication: variable(AUTHENTICATION)?,
        };
        if !is_root() {
            return Err("workloads of several users need root".to_owned());
        }
        Ok(found)
    }

    pub(crate) fn spire_agent(&self) -> PathBuf {
        self.spire.join("spire-agent")
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A program of another crate of this workspace, which cargo puts beside those of this one.
pub(crate) fn beside(program: &Path, name: &str) -> PathBuf {
    let path = program.with_file_name(name);
    assert!(path.exists(), "{} is not there: build the package {name}, too", path.display());
    path
}
