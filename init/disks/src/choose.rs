//! Which disk a person means: a path, a serial number, or `smallest`.
//!
//! Every refusal is one sentence that names what there is instead.

use crate::list::Disk;

/// Why no disk was chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// There is none at all, or none that may be used.
    #[error("there is no disk of at least {} MiB that is free to use; disks: {known}", need >> 20)]
    None {
        /// Bytes needed.
        need: u64,
        /// What there is.
        known: String,
    },
    /// The path or serial number is of no disk.
    #[error("no disk is {wanted:?}; disks: {known}")]
    Unknown {
        /// As written.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// Several disks have the serial number.
    #[error("{wanted:?} is the serial number of several disks: {found}; use a path")]
    Ambiguous {
        /// As written.
        wanted: String,
        /// Names of the disks.
        found: String,
    },
    /// Several disks are the smallest one.
    #[error("several disks of {} MiB are the smallest: {found}; use a path or a serial number", bytes >> 20)]
    Equal {
        /// Their bytes.
        bytes: u64,
        /// Names of the disks.
        found: String,
    },
    /// It is too small.
    #[error("{name} has {} MiB, and {} MiB are needed", bytes >> 20, need >> 20)]
    TooSmall {
        /// The disk.
        name: String,
        /// Its bytes.
        bytes: u64,
        /// Bytes needed.
        need: u64,
    },
    /// It must be left alone.
    #[error("{name} cannot be used: {why}")]
    InUse {
        /// The disk.
        name: String,
        /// Why.
        why: String,
    },
}

/// The disk that `wanted` names, free to use and with at least `need` bytes. `smallest` means the smallest such disk
/// that is not removable; there must be only one of its size, because the order of names is that of discovery.
pub fn choose<'a>(disks: &'a [Disk], wanted: &str, need: u64) -> Result<&'a Disk, ChooseError> {
    let known = || known(disks);
    if wanted == "smallest" {
        return smallest(disks, need);
    }
    let unknown = || ChooseError::Unknown { wanted: wanted.to_owned(), known: known() };
    let found: Vec<&Disk> = match wanted.strip_prefix("/dev/") {
        Some(name) => disks.iter().filter(|disk| disk.name == name).collect(),
        None => disks.iter().filter(|disk| disk.serials.iter().any(|serial| serial == wanted)).collect(),
    };
    match found[..] {
        [] => Err(unknown()),
        [disk] => refusal(disk, need).map_or(Ok(disk), Err),
        _ => Err(ChooseError::Ambiguous { wanted: wanted.to_owned(), found: names(&found) }),
    }
}

fn smallest(disks: &[Disk], need: u64) -> Result<&Disk, ChooseError> {
    let free = || disks.iter().filter(|disk| !disk.removable && refusal(disk, need).is_none());
    let none = || ChooseError::None { need, known: known(disks) };
    let bytes = free().map(|disk| disk.bytes).min().ok_or_else(none)?;
    let found: Vec<&Disk> = free().filter(|disk| disk.bytes == bytes).collect();
    match found[..] {
        [disk] => Ok(disk),
        _ => Err(ChooseError::Equal { bytes, found: names(&found) }),
    }
}

fn names(disks: &[&Disk]) -> String {
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    names.join(", ")
}

fn refusal(disk: &Disk, need: u64) -> Option<ChooseError> {
    let why = if disk.read_only { Some("it is read-only".to_owned()) } else { disk.in_use.clone() };
    if let Some(why) = why {
        return Some(ChooseError::InUse { name: disk.name.clone(), why });
    }
    let (name, bytes) = (disk.name.clone(), disk.bytes);
    (bytes < need).then_some(ChooseError::TooSmall { name, bytes, need })
}

fn known(disks: &[Disk]) -> String {
    let one = |disk: &Disk| {
        let serial = disk.serials.first().map_or(String::new(), |serial| format!(", serial {serial}"));
        format!("/dev/{} ({} MiB{serial})", disk.name, disk.bytes >> 20)
    };
    let all: Vec<String> = disks.iter().map(one).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, mib: u64, serial: &str) -> Disk {
        Disk {
            name: name.to_owned(),
            sector: 512,
            bytes: mib << 20,
            serials: vec![serial.to_owned()],
            removable: false,
            read_only: false,
            partitions: Vec::new(),
            in_use: None,
        }
    }

    #[test]
    fn a_disk_is_chosen_or_refused_in_one_sentence() {
        let mut disks =
            [disk("sda", 9000, "A"), disk("sdb", 4000, "B"), disk("sdc", 2000, "B"), disk("vda", 10, "D")];
        disks[2].removable = true;
        let choose = |wanted: &str| choose(&disks, wanted, 1000 << 20).map(|disk| disk.name.clone());
        assert_eq!(choose("smallest").as_deref(), Ok("sdb"));
        assert_eq!(choose("/dev/sdc").as_deref(), Ok("sdc"));
        assert_eq!(choose("A").as_deref(), Ok("sda"));
        for (wanted, said) in [
            ("/dev/vda", "vda has 10 MiB, and 1000 MiB are needed"),
            ("B", "\"B\" is the serial number of several disks: sdb, sdc; use a path"),
            ("/dev/sdx", "no disk is \"/dev/sdx\"; disks: /dev/sda (9000 MiB, serial A)"),
            ("X", "no disk is \"X\"; disks: /dev/sda"),
        ] {
            let error = choose(wanted).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn of_equal_disks_none_is_the_smallest() {
        let disks = [disk("sda", 4000, "A"), disk("sdb", 4000, "B"), disk("sdc", 9000, "C")];
        let error = choose(&disks, "smallest", 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "several disks of 4000 MiB are the smallest: sda, sdb; use a path or a serial number"
        );
        assert_eq!(choose(&disks[1..], "smallest", 1).map(|disk| disk.name.as_str()), Ok("sdb"));
    }

    #[test]
    fn a_disk_in_use_is_never_chosen() {
        let mut one = disk("sda", 9000, "A");
        one.in_use = Some("it is mounted on /var".to_owned());
        let error = choose(&[one.clone()], "A", 1).unwrap_err().to_string();
        assert_eq!(error, "sda cannot be used: it is mounted on /var");
        assert!(matches!(choose(&[one], "smallest", 1), Err(ChooseError::None { .. })));
        let mut two = disk("sdb", 9000, "B");
        two.read_only = true;
        assert!(matches!(choose(&[two], "/dev/sdb", 1), Err(ChooseError::InUse { .. })));
    }
}
