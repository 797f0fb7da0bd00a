//! Port-forward: connects a client to ports of a pod, with a pair of streams or of channels for each connection.
//!
//! An error before a connection is made is told as text on its error stream. What goes wrong after that resets the data
//! stream, as the connection itself would have been: kubectl gives up all connections when one has an error text.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional_with_sizes, join, split};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backend::{Backend, PortForwardRequest};
use crate::pipe::{Reader, pipe};
use crate::server::Limits;
use crate::spdy::{self, Incoming, ResetReason};
use crate::websocket::channels::{CLOSE, Channels, Codec, Target};
use crate::websocket::tunnel::Tunnel;
use crate::websocket::{self, Envelope};

/// Bytes that are copied at once, in each direction of a connection.
const COPY_BUFFER: usize = 16 * 1024;
/// Bytes of a client's name for a connection; kubectl counts.
const REQUEST_ID_LIMIT: usize = 64;

/// Serves connections on SPDY streams.
pub(crate) async fn over_spdy<B: Backend>(
    request: PortForwardRequest,
    backend: Arc<B>,
    (reader, writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    limits: Limits,
) {
    let (connection, driver) = spdy::serve(reader, writer, limits.idle);
    let pairs = Pairs::new(request.pod_sandbox_id, backend, limits);
    tokio::join!(driver, pairs.serve(connection));
}

/// Serves connections on SPDY streams inside of WebSocket messages.
pub(crate) async fn over_tunnel<B: Backend>(
    request: PortForwardRequest,
    backend: Arc<B>,
    (reader, writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    limits: Limits,
) {
    let (bytes, tunnelled) = pipe(None);
    let (outer, outer_driver) = websocket::serve(reader, writer, Tunnel::new(bytes), limits.idle);
    let (inner, inner_driver) = spdy::serve(tunnelled, outer.writer(Envelope::Plain), limits.idle);
    let pairs = Pairs::new(request.pod_sandbox_id, backend, limits);
    let inner_driver = async move {
        inner_driver.await;
        outer.finish();
    };
    tokio::join!(outer_driver, inner_driver, pairs.serve(inner));
}

/// Streams of connections, until both of a pair are there.
struct Pairs<B> {
    pod: String,
    backend: Arc<B>,
    limits: Limits,
    waiting: BTreeMap<String, Pair>,
    forwards: JoinSet<()>,
}

/// What the client has opened of a pair.
struct Pair {
    deadline: Instant,
    error: Option<spdy::Writer>,
    data: Option<(u16, Reader, spdy::Writer)>,
}

impl<B: Backend> Pairs<B> {
    fn new(pod: String, backend: Arc<B>, limits: Limits) -> Self {
        Self { pod, backend, limits, waiting: BTreeMap::new(), forwards: JoinSet::new() }
    }

    /// Until the client is gone; its connections end with it.
    async fn serve(mut self, mut connection: spdy::Connection) {
        loop {
            let deadline = self.waiting.values().map(|pair| pair.deadline).min();
            let expired = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                incoming = connection.incoming() => match incoming {
                    Some(incoming) => self.add(incoming),
                    None => return,
                },
                () = expired => self.expire(),
                Some(_) = self.forwards.join_next() => {}
            }
        }
    }

    fn add(&mut self, incoming: Incoming) {
        let port = incoming.headers.get("port").and_then(|port| port.parse().ok()).unwrap_or(0);
        let is_data = match incoming.headers.get("streamtype") {
            Some("data") => true,
            Some("error") => false,
            _ => return incoming.refuse(ResetReason::ProtocolError),
        };
        let id = match incoming.headers.get("requestid") {
            Some(id) if !id.is_empty() => id.to_owned(),
            // Clients before Kubernetes 1.2 name none, and open the data stream right after the error stream.
            _ if is_data => format!("stream {}", incoming.id.wrapping_sub(2)),
            _ => format!("stream {}", incoming.id),
        };
        let known = self.waiting.get(&id);
        let taken =
            known.is_some_and(|pair| if is_data { pair.data.is_some() } else { pair.error.is_some() });
        if port == 0 || id.len() > REQUEST_ID_LIMIT || taken {
            return incoming.refuse(ResetReason::ProtocolError);
        }
        let deadline = Instant::now() + self.limits.stream_creation;
        let mut pair = self.waiting.remove(&id).unwrap_or(Pair { deadline, error: None, data: None });
        let (reader, writer) = incoming.accept();
        if is_data {
            pair.data = Some((port, reader, writer));
        } else {
            pair.error = Some(writer);
        }
        match (pair.data, pair.error) {
            (Some((port, reader, writer)), Some(error)) => {
                let (pod, backend) = (self.pod.clone(), Arc::clone(&self.backend));
                self.forwards
                    .spawn(async move { forward(&*backend, &pod, port, (reader, writer), error).await });
            }
            (data, error) => {
                self.waiting.insert(id, Pair { deadline: pair.deadline, error, data });
            }
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        for (_, pair) in self.waiting.extract_if(.., |_, pair| pair.deadline <= now) {
            if let Some((_, _, writer)) = pair.data {
                writer.reset(ResetReason::Cancel);
            }
            if let Some(mut error) = pair.error {
                self.forwards.spawn(async move {
                    // A client that has left learns nothing.
                    let _ = error.write_all(b"timed out waiting for the data stream").await;
                });
            }
        }
    }
}

/// One connection on a pair of streams.
async fn forward<B: Backend>(
    backend: &B,
    pod: &str,
    port: u16,
    (reader, writer): (Reader, spdy::Writer),
    mut error: spdy::Writer,
) {
    let aborted = writer.aborted();
    let connect = async {
        tokio::select! {
            connected = backend.port_forward(pod, port) => Some(connected),
            () = aborted => None,
        }
    };
    match connect.await {
        None => {}
        Some(Err(reason)) => {
            let text = format!("error forwarding port {port} to pod {pod}: {reason}");
            // A client that has left learns nothing.
            let _ = error.write_all(text.as_bytes()).await;
            writer.reset(ResetReason::Cancel);
        }
        Some(Ok(mut connection)) => {
            let aborted = writer.aborted();
            let mut client = join(reader, writer);
            let copied = tokio::select! {
                copied = copy_bidirectional_with_sizes(&mut client, &mut connection, COPY_BUFFER, COPY_BUFFER) => {
                    copied.is_ok()
                }
                // The client gave up.
                () = aborted => true,
            };
            if !copied {
                client.writer().reset(ResetReason::Cancel);
            }
        }
    }
    // Dropping the error stream ends it: kubectl waits for that.
}

/// Serves the ports of the request on WebSocket channels: two for each, data and error.
pub(crate) async fn over_channels<B: Backend>(
    request: PortForwardRequest,
    backend: Arc<B>,
    (reader, writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    codec: Codec,
    limits: Limits,
) {
    let mut targets = Vec::new();
    let mut readers = Vec::new();
    for _ in &request.ports {
        let (sender, reader) = pipe(None);
        targets.extend([Target::Pipe(sender), Target::Discard]);
        readers.push(reader);
    }
    let (connection, driver) = websocket::serve(reader, writer, Channels::new(codec, targets), limits.idle);
    let channel = |number| {
        let base64 = codec == Codec::Base64;
        connection.writer(if base64 { Envelope::Base64(number) } else { Envelope::Channel(number) })
    };
    let mut forwards = JoinSet::new();
    for ((port, reader), number) in request.ports.iter().zip(readers).zip((0_u8..).step_by(2)) {
        let (port, pod, backend) = (*port, request.pod_sandbox_id.clone(), Arc::clone(&backend));
        let (data, error) = (channel(number), channel(number + 1));
        let end = (codec == Codec::BinaryWithClose).then(|| (connection.writer(Envelope::Plain), number));
        forwards
            .spawn(async move { forward_channel(&*backend, &pod, port, (reader, data, end), error).await });
    }
    let mut gone = connection.gone();
    let session = async move {
        let all = async { while forwards.join_next().await.is_some() {} };
        let lost = async {
            match codec {
                // One whose client has sent its last bytes would not hear that the client is gone.
                Codec::BinaryWithClose => drop(gone.wait_for(|gone| *gone).await),
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = all => {}
            () = lost => {}
        }
        connection.finish();
    };
    tokio::join!(driver, session);
}

/// One connection on a pair of channels. In v5 each direction has its own end. In the others nothing but the connection's
/// end tells a client that a port sends no more, so it ends with the port's data.
async fn forward_channel<B: Backend>(
    backend: &B,
    pod: &str,
    port: u16,
    (mut reader, mut data, end): (Reader, websocket::Writer, Option<(websocket::Writer, u8)>),
    mut error: websocket::Writer,
) {
    // Both channels begin with their port's number. A client that has left is found out by what follows.
    let _ = data.write_all(&port.to_le_bytes()).await;
    let _ = error.write_all(&port.to_le_bytes()).await;
    match backend.port_forward(pod, port).await {
        Err(reason) => {
            let text = format!("error forwarding port {port} to pod {pod}: {reason}");
            let _ = error.write_all(text.as_bytes()).await;
        }
        Ok(connection) => {
            let (mut from_pod, mut to_pod) = split(connection);
            let has_end = end.is_some();
            let up = async {
                copy(&mut reader, &mut to_pod).await?;
                to_pod.shutdown().await?;
                match has_end {
                    true => Ok(()),
                    false => std::future::pending::<std::io::Result<()>>().await,
                }
            };
            let down = async {
                copy(&mut from_pod, &mut data).await?;
                match end {
                    Some((mut plain, channel)) => plain.write_all(&[CLOSE, channel]).await,
                    None => Ok(()),
                }
            };
            // A direction that fails leaves the other no use; so does one that ends when its end cannot be told.
            let _ = match has_end {
                true => tokio::try_join!(up, down).map(drop),
                false => tokio::select! {
                    up = up => up,
                    down = down => down,
                },
            };
        }
    }
}
