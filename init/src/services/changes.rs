//! Changes of services' states on their way to the clients that follow them.
//!
//! The newest are kept in a ring of bounded size. A client that is so slow that the ring has passed it is told how many
//! changes it missed, and gets all services as they are.

use lepton_control::{Answer, Change, LogLine, ServiceStatus};

use super::client::Client;
use super::log::Ring;

/// Bytes of changes that are kept: more than one start of a host makes.
const KEPT: usize = 64 * 1024;

/// The newest changes, each as the line that says it.
#[derive(Debug)]
pub(super) struct Changes(Ring);

impl Default for Changes {
    fn default() -> Self {
        Self(Ring::new(KEPT))
    }
}

impl Changes {
    /// Adds a change; the oldest go.
    pub(super) fn push(&mut self, change: Change) {
        self.0.push(LogLine::new(change.ms, Answer::Change(Box::new(change)).to_line()));
    }

    /// The lines.
    pub(super) fn ring(&self) -> &Ring {
        &self.0
    }

    /// Puts changes from number `next` on into the client's queue, as far as there is room. Gives the number of the first one
    /// that is left for later. `all` are all services as they are.
    pub(super) fn give(
        &self,
        client: &mut Client,
        mut next: u64,
        all: impl FnOnce() -> Vec<ServiceStatus>,
    ) -> u64 {
        if next < self.0.first() {
            client.push(&Answer::Lost(self.0.end() - next));
            client.push(&Answer::Services(all()));
            return self.0.end();
        }
        while client.has_room()
            && let Some(line) = self.0.get(next)
        {
            client.push_line(&line.text);
            next += 1;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use lepton_control::ServiceState;

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

    fn answers(theirs: &UnixStream, count: usize) -> Vec<Answer> {
        let lines = BufReader::new(theirs).lines().take(count);
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    }

    #[test]
    fn a_follower_gets_every_change_in_order() {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours, 1, Duration::ZERO);
        let mut changes = Changes::default();
        let mut next = 0;
        for starts in 0..3 {
            changes.push(change(starts));
            next = changes.give(&mut client, next, || panic!("nothing was lost"));
        }
        assert_eq!(next, changes.0.end());
        client.flush(Duration::ZERO).unwrap();
        let expected: Vec<Answer> = (0..3).map(|starts| Answer::Change(Box::new(change(starts)))).collect();
        assert_eq!(answers(&theirs, 3), expected);
    }

    #[test]
    fn a_slow_follower_is_told_what_it_lost_and_costs_no_more_memory() {
        let (theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut client = Client::new(ours, 1, Duration::ZERO);
        let mut changes = Changes::default();
        let (mut next, mut most) = (0, 0);
        for starts in 0..10_000 {
            changes.push(change(starts));
            // As PID 1 does: nothing more for a client that has not taken the last of it.
            client.flush(Duration::ZERO).unwrap();
            if !client.is_owed() {
                next = changes.give(&mut client, next, || vec![service(starts)]);
            }
            most = most.max(client.waiting());
        }
        assert!(most <= 2 * KEPT, "{most}");
        assert!(next < changes.0.first());
        // It reads again: all that was sent, then how many were not, then how things are.
        let before = usize::try_from(next).unwrap();
        let reader = std::thread::spawn(move || answers(&theirs, before + 2));
        while client.is_owed() {
            client.flush(Duration::ZERO).unwrap();
        }
        next = changes.give(&mut client, next, || vec![service(9_999)]);
        while client.is_owed() {
            client.flush(Duration::ZERO).unwrap();
        }
        assert_eq!(next, changes.0.end());
        let told = reader.join().unwrap();
        assert_eq!(told[before - 1], Answer::Change(Box::new(change(u32::try_from(before).unwrap() - 1))));
        assert_eq!(told[before], Answer::Lost(10_000 - before as u64));
        assert_eq!(told[before + 1], Answer::Services(vec![service(9_999)]));
    }
}
