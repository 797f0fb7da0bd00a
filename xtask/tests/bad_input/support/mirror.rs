//! A mirror on the loopback address: HTTP/1.1, one answer for each connection, and every way to answer badly.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What the mirror does when a path is asked for.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Gives the file.
    File(Vec<u8>),
    /// Promises the file, gives half of it and hangs up.
    Half(Vec<u8>),
    /// Promises the file, gives half of it and then nothing, without hanging up.
    Stall(Vec<u8>),
}

/// The mirror; a path without an answer gives 404.
#[derive(Clone)]
pub(crate) struct Mirror {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    asked: Vec<String>,
}

impl Mirror {
    /// Listens on a free port until the test program ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}/debian", listener.local_addr().expect("it is bound"));
        let mirror = Self { address, state: Arc::default() };
        let served = mirror.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                // A client that hangs up early is what some tests want.
                thread::spawn(move || served.answer(&stream).ok());
            }
        });
        mirror
    }

    /// What `LEPTON_DEBIAN_MIRROR` is set to.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Gives this answer from now on.
    pub(crate) fn set(&self, path: &str, answer: Answer) {
        self.state().answers.insert(path.to_owned(), answer);
    }

    /// Has no such file from now on.
    pub(crate) fn remove(&self, path: &str) {
        assert!(self.state().answers.remove(path).is_some(), "{path} is not on the mirror");
    }

    /// Has no file at all from now on.
    pub(crate) fn remove_all(&self) {
        self.state().answers.clear();
    }

    /// The paths asked for until now.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let path =
            request.split(' ').nth(1).and_then(|path| path.strip_prefix("/debian/")).unwrap_or_default();
        let answer = {
            let mut state = self.state();
            state.asked.push(path.to_owned());
            state.answers.get(path).cloned()
        };
        let Some(answer) = answer else {
            return stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        };
        let (Answer::File(bytes) | Answer::Half(bytes) | Answer::Stall(bytes)) = &answer;
        let len = bytes.len();
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n")?;
        match &answer {
            Answer::File(bytes) => stream.write_all(bytes),
            Answer::Half(bytes) => stream.write_all(&bytes[..len / 2]),
            Answer::Stall(bytes) => {
                stream.write_all(&bytes[..len / 2])?;
                // Ends when the client hangs up.
                stream.read(&mut [0]).map(drop)
            }
        }
    }
}
