//! Processes of the host and of containers, without PID 1 and without Kubernetes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lepton_workload_api::attest::{Attestors, unix::Unix};
use tokio::runtime::Runtime;

use super::children::{Process, command};
use crate::support::{Running, SOON};
use crate::{Left, Outcome};

const WEB: &str = "ids spiffe://example.org/web";
const OTHER: u32 = 65534;

pub(crate) fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}

pub(crate) fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

pub(crate) fn needs_root() -> Outcome {
    if own_uid() == 0 { Ok(()) } else { Err(Left("as it needs root")) }
}

fn start(runtime: &Runtime) -> Running {
    let _entered = runtime.enter();
    let running = Running::new(Attestors::new().with(Unix::default()));
    running.cache.register("/web", "", &[&format!("unix:uid:{}", own_uid())]);
    running
}

pub(crate) fn until(what: &str, is: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn assert_denied(answer: &str) {
    assert_eq!(answer, "refused PermissionDenied: no identity issued");
}

pub(crate) fn host(runtime: &Runtime) -> Outcome {
    let running = start(runtime);
    assert_eq!(Process::start(&mut command(&program(), "call", &running.socket())).answer(), WEB);
    let found = running.cache.last();
    let path = program();
    let has = |text: String| assert!(found.contains(&text), "{text} is not in {found:?}");
    has(format!("unix:uid:{}", own_uid()));
    has(format!("unix:gid:{}", rustix::process::getgid().as_raw()));
    has(format!("unix:path:{}", path.display()));
    for group in rustix::process::getgroups().unwrap() {
        has(format!("unix:supplementary_gid:{}", group.as_raw()));
    }
    if own_uid() == 0 {
        has("unix:user:root".to_owned());
        has("unix:group:root".to_owned());
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, &std::fs::read(path).unwrap());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    has(format!("unix:sha256:{digest}"));
    Ok(())
}

pub(crate) fn other_user(runtime: &Runtime) -> Outcome {
    use std::os::unix::process::CommandExt as _;
    needs_root()?;
    let running = start(runtime);
    running.cache.register("/other", "", &[&format!("unix:uid:{OTHER}"), "unix:gid:1234"]);
    // It must get at the program.
    let copy = copy(&running, "program");
    let call = |uid: u32, gid: u32| {
        Process::start(command(&copy, "call", &running.socket()).uid(uid).gid(gid)).answer()
    };
    assert_eq!(call(OTHER, 1234), "ids spiffe://example.org/other");
    assert_denied(&call(OTHER, 1235));
    assert_denied(&call(OTHER - 1, 1234));
    Ok(())
}

pub(crate) fn became_another_user(runtime: &Runtime) -> Outcome {
    needs_root()?;
    let running = start(runtime);
    running.cache.register("/other", "", &[&format!("unix:uid:{OTHER}")]);
    let mut child =
        Process::start(command(&program(), "drop-user", &running.socket()).arg(OTHER.to_string()));
    // Neither of both: it connected as one, and calls as the other.
    assert_eq!(
        child.answer(),
        "refused PermissionDenied: the process became another user after it connected"
    );
    Ok(())
}

pub(crate) fn own_users(runtime: &Runtime) -> Outcome {
    let running = start(runtime);
    if std::fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|text| text.trim() == "0") {
        return Err(Left("as the kernel gives no user namespaces"));
    }
    assert_denied(&Process::start(&mut command(&program(), "users", &running.socket())).answer());
    assert_eq!(running.cache.last(), [""; 0]);
    Ok(())
}

pub(crate) fn own_processes(runtime: &Runtime) -> Outcome {
    needs_root()?;
    let running = start(runtime);
    assert_denied(&Process::start(&mut command(&program(), "processes", &running.socket())).answer());
    assert_eq!(running.cache.last(), [""; 0]);
    Ok(())
}

pub(crate) fn own_mounts(runtime: &Runtime) -> Outcome {
    needs_root()?;
    let running = start(runtime);
    assert_denied(&Process::start(&mut command(&program(), "mounts", &running.socket())).answer());
    assert_eq!(running.cache.last(), [""; 0]);
    Ok(())
}

/// A copy of this program: another file.
fn copy(running: &Running, name: &str) -> PathBuf {
    let path = running.folder.path().join(name);
    std::fs::copy(program(), &path).unwrap();
    path
}

