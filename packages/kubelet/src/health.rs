//! Asks kubelet whether it is well: its healthz, on this host alone and in plain HTTP.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ADDRESS: (&str, u16) = ("127.0.0.1", 10248);
/// A busy host answers late.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether it says that it is.
pub(crate) async fn is_well() -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(ADDRESS).await?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, ask).await;
    matches!(answer, Ok(Ok(answer)) if says_ok(&answer))
}

fn says_ok(answer: &[u8]) -> bool {
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    line.starts_with(b"HTTP/1.") && line.get(8..12) == Some(b" 200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert!(says_ok(b"HTTP/1.0 200 OK\r\n\r\nok"));
        assert!(says_ok(b"HTTP/1.1 200 OK\r\n\r\nok"));
        for bad in [&b""[..], b"HTTP/1.1 500 Internal Server Error\r\n\r\n", b"HTTP/1.1", b"hello 200"] {
            assert!(!says_ok(bad));
        }
    }
}
