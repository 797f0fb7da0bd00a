//! A program on a terminal of its own, as a person has one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use lepton_builder::process::Process;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::cluster::ClusterError;

/// Runs `process` on a terminal of `rows` and `columns`, types `text`, and gives what it showed and how it ended.
pub(super) fn on_terminal(
    process: &Process,
    (rows, columns): (u16, u16),
    text: &str,
) -> Result<(String, ExitStatus), ClusterError> {
    let place = Path::new("/dev/ptmx");
    let failed = || ClusterError::file("open a terminal at", place);
    let open = || {
        let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size)?;
        let name = ptsname(&ours, Vec::new())?;
        Ok::<_, rustix::io::Errno>((ours, name))
    };
    let (ours, name) = open().map_err(|error| failed()(error.into()))?;
    let name = name.to_string_lossy().into_owned();
    let theirs = File::options().read(true).write(true).open(&name).map_err(failed())?;
    let copies = [theirs.try_clone().map_err(failed())?, theirs.try_clone().map_err(failed())?];
    let [stdout, stderr] = copies;
    let mut child = process.spawn(Stdio::from(theirs), stdout.into(), stderr.into())?;
    let mut ours = File::from(ours);
    ours.write_all(text.as_bytes()).map_err(failed())?;
    let mut shown = Vec::new();
    // The read fails when the last program has closed the terminal.
    let _ = ours.read_to_end(&mut shown);
    let status = child.wait().map_err(failed())?;
    Ok((String::from_utf8_lossy(&shown).into_owned(), status))
}
