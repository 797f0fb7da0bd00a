//! What a shim is told when it starts: `pod.json` in the pod's folder. It must not change afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name.
pub const FILE: &str = "pod.json";
/// The socket's name.
pub const SOCKET: &str = "shim.sock";
/// The folder of pinned namespaces.
pub const NAMESPACES: &str = "ns";

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its id.
    pub id: String,
    /// The host name, when it has a UTS namespace of its own.
    pub hostname: Option<String>,
    /// It has a network namespace of its own.
    pub network: bool,
    /// It has an IPC namespace of its own.
    pub ipc: bool,
    /// Its containers share a PID namespace.
    pub pid: bool,
    /// Its user namespace, when it has one of its own.
    pub user: Option<UserMaps>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// The program that makes containers.
    pub oci: PathBuf,
    /// Where that program keeps its state.
    pub oci_state: PathBuf,
}

/// Which users and groups of a user namespace are which of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMaps {
    /// Users.
    pub uids: Vec<IdMap>,
    /// Groups.
    pub gids: Vec<IdMap>,
}

/// One range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id on the host.
    pub host: u32,
    /// How many.
    pub length: u32,
}

impl IdMap {
    /// As `/proc/PID/uid_map` takes them.
    pub fn text(maps: &[Self]) -> String {
        maps.iter().map(|map| format!("{} {} {}\n", map.inside, map.host, map.length)).collect()
    }
}

/// Where the pinned namespace of a kind lies: `net`, `ipc`, `uts`, `user`, `pid`.
pub fn namespace(folder: &Path, kind: &str) -> PathBuf {
    folder.join(NAMESPACES).join(kind)
}
