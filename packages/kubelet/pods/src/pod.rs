//! What is known of a pod, whoever said it.

use std::collections::BTreeMap;

/// A pod of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The node's name, when it is known.
    pub node: String,
    /// It comes from a manifest, and its name ends with the node's.
    pub is_static: bool,
    /// Containers that are ready, of all; the runtime alone does not know.
    pub ready: Option<(usize, usize)>,
    /// Its state in a word, as kubectl has it.
    pub status: String,
    /// How often its containers were started again.
    pub restarts: u64,
    /// Since when it is there, in nanoseconds since 1970.
    pub since_ns: Option<i64>,
    /// Its address; empty when it has none.
    pub address: String,
    /// Its containers in the order of the manifest, those for its beginning last.
    pub containers: Vec<String>,
    /// The container that is meant when none is named, if that is known.
    pub default: Option<String>,
    /// Ports with names.
    pub ports: BTreeMap<String, u16>,
}

impl Pod {
    /// `NAMESPACE/NAME`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}
