//! Figures of the router in the text format of Prometheus, on a socket for root.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

use crate::router::Router;
use crate::stats::{BOUNDS, HostStats};

/// A client of this socket is on the host.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket at that path, for its owner alone.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
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
pub(crate) async fn serve(router: Arc<Router>, listener: UnixListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let router = Arc::clone(&router);
        tokio::spawn(async move {
            let service = service_fn(|_: Request<Incoming>| {
                let mut response = Response::new(text(&router));
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

fn text(router: &Router) -> String {
    let mut text = String::new();
    let table = router.table();
    let mut hosts: Vec<(&str, &HostStats)> =
        table.routes().map(|route| (&*route.host, &*route.stats)).collect();
    hosts.push(("", &router.unknown));

    head(&mut text, "requests_total", "counter", "Requests by host and status; 499: the client went away.");
    for (host, stats) in &hosts {
        for (code, count) in stats.figures().codes {
            let _ = writeln!(text, "lepton_route_requests_total{{host=\"{host}\",code=\"{code}\"}} {count}");
        }
    }
    head(&mut text, "request_seconds", "histogram", "From a request's head to the end of its response.");
    for (host, stats) in &hosts {
        histogram(&mut text, host, stats);
    }
    head(&mut text, "endpoints", "gauge", "Instances that take requests.");
    for route in table.routes() {
        let count = route.endpoints.len();
        let _ = writeln!(text, "lepton_route_endpoints{{host=\"{}\"}} {count}", route.host);
    }
    let totals = &router.totals;
    let plain: [(&str, &str, &str, &AtomicU64); 7] = [
        ("connections", "gauge", "Connections of clients.", &totals.connections),
        ("requests_under_way", "gauge", "Requests and upgraded connections under way.", &totals.under_way),
        (
            "connections_turned_away_total",
            "counter",
            "Connections closed because a client had too many.",
            &totals.turned_away,
        ),
        ("retries_total", "counter", "Requests sent again after a failure.", &totals.retries),
        ("kubelet_up", "gauge", "Whether kubelet answers.", &totals.is_kubelet_up),
        ("kubelet_polls_total", "counter", "Lists of pods that were asked for.", &totals.polls),
        ("kubelet_failed_polls_total", "counter", "Lists of pods that did not come.", &totals.failed_polls),
    ];
    for (name, kind, help, value) in plain {
        head(&mut text, name, kind, help);
        let _ = writeln!(text, "lepton_route_{name} {}", value.load(Ordering::Relaxed));
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP lepton_route_{name} {help}\n# TYPE lepton_route_{name} {kind}\n");
}

fn histogram(text: &mut String, host: &str, stats: &HostStats) {
    let figures = stats.figures();
    let mut so_far = 0;
    for (place, count) in figures.buckets.iter().enumerate() {
        so_far += count;
        let bound = BOUNDS.get(place).map_or("+Inf".to_owned(), f64::to_string);
        let _ =
            writeln!(text, "lepton_route_request_seconds_bucket{{host=\"{host}\",le=\"{bound}\"}} {so_far}");
    }
    let _ = writeln!(text, "lepton_route_request_seconds_sum{{host=\"{host}\"}} {}", figures.seconds);
    let _ = writeln!(text, "lepton_route_request_seconds_count{{host=\"{host}\"}} {so_far}");
}
