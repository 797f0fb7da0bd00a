//! One HTTP/1.1 request and its answer (RFC 9112): GET, with everything that is read bounded.

use std::io::{self, BufRead, BufReader, Read, Write};

use crate::fetch::FetchError;
use crate::url::Url;

/// Bytes of a status line and all header lines; servers send some hundred.
const MAX_HEAD: u64 = 32 * 1024;

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Where it sends us instead.
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// How the end of a body is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    Chunked,
    UntilClose,
}

/// Asks for `url` over `stream`; the body has `limit` bytes at most. The body of anything but a success is not read.
pub(crate) fn get(stream: impl Read + Write, url: &Url, limit: u64) -> Result<Answer, FetchError> {
    let mut stream = BufReader::new(stream);
    let authorization = url.authorization.as_ref().map(|value| format!("Authorization: {value}\r\n"));
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lepton\r\nAccept: */*\r\nAccept-Encoding: identity\r\n{}Connection: close\r\n\r\n",
        url.target,
        url.authority(),
        authorization.unwrap_or_default(),
    );
    stream.get_mut().write_all(request.as_bytes()).map_err(FetchError::Exchange)?;
    stream.get_mut().flush().map_err(FetchError::Exchange)?;
    let mut left = MAX_HEAD;
    let mut status = status(&line(&mut stream, &mut left)?)?;
    let mut head = header(&mut stream, &mut left)?;
    // Interim answers (RFC 9110 section 15.2) are followed by the real one.
    while (100..200).contains(&status) {
        status = self::status(&line(&mut stream, &mut left)?)?;
        head = header(&mut stream, &mut left)?;
    }
    let (location, length) = head;
    let body = if status == 200 { body(&mut stream, length, limit)? } else { Vec::new() };
    Ok(Answer { status, location, body })
}

/// One line without its end.
fn line(stream: &mut impl BufRead, left: &mut u64) -> Result<String, FetchError> {
    let mut bytes = Vec::new();
    let count = stream.take(*left).read_until(b'\n', &mut bytes).map_err(FetchError::Exchange)?;
    *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    if bytes.pop() != Some(b'\n') {
        return Err(FetchError::NotHttp(if *left == 0 {
            "its head is too long"
        } else {
            "it ends in its head"
        }));
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| FetchError::NotHttp("its head is not text"))
}

fn status(line: &str) -> Result<u16, FetchError> {
    let mut words = line.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let number = words.next().filter(|word| word.len() == 3).and_then(|word| word.parse().ok());
    number.filter(|_| is_http).ok_or(FetchError::NotHttp("it has no status line of HTTP/1"))
}

/// The header fields that matter: `Location`, and the length of the body.
fn header(stream: &mut impl BufRead, left: &mut u64) -> Result<(Option<String>, Length), FetchError> {
    let mut location = None;
    let mut length = Length::UntilClose;
    loop {
        let line = line(stream, left)?;
        if line.is_empty() {
            return Ok((location, length));
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(FetchError::NotHttp("a header line has no colon"));
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "location" => location = Some(value.to_owned()),
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => length = Length::Chunked,
            "transfer-encoding" => return Err(FetchError::NotHttp("it has an unknown transfer coding")),
            "content-encoding" if !value.eq_ignore_ascii_case("identity") => {
                return Err(FetchError::NotHttp("it is compressed although that was not asked for"));
            }
            // A transfer coding is stronger than a length (RFC 9112 section 6.3).
            "content-length" if length != Length::Chunked => {
                let number = value.parse().map_err(|_| FetchError::NotHttp("its length is not a number"))?;
                length = Length::Bytes(number);
            }
            _ => {}
        }
    }
}

fn body(stream: &mut impl BufRead, length: Length, limit: u64) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    match length {
        Length::Bytes(count) if count > limit => return Err(FetchError::TooLarge { limit }),
        Length::Bytes(count) => exactly(stream, count, &mut body)?,
        Length::UntilClose => {
            stream.take(limit + 1).read_to_end(&mut body).map_err(FetchError::Exchange)?;
        }
        Length::Chunked => {
            let mut left = limit;
            loop {
                // Extensions of chunks and trailers are bounded by the same number as a head.
                let mut head = MAX_HEAD;
                let line = line(stream, &mut head)?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size =
                    u64::from_str_radix(size, 16).map_err(|_| FetchError::NotHttp("a chunk has no size"))?;
                left = left.checked_sub(size).ok_or(FetchError::TooLarge { limit })?;
                if size == 0 {
                    break;
                }
                exactly(stream, size, &mut body)?;
                if !self::line(stream, &mut head)?.is_empty() {
                    return Err(FetchError::NotHttp("a chunk is longer than its size"));
                }
            }
        }
    }
    if u64::try_from(body.len()).is_ok_and(|length| length > limit) {
        return Err(FetchError::TooLarge { limit });
    }
    Ok(body)
}

fn exactly(stream: &mut impl BufRead, count: u64, body: &mut Vec<u8>) -> Result<(), FetchError> {
    let read = stream.take(count).read_to_end(body).map_err(FetchError::Exchange)?;
    if u64::try_from(read) == Ok(count) {
        return Ok(());
    }
    Err(FetchError::Exchange(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the server closed the connection early",
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::Wanted;

    /// What is read, and what was written.
    struct Wire<'a>(&'a [u8], Vec<u8>);

    impl Read for Wire<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            // One byte at a time: no reader may count on more.
            self.0.read(buffer.get_mut(..1).unwrap_or_default())
        }
    }

    impl Write for Wire<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask(answer: &str) -> Result<Answer, String> {
        let url = Wanted::parse("http://u:p@a:81/c?x").unwrap().url;
        let mut wire = Wire(answer.as_bytes(), Vec::new());
        let answer = get(&mut wire as &mut dyn Duplex, &url, 10).map_err(|error| error.to_string());
        let sent = String::from_utf8(wire.1).unwrap();
        assert!(sent.starts_with("GET /c?x HTTP/1.1\r\nHost: a:81\r\n"), "{sent}");
        assert!(sent.contains("\r\nAuthorization: Basic dTpw\r\n") && sent.ends_with("\r\n\r\n"), "{sent}");
        answer
    }

    trait Duplex: Read + Write {}
    impl<T: Read + Write> Duplex for T {}

    #[test]
    fn bodies() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.0 200\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\nContent-Length: 1\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:3\r\n\r\nabcdef",
            "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
        ] {
            assert_eq!(ask(answer).unwrap().body, b"abc", "{answer}");
        }
        let moved = ask("HTTP/1.1 302 Found\r\nLocation: /d\r\nContent-Length: 99\r\n\r\n").unwrap();
        assert_eq!(moved, Answer { status: 302, location: Some("/d".into()), body: Vec::new() });
    }

    #[test]
    fn what_is_no_answer() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000));
        for (answer, error) in [
            ("", "it ends in its head"),
            ("SSH-2.0-OpenSSH\r\n", "no status line"),
            ("HTTP/1.1 20 OK\r\n\r\n", "no status line"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", "closed the connection early"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nabc", "not a number"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", "larger than 10 bytes"),
            ("HTTP/1.1 200 OK\r\n\r\n12345678901", "larger than 10 bytes"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                "larger than 10 bytes",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
                "longer than its size",
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "it ends in its head"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "unknown transfer coding"),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", "compressed"),
            (&long, "too long"),
        ] {
            let said = ask(answer).unwrap_err();
            assert!(said.contains(error), "{said}: {answer:.60}");
        }
    }
}
