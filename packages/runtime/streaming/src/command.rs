//! Exec and attach: connects a client's streams to the runtime, and tells the client how it ended.
//!
//! The two transports differ only in how the streams come to be.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::backend::{
    AttachRequest, Backend, ClientGone, ExecRequest, Input, Output, StreamSet, Streams, resizes,
};
use crate::pipe::{Reader, pipe};
use crate::resize::ResizeReader;
use crate::server::Limits;
use crate::spdy::{self, Incoming, ResetReason};
use crate::status::{Status, StatusFormat};
use crate::websocket::channels::{Channels, Codec, Target};
use crate::websocket::{self, Envelope};

/// Numbers of the WebSocket channels.
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;

/// Which of the two calls.
#[derive(Debug)]
pub(crate) enum Command {
    Exec(ExecRequest),
    Attach(AttachRequest),
}

impl Command {
    fn streams(&self) -> StreamSet {
        match self {
            Self::Exec(request) => request.streams,
            Self::Attach(request) => request.streams,
        }
    }

    async fn run<B: Backend>(self, backend: &B, streams: Streams) -> Status {
        match self {
            Self::Exec(request) => Status::of_exec(backend.exec(request, streams).await),
            Self::Attach(request) => Status::of_attach(backend.attach(request, streams).await),
        }
    }
}

