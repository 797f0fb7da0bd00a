//! promtool reads the figures, and Prometheus scrapes them over TLS with a certificate; what it stored is compared with what the
//! host told before and after.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client;
use crate::host::NAME;
use crate::running::Running;
use crate::tools::Tree;
use crate::{Site, said};

/// Prometheus opens a database first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gauges that nothing on this machine changes.
const STEADY: [&str; 8] = [
    "lepton_build_info",
    "lepton_collector_success",
    "lepton_config_errors",
    "lepton_memory_total_bytes",
    "lepton_phase",
    "lepton_ready_seconds",
    "lepton_service_",
    "lepton_state_persistent",
];

/// Samples by their names and labels, in Prometheus' order.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Types and texts of families, without what the older format puts behind names of counters.
type Families = BTreeMap<String, (String, String)>;

/// Reads `# HELP NAME TEXT` and `# TYPE NAME TYPE`.
fn families(text: &str) -> Families {
    let mut families = Families::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(what), Some(name), Some(rest)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let family = families.entry(name.trim_end_matches("_total").to_owned()).or_default();
        match what {
            "TYPE" => rest.clone_into(&mut family.0),
            "HELP" => rest.clone_into(&mut family.1),
            other => panic!("{other}: {line}"),
        }
    }
    families
}

/// What Prometheus knows of the families that a target has.
fn known(port: u16) -> Families {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let path = "/api/v1/targets/metadata?match_target=%7Bjob%3D%22hosts%22%7D";
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let list = body["data"].as_array().unwrap_or_else(|| panic!("{body}"));
    let family = |one: &Value| {
        let [name, kind, help] = ["metric", "type", "help"].map(|key| one[key].as_str().unwrap().to_owned());
        match &*kind {
            // OpenMetrics alone has this type, so that is what Prometheus was told in.
            "info" => (format!("{name}_info"), ("gauge".to_owned(), help)),
            _ => (name, (kind, help)),
        }
    };
    assert!(list.iter().any(|one| one["type"] == "info"), "{body}");
    list.iter().map(family).collect()
}

/// What the host tells now, in the older format.
async fn told(site: &Site) -> String {
    let reader = site.operators.client("spiffe://example.org/role/reader");
    let answer = client::get(&site.host, reader, "/metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

/// Reads `NAME{LABEL="VALUE",…} NUMBER`. No value in these tests has a quotation mark or a backslash.
fn samples(text: &str) -> Samples {
    let mut samples = Samples::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        assert!(!labels.contains('\\'), "{line}");
        let labels = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
            let (label, value) = pair.split_once("=\"").unwrap();
            (label.to_owned(), value.trim_end_matches('"').to_owned())
        });
        // A label without a value is none (OpenMetrics 1.0, "Label").
        let labels = labels.filter(|(_, value)| !value.is_empty());
        let before = samples.insert((name.to_owned(), labels.collect()), value.parse().unwrap());
        assert!(before.is_none(), "twice: {line}");
    }
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_has_nothing_to_say() {
    let Some(tree) = Tree::find() else { return };
    let site = Site::start().await;
    let mut command = tree.command("usr/bin/promtool");
    command.args(["check", "metrics", "--extended"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(told(&site).await.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    assert!(said(&output).contains("lepton_service_state"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_has_what_was_told() {
    let Some(tree) = Tree::find() else { return };
    let site = Site::start().await;
    let first = told(&site).await;
    let before = samples(&first);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let pem = site.path("reader.pem");
    // As docs/metrics.md has it.
    let job = |name: &str, tls: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  tls_config: {{ca_file: {}, server_name: {NAME}{tls}}}\n  \
             static_configs: [{{targets: ['{}']}}]\n",
            site.hosts().display(),
            site.host.address
        )
    };
    let own = format!(", cert_file: {0}, key_file: {0}", pem.display());
    let settings = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{}{}",
        job("hosts", &own),
        job("nobody", "")
    );
    fs::write(site.path("prometheus.yml"), settings).unwrap();
    let mut command = tree.command("usr/bin/prometheus");
    command.arg(format!("--config.file={}", site.path("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", site.path("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let log = File::create(site.path("prometheus.log")).unwrap();
    let _running = Running(command.stderr(log).spawn().unwrap());
    let query = |text: &str| {
        let mut command = tree.command("usr/bin/promtool");
        command.args(["query", "--format=json", "instant", &format!("http://127.0.0.1:{port}"), text]);
        let output = command.output().unwrap();
        serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap_or_default()
    };
    let start = Instant::now();
    while query("up{job='hosts'} == 1").is_empty() || query("up{job='nobody'}").is_empty() {
        let log = || fs::read_to_string(site.path("prometheus.log")).unwrap();
        assert!(start.elapsed() < PATIENCE, "{}", log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let found = query("{job='hosts'}");
    let after = samples(&told(&site).await);
    assert_eq!(query("up{job='nobody'}")[0]["value"][1], "0", "without a certificate it has nothing");

    let mut stored = Samples::new();
    for one in &found {
        let mut labels: BTreeMap<String, String> = serde_json::from_value(one["metric"].clone()).unwrap();
        let name = labels.remove("__name__").unwrap();
        assert_eq!(labels.remove("instance").unwrap(), site.host.address.to_string());
        labels.remove("job").unwrap();
        let is_own = name == "up" || name.starts_with("scrape_");
        if !is_own {
            stored.insert((name, labels), one["value"][1].as_str().unwrap().parse().unwrap());
        }
    }
    // This machine's own processes and disks come and go; what the host told twice is there,
    // and nothing that it never told.
    for (series, value) in before.iter().filter(|(series, _)| after.contains_key(series)) {
        let stored = stored.get(series).unwrap_or_else(|| panic!("{series:?} is missing"));
        let later = after[series];
        if series.0.ends_with("_total") {
            assert!((*value..=later).contains(stored), "{series:?}: {value} {stored} {later}");
        } else if STEADY.iter().any(|start| series.0.starts_with(start)) {
            assert_eq!([value.to_bits(), later.to_bits()], [stored.to_bits(); 2], "{series:?}");
        } else {
            assert!(stored.is_finite(), "{series:?}");
        }
    }
    for series in stored.keys() {
        assert!(before.contains_key(series) || after.contains_key(series), "{series:?} was never told");
    }
    assert_eq!(known(port), families(&first));
    // What the service's PID 1 says (service/pid1.rs).
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
        stored.get(&(name.to_owned(), labels.collect())).copied()
    };
    assert_eq!(value("lepton_service_state", &[("service", "web"), ("state", "ready")]), Some(1.0));
    assert_eq!(value("lepton_service_state", &[("service", "web"), ("state", "failed")]), Some(0.0));
    assert_eq!(value("lepton_service_starts_total", &[("service", "db")]), Some(1.0));
    assert_eq!(value("lepton_phase", &[("phase", "ready")]), Some(1.0));
    assert_eq!(value("lepton_ready_seconds", &[]), Some(0.003));
}
