//! kubeconfigs: the one that a token opens, the one that says who gives kubelet its JWT-SVIDs, and the authority of one
//! that people give. Pure.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lepton_pod_manifest as manifest;
use serde_json::{Value, json};

use crate::failure::Failure;

/// A kubeconfig (JSON is YAML) with a token; it is a secret.
pub(super) fn with_token(server: &str, ca: &str, token: &str) -> String {
    document(server, ca, &json!({ "name": "bootstrap", "user": { "token": token } }))
}

/// A kubeconfig without a secret: it names the program (client.authentication.k8s.io/v1) that asks the host's Workload API
/// for a JWT-SVID whenever kubelet needs one.
pub(super) fn with_identity(server: &str, ca: &str, program: &Path, audience: &str) -> String {
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": program,
        "args": ["kubelet-credential", "--audience", audience],
        "interactiveMode": "Never",
    });
    document(server, ca, &json!({ "name": "identity", "user": { "exec": exec } }))
}

fn document(server: &str, ca: &str, user: &Value) -> String {
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "cluster", "cluster": {
            "server": server, "certificate-authority-data": STANDARD.encode(ca),
        } }],
        "users": [user],
        "contexts": [{ "name": "join", "context": { "cluster": "cluster", "user": user["name"] } }],
        "current-context": "join",
    });
    document.to_string()
}

/// The certificates (PEM) of the cluster that a kubeconfig uses: kubelet must know its API server's, too.
pub(super) fn authority(text: &str) -> Result<String, Failure> {
    let refuse = |message: String| Failure::Config { key: "kubeconfig", message };
    let document = manifest::parse(text).map_err(|error| refuse(error.to_string()))?;
    let named = |list: &str, name: &Value| {
        let entries = document.get(list).and_then(Value::as_array);
        entries.into_iter().flatten().find(|entry| entry.get("name") == Some(name)).cloned()
    };
    let current =
        document.get("current-context").ok_or_else(|| refuse("current-context is missing".to_owned()))?;
    let context =
        named("contexts", current).ok_or_else(|| refuse(format!("there is no context {current}")))?;
    let name = context.pointer("/context/cluster").cloned().unwrap_or_default();
    let cluster = named("clusters", &name).ok_or_else(|| refuse(format!("there is no cluster {name}")))?;
    let data = cluster.pointer("/cluster/certificate-authority-data").and_then(Value::as_str);
    let data = data.ok_or_else(|| {
        refuse(format!(
            "the cluster {name} has no certificate-authority-data, which the API server is known by"
        ))
    })?;
    pem(data).ok_or_else(|| refuse("certificate-authority-data is not PEM in base64".to_owned()))
}

/// PEM text from its base64 form.
pub(super) fn pem(data: &str) -> Option<String> {
    let plain: String = data.split_whitespace().collect();
    let text = String::from_utf8(STANDARD.decode(plain).ok()?).ok()?;
    text.contains("-----BEGIN CERTIFICATE-----").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_kubeconfig_gives_back_its_authority() {
        assert_eq!(authority(&with_token("https://a", CA, "t")).unwrap(), CA);
    }

    #[test]
    fn with_an_identity_there_is_a_program_and_no_secret() {
        let text = with_identity("https://a", CA, Path::new("/usr/bin/identity"), "kubernetes");
        assert_eq!(authority(&text).unwrap(), CA);
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["contexts"][0]["context"]["user"], document["users"][0]["name"]);
        let exec = &document["users"][0]["user"]["exec"];
        assert_eq!(exec["command"], "/usr/bin/identity");
        assert_eq!(exec["args"], json!(["kubelet-credential", "--audience", "kubernetes"]));
        assert_eq!(exec["interactiveMode"], "Never");
        assert_eq!(document["users"][0]["user"].as_object().unwrap().len(), 1);
    }

    #[test]
    fn mistakes() {
        let good = with_token("https://a", CA, "t");
        for (text, message) in [
            ("a: [".to_owned(), "line "),
            ("{}".to_owned(), "current-context is missing"),
            (good.replace("\"name\":\"join\"", "\"name\":\"other\""), "there is no context \"join\""),
            (good.replace("\"name\":\"cluster\"", "\"name\":\"other\""), "there is no cluster"),
            (
                good.replace("certificate-authority-data", "certificate-authority"),
                "no certificate-authority-data",
            ),
            (good.replace(&STANDARD.encode(CA), "eHg="), "is not PEM"),
        ] {
            let error = authority(&text).unwrap_err().to_string();
            assert!(error.starts_with("kubelet.kubeconfig: ") && error.contains(message), "{error}");
        }
    }
}
