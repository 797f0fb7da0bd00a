//! One GET over a stream, HTTP/1.0, so that the answer ends where the connection does.

use std::io::{Read, Write};

/// Nothing that is asked for here is longer.
const MAX_BYTES: u64 = 1 << 20;

/// The body of the answer; what went wrong as a sentence.
pub(super) fn get(stream: &mut (impl Read + Write), host: &str, path: &str) -> Result<Vec<u8>, String> {
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\nUser-Agent: lepton\r\n\r\n"
    );
    let cannot = |error: std::io::Error| format!("GET {path}: {error}");
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(cannot)?;
    let mut answer = Vec::new();
    // Servers that end without TLS's own end: the length of the body says whether all of it is there.
    if let Err(error) = stream.take(MAX_BYTES).read_to_end(&mut answer)
        && error.kind() != std::io::ErrorKind::UnexpectedEof
    {
        return Err(cannot(error));
    }
    body(&answer).map(<[u8]>::to_vec).map_err(|what| format!("GET {path}: {what}"))
}

fn body(answer: &[u8]) -> Result<&[u8], String> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("the answer is no HTTP")?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| "the answer is no HTTP")?;
    let body = &answer[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    if status != "200" {
        return Err(format!("the answer is {status}"));
    }
    let fields = lines.filter_map(|line| line.split_once(':'));
    let len = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, len)| len.trim().parse().ok());
    match len {
        Some(len) if body.len() < len => Err(format!("{} of {len} bytes came", body.len())),
        _ => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Ok("hi")),
            ("HTTP/1.0 200 OK\r\n\r\nhi", Ok("hi")),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", Err("2 of 3 bytes came")),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", Err("the answer is 403")),
            ("SSH-2.0", Err("the answer is no HTTP")),
        ] {
            let got = body(answer.as_bytes()).map(|body| std::str::from_utf8(body).unwrap().to_owned());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{answer}");
        }
    }
}
