//! rsyslogd as destination: `LEPTON_TEST_RSYSLOG` names the program (Debian's packages `rsyslog` and `rsyslog-openssl`, or trees
//! of them). Its modules are beside it, in `../lib/*/rsyslog`. Without it this says what it leaves out.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::host::{Host, until, write_lines};
use crate::streams::Trust;

struct Rsyslog(Child);

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the modules of a program in a tree are.
#[expect(clippy::disallowed_methods, reason = "the order does not matter: there is one")]
fn modules(program: &Path) -> Option<PathBuf> {
    let libraries = program.parent()?.parent()?.join("lib");
    fs::read_dir(libraries)
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("rsyslog"))
        .find(|path| path.is_dir())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it is told which program, and starts it")]
fn rsyslogd_reads_what_is_sent() {
    let Some(program) = std::env::var_os("LEPTON_TEST_RSYSLOG").map(PathBuf::from) else {
        eprintln!(
            "left out: LEPTON_TEST_RSYSLOG does not name rsyslogd, so syslog is judged by RFC 5424 alone"
        );
        return;
    };
    let trust = Trust::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut host = Host::new(&format!(
        "[[logs.destinations]]\nname = 'central'\nurl = 'syslog+tls://127.0.0.1:{port}'\ntrust-bundle = '''{}'''\n",
        trust.pem
    ));
    let path = |name: &str| host.path(name).display().to_string();
    fs::write(path("ca.pem"), &trust.pem).unwrap();
    fs::write(path("cert.pem"), trust.certificate_pem()).unwrap();
    fs::write(path("key.pem"), trust.key_pem()).unwrap();
    fs::write(
        path("rsyslog.conf"),
        format!(
            r#"global(workDirectory="{dir}" maxMessageSize="64k" DefaultNetstreamDriver="ossl"
  DefaultNetstreamDriverCAFile="{dir}/ca.pem" DefaultNetstreamDriverCertFile="{dir}/cert.pem"
  DefaultNetstreamDriverKeyFile="{dir}/key.pem")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="all" type="string"
  string="%pri%|%timereported:::date-rfc3339%|%app-name%|%structured-data%|%msg%\n")
action(type="omfile" file="{dir}/messages" template="all")
"#,
            dir = host.dir.path().display()
        ),
    )
    .unwrap();
    let mut command = Command::new(&program);
    command.args(["-n", "-f", &path("rsyslog.conf"), "-i", &path("rsyslog.pid")]).stdin(Stdio::null());
    if let Some(modules) = modules(&program) {
        command.arg("-M").arg(modules);
    }
    let _running = Rsyslog(command.spawn().unwrap());
    write_lines(&host.log(), 0..500);
    fs::write(host.path("host/kernel.log"), "2026-11-30T10:00:00.500Z 1.500 up \"]\n").unwrap();
    let messages = host.path("messages");
    host.start();
    let lines = || fs::read_to_string(&messages).unwrap_or_default();
    until("all messages", || lines().lines().count() == 501);
    let lines = lines();
    for number in 0..500 {
        let expected = format!(
            "134|2026-11-30T10:00:00.{:06}+00:00|app|[lepton@32473 namespace=\"shop\" pod=\"web-1\" \
             pod-uid=\"c7e4c2a1\" restart=\"0\" container=\"app\" stream=\"stdout\" ns=\"{}\"]|line {number}",
            number / 1000,
            1_796_032_800_000_000_000_u64 + number
        );
        let is_it = |line: &str| line.replace('Z', "+00:00").replace("| ", "|") == expected;
        assert!(lines.lines().any(is_it), "{expected}\n{}", lines.lines().next().unwrap());
    }
    assert!(lines.contains("|kernel|[lepton@32473 unit=\"kernel\" stream=\"log\""), "{lines}");
    host.stop();
}
