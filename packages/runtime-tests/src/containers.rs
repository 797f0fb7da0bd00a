//! What must hold of the containers of a machine config, which the boot test `runtime-containers` writes, and of the
//! commands for them. Whatever dies, there is one container of a name.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lepton_control::{ServiceState, ServiceStatus};
use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;

use crate::commands::{Said, done, lepton, typed};
use crate::host::{self, PATIENCE};
use crate::judge::{Case, holds};
use crate::network::get;
use crate::pods::{Client, IMAGE, refused};

pub(crate) const CASES: [(&str, Case); 8] = [
    ("services", services),
    ("web", web),
    ("commands", commands),
    ("pulled", pulled),
    ("run", run),
    ("stopped", stopped),
    ("ctr-killed", ctr_killed),
    ("runtime-killed", runtime_killed),
];

/// The container that serves a page of the host on a port of the host.
const WEB: &str = "web";
const PORT: u16 = 8080;
const PAGE: &str = "from the host";
/// A value of its environment.
const SECRET: &str = "s3cret-greeting";
/// Its limit of memory.
const MEMORY: u64 = 64 << 20;
/// What the only layer of the image in the registry says.
const MIRRORED: &str = "from the mirror";
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until a service is as wanted.
fn service(name: &str, is_so: impl Fn(&ServiceStatus) -> bool) -> Result<ServiceStatus, String> {
    let start = Instant::now();
    loop {
        let now = host::service(name)?;
        if is_so(&now) {
            return Ok(now);
        }
        holds(start.elapsed() < PATIENCE, || format!("{name} does not get there: {now:?}"))?;
        sleep(PAUSE);
    }
}

fn is_ready(service: &ServiceStatus) -> bool {
    service.state == ServiceState::Ready
}

/// The ids of all containers of a name, in whatever state.
fn ids(tokio: &Runtime, name: &str) -> Result<Vec<String>, String> {
    tokio.block_on(async {
        let label = ("lepton.ctr/name".to_owned(), name.to_owned());
        let filter =
            cri::ContainerFilter { label_selector: [label].into(), ..cri::ContainerFilter::default() };
        let request = cri::ListContainersRequest { filter: Some(filter) };
        let found = Client::connect().await?.runtime.list_containers(request).await.map_err(refused)?;
        Ok(found.into_inner().containers.into_iter().map(|container| container.id).collect())
    })
}

/// The page comes, in a moment if not at once.
fn page() -> Result<(), String> {
    let start = Instant::now();
    loop {
        let answer = get("127.0.0.1", PORT);
        if answer.as_ref().is_ok_and(|text| text.ends_with(PAGE)) {
            return Ok(());
        }
        holds(start.elapsed() < PATIENCE, || format!("the page does not come: {answer:?}"))?;
        sleep(PAUSE);
    }
}

/// What became of each: one runs, one ended three times, one has no image, one is done.
fn services(_: &Runtime) -> Result<String, String> {
    let web = service(WEB, is_ready)?;
    let says = web.text.clone().unwrap_or_default();
    holds(web.starts == 1 && says.starts_with("container "), || format!("{web:?}"))?;
    let failed = |service: &ServiceStatus| service.state == ServiceState::Failed;
    let once = service("once", failed)?;
    let is_told =
        |service: &ServiceStatus, code: &str| service.last_end.as_ref().is_some_and(|end| end.contains(code));
    holds(once.starts == 3 && is_told(&once, "7"), || format!("{once:?}"))?;
    let missing = service("missing", failed)?;
    holds(missing.starts == 2 && is_told(&missing, "125"), || format!("{missing:?}"))?;
    let pulled = service("pulled", |service| service.state == ServiceState::Done)?;
    holds(pulled.starts == 1, || format!("{pulled:?}"))?;
    let end = |service: ServiceStatus| service.last_end.unwrap_or_default();
    Ok(format!("once={:?} missing={:?}", end(once), end(missing)))
}

