//! Several hosts at once: connects to all, asks all, and keeps what each has answered in the order that they were named.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::exit;
use crate::failure::Failure;
use crate::link::{self, Link};
use crate::output::{Output, View};
use crate::target::Targets;

/// Between two attempts to go on with a host: the first, and the longest.
const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// The hosts of a command.
#[derive(Debug)]
pub(crate) struct Fleet {
    targets: Targets,
    timeout: Duration,
}

/// One of them, connected.
#[derive(Debug)]
pub(crate) struct Host<'a> {
    pub(crate) name: &'a str,
    pub(crate) link: Link,
    timeout: Duration,
}

impl Host<'_> {
    /// A request that must be answered in time.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}

/// What every host has answered, by its name.
pub(crate) type Answers<'a, T> = Vec<(&'a str, Result<T, Failure>)>;

impl Fleet {
    pub(crate) fn new(targets: Targets, timeout: Duration) -> Self {
        Self { targets, timeout }
    }

    /// Names of the hosts.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.targets.list.iter().map(|target| target.name.as_str()).collect()
    }

    /// Does the same with all hosts at the same time.
    pub(crate) async fn each<T>(
        &self,
        call: impl AsyncFn(&Host<'_>) -> Result<T, Failure>,
    ) -> Answers<'_, T> {
        let (call, access, timeout) = (&call, self.targets.access.as_ref(), self.timeout);
        let calls = self.targets.list.iter().map(|target| async move {
            let done = async {
                let link = link::connect(target, access, timeout).await?;
                let host = Host { name: &target.name, link, timeout };
                let done = call(&host).await;
                done.map_err(|failure| host.link.judged(failure))
            };
            (target.name.as_str(), done.await)
        });
        all(calls).await
    }

    /// Follows all hosts at the same time. When the connection to one is lost, `call` goes on with another one behind what
    /// it has kept of the last: for as long as it takes, because a host that restarts comes back.
    pub(crate) async fn follow<K: Default>(
        &self,
        call: impl AsyncFn(&Host<'_>, &mut K) -> Result<(), Failure>,
    ) -> Answers<'_, ()> {
        let (call, access, timeout) = (&call, self.targets.access.as_ref(), self.timeout);
        let calls = self.targets.list.iter().map(|target| async move {
            let (mut kept, mut has_begun, mut is_told, mut rest) = (K::default(), false, false, FIRST_REST);
            loop {
                let done = async {
                    let link = link::connect(target, access, timeout).await?;
                    (has_begun, is_told) = (true, false);
                    let host = Host { name: &target.name, link, timeout };
                    let began = tokio::time::Instant::now();
                    let done = call(&host, &mut kept).await;
                    if began.elapsed() > LONGEST_REST {
                        rest = FIRST_REST;
                    }
                    done.map_err(|failure| host.link.judged(failure))
                };
                match done.await {
                    Err(failure) if has_begun && failure.may_pass() => {
                        if !std::mem::replace(&mut is_told, true) {
                            eprintln!("lepton: {}: {}; trying again", target.name, failure.chain());
                        }
                        tokio::time::sleep(rest).await;
                        rest = (rest * 2).min(LONGEST_REST);
                    }
                    done => return (target.name.as_str(), done),
                }
            }
        });
        all(calls).await
    }

    /// Until when the certificate of this program is good, in seconds since 1970.
    pub(crate) fn own_until(&self) -> Option<i64> {
        self.targets.access.as_ref().map(|access| access.own.not_after)
    }
}

/// Waits for all.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    type Call<F, T> = (Pin<Box<F>>, Option<T>);
    let mut waiting: Vec<Call<F, F::Output>> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut waiting {
            if output.is_none()
                && let Poll::Ready(done) = future.as_mut().poll(context)
            {
                *output = Some(done);
            }
        }
        if waiting.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

/// Prints what hosts have answered, says which have failed, and gives the exit code of all.
pub(crate) fn shown<T: View>(answers: Answers<'_, T>, output: &Output<'_>) -> Result<u8, Failure> {
    let (good, code) = told(answers)?;
    output.answers(&good)?;
    Ok(code)
}

/// Hosts that have answered, and the exit code of all.
type Told<'a, T> = (Vec<(&'a str, T)>, u8);

/// Says which hosts have failed; gives the others, and the exit code of all.
pub(crate) fn told<T>(answers: Answers<'_, T>) -> Result<Told<'_, T>, Failure> {
    let several = answers.len() > 1;
    let (mut good, mut codes) = (Vec::new(), Vec::new());
    for (host, answer) in answers {
        match answer {
            Ok(answer) => {
                codes.push(exit::DONE);
                good.push((host, answer));
            }
            // The reader is gone, whoever has failed.
            Err(failure) if failure.is_broken_pipe() => return Err(failure),
            // Of one host it is the command that fails.
            Err(failure) if !several => return Err(failure),
            Err(failure) => {
                codes.push(failure.exit_code());
                eprintln!("lepton: {host}: {}", failure.chain());
            }
        }
    }
    Ok((good, exit::of_all(codes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_run_at_once_and_keep_their_order() {
        let (first, second) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let (first, second) = (&first, &second);
        // Each waits for the other, so one after the other would never end.
        let futures = [1, 2].into_iter().map(|number| async move {
            let (mine, other) = if number == 1 { (first, second) } else { (second, first) };
            other.notify_one();
            mine.notified().await;
            number
        });
        assert_eq!(all(futures).await, [1, 2]);
    }
}
