//! Feeds changed bytes to the parsers and to whole sessions for a number of seconds; a panic or a hang ends it.
//!
//! `fuzz spdy SECONDS` and `fuzz websocket SECONDS`. The seeds are valid conversations; each run changes some of their
//! bytes, cuts them, or repeats parts. A number printed with a failure repeats the run: `fuzz spdy SECONDS NUMBER`.

#[path = "../tests/in_process/mod.rs"]
mod in_process;

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lepton_runtime_streaming::spdy::frame::{Control, HEAD, Head};
use lepton_runtime_streaming::spdy::headers::{HeaderReader, HeaderWriter, Headers};
use lepton_runtime_streaming::websocket::frame as websocket;
use lepton_runtime_streaming::{ExecRequest, Limits, PortForwardRequest, StreamSet, Urls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Runs of the parsers for each run of a whole session, which costs as much as a thousand of them.
const PARSER_RUNS: u64 = 1000;
/// A session that takes longer hangs: its server's limits are far shorter.
const HANG: Duration = Duration::from_secs(120);

/// A small generator that a number repeats (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("it is below a usize")
    }

    /// Changes a conversation in a few places.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(6) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(7) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.next().to_le_bytes()[0],
                2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                3 => bytes.truncate(at + 1),
                4 => {
                    let end = (at + self.below(64)).min(bytes.len());
                    bytes.drain(at..end);
                }
                5 => {
                    let end = (at + self.below(64)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => bytes.insert(at, self.next().to_le_bytes()[0]),
            }
        }
    }
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(target), Some(seconds)) = (arguments.first(), number(1)) else {
        return Err(std::io::Error::other("usage: fuzz spdy|websocket SECONDS [NUMBER]"));
    };
    let spdy = target == "spdy";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limits = Limits {
        idle: Duration::from_secs(2),
        stream_creation: Duration::from_millis(50),
        ..Limits::default()
    };
    let (urls, backend) = runtime.block_on(in_process::start(limits));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut seed, mut parsed, mut sessions) = (number(2).unwrap_or(1), 0_u64, 0_u64);
    while Instant::now() < end {
        let shown = Shown(seed);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..PARSER_RUNS {
            let mut bytes =
                if spdy { spdy_conversation(&mut random) } else { websocket_conversation(&mut random) };
            random.change(&mut bytes);
            if spdy {
                parse_spdy(&bytes)
            } else {
                parse_websocket(&bytes)
            }
            parsed += 1;
        }
        runtime.block_on(session(&urls, &mut random, spdy))?;
        sessions += 1;
        seed += 1;
        std::mem::forget(shown);
    }
    let (echoed, lost) = (backend.echoed.load(Ordering::SeqCst), backend.lost.load(Ordering::SeqCst));
    let sunk = backend.sunk.load(Ordering::SeqCst);
    writeln!(
        std::io::stdout(),
        "{target}: {parsed} conversations parsed, {sessions} sessions ({echoed} reached a port's end, {sunk} bytes were sunk, {lost} commands \
         were told of a loss), no failure"
    )
}

/// Tells which run failed.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = writeln!(std::io::stderr(), "the failing run is number {}", self.0);
    }
}