fn web(tokio: &Runtime) -> Result<String, String> {
    page()?;
    let ids = ids(tokio, WEB)?;
    holds(ids.len() == 1, || format!("{ids:?}"))?;
    let pid = host::service(WEB)?.pid.ok_or("the service has no process")?;
    let words = fs::read(format!("/proc/{pid}/cmdline")).map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    let is_quiet = words.contains("--env GREETING") && !words.contains(SECRET);
    holds(is_quiet, || format!("the command line is {words:?}"))?;
    Ok(format!("port={PORT}"))
}

/// The commands say what docs/containers.md shows.
fn commands(_: &Runtime) -> Result<String, String> {
    let shows = |words: &[&str], parts: &[&str]| {
        let text = done(words)?;
        let lacking = parts.iter().find(|part| !text.contains(**part));
        holds(lacking.is_none(), || format!("lepton {}: {text:?} lacks {lacking:?}", words.join(" ")))
    };
    shows(&["services"], &[WEB, "once", "missing", "pulled", "SERVICE"])?;
    shows(&["services", WEB], &["ready for ", "container "])?;
    shows(&["logs", WEB], &[&format!("serving {SECRET}\n")])?;
    shows(&["ctr", "ps"], &["CONTAINER", WEB, IMAGE, "running", "8080:80"])?;
    shows(&["ctr", "-o", "json", "ps"], &["\"name\":\"web\"", "\"service\":true"])?;
    shows(&["ctr", "inspect", WEB], &["\"running\"", "/srv"])?;
    let limit = done(&["ctr", "exec", WEB, "/usr/bin/cat", "/sys/fs/cgroup/memory.max"])?;
    holds(limit.trim_end() == MEMORY.to_string(), || format!("memory.max is {limit:?}"))?;
    let runs = done(&["logs", "once"])?.matches("once ran\n").count();
    holds(runs == 3, || format!("once has said so {runs} times"))?;
    shows(&["logs", "missing"], &["not found"])?;
    let exec =
        lepton(&["ctr", "exec", WEB, "/usr/bin/sh", "-c", "cat /srv/index.html; echo bad >&2; exit 42"])?;
    let is_whole = exec.code == Some(42) && exec.output.contains(PAGE) && exec.errors == "bad\n";
    holds(is_whole, || format!("{exec:?}"))?;
    let write = lepton(&["ctr", "exec", WEB, "/usr/bin/sh", "-c", "echo x > /srv/x"])?;
    holds(write.code == Some(1) && write.errors.contains("Read-only file system"), || format!("{write:?}"))?;
    let stop = lepton(&["ctr", "stop", WEB])?;
    holds(stop.code == Some(1) && stop.errors.contains("lepton stop web"), || format!("{stop:?}"))?;
    Ok("ok".to_owned())
}

/// A registry is reached through its mirror alone, by PID 1's container and by a pull.
fn pulled(_: &Runtime) -> Result<String, String> {
    let log = done(&["logs", "pulled"])?;
    holds(log.contains(MIRRORED), || format!("{log:?}"))?;
    done(&["ctr", "pull", "registry.example/tool:2"])?;
    let images = done(&["ctr", "images"])?;
    let is_there = ["registry.example/tool:1", "registry.example/tool:2", IMAGE];
    holds(is_there.iter().all(|name| images.contains(name)), || images.clone())?;
    let nothing = lepton(&["ctr", "pull", "registry.example/nothing:1"])?;
    holds(nothing.code == Some(3) && nothing.errors.contains("not found"), || format!("{nothing:?}"))?;
    // None of its endpoints is right, and it may not be asked itself.
    let closed = lepton(&["ctr", "pull", "closed.example/tool:1"])?;
    let is_closed = closed.code == Some(1) && closed.errors.contains("none of them is usable");
    holds(is_closed, || format!("{closed:?}"))?;
    Ok("ok".to_owned())
}

