//! `exec`: another program in a container, through the runtime's streaming server.
//!
//! Always through streams, also without `-i` and `-t`: CRI's other call holds back the output until the end, and cuts it.

use std::io::{self, Read as _, Write as _};

use lepton_cri::v1 as cri;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::client::Client;
use crate::failure::{Failure, NOT_RUN};
use crate::find;
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// The standard input.
    pub(crate) stdin: bool,
    /// A terminal, as large as the caller's.
    pub(crate) tty: bool,
}

/// Runs a program in a container; gives its exit code.
pub(crate) async fn run(
    client: &Client,
    word: &str,
    command: Vec<String>,
    choice: Choice,
) -> Result<u8, Failure> {
    let entry = find::one(client, word).await?;
    if !entry.runs() {
        return Err(Failure::Ended(word.to_owned()));
    }
    let request = cri::ExecRequest {
        container_id: entry.id().to_owned(),
        cmd: command,
        tty: choice.tty,
        stdin: choice.stdin,
        stdout: true,
        // A terminal has one output.
        stderr: !choice.tty,
    };
    let url = client.exec(request).await?;
    let (reader, writer) = websocket::connect(&url, PROTOCOL).await?;
    let (send, frames) = mpsc::channel(WAITING);
    tokio::spawn(write(writer, frames));
    // Before anything is typed, and until this returns.
    let raw = if choice.tty && choice.stdin { Raw::enter() } else { None };
    if choice.tty {
        tokio::spawn(sizes(send.clone()));
    }
    if choice.stdin {
        let send = send.clone();
        // A thread, because reading a terminal or a file cannot be waited for. It ends with this program.
        std::thread::spawn(move || type_on(&send));
    }
    let status = converse(reader, &send).await;
    drop(raw);
    code(&status?)
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

/// The exit code in a `metav1.Status`.
fn code(status: &[u8]) -> Result<u8, Failure> {
    let status: Value = serde_json::from_slice(status)
        .map_err(|_| Failure::Exec("the connection ended before the program did".to_owned()))?;
    if status["status"] == "Success" {
        return Ok(0);
    }
    let cause = status["details"]["causes"].as_array().and_then(|causes| causes.first());
    let code =
        cause.filter(|cause| cause["reason"] == "ExitCode").and_then(|cause| cause["message"].as_str());
    match code {
        Some(code) => Ok(code.parse().unwrap_or(NOT_RUN)),
        None => Err(Failure::Exec(
            status["message"].as_str().unwrap_or("the program could not be run").to_owned(),
        )),
    }
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
async fn write(mut writer: tokio::net::tcp::OwnedWriteHalf, mut frames: Receiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        // The reader sees that the server is gone.
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_programs() {
        assert_eq!(code(br#"{"status":"Success"}"#).unwrap(), 0);
        let failed = br#"{"status":"Failure","message":"command terminated with non-zero exit code: 42","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"42"}]}}"#;
        assert_eq!(code(failed).unwrap(), 42);
        let unknown =
            br#"{"status":"Failure","message":"no such program","reason":"InternalError","code":500}"#;
        assert_eq!(code(unknown).unwrap_err().to_string(), "no such program");
        assert!(code(b"").is_err());
    }
}
