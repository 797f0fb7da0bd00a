//! Logs of services, containers and the kernel.

use std::io;
use std::path::{Path, PathBuf};

use lepton_control::{LogLine as Pid1Line, LogName};
use lepton_cri::v1 as cri;
use lepton_host_api::v1 as api;
use lepton_host_api::v1::logs_request::Source;
use lepton_pods::{SoFar, parse_time, so_far};
use lepton_runtime_client::client::Client;
use lepton_runtime_client::failure::Failure;
use lepton_runtime_client::follow::{Follow, More};
use lepton_runtime_client::log::{Line, Sink};
use lepton_runtime_client::watch;
use tokio::sync::mpsc::Sender;
use tonic::Status;

use super::workloads::failed;
use super::{Answer, Methods, blocking};
use crate::clock;
use crate::feed::{Feed, send};
use crate::pid1::{Log, Which};

/// Lines of one answer.
const LINES: usize = 512;

impl Methods {
    pub(super) async fn read_log(&self, request: api::LogsRequest) -> Answer<Feed<api::LogsResponse>> {
        let api::LogsRequest { source, follow, tail, since_unix_ms, after } = request;
        let since = since_unix_ms.unwrap_or(i64::MIN);
        match source {
            Some(Source::Service(name)) if !name.is_empty() => {
                // An unknown name is told at once.
                self.list_services(&name).await?;
                let boot_id = self.boot_id();
                let which = Which { follow, lines: tail, from: from(after, &boot_id) };
                let mut log = self.pid1.log(LogName::Service(name), which).await?;
                Ok(Feed::response(|answers| async move {
                    while let Some(lines) = next(&mut log, since).await? {
                        let lines = lines.into_iter().map(|(time_unix_ms, line)| api::LogLine {
                            time_unix_ms,
                            text: line.text,
                            stream: api::LogStream::Unspecified.into(),
                            number: Some(line.number),
                        });
                        let answer = api::LogsResponse { lines: lines.collect(), boot_id: boot_id.clone() };
                        if !send(&answers, answer).await {
                            break;
                        }
                    }
                    Ok(())
                }))
            }
            Some(Source::Container(_)) if after.is_some() => {
                Err(Status::invalid_argument("lines of containers have no numbers: leave `after` out"))
            }
            Some(Source::Container(target)) => {
                let container = self.find_container(&target).await?;
                let runtime = self.runtime()?;
                let status = runtime.status(&container.id, false).await.map_err(|error| failed(&error))?;
                let status = status.status.unwrap_or_default();
                if status.log_path.is_empty() {
                    return Err(Status::failed_precondition("the container has no log"));
                }
                // Before there is an answer: whoever has one misses nothing that is written after it.
                let log = container_so_far(status.log_path.clone().into(), tail).await?;
                Ok(Feed::response(move |answers| container_log(runtime, status, log, follow, since, answers)))
            }
            _ => Err(Status::invalid_argument("name a service or a container")),
        }
    }

    pub(super) async fn kernel_log(&self, request: api::DmesgRequest) -> Answer<Feed<api::DmesgResponse>> {
        let since = request.since_unix_ms.unwrap_or(i64::MIN);
        let boot_id = self.boot_id();
        let from = from(request.after, &boot_id);
        let which = Which { follow: request.follow, lines: request.tail, from };
        let mut log = self.pid1.log(LogName::Kernel, which).await?;
        Ok(Feed::response(|answers| async move {
            while let Some(lines) = next(&mut log, since).await? {
                let messages = lines.into_iter().map(|(time_unix_ms, line)| api::KernelMessage {
                    time_unix_ms,
                    uptime_ms: line.ms,
                    text: line.text,
                    number: line.number,
                });
                let answer = api::DmesgResponse { messages: messages.collect(), boot_id: boot_id.clone() };
                if !send(&answers, answer).await {
                    break;
                }
            }
            Ok(())
        }))
    }
}

/// The first line that a caller wants who has the one before it.
fn from(after: Option<api::LogPlace>, boot_id: &str) -> Option<u64> {
    after
        .filter(|after| !boot_id.is_empty() && after.boot_id == boot_id)
        .map(|after| after.number.saturating_add(1))
}

/// Lines of that time and later, with their times; nothing when there are no more.
async fn next(log: &mut Log, since: i64) -> Result<Option<Vec<(i64, Pid1Line)>>, Status> {
    loop {
        let lines = log.lines().await?;
        if lines.is_empty() {
            return Ok(None);
        }
        let boot = clock::boot_ms();
        let dated = lines
            .into_iter()
            .map(|line| (boot.saturating_add(i64::try_from(line.ms).unwrap_or(i64::MAX)), line));
        let lines: Vec<(i64, Pid1Line)> = dated.filter(|(time, _)| *time >= since).collect();
        if !lines.is_empty() {
            return Ok(Some(lines));
        }
    }
}

/// What a container has written, or its last lines; and in which file.
async fn container_so_far(path: PathBuf, tail: Option<u32>) -> Result<(SoFar, PathBuf), Status> {
    let tail = tail.and_then(|tail| usize::try_from(tail).ok());
    let read = move || so_far(&path, tail).map(|log| (log, path)).map_err(|error| unreadable(&error));
    blocking(read).await
}

