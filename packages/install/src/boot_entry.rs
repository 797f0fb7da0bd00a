//! Makes firmware start the installed disk first: one `Boot####` variable of ours for the disk, first in `BootOrder`
//! (UEFI specification 2.10, section 3.1).
//!
//! The disk starts without it, too, by the path for removable media, so whatever fails here is a warning. Entries of
//! others stay as they are and in their order.

use std::fs::File;
use std::io;

use lepton_disks::gpt::{self, PartitionId};
use lepton_disks::list::Disk;

use crate::efi_variables::Variables;
use crate::load_option::{self, Program};

/// The order of boot options: their numbers, little-endian.
const ORDER: &str = "BootOrder";
/// What descriptions of ours begin with.
const OURS: &str = "Lepton";
/// systemd-boot at its own path (`lepton_formats::disk::esp_files`).
const PROGRAM: &str = if cfg!(target_arch = "aarch64") {
    r"\EFI\systemd\systemd-bootaa64.efi"
} else {
    r"\EFI\systemd\systemd-bootx64.efi"
};

/// Why there is no boot entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootEntryError {
    #[error("this system was not started by UEFI firmware, which the disk needs")]
    NoVariables,
    #[error("cannot read the partition table of {disk}")]
    Table { disk: String, source: io::Error },
    #[error("the partition table of {disk} has no EFI system partition")]
    NoEsp { disk: String },
    #[error("cannot {action} the variable {name}")]
    Variable { action: &'static str, name: String, source: io::Error },
    #[error("all numbers of boot entries are taken")]
    Full,
}

/// The identifiers of a disk's partitions; none without a table.
pub(crate) fn partitions(disk: &Disk) -> Vec<PartitionId> {
    let entries = File::open(disk.path()).and_then(|mut file| gpt::entries(&mut file, disk.sector));
    entries.unwrap_or_default().into_iter().map(|entry| entry.id).collect()
}

/// Makes or renews the entry for `disk`; `before` are its partitions before the installation. Gives the entry's name.
pub(crate) fn register(disk: &Disk, before: &[PartitionId], image: &str) -> Result<String, BootEntryError> {
    let variables = Variables::of_machine().ok_or(BootEntryError::NoVariables)?;
    let read = File::open(disk.path()).and_then(|mut file| gpt::entries(&mut file, disk.sector));
    let entries = read.map_err(|source| BootEntryError::Table { disk: disk.name.clone(), source })?;
    let esp = (1..).zip(&entries).find(|(_, entry)| entry.is_esp);
    let (number, esp) = esp.ok_or_else(|| BootEntryError::NoEsp { disk: disk.name.clone() })?;
    let program = Program { id: esp.id, number, blocks: [esp.first, esp.blocks], path: PROGRAM };
    let option = load_option::build(&format!("{OURS} {image}"), &program);
    put_first(&variables, &option, &[before, &[esp.id]].concat())
}

/// Writes `option` and puts it first; entries of ours for the partitions `known` go, one of them lends its number.
fn put_first(variables: &Variables, option: &[u8], known: &[PartitionId]) -> Result<String, BootEntryError> {
    let mut taken = Vec::new();
    let mut ours = Vec::new();
    for name in variables.names() {
        let Some(number) = number(&name) else { continue };
        taken.push(number);
        let found = variables.read(&name).ok().flatten().and_then(|bytes| load_option::parse(&bytes));
        let is_ours = found.is_some_and(|found| {
            found.description.split(' ').next() == Some(OURS)
                && found.partition.is_some_and(|id| known.contains(&id))
        });
        if is_ours {
            ours.push(number);
        }
    }
    let free = || (0..=u16::MAX).find(|number| !taken.contains(number));
    let number = ours.first().copied().or_else(free).ok_or(BootEntryError::Full)?;
    let failed = |action, name: &str| {
        let name = name.to_owned();
        move |source| BootEntryError::Variable { action, name, source }
    };
    let name = name(number);
    variables.write(&name, option).map_err(failed("write", &name))?;

    let order = variables.read(ORDER).map_err(failed("read", ORDER))?.unwrap_or_default();
    let old = order.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let others = old.filter(|other| *other != number && !ours.contains(other));
    let order: Vec<u8> = [number].into_iter().chain(others).flat_map(u16::to_le_bytes).collect();
    variables.write(ORDER, &order).map_err(failed("write", ORDER))?;
    // Nothing refers to these any more.
    for other in ours.into_iter().filter(|other| *other != number) {
        let name = self::name(other);
        variables.remove(&name).map_err(failed("remove", &name))?;
    }
    Ok(name)
}

fn name(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// The number of a boot entry: four upper-case hexadecimal digits.
fn number(name: &str) -> Option<u16> {
    let digits = name.strip_prefix("Boot")?;
    let is_number = digits.len() == 4 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    is_number.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> PartitionId {
        PartitionId::from_disk([byte; 16])
    }

    fn option(description: &str, partition: u8) -> Vec<u8> {
        let program = Program { id: id(partition), number: 1, blocks: [1, 2], path: PROGRAM };
        load_option::build(description, &program)
    }

    fn order(variables: &Variables) -> Vec<u16> {
        let bytes = variables.read(ORDER).unwrap().unwrap();
        bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn a_new_entry_takes_the_first_free_number_and_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let variables = Variables::in_folder(dir.path());
        assert_eq!(put_first(&variables, &option("Lepton a", 1), &[id(1)]).unwrap(), "Boot0000");
        assert_eq!(order(&variables), [0]);

        let others = [option("CD", 9), option("Lepton b", 2), option("Leptonite", 1)];
        for (name, value) in ["Boot0001", "Boot0003", "Boot000A"].into_iter().zip(&others) {
            variables.write(name, value).unwrap();
        }
        variables.write(ORDER, &[3, 0, 1, 0, 10, 0, 0, 0]).unwrap();
        // Another disk: nobody's entry changes.
        assert_eq!(put_first(&variables, &option("Lepton c", 3), &[id(3)]).unwrap(), "Boot0002");
        assert_eq!(order(&variables), [2, 3, 1, 10, 0]);
        for (name, value) in ["Boot0001", "Boot0003", "Boot000A"].into_iter().zip(others) {
            assert_eq!(variables.read(name).unwrap(), Some(value), "{name}");
        }
    }

    #[test]
    fn entries_of_ours_for_the_disk_become_one() {
        let dir = tempfile::tempdir().unwrap();
        let variables = Variables::in_folder(dir.path());
        for (name, value) in [("Boot0001", option("Lepton a", 1)), ("Boot0002", option("Lepton a", 2))] {
            variables.write(name, &value).unwrap();
        }
        variables.write("Boot0005", &option("CD", 1)).unwrap();
        variables.write(ORDER, &[5, 0, 2, 0, 1, 0]).unwrap();
        let new = option("Lepton b", 7);
        assert_eq!(put_first(&variables, &new, &[id(1), id(2), id(7)]).unwrap(), "Boot0001");
        assert_eq!(order(&variables), [1, 5]);
        assert_eq!(variables.names(), ["Boot0001", "Boot0005", ORDER]);
        assert_eq!(variables.read("Boot0001").unwrap(), Some(new));
    }

    #[test]
    fn names_of_entries() {
        assert_eq!(number("Boot00AF"), Some(0xaf));
        assert_eq!(name(0xaf), "Boot00AF");
        for bad in ["Boot00af", "BootOrder", "Boot+001", "Boot00001", "BootNext"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
