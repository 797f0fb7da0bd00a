//! `lepton-ctr` as people and as PID 1 run it: its commands, its exit codes, and one container whatever dies.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::Scenario;
use crate::containers::{pod, remove, start};
use crate::host::{Host, LIMIT, left_of, script};
use crate::image;

pub(crate) const ALL: &[Scenario] = &[
    ("ctr_runs_containers", runs),
    ("ctr_leaves_other_pods_alone", others),
    ("ctr_has_clear_errors", errors),
    ("a_service_has_one_container", service),
    ("a_service_is_replaced_and_passes_its_code_on", replaced),
];

/// The runtime's program, by its other name.
fn by_name(host: &Host) -> Command {
    let mut command = Command::new(host.program("runtime"));
    command.arg0("lepton-ctr");
    command
}

/// The program with this test's runtime.
pub(crate) fn command(host: &Host, words: &[&str]) -> Command {
    let mut command = by_name(host);
    command.arg("--socket").arg(host.path("cri.sock")).arg("--logs").arg(host.path("ctr-logs"));
    command.args(words).stdin(Stdio::null());
    command
}

/// Runs it to its end: exit code, output, error output.
pub(crate) fn ctr(host: &Host, words: &[&str]) -> (i32, String, String) {
    told(&command(host, words).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The same, which must succeed; gives its output.
pub(crate) fn done(host: &Host, words: &[&str]) -> String {
    let (code, output, errors) = ctr(host, words);
    assert_eq!(code, 0, "{words:?}: {output}{errors}");
    output
}

pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn nothing_is_left(host: &Host) {
    for folder in ["run/pods", "run/containers", "state/pods", "state/containers", "ctr-logs"] {
        assert_eq!(left_of(host, folder), Vec::<String>::new(), "{folder}");
    }
}

fn runs(_: &Runtime, host: &mut Host) {
    let images = done(host, &["images"]);
    assert!(images.contains(image::NAME), "{images}");
    let run = |options: &[&str], script: &str| {
        let shell = ["--network", "host", "--pull", "never", image::NAME, "sh", "-c", script];
        ctr(host, &[&["run"], options, &shell].concat())
    };
    let script = "echo $FROM_IMAGE $MINE; id -u; pwd; echo bad >&2; exit 7";
    let ended = run(&["--rm", "-e", "MINE=2", "--user", "web", "--workdir", "/etc"], script);
    assert_eq!(ended, (7, "1 2\n1000\n/etc\n".to_owned(), "bad\n".to_owned()));
    nothing_is_left(host);

    let (code, id, errors) = run(&["-d", "--name", "web"], "echo one; echo two; echo three; sleep 1000");
    assert_eq!((code, id.len()), (0, 65), "{id}{errors}");
    let shown = done(host, &["ps"]);
    assert!(shown.contains(&id[..12]) && shown.contains("web") && shown.contains("running"), "{shown}");
    wait("its log has no three lines", || done(host, &["logs", "web"]) == "one\ntwo\nthree\n");
    assert_eq!(done(host, &["logs", "-n", "1", "web"]), "three\n");
    assert!(done(host, &["logs", "-t", "web"]).contains("Z two\n"));

    // More than pipes and windows hold, there and back.
    let much: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let mut exec = command(host, &["exec", "-i", "web", "cat"]);
    let mut exec = exec.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = exec.stdin.take().unwrap();
    let typed = much.clone();
    let typing = std::thread::spawn(move || input.write_all(typed.as_bytes()).unwrap());
    let output = exec.wait_with_output().unwrap();
    typing.join().unwrap();
    assert!(
        output.status.success() && output.stdout == much.as_bytes(),
        "{} bytes came back",
        output.stdout.len()
    );
    assert_eq!(
        ctr(host, &["exec", "web", "sh", "-c", "echo out; echo err >&2; exit 42"]),
        (42, "out\n".to_owned(), "err\n".to_owned())
    );
    // No signal is ignored that the runtime or its maker of containers ignores, as far as the C library has names for them.
    let show = ["busybox", "grep", "SigIgn", "/proc/self/status"];
    let run = ["run", "--rm", "--network", "host", image::NAME];
    for words in [&["exec", "web"][..], &run] {
        let shown = done(host, &[words, &show].concat());
        let ignored = shown.trim().strip_prefix("SigIgn:\t").unwrap();
        assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 0x7fff_ffff, 0, "{words:?}: {ignored}");
    }
    assert_eq!(done(host, &["exec", "-t", "web", "sh", "-c", "test -t 1 && echo terminal"]), "terminal\r\n");

    let inspected: serde_json::Value = serde_json::from_str(&done(host, &["inspect", &id[..8]])).unwrap();
    assert_eq!((&inspected["name"], &inspected["state"]), (&"web".into(), &"running".into()));
    assert!(inspected["pid"].as_u64().is_some_and(|pid| pid > 1), "{inspected}");
    let listed: serde_json::Value = serde_json::from_str(&done(host, &["-o", "json", "ps"])).unwrap();
    assert_eq!((&listed["id"], &listed["service"]), (&id.trim().into(), &false.into()));

    done(host, &["stop", "-t", "0", "web"]);
    assert_eq!(done(host, &["ps"]).lines().count(), 1);
    assert!(done(host, &["ps", "-a"]).contains("exited (137)"));
    assert_eq!(done(host, &["logs", "-f", "web"]), "one\ntwo\nthree\n");
    done(host, &["rm", "web"]);
    nothing_is_left(host);
}

fn others(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "kubelets").await;
        let id = start(&mut client, &pod, script("theirs", "echo hello; sleep 1000")).await;
        let shown = done(host, &["ps"]);
        assert!(shown.contains("theirs") && shown.contains("default/kubelets"), "{shown}");
        assert_eq!(done(host, &["exec", "theirs", "echo", "hi"]), "hi\n");
        wait("no log", || done(host, &["logs", "theirs"]) == "hello\n");
        for words in [&["stop", "theirs"][..], &["rm", "-f", &id]] {
            let (code, _, errors) = ctr(host, words);
            assert_eq!(code, 1, "{errors}");
            assert!(errors.contains("belongs to the pod default/kubelets"), "{errors}");
        }
        remove(&mut client, pod).await;
    });
}

