//! One request: whom it is for, which instance takes it, and what the client gets.
//!
//! It is sent again only when it was not sent yet, or when it may be made twice and has no body.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HOST, HeaderValue, LOCATION, UPGRADE};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::upgrade::OnUpgrade;

use crate::endpoint::{Endpoint, Sender, Wish};
use crate::headers::{self, Target};
use crate::meter::millis;
use crate::peer::{Peer, Scheme};
use crate::record::Record;
use crate::reply::{Lease, Reply, text};
use crate::router::Router;
use crate::table::Route;
use crate::tunnel;
use crate::upload::{Progress, Upload};

/// Instances that are asked for one request.
const ATTEMPTS: usize = 3;
/// Requests under way; a connection may have many of them.
const UNDER_WAY: u64 = 8192;

/// Answers a request.
pub(crate) async fn handle(
    router: Arc<Router>,
    peer: Arc<Peer>,
    mut request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let mut record = Record::begin(&router, &peer, request.method(), request.uri());
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let target = match headers::target(&parts).and_then(|target| headers::check_body(&parts).map(|()| target))
    {
        Ok(target) => target,
        Err(refusal) => return Ok(refused(record, refusal)),
    };
    record.is_for(&target.authority);
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Ok(text(record, StatusCode::METHOD_NOT_ALLOWED, "this method is not passed on"));
    }
    if router.totals.under_way.load(Ordering::Relaxed) > UNDER_WAY {
        return Ok(text(record, StatusCode::SERVICE_UNAVAILABLE, "too many requests are under way"));
    }
    let table = router.table();
    let Some(route) = table.find(&target.host) else {
        return Ok(text(record, StatusCode::NOT_FOUND, "nobody answers for this host name"));
    };
    record.counts_for(&route.stats);
    if let Some(place) = https_place(&router, &peer, &parts, &target) {
        let mut response = text(record, StatusCode::PERMANENT_REDIRECT, "see HTTPS");
        response.headers_mut().insert(LOCATION, place);
        return Ok(response);
    }
    let upgrade = headers::wanted_upgrade(&parts);
    let on_upgrade = upgrade.is_some().then_some(on_upgrade);
    headers::make_request(&mut parts, &target, &peer, upgrade);
    Ok(pass_on(record, route, Asked { target, parts, body, on_upgrade }).await)
}

