//! Addresses that work once: a random token stands for a request until a client brings it, or a minute has passed.
//!
//! The number of waiting requests is bounded, and a token is removed by the first use, whatever that use was.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};
use thiserror::Error;
use tokio::time::Instant;

use crate::backend::{AttachRequest, ExecRequest, PortForwardRequest, StreamSet};

/// How long an address works; kubelet connects at once, and Kubernetes' own library gives it the same time.
const LIFETIME: Duration = Duration::from_secs(60);
/// How many addresses may wait to be used; the number of Kubernetes' own library.
const WAITING: usize = 1000;
/// Bytes of a token: nobody guesses 128 bits in a minute.
const TOKEN_BYTES: usize = 16;

/// Why there is no address for a request.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// CRI's `INVALID_ARGUMENT`.
    #[error("the request names no {0}")]
    Missing(&'static str),
    /// CRI's `INVALID_ARGUMENT`.
    #[error("a terminal has no separate stderr: ask for tty or for stderr")]
    TerminalWithStderr,
    /// CRI's `INVALID_ARGUMENT`.
    #[error("the request asks for none of stdin, stdout and stderr")]
    NoStream,
    /// CRI's `RESOURCE_EXHAUSTED`.
    #[error("{WAITING} streaming requests wait for their clients; use their addresses or wait a minute")]
    TooMany,
    /// CRI's `INTERNAL`.
    #[error("cannot get random bytes from the kernel")]
    Random(#[source] std::io::Error),
}

/// A request that waits for its client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    Exec(ExecRequest),
    Attach(AttachRequest),
    PortForward(PortForwardRequest),
}

/// Makes addresses; cheap to clone.
#[derive(Clone, Debug)]
pub struct Urls {
    address: SocketAddr,
    tokens: Arc<Tokens>,
}

impl Urls {
    pub(crate) fn new(address: SocketAddr, tokens: Arc<Tokens>) -> Self {
        Self { address, tokens }
    }

    /// The address at which a client runs this command.
    pub fn exec(&self, request: ExecRequest) -> Result<String, RequestError> {
        check_container(&request.container_id, request.streams)?;
        if request.command.is_empty() {
            return Err(RequestError::Missing("command"));
        }
        self.url("exec", Request::Exec(request))
    }

    /// The address at which a client attaches.
    pub fn attach(&self, request: AttachRequest) -> Result<String, RequestError> {
        check_container(&request.container_id, request.streams)?;
        self.url("attach", Request::Attach(request))
    }

    /// The address at which a client reaches ports of a pod.
    pub fn port_forward(&self, request: PortForwardRequest) -> Result<String, RequestError> {
        if request.pod_sandbox_id.is_empty() {
            return Err(RequestError::Missing("pod sandbox"));
        }
        self.url("portforward", Request::PortForward(request))
    }

    fn url(&self, call: &str, request: Request) -> Result<String, RequestError> {
        Ok(format!("http://{}/{call}/{}", self.address, self.tokens.insert(request)?))
    }
}

fn check_container(id: &str, streams: StreamSet) -> Result<(), RequestError> {
    if id.is_empty() {
        return Err(RequestError::Missing("container"));
    }
    if streams.tty && streams.stderr {
        return Err(RequestError::TerminalWithStderr);
    }
    if !streams.stdin && !streams.stdout && !streams.stderr {
        return Err(RequestError::NoStream);
    }
    Ok(())
}

/// The requests that wait.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    requests: BTreeMap<String, (Instant, Request)>,
    /// Oldest first; those used already are skipped.
    order: VecDeque<(Instant, String)>,
}

impl Tokens {
    fn insert(&self, request: Request) -> Result<String, RequestError> {
        let now = Instant::now();
        let mut waiting = self.lock();
        waiting.expire(now);
        if waiting.requests.len() >= WAITING {
            return Err(RequestError::TooMany);
        }
        let token = random_token()?;
        waiting.order.push_back((now + LIFETIME, token.clone()));
        waiting.requests.insert(token.clone(), (now + LIFETIME, request));
        Ok(token)
    }

