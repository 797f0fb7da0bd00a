//! Workloads: go-spiffe's sources, in a program of its own, which say in JSON lines what they see.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A workload that runs until it is told to end.
pub(crate) struct Workload {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Workload {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if send.send(value).is_err() {
                    return;
                }
            }
        });
        Self { child, input, lines }
    }

    /// Writes a line to its input.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line that fits, within a time; what came besides is forgotten.
    #[track_caller]
    pub(crate) fn until(
        &self,
        what: &str,
        patience: Duration,
        mut fits: impl FnMut(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + patience;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if fits(&line) => return line,
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("no {what} within {patience:?}; it said {seen:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended before {what}; it said {seen:#?}"),
            }
        }
    }

    /// The next X.509 context that has an SVID.
    #[track_caller]
    pub(crate) fn svids(&self, patience: Duration) -> Value {
        self.until("X.509-SVIDs", patience, |line| line["kind"] == "x509")
    }

    /// Everything that it says within a time.
    pub(crate) fn during(&self, time: Duration) -> Vec<Value> {
        let deadline = Instant::now() + time;
        let next = || self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).collect()
    }

    /// Tells it to end; gives what it says until then.
    #[track_caller]
    pub(crate) fn end(mut self) -> Vec<Value> {
        self.input = None;
        let said = self.lines.iter().collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {said:#?}");
        said
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The SPIFFE IDs of a line of `watch`.
pub(crate) fn ids(line: &Value) -> Vec<String> {
    let svids = line["svids"].as_array().cloned().unwrap_or_default();
    svids.iter().filter_map(|svid| svid["id"].as_str()).map(str::to_owned).collect()
}

/// The serial number of its first SVID.
pub(crate) fn serial(line: &Value) -> String {
    line["svids"][0]["serial"].as_str().unwrap_or_default().to_owned()
}

/// Authorities of a trust domain in it, by digest.
pub(crate) fn authorities(line: &Value, trust_domain: &str) -> Vec<String> {
    let list = line["bundles"][trust_domain].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|digest| digest.as_str()).map(str::to_owned).collect()
}
