//! Whole connections: order and disorder of clients, and what the bus does with those that break the protocol.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this is a test; its helpers are no test functions"
)]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lepton_kubelet_shutdown::{Bus, fuzz::call};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

const BUS: [&str; 3] = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"];
const LOGIN: [&str; 3] =
    ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"];
const LOCK: [&str; 4] = ["shutdown", "kubelet", "pods", "delay"];
const LIMIT: Duration = Duration::from_secs(30);

fn bus() -> (TempDir, Bus) {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::listen(&folder.path().join("socket"), Duration::from_secs(60), |note| println!("{note}"));
    (folder, bus.unwrap())
}

struct Client {
    stream: UnixStream,
    serial: u32,
}

impl Client {
    fn connect(folder: &TempDir) -> Self {
        let stream = UnixStream::connect(folder.path().join("socket")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self { stream, serial: 0 }
    }

    fn hello(folder: &TempDir) -> Self {
        let mut client = Self::connect(folder);
        client.stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n").unwrap();
        for want in ["DATA", "OK ", "AGREE_UNIX_FD"] {
            let line = client.line();
            assert!(line.starts_with(want), "{line:?}");
        }
        client.ask(BUS, "Hello", &[]);
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            line.push(char::from(byte[0]));
        }
        line.trim_end().to_owned()
    }

    fn send(&mut self, to: [&str; 3], member: &str, arguments: &[&str]) {
        self.serial += 1;
        let bytes = call(self.serial, [to[0], to[1], to[2], member], arguments);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next message: its kind, and all of it.
    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).unwrap();
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let rest = number(12).next_multiple_of(8) + number(4);
        let mut message = head.to_vec();
        message.resize(16 + usize::try_from(rest).unwrap(), 0);
        self.stream.read_exact(&mut message[16..]).unwrap();
        (head[1], message)
    }

    /// Whether a call was answered well.
    fn ask(&mut self, to: [&str; 3], member: &str, arguments: &[&str]) -> bool {
        self.send(to, member, arguments);
        self.receive().0 == 2
    }

    /// Whether the bus closes the connection, after what it may still answer.
    fn is_closed(&mut self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
                Err(_) => return false,
            }
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

fn soon() -> tokio::time::Instant {
    tokio::time::Instant::now() + LIMIT
}

