//! The OpenTelemetry collector's receiver as destination, over HTTP and over TLS with client certificates. What it understood is
//! written in OTLP's JSON by the collector, and compared whole.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{Host, until, write_lines};
use crate::running::Running;
use crate::said::{From, Line, host_name, say};
use crate::tools::named;
use crate::trust::{Members, Trust};
use crate::workload::Workload;

/// The variable that names the program.
const PROGRAM: &str = "LEPTON_TEST_OTLP";

struct Collector {
    address: String,
    /// Requests in OTLP's JSON.
    requests: Arc<Mutex<Vec<Value>>>,
    _running: Running,
}

impl Collector {
    /// Listens, with TLS when it gets the paths of a certificate, its key, and an authority of clients.
    #[expect(clippy::disallowed_methods, reason = "this program is the judge")]
    fn start(program: &Path, tls: &[&Path]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = Command::new(program);
        let mut child = command.arg(&address).args(tls).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let running = Running(child);
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let requests: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { address, requests, _running: running }
    }

    /// Log records with the resource and the scope that they are under.
    fn records(&self) -> Vec<(Value, Value, Value)> {
        let mut records = Vec::new();
        for request in self.requests.lock().unwrap().iter() {
            only(request, &["resourceLogs"]);
            for of_resource in list(&request["resourceLogs"]) {
                only(of_resource, &["resource", "scopeLogs"]);
                for of_scope in list(&of_resource["scopeLogs"]) {
                    only(of_scope, &["scope", "logRecords"]);
                    let (resource, scope) = (&of_resource["resource"], &of_scope["scope"]);
                    let found = list(&of_scope["logRecords"]).iter();
                    records.extend(found.map(|it| (resource.clone(), scope.clone(), it.clone())));
                }
            }
        }
        records
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// That an object has no other keys.
fn only(value: &Value, keys: &[&str]) {
    assert!(value.as_object().unwrap().keys().all(|key| keys.contains(&key.as_str())), "{value}");
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<Value> {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}

/// What the collector has to say of a line, but for the time at which it was observed.
fn expected(line: &Line) -> (Value, Value, Value) {
    let host = host_name();
    let mut resource = attributes(&[("host.name", &host)]);
    resource.extend(match line.from {
        From::Kernel => attributes(&[("service.name", "kernel"), ("lepton.unit", "kernel")]),
        From::Service => attributes(&[("service.name", "network"), ("lepton.unit", "network")]),
        From::Container => {
            attributes(&[("service.name", "db"), ("lepton.unit", "db"), ("container.name", "db")])
        }
        From::Pod => {
            let mut of_pod = attributes(&[
                ("service.name", "app"),
                ("k8s.namespace.name", "shop"),
                ("k8s.pod.name", "web-1"),
                ("k8s.pod.uid", "c7e4c2a1"),
                ("k8s.container.name", "app"),
            ]);
            of_pod.push(json!({"key": "k8s.container.restart_count", "value": {"intValue": "0"}}));
            of_pod
        }
    });
    let mut record = json!({
        "timeUnixNano": line.time_ns.to_string(),
        "severityNumber": if line.stream == "stderr" { 17 } else { 9 },
        "body": {"stringValue": String::from_utf8_lossy(&line.text)},
    });
    let mut of_record = Vec::new();
    if line.stream != "log" {
        of_record.extend(attributes(&[("log.iostream", line.stream)]));
    }
    if line.is_part {
        of_record.push(json!({"key": "lepton.partial", "value": {"boolValue": true}}));
    }
    if !of_record.is_empty() {
        record["attributes"] = of_record.into();
    }
    let scope = json!({"name": "lepton-logs", "version": env!("CARGO_PKG_VERSION")});
    (json!({"attributes": resource}), scope, record)
}

#[test]
fn every_field_of_every_record() {
    let Some(program) = named(PROGRAM) else { return };
    let collector = Collector::start(&program, &[]);
    let url = format!("otlp+http://{}", collector.address);
    let mut host = Host::new(&format!("[[logs.destinations]]\nname = 'central'\nurl = '{url}'\n"));
    let lines = say(&host);
    let start = now_ns();
    host.start();
    until("all records", || collector.records().len() >= lines.len());
    host.stop();
    let mut records = collector.records();
    for (_, _, record) in &mut records {
        let observed = record.as_object_mut().unwrap().remove("observedTimeUnixNano").unwrap();
        let observed = observed.as_str().unwrap().parse::<u64>().unwrap();
        assert!((start..=now_ns()).contains(&observed), "{observed}");
    }
    for line in &lines {
        let expected = expected(line);
        let place = records.iter().position(|found| *found == expected);
        let place = place.unwrap_or_else(|| panic!("{expected:#?}\nis not among\n{records:#?}"));
        records.remove(place);
    }
    assert_eq!(records, [], "nobody wrote these");
}

fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap()
}

#[test]
fn members_of_a_trust_domain_alone_over_tls() {
    let Some(program) = named(PROGRAM) else { return };
    let (trust, members) = (Trust::new(), Members::new());
    let mut host = Host::new("");
    let path = |name: &str| host.path(name);
    std::fs::write(path("cert.pem"), &trust.certificate_pem).unwrap();
    std::fs::write(path("key.pem"), &trust.key_pem).unwrap();
    std::fs::write(path("ca.pem"), members.pem()).unwrap();
    let collector = Collector::start(&program, &[&path("cert.pem"), &path("key.pem"), &path("ca.pem")]);
    host.configure(&format!(
        "[[logs.destinations]]\nname = 'central'\nurl = 'otlp+https://{}'\nidentity = true\n\
         trust-bundle = '''{}'''\n",
        collector.address, trust.pem
    ));
    let workload = Workload::serve(&host.path("workload.sock"));
    workload.give(Members::new().svid());
    write_lines(&host.log(), 0..20_000);
    host.start();
    until("it is refused", || host.figure("retries_total", "central") > 2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(host.figure("sent_lines_total", "central"), 0);
    workload.give(members.svid());
    until("all lines", || host.figure("sent_lines_total", "central") == 20_000);
    host.stop();
    let bodies: Vec<_> = collector
        .records()
        .iter()
        .map(|it| it.2["body"]["stringValue"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(bodies, (0..20_000).map(|number| format!("line {number}")).collect::<Vec<_>>());
    assert_eq!(host.figure("dropped_lines_total", "central"), 0);
}
