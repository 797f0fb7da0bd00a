//! kubectl on the cluster's network: how people and tests reach the API server.

use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lepton_builder::process::{Process, ProcessError};
use lepton_builder::sandbox;
use serde_json::Value;

/// Wait before a watch that ended is begun again.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts kubectl.
#[derive(Clone, Debug)]
pub struct Kubectl {
    /// The process whose network is the cluster's.
    pub(crate) pid: u32,
    /// The program.
    pub(crate) program: PathBuf,
    /// The administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl with these arguments.
    pub fn process(&self, args: &[&str]) -> Process {
        let process = sandbox::beside(self.pid, &self.program).args(args.iter().copied());
        // Its cache would go to the home folder.
        let cache = self.kubeconfig.with_file_name("kubectl-cache");
        process.env("KUBECONFIG", &self.kubeconfig).env("KUBECACHEDIR", cache)
    }

    /// What it prints.
    pub fn output(&self, args: &[&str]) -> Result<String, ProcessError> {
        self.process(args).output()
    }

    /// The JSON document it prints.
    pub fn json(&self, args: &[&str]) -> Result<Value, ProcessError> {
        let text = self.output(&[args, &["-o", "json"]].concat())?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Applies a manifest, whichever of its objects are there already.
    pub fn apply(&self, manifest: &str) -> Result<(), ProcessError> {
        let path = self.kubeconfig.with_file_name("applied.yaml");
        // kubectl says what it cannot read.
        let _ = std::fs::write(&path, manifest);
        self.output(&["apply", "-f", &path.to_string_lossy()]).map(drop)
    }

    /// Shows every object of a kind, and each change of one, to `see` on a thread of its own until `stop` is set.
    pub(crate) fn watch(
        &self,
        kind: &'static str,
        stop: Arc<AtomicBool>,
        mut see: impl FnMut(&Value) + Send + 'static,
    ) {
        let process = self.process(&["get", kind, "--watch", "-o", "json"]);
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // The API server may be away; kubectl then says so and ends.
                if let Ok(mut child) = process.spawn(Stdio::null(), Stdio::piped(), Stdio::null()) {
                    if let Some(stdout) = child.stdout.take() {
                        objects(stdout, &stop, &mut see);
                    }
                    let _ = child.kill();
                    let _ = child.wait();
                }
                thread::sleep(PAUSE);
            }
        });
    }
}

fn objects(stream: impl Read, stop: &AtomicBool, see: &mut impl FnMut(&Value)) {
    for object in serde_json::Deserializer::from_reader(BufReader::new(stream)).into_iter() {
        match object {
            Ok(object) if !stop.load(Ordering::Relaxed) => see(&object),
            _ => return,
        }
    }
}
