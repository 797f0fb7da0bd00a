//! A client that asks one thing after the other and waits for each answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::{Answer, ErrorKind, LogLine, LogName, MAX_ANSWER, Request, SOCKET};

/// PID 1 answers at once; longer means that it cannot.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why something could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The socket cannot be used.
    #[error("cannot talk to PID 1 at {path}")]
    Socket {
        /// Where it should be.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// PID 1 closed the connection.
    #[error("PID 1 closed the connection before it answered")]
    Closed,
    /// The answer is too long, no JSON, or none that fits the request.
    #[error("the answer of PID 1 cannot be read: {0}")]
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

/// A connection to PID 1.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
    path: String,
}

impl Client {
    /// Connects to PID 1 of this host.
    pub fn connect() -> Result<Self, ClientError> {
        Self::connect_to(Path::new(SOCKET))
    }

    /// Connects to a socket elsewhere.
    pub fn connect_to(path: &Path) -> Result<Self, ClientError> {
        let path = path.display().to_string();
        let failed = |source| ClientError::Socket { path: path.clone(), source };
        let stream = UnixStream::connect(&path).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self { reader: BufReader::new(stream), path })
    }

    /// Asks, and waits for the one line of the answer; a refusal is an error.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        self.send(request)?;
        self.next()
    }

    /// Asks for a log and gives every record to `each`, until there are no more or `each` says false.
    ///
    /// A log that is followed has no last record.
    pub fn logs(
        self,
        name: LogName,
        follow: bool,
        lines: Option<u32>,
        each: impl FnMut(LogLine) -> bool,
    ) -> Result<(), ClientError> {
        self.records(Request::Logs { name, follow, lines, from: None }, follow, each)
    }

    /// Follows a log from the line of that number on, or from the oldest that is kept.
    pub fn follow(
        self,
        name: LogName,
        from: Option<u64>,
        each: impl FnMut(LogLine) -> bool,
    ) -> Result<(), ClientError> {
        self.records(Request::Logs { name, follow: true, lines: None, from }, true, each)
    }

    /// Follows all services: gives [`Answer::Services`] first, then [`Answer::Change`] for each change of a state, and
    /// [`Answer::Lost`] where some were left out, until `each` says false.
    pub fn watch(mut self, mut each: impl FnMut(Answer) -> bool) -> Result<(), ClientError> {
        self.send(&Request::Watch)?;
        let mut answer = self.next()?;
        self.reader.get_ref().set_read_timeout(None).map_err(|source| self.failed(source))?;
        while each(answer) {
            answer = self.next()?;
        }
        Ok(())
    }

    fn records(
        mut self,
        request: Request,
        follow: bool,
        mut each: impl FnMut(LogLine) -> bool,
    ) -> Result<(), ClientError> {
        self.send(&request)?;
        if follow {
            self.reader.get_ref().set_read_timeout(None).map_err(|source| self.failed(source))?;
        }
        loop {
            match self.next()? {
                Answer::Line(line) => {
                    if !each(line) {
                        return Ok(());
                    }
                }
                Answer::End => return Ok(()),
                other => return Err(ClientError::Answer(format!("{other:?} is no record of a log"))),
            }
        }
    }

    fn failed(&self, source: io::Error) -> ClientError {
        ClientError::Socket { path: self.path.clone(), source }
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let line = request.to_line();
        let sent = self.reader.get_mut().write_all(line.as_bytes());
        sent.map_err(|source| self.failed(source))
    }

    fn next(&mut self) -> Result<Answer, ClientError> {
        let mut line = Vec::new();
        let limit = MAX_ANSWER as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut line);
        read.map_err(|source| self.failed(source))?;
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
            Err(error) => Err(ClientError::Answer(error.to_string())),
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
        assert_eq!(client.ask(&Request::Reboot).unwrap(), Answer::Done);
        let (_dir, mut client) = answered(b"{\"error\":{\"kind\":\"no-service\",\"message\":\"no x\"}}\n");
        assert_eq!(client.ask(&Request::Status).unwrap_err().to_string(), "no x");
        let (_dir, mut client) = answered(b"\"do");
        assert!(matches!(client.ask(&Request::Status), Err(ClientError::Closed)));
        let (_dir, mut client) = answered(b"[]\n");
        assert!(matches!(client.ask(&Request::Status), Err(ClientError::Answer(_))));
    }

    #[test]
    fn what_is_followed_is_given_in_order() {
        let (_dir, client) = answered(b"{\"services\":[]}\n{\"lost\":3}\n{\"services\":[]}\n\"done\"\n");
        let mut answers = Vec::new();
        let each = |answer| {
            answers.push(answer);
            answers.len() < 3
        };
        client.watch(each).unwrap();
        assert_eq!(answers, [Answer::Services(vec![]), Answer::Lost(3), Answer::Services(vec![])]);
    }

    #[test]
    fn logs_end() {
        let (_dir, client) = answered(b"{\"line\":{\"number\":0,\"ms\":1,\"text\":\"a\"}}\n\"end\"\n");
        let mut texts = Vec::new();
        let each = |line: LogLine| {
            texts.push(line.text);
            true
        };
        client.logs(LogName::Kernel, false, None, each).unwrap();
        assert_eq!(texts, ["a"]);
    }
}
