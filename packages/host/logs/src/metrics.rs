//! Figures in the text format of Prometheus, on a socket for root.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

use crate::buffer::Figures;
use crate::intake::ReadFigures;
use crate::send::Destination;
use crate::source::Source;

/// A client of this socket is on the host.
const PATIENCE: Duration = Duration::from_secs(10);

/// All figures.
#[derive(Debug)]
pub struct Metrics {
    /// By source.
    pub read: Arc<ReadFigures>,
    /// By destination.
    pub destinations: Vec<Arc<Destination>>,
}

/// A socket at that path, for its owner alone.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // It appears under its name when it is closed to others.
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

/// Answers every request with the figures.
pub async fn serve(metrics: Arc<Metrics>, listener: UnixListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            let service = service_fn(|_: Request<Incoming>| {
                let mut response = Response::new(metrics.text());
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let connection = http1::Builder::new()
                .keep_alive(false)
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(PATIENCE, connection).await;
        });
    }
}

/// A figure of each destination: its name, kind, help, and where it is.
type OfDestination = (&'static str, &'static str, &'static str, fn(&Destination, &Figures) -> u64);

const OF_DESTINATIONS: [OfDestination; 9] = [
    ("sent_lines_total", "counter", "Lines that a destination has, since its buffer was made.", |_, it| {
        it.sent
    }),
    (
        "dropped_lines_total",
        "counter",
        "Lines that a destination will not have, since its buffer was made.",
        |_, it| it.dropped,
    ),
    ("refused_lines_total", "counter", "Dropped lines that the destination did not want.", |_, it| {
        it.refused
    }),
    ("unwritten_lines_total", "counter", "Dropped lines that the buffer's disk did not take.", |_, it| {
        it.unwritten
    }),
    ("buffered_lines", "gauge", "Lines that wait for a destination.", |_, it| it.waiting),
    ("buffered_bytes", "gauge", "Bytes of a destination's buffer.", |_, it| it.bytes),
    ("sent_bytes_total", "counter", "Bytes that a destination has, without TLS.", |to, _| {
        to.figures.bytes.load(Ordering::Relaxed)
    }),
    ("retries_total", "counter", "Connections and requests that failed.", |to, _| {
        to.figures.retries.load(Ordering::Relaxed)
    }),
    ("connected", "gauge", "Whether there is a connection to a destination.", |to, _| {
        to.figures.is_connected.load(Ordering::Relaxed).into()
    }),
];

impl Metrics {
    /// The text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let read = self.read.all();
        head(&mut text, "read_lines_total", "counter", "Lines of a source that were read and passed on.");
        for (key, read) in &read {
            let _ = writeln!(text, "lepton_logs_read_lines_total{{{}}} {}", labels(key), read.lines);
        }
        head(&mut text, "left_out_lines_total", "counter", "Lines of a source that were too many at once.");
        for (key, read) in &read {
            let _ = writeln!(text, "lepton_logs_left_out_lines_total{{{}}} {}", labels(key), read.left_out);
        }
        let figures: Vec<_> = self.destinations.iter().map(|it| (it, it.buffer.figures())).collect();
        for (name, kind, help, value) in OF_DESTINATIONS {
            head(&mut text, name, kind, help);
            for (to, figures) in &figures {
                let value = value(to, figures);
                let _ = writeln!(text, "lepton_logs_{name}{{destination=\"{}\"}} {value}", to.name);
            }
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP lepton_logs_{name} {help}\n# TYPE lepton_logs_{name} {kind}\n");
}

/// Names hold no quotes: they are of the machine config or of Kubernetes. A folder that somebody else made may.
fn labels(key: &str) -> String {
    let plain = |text: &str| text.replace(['"', '\\', '\n'], "_");
    let mut labels = Vec::new();
    let mut add = |name: &str, value: &str| labels.push(format!("{name}=\"{}\"", plain(value)));
    match Source::from_key(key) {
        Some(source) => {
            if let Some(unit) = source.unit() {
                add("unit", unit);
            }
            if let Source::Pod { namespace, pod, restart, .. } = &source {
                add("namespace", namespace);
                add("pod", pod);
                add("restart", &restart.to_string());
            }
            if let Some(container) = source.container() {
                add("container", container);
            }
        }
        None => add("unit", key),
    }
    labels.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_sources() {
        assert_eq!(labels("kernel"), "unit=\"kernel\"");
        assert_eq!(
            labels("pods/shop/web-1/c7e4/a\"b/2"),
            "namespace=\"shop\",pod=\"web-1\",restart=\"2\",container=\"a_b\""
        );
        assert_eq!(labels("containers/web"), "unit=\"web\",container=\"web\"");
    }
}
