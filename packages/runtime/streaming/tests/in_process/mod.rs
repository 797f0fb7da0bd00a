//! A backend without containers, for clients of every kind: its commands are functions, its ports are on loopback.
//!
//! | command | does |
//! |---|---|
//! | `cat` | copies its input to its output |
//! | `sha256` | reads its input to the end and writes its digest |
//! | `bytes N` | writes N bytes to its output, and their digest to its error output when it has one |
//! | `both` | writes to both outputs |
//! | `exit N` | ends with N |
//! | `fail` | cannot be run |
//! | `sizes N` | writes the next N sizes of its terminal |
//! | `wait` | ends when the client is gone, and counts that |
//!
//! Port 7 echoes until the end of file, port 13 speaks first and closes at once, port 17 closes its side and reads all,
//! port 9 cannot be reached.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lepton_runtime_streaming::{
    AttachRequest, Backend, BackendError, ExecRequest, ExitCode, Limits, Server, Streams, Urls,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes that a command handles at once.
const PART: usize = 32 * 1024;

/// The backend.
#[derive(Debug)]
pub(crate) struct InProcess {
    echo: SocketAddr,
    greeting: SocketAddr,
    sink: SocketAddr,
    /// Clients whose loss a command was told of.
    pub(crate) lost: AtomicUsize,
    /// Connections that the echo port has seen to their end.
    pub(crate) echoed: Arc<AtomicUsize>,
    /// Bytes that port 17 has read.
    pub(crate) sunk: Arc<AtomicUsize>,
}

/// A running server and what makes its addresses.
pub(crate) async fn start(limits: Limits) -> (Urls, Arc<InProcess>) {
    let (echoed, sunk) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let backend = InProcess {
        echo: echo(Arc::clone(&echoed)).await,
        greeting: greeting().await,
        sink: sink(Arc::clone(&sunk)).await,
        lost: AtomicUsize::new(0),
        echoed,
        sunk,
    };
    let backend = Arc::new(backend);
    let address = "127.0.0.1:0".parse().expect("it is an address");
    let server = Server::bind(address, Arc::clone(&backend), limits).await.expect("loopback has a free port");
    let urls = server.urls();
    tokio::spawn(server.run());
    (urls, backend)
}

async fn echo(echoed: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let echoed = Arc::clone(&echoed);
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
                    echoed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    address
}

async fn greeting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"hello\n").await;
        }
    });
    address
}

async fn sink(sunk: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; PART];
            let _ = stream.shutdown().await;
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                sunk.fetch_add(count, Ordering::SeqCst);
                // Slower than a client, so that bytes wait.
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    });
    address
}

impl Backend for InProcess {
    type Connection = TcpStream;

    async fn exec(&self, request: ExecRequest, mut streams: Streams) -> Result<ExitCode, BackendError> {
        let argument = request.command.get(1).map(String::as_str);
        let number = || argument.and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        let ended = match request.command[0].as_str() {
            "cat" => cat(&mut streams).await,
            "sha256" => sha256(&mut streams).await,
            "bytes" => bytes(number(), &mut streams).await,
            "both" => both(&mut streams).await,
            "exit" => return Ok(ExitCode(u8::try_from(number()).unwrap_or(255))),
            "sizes" => sizes(number(), &mut streams).await,
            "wait" => {
                streams.client.wait().await;
                self.lost.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            other => return Err(BackendError(format!("no command {other}"))),
        };
        ended.map(|()| ExitCode(0)).map_err(|error| BackendError(error.to_string()))
    }

    async fn attach(&self, request: AttachRequest, mut streams: Streams) -> Result<(), BackendError> {
        if request.container_id == "missing" {
            return Err(BackendError("no container missing".to_owned()));
        }
        let attached = async {
            if let Some(stdout) = &mut streams.stdout {
                stdout.write_all(b"attached\n").await?;
            }
            cat(&mut streams).await
        };
        attached.await.map_err(|error: std::io::Error| BackendError(error.to_string()))
    }

    async fn port_forward(&self, _: &str, port: u16) -> Result<TcpStream, BackendError> {
        let address = match port {
            7 => self.echo,
            13 => self.greeting,
            17 => self.sink,
            _ => return Err(BackendError("connection refused".to_owned())),
        };
        TcpStream::connect(address).await.map_err(|error| BackendError(error.to_string()))
    }
}

async fn cat(streams: &mut Streams) -> std::io::Result<()> {
    if let (Some(stdin), Some(stdout)) = (&mut streams.stdin, &mut streams.stdout) {
        tokio::io::copy(stdin, stdout).await?;
    }
    Ok(())
}

async fn sha256(streams: &mut Streams) -> std::io::Result<()> {
    let (Some(stdin), Some(stdout)) = (&mut streams.stdin, &mut streams.stdout) else { return Ok(()) };
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; PART]);
    loop {
        match stdin.read(&mut buffer).await? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    stdout.write_all(hex(hash).as_bytes()).await
}

async fn bytes(count: usize, streams: &mut Streams) -> std::io::Result<()> {
    let Some(stdout) = &mut streams.stdout else { return Ok(()) };
    let (mut hash, mut state, mut left) = (Sha256::new(), 1_u64, count);
    let mut part = vec![0; PART];
    while left > 0 {
        for word in part.as_chunks_mut::<8>().0 {
            // Knuth's generator: no part is like another.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *word = state.to_le_bytes();
        }
        let now = &part[..left.min(PART)];
        hash.update(now);
        stdout.write_all(now).await?;
        left -= now.len();
    }
    if let Some(stderr) = &mut streams.stderr {
        stderr.write_all(hex(hash).as_bytes()).await?;
    }
    Ok(())
}

async fn both(streams: &mut Streams) -> std::io::Result<()> {
    if let Some(stdout) = &mut streams.stdout {
        stdout.write_all(b"out\n").await?;
    }
    if let Some(stderr) = &mut streams.stderr {
        stderr.write_all(b"err\n").await?;
    }
    Ok(())
}

async fn sizes(count: usize, streams: &mut Streams) -> std::io::Result<()> {
    let (Some(sizes), Some(stdout)) = (&mut streams.resizes, &mut streams.stdout) else { return Ok(()) };
    for _ in 0..count {
        let Some(size) = sizes.next().await else { break };
        stdout.write_all(format!("{}x{}\n", size.width, size.height).as_bytes()).await?;
    }
    Ok(())
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
