//! The program against two hosts at once, which speak TLS as hosts do: each verb, and each exit code. docs/cli.md is tested,
//! too: what it shows is what the program prints.

#![expect(clippy::unwrap_used, reason = "this is a test")]

mod fake;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use lepton_host_api::roles::Role;
use lepton_keys::{Folder, Lifetime};
use serde_json::Value;

use fake::wire::Wire;
use fake::{DOMAIN, Ran, World, now, read};

/// A trust domain with two hosts, and how they are named on the command line.
struct Fleet {
    world: World,
    both: String,
    one: String,
}

fn fleet() -> Fleet {
    let world = World::new();
    let [one, two] = hosts(&world);
    Fleet { both: format!("{one},{two}"), one, world }
}

fn hosts(world: &World) -> [String; 2] {
    ["edge-1", "edge-2"].map(|name| world.host(name, &format!("spiffe://{DOMAIN}/host/{name}")).to_string())
}

impl Fleet {
    fn ask(&self, role: Role, words: &[&str]) -> Ran {
        self.world.ask(role, &self.both, words)
    }

    fn ask_one(&self, role: Role, words: &[&str]) -> Ran {
        self.world.ask(role, &self.one, words)
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

#[test]
fn two_hosts_at_once_as_tables_and_as_json() {
    let fleet = fleet();
    let status = fleet.ask(Role::Reader, &["status"]);
    assert_eq!((status.code, status.err.as_str()), (0, ""), "{status:?}");
    let lines: Vec<&str> = status.out.lines().collect();
    assert!(
        lines[0].starts_with("HOST ") && lines[1].starts_with(&fleet.one) && lines[1].contains("edge-1"),
        "{status:?}"
    );
    assert!(lines.len() == 3 && lines[2].contains("edge-2"), "{status:?}");

    let json = fleet.ask(Role::Reader, &["services", "-o", "json"]);
    let all = objects(&json.out);
    assert_eq!((json.code, all.len()), (0, 6));
    let hosts: Vec<&str> = fleet.both.split(',').collect();
    assert_eq!((&all[0]["host"], &all[5]["host"]), (&hosts[0].into(), &hosts[1].into()));
    assert_eq!((&all[0]["name"], &all[0]["state"]), (&"network".into(), &"ready".into()));

    let logs = fleet.ask(Role::Reader, &["logs", "--tail", "2", "runtime"]);
    assert_eq!((logs.code, logs.out.lines().count()), (0, 4), "{logs:?}");
    for host in hosts {
        assert!(
            logs.out.contains(&format!("{host} 2026-11-30T08:00:03Z runtime: line 3\\x1b[31m\n")),
            "{logs:?}"
        );
    }
    let since =
        fleet.ask_one(Role::Reader, &["logs", "-o", "json", "--since", "2026-11-30T08:00:03Z", "runtime"]);
    assert_eq!(objects(&since.out).len(), 1, "{since:?}");
    // No service is called so, but a pod is.
    let pod = fleet.ask_one(Role::Reader, &["logs", "web"]);
    assert!(pod.code == 0 && pod.out.contains("web/: line 1"), "{pod:?}");
}

#[test]
fn an_exit_code_for_each_way_to_fail() {
    let fleet = fleet();
    let world = &fleet.world;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let slow = world.host("slow", &format!("spiffe://{DOMAIN}/host/slow")).to_string();
    let check = |ran: Ran, code: i32, part: &str| {
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.err.starts_with("lepton: ") && ran.err.contains(part), "{ran:?}");
    };
    // 1: refused or out of reach.
    check(world.ask(Role::Reader, &closed, &["status"]), 1, "cannot connect");
    let half = world.ask(Role::Reader, &format!("{},{closed}", fleet.one), &["time"]);
    assert!(half.out.contains(&fleet.one) && half.err.contains(&closed), "{half:?}");
    assert_eq!(half.code, 1);
    // 2: the command line.
    check(fleet.ask(Role::Reader, &["halt"]), 2, "no verb");
    check(fleet.ask(Role::Admin, &["reset"]), 2, "--yes");
    check(fleet.ask(Role::Admin, &["exec", "default/web", "ls"]), 2, "one host");
    check(world.run(&["-n", "edge-1", "status"]), 2, "no keys");
    check(world.run(&["--context", "lab", "status"]), 2, "no context");
    // 3: no such thing.
    check(fleet.ask_one(Role::Reader, &["services", "nothing"]), 3, "there is no service \"nothing\"");
    check(fleet.ask(Role::Reader, &["logs", "nothing"]), 3, "there is no service \"nothing\"");
    check(fleet.ask_one(Role::Admin, &["config", "confirm"]), 3, "on trial");
    // 4: conflicts, below.
    // 5: not allowed.
    check(fleet.ask(Role::Reader, &["reboot"]), 5, "Reboot needs the role operator");
    check(fleet.ask_one(Role::Operator, &["config", "get", "--secrets"]), 5, "secrets need the role admin");
    // 6: in time.
    check(world.ask(Role::Reader, &slow, &["--timeout", "300ms", "mounts"]), 6, "no answer in time");
    // Hosts that fail in different ways.
    let mixed = world.ask(Role::Reader, &format!("{slow},{closed}"), &["--timeout", "300ms", "mounts"]);
    assert_eq!(mixed.code, 1, "{mixed:?}");
}

#[test]
fn nobody_is_believed_who_is_not_of_the_trust_domain() {
    let fleet = fleet();
    let world = &fleet.world;
    // The certificate of another authority, held against hosts of this one: as of a thief of names.
    let other = Folder::create(&world.dir.path().join("other"), &DOMAIN.parse().unwrap(), now()).unwrap();
    other.issue(Role::Admin, Lifetime::PERSON, now(), &other).unwrap();
    let strange =
        |keys: &Folder| world.run(&["--keys", keys.path().to_str().unwrap(), "-n", &fleet.one, "status"]);
    let untrusted = strange(&other);
    assert!(
        untrusted.code == 5 && untrusted.err.contains("no authority of the bundle has signed it"),
        "{untrusted:?}"
    );
    std::fs::copy(world.keys.path().join("hosts.pem"), other.path().join("hosts.pem")).unwrap();
    let rejected = strange(&other);
    assert!(rejected.code == 5 && rejected.err.contains("TLS alert UnknownCA"), "{rejected:?}");

    // A certificate that is over.
    let old = Folder::at(world.dir.path().join("old"));
    world.keys.issue(Role::Reader, "1m".parse().unwrap(), now() - 3600, &old).unwrap();
    let over = strange(&old);
    assert!(over.code == 5 && over.err.contains("TLS alert CertificateExpired"), "{over:?}");
    assert!(over.err.contains("your certificate is over since 20"), "{over:?}");

    // A workload of a host is no host, though its certificate is of the same authority, unless the context says so.
    let id = format!("spiffe://{DOMAIN}/web");
    let workload = world.host("web", &id).to_string();
    let refused = world.ask(Role::Reader, &workload, &["status"]);
    assert!(refused.code == 5 && refused.err.contains(&format!("{id} is no host")), "{refused:?}");
    let config = world.dir.path().join("config/lepton/config.toml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let context = |id: &str| {
        let keys = world.keys.path().display();
        let text = format!(
            "current = 'lab'\n[contexts.lab]\nkeys = '{keys}'\nhosts = ['{workload}']\nhost-ids = {{ '{workload}' = '{id}' }}\n"
        );
        std::fs::write(&config, text).unwrap();
        world.run(&["status"])
    };
    assert_eq!(context(&id).code, 0);
    let another = context(&format!("spiffe://{DOMAIN}/host/a"));
    assert!(another.code == 5 && another.err.contains("the context says"), "{another:?}");
}

#[test]
fn configs_on_trial_and_conflicts() {
    let fleet = fleet();
    std::fs::write(fleet.world.dir.path().join("new.toml"), "hostname = \"edge-9\"\n").unwrap();
    std::fs::write(fleet.world.dir.path().join("bad.toml"), "hostnam = \"edge-9\"\n").unwrap();
    let bad = fleet.ask(Role::Reader, &["config", "check", "bad.toml"]);
    assert!(bad.code == 1 && bad.out.contains("did you mean hostname?"), "{bad:?}");

    let stale = fleet.ask_one(Role::Admin, &["config", "apply", "--expect", "r0", "new.toml"]);
    assert!(stale.code == 4 && stale.err.contains("changed meanwhile"), "{stale:?}");
    let tried = fleet.ask(Role::Admin, &["config", "apply", "--try", "60s", "new.toml"]);
    assert!(
        tried.code == 0 && tried.out.contains("goes back in 1m0s unless: lepton config confirm t1"),
        "{tried:?}"
    );
    let second = fleet.ask(Role::Admin, &["config", "apply", "new.toml"]);
    assert!(second.code == 4 && second.err.contains("on trial"), "{second:?}");
    let kept = fleet.ask(Role::Admin, &["config", "confirm"]);
    assert!(kept.code == 0 && kept.out.contains("keeps it"), "{kept:?}");
    assert_eq!(fleet.ask(Role::Admin, &["config", "confirm", "t1"]).code, 3);
    let get = fleet.ask_one(Role::Reader, &["config", "get"]);
    assert_eq!(get.out, "# revision r2\n# sources image, applied\nhostname = \"edge-1\"\n");
    for wrong in ["1500ms", "2h", "0s"] {
        assert_eq!(
            fleet.ask(Role::Admin, &["config", "apply", "--try", wrong, "new.toml"]).code,
            2,
            "{wrong}"
        );
    }
}

#[test]
fn a_program_gets_what_is_typed_and_its_code_is_passed_on() {
    let fleet = fleet();
    let keys = fleet.world.keys.path().display().to_string();
    let words = ["--keys", &keys, "-n", &fleet.one, "exec", "-i", "default/web", "cat", "-n"];
    let mut command = fleet.world.command(&words);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // More than one message.
    let typed = "x".repeat(200_000);
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (42, "200000 bytes were typed\n"));
    assert_eq!(ran.out, format!("cat -n\n{typed}"));
    assert_eq!(fleet.ask_one(Role::Admin, &["exec", "default/other", "ls"]).code, 3);
    assert_eq!(fleet.ask_one(Role::Operator, &["exec", "default/web", "ls"]).code, 5);
}

