//! One connection to PID 1's control socket, which is kept.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use lepton_control::{Answer, MAX_ANSWER, Request, ServiceStatus};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// PID 1 answers at once; longer means that it cannot.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why PID 1 could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("cannot talk to {path}: {source}")]
    Socket { path: String, source: io::Error },
    #[error("no answer for {} s", PATIENCE.as_secs())]
    TimedOut,
    #[error("the answer cannot be understood")]
    Answer,
    #[error("{0}")]
    Refused(String),
}

/// PID 1.
#[derive(Debug)]
pub(crate) struct Control {
    socket: PathBuf,
    link: Mutex<Option<BufReader<UnixStream>>>,
}

impl Control {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, link: Mutex::new(None) }
    }

    /// The main process of a service that runs; none when there is no such service, or it does not run.
    pub(crate) async fn main_process(&self, name: &str) -> Result<Option<u32>, ControlError> {
        let request = Request::Service { name: name.to_owned() };
        match self.ask(&request).await? {
            Answer::Service(status) => {
                let ServiceStatus { name: named, pid, .. } = *status;
                if named == name { Ok(pid) } else { Err(ControlError::Answer) }
            }
            Answer::Error { kind: lepton_control::ErrorKind::NoService, .. } => Ok(None),
            Answer::Error { message, .. } => Err(ControlError::Refused(message)),
            _ => Err(ControlError::Answer),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Answer, ControlError> {
        let mut kept = self.link.lock().await;
        let line = request.to_line();
        let conversation = async {
            if let Some(mut link) = kept.take()
                // PID 1 may have closed it meanwhile; then another one is made.
                && let Ok(answer) = exchange(&mut link, &line).await
            {
                return Ok((link, answer));
            }
            let mut link = BufReader::new(UnixStream::connect(&self.socket).await?);
            let answer = exchange(&mut link, &line).await?;
            Ok((link, answer))
        };
        let failed = |source| ControlError::Socket { path: self.socket.display().to_string(), source };
        let conversation = tokio::time::timeout(PATIENCE, conversation).await;
        let (link, answer) = conversation.map_err(|_| ControlError::TimedOut)?.map_err(failed)?;
        let answer = serde_json::from_slice(&answer).map_err(|_| ControlError::Answer)?;
        *kept = Some(link);
        Ok(answer)
    }
}

async fn exchange(link: &mut BufReader<UnixStream>, line: &str) -> io::Result<Vec<u8>> {
    link.write_all(line.as_bytes()).await?;
    let mut answer = Vec::new();
    link.take(MAX_ANSWER as u64 + 1).read_until(b'\n', &mut answer).await?;
    match answer.pop() {
        Some(b'\n') => Ok(answer),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}
