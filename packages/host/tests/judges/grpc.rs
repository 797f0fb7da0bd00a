//! grpcurl: gRPC as Go has it, with messages made and read by the published descriptions alone.

use std::process::{Command, Output};

use lepton_host_api::roles::METHODS;
use serde_json::{Value, json};
use tonic::Code;

use crate::host::NAME;
use crate::methods::expected;
use crate::tools::named;
use crate::{Site, descriptions, said};

/// The variable that names the program.
const PROGRAM: &str = "LEPTON_TEST_GRPCURL";
const SERVICE: &str = "lepton.host.v1.Host";
/// What grpcurl adds to the code of a call that failed.
const FAILED: i32 = 64;

/// It with descriptions alone, which cannot be asked for at the host.
#[expect(clippy::disallowed_methods, reason = "this program is the judge")]
fn grpcurl() -> Option<Command> {
    let mut command = Command::new(named(PROGRAM)?);
    command.env_clear().arg("-import-path").arg(descriptions());
    command.args(["-proto", "lepton/host/v1/host.proto"]);
    Some(command)
}

/// A call by somebody.
fn call(site: &Site, role: Option<&str>, method: &str, request: &str) -> Output {
    let mut command = grpcurl().unwrap();
    command.arg("-cacert").arg(site.hosts()).args(["-servername", NAME, "-max-time", "3", "-d", request]);
    if let Some(role) = role {
        let pem = site.path(&format!("{role}.pem"));
        command.arg("-cert").arg(&pem).arg("-key").arg(&pem);
    }
    command.arg(site.host.address.to_string()).arg(format!("{SERVICE}/{method}")).output().unwrap()
}

/// The messages of an answer.
fn messages(output: &Output) -> Vec<Value> {
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    messages.map(|message| message.unwrap_or_else(|error| panic!("{error}: {}", said(output)))).collect()
}

/// A request of each method that `methods.rs` makes in Rust.
fn request(method: &str) -> &'static str {
    match method {
        "StartService" | "StopService" | "RestartService" => r#"{"name": "web"}"#,
        "Logs" => r#"{"service": "web"}"#,
        "Top" => r#"{"intervalMs": 200, "count": 1}"#,
        "DiffConfig" | "CheckConfig" => r#"{"text": "hostname = 'a'"}"#,
        "ApplyConfig" => r#"{"text": "hostname = 'a'", "expectedRevision": "r-1"}"#,
        "ConfirmConfig" => r#"{"id": "t-1"}"#,
        "Exec" => r#"{"start": {"container": {"container": "web"}, "command": ["/bin/true"]}}"#,
        "Reset" => r#"{"later": true}"#,
        "SupportBundle" => r#"{"logLines": 5}"#,
        _ => "{}",
    }
}

