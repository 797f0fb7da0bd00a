//! `lepton-install [--check] [--wipe] DISK`: puts the running system on a disk and restarts.
//!
//! DISK is a path, a serial number, or `smallest`. `--check` only says whether it could be done. `--wipe` also empties
//! a state partition that is kept otherwise. Exit codes: 0 done, 1 refused or failed, with one line on standard error,
//! the console and in the kernel log; 2 wrong usage. Nothing but the chosen disk and the boot entries of the firmware
//! is written.

mod boot_entry;
mod efi_variables;
mod layout;
mod load_option;
mod medium;
mod write;

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

use lepton_disks::choose::{ChooseError, choose};
use lepton_disks::list;
use rustix::process::{Pid, Signal, kill_process};

use layout::{Layout, LayoutError};
use medium::{Medium, MediumError};
use write::WriteError;

/// Why nothing was installed, or not everything.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("cannot find the system to install")]
    Medium(#[from] MediumError),
    #[error(transparent)]
    Choose(#[from] ChooseError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("cannot install on {disk}")]
    Write { disk: String, source: WriteError },
    #[error("cannot restart")]
    Restart(#[source] rustix::io::Errno),
}

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    disk: String,
    wipe: bool,
    check: bool,
}

impl Order {
    fn parse(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut order = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--wipe" => order.wipe = true,
                "--check" => order.check = true,
                disk if order.disk.is_empty() && !disk.starts_with("--") => order.disk = disk.to_owned(),
                _ => return None,
            }
        }
        (!order.disk.is_empty()).then_some(order)
    }
}

fn main() -> ExitCode {
    let Some(order) = Order::parse(std::env::args().skip(1)) else {
        eprintln!("usage: lepton-install [--check] [--wipe] DISK");
        return ExitCode::from(2);
    };
    match install(&order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = chain(&error);
            // With --check, the caller shows the line.
            if order.check {
                eprintln!("{text}");
            } else {
                say(&format!("install failed: {text}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn install(order: &Order) -> Result<(), InstallError> {
    let medium = Medium::find()?;
    let mut layout = Layout::new(&medium)?;
    let disks = list::disks();
    let disk = choose(&disks, &order.disk, layout.bytes())?;
    let keeps = !order.wipe && layout.can_keep_state(disk)?;
    if order.check {
        return Ok(());
    }
    let kept = if keeps { ", keeping its state" } else { "" };
    say(&format!("installing on {}{kept}", disk.name));
    let failed = |source| InstallError::Write { disk: disk.name.clone(), source };
    let before = boot_entry::partitions(disk);
    let image = medium.image_id().to_owned();
    let job = layout.job(disk, keeps);
    write::carry_out(&write::Device::open(&disk.path()).map_err(failed)?, &job).map_err(failed)?;
    match boot_entry::register(disk, &before, &image) {
        Ok(entry) => say(&format!("the firmware starts {} first, as {entry}", disk.name)),
        Err(error) => say(&format!("the firmware has no boot entry for {}: {}", disk.name, chain(&error))),
    }
    say(&format!("installed on {}; restarting", disk.name));
    // docs/boot.md: SIGINT asks PID 1 for a restart.
    kill_process(Pid::INIT, Signal::INT).map_err(InstallError::Restart)
}

/// One line for the operator: on standard error, the console and in the kernel log.
fn say(text: &str) {
    let line = format!("lepton: {text}\n");
    eprint!("{line}");
    for path in ["/dev/console", "/dev/kmsg"] {
        // A host without a console has the log only.
        let _ = File::options().write(true).open(path).and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        let parse = |text: &str| Order::parse(text.split_whitespace().map(str::to_owned));
        assert_eq!(parse("smallest"), Some(Order { disk: "smallest".to_owned(), wipe: false, check: false }));
        let all = Order { disk: "/dev/sda".to_owned(), wipe: true, check: true };
        assert_eq!(parse("--wipe /dev/sda --check"), Some(all));
        for wrong in ["", "--wipe", "a b", "--force a"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
