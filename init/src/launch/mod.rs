//! The short life between PID 1 and a service's program: this program again, started under the name [`NAME`].
//!
//! It does what must happen inside the new process: it enters the service's cgroup, gives up what the service shall not
//! have, and becomes the service's program. It talks to PID 1 over its standard input: one message with the order
//! comes in; an error goes out, or the end of the stream, which is the proof that the program runs.

mod calls;
mod identity;
mod mounts;
mod seccomp;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use lepton_service_spec::ServiceSpec;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Resource, Rlimit, setrlimit, setsid};
use serde::{Deserialize, Serialize};

use identity::Identity;
pub use mounts::STAGE;

/// The first argument by which the program knows that it is not PID 1.
pub const NAME: &str = "lepton-launch";
/// Longest order in bytes; the kernel holds so much on a socket by default.
pub const MAX_ORDER: usize = 128 * 1024;
/// Longest error in bytes.
pub const MAX_ERROR: usize = 1024;
/// Where programs look for programs.
const PATH: &str = "/usr/bin";
/// What `execve` could not do, as shells say it.
const NOT_EXECUTED: u8 = 127;
/// Limits of open files: what `select` can count for programs that know no better, and enough for any other.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// What PID 1 orders.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The service.
    pub spec: ServiceSpec,
    /// Path of its cgroup.
    pub cgroup: String,
    /// Where it may send messages.
    pub notify: Option<String>,
}

impl Order {
    /// The message that says it: TOML, which PID 1 reads and writes anyway.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        lepton_config::to_toml(self).map(String::into_bytes).map_err(io::Error::other)
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        toml::from_str(text).map_err(|error| io::Error::other(error.message().to_owned()))
    }
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub(crate) struct LaunchError {
    step: String,
    source: io::Error,
}

/// Names the step that an error comes from.
fn step<T>(step: impl Into<String>, result: Result<T, impl Into<io::Error>>) -> Result<T, LaunchError> {
    result.map_err(|source| LaunchError { step: step.into(), source: source.into() })
}

/// The whole life of the launcher; it comes back only when it failed.
pub fn main() -> ExitCode {
    let Ok(channel) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) else {
        return ExitCode::FAILURE;
    };
    let Err(error) = launch(&channel);
    let text = error.to_string();
    let end = text.floor_char_boundary(MAX_ERROR);
    // PID 1 may be gone; there is nobody else to tell.
    let _ = send(&channel, &text.as_bytes()[..end], SendFlags::NOSIGNAL);
    ExitCode::from(NOT_EXECUTED)
}

fn launch(channel: &OwnedFd) -> Result<std::convert::Infallible, LaunchError> {
    let mut bytes = vec![0; MAX_ORDER];
    let (_, length) = step("read the order", recv(channel, &mut bytes, RecvFlags::empty()))?;
    let order: Order = step("read the order", Order::parse(bytes.get(..length).unwrap_or_default()))?;
    drop(bytes);
    let spec = &order.spec;
    let null = step("open /dev/null", fs::File::open("/dev/null"))?;
    step("close the order", rustix::stdio::dup2_stdin(&null))?;
    // 0 means the process that writes.
    step("enter the cgroup", fs::write(format!("{}/cgroup.procs", order.cgroup), "0"))?;
    step("start a session", setsid())?;
    step("set the OOM score", fs::write("/proc/self/oom_score_adj", spec.oom_score_adj.to_string()))?;
    set_limits(spec)?;
    // Names are looked up before the service's own view of files can hide them.
    let identity = Identity::find(spec)?;
    let filter = spec.seccomp.as_deref().map(seccomp::load).transpose()?;
    mounts::enter(spec)?;
    identity.take()?;
    let dir = spec.working_dir.as_deref().unwrap_or("/");
    step(format!("enter {dir}"), rustix::process::chdir(dir))?;
    let mut command = command(&order)?;
    // PID 1 blocks every signal; nothing it inherits may reach the service.
    step("unblock signals", sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None))?;
    if let Some(filter) = filter {
        // Last: from here on only what the list allows.
        seccomp::apply(&filter)?;
    }
    let error = command.exec();
    step(format!("run {}", spec.command[0]), Err(error))
}

fn set_limits(spec: &ServiceSpec) -> Result<(), LaunchError> {
    let (current, maximum) = spec.open_files_max.map_or(OPEN_FILES, |count| (count.into(), count.into()));
    let limit = Rlimit { current: Some(current), maximum: Some(maximum) };
    step("limit open files", setrlimit(Resource::Nofile, limit))?;
    // There is nobody to look at core dumps, and they hold secrets.
    step("limit core dumps", setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }))
}

#[expect(clippy::disallowed_methods, reason = "the one place where a service's program is run")]
fn command(order: &Order) -> Result<Command, LaunchError> {
    let spec = &order.spec;
    let (program, arguments) = spec.command.split_first().ok_or_else(|| LaunchError {
        step: "read the order".to_owned(),
        source: io::Error::other("the command is empty"),
    })?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH);
    if let Some(notify) = &order.notify {
        command.env("NOTIFY_SOCKET", notify);
    }
    if let Some(time) = spec.watchdog_s {
        command.env("WATCHDOG_USEC", (time.millis() * 1000).to_string());
    }
    command.envs(&spec.environment);
    Ok(command)
}