fn errors(_: &Runtime, host: &mut Host) {
    let words = ["run", "-d", "--name", "web", "--network", "host", image::NAME, "sleep", "1000"];
    done(host, &words);
    let program = ["run", "--network", "host", image::NAME, "no-such-program"];
    for (words, code, text) in [
        (&words[..], 125, "there is a container web already"),
        (&program[..], 125, "executable file not found"),
        (&["run", "--pull", "never", "no.such/image:1"], 125, "there is no image \"no.such/image:1\""),
        (&["exec", "web", "no-such-program"], 125, "not found"),
        (&["exec", "nobody", "true"], 125, "there is no container \"nobody\""),
        (&["logs", "nobody"], 3, "there is no container \"nobody\""),
        (&["rmi", "no.such/image:1"], 3, "there is no image"),
        (&["rm", "web"], 1, "web runs"),
        (&["ps", "-x"], 2, "usage:"),
    ] {
        let (real, _, errors) = ctr(host, words);
        assert_eq!(real, code, "{words:?}: {errors}");
        assert!(errors.contains(text), "{words:?}: {errors}");
    }
    done(host, &["rm", "-f", "web"]);
    let mut lost = by_name(host);
    let (code, _, errors) = told(&lost.args(["--socket", "/nowhere/cri.sock", "ps"]).output().unwrap());
    assert!(
        code == 1 && errors.contains("cannot reach the container runtime at /nowhere/cri.sock"),
        "{errors}"
    );
    nothing_is_left(host);
}

/// `run --service` as PID 1 starts it.
struct Service {
    process: Child,
    notices: UnixDatagram,
}

impl Service {
    fn start(host: &Host, more: &[&str], script: &str) -> Self {
        let socket = host.path("notify");
        let _ = std::fs::remove_file(&socket);
        let notices = UnixDatagram::bind(&socket).unwrap();
        notices.set_read_timeout(Some(LIMIT)).unwrap();
        let head = ["run", "--service", "--name", "svc", "--network", "host", "--env", "SECRET"];
        let mut command = command(host, &[&head, more, &["--", image::NAME, "sh", "-c", script]].concat());
        let log = File::options().create(true).append(true).open(host.path("service.log")).unwrap();
        command.env("NOTIFY_SOCKET", socket).env("SECRET", "s3cret");
        let process = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Self { process, notices }
    }

