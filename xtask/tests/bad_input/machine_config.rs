//! Machine configs on the workstation: every mistake with file and line, exit code 2.

use crate::support::{Bench, run, text};

/// Exit code of a wrong config.
const SPEC: i32 = 2;
/// Where the bench has its config, from the folder in which commands run.
const FILE: &str = "repo/edge.toml";

#[test]
fn every_mistake_of_a_machine_config() {
    let bench = Bench::new();
    bench.write(
        "edge.toml",
        r#"hostnam = "edge-1"
hostname = 5
[[network.links]]
match = { name = "eth0" }
dhcp = "v5"
mtu = 9
[[files]]
path = "/usr/bin/x"
content = ""
[[services]]
name = "agent"
command = ["/usr/bin/agent"]
restrat = "always"
[time
servers = ["192.0.2.1"]
"#,
    );
    let mistakes = [
        format!("{FILE}:1: hostnam: unknown key; did you mean \"hostname\"?"),
        format!("{FILE}:2: hostname: invalid type"),
        format!("{FILE}:5: network.links[0].dhcp: unknown variant `v5`; did you mean \"v4\"?"),
        format!("{FILE}:6: network.links[0].mtu: 9 is out of range"),
        format!("{FILE}:8: files[0].path: /usr/bin/x is not below /etc"),
        format!("{FILE}:13: services[0]: unknown field `restrat`; did you mean \"restart\"?"),
        format!("{FILE}:14: unclosed table"),
    ];
    let words: Vec<&str> = mistakes.iter().map(String::as_str).collect();
    bench.fails(bench.xtask(&["config", "check", FILE]), SPEC, &words);
}

#[test]
fn what_is_no_machine_config() {
    for (content, word) in [
        ("#cloud-config\nhostname: x\n".to_owned(), ":1: this is a cloud-init config"),
        ("{\"hostname\": \"x\"}".to_owned(), ":1: this is JSON"),
        ("#".repeat((1 << 20) + 1), ": larger than 1048576 bytes"),
    ] {
        let bench = Bench::new();
        bench.write("edge.toml", &content);
        bench.fails(bench.xtask(&["config", "check", FILE]), SPEC, &[&format!("{FILE}{word}")]);
    }
    let bench = Bench::new();
    bench.fails(
        bench.xtask(&["config", "check", "no-such-file.toml"]),
        SPEC,
        &["cannot read the machine config"],
    );
}

#[test]
fn a_good_machine_config() {
    let bench = Bench::new();
    bench.write("edge.toml", "hostname = \"edge-1\"\n");
    let output = run(bench.xtask(&["config", "check", FILE]));
    assert!(output.status.success(), "{}", text(&output));
}
