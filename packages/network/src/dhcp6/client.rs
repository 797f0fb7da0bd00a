//! The client's state machine (RFC 8415 section 18.2). It is given time and messages, and says what to send.

use std::time::Duration;

use super::lease::Lease;
use super::message::{IaAddress, IaNa, Kind, Message, Options, Status, option};
use crate::random::Random;
use crate::time::Instant;

/// What routers or the config want of DHCPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An address, and configuration.
    Stateful,
    /// Configuration alone.
    Stateless,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The link can be used, or another mode is wanted.
    Start(Mode),
    /// The link has no carrier, or DHCPv6 is no longer wanted.
    Stop,
    /// A message arrived.
    Received(&'a Message),
    /// Another host has the leased address (duplicate address detection).
    Duplicate,
    /// The time of `deadline` has come.
    Timer,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to all servers (ff02::1:2).
    Send(Message),
    /// The lease is new or has new times.
    Bound,
    /// There is no lease any more.
    Lost,
}

/// Waits of one kind of message (RFC 8415 section 7.6): first, longest, tries and whole time; 0 is without end.
struct Waits {
    first_s: u64,
    longest_s: u64,
    tries: u32,
    whole_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Soliciting,
    Requesting { server: Vec<u8> },
    Confirming,
    Bound,
    Renewing,
    Rebinding,
    Asking,
    Declining,
}

/// The client of one link.
#[derive(Clone, Debug)]
pub struct Client {
    duid: Vec<u8>,
    iaid: u32,
    mode: Mode,
    state: State,
    lease: Option<Lease>,
    random: Random,
    xid: u32,
    began: Instant,
    sent: Instant,
    tries: u32,
    wait: Duration,
    deadline: Option<Instant>,
}

impl Client {
    /// A client that does nothing before `Start`. `lease` is one from before a restart of this program.
    pub fn new(mac: [u8; 6], lease: Option<Lease>, random: Random) -> Self {
        Self {
            // DUID-LL (RFC 8415 section 11.4): the same after every boot, and no state is needed for it.
            duid: [&[0, 3, 0, 1], &mac[..]].concat(),
            iaid: u32::from_be_bytes([mac[2], mac[3], mac[4], mac[5]]),
            mode: Mode::Stateful,
            state: State::Idle,
            lease,
            random,
            xid: 0,
            began: Instant::ZERO,
            sent: Instant::ZERO,
            tries: 0,
            wait: Duration::ZERO,
            deadline: None,
        }
    }