fn parse_spdy(mut bytes: &[u8]) {
    let mut headers = HeaderReader::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
        let Ok(head) = Head::parse(*head) else { return };
        let length = match head {
            Head::Data { length, .. } | Head::Control { length, .. } => length,
        };
        let Some((payload, rest)) = rest.split_at_checked(length) else { return };
        bytes = rest;
        let Head::Control { kind, flags, .. } = head else { continue };
        match Control::parse(kind, flags, payload) {
            Ok(Control::SynStream { block, .. } | Control::Headers { block, .. }) => {
                if headers.read(block).is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn parse_websocket(mut bytes: &[u8]) {
    while let Some(first) = bytes.first_chunk::<2>() {
        let size = websocket::Head::size(*first);
        assert!((2..=websocket::HEAD_MAX).contains(&size));
        let Some((head, rest)) = bytes.split_at_checked(size) else { return };
        let Ok(head) = websocket::Head::parse(head) else { return };
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        let Some((payload, rest)) = rest.split_at_checked(length) else { return };
        let mut payload = payload.to_vec();
        head.unmask(u64::from(payload.first().copied().unwrap_or(0)), &mut payload);
        bytes = rest;
    }
}

fn spdy_conversation(random: &mut Random) -> Vec<u8> {
    let mut headers = HeaderWriter::new();
    let mut bytes = Vec::new();
    let forward = random.below(2) == 0;
    let kinds: &[&str] =
        if forward { &["error", "data"] } else { &["error", "stdin", "stdout", "stderr", "resize"] };
    for (kind, stream) in kinds.iter().zip((1_u32..).step_by(2)) {
        let all = Headers::new(&[("streamtype", kind), ("port", "7"), ("requestid", "0")]);
        let block = headers.write(&all);
        let length = u32::try_from(block.len() + 10).expect("it is short");
        bytes.extend(0x8003_0001_u32.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(stream.to_be_bytes());
        bytes.extend([0; 6]);
        bytes.extend(block);
    }
    for _ in 0..random.below(12) {
        let stream = u32::try_from(random.below(12)).expect("it is small");
        let first = |kind: u32| (0x8003_0000 | kind).to_be_bytes();
        match random.below(7) {
            0 => bytes.extend([&first(6)[..], &[0, 0, 0, 4], &stream.to_be_bytes()].concat()),
            1 => bytes.extend([&first(3)[..], &[0, 0, 0, 8], &stream.to_be_bytes(), &[0, 0, 0, 5]].concat()),
            2 => bytes.extend([&first(9)[..], &[0, 0, 0, 8], &stream.to_be_bytes(), &[0, 0, 99, 0]].concat()),
            3 => bytes.extend([&first(4)[..], &[0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 9, 0]].concat()),
            4 => bytes.extend([&first(7)[..], &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]].concat()),
            _ => {
                let part = vec![b'{'; random.below(300)];
                let length = u32::try_from(part.len()).expect("it is short");
                let fin = u32::from(random.below(4) == 0) << 24;
                bytes.extend([&stream.to_be_bytes()[..], &(fin | length).to_be_bytes(), &part].concat());
            }
        }
    }
    bytes
}

fn websocket_conversation(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(12) {
        let first = [0x82, 0x02, 0x80, 0x00, 0x81, 0x89, 0x8a, 0x88][random.below(8)];
        let mut payload = vec![[0, 1, 4, 9, 255, b'0', b'4'][random.below(7)]];
        payload.extend(b"{\"Width\":80,\"Height\":24}Zm9v".iter().cycle().take(random.below(300)));
        if first & 8 != 0 {
            payload.truncate(125);
        }
        let mask = random.next().to_le_bytes();
        bytes.push(first);
        match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => bytes.push(0x80 | short),
            _ => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(payload.len()).expect("it is short").to_be_bytes());
            }
        }
        bytes.extend(&mask[..4]);
        bytes.extend(payload.iter().zip(mask[..4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
    bytes
}

/// A changed conversation with a server, whose every answer is good as long as it comes.
async fn session(urls: &Urls, random: &mut Random, spdy: bool) -> std::io::Result<()> {
    let mut bytes = if spdy { spdy_conversation(random) } else { websocket_conversation(random) };
    if random.below(8) != 0 {
        random.change(&mut bytes);
    }
    let streams = StreamSet { stdin: true, stdout: true, stderr: false, tty: true };
    let command = [vec!["cat".to_owned()], vec!["sizes".to_owned(), "2".to_owned()]][random.below(2)].clone();
    let url = if random.below(2) == 0 {
        urls.port_forward(PortForwardRequest { pod_sandbox_id: "pod".to_owned(), ports: vec![7, 9] })
    } else {
        urls.exec(ExecRequest { container_id: "container".to_owned(), command, streams })
    };
    let url = url.map_err(std::io::Error::other)?;
    let (host, path) = url.trim_start_matches("http://").split_once('/').expect("an address has a path");
    let protocols = ["v5.channel.k8s.io", "v4.base64.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"];
    let upgrade = if spdy {
        "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io, portforward.k8s.io\r\n".to_owned()
    } else {
        let protocols = &protocols[random.below(3)..];
        format!(
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {}\r\n",
            protocols.join(", ")
        )
    };
    let head = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n{upgrade}\r\n");
    let mut stream = TcpStream::connect(host).await?;
    let conversation = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(1 << 20), &mut tokio::io::sink()).await
    };
    match tokio::time::timeout(HANG, conversation).await {
        // A connection that the server cut is an answer, too.
        Ok(_) => Ok(()),
        Err(_) => Err(std::io::Error::other("a session hangs")),
    }
}
