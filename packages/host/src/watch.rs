//! Changes of services, for any number of callers over one connection to PID 1.
//!
//! The connection is there while somebody follows. What waits for one follower has a bound: one that is too slow is told how
//! many changes it missed, and gets all services as they are. Nobody waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lepton_control::{Change, ServiceStatus};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tonic::Status;

use crate::pid1::{Pid1, Watched};

/// Changes that wait for one follower.
const WAITING: usize = 256;

/// Where callers begin to follow.
#[derive(Debug)]
pub(crate) struct Watch {
    pid1: Arc<Pid1>,
    /// The connection, if there is one.
    shared: tokio::sync::Mutex<Option<Arc<Shared>>>,
}

/// One connection and those who follow over it.
#[derive(Debug)]
struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    /// All services, as the followers know them who have taken everything.
    services: Vec<ServiceStatus>,
    /// None when the connection has ended.
    sender: Option<Sender<Told>>,
}

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// All services as they are; so many changes before that were lost.
    All(u64, Vec<ServiceStatus>),
    /// A service came into another state.
    Change(Arc<Change>),
}

/// A caller that follows.
#[derive(Debug)]
pub(crate) struct Follower {
    shared: Arc<Shared>,
    receiver: Receiver<Told>,
    first: Option<Told>,
}

impl Watch {
    pub(crate) fn new(pid1: Arc<Pid1>) -> Self {
        Self { pid1, shared: tokio::sync::Mutex::default() }
    }

    /// Follows from now on; the first thing told are all services.
    pub(crate) async fn follow(&self) -> Result<Follower, Status> {
        let mut shared = self.shared.lock().await;
        if let Some(follower) = shared.as_ref().and_then(Shared::follow) {
            return Ok(follower);
        }
        let (watched, services) = self.pid1.watch().await?;
        let sender = Sender::new(WAITING);
        let state = State { services, sender: Some(sender.clone()) };
        let begun = Arc::new(Shared(Mutex::new(state)));
        let follower = Shared::follow(&begun);
        tokio::spawn(pass_on(watched, Arc::clone(&begun), sender));
        *shared = Some(begun);
        follower.ok_or_else(gone)
    }
}

