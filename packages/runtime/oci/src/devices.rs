//! Access to devices: the rules of a container as an eBPF program of its cgroup (cgroup v2 has no files for it).
//!
//! The last rule that fits decides, as the OCI runtime specification says; without one, access is denied.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::sys::{self, Instruction};

/// A cgroup has no control of devices.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} for {}", cgroup.display())]
pub(crate) struct DeviceError {
    what: &'static str,
    cgroup: PathBuf,
    source: io::Error,
}

/// `BPF_DEVCG_ACC_MKNOD`, `_READ`, `_WRITE`
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
/// `BPF_DEVCG_DEV_BLOCK`, `_CHAR`
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// Makes the rules count for a cgroup.
pub(crate) fn control(cgroup: &Path, rules: &[LinuxDeviceCgroup]) -> Result<(), DeviceError> {
    let Some(program) = program(rules) else { return Ok(()) };
    let of = |what| move |source| DeviceError { what, cgroup: cgroup.to_owned(), source };
    let file = File::open(cgroup).map_err(of("open the cgroup"))?;
    let loaded = sys::load(&program).map_err(of("load the program"))?;
    sys::attach(&loaded, &file).map_err(of("attach the program"))
}

/// The program, or none when everything is allowed.
fn program(rules: &[LinuxDeviceCgroup]) -> Option<Vec<Instruction>> {
    let every = |rule: &LinuxDeviceCgroup| {
        matches!(rule.typ(), None | Some(LinuxDeviceType::A))
            && rule.major().is_none_or(|major| major < 0)
            && rule.minor().is_none_or(|minor| minor < 0)
            && access(rule) == MKNOD | READ | WRITE
    };
    if rules.last().is_some_and(|rule| rule.allow() && every(rule)) {
        return None;
    }
    // r1 is the context: access and type, major, minor, as 32 bits each.
    let mut code = vec![
        load(2, 0),
        // r3 = access = r2 >> 16
        instruction(0xbc, 3, 2, 0, 0),
        instruction(0x74, 3, 0, 0, 16),
        // r2 = type = r2 & 0xffff
        instruction(0x54, 2, 0, 0, 0xffff),
        load(4, 4),
        load(5, 8),
    ];
    for rule in rules.iter().rev() {
        let block = block(rule);
        // The kernel refuses a program with instructions that are never reached.
        let answers_always = block.len() == answer(true).len();
        code.extend(block);
        if answers_always {
            return Some(code);
        }
    }
    code.extend(answer(false));
    Some(code)
}

/// One rule: it answers when everything fits, and falls through otherwise.
fn block(rule: &LinuxDeviceCgroup) -> Vec<Instruction> {
    let kind = match rule.typ() {
        Some(LinuxDeviceType::B) => Some(BLOCK),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(CHARACTER),
        _ => None,
    };
    let number =
        |value: Option<i64>| value.filter(|value| *value >= 0).and_then(|value| i32::try_from(value).ok());
    let access = access(rule);
    let mut tests = Vec::new();
    if let Some(kind) = kind {
        tests.push(vec![unequal(2, kind)]);
    }
    if access != MKNOD | READ | WRITE {
        // Everything that is asked for must be among what the rule is about: r6 = r3 & !access; r6 != 0 does not fit.
        tests.push(vec![instruction(0xbc, 6, 3, 0, 0), instruction(0x54, 6, 0, 0, !access), unequal(6, 0)]);
    }
    for (register, value) in [(4, number(rule.major())), (5, number(rule.minor()))] {
        if let Some(value) = value {
            tests.push(vec![unequal(register, value)]);
        }
    }
    let mut code: Vec<Instruction> = tests.concat();
    code.extend(answer(rule.allow()));
    let length = code.len();
    for (place, instruction) in code.iter_mut().enumerate() {
        if instruction.code == UNEQUAL {
            instruction.offset = i16::try_from(length - place - 1).expect("a rule has a dozen instructions");
        }
    }
    code
}

fn access(rule: &LinuxDeviceCgroup) -> i32 {
    let letters = rule.access().as_deref().unwrap_or("rwm");
    letters.chars().fold(0, |bits, letter| {
        bits | match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => 0,
        }
    })
}

/// `BPF_JMP32 | BPF_JNE | BPF_K`
const UNEQUAL: u8 = 0x56;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, constant: i32) -> Instruction {
    Instruction { code, registers: source << 4 | destination, offset, constant }
}

/// A 32-bit word of the context.
fn load(register: u8, offset: i16) -> Instruction {
    instruction(0x61, register, 1, offset, 0)
}

fn unequal(register: u8, value: i32) -> Instruction {
    instruction(UNEQUAL, register, 0, 0, value)
}

fn answer(allow: bool) -> [Instruction; 2] {
    [instruction(0xb4, 0, 0, 0, i32::from(allow)), instruction(0x95, 0, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    use super::*;

    /// What a program answers, by interpreting it.
    fn ask(code: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_i32; 8];
        let mut place = 0;
        loop {
            let Instruction { code, registers: named, offset, constant } = code[place];
            let (destination, source) = (usize::from(named & 15), usize::from(named >> 4));
            place += 1;
            match code {
                0x61 => registers[destination] = context[usize::try_from(offset / 4).unwrap()],
                0xbc => registers[destination] = registers[source],
                0x74 => registers[destination] >>= constant,
                0x54 => registers[destination] &= constant,
                0xb4 => registers[destination] = constant,
                0x56 if registers[destination] != constant => place += usize::try_from(offset).unwrap(),
                0x56 => {}
                0x95 => return registers[0] == 1,
                other => panic!("no such instruction: {other:#x}"),
            }
        }
    }

    fn rule(allow: bool, kind: LinuxDeviceType, major: i64, minor: i64, access: &str) -> LinuxDeviceCgroup {
        let rule = LinuxDeviceCgroupBuilder::default().allow(allow).typ(kind).access(access);
        let rule = if major < 0 { rule } else { rule.major(major) };
        let rule = if minor < 0 { rule } else { rule.minor(minor) };
        rule.build().unwrap()
    }

    #[test]
    fn the_last_rule_decides() {
        let rules = [
            rule(false, LinuxDeviceType::A, -1, -1, "rwm"),
            rule(true, LinuxDeviceType::C, -1, -1, "m"),
            rule(true, LinuxDeviceType::C, 1, 3, "rwm"),
            rule(true, LinuxDeviceType::C, 136, -1, "rw"),
            rule(false, LinuxDeviceType::C, 136, 7, "w"),
        ];
        let code = program(&rules).unwrap();
        assert!(ask(&code, CHARACTER, READ | WRITE, 1, 3));
        assert!(!ask(&code, BLOCK, READ, 1, 3));
        assert!(!ask(&code, CHARACTER, READ, 1, 4));
        assert!(ask(&code, CHARACTER, MKNOD, 10, 4));
        assert!(!ask(&code, BLOCK, MKNOD, 8, 0));
        assert!(ask(&code, CHARACTER, READ | WRITE, 136, 9));
        assert!(!ask(&code, CHARACTER, WRITE, 136, 7));
        assert!(ask(&code, CHARACTER, READ, 136, 7));
    }

    #[test]
    fn everything() {
        assert_eq!(program(&[rule(true, LinuxDeviceType::A, -1, -1, "rwm")]), None);
        let nothing = program(&[]).unwrap();
        assert!(!ask(&nothing, CHARACTER, READ, 1, 3));
    }
}
