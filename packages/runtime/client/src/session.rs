//! A conversation with a program over the runtime's streaming server: what is typed goes there, what it writes comes here.

use std::io::{self, Read as _, Write as _};

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::failure::Failure;
use crate::terminal::{self, Raw};
use crate::websocket::{self, BINARY, CLOSE, Frame, PING, PONG, Reader, WebSocketError};

/// The protocol whose input has an end.
const PROTOCOL: &str = "v5.channel.k8s.io";
/// Its channels.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
/// Before the number of a channel that has ended.
const ENDED: u8 = 255;
/// Bytes of input that are passed on at once.
const CHUNK: usize = 32 * 1024;
/// Frames that wait to be sent: a slow program makes the one who types wait.
const WAITING: usize = 4;

/// What the program gets of the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The standard input.
    pub stdin: bool,
    /// A terminal, as large as the caller's.
    pub tty: bool,
}

/// A connection to a program.
#[derive(Debug)]
pub struct Session {
    reader: Reader,
    send: Sender<Vec<u8>>,
    choice: Choice,
}

impl Session {
    /// Connects, and says how large the caller's window is.
    pub async fn open(url: &str, choice: Choice) -> Result<Self, Failure> {
        let (reader, writer) = websocket::connect(url, PROTOCOL).await?;
        let (send, frames) = mpsc::channel(WAITING);
        tokio::spawn(write(writer, frames));
        if choice.tty {
            tokio::spawn(sizes(send.clone()));
        }
        Ok(Self { reader, send, choice })
    }

    /// Passes on what is typed and shows what the program writes, until it has ended; gives what the server says of its end.
    pub async fn talk(self) -> Result<Vec<u8>, Failure> {
        let Self { reader, send, choice } = self;
        // Before anything is typed, and until this returns.
        let _raw = if choice.tty && choice.stdin { Raw::enter() } else { None };
        if choice.stdin {
            let send = send.clone();
            // A thread, because reading a terminal or a file cannot be waited for. It ends with this program.
            std::thread::spawn(move || type_on(&send));
        }
        converse(reader, &send).await
    }
}

/// Shows what the program writes until it has ended; gives what the server says of its end.
async fn converse(mut reader: Reader, send: &Sender<Vec<u8>>) -> Result<Vec<u8>, Failure> {
    let (mut status, mut channel) = (Vec::new(), None);
    while let Some(Frame { opcode, payload }) = reader.next().await? {
        match opcode {
            CLOSE => break,
            // A pong that finds no place is no loss: the server sees other frames.
            PING => drop(send.try_send(websocket::encode(PONG, &payload)?)),
            PONG => {}
            opcode => {
                let bytes = match (opcode, payload.split_first()) {
                    (0, _) => &payload[..],
                    (_, Some((number, bytes))) => {
                        channel = Some(*number);
                        bytes
                    }
                    (_, None) => return Err(WebSocketError::Protocol("a message has no channel").into()),
                };
                show(channel, bytes, &mut status)?;
            }
        }
    }
    Ok(status)
}

fn show(channel: Option<u8>, bytes: &[u8], status: &mut Vec<u8>) -> Result<(), Failure> {
    let written = match channel {
        Some(STDOUT) => {
            let mut output = io::stdout().lock();
            output.write_all(bytes).and_then(|()| output.flush())
        }
        Some(STDERR) => io::stderr().write_all(bytes),
        Some(STATUS) => {
            status.extend_from_slice(bytes);
            Ok(())
        }
        // That another channel has ended is known from the end of all.
        _ => Ok(()),
    };
    written.map_err(Failure::output)
}

/// Passes on what is typed, and its end.
fn type_on(send: &Sender<Vec<u8>>) {
    let mut input = io::stdin().lock();
    let mut chunk = vec![0; CHUNK];
    chunk[0] = STDIN;
    loop {
        let count = match input.read(&mut chunk[1..]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        let payload = if count == 0 { &[ENDED, STDIN][..] } else { &chunk[..=count] };
        let sent = websocket::encode(BINARY, payload).map(|frame| send.blocking_send(frame));
        if count == 0 || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

/// Sends the size of the window, now and whenever it changes.
async fn sizes(send: Sender<Vec<u8>>) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((columns, rows)) = terminal::size() {
            let mut payload = vec![RESIZE];
            payload.extend(format!("{{\"Width\":{columns},\"Height\":{rows}}}").bytes());
            let Ok(frame) = websocket::encode(BINARY, &payload) else { return };
            if send.send(frame).await.is_err() {
                return;
            }
        }
        if changed.recv().await.is_none() {
            return;
        }
    }
}

/// Sends frames in their order.
async fn write(mut writer: OwnedWriteHalf, mut frames: Receiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        // The reader sees that the server is gone.
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}