#[test]
fn archives_are_whole_or_absent() {
    let fleet = fleet();
    let dir = fleet.world.dir.path();
    let both = fleet.ask(Role::Operator, &["support-bundle", "all"]);
    assert_eq!(both.code, 0, "{both:?}");
    for (host, name) in fleet.both.split(',').zip(["edge-1", "edge-2"]) {
        let path = dir.join(format!("all/{}-support.tar.gz", host.replace(':', "_")));
        assert_eq!(read(&path), format!("archive of {name}"));
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fleet.ask_one(Role::Operator, &["support-bundle", "-"]).out, "archive of edge-1");
    let broken = fleet.world.host("broken", &format!("spiffe://{DOMAIN}/host/broken")).to_string();
    let lost = fleet.world.ask(Role::Operator, &broken, &["support-bundle", "x.tar.gz"]);
    assert!(lost.code == 1 && lost.err.contains("the disk is gone"), "{lost:?}");
    assert!(!dir.join("x.tar.gz").exists() && !dir.join("x.tar.gz.part").exists());
}

/// A log that is followed goes on when the connection breaks: every line comes once, and then the log's end.
#[test]
fn a_followed_log_outlives_its_connection() {
    let fleet = fleet();
    let wire = Wire::to(&fleet.one);
    let keys = fleet.world.keys.path().display().to_string();
    let words = ["--keys", &keys, "-n", &wire.address, "logs", "-f", "--tail", "2", "runtime"];
    let mut child =
        fleet.world.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || lines.next().unwrap_or_default();
    assert!(next().contains("line 2") && next().contains("line 3"));
    wire.cut();
    assert!(next().contains("line 4"));
    assert_eq!(next(), "");
    let ended = Ran::of(&child.wait_with_output().unwrap());
    assert!(ended.code == 0 && ended.err.contains("trying again"), "{ended:?}");
}

