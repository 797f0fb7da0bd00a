//! Small file reads in the shapes PID 1 needs: one trimmed value, or the sorted names of a directory.
//!
//! Names are always sorted, so that a boot does the same thing in the same order every time.

use std::io;
use std::path::Path;

/// The contents of a file of one value, without surrounding white space.
pub fn read_value(path: impl AsRef<Path>) -> io::Result<String> {
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

/// The names in a directory, sorted; names that are not UTF-8 are left out.
#[expect(clippy::disallowed_methods, reason = "the one directory listing of this crate, and it sorts")]
pub fn list_dir(path: impl AsRef<Path>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
