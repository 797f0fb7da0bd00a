//! One request from its head to the last byte of its response. However it ends, it is counted and logged then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::{Method, Uri};

use crate::endpoint::Endpoint;
use crate::peer::Peer;
use crate::router::Router;
use crate::stats::HostStats;

/// What a client that went away before there was a response is logged as, like nginx does it.
const CLIENT_GONE: u16 = 499;
/// Characters that are shown of a path, and of a method, which clients may invent.
const PATH_SHOWN: usize = 80;
const METHOD_SHOWN: usize = 16;

/// A request under way.
pub(crate) struct Record {
    /// The router.
    pub(crate) router: Arc<Router>,
    /// Whose it is.
    pub(crate) peer: Arc<Peer>,
    started: Instant,
    method: Method,
    uri: Uri,
    host: String,
    stats: Option<Arc<HostStats>>,
    /// Status of the response.
    pub(crate) status: Option<u16>,
    /// Bytes of the response's body.
    pub(crate) bytes: u64,
    /// Who was asked.
    pub(crate) target: Option<Arc<Endpoint>>,
    /// What went wrong with an instance.
    pub(crate) failure: Option<String>,
    /// Whether the response has been passed on to its end.
    pub(crate) is_complete: bool,
}

impl Record {
    /// A head has come in.
    pub(crate) fn begin(router: &Arc<Router>, peer: &Arc<Peer>, method: &Method, uri: &Uri) -> Self {
        peer.meter.request_began();
        router.totals.under_way.fetch_add(1, Ordering::Relaxed);
        Self {
            router: Arc::clone(router),
            peer: Arc::clone(peer),
            started: Instant::now(),
            method: method.clone(),
            uri: uri.clone(),
            host: String::new(),
            stats: None,
            status: None,
            bytes: 0,
            target: None,
            failure: None,
            is_complete: false,
        }
    }

    /// It is for that host.
    pub(crate) fn is_for(&mut self, host: &str) {
        host.clone_into(&mut self.host);
    }

    /// It is counted there.
    pub(crate) fn counts_for(&mut self, stats: &Arc<HostStats>) {
        self.stats = Some(Arc::clone(stats));
    }

    /// `CLIENT METHOD HOST/PATH STATUS BYTES TIME [POD] [(FAILURE)] [cut]`; no query, which may hold secrets.
    fn line(&self, status: u16) -> String {
        let cut =
            |text: &'_ str, most: usize| text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
        let (path, method) = (self.uri.path(), self.method.as_str());
        let shown = &path[..cut(path, PATH_SHOWN)];
        let mut line = format!(
            "{} {} {}{shown}{} {status} {}B {}ms",
            self.peer.address,
            &method[..cut(method, METHOD_SHOWN)],
            self.host,
            if shown.len() < path.len() { "…" } else { "" },
            self.bytes,
            self.started.elapsed().as_millis()
        );
        if let Some(target) = &self.target {
            line.push_str(&format!(" {}", target.name));
        }
        if let Some(failure) = &self.failure {
            line.push_str(&format!(" ({failure})"));
        }
        if self.status.is_some() && !self.is_complete {
            line.push_str(" cut");
        }
        line
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(CLIENT_GONE);
        self.stats.as_ref().unwrap_or(&self.router.unknown).count(status, self.started.elapsed());
        self.router.totals.under_way.fetch_sub(1, Ordering::Relaxed);
        self.peer.meter.request_ended();
        self.router.access.request(status, Instant::now(), || self.line(status));
    }
}
