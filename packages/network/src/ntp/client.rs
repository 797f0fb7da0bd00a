//! Several servers, each asked in its turn, and what they agree on. Pure: time, nonces and packets come from outside.

use std::net::SocketAddr;
use std::time::Duration;

use super::packet::{self, Reply, Time};
use super::select::{self, Opinion};
use crate::time::Instant;

/// Answers that come later are lost.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// Requests at first, and the time between them: the best of a few is much better than one.
const BURST: u32 = 4;
const BURST_WAIT: Duration = Duration::from_secs(2);
/// Waits after a server that does not answer: they double up to the longest poll.
const RETRY: Duration = Duration::from_secs(8);
/// Samples of each server (RFC 5905 section 10: the clock filter).
const SAMPLES: usize = 8;
/// What the clock may drift while a sample grows old, in millionths (PHI of RFC 5905).
const AGEING_PPM: i128 = 15;
/// Never smaller, in nanoseconds: clocks of virtual machines are not read more exactly.
const LEAST_ERROR: i128 = 50_000;

#[derive(Clone, Copy, Debug)]
struct Sample {
    offset: i128,
    delay: i128,
    error: i128,
    at: Instant,
    /// What steering had corrected by then, in nanoseconds.
    steered: i128,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is.
    pub address: SocketAddr,
    /// How far it is from a reference clock; 0 before it has answered.
    pub stratum: u8,
    samples: Vec<Sample>,
    /// The request under way: nonce, and when it was sent by both clocks.
    asked: Option<(u64, Instant, Time)>,
    next: Instant,
    sent: u32,
    failures: u32,
    /// It said never to ask again.
    is_denied: bool,
    /// It said to ask less often.
    slowdown: u32,
}

/// Figures of the whole client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Servers that are asked.
    pub servers: usize,
    /// Of these, servers that have answered lately.
    pub answering: usize,
    /// Smallest stratum of these.
    pub stratum: Option<u8>,
    /// The last offset that was agreed on, in nanoseconds.
    pub offset: Option<i128>,
    /// The clock was set or steered.
    pub is_synchronized: bool,
}

impl Server {
    /// A server that is asked at once.
    pub fn new(address: SocketAddr, now: Instant) -> Self {
        Self {
            address,
            stratum: 0,
            samples: Vec::new(),
            asked: None,
            next: now,
            sent: 0,
            failures: 0,
            is_denied: false,
            slowdown: 0,
        }
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.is_denied).then(|| self.asked.map_or(self.next, |(_, sent, _)| sent + ANSWER_WAIT))
    }

    /// Whether an answer is awaited.
    pub fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether the first answers are still awaited.
    pub fn is_starting(&self) -> bool {
        !self.is_denied && self.failures == 0 && self.sent < BURST
    }

    /// What to send now, if anything. `poll` is the time between polls.
    pub fn request(
        &mut self,
        nonce: u64,
        clock: Time,
        poll: Duration,
        now: Instant,
    ) -> Option<[u8; packet::LENGTH]> {
        if self.asked.is_some_and(|(_, sent, _)| sent + ANSWER_WAIT <= now) {
            self.asked = None;
            self.failures += 1;
            let wait = RETRY * 2_u32.pow(self.failures.min(7) - 1);
            self.next = now + wait.min(super::discipline::POLL_MAX);
            if self.failures >= 3 {
                self.samples.clear();
            }
        }
        if self.is_denied || self.asked.is_some() || self.next > now {
            return None;
        }
        self.asked = Some((nonce, now, clock));
        self.sent = self.sent.saturating_add(1);
        let is_burst = self.sent < BURST && self.slowdown == 0;
        let rare = (poll * 2_u32.pow(self.slowdown)).min(super::discipline::POLL_MAX);
        self.next = now + if is_burst { BURST_WAIT } else { rare };
        Some(packet::request(nonce))
    }

    /// Takes a packet that arrived when our clock showed `clock`, after steering had corrected it by `steered`
    /// nanoseconds; tells whether it was a time.
    pub fn receive(&mut self, packet: &[u8], (clock, steered): (Time, i128), now: Instant) -> bool {
        let Some((nonce, _, sent_at)) = self.asked else { return false };
        let Some(reply) = packet::reply(packet, nonce) else { return false };
        self.asked = None;
        self.failures = 0;
        match reply {
            Reply::Denied => {
                self.is_denied = true;
                self.samples.clear();
                false
            }
            Reply::TooOften => {
                self.slowdown = (self.slowdown + 1).min(4);
                self.next = self.next.max(now + super::discipline::POLL_MIN * 2_u32.pow(self.slowdown));
                false
            }
            Reply::Answer(answer) => {
                let offset = ((answer.received - sent_at) + (answer.sent - clock)) / 2;
                let delay = ((clock - sent_at) - (answer.sent - answer.received)).max(0);
                let error = (delay / 2 + answer.root_distance).max(LEAST_ERROR);
                self.stratum = answer.stratum;
                if self.samples.len() >= SAMPLES {
                    self.samples.remove(0);
                }
                self.samples.push(Sample { offset, delay, error, at: now, steered });
                true
            }
        }
    }

    /// The best of the samples: the one with the shortest way, unless it is old. `steered` as for `receive`.
    pub fn opinion(&self, steered: i128, now: Instant) -> Option<Opinion> {
        let aged = |sample: &Sample| {
            let age =
                i128::try_from(now.saturating_sub(sample.at).as_nanos()).unwrap_or(i128::MAX / 1_000_000);
            age * AGEING_PPM / 1_000_000
        };
        let best = self.samples.iter().min_by_key(|sample| sample.delay / 2 + aged(sample))?;
        Some(Opinion { offset: best.offset - (steered - best.steered), error: best.error + aged(best) })
    }

    /// The clock was stepped: samples are of another clock.
    pub fn forget(&mut self) {
        self.samples.clear();
        self.asked = None;
    }
}

