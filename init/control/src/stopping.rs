//! How a service learns, when it is told to end, whether the whole host goes down or only itself.
//!
//! PID 1 writes [`Stopping::PATH`] before it tells any service to end because of that, and never removes it: there is no way
//! back, and the file is gone with the memory that it is in. So a service that gets SIGTERM asks [`Stopping::now`].

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// How the host ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// It is switched off.
    PowerOff,
    /// It starts again.
    Reboot,
}

impl Stopping {
    /// The file: one word and the end of the line.
    pub const PATH: &'static str = "/run/lepton/stopping";

    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::PowerOff => "poweroff",
            Self::Reboot => "reboot",
        }
    }

    /// Whether the host goes down, and how; `None` while it does not.
    pub fn now() -> io::Result<Option<Self>> {
        Self::read(Path::new(Self::PATH))
    }

    fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => match text.trim_end() {
                "poweroff" => Ok(Some(Self::PowerOff)),
                "reboot" => Ok(Some(Self::Reboot)),
                _ => {
                    Err(io::Error::new(ErrorKind::InvalidData, format!("unknown word in {}", path.display())))
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says so; for PID 1 alone.
    pub fn announce(self) -> io::Result<()> {
        self.write(Path::new(Self::PATH))
    }

    /// The file appears as a whole.
    fn write(self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        fs::write(&new, format!("{self}\n"))?;
        fs::rename(new, path)
    }
}

impl fmt::Display for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stopping");
        assert_eq!(Stopping::read(&path).unwrap(), None);
        for how in [Stopping::PowerOff, Stopping::Reboot] {
            how.write(&path).unwrap();
            assert_eq!(Stopping::read(&path).unwrap(), Some(how));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "reboot\n");
        fs::write(&path, "later").unwrap();
        assert_eq!(Stopping::read(&path).unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(Stopping::Reboot.write(&folder.path().join("nowhere/stopping")).is_err());
    }
}
