//! The bus as kubelet uses it: `LEPTON_TEST_SHUTDOWN` names the program made of `images/boot-tests/go/shutdown`, which is
//! kubelet's own client. `cargo xtask test` makes that program.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "this is a test; it starts a program, is told where that lies, and reports by itself"
)]

use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use lepton_kubelet_shutdown::{Bus, Outcome};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

const CLIENT: &str = "LEPTON_TEST_SHUTDOWN";
const DELAY: Duration = Duration::from_secs(90);
/// For what comes at once, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

type TestResult = Result<(), Box<dyn Error>>;
/// A name and what it does.
type Scenario = (&'static str, fn(&Host<'_>) -> TestResult);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(client) = std::env::var_os(CLIENT) else {
        eprintln!("left out: {CLIENT} is not set, so there is no client");
        return Ok(ExitCode::SUCCESS);
    };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let scenarios: [Scenario; 4] = [
        ("a kubelet that releases its lock", releases),
        ("one that does not", holds),
        ("one that dies", dies),
        ("one that was started again", restarts),
    ];
    let mut failed = false;
    for (name, scenario) in scenarios {
        let result = Host::new(&runtime, &client).and_then(|host| scenario(&host));
        println!("{name}: {}", result.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned()));
        failed |= result.is_err();
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

struct Host<'a> {
    runtime: &'a Runtime,
    client: &'a OsStr,
    bus: Bus,
    _folder: tempfile::TempDir,
}

impl<'a> Host<'a> {
    fn new(runtime: &'a Runtime, client: &'a OsStr) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let _entered = runtime.enter();
        // A folder that is not there yet, and a name that an address must escape.
        let socket = folder.path().join("run, dbus/socket");
        let bus = Bus::listen(&socket, DELAY, |note| println!("note: {note}"))?;
        Ok(Self { runtime, client, bus, _folder: folder })
    }

    fn kubelet(&self, how: &str) -> Result<Kubelet, Box<dyn Error>> {
        let mut process = Command::new(self.client)
            .args([how, &format!("{}s", DELAY.as_secs())])
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        Ok(Kubelet { process, lines })
    }

    fn prepare(&self, limit: Duration) -> Outcome {
        self.runtime.block_on(self.bus.prepare(Instant::now() + limit))
    }
}

struct Kubelet {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Kubelet {
    fn says(&mut self, word: &str) -> TestResult {
        match self.lines.next().transpose()? {
            Some(line) if line == word => Ok(()),
            other => Err(format!("it said {other:?} instead of {word:?}").into()),
        }
    }

    fn ends_well(mut self) -> TestResult {
        let status = self.process.wait()?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ensure(holds: bool, what: &str) -> TestResult {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn who(inhibitors: &[lepton_kubelet_shutdown::Inhibitor]) -> Vec<&str> {
    inhibitors.iter().map(|inhibitor| inhibitor.who.as_str()).collect()
}

fn releases(host: &Host<'_>) -> TestResult {
    let (mut one, mut two) = (host.kubelet("release")?, host.kubelet("release")?);
    one.says("ready")?;
    two.says("ready")?;
    let pids = [one.process.id(), two.process.id()].map(|pid| i32::try_from(pid).ok());
    ensure(host.bus.inhibitors().iter().all(|held| pids.contains(&held.pid)), "other processes hold locks")?;
    let start = std::time::Instant::now();
    let outcome = host.prepare(SOON);
    let took = start.elapsed();
    ensure(who(&outcome.released) == ["kubelet", "kubelet"] && outcome.held.is_empty(), "not both released")?;
    // It is told at once, and the lock is given back half a second after that.
    ensure(took >= Duration::from_millis(500) && took < SOON, &format!("it took {took:?}"))?;
    for kubelet in [&mut one, &mut two] {
        kubelet.says("told")?;
        kubelet.says("released")?;
    }
    one.ends_well()?;
    two.ends_well()
}

fn holds(host: &Host<'_>) -> TestResult {
    let mut kubelet = host.kubelet("hold")?;
    kubelet.says("ready")?;
    let outcome = host.prepare(Duration::from_secs(2));
    ensure(
        who(&outcome.held) == ["kubelet"] && outcome.released.is_empty(),
        "it is not among those that hold",
    )?;
    kubelet.says("told")
}

fn dies(host: &Host<'_>) -> TestResult {
    let mut kubelet = host.kubelet("die")?;
    kubelet.says("ready")?;
    let outcome = host.prepare(SOON);
    ensure(who(&outcome.released) == ["kubelet"], "its lock outlived it")?;
    kubelet.says("told")?;
    kubelet.ends_well()
}

fn restarts(host: &Host<'_>) -> TestResult {
    let mut first = host.kubelet("hold")?;
    first.says("ready")?;
    drop(first);
    let mut second = host.kubelet("release")?;
    second.says("ready")?;
    let outcome = host.prepare(SOON);
    ensure(
        who(&outcome.released) == ["kubelet"] && outcome.held.is_empty(),
        "the first one's lock was waited for",
    )?;
    second.says("told")?;
    // The host goes down: one that is started now gets no lock.
    let mut third = host.kubelet("late")?;
    third.says("refused")?;
    third.ends_well()
}
