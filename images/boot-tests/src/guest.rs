//! A running guest: start, wait until it is ready, switch it off.
//!
//! A guest that is dropped is killed with everything it started; every error shows the whole console.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lepton_builder::process::ProcessError;
use lepton_builder::scratch::Scratch;

use crate::console::{Console, ConsoleError};
use crate::field::{self, Ran};
use crate::machine::Machine;
use crate::qemu::{self, QMP_SOCKET, Serial};
use crate::qmp::{Qmp, QmpError};
use crate::ready::{FAILED, POWER_OFF, REBOOT, Ready};

/// Lines after which a guest cannot become ready: PID 1 gave up, the kernel stopped, or UEFI firmware found
/// nothing to boot and offers its shell.
const DEAD_ENDS: [&str; 3] = [FAILED, "Kernel panic - not syncing", "UEFI Interactive Shell"];
/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// How long something may take in the guest's networks: machines that run many tests at a time are slow.
const PATIENCE: Duration = Duration::from_secs(90);
/// Time between two looks at them.
const BETWEEN: Duration = Duration::from_millis(300);
/// How long a guest that failed may go on printing before its log is taken.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A virtual machine that runs.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    console: Console,
    messages: Console,
    run: Scratch,
    deadline: Instant,
}

/// A guest that did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// The folder of the run could not be prepared.
    #[error("cannot prepare the folder of the run")]
    Prepare(#[source] io::Error),
    /// QEMU could not be started.
    #[error("cannot start the machine")]
    Start(#[source] ProcessError),
    /// QEMU does not listen.
    #[error("cannot control QEMU{log}")]
    Control {
        /// Why.
        source: QmpError,
        /// What was printed.
        log: Log,
    },
    /// It did not get there in time.
    #[error("timed out waiting for {what}{log}")]
    TimedOut {
        /// What was awaited.
        what: &'static str,
        /// What was printed.
        log: Log,
    },
    /// QEMU ended early.
    #[error("QEMU ended before {what}{log}")]
    Ended {
        /// What was awaited.
        what: &'static str,
        /// What was printed.
        log: Log,
    },
    /// Firmware, the kernel or PID 1 gave up.
    #[error("the guest failed: {line}{log}")]
    Failed {
        /// The line that says so.
        line: String,
        /// What was printed.
        log: Log,
    },
    /// It runs, but not as it should.
    #[error("not so: {fact}{log}")]
    Unexpected {
        /// What should be.
        fact: String,
        /// What was printed.
        log: Log,
    },
    /// Commands beside the guest cannot be run.
    #[error("cannot run commands in the guest's networks{log}")]
    Field {
        /// Why.
        source: io::Error,
        /// What was printed.
        log: Log,
    },
    /// The `lepton: ready` line is not what its contract says.
    #[error("cannot read the ready line{log}")]
    NotReadable {
        /// Why.
        source: serde_json::Error,
        /// What was printed.
        log: Log,
    },
}

/// What a guest and its QEMU printed, for people.
#[derive(Clone, Debug)]
pub struct Log {
    console: String,
    messages: String,
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, text) in [("console", &self.console), ("messages of QEMU", &self.messages)] {
            let text = text.trim();
            if text.is_empty() {
                write!(f, "\n--- {name}: none ---")?;
            } else {
                write!(f, "\n--- {name} ---\n{text}\n--- end ---")?;
            }
        }
        Ok(())
    }
}

impl Guest {
    /// Starts `machine` with the programs of the tool tree `tools`; all waits together last at most `limit`.
    pub fn start(machine: &Machine, tools: &Path, limit: Duration) -> Result<Self, GuestError> {
        let run = run_folder()?;
        let sandbox =
            qemu::sandbox(machine, tools, run.path(), Serial::Output).map_err(GuestError::Prepare)?;
        let mut child = sandbox
            .process()
            .spawn(Stdio::piped(), Stdio::piped(), Stdio::piped())
            .map_err(GuestError::Start)?;
        let stdout = child.stdout.take().expect("standard output was asked for as a pipe");
        let stderr = child.stderr.take().expect("standard error was asked for as a pipe");
        let (console, messages) = (Console::new(stdout), Console::new(stderr));
        Ok(Self { child, console, messages, run, deadline: Instant::now() + limit })
    }

