//! The channel against an exchange written down call by call, and against a hypervisor that follows the rules.
//!
//! The exchange is the one that open-vm-tools (`lib/message`) and Linux (`vmwgfx_msg.c`) have with ESXi.

use std::collections::BTreeMap;

use super::rpc::{Port, Registers, Rpc, RpcError};
use super::*;

/// Plays an exchange: every call must be the next one.
struct Recording<'a> {
    calls: std::str::Lines<'a>,
}

impl Recording<'_> {
    fn registers(text: &str) -> Registers {
        let mut words = text.split_whitespace().map(|word| u32::from_str_radix(word, 16).unwrap());
        let mut next = || words.next().unwrap();
        Registers { eax: next(), ebx: next(), ecx: next(), edx: next(), esi: next(), edi: next() }
    }
}

impl Port for Recording<'_> {
    fn call(&mut self, registers: Registers) -> Registers {
        let line = self
            .calls
            .by_ref()
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .expect("one call more");
        let (expected, answer) = line.split_once("->").unwrap();
        assert_eq!(registers, Self::registers(expected), "{line}");
        Self::registers(answer)
    }
}

#[test]
fn the_recorded_exchange() {
    let recording = Recording { calls: include_str!("info-get.exchange").lines() };
    let mut rpc = Rpc::new(recording);
    assert_eq!(rpc.info_get("guestinfo.hostname"), Ok(Some(b"edge-1".to_vec())));
    assert_eq!(rpc.info_get("guestinfo.x"), Ok(None));
}

/// A hypervisor with some keys and, if wanted, faults.
#[derive(Default)]
struct Hypervisor {
    keys: BTreeMap<&'static str, Vec<u8>>,
    request: Vec<u8>,
    expected: usize,
    reply: Vec<u8>,
    sent: usize,
    /// Calls until the machine is moved.
    moved_after: Option<usize>,
    /// Size told instead of the reply's own.
    false_size: Option<u32>,
    open: usize,
}

const SUCCESS: u32 = 1 << 16;

impl Port for Hypervisor {
    fn call(&mut self, mut registers: Registers) -> Registers {
        assert_eq!(
            (registers.eax, registers.ecx & 0xffff, registers.edx & 0xffff),
            (0x564d_5868, 30, 0x5658)
        );
        if let Some(left) = &mut self.moved_after {
            if *left == 0 {
                self.moved_after = None;
                return Registers { ecx: 0x10 << 16, ..registers };
            }
            *left -= 1;
        }
        let step = registers.ecx >> 16;
        if step > 0 {
            let channel = (registers.edx >> 16, registers.esi, registers.edi);
            assert_eq!(channel, (3, 0x1111_2222, 0x3333_4444), "the channel and its cookie");
        }
        registers.ecx = SUCCESS;
        match step {
            0 => {
                assert_eq!(registers.ebx, 0xc943_5052);
                self.open += 1;
                self.request.clear();
                (registers.edx, registers.esi, registers.edi) = (3 << 16, 0x1111_2222, 0x3333_4444);
            }
            1 => self.expected = registers.ebx as usize,
            2 => {
                self.request.extend(registers.ebx.to_le_bytes());
                if self.request.len() >= self.expected {
                    self.request.truncate(self.expected);
                    let text = String::from_utf8(self.request.clone()).unwrap();
                    let key = text.strip_prefix("info-get ").unwrap();
                    self.reply = match self.keys.get(key) {
                        Some(value) => [b"1 ", value.as_slice()].concat(),
                        None => b"0 No value found".to_vec(),
                    };
                    self.sent = 0;
                }
            }
            3 => {
                let size = u32::try_from(self.reply.len()).unwrap();
                (registers.ebx, registers.ecx, registers.edx) =
                    (self.false_size.unwrap_or(size), 3 << 16, 1 << 16);
            }
            4 => {
                let mut piece = [0; 4];
                let rest = &self.reply[self.sent.min(self.reply.len())..];
                let length = rest.len().min(4);
                piece[..length].copy_from_slice(&rest[..length]);
                self.sent += 4;
                (registers.ebx, registers.edx) = (u32::from_le_bytes(piece), 2 << 16);
            }
            5 => {}
            6 => self.open -= 1,
            _ => panic!("step {step}"),
        }
        registers
    }
}

