//! A container runtime with one container of the machine config, `web`: its log is a file, and a program in it says back what
//! it reads. Programs go through the runtime's own streaming server.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lepton_cri::v1 as cri;
use lepton_runtime_streaming::{
    AttachRequest, Backend, BackendError, ExecRequest, ExitCode, Limits, Server, StreamSet, Streams, Urls,
};
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};

pub(crate) const ID: &str = "0123456789abcdef";

/// Says back what it reads, to both outputs, and how large the terminal is.
struct Echo;

impl Backend for Echo {
    type Connection = TcpStream;

    async fn exec(&self, request: ExecRequest, mut streams: Streams) -> Result<ExitCode, BackendError> {
        if request.command[0] == "none" {
            return Err(BackendError("no such program".to_owned()));
        }
        let failed = |error: std::io::Error| BackendError(error.to_string());
        let mut stdout = streams.stdout.take().unwrap();
        if let Some(sizes) = &mut streams.resizes
            && let Some(size) = sizes.next().await
        {
            stdout.write_all(format!("{}x{}", size.width, size.height).as_bytes()).await.map_err(failed)?;
        }
        let mut read = Vec::new();
        if let Some(mut stdin) = streams.stdin.take() {
            stdin.read_to_end(&mut read).await.map_err(failed)?;
        }
        stdout.write_all(&read).await.map_err(failed)?;
        stdout.shutdown().await.map_err(failed)?;
        if let Some(mut stderr) = streams.stderr.take() {
            stderr.write_all(b"done").await.map_err(failed)?;
            stderr.shutdown().await.map_err(failed)?;
        }
        Ok(ExitCode(7))
    }

    async fn attach(&self, _: AttachRequest, _: Streams) -> Result<(), BackendError> {
        Err(BackendError("nothing to attach to".to_owned()))
    }

    async fn port_forward(&self, _: &str, _: u16) -> Result<TcpStream, BackendError> {
        Err(BackendError("no ports".to_owned()))
    }
}

/// Serves on a socket, for as long as the runtime of the test lives.
pub(crate) async fn serve(socket: &Path, log: PathBuf) {
    let server =
        Server::bind("127.0.0.1:0".parse().unwrap(), Arc::new(Echo), Limits::default()).await.unwrap();
    let urls = server.urls();
    tokio::spawn(server.run());
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (urls, log) = (urls.clone(), log.clone());
            let service =
                hyper::service::service_fn(move |request| answer(urls.clone(), log.clone(), request));
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
}

async fn answer(
    urls: Urls,
    log: PathBuf,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path().to_owned();
    let bytes = read(request.into_body()).await;
    let bytes = match path.rsplit('/').next().unwrap() {
        "ListContainers" => cri::ListContainersResponse { containers: vec![container()] }.encode_to_vec(),
        "ContainerStatus" => {
            let status = cri::ContainerStatus {
                id: ID.into(),
                state: cri::ContainerState::ContainerRunning.into(),
                log_path: log.display().to_string(),
                ..Default::default()
            };
            cri::ContainerStatusResponse { status: Some(status), ..Default::default() }.encode_to_vec()
        }
        // Nothing happens any more; an end would be an end of the runtime.
        "GetContainerEvents" => return Ok(Response::new(Answer::Waits)),
        "Exec" => {
            let request = cri::ExecRequest::decode(&bytes[5..]).unwrap();
            let streams = StreamSet {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                tty: request.tty,
            };
            let request = ExecRequest { container_id: request.container_id, command: request.cmd, streams };
            cri::ExecResponse { url: urls.exec(request).unwrap() }.encode_to_vec()
        }
        other => panic!("the runtime of the test does not know {other}"),
    };
    let mut message = vec![0];
    message.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    message.extend(bytes);
    let mut response = Response::new(Answer::Message(message));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

fn container() -> cri::Container {
    cri::Container {
        id: ID.into(),
        metadata: Some(cri::ContainerMetadata { name: "main".into(), attempt: 2 }),
        image: Some(cri::ImageSpec { image: "registry.example/web:1".into(), ..Default::default() }),
        state: cri::ContainerState::ContainerRunning.into(),
        created_at: 5_000_000_000,
        labels: [("lepton.ctr/name".to_owned(), "web".to_owned())].into(),
        ..Default::default()
    }
}

async fn read(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        bytes.extend(frame.into_data().unwrap_or_default());
    }
    bytes
}

/// A message of gRPC and that all is well.
enum Answer {
    Message(Vec<u8>),
    End,
    Over,
    Waits,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &*self {
            Self::Message(_) => Self::End,
            Self::End | Self::Over => Self::Over,
            Self::Waits => return Poll::Pending,
        };
        match std::mem::replace(&mut *self, next) {
            Self::Message(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
            Self::End => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Self::Over | Self::Waits => Poll::Ready(None),
        }
    }
}
