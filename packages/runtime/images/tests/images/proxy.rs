//! A small HTTP proxy: CONNECT, and whole addresses for plain HTTP, one request for each connection. It alone knows where
//! names lead, wants a user and a password, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A running proxy. It ends with the test's process.
pub(crate) struct HttpProxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What all connections share.
struct Rules {
    /// Ports of this host, by the `HOST:PORT` that is asked for.
    places: BTreeMap<String, u16>,
    /// The value of `Proxy-Authorization`.
    authorization: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpProxy {
    pub(crate) fn start(places: &[(&str, u16)], authorization: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let rules = Arc::new(Rules {
            places: places.iter().map(|(place, port)| ((*place).to_owned(), *port)).collect(),
            authorization: authorization.to_owned(),
            asked: asked.clone(),
        });
        let proxy = Self { port: listener.local_addr().unwrap().port(), asked };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let rules = rules.clone();
                std::thread::spawn(move || rules.serve(stream));
            }
        });
        proxy
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// First lines of requests, behind the status that the proxy gave each.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Rules {
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let first = head.lines().next().unwrap();
        let target = first.split(' ').nth(1).unwrap();
        let is_tunnel = first.starts_with("CONNECT ");
        let place = match is_tunnel {
            true => target.to_owned(),
            false => target.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned(),
        };
        let wanted = format!("proxy-authorization: {}", self.authorization);
        let is_known = head.lines().any(|line| line.eq_ignore_ascii_case(&wanted));
        let port = self.places.get(&place);
        let status = match (is_known, port) {
            (false, _) => 407,
            (true, None) => 502,
            (true, Some(_)) => 200,
        };
        self.asked.lock().unwrap().push(format!("{status} {first}"));
        let Some(port) = port.filter(|_| is_known) else {
            let refusal = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return client.write_all(refusal.as_bytes()).ok();
        };
        let mut server = TcpStream::connect(("127.0.0.1", *port)).ok()?;
        if is_tunnel {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
            let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        } else {
            server.write_all(head.as_bytes()).ok()?;
            server.shutdown(Shutdown::Write).ok()?;
        }
        let _ = std::io::copy(&mut server, &mut client);
        client.shutdown(Shutdown::Both).ok()
    }
}
