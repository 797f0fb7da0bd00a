//! The system calls of an architecture by name: tables of the kernel's ABI (`arch/*/entry/syscalls` of Linux 6.12).
//!
//! Numbers never change once a call has one. A call that is newer than the tables cannot be on a list.

/// Lines of a name and its number.
const TABLES: &[(&str, &str)] = &[
    #[cfg(any(test, target_arch = "x86_64"))]
    ("x86_64", include_str!("x86_64.txt")),
    #[cfg(any(test, target_arch = "aarch64"))]
    ("aarch64", include_str!("aarch64.txt")),
];

/// The number of a system call; `None` when the architecture has none of this name.
pub(super) fn number(name: &str, arch: &str) -> Option<i64> {
    let (_, table) = TABLES.iter().find(|(known, _)| *known == arch)?;
    let line = table.lines().find(|line| line.split(' ').next() == Some(name))?;
    line.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_abi() {
        for (name, x86_64, aarch64) in [
            ("read", Some(0), Some(63)),
            ("open", Some(2), None),
            ("openat", Some(257), Some(56)),
            ("mseal", Some(462), Some(462)),
            ("reed", None, None),
            ("", None, None),
            ("0", None, None),
        ] {
            assert_eq!(number(name, "x86_64"), x86_64, "{name}");
            assert_eq!(number(name, "aarch64"), aarch64, "{name}");
        }
        assert_eq!(number("read", "mips"), None);
    }
}
