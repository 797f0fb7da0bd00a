//! What this program does as a child: calls, and tricks.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lepton_spiffe_api::workload as api;
use lepton_spiffe_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use nix::sched::{CloneFlags, unshare};
use tonic::codegen::{Service, http::Uri};
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

/// The first argument of a child.
pub(crate) const CHILD: &str = "child";
const PAUSE: Duration = Duration::from_millis(5);

/// A child that waits for a line before it acts.
pub(crate) struct Process {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts one.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { stdin: child.stdin.take(), stdout, child }
    }

    /// Lets it act.
    pub(crate) fn go(&mut self) {
        self.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// The next line that it says.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Lets it act, and gives its answer.
    pub(crate) fn answer(&mut self) -> String {
        self.go();
        self.line()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command for a child of this program.
pub(crate) fn command(program: &Path, what: &str, socket: &Path) -> Command {
    let mut command = Command::new(program);
    command.args([CHILD, what]).arg(socket);
    command
}

/// Does what a child should.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [what, socket, rest @ ..] = arguments else { return ExitCode::FAILURE };
    let socket = Path::new(socket);
    match &**what {
        "call" => {
            wait();
            say(&call(connect(socket)));
        }
        // Speaks over a connection that somebody else made, when that one is another program or dead.
        "inherited" => {
            let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
            let (program, parent) = (&rest[0], &rest[1]);
            let link = format!("/proc/{parent}/exe");
            // Its number may be another one's by then.
            let lives = || std::os::unix::process::parent_id().to_string() == *parent;
            while lives() && std::fs::read_link(&link).is_ok_and(|path| path.to_str() == Some(program)) {
                std::thread::sleep(PAUSE);
            }
            say(&call(stream));
        }
        "users" => contained(CloneFlags::CLONE_NEWUSER, socket),
        "mounts" => contained(CloneFlags::CLONE_NEWNS, socket),
        "processes" => {
            unshare(CloneFlags::CLONE_NEWPID).unwrap();
            // Its children are in there.
            let program = std::env::current_exe().unwrap();
            let mut child = command(&program, "call", socket).spawn().unwrap();
            child.wait().unwrap();
        }
        "exec" => {
            wait();
            let stream = accepted(socket);
            let error = replace(Path::new(&rest[0]), "inherited-now", socket, stream);
            say(&format!("cannot exec: {error}"));
        }
        "inherited-now" => {
            let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
            say(&call(stream));
        }
        "exec-with-child" => {
            wait();
            let stream = accepted(socket);
            spawn_inherited(&stream, socket);
            let error = replace(Path::new(&rest[0]), "sleep", socket, stream);
            say(&format!("cannot exec: {error}"));
        }
        // Ends, and leaves its connection to a child.
        "orphan" => {
            wait();
            let stream = if rest.is_empty() { accepted(socket) } else { connect(socket) };
            spawn_inherited(&stream, socket);
        }
        "stream" => {
            wait();
            let stream = connect(socket);
            let mut other = Command::new(std::env::current_exe().unwrap());
            other
                .args([CHILD, "sleep"])
                .arg(socket)
                .stdin(Stdio::from(OwnedFd::from(stream.try_clone().unwrap())));
            let mut other = other.spawn().unwrap();
            say(&other.id().to_string());
            stay_open(stream);
            let _ = other.kill();
            let _ = other.wait();
        }
        "drop-user" => {
            wait();
            let stream = accepted(socket);
            nix::unistd::setuid(nix::unistd::Uid::from_raw(rest[0].parse().unwrap())).unwrap();
            say(&call(stream));
        }
        "sleep" => std::thread::sleep(Duration::from_secs(100)),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

fn contained(flags: CloneFlags, socket: &Path) {
    wait();
    unshare(flags).unwrap();
    say(&call(connect(socket)));
}

fn say(text: &str) {
    println!("{text}");
}

fn wait() {
    let mut line = [0; 3];
    std::io::stdin().read_exact(&mut line).unwrap();
}

fn connect(socket: &Path) -> UnixStream {
    UnixStream::connect(socket).unwrap()
}

/// A connection that the server has looked at: it has sent its settings.
fn accepted(socket: &Path) -> UnixStream {
    let stream = connect(socket);
    let mut byte = [0; 1];
    while rustix::net::recv(&stream, &mut byte, rustix::net::RecvFlags::PEEK).unwrap().0 == 0 {
        std::thread::sleep(PAUSE);
    }
    stream
}

#[expect(clippy::zombie_processes, reason = "it outlives this process")]
fn spawn_inherited(stream: &UnixStream, socket: &Path) {
    let program = std::env::current_exe().unwrap();
    command(&program, "inherited", socket)
        .arg(&program)
        .arg(std::process::id().to_string())
        .stdin(Stdio::from(OwnedFd::from(stream.try_clone().unwrap())))
        .spawn()
        .unwrap();
}

/// Becomes another program, which has the connection as its input.
fn replace(program: &Path, what: &str, socket: &Path, stream: UnixStream) -> std::io::Error {
    command(program, what, socket).stdin(Stdio::from(OwnedFd::from(stream))).exec()
}

/// One connection that is there already.
struct Ready(Option<UnixStream>);

impl Service<Uri> for Ready {
    type Response = TokioIo<tokio::net::UnixStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take();
        Box::pin(async move {
            let stream = stream.ok_or(std::io::ErrorKind::NotConnected)?;
            stream.set_nonblocking(true)?;
            Ok(TokioIo::new(tokio::net::UnixStream::from_std(stream)?))
        })
    }
}

async fn open(stream: UnixStream) -> Result<tonic::Streaming<api::X509svidResponse>, Status> {
    let endpoint = Endpoint::from_static("http://workload");
    let channel = endpoint.connect_with_connector(Ready(Some(stream))).await;
    let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut client = SpiffeWorkloadApiClient::new(channel);
    let mut request = Request::new(api::X509svidRequest {});
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    Ok(client.fetch_x509svid(request).await?.into_inner())
}

/// `ids ID…`, or `refused CODE: TEXT`.
fn call(stream: UnixStream) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async { open(stream).await?.message().await });
    match answer {
        Ok(Some(message)) => {
            let ids: Vec<&str> = message.svids.iter().map(|svid| &*svid.spiffe_id).collect();
            format!("ids {}", ids.join(" "))
        }
        Ok(None) => "refused: nothing".to_owned(),
        Err(status) => format!("refused {:?}: {}", status.code(), status.message()),
    }
}

fn stay_open(stream: UnixStream) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = open(stream).await.unwrap();
        stream.message().await.unwrap().unwrap();
        say("open");
        let _ = stream.message().await;
    });
}