    /// Waits for the `lepton: ready` line; a panic, a failed step, nothing to boot or an end of QEMU is an error at once.
    pub fn wait_ready(&mut self) -> Result<Ready, GuestError> {
        let found = self.wait_for("the ready line", Ready::parse)?;
        found.map_err(|source| GuestError::NotReadable { source, log: self.log() })
    }

    /// Presses the power button and waits until PID 1 has said that it powers off and QEMU has ended.
    pub fn power_off(mut self) -> Result<(), GuestError> {
        self.control(Qmp::power_button)?;
        self.wait_for("the power-off line", |line| line.contains(POWER_OFF).then_some(()))?;
        self.wait_end("the end after power-off")
    }

    /// Waits until the guest has said that it powers off, which somebody else told it, and QEMU has ended.
    pub fn wait_power_off(mut self) -> Result<(), GuestError> {
        self.wait_for("the power-off line", |line| line.contains(POWER_OFF).then_some(()))?;
        self.wait_end("the end after power-off")
    }

    /// Presses Ctrl-Alt-Del and waits until PID 1 has said that it restarts and QEMU has ended, which it does instead.
    pub fn restart(mut self) -> Result<(), GuestError> {
        self.control(|qmp| qmp.press_keys(&["ctrl", "alt", "delete"]))?;
        self.wait_for("the restart line", |line| line.contains(REBOOT).then_some(()))?;
        self.wait_end("the end after Ctrl-Alt-Del")
    }

    /// Waits until the guest has said that it restarts by itself and QEMU has ended, which it does instead.
    pub fn wait_restart(mut self) -> Result<(), GuestError> {
        self.wait_for("the restart line", |line| line.contains(REBOOT).then_some(()))?;
        self.wait_end("the end after the restart")
    }

    /// Plugs the cable of card `index` of a [`crate::machine::Network::Field`] in, or pulls it.
    pub fn set_link(&self, index: usize, is_up: bool) -> Result<(), GuestError> {
        self.control(|qmp| qmp.set_link(&format!("net{index}"), is_up))
    }

    /// Holds the guest and its clock for so long.
    pub fn pause(&self, time: Duration) -> Result<(), GuestError> {
        self.control(|qmp| {
            qmp.stop()?;
            std::thread::sleep(time);
            qmp.go_on()
        })
    }

    /// Runs a shell script among the servers of a [`crate::machine::Network::Field`], where `netN` leads to card N.
    pub fn there(&self, script: &str) -> Result<Ran, GuestError> {
        let ran = field::run(self.run.path(), script, self.deadline);
        ran.map_err(|source| GuestError::Field { source, log: self.log() })
    }

    /// Runs a script again and again until it succeeds, and gives what it printed then.
    pub fn until(&self, what: &str, script: &str) -> Result<String, GuestError> {
        let deadline = self.deadline.min(Instant::now() + PATIENCE);
        loop {
            let ran = self.there(script)?;
            if ran.is_success {
                return Ok(ran.output);
            }
            if Instant::now() > deadline {
                let logs = self.there(field::TELL)?.output;
                let fact = format!("{what}\n{}\n{logs}", ran.output.trim());
                return Err(GuestError::Unexpected { fact, log: self.log() });
            }
            std::thread::sleep(BETWEEN);
        }
    }

    /// Waits until QEMU has ended without PID 1 saying that it stops: something else restarted the guest.
    pub fn wait_reset(mut self) -> Result<String, GuestError> {
        self.wait_end("the end by a reset")?;
        let text = self.console.text();
        let is_orderly = text.contains(REBOOT) || text.contains(POWER_OFF);
        self.require(!is_orderly, || "PID 1 did not stop the guest".to_owned())?;
        Ok(text)
    }

