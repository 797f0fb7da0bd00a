//! Starts the installer when the kernel command line (`lepton.install=`) or the machine config asks for it.
//!
//! What it does is its own business (`packages/install`). PID 1 only waits for the check, which takes as long as finding
//! the medium, so that the ready line can say why nothing will be installed.

use std::io;
use std::process::{Command, Stdio};

use crate::kmsg::{self, Level};
use crate::options::Options;
use crate::state;

const PROGRAM: &str = "/usr/bin/lepton-install";

/// Drops the wish to install when the running system was started from an installed disk: what asks for it (firmware,
/// hypervisor, a machine config) may still be there after the installation.
pub fn drop_when_installed(options: &mut Options) {
    if options.install.is_some()
        && let Some(disk) = state::installed_on()
    {
        kmsg::log(Level::Notice, &format!("nothing is installed: this system was started from {disk}"));
        options.install = None;
    }
}

/// Whether the installation that was asked for can be done: one sentence when it cannot.
pub fn check(options: &Options) -> Vec<String> {
    let Some(mut command) = command(options) else { return Vec::new() };
    let outcome = command.arg("--check").output();
    let error = match outcome {
        Ok(output) if output.status.success() => return Vec::new(),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "this image has no package \"install\"".to_owned()
        }
        Err(error) => format!("cannot run {PROGRAM}: {error}"),
    };
    kmsg::warn(&format!("install: {error}"));
    vec![format!("install: {error}")]
}

/// Starts the installation that was asked for; it restarts the host when it is done.
pub fn start(options: &Options) {
    let Some(mut command) = command(options) else { return };
    if let Err(error) = command.spawn() {
        kmsg::warn(&format!("cannot start {PROGRAM}: {error}"));
    }
}

#[expect(clippy::disallowed_methods, reason = "the installer runs without a service manager")]
fn command(options: &Options) -> Option<Command> {
    let disk = options.install.as_deref()?;
    let mut command = Command::new(PROGRAM);
    command.arg(disk).args(options.install_wipe.then_some("--wipe")).stdin(Stdio::null());
    Some(command)
}
