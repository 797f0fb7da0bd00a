//! OTLP over HTTP/1.1 (OTLP specification 1.x, "OTLP/HTTP", binary encoding): one request at a time, whose answer says whether
//! the destination has the lines.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use lepton_config::LogCompression;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::deliver::with_records;
use super::{Destination, End, LAST_WORDS, SendError, connect, over};
use crate::buffer::{Item, Reader};
use crate::clock;
use crate::format::otlp::{self, Otlp};

/// Bytes and records of one request.
const REQUEST_BYTES: usize = 1 << 20;
const REQUEST_RECORDS: usize = 8192;
/// From a request's first byte to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer holds two numbers and a sentence.
const ANSWER_MAX: usize = 64 << 10;
/// A wait that a destination may ask for.
const LONGEST_WAIT: u64 = 60;

/// What an answer means for the lines of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has them, but for so many.
    Taken(u64),
    /// It will never have them.
    Refused,
    /// They are to be sent again, after a wait that it may have named.
    Again(Option<Duration>),
}

/// What an answer means (OTLP/HTTP, "Full Success", "Partial Success", "Failures").
pub fn verdict(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Taken(otlp::rejected(body)),
        429 | 502 | 503 | 504 => {
            let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            Verdict::Again(after.map(|seconds| Duration::from_secs(seconds.min(LONGEST_WAIT))))
        }
        _ => Verdict::Refused,
    }
}

/// One connection, from its beginning to its end.
pub(super) async fn session(destination: &Destination, end: &mut End) -> Result<Infallible, SendError> {
    let (mut sender, driving) = tokio::select! {
        opened = async { Ok::<_, SendError>(open(connect::connect(destination).await?.io).await?) } => opened?,
        () = over(end) => return Err(SendError::Over),
    };
    destination.connected();
    let mut driving = tokio::spawn(driving);
    let result = tokio::select! {
        result = requests(destination, &mut sender) => result,
        () = over(end) => Err(SendError::Over),
    };
    drop(sender);
    if matches!(result, Err(SendError::Over)) {
        // Without a sender it closes the connection.
        let _ = timeout(LAST_WORDS, &mut driving).await;
    }
    driving.abort();
    result
}

