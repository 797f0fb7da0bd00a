//! Messages to and fro, cut short and damaged.

use super::*;
use crate::fuzz::call;

const ADD: [&str; 4] = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch"];

/// What a real client writes for `Hello` (godbus, little endian; fields are in no order).
const HELLO: &[u8] = b"l\x01\0\x01\0\0\0\0\x01\0\0\0\x6e\0\0\0\
    \x06\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\
    \x03\x01s\0\x05\0\0\0Hello\0\0\0\
    \x02\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\
    \x01\x01o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0";

#[test]
fn a_call() {
    let bytes = [HELLO, b"l"].concat();
    let length = frame(&bytes).unwrap().unwrap();
    assert_eq!(length, HELLO.len());
    let hello = Call::read(&bytes[..length]).unwrap().unwrap();
    assert_eq!((hello.serial, hello.wants_reply), (1, true));
    assert_eq!((hello.path, hello.member), ("/org/freedesktop/DBus", "Hello"));
    assert_eq!(
        (hello.interface, hello.destination),
        (Some("org.freedesktop.DBus"), Some("org.freedesktop.DBus"))
    );
    assert_eq!(hello.strings(), Ok(Some([])));
    assert_eq!(hello.strings::<1>(), Ok(None));
    let add = call(7, ADD, &["type='signal'"]);
    assert_eq!(frame(&add), Ok(Some(add.len())));
    let add = Call::read(&add).unwrap().unwrap();
    assert_eq!((add.serial, add.strings()), (7, Ok(Some(["type='signal'"]))));
}

#[test]
fn a_message_that_is_not_there_as_a_whole() {
    for length in 0..16 {
        assert_eq!(frame(&HELLO[..length]), Ok(None), "{length}");
    }
    assert_eq!(frame(&HELLO[..16]), Ok(Some(HELLO.len())));
    // Whatever is cut off, nothing is read past the end.
    for length in 0..HELLO.len() {
        assert!(Call::read(&HELLO[..length]).is_err(), "{length}");
    }
}

#[test]
fn lengths_that_lie() {
    let with = |at: usize, number: u32| {
        let mut bytes = HELLO.to_vec();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    for length in [65_536, 1 << 27, u32::MAX] {
        assert!(frame(&with(4, length)).is_err(), "body of {length}");
        assert!(frame(&with(12, length)).is_err(), "fields of {length}");
    }
    assert!(frame(&with(4, 65_500)).is_err());
    for (at, number) in
        [(4, 1), (4, u32::MAX), (12, 0x6d), (12, 0x70), (12, 8), (12, u32::MAX), (20, 0x15), (20, u32::MAX)]
    {
        assert!(Call::read(&with(at, number)).is_err(), "{number} at {at}");
    }
}

#[test]
fn bad_heads() {
    let with = |at: usize, byte: u8| {
        let mut bytes = HELLO.to_vec();
        bytes[at] = byte;
        bytes
    };
    // Byte order, kind, version, serial number, type of a field, its code.
    for (at, byte) in [
        (0, b'x'),
        (0, b'B'),
        (1, 0),
        (1, 5),
        (3, 2),
        (8, 0),
        (17, 2),
        (18, b'u'),
        (18, b'v'),
        (16, 0),
        (16, 9),
    ] {
        assert!(Call::read(&with(at, byte)).is_err(), "{byte} at {at}");
    }
    assert!(frame(&with(0, b'x')).is_err());
    // A field of a later version is passed over.
    assert!(Call::read(&with(16, 10)).unwrap().unwrap().destination.is_none());
    // No answer is wanted.
    assert!(!Call::read(&with(2, 1)).unwrap().unwrap().wants_reply);
    // Answers and signals ask for nothing.
    for kind in [RETURN, ERROR, SIGNAL] {
        assert!(Call::read(&with(1, kind)).unwrap().is_none());
    }
}

#[test]
fn calls_lack_nothing() {
    for names in [["a", "", "i", "M"], ["a", "/", "i", ""]] {
        assert!(Call::read(&call(1, names, &[])).is_err(), "{names:?}");
    }
    assert!(Call::read(&call(1, ["", "/", "", "M"], &[])).unwrap().is_some());
}

#[test]
fn big_endian_calls() {
    let bytes = b"B\x01\0\x01\0\0\0\x06\0\0\0\x09\0\0\0\x27\
        \x01\x01o\0\0\0\0\x01/\0\0\0\0\0\0\0\
        \x03\x01s\0\0\0\0\x01M\0\0\0\0\0\0\0\
        \x08\x01g\0\x01s\0\0\
        \0\0\0\x01x\0";
    assert_eq!(frame(bytes), Ok(Some(bytes.len())));
    let call = Call::read(bytes).unwrap().unwrap();
    assert_eq!((call.serial, call.path, call.member, call.strings()), (9, "/", "M", Ok(Some(["x"]))));
}

#[test]
fn arguments_that_are_no_strings() {
    let mut bytes = call(1, ADD, &["abc"]);
    let end = bytes.len();
    // The string's length.
    bytes[end - 8] = 200;
    assert!(Call::read(&bytes).unwrap().unwrap().strings::<1>().is_err());
    let two = call(1, ADD, &["a", "b"]);
    assert_eq!(Call::read(&two).unwrap().unwrap().strings::<1>(), Ok(None));
}

#[test]
fn what_is_written() {
    let (bytes, descriptor) = Message::Answer(3, Body::Number(60_000_000)).write(2, ":1.0", Some(":1.7"));
    assert!(descriptor.is_none());
    let want = b"l\x02\0\x01\x10\0\0\0\x02\0\0\0\x2f\0\0\0\
        \x05\x01u\0\x03\0\0\0\
        \x06\x01s\0\x04\0\0\0:1.7\0\0\0\0\
        \x07\x01s\0\x04\0\0\0:1.0\0\0\0\0\
        \x08\x01g\0\x01v\0\0";
    assert_eq!(bytes[..want.len()], want[..]);
    let number = [&[1, b't', 0, 0, 0, 0, 0, 0][..], &60_000_000_u64.to_le_bytes()].concat();
    assert_eq!(bytes[want.len()..], number);
    let (signal, _) = Message::Signal("/o", "i.I", "M", Body::Flag(true)).write(1, ":1.0", None);
    assert_eq!(frame(&signal), Ok(Some(signal.len())));
    assert!(Call::read(&signal).unwrap().is_none());
    assert_eq!(signal[signal.len() - 4..], [1, 0, 0, 0]);
}