/// Refuses what is no good request, and takes no other one over that connection.
fn refused(record: Record, refusal: &str) -> Response<Reply> {
    let mut response = text(record, StatusCode::BAD_REQUEST, refusal);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Where a plain request is sent to, if it is.
fn https_place(router: &Router, peer: &Peer, parts: &Parts, target: &Target) -> Option<HeaderValue> {
    let settings = router.settings();
    let is_plain = headers::client_scheme(&parts.headers, peer) == Scheme::Http;
    if !settings.redirect_https || !is_plain || !settings.covers(&target.host) {
        return None;
    }
    let port = settings.listen_tls.first().map(|address| address.port()).filter(|port| *port != 443);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    HeaderValue::try_from(format!("https://{}{port}{path}", target.host)).ok()
}

/// A request with the headers that an instance gets.
struct Asked {
    target: Target,
    parts: Parts,
    body: Incoming,
    /// The client's connection, when it wants to change the protocol on it.
    on_upgrade: Option<OnUpgrade>,
}

/// Why an instance gave no response.
enum Unanswered {
    TimedOut,
    Failed(Box<TrySendError<Request<Upload>>>),
}

async fn pass_on(mut record: Record, route: &Route, asked: Asked) -> Response<Reply> {
    let Asked { target, parts, body, on_upgrade } = asked;
    let (upload, progress) = Upload::of(body);
    let is_repeatable = headers::is_repeatable(&parts.method) && progress.is_none() && on_upgrade.is_none();
    let mut wish = match on_upgrade {
        Some(_) => Wish::Upgrade,
        None if is_repeatable => Wish::Any,
        None => Wish::Young,
    };
    let mut request = Request::new(upload);
    *request.method_mut() = parts.method;
    *request.headers_mut() = parts.headers;
    let patience = record.router.settings().response_timeout;

    let mut tried: Vec<Arc<Endpoint>> = Vec::new();
    while tried.len() < ATTEMPTS {
        let Some(endpoint) = route.pick(&tried, Instant::now()).map(Arc::clone) else { break };
        if record.failure.is_some() {
            record.router.totals.retries.fetch_add(1, Ordering::Relaxed);
        }
        record.target = Some(Arc::clone(&endpoint));
        let (mut sender, was_used) = match endpoint.connection(wish).await {
            Ok(connection) => connection,
            Err(error) => {
                endpoint.has_failed(Instant::now());
                record.failure = Some(error.to_string());
                tried.push(endpoint);
                continue;
            }
        };
        endpoint.has_answered();
        set_target(&mut request, &sender, &parts.uri, &target);
        let spare = is_repeatable.then(|| copy(&request));
        match send(&mut sender, request, progress.as_deref(), patience).await {
            Ok(response) => {
                return answer(record, response, Lease { endpoint, sender, progress }, on_upgrade);
            }
            Err(Unanswered::TimedOut) => {
                return text(record, StatusCode::GATEWAY_TIMEOUT, "the instance did not answer in time");
            }
            Err(Unanswered::Failed(mut error)) => {
                let unsent = error.take_message();
                record.failure = Some(error.error().to_string());
                let Some(again) = unsent.or(spare) else { break };
                request = again;
                // A connection that had waited was closed meanwhile, which says nothing of the instance.
                if was_used {
                    wish = Wish::Fresh;
                } else {
                    tried.push(endpoint);
                }
            }
        }
    }
    if record.failure.is_none() {
        text(record, StatusCode::SERVICE_UNAVAILABLE, "no instance is ready")
    } else {
        text(record, StatusCode::BAD_GATEWAY, "no instance answered")
    }
}

/// Writes whom the request is for as the connection's protocol has it.
fn set_target(request: &mut Request<Upload>, sender: &Sender, uri: &Uri, target: &Target) {
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    match sender {
        Sender::Http1(_) => {
            *request.version_mut() = Version::HTTP_11;
            *request.uri_mut() = path.into();
            if let Ok(host) = HeaderValue::try_from(&target.authority) {
                request.headers_mut().insert(HOST, host);
            }
        }
        Sender::Http2(_) => {
            *request.version_mut() = Version::HTTP_2;
            let whole =
                Uri::builder().scheme("http").authority(&*target.authority).path_and_query(path).build();
            *request.uri_mut() = whole.unwrap_or_default();
            request.headers_mut().remove(HOST);
        }
    }
}

/// The same request; it has no body.
fn copy(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::default());
    *copy.method_mut() = request.method().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Sends a request and waits for the head of its response, as long as its body moves.
async fn send(
    sender: &mut Sender,
    request: Request<Upload>,
    progress: Option<&Progress>,
    patience: Duration,
) -> Result<Response<Incoming>, Unanswered> {
    let sending = async {
        match sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        }
    };
    let mut sending = pin!(sending);
    let mut since = millis();
    loop {
        let waited = Duration::from_millis(millis().saturating_sub(since));
        match tokio::time::timeout(patience.saturating_sub(waited), sending.as_mut()).await {
            Ok(answered) => return answered.map_err(|error| Unanswered::Failed(Box::new(error))),
            Err(_) => match progress.map(Progress::moved).filter(|moved| *moved > since) {
                Some(moved) => since = moved,
                None => return Err(Unanswered::TimedOut),
            },
        }
    }
}

/// Passes on what an instance says.
fn answer(
    mut record: Record,
    mut response: Response<Incoming>,
    lease: Lease,
    on_upgrade: Option<OnUpgrade>,
) -> Response<Reply> {
    let status = response.status();
    let protocol = response.headers().get(UPGRADE).cloned();
    let on_instance = hyper::upgrade::on(&mut response);
    let (mut parts, body) = response.into_parts();
    headers::make_response(&mut parts.headers);
    let mut answer = Response::new(Reply::empty());
    *answer.status_mut() = status;
    *answer.headers_mut() = parts.headers;
    if status != StatusCode::SWITCHING_PROTOCOLS {
        record.status = Some(status.as_u16());
        *answer.body_mut() = Reply::stream(body, record, lease);
        return answer;
    }
    let (Some(on_client), Some(protocol)) = (on_upgrade, protocol) else {
        record.failure = Some("it changed the protocol without being asked".to_owned());
        return text(record, StatusCode::BAD_GATEWAY, "the instance's answer makes no sense");
    };
    record.status = Some(status.as_u16());
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, protocol);
    tokio::spawn(tunnel::run(on_client, on_instance, record));
    answer
}
