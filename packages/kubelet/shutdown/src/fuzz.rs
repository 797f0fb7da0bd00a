//! Entrances for `examples/fuzz.rs` and the tests: bytes of anyone, and what must hold for them. Not a part of the
//! interface.

use crate::auth::{Auth, Step, take_line};
use crate::calls::{self, Client, Login};
use crate::locks::Locks;
use crate::message::{Call, LONGEST, Message, frame};
use crate::names::LOGIN_OWNER;
use crate::wire::{Writer, length};

/// A method call as a client would write it, whose arguments are strings. Empty names are left out.
pub fn call(serial: u32, [destination, path, interface, member]: [&str; 4], arguments: &[&str]) -> Vec<u8> {
    let mut writer = Writer::default();
    [b'l', 1, 0, 1].into_iter().for_each(|byte| writer.byte(byte));
    writer.u32(0);
    writer.u32(serial);
    writer.u32(0);
    for (code, kind, text) in [(1, "o", path), (2, "s", interface), (3, "s", member), (6, "s", destination)] {
        if text.is_empty() {
            continue;
        }
        writer.align(8);
        writer.byte(code);
        writer.signature(kind);
        writer.string(text);
    }
    if let Some(signature) =
        ["", "s", "ss", "sss", "ssss"].get(arguments.len()).filter(|text| !text.is_empty())
    {
        writer.align(8);
        writer.byte(8);
        writer.signature("g");
        writer.signature(signature);
    }
    let fields = writer.len() - 16;
    writer.set_u32(12, length(fields));
    writer.align(8);
    let start = writer.len();
    arguments.iter().for_each(|argument| writer.string(argument));
    let body = writer.len() - start;
    writer.set_u32(4, length(body));
    writer.finish()
}

/// Lines before messages; how many were good. What is kept never grows past a line.
pub fn lines(bytes: &[u8]) -> usize {
    let mut auth = Auth::new(0, "0123456789abcdef0123456789abcdef");
    let (mut buffer, mut good) = (Vec::new(), 0);
    for chunk in bytes.chunks(7) {
        buffer.extend(chunk);
        loop {
            match take_line(&mut buffer) {
                Err(_) => return good,
                Ok(None) => break,
                Ok(Some(line)) => match auth.line(&line) {
                    Step::Answer(answer) => {
                        assert!(answer.len() < 64 && !answer.contains(['\r', '\n']), "{answer:?}");
                        good += 1;
                        assert!(good <= 16, "a conversation without end");
                    }
                    Step::Begin | Step::End(_) => return good,
                },
            }
        }
        assert!(buffer.len() <= 600, "{} bytes are kept", buffer.len());
    }
    good
}

/// Messages of a client, in a Tokio runtime; how many were calls. Every answer is a good message itself.
pub fn messages(mut bytes: &[u8]) -> usize {
    let login = Login { locks: Locks::new(), delay_us: 60_000_000 };
    let mut client = Client {
        name: ":1.1".to_owned(),
        has_name: false,
        pid: None,
        takes_descriptors: true,
        rules: Vec::new(),
    };
    let mut calls = 0;
    while let Ok(Some(whole)) = frame(bytes) {
        assert!((16..=LONGEST).contains(&whole));
        let Some((message, rest)) = bytes.split_at_checked(whole) else { break };
        bytes = rest;
        let call = match Call::read(message) {
            Ok(Some(call)) => call,
            Ok(None) => continue,
            Err(_) => break,
        };
        calls += 1;
        let answer = match calls::answer(&call, &mut client, &login) {
            Ok(Ok(body)) => Message::Answer(call.serial, body),
            Ok(Err((name, says))) => Message::Refusal(call.serial, name, says),
            Err(_) => break,
        };
        let (answer, _) = answer.write(1, LOGIN_OWNER, Some(&client.name));
        // An answer quotes names of the call, and is longer than those by a sentence.
        assert!(answer.len() <= whole + 512, "an answer of {} bytes to {whole}", answer.len());
        if answer.len() <= LONGEST {
            assert_eq!(frame(&answer), Ok(Some(answer.len())));
            assert!(Call::read(&answer).is_ok_and(|call| call.is_none()), "a bad answer");
        }
        assert!(client.rules.len() <= 32);
    }
    calls
}