    /// When `Timer` is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The lease in use.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// A word or two for people.
    pub fn state(&self) -> &'static str {
        match self.state {
            State::Idle => "stopped",
            State::Soliciting => "waiting for DHCPv6",
            State::Requesting { .. } => "requesting",
            State::Confirming => "confirming",
            State::Bound => "bound",
            State::Renewing => "renewing",
            State::Rebinding => "rebinding",
            State::Asking => "asking for configuration",
            State::Declining => "declining a duplicate address",
        }
    }

    /// Tells the client what happened and gives what to do, in order.
    pub fn handle(&mut self, event: &Event<'_>, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Start(mode) => self.start(*mode, now, &mut actions),
            Event::Stop => {
                self.state = State::Idle;
                self.deadline = self.lease.as_ref().and_then(|lease| lease.ends_at);
            }
            Event::Received(message) => self.receive(message, now, &mut actions),
            Event::Duplicate if self.lease.as_ref().is_some_and(|lease| lease.address.is_some()) => {
                self.enter(State::Declining, now, &mut actions);
            }
            Event::Timer if self.deadline.is_some_and(|deadline| deadline <= now) => {
                self.expire(now, &mut actions)
            }
            Event::Duplicate | Event::Timer => {}
        }
        actions
    }

    fn start(&mut self, mode: Mode, now: Instant, actions: &mut Vec<Action>) {
        self.mode = mode;
        let has_address =
            self.lease.as_ref().is_some_and(|lease| lease.address.is_some() && !lease.is_over(now));
        if mode == Mode::Stateful && has_address {
            self.enter(State::Confirming, now, actions);
            return;
        }
        if has_address || self.lease.as_ref().is_some_and(|lease| lease.is_over(now)) {
            self.lease = None;
            actions.push(Action::Lost);
        }
        let state = if mode == Mode::Stateful { State::Soliciting } else { State::Asking };
        self.enter(state, now, actions);
    }

    fn receive(&mut self, message: &Message, now: Instant, actions: &mut Vec<Action>) {
        let options = &message.options;
        if message.xid != self.xid || options.get(option::CLIENT_ID) != Some(&self.duid[..]) {
            return;
        }
        let Some(server) = options.get(option::SERVER_ID) else { return };
        match (&self.state, message.kind) {
            (State::Soliciting, Kind::Advertise)
                if Lease::with_address(options, self.iaid, now).is_some() =>
            {
                let state = State::Requesting { server: server.to_vec() };
                self.enter(state, now, actions);
            }
            // RFC 8415 section 18.2.10: asked for by the option Rapid Commit.
            (State::Soliciting, Kind::Reply) if options.get(option::RAPID_COMMIT).is_some() => {
                self.take(options, actions);
            }
            (State::Requesting { server: asked }, Kind::Reply) if asked.as_slice() == server => {
                let is_taken = self.take(options, actions);
                if !is_taken {
                    self.restart(now, actions);
                }
            }
            (State::Renewing | State::Rebinding, Kind::Reply) => {
                let status = options.ia_na(self.iaid).map_or(Status::Failed, |ia| ia.status);
                let is_taken = status == Status::Success && self.take(options, actions);
                // A server that does not know the lease gives a new one when asked.
                if !is_taken && matches!(status, Status::NoBinding | Status::NotOnLink | Status::NoAddresses)
                {
                    self.restart(now, actions);
                }
            }
            (State::Confirming, Kind::Reply) => match options.status() {
                Status::Success => self.rest(now),
                Status::NotOnLink => self.restart(now, actions),
                _ => {}
            },
            (State::Asking, Kind::Reply) => {
                if let Some(lease) = Lease::without_address(options, self.sent) {
                    self.bind(lease, actions);
                }
            }
            (State::Declining, Kind::Reply) => self.restart(now, actions),
            _ => {}
        }
    }

    /// Takes the lease in a reply, when there is one.
    fn take(&mut self, options: &Options, actions: &mut Vec<Action>) -> bool {
        let lease = Lease::with_address(options, self.iaid, self.sent);
        let lease = lease.filter(|_| options.status() == Status::Success);
        let is_taken = lease.is_some();
        if let Some(lease) = lease {
            self.bind(lease, actions);
        }
        is_taken
    }

    fn bind(&mut self, lease: Lease, actions: &mut Vec<Action>) {
        self.deadline = lease.renew_at;
        self.state = State::Bound;
        self.lease = Some(lease);
        actions.push(Action::Bound);
    }

    /// Goes on with the lease that there is.
    fn rest(&mut self, now: Instant) {
        self.state = State::Bound;
        self.deadline = self.lease.as_ref().and_then(|lease| lease.renew_at).map(|at| at.max(now));
    }

    fn restart(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.lease.take().is_some() {
            actions.push(Action::Lost);
        }
        let state = if self.mode == Mode::Stateful { State::Soliciting } else { State::Asking };
        self.enter(state, now, actions);
    }

    fn expire(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.lease.as_ref().is_some_and(|lease| lease.is_over(now)) {
            if self.state == State::Idle {
                self.lease = None;
                self.deadline = None;
                actions.push(Action::Lost);
            } else {
                self.restart(now, actions);
            }
            return;
        }
        let waits = waits(&self.state);
        let is_over = (waits.tries > 0 && self.tries >= waits.tries)
            || (waits.whole_s > 0 && now.saturating_sub(self.began) >= Duration::from_secs(waits.whole_s));
        let rebind_at = self.lease.as_ref().and_then(|lease| lease.rebind_at);
        match &self.state {
            State::Idle => {}
            State::Bound if self.mode == Mode::Stateless => self.enter(State::Asking, now, actions),
            State::Bound => self.enter(State::Renewing, now, actions),
            State::Renewing if rebind_at.is_some_and(|at| at <= now) => {
                self.enter(State::Rebinding, now, actions)
            }
            // Section 18.2.3: nobody objects, so the lease is used on.
            State::Confirming if is_over => self.rest(now),
            State::Requesting { .. } | State::Declining if is_over => self.restart(now, actions),
            _ => self.send(now, actions),
        }
    }

    /// Begins an exchange of messages.
    fn enter(&mut self, state: State, now: Instant, actions: &mut Vec<Action>) {
        self.state = state;
        self.began = now;
        self.tries = 0;
        self.xid = self.random.next_u32() & 0x00ff_ffff;
        self.send(now, actions);
    }

    fn send(&mut self, now: Instant, actions: &mut Vec<Action>) {
        actions.push(Action::Send(self.message(now)));
        self.sent = now;
        self.tries += 1;
        // RFC 8415 section 15: double with a tenth of chance, up to a longest wait.
        let waits = waits(&self.state);
        let (first, longest) = (Duration::from_secs(waits.first_s), Duration::from_secs(waits.longest_s));
        let doubled = if self.tries == 1 { first } else { self.wait * 2 };
        let capped = if doubled > longest { longest } else { doubled };
        self.wait = capped.mul_f64(1.0 + self.random.between(-0.1, 0.1));
        let lease = self.lease.as_ref();
        let limit = match self.state {
            State::Renewing => lease.and_then(|lease| lease.rebind_at),
            _ => lease.and_then(|lease| lease.ends_at),
        };
        let next = now + self.wait;
        self.deadline = Some(limit.map_or(next, |limit| next.min(limit)));
    }

    fn message(&self, now: Instant) -> Message {
        let kind = match &self.state {
            State::Requesting { .. } => Kind::Request,
            State::Confirming => Kind::Confirm,
            State::Renewing => Kind::Renew,
            State::Rebinding => Kind::Rebind,
            State::Asking => Kind::InformationRequest,
            State::Declining => Kind::Decline,
            State::Soliciting | State::Idle | State::Bound => Kind::Solicit,
        };
        let mut options = Options::default();
        options.push(option::CLIENT_ID, self.duid.clone());
        let lease = self.lease.as_ref();
        match &self.state {
            State::Requesting { server } => options.push(option::SERVER_ID, server.clone()),
            State::Renewing | State::Declining => {
                options.push(option::SERVER_ID, lease.map(|lease| lease.server.clone()).unwrap_or_default());
            }
            _ => {}
        }
        if kind != Kind::InformationRequest {
            let address = lease.and_then(|lease| lease.address);
            let addresses = address.map(|address| IaAddress { address, preferred_s: 0, valid_s: 0 });
            let ia = IaNa {
                iaid: self.iaid,
                t1_s: 0,
                t2_s: 0,
                addresses: addresses.into_iter().collect(),
                status: Status::Success,
            };
            options.push(option::IA_NA, ia.to_bytes());
        }
        // In hundredths of a second.
        let elapsed = now.saturating_sub(self.began).as_millis() / 10;
        options.push(option::ELAPSED, u16::try_from(elapsed).unwrap_or(u16::MAX).to_be_bytes().to_vec());
        if kind == Kind::Solicit {
            options.push(option::RAPID_COMMIT, Vec::new());
        }
        if !matches!(kind, Kind::Confirm | Kind::Decline) {
            let wanted = [option::DNS, option::SEARCH, option::SNTP, option::NTP];
            let refresh = (kind == Kind::InformationRequest).then_some(option::REFRESH_TIME);
            let wanted = wanted.into_iter().chain(refresh).flat_map(u16::to_be_bytes);
            options.push(option::REQUEST, wanted.collect());
        }
        Message { kind, xid: self.xid, options }
    }
}

fn waits(state: &State) -> Waits {
    let (first_s, longest_s, tries, whole_s) = match state {
        State::Soliciting | State::Idle | State::Bound => (1, 3600, 0, 0),
        State::Requesting { .. } => (1, 30, 10, 0),
        State::Confirming => (1, 4, 0, 10),
        State::Renewing | State::Rebinding => (10, 600, 0, 0),
        State::Asking => (1, 3600, 0, 0),
        State::Declining => (1, 0, 4, 0),
    };
    // RFC 8415 section 15: 0 is no longest wait.
    Waits { first_s, longest_s: if longest_s == 0 { 3600 } else { longest_s }, tries, whole_s }
}
