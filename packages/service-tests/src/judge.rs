//! Asks PID 1 what became of each service, and says so on the console: a line for each case, then `end`.

use std::fs;
use std::io;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lepton_control::{LogLine, LogName, Request, ServiceState, ServiceStatus};

use crate::census::{Census, zombies};
use crate::follow::{changes, numbers};
use crate::pid1::{ask, connect, holds, kill_9, status_of, until};
use crate::say;

/// How often each service is killed.
const KILLS: u32 = 100;
/// An answer of PID 1 while a service floods its log.
const QUICK: Duration = Duration::from_secs(2);

type Case = fn() -> Result<String, String>;

const CASES: [(&str, Case); 13] = [
    ("give-up", give_up),
    ("missing", missing),
    ("sandbox", sandbox),
    ("stubborn", stubborn),
    ("forking", forking),
    ("watchdog", watchdog),
    ("alone", alone),
    ("changes", changes),
    ("numbers", numbers),
    // After those that end by themselves, so that what is counted changes only by what is killed.
    ("kill", kill_each),
    ("flood", flood),
    ("eater", eater),
    ("orphans", orphans),
];

/// Runs all cases.
pub(crate) fn judge() -> io::Result<ExitCode> {
    for (name, case) in CASES {
        match case() {
            Ok(facts) => say(&format!("{name} ok {facts}"))?,
            Err(error) => say(&format!("{name} FAILED {error}"))?,
        }
    }
    say("end")?;
    Ok(ExitCode::SUCCESS)
}

/// A service that is stopped while the host is not says so on the console.
fn alone() -> Result<String, String> {
    let name = "stop-b";
    let was = status_of(name)?;
    ask(&Request::Restart { name: name.to_owned() })?;
    let now = until(name, |status| status.starts > was.starts && status.state == ServiceState::Ready)?;
    holds(now.last_end.as_deref() == Some("stopped on request"), || format!("{now:?}"))?;
    Ok(format!("starts={}", now.starts))
}

fn kill_each() -> Result<String, String> {
    let before = Census::settled()?;
    for name in ["steady", "plain"] {
        for round in 0..KILLS {
            let was = until(name, |status| status.state == ServiceState::Ready && status.pid.is_some())?;
            kill_9(&was)?;
            let now =
                until(name, |status| status.starts > was.starts && status.state == ServiceState::Ready)?;
            if now.starts != was.starts + 1 || now.pid == was.pid {
                return Err(format!("{name}, round {round}: {was:?}, then {now:?}"));
            }
            if now.last_end.as_deref() != Some("was ended by signal 9") {
                return Err(format!("{name}: {now:?}"));
            }
        }
    }
    before.unchanged().map(|facts| format!("kills={} {facts}", 2 * KILLS))
}

fn give_up() -> Result<String, String> {
    let status = until("failing", |status| status.state == ServiceState::Failed)?;
    let last = status.last_end.clone().unwrap_or_default();
    holds(status.starts == 3 && last.contains("given up"), || format!("{status:?}"))?;
    Ok(format!("starts={}", status.starts))
}

fn missing() -> Result<String, String> {
    let status = until("missing", |status| status.state == ServiceState::Failed)?;
    let last = status.last_end.clone().unwrap_or_default();
    holds(last.starts_with("cannot start: run /usr/bin/no-such-program"), || format!("{status:?}"))?;
    let needy = status_of("needy")?;
    holds(needy.state == ServiceState::Waiting && needy.starts == 0, || format!("{needy:?}"))?;
    Ok(last)
}

fn sandbox() -> Result<String, String> {
    let status =
        until("sandbox", |status| matches!(status.state, ServiceState::Done | ServiceState::Failed))?;
    if status.state == ServiceState::Done {
        return Ok(String::new());
    }
    let mut text = String::new();
    let each = |line: LogLine| {
        text.push_str(&line.text);
        text.push(' ');
        true
    };
    let name = LogName::Service("sandbox".to_owned());
    connect()?.logs(name, false, None, each).map_err(|error| error.to_string())?;
    Err(format!("{:?}: {text}", status.last_end))
}

fn stubborn() -> Result<String, String> {
    let start = Instant::now();
    ask(&Request::Stop { name: "stubborn".to_owned() })?;
    until("stubborn", |status| status.state == ServiceState::Stopped)?;
    let taken = start.elapsed();
    holds(taken >= Duration::from_millis(900), || format!("it took only {taken:?}"))?;
    Ok(format!("ms={}", taken.as_millis()))
}

fn forking() -> Result<String, String> {
    let status = until("forking", |status| status.state == ServiceState::Done)?;
    let left = fs::exists("/sys/fs/cgroup/lepton/forking").map_err(|error| error.to_string())?;
    holds(!left && status.tasks.is_none(), || format!("its cgroup is left: {status:?}"))?;
    Ok(String::new())
}

fn watchdog() -> Result<String, String> {
    let status = until("watchdog", |status| status.state == ServiceState::Failed)?;
    let last = status.last_end.clone().unwrap_or_default();
    holds(last == "sent no WATCHDOG=1 for 2s" && status.text.as_deref() == Some("hangs"), || {
        format!("{status:?}")
    })?;
    Ok(last)
}

/// The flood goes on, PID 1 answers, and others restart meanwhile.
fn flood() -> Result<String, String> {
    ask(&Request::Start { name: "flood".to_owned() })?;
    let lines = |status: &ServiceStatus| status.text.as_deref().and_then(|text| text.parse::<u64>().ok());
    let first = until("flood", |status| lines(status).is_some())?;
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut last = first.clone();
    while start.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        last = status_of("flood")?;
        slowest = slowest.max(asked.elapsed());
        sleep(Duration::from_millis(20));
    }
    let steady = status_of("steady")?;
    ask(&Request::Restart { name: "steady".to_owned() })?;
    until("steady", |status| status.starts > steady.starts && status.state == ServiceState::Ready)?;
    let grown = lines(&last).unwrap_or(0).saturating_sub(lines(&first).unwrap_or(0));
    ask(&Request::Stop { name: "flood".to_owned() })?;
    let end = until("flood", |status| status.state == ServiceState::Stopped)?;
    let facts =
        format!("lines={grown} dropped={} slowest-answer-ms={}", end.dropped_lines, slowest.as_millis());
    let mut told = false;
    let each = |line: LogLine| {
        told |= line.text.ends_with("lines dropped");
        true
    };
    let name = LogName::Service("flood".to_owned());
    connect()?.logs(name, false, None, each).map_err(|error| error.to_string())?;
    let good = grown > 0 && end.dropped_lines > 0 && told && slowest < QUICK;
    if good { Ok(facts) } else { Err(format!("{facts} told={told}")) }
}

fn eater() -> Result<String, String> {
    let before = status_of("plain")?;
    ask(&Request::Start { name: "eater".to_owned() })?;
    let status = until("eater", |status| status.state == ServiceState::Failed)?;
    let last = status.last_end.clone().unwrap_or_default();
    let after = status_of("plain")?;
    holds(last == "was ended by signal 9" && before.pid == after.pid, || format!("{status:?}"))?;
    Ok(last)
}

fn orphans() -> Result<String, String> {
    let start = Instant::now();
    ask(&Request::Start { name: "orphans".to_owned() })?;
    until("orphans", |status| matches!(status.state, ServiceState::Done | ServiceState::Failed))?;
    let status = status_of("orphans")?;
    let zombies = zombies()?;
    holds(status.state == ServiceState::Done && zombies == 0, || format!("zombies={zombies} {status:?}"))?;
    Ok(format!("ms={} zombies={zombies}", start.elapsed().as_millis()))
}
