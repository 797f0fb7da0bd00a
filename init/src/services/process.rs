//! What PID 1 holds of one service: its cgroup, its launcher's channel, its output and its log.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::cgroup::Cgroup;
use super::log::{Intake, Ring};
use crate::clock::millis;
use lepton_control::LogLine;

/// Bytes that are taken of one service before others have their turn.
const TURN_BYTES: usize = 64 * 1024;

/// One service's side of PID 1.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) cgroup: Cgroup,
    pub(super) channel: Option<OwnedFd>,
    pub(super) output: Option<File>,
    pub(super) intake: Intake,
    pub(super) ring: Ring,
}

impl Process {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cgroup: Cgroup::of(name),
            channel: None,
            output: None,
            intake: Intake::default(),
            ring: Ring::default(),
        }
    }

    /// Takes what the service printed, so much at most that others are not kept waiting.
    pub(super) fn read_output(&mut self, now: Duration) {
        let mut buffer = [0; 16 * 1024];
        let mut taken = 0;
        while taken < TURN_BYTES {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut buffer) {
                Ok(0) => return self.close_output(now),
                Ok(count) => {
                    taken += count;
                    let ring = &mut self.ring;
                    self.intake.take(&buffer[..count], now, |line| ring.push(line));
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => return self.close_output(now),
            }
        }
    }

    /// Takes the rest of what was printed; nothing of the service is left that could print more.
    pub(super) fn finish_output(&mut self, now: Duration) {
        // A pipe holds 64 KiB, so one turn is all there can be.
        self.read_output(now);
        self.close_output(now);
    }

    /// Writes a line of PID 1 about the service.
    pub(super) fn note(&mut self, text: &str, now: Duration) {
        self.ring.push(LogLine::new(millis(now), format!("lepton: {text}")));
    }

    fn close_output(&mut self, now: Duration) {
        let ring = &mut self.ring;
        self.intake.finish(now, |line| ring.push(line));
        self.output = None;
    }
}