/// Tells everybody what PID 1 says, while somebody follows.
async fn pass_on(mut watched: Watched, shared: Arc<Shared>, sender: Sender<Told>) {
    loop {
        let told = {
            let next = watched.next();
            tokio::pin!(next);
            loop {
                tokio::select! {
                    told = &mut next => break told,
                    // Somebody else may have begun meanwhile.
                    () = sender.closed() => if shared.end_when_idle() { return },
                }
            }
        };
        match told {
            Ok(told) => shared.tell(told),
            // Every follower sees the end of its channel.
            Err(_) => return shared.end(),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None when the connection has ended.
    fn follow(self: &Arc<Self>) -> Option<Follower> {
        let state = self.state();
        let receiver = state.sender.as_ref()?.subscribe();
        let first = Some(Told::All(0, state.services.clone()));
        Some(Follower { shared: Arc::clone(self), receiver, first })
    }

    fn end(&self) {
        self.state().sender = None;
    }

    fn end_when_idle(&self) -> bool {
        let mut state = self.state();
        let is_idle = state.sender.as_ref().is_none_or(|sender| sender.receiver_count() == 0);
        if is_idle {
            state.sender = None;
        }
        is_idle
    }

    /// Passes it on.
    fn tell(&self, told: Told) {
        let mut state = self.state();
        match &told {
            Told::All(_, services) => state.services.clone_from(services),
            Told::Change(change) => {
                match state.services.iter_mut().find(|known| known.name == change.service.name) {
                    Some(known) => known.clone_from(&change.service),
                    None => state.services.push(change.service.clone()),
                }
            }
        }
        if let Some(sender) = &state.sender {
            // The last follower may have gone a moment ago.
            let _ = sender.send(told);
        }
    }
}

impl Follower {
    /// What comes next.
    pub(crate) async fn next(&mut self) -> Result<Told, Status> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        match self.receiver.recv().await {
            Ok(told) => Ok(told),
            Err(RecvError::Closed) => Err(gone()),
            Err(RecvError::Lagged(missed)) => self.catch_up(missed),
        }
    }

    /// What still waits is older than what follows, so it is left out, too.
    fn catch_up(&mut self, missed: u64) -> Result<Told, Status> {
        let state = self.shared.state();
        let sender = state.sender.as_ref().ok_or_else(gone)?;
        let lost = missed + self.receiver.len() as u64;
        self.receiver = sender.subscribe();
        Ok(Told::All(lost, state.services.clone()))
    }
}

fn gone() -> Status {
    Status::unavailable("PID 1 has closed the connection")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Duration;

    use lepton_control::{Answer, Request, ServiceState};

    use super::*;

    fn service(starts: u32) -> ServiceStatus {
        ServiceStatus {
            name: "web".into(),
            state: ServiceState::Ready,
            text: None,
            pid: None,
            starts,
            last_end: None,
            for_ms: 0,
            memory_kb: None,
            tasks: None,
            dropped_lines: 0,
        }
    }

    fn change(starts: u32) -> Change {
        Change { ms: u64::from(starts), before: Some(ServiceState::Starting), service: service(starts) }
    }

    /// A PID 1 that takes one connection.
    struct Pid1Side {
        folder: tempfile::TempDir,
        listener: UnixListener,
    }

    impl Pid1Side {
        fn new() -> (Self, Watch) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("control");
            let listener = UnixListener::bind(&path).unwrap();
            (Self { folder, listener }, Watch::new(Arc::new(Pid1::new(path))))
        }

        /// Takes the next connection, and says how services are.
        fn accept(&self) -> UnixStream {
            let (mut stream, _) = self.listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(Request::from_line(line.trim_end().as_bytes()).unwrap(), Request::Watch);
            say(&mut stream, &Answer::Services(vec![service(0)]));
            stream
        }
    }

    fn say(stream: &mut UnixStream, answer: &Answer) {
        stream.write_all(answer.to_line().as_bytes()).unwrap();
    }

    /// Follows; PID 1's side of the connection comes along.
    async fn first(pid1: Pid1Side, watch: &Watch) -> (Pid1Side, UnixStream, Follower) {
        let accepting = tokio::task::spawn_blocking(move || {
            let stream = pid1.accept();
            (pid1, stream)
        });
        let follower = watch.follow().await.unwrap();
        let (pid1, stream) = accepting.await.unwrap();
        (pid1, stream, follower)
    }

    #[tokio::test]
    async fn all_follow_over_one_connection() {
        let (pid1, watch) = Pid1Side::new();
        let (pid1, mut stream, mut early) = first(pid1, &watch).await;
        assert_eq!(early.next().await.unwrap(), Told::All(0, vec![service(0)]));
        say(&mut stream, &Answer::Change(Box::new(change(1))));
        assert_eq!(early.next().await.unwrap(), Told::Change(Arc::new(change(1))));
        // Whoever comes later begins with what has become of them.
        let mut late = watch.follow().await.unwrap();
        assert_eq!(late.next().await.unwrap(), Told::All(0, vec![service(1)]));
        say(&mut stream, &Answer::Change(Box::new(change(2))));
        for follower in [&mut early, &mut late] {
            assert_eq!(follower.next().await.unwrap(), Told::Change(Arc::new(change(2))));
        }
        // What PID 1 could not send is told, too.
        say(&mut stream, &Answer::Lost(7));
        say(&mut stream, &Answer::Services(vec![service(9)]));
        assert_eq!(early.next().await.unwrap(), Told::All(7, vec![service(9)]));
        // Its end is everybody's.
        drop(stream);
        assert_eq!(early.next().await.unwrap_err().code(), tonic::Code::Unavailable);
        assert_eq!(late.next().await.unwrap(), Told::All(7, vec![service(9)]));
        assert_eq!(late.next().await.unwrap_err().code(), tonic::Code::Unavailable);
        let (_pid1, _stream, mut again) = first(pid1, &watch).await;
        assert_eq!(again.next().await.unwrap(), Told::All(0, vec![service(0)]));
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_what_it_lost_and_keeps_nobody_waiting() {
        let (pid1, watch) = Pid1Side::new();
        let (_pid1, mut stream, mut slow) = first(pid1, &watch).await;
        let mut quick = watch.follow().await.unwrap();
        quick.next().await.unwrap();
        slow.next().await.unwrap();
        for starts in 1..=1000 {
            say(&mut stream, &Answer::Change(Box::new(change(starts))));
            assert_eq!(quick.next().await.unwrap(), Told::Change(Arc::new(change(starts))));
        }
        assert_eq!(slow.next().await.unwrap(), Told::All(1000, vec![service(1000)]));
        say(&mut stream, &Answer::Change(Box::new(change(1001))));
        assert_eq!(slow.next().await.unwrap(), Told::Change(Arc::new(change(1001))));
    }

    #[tokio::test]
    async fn the_connection_ends_with_the_last_follower() {
        let (pid1, watch) = Pid1Side::new();
        let (pid1, stream, follower) = first(pid1, &watch).await;
        drop(follower);
        let ended = tokio::task::spawn_blocking(move || {
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            std::io::Read::read(&mut &stream, &mut [0]).unwrap()
        });
        assert_eq!(ended.await.unwrap(), 0);
        assert!(pid1.folder.path().exists());
        let (_pid1, _stream, mut again) = first(pid1, &watch).await;
        assert_eq!(again.next().await.unwrap(), Told::All(0, vec![service(0)]));
    }

    #[tokio::test]
    async fn without_pid_1_nothing_is_followed() {
        let watch = Watch::new(Arc::new(Pid1::new("/nonexistent/control".into())));
        assert_eq!(watch.follow().await.unwrap_err().code(), tonic::Code::Unavailable);
    }
}
