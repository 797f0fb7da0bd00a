//! The host's end: kubelet ends its pods first, and then it is ended itself, within the time that PID 1 gives.

use std::path::Path;
use std::time::Duration;

use lepton_kubelet_shutdown::{Bus, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::signal::unix::Signal as Signals;
use tokio::time::{Instant, timeout};

use crate::failure::{Failure, system_failure};

/// After the pods' own time: kubelet notices the last one's end, unmounts its volumes and closes its lock.
const SLACK: Duration = Duration::from_secs(5);
/// kubelet that was told to end does so in a second; one that does not is killed after this.
/// With the longest drain (two minutes and the slack) this is less than `stop-timeout-s` in package.toml.
pub(crate) const TERMINATION: Duration = Duration::from_secs(10);

/// What kubelet is asked through.
#[derive(Debug)]
pub(crate) struct Drain {
    bus: Bus,
    limit: Duration,
}

impl Drain {
    /// Listens for kubelet, whose pods may take `shutdown` to end.
    pub(crate) fn listen(socket: &Path, shutdown: Duration) -> Result<Self, Failure> {
        let limit = shutdown + SLACK;
        let bus = Bus::listen(socket, limit, |note| eprintln!("kubelet-agent: {note}"));
        Ok(Self { bus: bus.map_err(system_failure("listen on the system bus"))?, limit })
    }

    /// The bus as kubelet finds it.
    pub(crate) fn address(&self) -> String {
        self.bus.address()
    }

    /// Lets kubelet end its pods before the host goes down; a second SIGTERM ends the wait.
    pub(crate) async fn wait(&self, terminate: &mut Signals) {
        lepton_notify::status("ending pods");
        let begin = Instant::now();
        let outcome = tokio::select! {
            outcome = self.bus.prepare(begin + self.limit) => Some(outcome),
            _ = terminate.recv() => None,
        };
        for line in report(outcome.as_ref(), begin.elapsed()) {
            eprintln!("kubelet-agent: {line}");
        }
    }
}

/// What became of those that were waited for.
fn report(outcome: Option<&Outcome>, took: Duration) -> Vec<String> {
    let took = format!("{}.{} s", took.as_secs(), took.subsec_millis() / 100);
    let Some(outcome) = outcome else {
        return vec![format!("the host was told again to go down: pods had {took} to end")];
    };
    if (outcome.released.len(), outcome.held.len()) == (0, 0) {
        return vec!["the host goes down and kubelet holds no lock: pods are not waited for".to_owned()];
    }
    let released =
        outcome.released.iter().map(|lock| format!("after {took} the host may go down for {lock}"));
    let held =
        outcome.held.iter().map(|lock| format!("after {took} the host does not wait any longer for {lock}"));
    released.chain(held).collect()
}

/// Ends kubelet: SIGTERM, and SIGKILL when it does not heed that.
pub(crate) async fn end(child: &mut Child, patience: Duration) -> Result<(), Failure> {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::TERM);
    }
    let failed = system_failure("wait for kubelet");
    match timeout(patience, child.wait()).await {
        Ok(ended) => ended.map(drop).map_err(failed),
        Err(_) => {
            eprintln!(
                "kubelet-agent: kubelet did not end within {} s of SIGTERM and is killed",
                patience.as_secs()
            );
            child.kill().await.map_err(system_failure("kill kubelet"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use lepton_kubelet_shutdown::Inhibitor;
    use tokio::io::AsyncReadExt as _;
    use tokio::process::Command;

    use super::*;

    #[test]
    fn reports() {
        let lock = |pid| Inhibitor { who: "kubelet".to_owned(), why: "pods".to_owned(), pid: Some(pid) };
        let took = Duration::from_millis(7456);
        let outcome = Outcome { released: vec![lock(7)], held: vec![lock(8)] };
        let want = [
            "after 7.4 s the host may go down for \"kubelet\" (process 7): \"pods\"",
            "after 7.4 s the host does not wait any longer for \"kubelet\" (process 8): \"pods\"",
        ];
        assert_eq!(report(Some(&outcome), took), want);
        assert!(report(Some(&Outcome::default()), took)[0].contains("kubelet holds no lock"));
        assert!(report(None, took)[0].contains("told again"));
    }

    /// Starts a shell that says when it runs.
    async fn child(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).await.unwrap();
        child
    }

    #[tokio::test]
    async fn a_child_that_ignores_sigterm_is_killed() {
        let begin = Instant::now();
        let mut deaf = child("trap '' TERM; echo; while :; do sleep 0.1; done").await;
        end(&mut deaf, Duration::from_millis(300)).await.unwrap();
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(30), "{took:?}");
        let mut good = child("trap 'exit 5' TERM; echo; while :; do sleep 0.1; done").await;
        end(&mut good, Duration::from_secs(60)).await.unwrap();
        assert_eq!(good.wait().await.unwrap().code(), Some(5));
    }
}