/// Sends that, and what it writes until it has ended.
async fn container_log(
    runtime: Client,
    status: cri::ContainerStatus,
    (so_far, path): (SoFar, PathBuf),
    follow: bool,
    since: i64,
    answers: Sender<api::LogsResponse>,
) -> Result<(), Status> {
    let follows = follow && status.state() == cri::ContainerState::ContainerRunning;
    let mut lines = Lines::new(since);
    let done = lines.take(&so_far.text).map_err(|error| unreadable(&error))?;
    if !flush(&mut lines, &answers).await || !follows {
        return Ok(());
    }
    go_on(&runtime, &status.id, &path, lines, so_far, done, &answers).await
}

async fn go_on(
    runtime: &Client,
    id: &str,
    path: &Path,
    lines: Lines,
    so_far: SoFar,
    done: usize,
    answers: &Sender<api::LogsResponse>,
) -> Result<(), Status> {
    let mut follow = Follow::new(path, lines).map_err(|error| failed(&error))?;
    if let Some((file, offset)) = so_far.last {
        // Of an entry that was being written nothing was sent.
        let rest = (so_far.text.len() - done) as u64;
        follow.resume(file, offset.saturating_sub(rest)).map_err(|error| unreadable(&error))?;
    }
    let ended = watch::ended(runtime, id);
    tokio::pin!(ended);
    let mut has_ended = false;
    loop {
        while follow.pass_on().map_err(|error| failed(&error))? == More::Yes {
            if !flush(follow.sink(), answers).await {
                return Ok(());
            }
        }
        if has_ended {
            return Ok(());
        }
        tokio::select! {
            end = &mut ended => match end {
                // What it wrote at last is still to be read.
                Ok(_) | Err(Failure::Removed(_)) => has_ended = true,
                Err(error) => return Err(failed(&error)),
            },
            changed = follow.changed() => changed.map_err(|error| failed(&error))?,
            // Nobody reads any more.
            () = answers.closed() => return Ok(()),
        }
    }
}

async fn flush(lines: &mut Lines, answers: &Sender<api::LogsResponse>) -> bool {
    let mut all = std::mem::take(&mut lines.ready);
    while !all.is_empty() {
        let rest = all.split_off(all.len().min(LINES));
        if !send(answers, container_lines(std::mem::replace(&mut all, rest))).await {
            return false;
        }
    }
    true
}

fn container_lines(lines: Vec<api::LogLine>) -> api::LogsResponse {
    api::LogsResponse { lines, boot_id: String::new() }
}

fn unreadable(error: &io::Error) -> Status {
    Status::internal(format!("cannot read the container's log: {error}"))
}

/// Makes lines of a log's entries; parts of one are joined.
#[derive(Debug)]
pub(crate) struct Lines {
    since: i64,
    /// What there is of the line of the output, and of the error output.
    parts: [Option<(i64, Vec<u8>)>; 2],
    pub(crate) ready: Vec<api::LogLine>,
}

/// A line that has no end is cut there.
const LONGEST: usize = 256 * 1024;

impl Lines {
    pub(crate) fn new(since: i64) -> Self {
        Self { since, parts: [None, None], ready: Vec::new() }
    }

    fn add(&mut self, entry: &Line<'_>) {
        let part = &mut self.parts[usize::from(entry.is_error)];
        // A line has the time of its first part.
        let (_, text) = part.get_or_insert_with(|| (time(entry.time), Vec::new()));
        text.extend_from_slice(entry.text);
        if entry.is_part && text.len() < LONGEST {
            return;
        }
        let Some((time_unix_ms, text)) = part.take() else { return };
        if time_unix_ms >= self.since {
            let stream = if entry.is_error { api::LogStream::Stderr } else { api::LogStream::Stdout };
            let text = String::from_utf8_lossy(&text).into_owned();
            self.ready.push(api::LogLine { time_unix_ms, text, stream: stream.into(), number: None });
        }
    }
}

fn time(text: &[u8]) -> i64 {
    std::str::from_utf8(text).ok().and_then(parse_time).map_or(0, |ns| ns / 1_000_000)
}

impl Sink for Lines {
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(0) };
        for entry in bytes[..end].split(|byte| *byte == b'\n').filter_map(Line::parse) {
            self.add(&entry);
        }
        Ok(end + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_of_one_start_of_the_host() {
        let place = |boot: &str| Some(api::LogPlace { boot_id: boot.into(), number: 4 });
        assert_eq!(from(place("a"), "a"), Some(5));
        assert_eq!(from(place("b"), "a"), None);
        assert_eq!(from(place(""), ""), None);
        assert_eq!(from(None, "a"), None);
    }

    #[test]
    fn entries_become_lines() {
        let log = b"1970-01-01T00:00:01Z stdout F one\n1970-01-01T00:00:02Z stdout P tw\n\
            1970-01-01T00:00:03.5Z stderr F b\xff\n1970-01-01T00:00:04Z stdout F o\nnonsense\n1970-01-01T00:00:05Z std";
        let mut lines = Lines::new(2000);
        let done = lines.take(log).unwrap();
        assert_eq!(&log[done..], b"1970-01-01T00:00:05Z std");
        let got: Vec<(i64, &str, api::LogStream)> =
            lines.ready.iter().map(|line| (line.time_unix_ms, line.text.as_str(), line.stream())).collect();
        let want = [(3500, "b\u{fffd}", api::LogStream::Stderr), (2000, "two", api::LogStream::Stdout)];
        assert_eq!(got, want);
        assert_eq!(lines.take(b"no end").unwrap(), 0);
    }
}
