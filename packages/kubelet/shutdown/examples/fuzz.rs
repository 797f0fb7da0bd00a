//! Gives the bus bytes that nobody would write: `fuzz lines|messages|sessions SECONDS [NUMBER]`. The seeds are good
//! conversations; each run changes some of their bytes, cuts them, or repeats parts. A number printed with a failure
//! repeats the run.

use std::io::{Error, Result, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use lepton_kubelet_shutdown::{Bus, fuzz};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const USAGE: &str = "usage: fuzz lines|messages|sessions SECONDS [NUMBER]";
const LINES: &[u8] =
    b"AUTH\r\nAUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nAUTH EXTERNAL 30\r\nCANCEL\r\nBEGIN\r\n";
/// A session that takes longer hangs.
const HANG: Duration = Duration::from_secs(60);

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

    /// Changes bytes in a few places.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.below(5) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            let end = (at + self.below(32)).min(bytes.len());
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => bytes.truncate(at + 1),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => bytes.insert(at, self.next().to_le_bytes()[0]),
            }
        }
    }

    fn messages(&mut self) -> Vec<u8> {
        let bus = |member| ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", member];
        let login =
            |interface, member| ["org.freedesktop.login1", "/org/freedesktop/login1", interface, member];
        let manager = "org.freedesktop.login1.Manager";
        let mut bytes = fuzz::call(1, bus("Hello"), &[]);
        for serial in 2..2 + u32::try_from(self.below(8)).expect("it is small") {
            let rule = "type='signal',interface='org.freedesktop.login1.Manager',member='PrepareForShutdown'";
            bytes.extend(match self.below(6) {
                0 => fuzz::call(serial, bus("AddMatch"), &[rule]),
                1 => fuzz::call(serial, bus("RemoveMatch"), &[rule]),
                2 => fuzz::call(serial, login("", "Get"), &[manager, "InhibitDelayMaxUSec"]),
                3 => fuzz::call(serial, login(manager, "Inhibit"), &["shutdown", "kubelet", "pods", "delay"]),
                4 => fuzz::call(serial, ["", "/a", "", "M"], &["a", "b", "c"]),
                _ => fuzz::call(serial, login(manager, "Reboot"), &[]),
            });
        }
        bytes
    }
}

/// Tells which run failed.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = writeln!(std::io::stderr(), "the failing run is number {}", self.0);
    }
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(target), Some(seconds)) = (arguments.first(), number(1)) else {
        return Err(Error::other(USAGE));
    };
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("socket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let bus = Bus::listen(&socket, HANG, |_| {})?;
    drop(entered);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut seed, mut good) = (number(2).unwrap_or(1), 0);
    let first = seed;
    while Instant::now() < end {
        let shown = Shown(seed);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        good += runtime.block_on(run(target, &mut random, &socket))?;
        std::mem::forget(shown);
        seed += 1;
    }
    drop(bus);
    writeln!(
        std::io::stdout(),
        "{target}: {} runs, {good} good lines, calls or bytes of answers, no failure",
        seed - first
    )
}

async fn run(target: &str, random: &mut Random, socket: &Path) -> Result<usize> {
    match target {
        "lines" => {
            let mut bytes = LINES.repeat(1 + random.below(3));
            random.change(&mut bytes);
            Ok(fuzz::lines(&bytes))
        }
        "messages" => {
            let mut bytes = random.messages();
            random.change(&mut bytes);
            let good = fuzz::messages(&bytes);
            // Locks of this run end in tasks.
            tokio::task::yield_now().await;
            Ok(good)
        }
        "sessions" => {
            let mut bytes = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n".to_vec();
            if random.below(4) == 0 {
                random.change(&mut bytes);
            }
            let mut messages = random.messages();
            random.change(&mut messages);
            bytes.extend(messages);
            let conversation = async {
                let mut stream = UnixStream::connect(socket).await?;
                stream.write_all(&bytes).await?;
                stream.shutdown().await?;
                let mut answers = Vec::new();
                stream.read_to_end(&mut answers).await?;
                Ok::<_, Error>(answers.len())
            };
            match tokio::time::timeout(HANG, conversation).await {
                // A connection that the bus cut is an answer, too.
                Ok(answers) => Ok(answers.unwrap_or(0)),
                Err(_) => Err(Error::other("a session hangs")),
            }
        }
        _ => Err(Error::other(USAGE)),
    }
}