/// To a process, a client that is lost is one that types no more.
struct Stdin(Reader);

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(context, buffer) {
            Poll::Ready(Err(_)) => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

/// Serves a command on WebSocket channels.
pub(crate) async fn over_channels<B: Backend>(
    command: Command,
    backend: Arc<B>,
    (reader, writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    (status, codec): (StatusFormat, Codec),
    limits: Limits,
) {
    let wanted = command.streams();
    let mut targets: Vec<_> = (0..5).map(|_| Target::Discard).collect();
    let mut stdin: Option<Input> = None;
    if wanted.stdin {
        let (sender, reader) = pipe(None);
        targets[0] = Target::Pipe(sender);
        stdin = Some(Box::new(Stdin(reader)));
    }
    let mut sizes = None;
    if wanted.tty {
        let (sender, receiver) = resizes();
        targets[4] = Target::Resize(ResizeReader::new(sender));
        sizes = Some(receiver);
    }
    let channels = Channels::new(codec, targets);
    let (connection, driver) = websocket::serve(reader, writer, channels, limits.idle);
    let channel = |number| {
        let base64 = codec == Codec::Base64;
        connection.writer(if base64 { Envelope::Base64(number) } else { Envelope::Channel(number) })
    };
    let mut error = channel(ERROR);
    let output = |number, wanted: bool| wanted.then(|| Box::new(channel(number)) as Output);
    // As in Kubernetes, the lowest channel to the client gets an empty message at once.
    let first = [(STDOUT, wanted.stdout), (STDERR, wanted.stderr)];
    channel(first.iter().find(|(_, wanted)| *wanted).map_or(ERROR, |(number, _)| *number)).greet();
    let streams = Streams {
        stdin,
        stdout: output(STDOUT, wanted.stdout),
        stderr: output(STDERR, wanted.stderr),
        resizes: sizes,
        client: ClientGone::new(connection.gone()),
    };
    let session = async move {
        let ended = command.run(&*backend, streams).await;
        // A client that has left does not learn how it ended.
        let _ = error.write_all(&ended.write(status)).await;
        connection.finish();
    };
    tokio::join!(driver, session);
}

/// Serves a command on SPDY streams.
pub(crate) async fn over_spdy<B: Backend>(
    command: Command,
    backend: Arc<B>,
    (reader, writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    (status, resize_stream): (StatusFormat, bool),
    limits: Limits,
) {
    let (mut connection, driver) = spdy::serve(reader, writer, limits.idle);
    let session = async move {
        let mut opened = Opened::default();
        let wanted = command.streams();
        let all = opened.collect(&mut connection, wanted, wanted.tty && resize_stream);
        let in_time = tokio::time::timeout(limits.stream_creation, all).await.is_ok();
        connection.refuse_more();
        if let Some(error) = opened.error.take().filter(|_| in_time) {
            serve_opened(command, &*backend, opened, error, ClientGone::new(connection.gone()), status).await;
        }
        connection.finish();
    };
    tokio::join!(driver, session);
}

async fn serve_opened<B: Backend>(
    command: Command,
    backend: &B,
    opened: Opened,
    mut error: spdy::Writer,
    client: ClientGone,
    status: StatusFormat,
) {
    let (stdin, stdin_writer) = opened.stdin.unzip();
    let (resize, resize_writer) = opened.resize.unzip();
    let (sizes, reading) = match resize {
        Some(stream) => {
            let (sender, receiver) = resizes();
            (Some(receiver), Some(ResizeReader::new(sender).read(stream)))
        }
        None => (None, None),
    };
    let streams = Streams {
        stdin: stdin.map(|reader| Box::new(Stdin(reader)) as Input),
        stdout: opened.stdout.map(|writer| Box::new(writer) as Output),
        stderr: opened.stderr.map(|writer| Box::new(writer) as Output),
        resizes: sizes,
        client,
    };
    let reading = async {
        if let Some(reading) = reading {
            reading.await;
        }
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = command.run(backend, streams) => ended,
        () = reading => unreachable!("it never ends"),
    };
    // A client that has left does not learn how it ended.
    let _ = error.write_all(&ended.write(status)).await;
    // Kubernetes' client ends its input as soon as the server ends its side of that stream: not before now.
    drop((stdin_writer, resize_writer));
}

/// The streams that the client has opened.
#[derive(Debug, Default)]
struct Opened {
    error: Option<spdy::Writer>,
    stdin: Option<(Reader, spdy::Writer)>,
    stdout: Option<spdy::Writer>,
    stderr: Option<spdy::Writer>,
    resize: Option<(Reader, spdy::Writer)>,
}

impl Opened {
    /// Waits until the client has opened all streams of its call, or is gone.
    async fn collect(&mut self, connection: &mut spdy::Connection, wanted: StreamSet, resize: bool) {
        while !self.is_complete(wanted, resize) {
            let Some(incoming) = connection.incoming().await else {
                self.error = None;
                return;
            };
            self.add(incoming, wanted, resize);
        }
    }

    fn is_complete(&self, wanted: StreamSet, resize: bool) -> bool {
        self.error.is_some()
            && self.stdin.is_some() == wanted.stdin
            && self.stdout.is_some() == wanted.stdout
            && self.stderr.is_some() == wanted.stderr
            && self.resize.is_some() == resize
    }

    fn add(&mut self, incoming: Incoming, wanted: StreamSet, resize: bool) {
        let kind = incoming.headers.get("streamtype").unwrap_or_default();
        let (wanted, taken) = match kind {
            "error" => (true, self.error.is_some()),
            "stdin" => (wanted.stdin, self.stdin.is_some()),
            "stdout" => (wanted.stdout, self.stdout.is_some()),
            "stderr" => (wanted.stderr, self.stderr.is_some()),
            "resize" => (resize, self.resize.is_some()),
            _ => return incoming.refuse(ResetReason::ProtocolError),
        };
        if taken {
            return incoming.refuse(ResetReason::ProtocolError);
        }
        let kind = kind.to_owned();
        let (reader, writer) = incoming.accept();
        // A stream that the call does not have is empty, as in Kubernetes.
        match kind.as_str() {
            _ if !wanted => {}
            "error" => self.error = Some(writer),
            "stdin" => self.stdin = Some((reader, writer)),
            "stdout" => self.stdout = Some(writer),
            "stderr" => self.stderr = Some(writer),
            _ => self.resize = Some((reader, writer)),
        }
    }
}
