//! A client of the QEMU Machine Protocol with the few commands that runs need.
//!
//! One JSON object per line over a Unix socket: greeting, `qmp_capabilities`, then commands, each answered by
//! `return` or `error`; events may come in between and are skipped.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

/// QEMU answers at once, also while the guest is busy; longer means it hangs.
const ANSWER: Duration = Duration::from_secs(30);

/// An open control connection.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
}

/// A control connection that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QmpError {
    /// The socket cannot be reached.
    #[error("cannot connect to {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("cannot send {command} to QEMU")]
    Broken {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// QEMU said no.
    #[error("QEMU refused {command}: {answer}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's error object.
        answer: Value,
    },
}

impl Qmp {
    /// Connects to QEMU's socket at `path`.
    pub fn connect(path: &Path) -> Result<Self, QmpError> {
        let connect = || -> io::Result<Self> {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(ANSWER))?;
            let mut qmp = Self { stream: BufReader::new(stream) };
            qmp.read()?;
            Ok(qmp)
        };
        let mut qmp = connect().map_err(|source| QmpError::Connect { path: path.to_owned(), source })?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Presses the ACPI power button.
    pub fn power_button(&mut self) -> Result<(), QmpError> {
        self.execute("system_powerdown", json!({}))
    }

    /// Presses and releases keys together, named as QEMU does (`ctrl`, `alt`, `delete`).
    pub fn press_keys(&mut self, keys: &[&str]) -> Result<(), QmpError> {
        let keys: Vec<Value> = keys.iter().map(|key| json!({"type": "qcode", "data": key})).collect();
        self.execute("send-key", json!({ "keys": keys }))
    }

    /// Plugs the cable of a card in or pulls it.
    pub fn set_link(&mut self, netdev: &str, is_up: bool) -> Result<(), QmpError> {
        self.execute("set_link", json!({"name": netdev, "up": is_up}))
    }

    /// Stops the guest's processors and its time.
    pub fn stop(&mut self) -> Result<(), QmpError> {
        self.execute("stop", json!({}))
    }

    /// Lets them go on.
    pub fn go_on(&mut self) -> Result<(), QmpError> {
        self.execute("cont", json!({}))
    }

    fn execute(&mut self, command: &str, arguments: Value) -> Result<(), QmpError> {
        let text = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        let answer = self.stream.get_mut().write_all(text.as_bytes()).and_then(|()| self.answer());
        let answer = answer.map_err(|source| QmpError::Broken { command: command.to_owned(), source })?;
        match answer.get("error") {
            Some(error) => Err(QmpError::Refused { command: command.to_owned(), answer: error.clone() }),
            None => Ok(()),
        }
    }

    /// The next message that is no event.
    fn answer(&mut self) -> io::Result<Value> {
        loop {
            let message = self.read()?;
            if message.get("event").is_none() {
                return Ok(message);
            }
        }
    }

    fn read(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Plays QEMU: greets, then gives one prepared answer per line it receives; returns those lines.
    fn serve(listener: &UnixListener, answers: &[&str]) -> Vec<String> {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        reader.get_mut().write_all(b"{\"QMP\": {}}\r\n").unwrap();
        let mut lines = Vec::new();
        for answer in answers {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            lines.push(line.trim_end().to_owned());
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
        lines
    }

    #[test]
    fn greets_commands_and_skips_events() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let answers = [
            "{\"return\": {}}\r\n",
            "{\"event\": \"POWERDOWN\"}\r\n{\"return\": {}}\r\n",
            "{\"error\": {\"class\": \"GenericError\"}}\r\n",
        ];
        let server = thread::spawn(move || serve(&listener, &answers));
        let mut qmp = Qmp::connect(&path).unwrap();
        qmp.power_button().unwrap();
        let refused = qmp.press_keys(&["ctrl", "alt", "delete"]).unwrap_err();
        assert_eq!(refused.to_string(), "QEMU refused send-key: {\"class\":\"GenericError\"}");
        expect_test::expect![[r#"
            {"arguments":{},"execute":"qmp_capabilities"}
            {"arguments":{},"execute":"system_powerdown"}
            {"arguments":{"keys":[{"data":"ctrl","type":"qcode"},{"data":"alt","type":"qcode"},{"data":"delete","type":"qcode"}]},"execute":"send-key"}"#]]
        .assert_eq(&server.join().unwrap().join("\n"));
    }

    #[test]
    fn a_missing_socket_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Qmp::connect(&dir.path().join("none")).unwrap_err();
        assert!(error.to_string().ends_with("/none"));
    }
}