    fn ready(&self) {
        let mut bytes = [0; 4096];
        loop {
            let count = self.notices.recv(&mut bytes).expect("it becomes ready");
            if String::from_utf8_lossy(&bytes[..count]).contains("READY=1") {
                return;
            }
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), signal).unwrap();
    }

    fn ended(mut self) -> i32 {
        let mut code = None;
        wait("it does not end", || {
            code = self.process.try_wait().unwrap().and_then(|status| status.code().or(Some(-1)));
            code.is_some()
        });
        code.unwrap()
    }
}

fn service_log(host: &Host) -> String {
    std::fs::read_to_string(host.path("service.log")).unwrap_or_default()
}

/// Counts of the lines `tick N`.
fn ticks(host: &Host) -> Vec<u32> {
    let text = service_log(host);
    text.lines().filter_map(|line| line.strip_prefix("tick ")?.parse().ok()).collect()
}

fn containers(host: &Host) -> Vec<String> {
    let text = done(host, &["-o", "json", "ps", "-a"]);
    let values = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    values.map(|value| value["id"].as_str().unwrap().to_owned()).collect()
}

const TICKS: &str =
    "trap 'echo bye $SECRET; exit 5' TERM; i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done";

fn service(_: &Runtime, host: &mut Host) {
    let _ = std::fs::remove_file(host.path("service.log"));
    let first = Service::start(host, &[], TICKS);
    first.ready();
    let id = containers(host);
    assert_eq!(id.len(), 1);
    let goes_on = |host: &Host, what: &str| {
        let before = ticks(host).len();
        wait(what, || ticks(host).len() > before + 3);
    };
    goes_on(host, "it says nothing");
    // The runtime is replaced.
    host.kill();
    goes_on(host, "without the runtime it says nothing");
    host.start();
    goes_on(host, "after the runtime's restart it says nothing");
    assert_eq!(containers(host), id);
    let (code, _, errors) = ctr(host, &["stop", "svc"]);
    assert!(code == 1 && errors.contains("lepton stop svc"), "{errors}");
    // The program is killed, and the runtime as well.
    first.signal(rustix::process::Signal::KILL);
    assert_eq!(first.ended(), -1);
    host.kill();
    std::thread::sleep(Duration::from_millis(500));
    let second = Service::start(host, &[], TICKS);
    host.start();
    second.ready();
    goes_on(host, "after its own restart it says nothing");
    assert_eq!(containers(host), id, "there is another container");
    second.signal(rustix::process::Signal::TERM);
    assert_eq!(second.ended(), 5);
    let ticks = ticks(host);
    let expected: Vec<u32> = (0..u32::try_from(ticks.len()).unwrap()).collect();
    // A line may come twice when it was passed on and that was not yet written down.
    let mut once = ticks.clone();
    once.dedup();
    assert!(once.len() + 1 >= ticks.len() && once == expected[..once.len()], "{ticks:?}");
    assert!(service_log(host).contains("bye s3cret"), "{}", service_log(host));
    nothing_is_left(host);
}

fn replaced(_: &Runtime, host: &mut Host) {
    let _ = std::fs::remove_file(host.path("service.log"));
    let first = Service::start(host, &[], TICKS);
    first.ready();
    let id = containers(host);
    first.signal(rustix::process::Signal::KILL);
    assert_eq!(first.ended(), -1);
    // The machine config changed meanwhile.
    let second = Service::start(host, &["-e", "MORE=1"], "echo second $MORE; sleep 1; exit 3");
    second.ready();
    let other = containers(host);
    assert!(other.len() == 1 && other != id, "{other:?}");
    assert_eq!(second.ended(), 3);
    let log = service_log(host);
    assert!(log.contains("second 1\n") && log.contains("ended with code 3 (Error)"), "{log}");
    nothing_is_left(host);

    // It ends while nobody looks; its code is told to who looks next, and nothing is started twice.
    let third = Service::start(host, &[], "echo third; sleep 1; echo last; exit 4");
    third.ready();
    third.signal(rustix::process::Signal::KILL);
    assert_eq!(third.ended(), -1);
    wait("it does not end", || done(host, &["ps", "-a"]).contains("exited (4)"));
    let fourth = Service::start(host, &[], "echo third; sleep 1; echo last; exit 4");
    assert_eq!(fourth.ended(), 4);
    assert_eq!(service_log(host).matches("third").count(), 1, "{}", service_log(host));
    assert!(service_log(host).contains("last\n"));
    nothing_is_left(host);
}
