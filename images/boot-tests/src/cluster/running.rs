//! How a second command finds the cluster that a first one runs: a file in the cluster's folder.

use std::fs;
use std::path::{Path, PathBuf};

use lepton_builder::process::Process;
use lepton_builder::sandbox;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::ClusterError;
use super::kubectl::Kubectl;

/// Its name.
const FILE: &str = "cluster.json";

/// A cluster that another process runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// The process whose network it is.
    pid: u32,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
}

impl Running {
    /// Remembers a cluster in its folder.
    pub(super) fn write(folder: &Path, kubectl: &Kubectl) -> Result<(), ClusterError> {
        let running = Self {
            pid: kubectl.pid,
            kubectl: kubectl.program.clone(),
            kubeconfig: kubectl.kubeconfig.clone(),
        };
        let path = folder.join(FILE);
        let text = serde_json::to_string(&running).expect("paths of ours are UTF-8");
        fs::write(&path, text).map_err(ClusterError::file("write", &path))
    }

    /// The cluster that runs with a folder in `parent`; the last by name of several.
    pub fn find(parent: &Path) -> Option<Self> {
        let entries = WalkDir::new(parent).min_depth(2).max_depth(2).sort_by_file_name();
        let files = entries.into_iter().flatten().filter(|entry| entry.file_name() == FILE);
        let read = |path: &Path| serde_json::from_slice::<Self>(&fs::read(path).ok()?).ok();
        files.filter_map(|entry| read(entry.path())).filter(Self::is_alive).last()
    }

    /// A program of this machine on the cluster's network, with the administrator's kubeconfig; `kubectl` is the cluster's.
    pub fn process(&self, command: &[String]) -> Process {
        let (first, args) = command.split_first().map_or(("kubectl", &[][..]), |(first, args)| (first, args));
        let program = if first == "kubectl" { self.kubectl.as_os_str() } else { first.as_ref() };
        sandbox::beside(self.pid, program).args(args).inherit_env().env("KUBECONFIG", &self.kubeconfig)
    }

    fn is_alive(&self) -> bool {
        // The number may be another process's by now; its command line is then another.
        let command = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(sandbox::ENTER)
    }
}
