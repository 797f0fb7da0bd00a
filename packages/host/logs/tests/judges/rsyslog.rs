//! rsyslogd as destination: RFC 5424 in the frames of RFC 5425, over TLS with client certificates. It writes down each property
//! of a message, with the structured data as its own module has parsed that.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{Host, until, write_lines};
use crate::running::Running;
use crate::said::{From, Line, host_name, say};
use crate::tools::Tree;
use crate::trust::{Members, Trust};
use crate::workload::Workload;

/// A host whose destination is an rsyslogd that lets members of a trust domain in.
struct Site {
    host: Host,
    members: Members,
    workload: Workload,
    _rsyslogd: Running,
}

impl Site {
    fn new(tree: &Tree) -> Self {
        let (trust, members) = (Trust::new(), Members::new());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = Host::new(&format!(
            "[[logs.destinations]]\nname = 'central'\nurl = 'syslog+tls://127.0.0.1:{port}'\nidentity = true\n\
             trust-bundle = '''{}'''\n",
            trust.pem
        ));
        let path = |name: &str| host.path(name).display().to_string();
        fs::write(path("ca.pem"), members.pem()).unwrap();
        fs::write(path("cert.pem"), &trust.certificate_pem).unwrap();
        fs::write(path("key.pem"), &trust.key_pem).unwrap();
        let properties = [
            ("pri", "pri"),
            ("facility", "syslogfacility-text"),
            ("severity", "syslogseverity-text"),
            ("version", "protocol-version"),
            ("host", "hostname"),
            ("app", "app-name"),
            ("process", "procid"),
            ("id", "msgid"),
            ("data", "$!rfc5424-sd"),
            ("message", "msg"),
        ];
        let properties = properties
            .map(|(name, of)| format!("  property(outname=\"{name}\" name=\"{of}\" format=\"jsonf\")\n"))
            .concat();
        let settings = format!(
            r#"global(workDirectory="{dir}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
  DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="{dir}/ca.pem"
  DefaultNetstreamDriverCertFile="{dir}/cert.pem" DefaultNetstreamDriverKeyFile="{dir}/key.pem")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
module(load="mmpstrucdata")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="all" type="list" option.jsonf="on") {{
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
{properties}}}
action(type="mmpstrucdata")
action(type="omfile" file="{dir}/messages" template="all")
"#,
            dir = host.dir.path().display()
        );
        fs::write(path("rsyslog.conf"), settings).unwrap();
        let mut command = tree.command("usr/sbin/rsyslogd");
        command.args(["-n", "-f", &path("rsyslog.conf"), "-i", &path("rsyslog.pid"), "-M"]);
        command.arg(tree.libraries().join("rsyslog")).stdin(Stdio::null());
        let rsyslogd = command.stderr(File::create(path("rsyslog.said")).unwrap()).spawn().unwrap();
        let workload = Workload::serve(&host.path("workload.sock"));
        Self { host, members, workload, _rsyslogd: Running(rsyslogd) }
    }

    /// What rsyslogd complained about.
    fn said(&self) -> String {
        fs::read_to_string(self.host.path("rsyslog.said")).unwrap()
    }

    /// Messages as rsyslogd understood them, but for those of its own.
    fn messages(&self) -> Vec<Value> {
        let bytes = fs::read(self.host.path("messages")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // The last line may not be whole yet.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let messages = whole.map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        messages.filter(|message| message["app"] != "rsyslogd").collect()
    }
}

/// What rsyslogd has to say of a line.
fn expected(line: &Line) -> Value {
    let severity = if line.stream == "stderr" { (3, "err") } else { (6, "info") };
    let ((facility, name), app) = match line.from {
        From::Kernel => ((0, "kern"), "kernel"),
        From::Service => ((3, "daemon"), "network"),
        From::Container => ((16, "local0"), "db"),
        From::Pod => ((16, "local0"), "app"),
    };
    let mut data = match line.from {
        From::Kernel | From::Service => json!({"unit": app}),
        From::Container => json!({"unit": app, "container": app}),
        From::Pod => {
            json!({"namespace": "shop", "pod": "web-1", "pod-uid": "c7e4c2a1", "restart": "0", "container": app})
        }
    };
    data["stream"] = line.stream.into();
    if line.is_part {
        data["partial"] = "true".into();
    }
    data["ns"] = line.time_ns.to_string().into();
    // RFC 5424 section 6.2.3: TIME-SECFRAC has six digits at the most.
    let (seconds, micros) = (line.time_ns / 1_000_000_000, line.time_ns / 1000 % 1_000_000);
    let hour = if seconds < 1_796_032_800 { "09" } else { "10" };
    json!({
        "time": format!("2026-11-30T{hour}:00:00.{micros:06}Z"),
        "pri": (facility * 8 + severity.0).to_string(),
        "facility": name,
        "severity": severity.1,
        "version": "1",
        "host": host_name(),
        "app": app,
        "process": "-",
        "id": "-",
        "data": json!({"lepton@32473": data}),
        "message": String::from_utf8_lossy(&line.text),
    })
}

#[test]
fn every_field_of_every_message() {
    let Some(tree) = Tree::find() else { return };
    let mut site = Site::new(&tree);
    site.workload.give(site.members.svid());
    let lines = say(&site.host);
    site.host.start();
    until("all messages", || site.messages().len() >= lines.len());
    let mut messages = site.messages();
    for message in &mut messages {
        // The module's own JSON.
        message["data"] = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
    }
    for line in &lines {
        let expected = expected(line);
        let place = messages.iter().position(|found| *found == expected);
        let place = place.unwrap_or_else(|| panic!("{expected:#}\nis not among\n{messages:#?}"));
        messages.remove(place);
    }
    assert_eq!(messages, Vec::<Value>::new(), "nobody wrote these");
    let bytes = fs::read(site.host.path("messages")).unwrap();
    assert!(bytes.windows(13).any(|bytes| bytes == b"\"not \xff UTF-8\""), "bytes stay as they are");
    // It says what is wrong with a connection, its end included.
    site.host.stop();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(site.said(), "");
}

#[test]
fn a_refused_certificate_costs_no_line() {
    let Some(tree) = Tree::find() else { return };
    let mut site = Site::new(&tree);
    site.workload.give(Members::new().svid());
    write_lines(&site.host.log(), 0..5000);
    site.host.start();
    until("it is refused", || site.host.figure("retries_total", "central") > 2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(site.host.figure("sent_lines_total", "central"), 0, "{}", site.host.said());
    assert_eq!(site.messages().len(), 0);
    assert!(site.said().contains("certificate verify failed"), "{}", site.said());
    site.workload.give(site.members.svid());
    until("all lines", || site.messages().len() >= 5000);
    let texts: Vec<_> = site.messages().iter().map(|it| it["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, (0..5000).map(|number| format!("line {number}")).collect::<Vec<_>>());
    site.host.stop();
}