type Driving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn open(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<(SendRequest<Full<Bytes>>, Driving), hyper::Error> {
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    // Its end is the end of the requests on it.
    Ok((sender, Box::pin(async move { drop(connection.await) })))
}

async fn requests(
    destination: &Destination,
    sender: &mut SendRequest<Full<Bytes>>,
) -> Result<Infallible, SendError> {
    let mut reader = destination.buffer.reader();
    loop {
        let (items, body) = gather(destination, &mut reader)?;
        if items.is_empty() {
            tokio::select! {
                () = destination.buffer.wait() => continue,
                () = closed(sender) => return Err(SendError::Closed),
            }
        }
        let verdict = if body.is_empty() {
            // Places alone.
            Verdict::Taken(0)
        } else {
            let body = Body::new(body, destination.compression).await;
            let len = body.bytes.len() as u64;
            let (status, verdict) = ask(destination, sender, body).await?;
            match verdict {
                Verdict::Again(after) => return Err(SendError::Again { status: status.as_u16(), after }),
                Verdict::Taken(_) => drop(destination.figures.bytes.fetch_add(len, Ordering::Relaxed)),
                Verdict::Refused => {
                    crate::say::say(format_args!(
                        "{}: answers {status} and will not have {} lines, which are dropped",
                        destination.name,
                        items.iter().map(lines).sum::<u64>()
                    ));
                }
            }
            verdict
        };
        let mut refused = match verdict {
            Verdict::Taken(refused) => refused,
            _ => u64::MAX,
        };
        for item in &items {
            let of_item = refused.min(lines(item));
            refused -= of_item;
            destination.buffer.acked(item, &mut reader, of_item).map_err(SendError::Buffer)?;
        }
    }
}

fn lines(item: &Item) -> u64 {
    match item {
        Item::Lines { lines, .. } => (*lines).into(),
        Item::Notice { .. } => 0,
    }
}

/// The end of the connection while nothing is asked.
async fn closed(sender: &mut SendRequest<Full<Bytes>>) {
    while sender.ready().await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The items of the next request, and its body.
fn gather(destination: &Destination, reader: &mut Reader) -> Result<(Vec<Item>, Bytes), SendError> {
    let (mut items, mut request, now) = (Vec::new(), Otlp::default(), clock::now_ns());
    while request.bytes < REQUEST_BYTES && request.records < REQUEST_RECORDS {
        let Some(mut item) = destination.buffer.next(reader).map_err(SendError::Buffer)? else { break };
        with_records(&item, |speaker, records| request.push(speaker, records, now));
        if let Item::Lines { frame, .. } = &mut item {
            *frame = Vec::new();
        }
        items.push(item);
    }
    let body = if request.records == 0 { Bytes::new() } else { request.encode().into() };
    Ok((items, body))
}

async fn ask(
    destination: &Destination,
    sender: &mut SendRequest<Full<Bytes>>,
    body: Body,
) -> Result<(StatusCode, Verdict), SendError> {
    let path = format!("{}/v1/logs", destination.prefix);
    exchange(sender, &destination.authority, &path, body).await
}

/// What a request brings.
#[derive(Debug)]
struct Body {
    bytes: Bytes,
    /// Whether they are gzip.
    is_packed: bool,
}

impl Body {
    /// Compresses beside the tasks of other destinations, which need not wait.
    async fn new(bytes: Bytes, compression: LogCompression) -> Self {
        if compression == LogCompression::None {
            return Self { bytes, is_packed: false };
        }
        let plain = bytes.clone();
        let packed = tokio::task::spawn_blocking(move || pack(&plain)).await;
        match packed {
            Ok(Ok(packed)) => Self { bytes: packed.into(), is_packed: true },
            _ => Self { bytes, is_packed: false },
        }
    }
}

/// Logs are long and repeat themselves: the fastest level does nearly all there is to do.
fn pack(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// One request and the answer to it.
async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    host: &str,
    path: &str,
    body: Body,
) -> Result<(StatusCode, Verdict), SendError> {
    let mut request = Request::post(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/x-protobuf")
        .header(ACCEPT, "application/x-protobuf");
    if body.is_packed {
        request = request.header(CONTENT_ENCODING, "gzip");
    }
    let request = request.body(Full::new(body.bytes)).map_err(|error| SendError::Tls(error.to_string()))?;
    let asking = async {
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok::<_, SendError>((status, verdict(status, &headers, &read(response).await)))
    };
    timeout(PATIENCE, asking).await.map_err(|_| SendError::Stalled(PATIENCE.as_secs()))?
}

/// A body; one that is too long or breaks off says nothing.
async fn read(response: Response<Incoming>) -> Bytes {
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

/// What a destination at the other end of `io` answers to a request, for tests with answers that nobody would give.
pub async fn converse(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Option<Verdict> {
    let (mut sender, driving) = open(io).await.ok()?;
    let driving = tokio::spawn(driving);
    let body = Body { bytes: Bytes::from_static(b"x"), is_packed: false };
    let answer = exchange(&mut sender, "logs.example", "/v1/logs", body).await;
    driving.abort();
    answer.ok().map(|(_, verdict)| verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let of = |status: u16, after: Option<&'static str>, body: &[u8]| {
            let mut headers = HeaderMap::new();
            if let Some(after) = after {
                headers.insert(RETRY_AFTER, after.parse().unwrap());
            }
            verdict(StatusCode::from_u16(status).unwrap(), &headers, body)
        };
        assert_eq!(of(200, None, b""), Verdict::Taken(0));
        assert_eq!(of(200, None, b"\x0a\x02\x08\x05"), Verdict::Taken(5));
        assert_eq!(of(429, Some("7"), b""), Verdict::Again(Some(Duration::from_secs(7))));
        assert_eq!(of(503, Some("99999999"), b""), Verdict::Again(Some(Duration::from_secs(60))));
        assert_eq!(of(502, Some("Fri, 31 Dec 1999 23:59:59 GMT"), b""), Verdict::Again(None));
        for status in [400, 401, 404, 413, 500, 301] {
            assert_eq!(of(status, None, b""), Verdict::Refused, "{status}");
        }
    }
}