impl Port for &mut Hypervisor {
    fn call(&mut self, registers: Registers) -> Registers {
        (**self).call(registers)
    }
}

fn hypervisor(keys: &[(&'static str, &[u8])]) -> Hypervisor {
    let keys = keys.iter().map(|(key, value)| (*key, value.to_vec())).collect();
    Hypervisor { keys, ..Hypervisor::default() }
}

#[test]
fn values_of_every_length_come_whole() {
    for length in 0..9 {
        let value = vec![b'v'; length];
        let mut host = hypervisor(&[("guestinfo.k", &value)]);
        assert_eq!(Rpc::new(&mut host).info_get("guestinfo.k"), Ok(Some(value)));
        assert_eq!(host.open, 0, "the channel is closed");
    }
}

#[test]
fn a_moved_machine_is_asked_again() {
    for call in 1..14 {
        let mut host = hypervisor(&[("guestinfo.k", b"value")]);
        host.moved_after = Some(call);
        assert_eq!(Rpc::new(&mut host).info_get("guestinfo.k"), Ok(Some(b"value".to_vec())), "call {call}");
    }
}

#[test]
fn a_false_size_takes_no_memory() {
    let mut host = hypervisor(&[]);
    host.false_size = Some(u32::MAX);
    assert_eq!(Rpc::new(&mut host).info_get("guestinfo.k"), Err(RpcError::TooLarge(u32::MAX as usize)));
}

#[test]
fn a_hypervisor_that_refuses() {
    struct Silent;
    impl Port for Silent {
        fn call(&mut self, registers: Registers) -> Registers {
            registers
        }
    }
    // Registers that come back as they went: what an ordinary machine would do.
    assert_eq!(Rpc::new(Silent).info_get("guestinfo.k"), Err(RpcError::Refused("open")));
}

#[test]
fn keys_in_their_order() {
    let environment = include_bytes!("ovf-env.xml");
    let config = b"hostname = \"low\"\n[time]\nservers = [\"192.0.2.9\"]\n".as_slice();
    let mut host = hypervisor(&[("guestinfo.lepton.config", config), ("guestinfo.ovfEnv", environment)]);
    let layer = read(&mut host).unwrap();
    assert_eq!(layer.errors, [] as [&str; 0]);
    assert_eq!(layer.config.hostname.unwrap().as_str(), "low");
    assert_eq!(layer.config.time.servers[0].as_str(), "192.0.2.9");
    assert_eq!(
        layer.config.network.links[0].gateways[0].to_string(),
        "192.0.2.1",
        "from the OVF environment"
    );
    assert_eq!(layer.config.files[0].content, "from ovf\n");

    let mut host = hypervisor(&[
        ("guestinfo.hostname", b"high"),
        ("guestinfo.lepton.config", b"aG9zdG5hbWU9J3gnClt0aW1lXQpzZXJ2ZXJzPVsiYSJd"),
        ("guestinfo.lepton.config.encoding", b"base64"),
    ]);
    let layer = read(&mut host).unwrap();
    assert_eq!((layer.config.hostname.unwrap().as_str(), layer.config.time.servers.len()), ("high", 1));

    assert!(read(&mut hypervisor(&[])).is_err(), "no key, no source");
    let mut host = hypervisor(&[
        ("guestinfo.lepton.config", b"hostname=!"),
        ("guestinfo.lepton.config.encoding", b"rot13"),
    ]);
    assert_eq!(
        read(&mut host).unwrap().errors,
        ["guestinfo.lepton.config: unknown encoding \"rot13\" (known: base64, gzip+base64)"]
    );
}
