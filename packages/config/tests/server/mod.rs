//! A web server for tests, in this program and on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// What the tests serve.
pub(crate) const CONFIG: &str = "hostname = \"edge-url\"\n";

/// A success with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Answers the one request of a connection as `answer` says for its target.
pub(crate) fn serve(mut stream: impl Read + Write, answer: impl Fn(&str) -> String) {
    let mut request = String::new();
    let mut reader = BufReader::new(&mut stream);
    while reader.read_line(&mut request).is_ok_and(|count| count > 2) {}
    let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
    // A client may go before it has heard everything.
    let _ = stream.write_all(answer(&target).as_bytes()).and_then(|()| stream.flush());
}

/// Gives every connection to `handle`, for the rest of the program.
pub(crate) fn listen(handle: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || listener.incoming().flatten().for_each(handle));
    address
}