fn start_for_path(runtime: &Runtime) -> (Running, PathBuf) {
    let _entered = runtime.enter();
    let running = Running::new(Attestors::new().with(Unix::default()));
    let copy = copy(&running, "web");
    running.cache.register("/web", "", &[&format!("unix:path:{}", copy.display())]);
    (running, copy)
}

pub(crate) fn exec(runtime: &Runtime) -> Outcome {
    let (running, web) = start_for_path(runtime);
    assert_eq!(Process::start(&mut command(&web, "call", &running.socket())).answer(), WEB);
    assert_denied(&Process::start(&mut command(&program(), "call", &running.socket())).answer());
    // One program connects, another one calls, though it is that one's path which is registered.
    let mut child = Process::start(command(&program(), "exec", &running.socket()).arg(&web));
    assert_eq!(
        child.answer(),
        "refused PermissionDenied: the process runs another program than the one that connected"
    );
    Ok(())
}

pub(crate) fn exec_with_child(runtime: &Runtime) -> Outcome {
    let (running, web) = start_for_path(runtime);
    let mut child = Process::start(command(&program(), "exec-with-child", &running.socket()).arg(&web));
    assert_eq!(
        child.answer(),
        "refused PermissionDenied: the process runs another program than the one that connected"
    );
    Ok(())
}

pub(crate) fn path(runtime: &Runtime) -> Outcome {
    let (running, web) = start_for_path(runtime);
    // The file that runs is no longer the one at its path.
    let mut child = Process::start(&mut command(&web, "call", &running.socket()));
    let new = running.folder.path().join("new");
    std::fs::copy(program(), &new).unwrap();
    std::fs::rename(&new, &web).unwrap();
    assert_denied(&child.answer());
    assert!(!running.cache.last().iter().any(|selector| selector.starts_with("unix:path:")));
    assert!(running.cache.last().iter().any(|selector| selector.starts_with("unix:sha256:")));
    Ok(())
}

pub(crate) fn orphan(runtime: &Runtime) -> Outcome {
    let running = start(runtime);
    let mut child = Process::start(&mut command(&program(), "orphan", &running.socket()));
    child.go();
    child.child.wait().unwrap();
    let answer = child.line();
    assert!(answer.starts_with("refused") && !answer.contains("no identity"), "{answer}");
    assert_eq!(running.seen.count(&["Served"]), 0);
    Ok(())
}

pub(crate) fn stream_of_the_dead(runtime: &Runtime) -> Outcome {
    let running = start(runtime);
    let mut child = Process::start(&mut command(&program(), "stream", &running.socket()));
    let other = child.answer();
    assert_eq!(child.line(), "open");
    assert_eq!(running.cache.watched(), 1);
    child.child.kill().unwrap();
    until("the stream is open still", || running.cache.watched() == 0);
    // Somebody else has the connection, and it was not that one's end.
    let held = Path::new("/proc").join(&other).join("exe");
    assert_eq!(std::fs::read_link(held).unwrap(), program());
    let other = rustix::process::Pid::from_raw(other.parse().unwrap()).unwrap();
    rustix::process::kill_process(other, rustix::process::Signal::KILL).unwrap();
    Ok(())
}

pub(crate) fn reused_number(runtime: &Runtime) -> Outcome {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    if own_uid() != 0 || std::fs::OpenOptions::new().write(true).open(LAST).is_err() {
        return Err(Left("as it needs to choose process numbers"));
    }
    // The server listens and does not accept yet.
    let waiting = crate::support::Waiting::new(runtime, Attestors::new().with(Unix::default()));
    waiting.cache.register("/web", "", &[&format!("unix:uid:{}", own_uid())]);
    let mut first = Process::start(command(&program(), "orphan", &waiting.socket()).arg("at once"));
    let number = first.child.id();
    first.go();
    first.child.wait().unwrap();
    let mut second = None;
    for _ in 0..200 {
        std::fs::write(LAST, (number - 1).to_string()).unwrap();
        let child = Process::start(&mut command(&program(), "sleep", &waiting.socket()));
        if child.child.id() == number {
            second = Some(child);
            break;
        }
    }
    let Some(_second) = second else { return Err(Left("as others took the number")) };
    let running = waiting.run(runtime);
    let answer = first.line();
    assert!(answer.starts_with("refused"), "{answer}");
    assert_eq!(running.seen.count(&["TurnedAway", "has ended"]), 1, "{}", running.seen.all());
    assert_eq!(running.seen.count(&["Served"]), 0);
    Ok(())
}
