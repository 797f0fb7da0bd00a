//! Power buttons: input devices with the key `KEY_POWER`, from ACPI, GPIO or a keyboard.
//!
//! Only devices that have the key are opened, and only presses of that key are looked at.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

use crate::{files, kmsg};

/// `EV_KEY`, `KEY_POWER` and the value of a press (linux/input-event-codes.h).
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const PRESSED: i32 = 1;

/// `struct input_event` on a 64-bit kernel: seconds and microseconds (8 bytes each), type, code, value.
const EVENT_SIZE: usize = 24;

/// The power buttons that are here.
#[derive(Debug, Default)]
pub struct PowerKeys {
    devices: Vec<(String, File)>,
}

impl PowerKeys {
    /// Opens power buttons that are not open yet.
    pub fn rescan(&mut self) {
        for name in files::list_dir("/sys/class/input").unwrap_or_default() {
            let is_known = self.devices.iter().any(|(known, _)| *known == name);
            if is_known || !name.starts_with("event") {
                continue;
            }
            let keys = files::read_value(format!("/sys/class/input/{name}/device/capabilities/key"));
            if !keys.is_ok_and(|bitmap| has_bit(&bitmap, KEY_POWER)) {
                continue;
            }
            match open(&name) {
                Ok(file) => self.devices.push((name, file)),
                Err(error) => kmsg::warn(&format!("cannot open the power button {name}: {error}")),
            }
        }
    }

    /// The open devices.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.devices.iter().map(|(_, file)| file)
    }

    /// Reads all waiting events; true when a power button was pressed. Devices that are gone are closed.
    pub fn pressed(&mut self) -> bool {
        let mut pressed = false;
        self.devices.retain_mut(|(_, file)| {
            let mut buffer = [0; 64 * EVENT_SIZE];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => return false,
                    Ok(length) => pressed |= has_press(&buffer[..length]),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
        });
        pressed
    }
}

fn open(name: &str) -> std::io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(format!("/dev/input/{name}"))
}

/// Whether a bitmap of sysfs has a bit: words of 64 bits in hexadecimal without leading zeros, highest first.
fn has_bit(bitmap: &str, bit: u16) -> bool {
    let word = bitmap.split_whitespace().rev().nth(usize::from(bit / 64));
    word.and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .is_some_and(|word| word >> (bit % 64) & 1 == 1)
}

fn has_press(events: &[u8]) -> bool {
    events.chunks_exact(EVENT_SIZE).any(|event| {
        let kind = u16::from_ne_bytes([event[16], event[17]]);
        let code = u16::from_ne_bytes([event[18], event[19]]);
        let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
        (kind, code, value) == (EV_KEY, KEY_POWER, PRESSED)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps() {
        // The ACPI button has KEY_POWER only: bit 116 is bit 52 of the second word.
        assert!(has_bit("10000000000000 0", KEY_POWER));
        assert!(has_bit("1 0 10000000000000 0", KEY_POWER));
        for without in ["0", "", "10000000000000", "20000000000000 0", "x 0"] {
            assert!(!has_bit(without, KEY_POWER), "{without:?}");
        }
        assert!(has_bit("1", 0));
    }

    #[test]
    fn only_a_press_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut bytes = vec![0xff; 16];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
            bytes
        };
        let (press, release, sync) = (event(1, 116, 1), event(1, 116, 0), event(0, 0, 0));
        assert!(has_press(&[press.clone(), sync.clone()].concat()));
        assert!(!has_press(&[release, sync, event(1, 30, 1), event(4, 116, 1)].concat()));
        assert!(!has_press(&press[..20]));
    }
}
