//! Runs one CNI plugin: parameters in the environment, configuration on standard input, the result on standard output.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::{Cni, CniError, INTERFACE, Pod};

/// How long a plugin may take; one that hangs must not hold a pod for ever.
const TIME: Duration = Duration::from_secs(120);

impl Cni {
    /// Where a plugin lies.
    pub(super) fn find(&self, plugin: &Value) -> Result<PathBuf, CniError> {
        let name = plugin["type"].as_str().unwrap_or_default();
        let found = self.plugins.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| {
            let folders: Vec<String> = self.plugins.iter().map(|path| path.display().to_string()).collect();
            CniError::NoPlugin { name: name.to_owned(), folders: folders.join(", ") }
        })
    }

    /// Runs a plugin, and gives its result.
    pub(super) async fn run(
        &self,
        plugin: &Value,
        command: &'static str,
        input: &Value,
        pod: Option<&Pod<'_>>,
    ) -> Result<Value, CniError> {
        let program = self.find(plugin)?;
        let name = plugin["type"].as_str().unwrap_or_default().to_owned();
        let failed = |source| CniError::Run { name: name.clone(), source };
        let path: Vec<String> = self.plugins.iter().map(|path| path.display().to_string()).collect();
        let mut process = tokio::process::Command::new(&program);
        process.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", path.join(":"));
        // Plugins start iptables and their like.
        process.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        if let Some(pod) = pod {
            process
                .env("CNI_CONTAINERID", pod.id)
                .env("CNI_IFNAME", INTERFACE)
                .env("CNI_ARGS", arguments(pod));
            process.env("CNI_NETNS", pod.namespace.as_deref().unwrap_or_else(|| "".as_ref()));
        }
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = process.spawn().map_err(failed)?;
        let mut stdin = child.stdin.take().expect("it was asked for");
        let text = input.to_string();
        let conversation = async {
            // A plugin that does not read its input says why.
            let _ = stdin.write_all(text.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(TIME, conversation).await;
        let output =
            output.unwrap_or_else(|_| Err(std::io::Error::other("it took too long"))).map_err(failed)?;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if output.status.success() {
            return Ok(said);
        }
        let message = message(&said).unwrap_or_else(|| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!("{}: {}", output.status, stderr.trim())
        });
        Err(CniError::Plugin { name, command, message })
    }
}

/// What plugins are told of the pod, as every runtime for Kubernetes does.
fn arguments(pod: &Pod<'_>) -> String {
    let metadata = pod.config.metadata.clone().unwrap_or_default();
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        metadata.namespace, metadata.name, pod.id, metadata.uid
    )
}

/// The text of an error object.
fn message(said: &Value) -> Option<String> {
    let message = said["msg"].as_str()?;
    let details = said["details"].as_str().filter(|details| !details.is_empty());
    let code = said["code"].as_u64().unwrap_or(0);
    Some(format!(
        "{message}{} (code {code})",
        details.map(|details| format!(": {details}")).unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_objects() {
        let said = serde_json::json!({"cniVersion":"1.0.0","code":11,"msg":"no addresses","details":"range is full"});
        assert_eq!(message(&said).unwrap(), "no addresses: range is full (code 11)");
        assert_eq!(message(&Value::Null), None);
    }
}
