//! The log of the boot before this one, from the files that PID 1 keeps on the state partition (docs/services.md).
//!
//! It asks nobody: the lines lie in plain files.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use lepton_control::LogName;

/// Where the files lie.
const DIR: &str = "/var/log/lepton";
/// Full files of one log.
const KEEP: u32 = 3;
/// What starts a line that says of which boot the lines below it are.
const BOOT: &str = "=== boot ";

/// Prints the log of the boot before this one; of more lines the last ones.
pub(crate) fn show(name: &LogName, lines: Option<u32>, output: &mut impl Write) -> io::Result<()> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let text = read(Path::new(DIR), name)?;
    let Some(found) = previous(&text, boot.trim()) else {
        return Err(io::Error::new(ErrorKind::NotFound, "there are no lines of an earlier boot"));
    };
    let first =
        lines.map_or(0, |lines| found.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX)));
    found[first..].iter().try_for_each(|line| writeln!(output, "{line}"))
}

/// All that is kept of a log, oldest first.
fn read(dir: &Path, name: &LogName) -> io::Result<String> {
    let path = match name {
        LogName::Kernel => dir.join("kernel.log"),
        LogName::Service(name) => dir.join("services").join(format!("{name}.log")),
    };
    let mut text = String::new();
    for number in (0..=KEEP).rev() {
        let path = match number {
            0 => path.clone(),
            number => PathBuf::from(format!("{}.{number}", path.display())),
        };
        match fs::read(&path) {
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display())));
            }
        }
    }
    Ok(text)
}

/// The lines of the last boot that is not `current`; none when there is no such boot.
fn previous<'a>(text: &'a str, current: &str) -> Option<Vec<&'a str>> {
    // What stands before the first mark is of a boot whose mark is gone.
    let mut boot = "";
    let mut found: Option<(&str, Vec<&str>)> = None;
    for line in text.lines() {
        if let Some(mark) = line.strip_prefix(BOOT) {
            boot = mark;
            continue;
        }
        if boot == current {
            continue;
        }
        match &mut found {
            Some((of, lines)) if *of == boot => lines.push(line),
            _ => found = Some((boot, vec![line])),
        }
    }
    found.map(|(_, lines)| lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_before_this_one() {
        let text = "x\n=== boot a\na1\n=== boot b\nb1\n=== boot b\nb2\n=== boot c\nc1\n";
        assert_eq!(previous(text, "c"), Some(vec!["b1", "b2"]));
        // Nothing was written in this boot yet.
        assert_eq!(previous(text, "d"), Some(vec!["c1"]));
        assert_eq!(previous("=== boot a\na1\n", "a"), None);
        assert_eq!(previous("x\n=== boot a\n", "a"), Some(vec!["x"]));
        assert_eq!(previous("", "a"), None);
    }

    #[test]
    fn rotated_files_come_first() {
        let dir = std::env::temp_dir().join(format!("lepton-previous-{}", std::process::id()));
        fs::create_dir_all(dir.join("services")).unwrap();
        for (name, text) in [("web.log.2", "1\n"), ("web.log.1", "2\n"), ("web.log", "3\n")] {
            fs::write(dir.join("services").join(name), text).unwrap();
        }
        let text = read(&dir, &LogName::Service("web".into()));
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(text.unwrap(), "1\n2\n3\n");
    }
}
