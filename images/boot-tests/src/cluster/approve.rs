//! Approves the serving certificates that kubelets ask for, as an operator of a cluster does: a node gets a certificate
//! for its own name and its own addresses, and nothing else.

use std::fs;
use std::path::Path;

use lepton_builder::sandbox::Sandbox;
use serde_json::Value;

use super::field::address;
use super::kubectl::Kubectl;

/// The signer of such certificates.
const SIGNER: &str = "kubernetes.io/kubelet-serving";

/// A request that may be approved if its names are those of the node.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    name: String,
    node: String,
    request: Vec<u8>,
}

/// Approves `object`, a CertificateSigningRequest, when it should be; `scratch` is a folder for the request.
pub(super) fn look(object: &Value, kubectl: &Kubectl, tools: &Path, scratch: &Path) {
    let Some(asked) = asked(object) else { return };
    let is_right = names(&asked.request, tools, scratch).is_some_and(|names| fits(&names, &asked.node));
    // One that could not be approved shows in the test that waits for it; kubelet asks again.
    let verb = if is_right { "approve" } else { "deny" };
    let _ = kubectl.output(&["certificate", verb, &asked.name]);
}

fn asked(object: &Value) -> Option<Asked> {
    let spec = &object["spec"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let is_open = object["status"]["conditions"].as_array().is_none_or(Vec::is_empty);
    let of_nodes = spec["groups"].as_array()?.iter().any(|group| group == "system:nodes");
    let node = spec["username"].as_str()?.strip_prefix("system:node:")?.to_owned();
    if spec["signerName"] != SIGNER || !is_open || !of_nodes {
        return None;
    }
    use base64::Engine as _;
    let request = base64::engine::general_purpose::STANDARD.decode(spec["request"].as_str()?).ok()?;
    Some(Asked { name: text(&object["metadata"]["name"])?, node, request })
}

/// Names and addresses that a certificate request (RFC 2986) asks for, as openssl writes them.
fn names(request: &[u8], tools: &Path, scratch: &Path) -> Option<Vec<String>> {
    let path = scratch.join("request.pem");
    fs::write(&path, request).ok()?;
    let openssl = Sandbox::new(tools, "openssl").read_only(&path, "/request.pem");
    let text = openssl.args(["req", "-in", "/request.pem", "-noout", "-text"]).process().output().ok()?;
    Some(subject_names(&text))
}

fn subject_names(text: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| !line.contains("X509v3 Subject Alternative Name"));
    let list = lines.nth(1).unwrap_or_default();
    list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Nodes are called `node-N`.
fn fits(names: &[String], node: &str) -> bool {
    let Some(number) = node.strip_prefix("node-").and_then(|number| number.parse().ok()) else {
        return false;
    };
    let allowed = [format!("DNS:{node}"), format!("IP Address:{}", address(number))];
    !names.is_empty() && names.iter().all(|name| allowed.contains(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_gets_its_own_names_alone() {
        let text = "        Requested Extensions:\n            X509v3 Subject Alternative Name: \n                DNS:node-2, IP Address:192.0.2.12\n    Signature Algorithm: x\n";
        let names = subject_names(text);
        assert_eq!(names, ["DNS:node-2", "IP Address:192.0.2.12"]);
        assert!(fits(&names, "node-2"));
        assert!(!fits(&names, "node-1"));
        assert!(!fits(&names, "other"));
        assert!(!fits(&[], "node-2"));
    }

    #[test]
    fn only_open_requests_of_nodes_count() {
        let mut object = json!({
            "metadata": { "name": "csr-1" },
            "spec": { "signerName": SIGNER, "username": "system:node:node-1", "groups": ["system:nodes"], "request": "eA==" },
        });
        let want = Asked { name: "csr-1".to_owned(), node: "node-1".to_owned(), request: b"x".to_vec() };
        assert_eq!(asked(&object), Some(want));
        object["status"] = json!({ "conditions": [{ "type": "Approved" }] });
        assert_eq!(asked(&object), None);
        object["status"] = json!({});
        object["spec"]["username"] = json!("system:bootstrap:abcdef");
        assert_eq!(asked(&object), None);
    }
}