#[test]
fn the_local_socket_needs_no_keys() {
    let world = World::new();
    let socket = format!("unix:{}", world.local_host("edge-1").display());
    let version = world.run(&["-n", &socket, "version", "-o", "json"]);
    let answer = &objects(&version.out)[0];
    assert_eq!((&answer["caller"], &answer["role"]), (&"uid:0".into(), &"admin".into()));
    assert_eq!(world.run(&["-n", "unix:/absent.sock", "status"]).code, 1);
}

#[test]
fn shells_take_the_completions() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = world.run(&["completions", shell]);
        assert_eq!(text.code, 0);
        check_syntax(shell, &text.out, world.dir.path());
    }
    assert_eq!(world.run(&["completions", "tcsh"]).code, 2);
}

/// Lets a shell read it, if the machine has that shell.
#[expect(clippy::disallowed_methods, reason = "the shell is what judges")]
#[expect(clippy::print_stdout, reason = "a test says what it leaves out")]
fn check_syntax(shell: &str, text: &str, dir: &Path) {
    let file = dir.join(shell);
    std::fs::write(&file, text).unwrap();
    match std::process::Command::new(shell).arg("-n").arg(&file).output() {
        Ok(output) => {
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => println!("{shell} is left out: {error}"),
    }
    if shell == "bash" {
        let script = format!(
            "source {}; COMP_WORDS=(lepton -n a config ap); COMP_CWORD=4; _lepton; echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let output = std::process::Command::new(shell).arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "apply\n", "{output:?}");
    }
}

/// Every line of docs/cli.md that begins with `$ lepton` is run, from the first to the last, and the lines below it must be
/// what is printed. Spaces count as one, because addresses have another width there, and `...` stands for anything.
#[test]
fn the_page_shows_what_is_printed() {
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/cli.md"));
    let world = World::empty();
    std::fs::write(world.dir.path().join("edge.toml"), "hostname = \"edge-9\"\n").unwrap();
    let mut real = None;
    let mut commands = Vec::new();
    for (command, lines) in shown(&page) {
        // Hosts are there when their part of a machine config is.
        if command.contains("edge-") && real.is_none() {
            real = Some(hosts(&world));
        }
        let words: Vec<String> =
            command.split_whitespace().map(|word| to_real(word, real.as_ref())).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = world.run(&words);
        let printed = to_page(&format!("{}{}", ran.out, ran.err), real.as_ref());
        let mut rest: Vec<String> = printed.lines().map(one_space).collect();
        for line in lines {
            let want = one_space(line);
            let at = rest.iter().position(|line| is_like(line, &want));
            let at = at.unwrap_or_else(|| panic!("$ lepton {command}\n{want}\nis not in\n{printed}"));
            // Lines of two hosts come as each host sends them; those of one, in its order.
            let host = is_of_two(command).then(|| first_word(&want));
            let mut index = 0..;
            rest.retain(|line| {
                let is_before = index.next().is_some_and(|index| index <= at);
                !is_before || host.as_ref().is_some_and(|host| first_word(line) != *host)
            });
        }
        commands.push(command);
    }
    for verb in lepton_host_api::roles::METHODS.map(|method| verb_of(method.name)) {
        assert!(commands.iter().any(|command| command.contains(verb)), "docs/cli.md shows no {verb}");
    }
    assert!(page.contains(&world.run(&["help", "exit-codes"]).out), "docs/cli.md has other exit codes");
}

fn first_word(line: &str) -> String {
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// Whether it prints the lines of more than one host while they come.
fn is_of_two(command: &str) -> bool {
    command.split_whitespace().next().is_some_and(|verb| ["logs", "dmesg", "events"].contains(&verb))
}

/// Commands of the page with the lines below them.
fn shown(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut shown: Vec<(&str, Vec<&str>)> = Vec::new();
    // Of a command of another program nothing is known.
    let (mut is_code, mut is_ours) = (false, false);
    for line in page.lines() {
        if line.starts_with("```") {
            (is_code, is_ours) = (!is_code, false);
        } else if let Some(command) = line.strip_prefix("$ lepton ").filter(|_| is_code) {
            shown.push((command, Vec::new()));
            is_ours = true;
        } else if line.starts_with("$ ") {
            is_ours = false;
        } else if let (true, Some((_, lines))) = (is_code && is_ours && !line.is_empty(), shown.last_mut()) {
            lines.push(line);
        }
    }
    shown
}

/// How the verb of a method is written.
fn verb_of(method: &str) -> &'static str {
    let verbs = [
        ("StartService", "start"),
        ("StopService", "stop"),
        ("RestartService", "restart"),
        ("Network", "net"),
        ("GetConfig", "config get"),
        ("DiffConfig", "config diff"),
        ("CheckConfig", "config check"),
        ("ApplyConfig", "config apply"),
        ("ConfirmConfig", "config confirm"),
        ("SupportBundle", "support-bundle"),
        ("Version", "version"),
        ("Status", "status"),
        ("Services", "services"),
        ("Events", "events"),
        ("Logs", "logs"),
        ("Dmesg", "dmesg"),
        ("Top", "top"),
        ("Processes", "processes"),
        ("Time", "time"),
        ("Disks", "disks"),
        ("Mounts", "mounts"),
        ("Pods", "pods"),
        ("Containers", "containers"),
        ("Images", "images"),
        ("Exec", "exec"),
        ("Reboot", "reboot"),
        ("Poweroff", "poweroff"),
        ("Reset", "reset"),
    ];
    verbs.iter().find(|(name, _)| *name == method).unwrap().1
}

fn to_real(word: &str, hosts: Option<&[String; 2]>) -> String {
    hosts.map_or(word.to_owned(), |[one, two]| word.replace("edge-1", one).replace("edge-2", two))
}

fn to_page(text: &str, hosts: Option<&[String; 2]>) -> String {
    hosts.map_or(text.to_owned(), |[one, two]| text.replace(one, "edge-1").replace(two, "edge-2"))
}

fn one_space(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_like(line: &str, want: &str) -> bool {
    let Some((first, last)) = want.split_once("...") else { return line == want };
    line.len() >= first.len() + last.len() && line.starts_with(first) && line.ends_with(last)
}
