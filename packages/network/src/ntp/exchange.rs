//! The NTP client with its sockets: asks servers, and corrects the clock.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use super::client::{Server, Status, agreed};
use super::clock::Clock;
use super::discipline::{Correction, Discipline};
use super::resolve::Resolver;
use crate::random::Random;
use crate::time::Instant;

/// Before a name that could not be resolved is tried again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);
/// More servers make no better time.
const MOST_SERVERS: usize = 8;

/// A server and its socket. Each has its own, so that answers can come from nobody else.
#[derive(Debug)]
struct Asked {
    server: Server,
    socket: UdpSocket,
}

/// The client.
#[derive(Debug)]
pub struct Ntp {
    clock: Box<dyn Clock>,
    discipline: Discipline,
    names: Vec<String>,
    resolver: Option<Resolver>,
    resolve_at: BTreeMap<String, Instant>,
    servers: Vec<Asked>,
    random: Random,
    offset: Option<i128>,
    /// Things worth a line in the log, since the last look.
    pub lines: Vec<String>,
}

impl Ntp {
    /// A client without servers.
    pub fn new(clock: Box<dyn Clock>, random: Random) -> Self {
        Self {
            clock,
            discipline: Discipline::default(),
            names: Vec::new(),
            resolver: None,
            resolve_at: BTreeMap::new(),
            servers: Vec::new(),
            random,
            offset: None,
            lines: Vec::new(),
        }
    }

    /// Says which servers to ask, by name or address. The same again changes nothing.
    pub fn set_servers(&mut self, names: &[String], now: Instant) {
        if self.names == names {
            return;
        }
        self.names = names.to_vec();
        self.servers.clear();
        self.resolve_at = names.iter().map(|name| (name.clone(), now)).collect();
    }

    /// Sockets to poll.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let servers = self.servers.iter().map(|asked| asked.socket.as_fd());
        servers.chain(self.resolver.iter().map(|resolver| resolver.as_fd()))
    }

    /// When `run` is due.
    pub fn deadline(&self) -> Option<Instant> {
        let servers = self.servers.iter().filter_map(|asked| asked.server.deadline());
        servers.chain(self.resolve_at.values().copied()).chain(self.discipline.deadline()).min()
    }

    /// Figures for people.
    pub fn status(&self, now: Instant) -> Status {
        let answering = || self.servers.iter().filter(|asked| asked.server.opinion(0, now).is_some());
        Status {
            servers: self.servers.len(),
            answering: answering().count(),
            stratum: answering().map(|asked| asked.server.stratum).min(),
            offset: self.offset,
            is_synchronized: self.discipline.is_set(),
        }
    }

    /// Reads answers and does what is due; tells whether the figures may have changed.
    pub fn run(&mut self, now: Instant) -> bool {
        self.resolve(now);
        let has_answer = self.receive(now);
        let has_failed = self.ask(now);
        if let Some(correction) = self.discipline.settle(now) {
            self.correct(correction);
        }
        if !has_answer && !has_failed {
            return false;
        }
        let servers: Vec<Server> = self.servers.iter().map(|asked| asked.server.clone()).collect();
        let steered = self.discipline.steered(now);
        if let Some(offset) = agreed(&servers, self.discipline.is_set(), steered, now)
            && self.is_poll_complete(now)
        {
            self.offset = Some(offset);
            let correction = self.discipline.update(offset, now);
            self.correct(correction);
        }
        true
    }

    /// Corrections come once a poll, not with each of the first packets or each server's answer.
    fn is_poll_complete(&self, now: Instant) -> bool {
        let is_waiting = self.servers.iter().any(|asked| asked.server.is_waiting());
        !self.discipline.is_set() || (self.discipline.is_due(now) && !is_waiting)
    }

    fn correct(&mut self, correction: Correction) {
        let result = match correction {
            Correction::Step(offset) => {
                self.lines.push(format!("time: stepped by {:.3} s", offset as f64 / 1e9));
                for asked in &mut self.servers {
                    asked.server.forget();
                }
                self.clock.step(offset)
            }
            Correction::Frequency(parts_per_million) => self.clock.set_frequency(parts_per_million),
            Correction::Panic(offset) => {
                let seconds = offset / 1_000_000_000;
                self.lines.push(format!(
                    "time: servers say {seconds} s, which is not believed after the first setting"
                ));
                Ok(())
            }
        };
        if let Err(error) = result {
            self.lines.push(format!("time: cannot correct the clock: {error}"));
        }
    }

    fn receive(&mut self, now: Instant) -> bool {
        let mut has_answer = false;
        let steered = self.discipline.steered(now);
        for Asked { server, socket } in &mut self.servers {
            let mut packet = [0; 512];
            // Refused connections are errors here: the server is asked again later.
            while let Ok(count) = socket.recv(&mut packet) {
                has_answer |= server.receive(&packet[..count], (self.clock.now(), steered), now);
            }
        }
        has_answer
    }

    /// Sends what is due; tells whether a server has not answered in time.
    fn ask(&mut self, now: Instant) -> bool {
        let mut has_failed = false;
        for Asked { server, socket } in &mut self.servers {
            let was_waiting = server.is_waiting();
            let request =
                server.request(self.random.next_u64(), self.clock.now(), self.discipline.poll(), now);
            has_failed |= was_waiting && !server.is_waiting();
            if let Some(request) = request {
                // A network that is not there yet is as if no answer came.
                let _ = socket.send(&request);
            }
        }
        has_failed
    }

    fn resolve(&mut self, now: Instant) {
        let due: Vec<String> =
            self.resolve_at.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.resolve_at.remove(&name);
            let resolver = match &mut self.resolver {
                Some(resolver) => resolver,
                none => match Resolver::new() {
                    Ok(resolver) => none.insert(resolver),
                    Err(error) => {
                        self.lines.push(format!("time: cannot start the resolver: {error}"));
                        return;
                    }
                },
            };
            if let Some(address) = resolver.ask(&name) {
                self.add(address, now);
            }
        }
        let answers = self.resolver.as_mut().map(Resolver::answers).unwrap_or_default();
        for (name, addresses) in answers {
            if !self.names.contains(&name) {
                continue;
            }
            if addresses.is_empty() {
                self.resolve_at.insert(name, now + RESOLVE_AGAIN);
            }
            for address in addresses {
                self.add(address, now);
            }
        }
    }

    fn add(&mut self, address: SocketAddr, now: Instant) {
        let is_known = self.servers.iter().any(|asked| asked.server.address == address);
        if is_known || self.servers.len() >= MOST_SERVERS {
            return;
        }
        match connect(address) {
            Ok(socket) => self.servers.push(Asked { server: Server::new(address, now), socket }),
            // No way there yet, such as IPv6 on a network without.
            Err(_) => {
                self.resolve_at.insert(address.ip().to_string(), now + RESOLVE_AGAIN);
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