#[test]
fn the_descriptions_have_every_method() {
    let Some(mut command) = grpcurl() else { return };
    let listed = command.args(["list", SERVICE]).output().unwrap();
    let mut listed: Vec<_> = said(&listed).lines().map(str::to_owned).collect();
    listed.sort();
    let mut known: Vec<_> = METHODS.iter().map(|method| format!("{SERVICE}.{}", method.name)).collect();
    known.sort();
    assert_eq!(listed, known);
    let described = grpcurl().unwrap().args(["describe", "lepton.host.v1.LogLine"]).output().unwrap();
    assert!(said(&described).contains("int64 time_unix_ms = 1;"), "{}", said(&described));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_answered() {
    if grpcurl().is_none() {
        return;
    }
    let site = Site::start().await;
    for method in &METHODS {
        let name = method.name;
        let output = call(&site, Some("admin"), name, request(name));
        // Changes of services are told until the caller has enough of that.
        let code = if name == "Events" { Code::DeadlineExceeded } else { expected(name) };
        let wanted = if code == Code::Ok { 0 } else { FAILED + code as i32 };
        assert_eq!(output.status.code(), Some(wanted), "{name}: {}", said(&output));
        if matches!(code, Code::Ok | Code::DeadlineExceeded) {
            assert!(!messages(&output).is_empty(), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_field_by_field() {
    if grpcurl().is_none() {
        return;
    }
    let site = Site::start().await;
    let only = |method: &str, request: &str| {
        let output = call(&site, Some("reader"), method, request);
        let [message] = &messages(&output)[..] else { panic!("{}", said(&output)) };
        message.clone()
    };
    let service = |name: &str| {
        json!({
            "name": name, "state": "SERVICE_STATE_READY", "pid": 7, "starts": 1, "forMs": "1",
            "memoryBytes": "4096", "tasks": "1",
        })
    };
    // What its PID 1 says (service/pid1.rs), and nothing else.
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let status = json!({
        "image": "node", "imageVersion": "1", "arch": "x86_64", "kernel": "6.1", "phase": "PHASE_READY",
        "uptimeMs": "5", "readyMs": "3", "hostname": "edge-1", "addresses": ["192.0.2.10"],
        "state": {"filesystem": "tmpfs"}, "services": [service("db"), service("web")], "bootId": boot_id.trim(),
    });
    assert_eq!(only("Status", "{}"), status);
    assert_eq!(only("Services", r#"{"name": "web"}"#), json!({"services": [service("web")]}));
    let version = only("Version", "{}");
    assert_eq!(version["hostId"], "spiffe://example.org/host/1");
    assert_eq!(version["caller"], "spiffe://example.org/role/reader");
    assert_eq!(version["role"], "ROLE_READER");
    // A stream that ends, and one that goes on.
    let boot = boot_ms();
    let lines = |output: &Output| {
        let messages = messages(output);
        let lines = messages.iter().flat_map(|it| it["lines"].as_array().unwrap());
        let line = |line: &Value| {
            let time: i64 = line["timeUnixMs"].as_str().unwrap().parse().unwrap();
            (time - boot, line["text"].as_str().unwrap().to_owned())
        };
        lines.map(line).collect::<Vec<_>>()
    };
    let ended = call(&site, Some("reader"), "Logs", r#"{"service": "web"}"#);
    let followed = call(&site, Some("reader"), "Logs", r#"{"service": "web", "follow": true}"#);
    let late = FAILED + Code::DeadlineExceeded as i32;
    for (output, code) in [(&ended, 0), (&followed, late)] {
        assert_eq!(output.status.code(), Some(code), "{}", said(output));
        let [(first, one), (second, two)] = &lines(output)[..] else { panic!("{}", said(output)) };
        assert_eq!((&**one, &**two, second - first), ("one", "two", 1));
        // A millisecond after this machine's start, by two clocks.
        assert!((-1000..1000).contains(first), "{first}");
    }
    let events = call(&site, Some("reader"), "Events", "{}");
    let first = messages(&events).remove(0);
    assert_eq!(first["changes"], json!([{"service": service("db")}, {"service": service("web")}]));
}

/// When this machine was started, in milliseconds since 1970.
fn boot_ms() -> i64 {
    let of = |id| {
        let time = rustix::time::clock_gettime(id);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    };
    of(rustix::time::ClockId::Realtime) - of(rustix::time::ClockId::Boottime)
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals() {
    if grpcurl().is_none() {
        return;
    }
    let site = Site::start().await;
    for (role, method, request, code, text) in [
        ("reader", "Reboot", "{}", Code::PermissionDenied, "Reboot needs the role operator"),
        ("operator", "ApplyConfig", request("ApplyConfig"), Code::PermissionDenied, "needs the role admin"),
        ("reader", "Services", r#"{"name": "nobody"}"#, Code::NotFound, "nobody"),
        ("reader", "Top", r#"{"intervalMs": 1, "count": 1}"#, Code::InvalidArgument, ""),
        ("admin", "ApplyConfig", r#"{"text": "", "expectedRevision": "old"}"#, Code::Aborted, ""),
    ] {
        let output = call(&site, Some(role), method, request);
        assert_eq!(output.status.code(), Some(FAILED + code as i32), "{method}: {}", said(&output));
        let wanted = format!("Code: {code:?}");
        assert!(
            said(&output).contains(&wanted) && said(&output).contains(text),
            "{method}: {}",
            said(&output)
        );
    }
    let output = call(&site, None, "Version", "{}");
    assert!(!output.status.success() && output.stdout.is_empty(), "{}", said(&output));
    assert!(said(&output).contains("certificate required"), "{}", said(&output));
}