/// What the servers agree on at this time; nothing while first answers are awaited or no majority agrees.
pub fn agreed(servers: &[Server], is_set: bool, steered: i128, now: Instant) -> Option<i128> {
    let opinions: Vec<Opinion> = servers.iter().filter_map(|server| server.opinion(steered, now)).collect();
    // The first setting of the clock waits for everybody who may still answer.
    let is_waiting =
        !is_set && servers.iter().any(|server| server.is_starting() && server.samples.is_empty());
    if is_waiting { None } else { select::agreed(&opinions) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntp::packet::timestamp;

    const SECOND: i128 = 1_000_000_000;
    const START: Time = 1_800_000_000 * SECOND;

    fn address() -> SocketAddr {
        "192.0.2.123:123".parse().unwrap()
    }

    /// A server whose clock is `ahead`, `delay` away; asked now.
    fn ask(server: &mut Server, ahead: i128, delay: i128, now: Instant) {
        let clock = START + i128::try_from(now.as_nanos()).unwrap();
        let request = server.request(9, clock, Duration::from_secs(64), now).expect("it is due");
        assert_eq!(request[40..48], 9_u64.to_be_bytes());
        let mut answer = [0; packet::LENGTH];
        answer[..2].copy_from_slice(&[0x24, 1]);
        answer[24..32].copy_from_slice(&request[40..48]);
        answer[32..40].copy_from_slice(&timestamp(clock + ahead + delay / 2));
        answer[40..48].copy_from_slice(&timestamp(clock + ahead + delay / 2));
        assert!(server.receive(&answer, (clock + delay, 0), now));
    }

    #[test]
    fn offsets_are_measured() {
        let mut server = Server::new(address(), Duration::ZERO);
        ask(&mut server, 10 * SECOND, SECOND / 10, Duration::ZERO);
        ask(&mut server, 10 * SECOND, SECOND / 1000, Duration::from_secs(2));
        let opinion = server.opinion(0, Duration::from_secs(2)).unwrap();
        assert!((opinion.offset - 10 * SECOND).abs() < 10, "{opinion:?}");
        assert!(opinion.error <= SECOND / 1000, "the shorter way is the better one: {opinion:?}");
        assert_eq!(agreed(&[server], false, 0, Duration::from_secs(2)), Some(opinion.offset));
    }

    #[test]
    fn a_liar_among_three_is_ignored() {
        let servers: Vec<Server> = [10, 10, 99]
            .into_iter()
            .map(|ahead| {
                let mut server = Server::new(address(), Duration::ZERO);
                ask(&mut server, ahead * SECOND, SECOND / 1000, Duration::ZERO);
                server
            })
            .collect();
        let offset = agreed(&servers, false, 0, Duration::ZERO).unwrap();
        assert!((offset - 10 * SECOND).abs() < SECOND / 1000, "{offset}");
        assert_eq!(agreed(&servers[1..], false, 0, Duration::ZERO), None, "one against one");
    }

    #[test]
    fn the_first_setting_waits_for_all() {
        let mut answered = Server::new(address(), Duration::ZERO);
        ask(&mut answered, SECOND, SECOND / 1000, Duration::ZERO);
        let mut silent = Server::new(address(), Duration::ZERO);
        assert!(silent.request(1, START, Duration::from_secs(64), Duration::ZERO).is_some());
        let mut servers = [answered, silent];
        assert_eq!(agreed(&servers, false, 0, Duration::ZERO), None);
        assert!(agreed(&servers, true, 0, Duration::ZERO).is_some());
        let late = Duration::from_secs(3);
        assert_eq!(servers[1].deadline(), Some(late));
        assert!(servers[1].request(2, START, Duration::from_secs(64), late).is_none(), "it has to wait");
        assert!(agreed(&servers, false, 0, late).is_some());
    }

    #[test]
    fn kisses_are_obeyed() {
        let kiss = |code: &[u8; 4]| {
            let mut server = Server::new(address(), Duration::ZERO);
            let request = server.request(9, START, Duration::from_secs(64), Duration::ZERO).unwrap();
            let mut answer = [0; packet::LENGTH];
            answer[0] = 0x24;
            answer[12..16].copy_from_slice(code);
            answer[24..32].copy_from_slice(&request[40..48]);
            assert!(!server.receive(&answer, (START, 0), Duration::ZERO));
            server
        };
        let mut denied = kiss(b"DENY");
        assert_eq!(denied.deadline(), None);
        assert!(denied.request(1, START, Duration::from_secs(64), Duration::from_secs(9999)).is_none());
        assert_eq!(kiss(b"RATE").deadline(), Some(Duration::from_secs(128)));
    }
}
