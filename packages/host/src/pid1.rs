//! PID 1, over its control socket.

use std::io::{self, ErrorKind as IoErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lepton_control::{Answer, ErrorKind, LogLine, LogName, MAX_ANSWER, Request, ServiceStatus};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::watch::Told;

/// PID 1 answers at once; longer means that it cannot.
const PATIENCE: Duration = Duration::from_secs(10);
/// Logs that are followed at a time: PID 1 has 32 clients at most, and others ask it, too.
const FOLLOWED: usize = 16;
/// What is sent at once of a log.
const LINES: usize = 512;
const BYTES: usize = 256 * 1024;

/// PID 1.
#[derive(Debug)]
pub(crate) struct Pid1 {
    socket: PathBuf,
    followed: Arc<Semaphore>,
}

/// Which lines of a log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Which {
    /// Also those to come.
    pub(crate) follow: bool,
    /// The newest of those that are kept.
    pub(crate) lines: Option<u32>,
    /// Those of this number and later ones.
    pub(crate) from: Option<u64>,
}

/// A log that is read.
#[derive(Debug)]
pub(crate) struct Log {
    link: BufReader<UnixStream>,
    follow: bool,
    has_ended: bool,
    _place: OwnedSemaphorePermit,
}

/// Services that are followed.
#[derive(Debug)]
pub(crate) struct Watched {
    link: BufReader<UnixStream>,
}

impl Pid1 {
    /// The one that listens there.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, followed: Arc::new(Semaphore::new(FOLLOWED)) }
    }

    /// Asks, and waits for the answer; a refusal is a status.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Answer, Status> {
        let conversation = async {
            let mut link = self.connect(request).await?;
            next(&mut link).await
        };
        let answer = tokio::time::timeout(PATIENCE, conversation).await;
        match answer.map_err(|_| Status::unavailable("PID 1 does not answer"))?? {
            Answer::Error { kind, message } => Err(refused(kind, message)),
            answer => Ok(answer),
        }
    }

    /// A log; nothing is read yet.
    pub(crate) async fn log(&self, name: LogName, which: Which) -> Result<Log, Status> {
        let place = Arc::clone(&self.followed).try_acquire_owned();
        let place = place
            .map_err(|_| Status::resource_exhausted("too many logs are read at once; try again later"))?;
        let Which { follow, lines, from } = which;
        let link = self.connect(&Request::Logs { name, follow, lines, from }).await?;
        Ok(Log { link, follow, has_ended: false, _place: place })
    }

    /// All services, and what becomes of them.
    pub(crate) async fn watch(&self) -> Result<(Watched, Vec<ServiceStatus>), Status> {
        let conversation = async {
            let link = self.connect(&Request::Watch).await?;
            let mut watched = Watched { link };
            match watched.next().await? {
                Told::All(_, services) => Ok((watched, services)),
                Told::Change(_) => Err(unexpected()),
            }
        };
        let answer = tokio::time::timeout(PATIENCE, conversation).await;
        answer.map_err(|_| Status::unavailable("PID 1 does not answer"))?
    }

    async fn connect(&self, request: &Request) -> Result<BufReader<UnixStream>, Status> {
        let failed = |error: io::Error| {
            Status::unavailable(format!("cannot talk to PID 1 at {}: {error}", self.socket.display()))
        };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(failed)?;
        stream.write_all(request.to_line().as_bytes()).await.map_err(failed)?;
        Ok(BufReader::new(stream))
    }
}

impl Log {
    /// Lines, at least one; none when there are no more.
    pub(crate) async fn lines(&mut self) -> Result<Vec<LogLine>, Status> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        // What has arrived with the first one comes along.
        while !self.has_ended
            && (lines.is_empty()
                || (self.link.buffer().contains(&b'\n') && lines.len() < LINES && bytes < BYTES))
        {
            let next = next(&mut self.link);
            let answer = match self.follow {
                true => next.await?,
                false => tokio::time::timeout(PATIENCE, next)
                    .await
                    .map_err(|_| Status::unavailable("PID 1 does not answer"))??,
            };
            match answer {
                Answer::Line(line) => {
                    bytes += line.text.len();
                    lines.push(line);
                }
                Answer::End => self.has_ended = true,
                Answer::Error { kind, message } => return Err(refused(kind, message)),
                _ => return Err(unexpected()),
            }
        }
        Ok(lines)
    }
}

impl Watched {
    /// What comes next.
    pub(crate) async fn next(&mut self) -> Result<Told, Status> {
        let mut lost = 0;
        loop {
            match next(&mut self.link).await? {
                Answer::Change(change) => return Ok(Told::Change(Arc::new(*change))),
                Answer::Services(services) => return Ok(Told::All(lost, services)),
                Answer::Lost(count) => lost = count,
                Answer::Error { kind, message } => return Err(refused(kind, message)),
                _ => return Err(unexpected()),
            }
        }
    }
}

async fn next(link: &mut BufReader<UnixStream>) -> Result<Answer, Status> {
    let mut line = Vec::new();
    let read = link.take(MAX_ANSWER as u64 + 1).read_until(b'\n', &mut line).await;
    match read.and_then(|_| line.pop().ok_or_else(|| IoErrorKind::UnexpectedEof.into())) {
        Ok(b'\n') => serde_json::from_slice(&line).map_err(|_| unexpected()),
        Ok(_) => Err(unexpected()),
        Err(error) => Err(Status::unavailable(format!("PID 1 has gone: {error}"))),
    }
}

/// PID 1 speaks in another way.
pub(crate) fn unexpected() -> Status {
    Status::internal("the answer of PID 1 cannot be understood")
}

fn refused(kind: ErrorKind, message: String) -> Status {
    match kind {
        ErrorKind::BadRequest => Status::invalid_argument(message),
        ErrorKind::NoService | ErrorKind::NoTrial => Status::not_found(message),
        ErrorKind::Conflict => Status::aborted(message),
        // This service may ask everything that it asks.
        ErrorKind::NotAllowed => Status::internal(message),
        ErrorKind::Refused => Status::failed_precondition(message),
    }
}
