//! Services that misbehave on purpose: one program, told by its argument which one it is.
//!
//! The judge is one of them: it asks PID 1 what became of the others, and says so on the console.

mod bad;
mod census;
mod follow;
mod freeze;
mod host_network;
mod judge;
mod killed;
mod logs;
mod pid1;
mod sandbox;
mod screen;
mod sys;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    let role = std::env::args().nth(1).unwrap_or_default();
    let result = match role.as_str() {
        "steady" => notify("READY=1").map(|()| wait()),
        "wait" => Ok(wait()),
        "fail" => Ok(ExitCode::FAILURE),
        "stop" => stop(),
        "stubborn" => bad::stubborn(),
        "forking" => bad::forking(),
        "watchdog" => bad::watchdog(),
        "flood" => bad::flood(),
        "eat" => bad::eat(),
        "orphans" => bad::orphans(),
        "sandbox" => sandbox::check(),
        "judge" => judge::judge(),
        "killed" => killed::by_policy(),
        "freeze" => freeze::freeze(),
        "logs" => logs::judge(),
        "screen" => screen::show(),
        other => Err(io::Error::other(format!("there is no role {other:?}"))),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{role}: {error}");
        ExitCode::FAILURE
    })
}

/// Sleeps for ever.
fn wait() -> ExitCode {
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// Ends when told to, and says so where it is seen after the judge is gone.
fn stop() -> io::Result<ExitCode> {
    let set = SigSet::from(Signal::SIGTERM);
    set.thread_block()?;
    set.wait()?;
    let name = std::fs::read_to_string("/proc/self/cgroup")?;
    let host = lepton_control::Stopping::now()?.map_or("stays", lepton_control::Stopping::word);
    say(&format!("stopped {}, host: {host}", name.trim().rsplit('/').next().unwrap_or_default()))?;
    Ok(ExitCode::SUCCESS)
}

/// A line for the boot test.
fn say(text: &str) -> io::Result<()> {
    // One write, so that lines of other programs stay apart.
    OpenOptions::new()
        .write(true)
        .open("/dev/console")?
        .write_all(format!("service-tests: {text}\n").as_bytes())
}

/// A message for PID 1.
#[expect(clippy::disallowed_methods, reason = "services are told the place of the socket so")]
fn notify(text: &str) -> io::Result<()> {
    let path = std::env::var("NOTIFY_SOCKET").map_err(io::Error::other)?;
    UnixDatagram::unbound()?.send_to(text.as_bytes(), path)?;
    Ok(())
}
