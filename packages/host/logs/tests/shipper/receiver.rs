//! A destination: it takes lines over TCP or TLS, as fast as it is told, and keeps what came.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How a destination behaves.
#[derive(Debug, Default)]
pub(crate) struct Manners {
    /// Milliseconds after each piece of up to 4 KiB.
    pub(crate) pause_ms: AtomicU64,
    /// Milliseconds between its own part of a TLS handshake and its first look at the client's.
    pub(crate) looks_after_ms: AtomicU64,
    /// It breaks off after so many bytes; 0 for never.
    pub(crate) break_after: AtomicU64,
    /// It reads nothing.
    pub(crate) is_stuck: AtomicBool,
    /// One connection breaks off now.
    pub(crate) breaks: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) manners: Arc<Manners>,
    /// Bytes of each connection.
    came: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Subjects of client certificates, in DER.
    pub(crate) clients: Arc<Mutex<Vec<Vec<u8>>>>,
    is_over: Arc<AtomicBool>,
}

impl Receiver {
    pub(crate) fn tcp() -> Self {
        Self::start(TcpListener::bind("127.0.0.1:0").unwrap(), None)
    }

    /// One whose kernel takes some kilobytes that it has not read, and no more.
    pub(crate) fn small() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(16).unwrap();
        Self::start(socket.into(), None)
    }

    pub(crate) fn tls(config: Arc<ServerConfig>) -> Self {
        Self::start(TcpListener::bind("127.0.0.1:0").unwrap(), Some(config))
    }

    /// One at an address where one was before.
    pub(crate) fn again(address: SocketAddr) -> Self {
        let start = std::time::Instant::now();
        loop {
            match TcpListener::bind(address) {
                Ok(listener) => return Self::start(listener, None),
                Err(error) => assert!(start.elapsed() < crate::host::SOON, "{error}"),
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn start(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            manners: Arc::default(),
            came: Arc::default(),
            clients: Arc::default(),
            is_over: Arc::default(),
        };
        listener.set_nonblocking(true).unwrap();
        let (manners, came) = (Arc::clone(&receiver.manners), Arc::clone(&receiver.came));
        let (clients, is_over) = (Arc::clone(&receiver.clients), Arc::clone(&receiver.is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                let place = {
                    let mut came = came.lock().unwrap();
                    came.push(Vec::new());
                    came.len() - 1
                };
                let (manners, came) = (Arc::clone(&manners), Arc::clone(&came));
                let (clients, is_over, tls) = (Arc::clone(&clients), Arc::clone(&is_over), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(stream, &manners, &came, place, &is_over),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        let mut stream = StreamOwned::new(connection, stream);
                        let pause = manners.looks_after_ms.load(Ordering::Relaxed);
                        if pause > 0 {
                            let StreamOwned { conn, sock } = &mut stream;
                            while !conn.wants_write() && conn.read_tls(sock).is_ok_and(|count| count > 0) {
                                conn.process_new_packets().unwrap();
                            }
                            while conn.wants_write() && conn.write_tls(sock).is_ok() {}
                            thread::sleep(Duration::from_millis(pause));
                        }
                        while stream.conn.is_handshaking() {
                            match stream.conn.complete_io(&mut stream.sock) {
                                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                                Err(_) => return,
                                Ok(_) => {}
                            }
                        }
                        if let Some([first, ..]) = stream.conn.peer_certificates() {
                            clients.lock().unwrap().push(first.to_vec());
                        }
                        serve(stream, &manners, &came, place, &is_over);
                    }
                });
            }
        });
        receiver
    }

    /// All bytes, of one connection after the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.came.lock().unwrap().concat()
    }

    /// All whole lines, of one connection after the other.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for connection in self.came.lock().unwrap().iter() {
            let end = connection.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let text = std::str::from_utf8(&connection[..end]).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    /// Texts of all lines of a source's own streams, and the number that notices tell of.
    pub(crate) fn texts(&self) -> (Vec<String>, u64) {
        let (mut texts, mut missing) = (Vec::new(), 0);
        for line in self.lines() {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let text = value["text"].as_str().unwrap();
            if value["stream"] == "lepton" {
                missing += text.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
            } else {
                texts.push(text.to_owned());
            }
        }
        (texts, missing)
    }

    pub(crate) fn connections(&self) -> usize {
        self.came.lock().unwrap().len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Ends a connection by a reset, as a host that crashed does.
trait Reset {
    fn reset(&self);
}

impl Reset for TcpStream {
    fn reset(&self) {
        let _ = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

impl Reset for StreamOwned<ServerConnection, TcpStream> {
    fn reset(&self) {
        self.sock.reset();
    }
}

fn serve(
    mut stream: impl Read + Reset,
    manners: &Manners,
    came: &Mutex<Vec<Vec<u8>>>,
    place: usize,
    is_over: &AtomicBool,
) {
    let mut piece = [0; 4096];
    while !is_over.load(Ordering::Relaxed) {
        if manners.breaks.swap(false, Ordering::Relaxed) {
            stream.reset();
            return;
        }
        if manners.is_stuck.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        match stream.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                let len = {
                    let mut came = came.lock().unwrap();
                    came[place].extend_from_slice(&piece[..count]);
                    came[place].len() as u64
                };
                let limit = manners.break_after.load(Ordering::Relaxed);
                if limit > 0 && len >= limit {
                    stream.reset();
                    return;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        let pause = manners.pause_ms.load(Ordering::Relaxed);
        if pause > 0 {
            thread::sleep(Duration::from_millis(pause));
        }
    }
    stream.reset();
}
