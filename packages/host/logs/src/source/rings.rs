//! Follows the logs that PID 1 keeps in memory, where there is no state partition: one thread and one connection for each log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use lepton_control::{Answer, Client, LogLine, LogName, Request};

use super::Source;
use super::watch::Wake;
use crate::say::say;

/// Between two looks at which services there are, and before PID 1 is asked again after a failure.
const LOOK: Duration = Duration::from_secs(2);
/// Bytes of a thread's stack: it parses one line at a time.
const STACK: usize = 256 << 10;

/// A line, and of which log.
pub type Heard = (Source, LogLine);

/// Whether PID 1 keeps logs in files: it does where there is a state partition. None while it does not answer.
pub fn has_files(control: &Path) -> Option<bool> {
    match Client::connect_to(control).and_then(|mut client| client.ask(&Request::Status)) {
        Ok(Answer::Status(status)) => Some(status.state.device.is_some()),
        _ => None,
    }
}

/// Follows all logs that `wants` says yes to, from now on.
pub fn start(
    control: PathBuf,
    heard: SyncSender<Heard>,
    wake: Arc<Wake>,
    wants: impl Fn(&Source) -> bool + Send + 'static,
) -> std::io::Result<()> {
    let follow_all = move || {
        let mut known = BTreeSet::new();
        loop {
            let services = Client::connect_to(&control).and_then(|mut client| client.ask(&Request::Services));
            let mut sources = vec![Source::Kernel];
            if let Ok(Answer::Services(services)) = services {
                sources.extend(services.into_iter().map(|service| Source::Service { name: service.name }));
            }
            for source in sources {
                if wants(&source) && !known.contains(&source) {
                    match follow(source.clone(), control.clone(), heard.clone(), Arc::clone(&wake)) {
                        Ok(()) => drop(known.insert(source)),
                        Err(error) => say(format_args!("cannot follow {}: {error}", source.key())),
                    }
                }
            }
            thread::sleep(LOOK);
        }
    };
    thread::Builder::new().name("rings".to_owned()).stack_size(STACK).spawn(follow_all).map(drop)
}

fn follow(
    source: Source,
    control: PathBuf,
    heard: SyncSender<Heard>,
    wake: Arc<Wake>,
) -> std::io::Result<()> {
    let name = match &source {
        Source::Service { name } => LogName::Service(name.clone()),
        _ => LogName::Kernel,
    };
    let run = move || {
        let (mut next, mut is_wanted) = (None, true);
        while is_wanted {
            let from = next;
            let each = |line: LogLine| {
                next = Some(line.number + 1);
                is_wanted = heard.send((source.clone(), line)).is_ok();
                wake.wake();
                is_wanted
            };
            // What PID 1 refuses is no longer a service; it may become one again.
            let _ = Client::connect_to(&control).and_then(|client| client.follow(name.clone(), from, each));
            thread::sleep(LOOK);
        }
    };
    thread::Builder::new().name("ring".to_owned()).stack_size(STACK).spawn(run).map(drop)
}