#[tokio::test]
async fn only_its_user_may_come() {
    let (folder, bus) = bus();
    let mode = std::fs::metadata(folder.path().join("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(bus.address().starts_with("unix:path=/"));
    let path = folder.path().join("socket");
    drop(bus);
    assert!(!path.exists());
}

#[tokio::test]
async fn those_without_a_rule_are_not_told_and_nobody_is_told_twice() {
    let (folder, bus) = bus();
    let clients = spawn_blocking(move || {
        let (mut told, mut other) = (Client::hello(&folder), Client::hello(&folder));
        assert!(told.ask(BUS, "AddMatch", &["type='signal',member='PrepareForShutdown'"]));
        // Two rules are not two signals.
        assert!(told.ask(BUS, "AddMatch", &["type='signal'"]));
        assert!(other.ask(BUS, "AddMatch", &["type='signal',member='PrepareForSleep'"]));
        (folder, told, other)
    });
    let (_folder, mut told, mut other) = clients.await.unwrap();
    let start = Instant::now();
    // Nobody holds a lock.
    assert_eq!(bus.prepare(soon()).await, lepton_kubelet_shutdown::Outcome::default());
    assert!(start.elapsed() < LIMIT / 2);
    spawn_blocking(move || {
        let (kind, signal) = told.receive();
        assert!(kind == 4 && holds(&signal, "PrepareForShutdown"));
        told.send(LOGIN, "Nothing", &[]);
        assert_eq!(told.receive().0, 3, "another signal");
        assert!(!other.ask(LOGIN, "Inhibit", &LOCK), "a lock of a host that goes down");
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_rule_that_comes_late_is_heard() {
    let (folder, bus) = bus();
    let client = spawn_blocking(move || {
        let mut client = Client::hello(&folder);
        client.send(LOGIN, "Inhibit", &LOCK);
        // Read without its descriptor, which is closed by that: hold the connection only.
        let (kind, answer) = client.receive();
        assert!(kind == 2 && holds(&answer, ":1.0"));
        (folder, client)
    });
    let (folder, mut client) = client.await.unwrap();
    let outcome = bus.prepare(soon()).await;
    assert!(outcome.held.is_empty());
    spawn_blocking(move || {
        assert!(client.ask(BUS, "AddMatch", &["member='PrepareForShutdown'"]));
        let answered = Instant::now();
        assert_eq!(client.receive().0, 4);
        assert!(answered.elapsed() >= Duration::from_millis(80), "it may not listen yet");
        drop(folder);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn those_that_break_the_protocol_are_cut_off_and_others_are_not() {
    let (folder, bus) = bus();
    let clients = spawn_blocking(move || {
        let mut good = Client::hello(&folder);
        let long = vec![b'A'; 4096];
        for before in [
            &b"x"[..],
            b"\0BEGIN\r\n",
            b"\0AUTH \xff\r\n",
            &[&b"\0"[..], &long].concat(),
            &b"\0AUTH\r\n".repeat(9),
        ] {
            let mut bad = Client::connect(&folder);
            let _ = bad.stream.write_all(before);
            // The last one is answered until it has had its lines.
            let _ = bad.stream.write_all(&b"AUTH\r\n".repeat(20));
            assert!(bad.is_closed(), "{before:?}");
        }
        let endless = [&b"l\x01\0\x01"[..], &[0xff; 12]].concat();
        for message in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &endless, &[0; 64]] {
            let mut bad = Client::hello(&folder);
            bad.stream.write_all(message).unwrap();
            assert!(bad.is_closed(), "{message:?}");
        }
        assert!(good.ask(BUS, "AddMatch", &["type='signal'"]));
        // In pieces, and two at once.
        let one = call(70, [LOGIN[0], LOGIN[1], "org.freedesktop.DBus.Peer", "Ping"], &[]);
        for byte in &one {
            good.stream.write_all(&[*byte]).unwrap();
        }
        good.stream.write_all(&one.repeat(2)).unwrap();
        for _ in 0..3 {
            assert_eq!(good.receive().0, 2);
        }
        folder
    });
    drop(clients.await.unwrap());
    drop(bus);
}

#[tokio::test]
async fn no_more_clients_than_there_may_be() {
    let (folder, bus) = bus();
    spawn_blocking(move || {
        let mut clients: Vec<_> = (0..16).map(|_| Client::hello(&folder)).collect();
        assert!(Client::connect(&folder).is_closed());
        assert!(clients[15].ask(BUS, "AddMatch", &[""]));
        drop(clients);
        // Places become free again, as soon as the bus has seen it.
        let start = Instant::now();
        loop {
            let mut client = Client::connect(&folder);
            let sent = client.stream.write_all(b"\0AUTH\r\n").is_ok();
            let mut byte = [0];
            if sent && client.stream.read(&mut byte).is_ok_and(|length| length == 1) {
                return;
            }
            assert!(start.elapsed() < LIMIT, "no place became free");
        }
    })
    .await
    .unwrap();
    drop(bus);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let (folder, bus) = bus();
    spawn_blocking(move || {
        let mut client = Client::hello(&folder);
        let question = call(9, ["a.b", "/", "", "M"], &[]).repeat(64);
        client.stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        let start = Instant::now();
        // Answers fill the socket, then the bus waits for a while, and gives up.
        while let Ok(()) = client.stream.write_all(&question) {
            assert!(start.elapsed() < LIMIT, "it takes questions for ever");
        }
        assert!(client.is_closed());
        assert!(Client::hello(&folder).ask(BUS, "AddMatch", &[""]));
    })
    .await
    .unwrap();
    drop(bus);
}
