//! A client that asks one thing after the other and waits for each answer.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::{Answer, ErrorKind, MAX_ANSWER, Request, SOCKET};

/// What only looks is answered at once; what asks a server takes as long as that, with several to try.
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PATIENCE: Duration = Duration::from_secs(180);

/// Why something could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The socket cannot be used.
    #[error("cannot talk to the identity agent at {path}; is the service identity running?")]
    Socket {
        /// Where it should be.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The agent closed the connection.
    #[error("the identity agent closed the connection before it answered")]
    Closed,
    /// The answer is too long, no JSON, or none that fits the request.
    #[error("the answer of the identity agent cannot be read: {0}")]
    Answer(String),
    /// The request was refused.
    #[error("{message}")]
    Refused {
        /// What kind of mistake it is.
        kind: ErrorKind,
        /// The mistake.
        message: String,
    },
}

/// A connection to the agent.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
    path: String,
}

impl Client {
    /// Connects to the agent of this host.
    pub fn connect() -> Result<Self, ClientError> {
        Self::connect_to(Path::new(SOCKET))
    }

    /// Connects to a socket elsewhere.
    pub fn connect_to(path: &Path) -> Result<Self, ClientError> {
        let path = path.display().to_string();
        let failed = |source| ClientError::Socket { path: path.clone(), source };
        let stream = UnixStream::connect(&path).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self { reader: BufReader::new(stream), path })
    }

    /// Asks, and waits for the one line of the answer; a refusal is an error.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        let patience = match request {
            // The agent says itself when the time is over.
            Request::WaitReady { timeout_s } => timeout_s.map(|it| Duration::from_secs(it) + PATIENCE),
            Request::Status | Request::Show | Request::Metrics | Request::Bundle { .. } => Some(PATIENCE),
            _ => Some(LONG_PATIENCE),
        };
        let stream = self.reader.get_mut();
        let sent =
            stream.set_read_timeout(patience).and_then(|()| stream.write_all(request.to_line().as_bytes()));
        sent.map_err(|source| ClientError::Socket { path: self.path.clone(), source })?;
        self.next()
    }

    fn next(&mut self) -> Result<Answer, ClientError> {
        let mut line = Zeroizing::new(Vec::new());
        let limit = MAX_ANSWER as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut line);
        read.map_err(|source| ClientError::Socket { path: self.path.clone(), source })?;
        match line.pop() {
            None => return Err(ClientError::Closed),
            Some(b'\n') => {}
            Some(_) if line.len() >= MAX_ANSWER => {
                return Err(ClientError::Answer(format!("it is longer than {MAX_ANSWER} bytes")));
            }
            Some(_) => return Err(ClientError::Closed),
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Error { kind, message }) => Err(ClientError::Refused { kind, message }),
            Ok(answer) => Ok(answer),
            // The text of serde's error may quote a key.
            Err(error) => {
                Err(ClientError::Answer(format!("it has another shape at column {}", error.column())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A client of a server that reads one line and answers `bytes`.
    fn answered(bytes: &'static [u8]) -> (tempfile::TempDir, Client) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
            stream.write_all(bytes).unwrap();
        });
        let client = Client::connect_to(&path).unwrap();
        (dir, client)
    }

    #[test]
    fn answers_refusals_and_broken_lines() {
        let (_dir, mut client) = answered(b"\"done\"\n");
        assert_eq!(client.ask(&Request::Refresh).unwrap(), Answer::Done);
        let (_dir, mut client) = answered(b"{\"error\":{\"kind\":\"not-found\",\"message\":\"no x\"}}\n");
        assert_eq!(client.ask(&Request::Status).unwrap_err().to_string(), "no x");
        let (_dir, mut client) = answered(b"\"do");
        assert!(matches!(client.ask(&Request::Status), Err(ClientError::Closed)));
        let (_dir, mut client) = answered(b"{\"x509\":[{\"key\":[\"secret\"]}]}\n");
        let error = client.ask(&Request::FetchX509 { spiffe_id: None }).unwrap_err();
        assert!(matches!(error, ClientError::Answer(_)) && !format!("{error:?}").contains("secret"));
    }
}
