//! What is known of a pod, whoever said it.

use std::collections::BTreeMap;

/// A pod of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The node's name, when it is known.
    pub(crate) node: String,
    /// It comes from a manifest, and its name ends with the node's.
    pub(crate) is_static: bool,
    /// Containers that are ready, of all; the runtime alone does not know.
    pub(crate) ready: Option<(usize, usize)>,
    pub(crate) status: String,
    pub(crate) restarts: u64,
    /// Since when it is there, in nanoseconds since 1970.
    pub(crate) since_ns: Option<i64>,
    pub(crate) address: String,
    /// Its containers in the order of the manifest, those for its beginning last.
    pub(crate) containers: Vec<String>,
    /// The container that is meant when none is named, if that is known.
    pub(crate) default: Option<String>,
    /// Ports with names.
    pub(crate) ports: BTreeMap<String, u16>,
}

impl Pod {
    /// `NAMESPACE/NAME`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}
