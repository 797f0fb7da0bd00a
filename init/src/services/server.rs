//! The control socket: accepts clients, and moves their bytes without ever waiting for one.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use lepton_control::{Answer, ErrorKind, LogLine, Request, SOCKET};

use super::Services;
use super::client::{Client, Cursor, Gone, Log, root_peer};
use super::poller::{Interest, Source};
use super::requests::Outcome;
use crate::clock::millis;

/// Clients at a time; more are turned away.
const MOST: usize = 32;
/// Connections that are accepted before other things have their turn.
const TURN: usize = 8;

/// Binds the control socket, for root alone.
pub(super) fn bind() -> io::Result<UnixListener> {
    let listener = UnixListener::bind(SOCKET)?;
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Services {
    /// Takes new clients.
    pub(super) fn accept(&mut self, now: Duration) {
        for _ in 0..TURN {
            let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) else { return };
            let used = self.clients.iter().flatten().count();
            // A client that is turned away sees its connection close.
            let Ok(pid) = root_peer(&stream) else { continue };
            if used >= MOST || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let free = self.clients.iter().position(Option::is_none);
            let slot = free.unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            if self.poller.add(&stream, Source::Client(slot), Interest::Read).is_ok() {
                self.clients[slot] = Some(Client::new(stream, pid, now));
            }
        }
    }

    /// Moves what can be moved for one client.
    pub(super) fn serve_client(&mut self, slot: usize, now: Duration) {
        let Some(mut client) = self.clients.get_mut(slot).and_then(Option::take) else { return };
        // A client that goes closes its descriptor, which takes it out of the poller.
        if self.pump(&mut client, now).is_ok() {
            let interest = if client.is_owed() { Interest::Write } else { Interest::Read };
            if self.poller.change(&client.stream, Source::Client(slot), interest).is_ok() {
                self.clients[slot] = Some(client);
            }
        }
    }

    /// Serves clients that follow a log or services, and drops those that take nothing.
    pub(super) fn serve_followers(&mut self, now: Duration) {
        for slot in 0..self.clients.len() {
            let Some(client) = &self.clients[slot] else { continue };
            if client.deadline().is_some_and(|deadline| deadline <= now) {
                self.clients[slot] = None;
            } else if let Some(cursor) = &client.cursor
                && !client.is_owed()
                && cursor.next < self.ring(cursor.log).end()
            {
                self.serve_client(slot, now);
            }
        }
    }

    fn pump(&mut self, client: &mut Client, now: Duration) -> Result<(), Gone> {
        client.flush(now)?;
        if client.is_owed() {
            return Ok(());
        }
        client.fill()?;
        loop {
            if client.cursor.is_some() {
                self.push_lines(client, now);
            } else {
                let Some(line) = client.line() else { return Ok(()) };
                self.answer(client, &line, now);
            }
            client.flush(now)?;
            let has_more = |cursor: &Cursor| cursor.next < self.ring(cursor.log).end();
            // A ring is a few times as long as the queue, so this ends soon.
            if client.is_owed() || client.cursor.as_ref().is_some_and(|cursor| !has_more(cursor)) {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, client: &mut Client, line: &[u8], now: Duration) {
        let outcome = match Request::from_line(line) {
            Ok(request) => self.obey(request, client.pid, now),
            Err(error) => Outcome::Answer(Answer::error(ErrorKind::BadRequest, error.to_string())),
        };
        match outcome {
            Outcome::Answer(answer) => client.push(&answer),
            Outcome::Watch(services) => {
                client.push(&Answer::Services(services));
                let next = self.changes.ring().end();
                client.cursor = Some(Cursor { log: Log::Changes, next, follow: true });
            }
            Outcome::Log(cursor) => {
                client.cursor = Some(cursor);
                self.push_lines(client, now);
            }
        }
    }

    /// Puts lines of what the client follows into its queue, as far as there is room.
    fn push_lines(&self, client: &mut Client, now: Duration) {
        let Some(mut cursor) = client.cursor.take() else { return };
        let ring = self.ring(cursor.log);
        if cursor.log == Log::Changes {
            cursor.next = self.changes.give(client, cursor.next, || self.statuses(now));
            client.cursor = Some(cursor);
            return;
        }
        if cursor.next < ring.first() {
            let text = format!("lepton: {} lines were too old", ring.first() - cursor.next);
            client.push(&Answer::Line(LogLine { number: ring.first() - 1, ms: millis(now), text }));
            cursor.next = ring.first();
        }
        while client.has_room()
            && let Some(line) = ring.get(cursor.next)
        {
            client.push(&Answer::Line(line.clone()));
            cursor.next += 1;
        }
        if cursor.follow || cursor.next < ring.end() {
            client.cursor = Some(cursor);
        } else {
            client.push(&Answer::End);
        }
    }
}