    /// Whether QEMU runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Types a line on the serial console.
    pub fn type_line(&mut self, text: &str) -> Result<(), GuestError> {
        let stdin = self.child.stdin.as_mut().expect("standard input was asked for as a pipe");
        let typed = stdin.write_all(format!("{text}\n").as_bytes()).and_then(|()| stdin.flush());
        typed.map_err(|_| GuestError::Ended { what: "a line was typed", log: self.log() })
    }

    /// Waits for a line that contains `text`.
    pub fn wait_line(&mut self, what: &'static str, text: &str) -> Result<(), GuestError> {
        self.wait_for(what, |line| line.contains(text).then_some(()))
    }

    /// Everything the guest has printed so far.
    pub fn console(&self) -> String {
        self.console.text()
    }

    /// Fails with the console when a fact does not hold; `fact` says what should be.
    pub fn require(&self, holds: bool, fact: impl FnOnce() -> String) -> Result<(), GuestError> {
        if holds { Ok(()) } else { Err(GuestError::Unexpected { fact: fact(), log: self.log() }) }
    }

    /// Its console, which can be read when the guest is gone.
    pub(crate) fn watch(&self) -> Console {
        self.console.clone()
    }

    /// Waits for a line in which `look` finds what it wants, as [`Guest::wait_ready`] does.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &'static str,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, GuestError> {
        enum Found<T> {
            Wanted(T),
            Failure(String),
        }
        let found = self.console.wait_for(self.deadline, |line| {
            if DEAD_ENDS.iter().any(|end| line.contains(end)) {
                return Some(Found::Failure(line.to_owned()));
            }
            look(line).map(Found::Wanted)
        });
        match found {
            Ok(Found::Wanted(value)) => return Ok(value),
            Err(ConsoleError::TimedOut) => return Err(GuestError::TimedOut { what, log: self.log() }),
            Ok(Found::Failure(_)) | Err(ConsoleError::Closed) => {}
        }
        // A stack trace, or QEMU's reason, comes after the line or the end that was seen.
        let _ = self.messages.wait_for(Instant::now() + LAST_WORDS, |_| None::<()>);
        match found {
            Ok(Found::Failure(line)) => Err(GuestError::Failed { line, log: self.log() }),
            _ => Err(GuestError::Ended { what, log: self.log() }),
        }
    }

    fn wait_end(&mut self, what: &'static str) -> Result<(), GuestError> {
        loop {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Ok(());
            }
            if Instant::now() > self.deadline {
                return Err(GuestError::TimedOut { what, log: self.log() });
            }
            std::thread::sleep(POLL);
        }
    }

    fn control(&self, command: impl FnOnce(&mut Qmp) -> Result<(), QmpError>) -> Result<(), GuestError> {
        Qmp::connect(&self.run.path().join(QMP_SOCKET))
            .and_then(|mut qmp| command(&mut qmp))
            .map_err(|source| GuestError::Control { source, log: self.log() })
    }

    fn log(&self) -> Log {
        Log { console: self.console.text(), messages: self.messages.text() }
    }
}

/// Runs `machine` on the caller's terminal until it ends or Ctrl-A X is typed; gives QEMU's exit status.
pub fn interactive(machine: &Machine, tools: &Path) -> Result<ExitStatus, GuestError> {
    let run = run_folder()?;
    let sandbox = qemu::sandbox(machine, tools, run.path(), Serial::Terminal).map_err(GuestError::Prepare)?;
    sandbox.process().run_attached().map_err(GuestError::Start)
}

/// It is removed when the program is interrupted, too.
fn run_folder() -> Result<Scratch, GuestError> {
    Scratch::new_in(&std::env::temp_dir(), "lepton-run-").map_err(GuestError::Prepare)
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself; both calls then do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