/// Containers of people, with input and with a terminal.
fn run(tokio: &Runtime) -> Result<String, String> {
    let run = ["ctr", "run", "--rm", "--network", "host"];
    let shell = |options: &[&'static str], script: &'static str, input: &str| -> Result<Said, String> {
        typed(&[&run, options, &[IMAGE, "/usr/bin/sh", "-c", script]].concat(), input)
    };
    let piped = shell(&["-i", "--name", "piped"], "cat; echo bad >&2; exit 7", "typed\n")?;
    let is_whole = piped.code == Some(7) && piped.output == "typed\n" && piped.errors == "bad\n";
    holds(is_whole, || format!("{piped:?}"))?;
    let terminal = shell(&["-t", "--name", "terminal"], "test -t 1 && echo yes", "")?;
    holds(terminal.code == Some(0) && terminal.output == "yes\r\n", || format!("{terminal:?}"))?;
    let left = [ids(tokio, "piped")?, ids(tokio, "terminal")?].concat();
    holds(left.is_empty(), || format!("{left:?}"))?;
    Ok("ok".to_owned())
}

fn stopped(tokio: &Runtime) -> Result<String, String> {
    let before = ids(tokio, WEB)?;
    done(&["stop", WEB])?;
    service(WEB, |service| service.state == ServiceState::Stopped)?;
    let gone = ids(tokio, WEB)?;
    holds(gone.is_empty(), || format!("{gone:?} are left"))?;
    let log = done(&["logs", WEB])?;
    holds(log.contains("asked to stop\n"), || log.clone())?;
    let answer = get("127.0.0.1", PORT);
    holds(answer.is_err(), || format!("the port still answers: {answer:?}"))?;
    done(&["start", WEB])?;
    service(WEB, is_ready)?;
    page()?;
    let second = ids(tokio, WEB)?;
    done(&["restart", WEB])?;
    service(WEB, |now| is_ready(now) && now.starts == 3)?;
    page()?;
    let third = ids(tokio, WEB)?;
    let is_new = second.len() == 1 && third.len() == 1 && before != second && second != third;
    holds(is_new, || format!("{before:?} {second:?} {third:?}"))?;
    Ok("ok".to_owned())
}

/// The program that keeps the container is killed, and its successor finds the container again.
fn ctr_killed(tokio: &Runtime) -> Result<String, String> {
    one_container(tokio, || {
        let was = host::service(WEB)?.pid.ok_or("the service has no process")?;
        host::kill(was)?;
        service(WEB, |now| is_ready(now) && now.pid.is_some_and(|pid| pid != was)).map(drop)
    })
}

/// The runtime is killed, and both are.
fn runtime_killed(tokio: &Runtime) -> Result<String, String> {
    one_container(tokio, || host::replaced(host::kill).map(drop))?;
    one_container(tokio, || {
        let was = host::service(WEB)?.pid.ok_or("the service has no process")?;
        host::replaced(|pid| host::kill(was).and_then(|()| host::kill(pid)))?;
        service(WEB, |now| is_ready(now) && now.pid.is_some_and(|pid| pid != was)).map(drop)
    })
}

/// The container and its page are the same after something was done to the host.
fn one_container(tokio: &Runtime, act: impl FnOnce() -> Result<(), String>) -> Result<String, String> {
    let before = ids(tokio, WEB)?;
    let start = Instant::now();
    act()?;
    let took = start.elapsed().as_millis();
    service(WEB, is_ready)?;
    page()?;
    let after = ids(tokio, WEB)?;
    holds(after.len() == 1 && before == after, || format!("{before:?} before, {after:?} after"))?;
    Ok(format!("back-ms={took}"))
}

/// What the programs concerned printed, when a case has failed.
pub(crate) fn logs() -> Vec<String> {
    let names = ["runtime", WEB, "once", "missing", "pulled"];
    let log = |name: &str| {
        let lines = host::log(name).unwrap_or_else(|error| vec![error]);
        lines.into_iter().map(|line| format!("{name} printed: {line}")).collect::<Vec<_>>()
    };
    names.iter().flat_map(|name| log(name)).collect()
}
