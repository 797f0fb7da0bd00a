//! The configuration as kubelet reads it, alone and in a cluster.

use expect_test::expect_file;

use super::*;

const HOST: Host = Host { cpus: 4, memory_mib: 2048, has_kernel_defaults: true, has_ipv6: true };

fn kubelet(text: &str) -> Kubelet {
    let parsed = lepton_config::parse("x", &format!("[kubelet]\n{text}"));
    assert_eq!(parsed.problems, []);
    parsed.config.kubelet
}

fn token() -> Role {
    let (server, ca_hash) = ("https://a".to_owned(), "sha256:0".to_owned());
    Role::Token { server, token: "secret".to_owned(), ca_hash }
}

fn made(kubelet: &Kubelet, role: &Role) -> (Result<Value, Failure>, Vec<String>) {
    let places = Places::of_host();
    let inputs = Inputs { kubelet, role, host: HOST, places: &places, node_name: "edge-1" };
    let words = arguments(&inputs).into_iter().map(|word| word.into_string().unwrap());
    (make(&inputs).map(|made| Value::Object(made.document)), words.collect())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

#[test]
fn a_host_alone() {
    let (document, arguments) = made(&kubelet(""), &Role::Alone);
    expect_file!["golden/alone.json"].assert_eq(&pretty(&document.unwrap()));
    expect_file!["golden/alone.arguments"].assert_eq(&(arguments.join("\n") + "\n"));
}

#[test]
fn a_node_of_a_cluster() {
    let text = r#"
        kubeconfig = "x"
        node-ips = ["192.0.2.10", "2001:db8::10"]
        labels = { "example.org/rack" = "r1" }
        taints = ["dedicated=gpu:NoSchedule"]
        zone = "a"
        region = "north"
        cluster-domain = "cluster.example"
        cluster-dns = ["10.96.0.10"]
        reserved-cpu-m = 500
        reserved-memory-mib = 300
        max-pods = 30
        pod-pids-max = 1000
    "#;
    let (document, arguments) = made(&kubelet(text), &token());
    expect_file!["golden/joined.json"].assert_eq(&pretty(&document.unwrap()));
    expect_file!["golden/joined.arguments"].assert_eq(&(arguments.join("\n") + "\n"));
}

#[test]
fn a_node_that_joins_with_its_identity_has_no_certificate_to_show() {
    let (server, ca_hash) = ("https://a".to_owned(), "sha256:0".to_owned());
    let role = Role::Identity { server, ca_hash, audience: "kubernetes".to_owned() };
    let (document, arguments) = made(&kubelet(""), &role);
    let document = document.unwrap();
    assert_eq!(document["rotateCertificates"], false);
    assert_eq!(document["serverTLSBootstrap"], true);
    assert!(arguments.iter().any(|word| word == "--kubeconfig=/var/lib/kubelet/kubeconfig"));
    assert!(!arguments.iter().any(|word| word.starts_with("--bootstrap")), "{arguments:?}");
}

#[test]
fn settings_come_last_and_field_by_field() {
    let text = "settings = \"\"\"\nkind: KubeletConfiguration\nevictionHard: {pid.available: 1%}\nmaxPods: 5\n\"\"\"";
    let document = made(&kubelet(text), &Role::Alone).0.unwrap();
    assert_eq!(document["maxPods"], 5);
    assert_eq!(document["evictionHard"]["pid.available"], "1%");
    assert_eq!(document["evictionHard"]["nodefs.available"], "10%");
    for (text, message) in [("- a", "fields of a"), ("kind: Pod", "kind: it is \"Pod\""), ("a: [", "line ")] {
        let error = made(&kubelet(&format!("settings = {text:?}")), &Role::Alone).0.unwrap_err().to_string();
        assert!(error.starts_with("kubelet.settings: ") && error.contains(message), "{error}");
    }
}

#[test]
fn reservations_grow_with_the_host() {
    for (cpus, memory_mib, cpu, memory) in [
        (1, 512, "60m", "136Mi"),
        (2, 1024, "70m", "144Mi"),
        (8, 16384, "90m", "384Mi"),
        (64, 1 << 20, "230m", "1152Mi"),
    ] {
        let host = Host { cpus, memory_mib, ..HOST };
        let reserved = reserved(&Kubelet::default(), host);
        assert_eq!(
            (reserved.kube["cpu"].as_str(), reserved.kube["memory"].as_str()),
            (Some(cpu), Some(memory))
        );
    }
}
