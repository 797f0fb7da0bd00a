//! One connection to a port of a pod, over the runtime's streaming server: each direction has its own end, as TCP has
//! (docs/streaming.md, Port-forward).

use std::io;
use std::time::Duration;

use lepton_runtime_client::failure::Failure;
use lepton_runtime_client::websocket::{self, BINARY, CLOSE, Frame, PING, PONG, Reader, WebSocketError};
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// The protocol whose channels end one by one.
const PROTOCOL: &str = "v5.channel.k8s.io";
/// The channels of the only port.
const DATA: u8 = 0;
const ERROR: u8 = 1;
/// Before the number of a channel that has ended.
const ENDED: u8 = 255;
/// Each channel begins with its port.
const HEAD: usize = 2;
/// Bytes that are passed on at once.
const CHUNK: usize = 32 * 1024;
/// Frames that wait to be sent: a slow pod makes the one who sends wait.
const WAITING: usize = 4;

/// Passes bytes on in both directions until both have ended; `stream` is the caller's connection.
pub(crate) async fn run(url: &str, stream: TcpStream) -> Result<(), Failure> {
    let (reader, writer) = websocket::connect(url, PROTOCOL).await?;
    // What is typed should not wait for more.
    let _ = stream.set_nodelay(true);
    let (from_caller, to_caller) = stream.into_split();
    let (send, frames) = mpsc::channel(WAITING);
    let (up, pongs) = (send.clone(), send);
    tokio::select! {
        // It has the last word: the server closes when both directions have ended.
        done = down(reader, to_caller, pongs) => done,
        Err(error) = write(writer, frames) => Err(WebSocketError::Io(error).into()),
        // The caller is gone.
        Err(_) = self::up(from_caller, up) => Ok(()),
    }
}

/// From the caller to the pod; comes back only with an error.
async fn up(mut from: OwnedReadHalf, send: Sender<Vec<u8>>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    chunk[0] = DATA;
    loop {
        let count = from.read(&mut chunk[1..]).await?;
        let payload = if count == 0 { &[ENDED, DATA][..] } else { &chunk[..=count] };
        let frame = websocket::encode(BINARY, payload).map_err(io::Error::other)?;
        if send.send(frame).await.is_err() || count == 0 {
            return std::future::pending().await;
        }
    }
}

/// From the pod to the caller, until the server closes.
async fn down(mut reader: Reader, mut to: OwnedWriteHalf, pongs: Sender<Vec<u8>>) -> Result<(), Failure> {
    let (mut error, mut channel, mut has_ended) = (Vec::new(), None, false);
    // Bytes of each channel's head that are still to come.
    let mut heads = [HEAD; 2];
    while let Some(Frame { opcode, payload }) = reader.next().await? {
        let bytes = match (opcode, payload.split_first()) {
            (CLOSE, _) => break,
            (PING, _) => {
                // A pong that finds no place is no loss: the server sees other frames.
                let _ = pongs.try_send(websocket::encode(PONG, &payload)?);
                continue;
            }
            (PONG, _) => continue,
            (0, _) => &payload[..],
            (_, Some((number, bytes))) => {
                channel = Some(*number);
                bytes
            }
            (_, None) => return Err(WebSocketError::Protocol("a message has no channel").into()),
        };
        let bytes = match channel.and_then(|channel| heads.get_mut(usize::from(channel))) {
            Some(head) => {
                let skipped = bytes.len().min(*head);
                *head -= skipped;
                &bytes[skipped..]
            }
            None => bytes,
        };
        let written = match channel {
            Some(DATA) => to.write_all(bytes).await,
            Some(ERROR) => {
                error.extend_from_slice(bytes);
                Ok(())
            }
            Some(ENDED) if bytes == [DATA] => {
                has_ended = true;
                to.shutdown().await
            }
            _ => Ok(()),
        };
        if written.is_err() {
            // The caller is gone.
            return Ok(());
        }
    }
    if error.is_empty() && has_ended {
        return Ok(());
    }
    // Else the caller would take a half answer for a whole one.
    let _ = set_socket_linger(to.as_ref(), Some(Duration::ZERO));
    to.forget();
    Err(Failure::Exec(match error.is_empty() {
        false => String::from_utf8_lossy(&error).into_owned(),
        true => "the pod's connection broke".to_owned(),
    }))
}

/// Sends frames in their order; comes back only with an error.
async fn write(mut writer: OwnedWriteHalf, mut frames: Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(frame) = frames.recv().await {
        writer.write_all(&frame).await?;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests;
