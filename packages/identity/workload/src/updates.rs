//! A stream of messages: one now, and one each time that a view says something new.
//!
//! Nothing is kept for a client but the newest view: one that reads slowly gets fewer messages.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lepton_spiffe::SpiffeId;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Code, Status};

use crate::View;
use crate::host::Host;
use crate::peer::Peer;
use crate::record::{Record, Refusal};

/// How long a caller without identities waits until all is known.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The view of a caller, and who it is.
pub(crate) struct Watched {
    pub(crate) views: watch::Receiver<Arc<View>>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) host: Host,
}

impl Watched {
    /// The view now, once it has identities; waits while they may come.
    pub(crate) async fn now(&mut self) -> Result<Arc<View>, Refusal> {
        let wait = timeout(PATIENCE, self.views.wait_for(|view| view.is_settled || !view.svids.is_empty()));
        let view = tokio::select! {
            view = wait => view,
            () = self.peer.ended() => return Err(gone()),
        };
        let view = match view {
            Ok(Ok(view)) => Arc::clone(&view),
            Ok(Err(_)) => return Err(Refusal::new(Code::Unavailable, "the agent is stopping")),
            Err(_) => return Err(Refusal::new(Code::Unavailable, "identities are not known yet")),
        };
        if view.svids.is_empty() {
            return Err(Refusal::new(Code::PermissionDenied, "no identity issued"));
        }
        Ok(view)
    }

    /// The next view that is another one.
    async fn next(&mut self) -> Result<Arc<View>, Refusal> {
        let changed = tokio::select! {
            changed = self.views.changed() => changed,
            () = self.peer.ended() => return Err(gone()),
        };
        changed.map_err(|_| Refusal::new(Code::Unavailable, "the agent is stopping"))?;
        // Who got the first message may be somebody else by now.
        self.peer
            .check(&self.host)
            .map_err(|error| Refusal::new(Code::PermissionDenied, error.to_string()))?;
        self.now().await
    }
}

fn gone() -> Refusal {
    Refusal::new(Code::PermissionDenied, "the process that connected has ended")
}

/// One kind of stream.
pub(crate) trait Compose: Send + Unpin + 'static {
    /// The message.
    type Message: Send + 'static;

    /// The message of a view, and whose SVIDs it holds.
    fn compose(view: &View) -> (Self::Message, Vec<SpiffeId>);

    /// Whether the messages of two views are the same.
    fn is_same(old: &View, new: &View) -> bool;
}

type Step = Pin<Box<dyn Future<Output = (Watched, Result<Arc<View>, Refusal>)> + Send>>;

/// The messages.
pub(crate) struct Updates<C> {
    step: Option<Step>,
    last: Option<Arc<View>>,
    record: Record,
    kind: PhantomData<C>,
}

impl<C: Compose> Updates<C> {
    /// The messages for a caller.
    pub(crate) fn new(watched: Watched, record: Record) -> Self {
        Self { step: Some(step(watched, true)), last: None, record, kind: PhantomData }
    }
}

fn step(mut watched: Watched, is_first: bool) -> Step {
    Box::pin(async move {
        let view = if is_first { watched.now().await } else { watched.next().await };
        (watched, view)
    })
}

impl<C: Compose> Stream for Updates<C> {
    type Item = Result<C::Message, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(current) = &mut this.step else { return Poll::Ready(None) };
            let (watched, view) = ready!(current.as_mut().poll(cx));
            this.step = None;
            let view = match view {
                Ok(view) => view,
                Err(refusal) => return Poll::Ready(Some(Err(this.record.refused(&refusal)))),
            };
            this.step = Some(step(watched, false));
            let is_known = this.last.as_ref().is_some_and(|last| C::is_same(last, &view));
            this.last = Some(Arc::clone(&view));
            if !is_known {
                let (message, ids) = C::compose(&view);
                this.record.served(&ids);
                return Poll::Ready(Some(Ok(message)));
            }
        }
    }
}
