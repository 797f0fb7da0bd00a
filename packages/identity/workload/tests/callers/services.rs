//! Services of PID 1: cgroups, and a PID 1 that answers as the real one does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lepton_control::{Answer, ErrorKind, Request, ServiceState, ServiceStatus};
use lepton_workload_api::Host;
use lepton_workload_api::attest::{Attestors, lepton::Lepton, unix::Unix};
use lepton_workload_api::delivery::{ReloadSignal, Reloader};
use tokio::runtime::Runtime;

use super::children::{Process, command};
use super::processes::{needs_root, own_uid, program, until};
use crate::support::Running;
use crate::{Left, Outcome};

/// A cgroup of this test, removed with those that it made above.
pub(crate) struct Cgroup {
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes a cgroup at that path from the root of the hierarchy.
    pub(crate) fn make(path: &str) -> Result<Self, Left> {
        needs_root()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let root = root.and_then(|line| line.split(' ').nth(4)).ok_or(Left("as there is no cgroup v2"))?;
        let mut folder = PathBuf::from(root);
        let mut folders = Vec::new();
        for part in path.strip_prefix('/').unwrap().split('/') {
            folder.push(part);
            match fs::create_dir(&folder) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(_) => return Err(Left("as cgroups cannot be made")),
            }
            folders.push(folder.clone());
        }
        Ok(Self { folders })
    }

    /// Moves a process into it.
    pub(crate) fn take(&self, process: &Process) {
        fs::write(self.folders.last().unwrap().join("cgroup.procs"), process.child.id().to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in self.folders.iter().rev() {
            // Others may use it, too.
            let _ = fs::write(folder.join("cgroup.kill"), "1");
            for _ in 0..200 {
                match fs::remove_dir(folder) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// PID 1: main processes by service.
struct Init {
    services: Arc<Mutex<BTreeMap<String, Option<u32>>>>,
    asked: Arc<Mutex<usize>>,
}

impl Init {
    fn start(socket: &Path) -> Self {
        let init = Self { services: Arc::default(), asked: Arc::default() };
        let listener = UnixListener::bind(socket).unwrap();
        let (services, asked) = (Arc::clone(&init.services), Arc::clone(&init.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // One request for each connection: clients must make new ones.
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                *asked.lock().unwrap() += 1;
                let answer = match Request::from_line(line.trim_end().as_bytes()).unwrap() {
                    Request::Service { name } => answer(&services.lock().unwrap(), &name),
                    other => panic!("{other:?}"),
                };
                stream.write_all(answer.to_line().as_bytes()).unwrap();
            }
        });
        init
    }

    fn set(&self, name: &str, main: Option<u32>) {
        self.services.lock().unwrap().insert(name.to_owned(), main);
    }
}

fn answer(services: &BTreeMap<String, Option<u32>>, name: &str) -> Answer {
    let Some(pid) = services.get(name) else {
        return Answer::error(ErrorKind::NoService, format!("there is no service {name:?}"));
    };
    Answer::Service(Box::new(ServiceStatus {
        name: name.to_owned(),
        state: if pid.is_some() { ServiceState::Ready } else { ServiceState::Stopped },
        text: None,
        pid: *pid,
        starts: 1,
        last_end: None,
        for_ms: 1,
        memory_kb: None,
        tasks: None,
        dropped_lines: 0,
    }))
}

fn start(runtime: &Runtime) -> (Running, Init, tempfile::TempDir) {
    let _entered = runtime.enter();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let init = Init::start(&socket);
    let running = Running::new(Attestors::new().with(Unix::default()).with(Lepton::new(socket)));
    running.cache.register("/web", "", &["lepton:service:web"]);
    (running, init, folder)
}

const WEB: &str = "ids spiffe://example.org/web";
const DENIED: &str = "refused PermissionDenied: no identity issued";

pub(crate) fn service(runtime: &Runtime) -> Outcome {
    let cgroup = Cgroup::make("/lepton/web")?;
    let below = Cgroup::make("/lepton/web/below")?;
    let (running, init, _folder) = start(runtime);
    let main = Process::start(&mut command(&program(), "sleep", &running.socket()));
    cgroup.take(&main);
    init.set("web", Some(main.child.id()));
    let call = |how: &str, cgroup: Option<&Cgroup>| {
        let mut child = Process::start(&mut command(&program(), how, &running.socket()));
        if let Some(cgroup) = cgroup {
            cgroup.take(&child);
        }
        child.answer()
    };
    assert_eq!(call("call", Some(&cgroup)), WEB);
    let found = running.cache.last();
    for selector in ["lepton:service:web", "lepton:cgroup:/lepton/web", &format!("unix:uid:{}", own_uid())] {
        assert!(found.iter().any(|it| it == selector), "{selector} is not in {found:?}");
    }
    assert_eq!(call("call", Some(&below)), WEB);
    assert!(running.cache.last().contains(&"lepton:cgroup:/lepton/web/below".to_owned()));
    // PID 1 gives services mounts of their own; users and process numbers it does not.
    assert_eq!(call("mounts", Some(&cgroup)), WEB);
    assert_eq!(call("users", Some(&cgroup)), DENIED);
    assert_eq!(call("processes", Some(&cgroup)), DENIED);
    assert_eq!(running.cache.last(), [""; 0]);
    // The same program, elsewhere.
    assert_eq!(call("call", None), DENIED);
    let other = Cgroup::make("/lepton-test/lepton/web")?;
    assert_eq!(call("call", Some(&other)), DENIED);
    Ok(())
}

pub(crate) fn reload(runtime: &Runtime) -> Outcome {
    use std::os::unix::process::ExitStatusExt as _;
    let cgroup = Cgroup::make("/lepton/web")?;
    let (running, init, folder) = start(runtime);
    let socket = folder.path().join("control.sock");
    let reloader = Reloader::new(socket, Host::of_process(std::process::id()));
    let reload = |signal| runtime.block_on(reloader.reload("web", signal)).map_err(|error| error.to_string());
    assert_eq!(reload(ReloadSignal::Hup).unwrap_err(), "the service web does not run");
    let mut main = Process::start(&mut command(&program(), "sleep", &running.socket()));
    init.set("web", Some(main.child.id()));
    // A process outside of the service is told nothing, whatever its number.
    assert_eq!(reload(ReloadSignal::Hup).unwrap_err(), "the service web does not run");
    cgroup.take(&main);
    reload(ReloadSignal::Usr1).unwrap();
    assert_eq!(main.child.wait().unwrap().signal(), Some(libc::SIGUSR1));
    // It has ended, and PID 1 does not know yet.
    assert!(reload(ReloadSignal::Hup).is_err());
    Ok(())
}

pub(crate) fn unknown(runtime: &Runtime) -> Outcome {
    let cgroup = Cgroup::make("/lepton/web")?;
    let (running, init, folder) = start(runtime);
    let call = || {
        let mut child = Process::start(&mut command(&program(), "call", &running.socket()));
        cgroup.take(&child);
        child.answer()
    };
    // There is a cgroup, and no service.
    assert_eq!(call(), DENIED);
    init.set("web", None);
    assert_eq!(call(), DENIED);
    // Its main process is not where it should be.
    let elsewhere = Process::start(&mut command(&program(), "sleep", &running.socket()));
    init.set("web", Some(elsewhere.child.id()));
    assert_eq!(call(), DENIED);
    assert!(running.seen.count(&["AttestorFailed", "lepton"]) == 3, "{}", running.seen.all());
    assert!(!running.cache.last().iter().any(|selector| selector.starts_with("lepton:")));
    until("PID 1 was not asked", || *init.asked.lock().unwrap() == 3);
    // PID 1 does not answer: nobody is refused for good.
    fs::remove_file(folder.path().join("control.sock")).unwrap();
    let answer = call();
    assert!(answer.starts_with("refused Unavailable: no identity issued: not all"), "{answer}");
    Ok(())
}