    /// The request of a token, once.
    pub(crate) fn take(&self, token: &str) -> Option<Request> {
        let (end, request) = self.lock().requests.remove(token)?;
        (Instant::now() < end).then_some(request)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn expire(&mut self, now: Instant) {
        while let Some((end, token)) = self.order.front() {
            if *end > now && self.requests.contains_key(token) {
                break;
            }
            self.requests.remove(token);
            self.order.pop_front();
        }
        // Entries behind a waiting one may be used already: they never grow past twice the waiting ones.
        if self.order.len() > 2 * WAITING {
            self.order.retain(|(_, token)| self.requests.contains_key(token));
        }
    }
}

fn random_token() -> Result<String, RequestError> {
    let mut bytes = [0; TOKEN_BYTES];
    // A request of at most 256 bytes is never answered in part.
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(|errno| RequestError::Random(errno.into()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls() -> (Urls, Arc<Tokens>) {
        let tokens = Arc::new(Tokens::default());
        (Urls::new("127.0.0.1:10010".parse().unwrap(), Arc::clone(&tokens)), tokens)
    }

    fn exec() -> ExecRequest {
        let streams = StreamSet { stdout: true, ..StreamSet::default() };
        ExecRequest { container_id: "c1".to_owned(), command: vec!["true".to_owned()], streams }
    }

    fn token(url: &str) -> &str {
        url.rsplit('/').next().unwrap()
    }

    #[test]
    fn a_token_works_once() {
        let (urls, tokens) = urls();
        let url = urls.exec(exec()).unwrap();
        assert!(url.starts_with("http://127.0.0.1:10010/exec/"), "{url}");
        assert_eq!(token(&url).len(), 22);
        assert_eq!(tokens.take(token(&url)), Some(Request::Exec(exec())));
        assert_eq!(tokens.take(token(&url)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_ends_after_a_minute() {
        let (urls, tokens) = urls();
        let early = urls.exec(exec()).unwrap();
        tokio::time::advance(Duration::from_secs(59)).await;
        let late = urls.exec(exec()).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(tokens.take(token(&early)), None);
        assert!(tokens.take(token(&late)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_thousand_and_first_is_refused_until_others_are_used_or_ended() {
        let (urls, tokens) = urls();
        let all: Vec<_> = (0..WAITING).map(|_| urls.exec(exec()).unwrap()).collect();
        assert!(matches!(urls.exec(exec()), Err(RequestError::TooMany)));
        assert!(tokens.take(token(&all[500])).is_some());
        urls.exec(exec()).unwrap();
        assert!(matches!(urls.exec(exec()), Err(RequestError::TooMany)));
        tokio::time::advance(LIFETIME).await;
        urls.exec(exec()).unwrap();
        assert_eq!(tokens.lock().requests.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn used_tokens_behind_a_waiting_one_do_not_pile_up() {
        let (urls, tokens) = urls();
        urls.exec(exec()).unwrap();
        for _ in 0..5 * WAITING {
            tokens.take(token(&urls.exec(exec()).unwrap())).unwrap();
        }
        assert!(tokens.lock().order.len() <= 2 * WAITING + 1);
    }

    #[test]
    fn requests_that_cri_forbids() {
        let (urls, _) = urls();
        let check = |change: &dyn Fn(&mut ExecRequest)| {
            let mut request = exec();
            change(&mut request);
            urls.exec(request).unwrap_err().to_string()
        };
        assert_eq!(check(&|r| r.container_id.clear()), "the request names no container");
        assert_eq!(check(&|r| r.command.clear()), "the request names no command");
        assert_eq!(
            check(&|r| r.streams.stdout = false),
            "the request asks for none of stdin, stdout and stderr"
        );
        let tty = check(&|r| r.streams = StreamSet { stdin: true, stdout: true, stderr: true, tty: true });
        assert_eq!(tty, "a terminal has no separate stderr: ask for tty or for stderr");
        let request = PortForwardRequest { pod_sandbox_id: String::new(), ports: vec![80] };
        assert!(urls.port_forward(request).is_err());
    }
}
