//! Firmware variables through efivarfs: one file each, four bytes of attributes before the value.
//!
//! A variable is written by one write(2), which the kernel hands to the firmware as a whole. Only the global name space
//! is used here.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

/// Where PID 1 mounts them.
const FOLDER: &str = "/sys/firmware/efi/efivars";
/// `EFI_GLOBAL_VARIABLE` (UEFI specification section 3.3).
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Kept without power, readable before and after the operating system starts (section 8.2).
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];

/// The variables of this machine, or of a folder in tests.
#[derive(Debug)]
pub(crate) struct Variables {
    folder: PathBuf,
}

impl Variables {
    /// Those of this machine; `None` when it was not started by UEFI firmware, or its variables cannot be reached.
    pub(crate) fn of_machine() -> Option<Self> {
        let variables = Self { folder: PathBuf::from(FOLDER) };
        (!variables.names().is_empty()).then_some(variables)
    }

    #[cfg(test)]
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Names of the global variables, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one directory listing of this program, and it sorts"
        )]
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter_map(|name| Some(name.strip_suffix(GLOBAL)?.strip_suffix('-')?.to_owned())).collect();
        names.sort_unstable();
        names
    }

    /// The value of a variable; `None` when there is none.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes.get(ATTRIBUTES.len()..).unwrap_or_default().to_vec())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a variable, unless it has this value: the memory that holds it wears out.
    pub(crate) fn write(&self, name: &str, value: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let old = self.read(name)?;
        if old.as_deref() == Some(value) {
            return Ok(());
        }
        let is_new = old.is_none();
        if !is_new {
            make_mutable(&path)?;
        }
        let mut file = File::options().write(true).create(is_new).open(&path)?;
        // efivarfs replaces the whole value with each write; the folder of a test does not.
        if cfg!(test) {
            file.set_len(0)?;
        }
        let bytes = [&ATTRIBUTES, value].concat();
        let written = file.write(&bytes).and_then(|count| match count == bytes.len() {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::WriteZero, "the firmware took a part of it")),
        });
        if written.is_err() && is_new {
            // The kernel keeps the name of a variable that the firmware refused.
            let _ = fs::remove_file(&path);
        }
        written
    }

    /// Removes a variable.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        make_mutable(&self.path(name))?;
        fs::remove_file(self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}-{GLOBAL}"))
    }
}

/// Takes the immutable flag away, with which the kernel protects variables whose loss some firmware does not survive.
fn make_mutable(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // Other file systems than efivarfs may have no flags; what cannot be changed shows at the write.
    let Ok(flags) = ioctl_getflags(&file) else { return Ok(()) };
    if flags.contains(IFlags::IMMUTABLE) {
        ioctl_setflags(&file, flags - IFlags::IMMUTABLE)?;
    }
    Ok(())
}
