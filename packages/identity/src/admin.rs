//! The admin socket: root asks how the host's identity is, and tells the agent what to do (lepton-identity-control).

mod fetch;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lepton_identity_control::{Answer, ErrorKind, MAX_REQUEST, Request, State};
use lepton_spiffe::Secret;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use zeroize::Zeroizing;

use crate::audit::{self, Actor};
use crate::log::say;
use crate::shared::{Command, Order, Shared};

/// Connections at a time; those of people are few.
const CONNECTIONS: usize = 64;
/// For a client that stops in the middle of a line, or does not read.
const PATIENCE: Duration = Duration::from_secs(60);

/// What connections need.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
}

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

impl Admin {
    /// Answers, for good.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let (Ok(place), accepted) = tokio::join!(Arc::clone(&places).acquire_owned(), listener.accept())
            else {
                return;
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let admin = Arc::clone(&self);
            tokio::spawn(async move {
                // A client that goes away has gone.
                let _ = admin.talk(stream).await;
                drop(place);
            });
        }
    }

    async fn talk(&self, stream: UnixStream) -> io::Result<()> {
        let peer = stream.peer_cred()?;
        let own = rustix::process::geteuid().as_raw();
        if peer.uid() != 0 && peer.uid() != own {
            return Ok(());
        }
        let actor =
            Actor::process(peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0), peer.uid());
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = Zeroizing::new(Vec::new());
            let limit = MAX_REQUEST as u64 + 1;
            let mut limited = (&mut reader).take(limit);
            let read = tokio::time::timeout(PATIENCE, limited.read_until(b'\n', &mut line));
            if read.await.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
                return Ok(());
            }
            let whole = line.pop() == Some(b'\n');
            let answer = match Request::from_line(&line) {
                Ok(request) => self.answer(request, &actor).await,
                Err(error) => Answer::error(ErrorKind::BadRequest, error.to_string()),
            };
            let line = answer.to_line();
            let written = tokio::time::timeout(PATIENCE, writer.write_all(line.as_bytes()));
            written.await.map_err(|_| io::ErrorKind::TimedOut)??;
            if !whole {
                return Ok(());
            }
        }
    }

    async fn answer(&self, request: Request, actor: &Actor) -> Answer {
        let shared = &self.shared;
        match request {
            Request::Status => Answer::Status(Box::new(shared.status())),
            Request::Show => Answer::Identities(shared.identities()),
            Request::FetchX509 { spiffe_id } => {
                self.note("fetch-x509", spiffe_id.as_deref(), actor);
                self.x509(spiffe_id.as_deref())
            }
            Request::FetchJwt { audience, spiffe_id } => {
                self.note("fetch-jwt", spiffe_id.as_deref(), actor);
                self.jwt(&audience, spiffe_id.as_deref()).await
            }
            Request::Refresh => self.order(Order::Refresh, actor).await,
            Request::Join { token } => {
                let token = token.map(|token| Secret::new(token.expose().to_owned()));
                match self.order(Order::Join(token), actor).await {
                    Answer::Done => Answer::Status(Box::new(shared.status())),
                    refused => refused,
                }
            }
            Request::Leave { force } => self.order(Order::Leave { force }, actor).await,
            Request::WaitReady { timeout_s } => self.wait(timeout_s).await,
            Request::Metrics => {
                let text = shared.metrics.text(&shared.status(), &shared.identities(), shared.clock.now());
                Answer::Metrics(text)
            }
            Request::Bundle { trust_domain } => self.bundle(trust_domain.as_deref()),
        }
    }

    /// Keys that leave the agent on this way are recorded.
    fn note(&self, act: &str, spiffe_id: Option<&str>, actor: &Actor) {
        audit::record(&*self.shared.clock, act, actor, serde_json::json!({ "spiffe-id": spiffe_id }));
    }

    async fn order(&self, order: Order, actor: &Actor) -> Answer {
        let (reply, answer) = oneshot::channel();
        let command = Command { order, actor: actor.clone(), reply };
        let gone = || Answer::error(ErrorKind::Failed, "the agent is about to end");
        if self.commands.send(command).await.is_err() {
            return gone();
        }
        match answer.await {
            Ok(Ok(())) => Answer::Done,
            Ok(Err((kind, message))) => Answer::error(kind, message),
            Err(_) => gone(),
        }
    }

    async fn wait(&self, timeout_s: Option<u64>) -> Answer {
        let mut states = self.shared.states();
        let ready = states.wait_for(|state: &State| state.serves());
        let is_ready = match timeout_s {
            None => ready.await.is_ok(),
            Some(seconds) => {
                let limit = Duration::from_secs(seconds);
                tokio::time::timeout(limit, ready).await.is_ok_and(|state| state.is_ok())
            }
        };
        if is_ready {
            return Answer::Status(Box::new(self.shared.status()));
        }
        let status = self.shared.status();
        let why = status.last_error.map(|error| format!(": {error}")).unwrap_or_default();
        Answer::error(ErrorKind::Timeout, format!("the host's identity is {}{why}", status.state))
    }
}

/// Listens; without the socket nobody can ask, and workloads are served all the same.
pub(crate) fn start(admin: Arc<Admin>, path: &Path) {
    match listen(path) {
        Ok(listener) => drop(tokio::spawn(admin.serve(listener))),
        Err(error) => say(format_args!("cannot listen on {}: {error}", path.display())),
    }
}
