//! The client's state machine (RFC 2131 section 4.4). It is given time and messages, and says what to send.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::lease::Lease;
use super::message::{Kind, Message, option};
use crate::random::Random;
use crate::time::Instant;

/// First wait for an answer. RFC 2131 says 4 s for Ethernet; servers answer in milliseconds, and hosts wait for this.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// Tries for an offered address before asking everybody again.
const REQUEST_TRIES: u32 = 4;
/// Tries to have an earlier lease confirmed before it is used without.
const REBOOT_TRIES: u32 = 2;
/// RFC 2131 section 4.4.5: no renewal is tried again sooner.
const SHORTEST_RENEWAL_WAIT: Duration = Duration::from_secs(60);
/// After a refusal, so that a server that refuses always is not flooded.
const WAIT_AFTER_NAK: Duration = Duration::from_secs(1);
/// What is asked for.
const PARAMETERS: [u8; 11] = [
    option::SUBNET_MASK,
    // RFC 3442: it must come before the routers.
    option::CLASSLESS_ROUTES,
    option::ROUTER,
    option::DNS,
    option::HOST_NAME,
    option::DOMAIN_NAME,
    option::MTU,
    option::NTP,
    option::RENEWAL_TIME,
    option::REBINDING_TIME,
    option::DOMAIN_SEARCH,
];
/// Ethernet without fragments: 1500 bytes less the IP and UDP headers.
const LARGEST_MESSAGE: u16 = 1472;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The cable was plugged in, or the client starts.
    CarrierUp,
    /// It was pulled.
    CarrierDown,
    /// A message arrived.
    Received(&'a Message),
    /// The time of `deadline` has come.
    Timer,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To everybody on the link, without an address of our own.
    Broadcast,
    /// To one server, from the leased address.
    Server {
        /// The server.
        server: Ipv4Addr,
        /// Our address.
        from: Ipv4Addr,
    },
    /// To everybody on the link, from the leased address.
    BroadcastFrom(Ipv4Addr),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(Message, Destination),
    /// The lease is new or has new times.
    Bound,
    /// There is no lease any more.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// No carrier. A lease may be left from before.
    Idle,
    /// Looking for servers.
    Selecting,
    /// Waiting for the server to keep its offer.
    Requesting(Box<Lease>),
    /// Asking whether an earlier lease still holds.
    Rebooting,
    /// All is well.
    Bound,
    /// Asking its server for more time.
    Renewing,
    /// Asking any server for more time.
    Rebinding,
}

/// The client of one link.
#[derive(Clone, Debug)]
pub struct Client {
    mac: [u8; 6],
    hostname: Option<String>,
    state: State,
    lease: Option<Lease>,
    random: Random,
    xid: u32,
    /// When the exchange began.
    began: Instant,
    /// When the last request was sent: a lease counts from then.
    sent: Instant,
    tries: u32,
    deadline: Option<Instant>,
}

impl Client {
    /// A client that does nothing before `CarrierUp`. `lease` is one from before a restart of this program.
    pub fn new(mac: [u8; 6], hostname: Option<String>, lease: Option<Lease>, random: Random) -> Self {
        Self {
            mac,
            hostname,
            state: State::Idle,
            lease,
            random,
            xid: 0,
            began: Instant::ZERO,
            sent: Instant::ZERO,
            tries: 0,
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

    /// One word for people.
    pub fn state(&self) -> &'static str {
        match self.state {
            State::Idle => "no carrier",
            State::Selecting => "waiting for DHCP",
            State::Requesting(_) => "requesting",
            State::Rebooting => "confirming",
            State::Bound => "bound",
            State::Renewing => "renewing",
            State::Rebinding => "rebinding",
        }
    }

    /// Tells the client what happened and gives what to do, in order.
    pub fn handle(&mut self, event: &Event<'_>, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::CarrierUp => self.start(now, &mut actions),
            Event::CarrierDown => {
                self.state = State::Idle;
                self.deadline = self.lease.as_ref().and_then(|lease| lease.ends_at);
            }
            Event::Received(message) => self.receive(message, now, &mut actions),
            Event::Timer if self.deadline.is_some_and(|deadline| deadline <= now) => {
                self.expire(now, &mut actions)
            }
            Event::Timer => {}
        }
        actions
    }

    fn start(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.began = now;
        self.tries = 0;
        self.xid = self.random.next_u32();
        if self.lease.as_ref().is_some_and(|lease| lease.is_over(now)) {
            self.lease = None;
            actions.push(Action::Lost);
        }
        self.state = if self.lease.is_some() { State::Rebooting } else { State::Selecting };
        self.send(now, actions);
    }

    fn receive(&mut self, message: &Message, now: Instant, actions: &mut Vec<Action>) {
        if !message.is_reply || message.xid != self.xid || message.mac != self.mac {
            return;
        }
        match (&self.state, message.kind()) {
            (State::Selecting, Some(Kind::Offer)) => {
                // The first offer that can be used: waiting for a better one makes every boot slower.
                if let Some(offer) = Lease::from_message(message, self.sent) {
                    self.state = State::Requesting(Box::new(offer));
                    self.tries = 0;
                    self.send(now, actions);
                }
            }
            (State::Requesting(offer), Some(Kind::Ack)) => {
                let lease = Lease::from_message(message, self.sent);
                if let Some(lease) = lease.filter(|lease| lease.server == offer.server) {
                    self.bind(lease, now, actions);
                }
            }
            (State::Rebooting | State::Renewing | State::Rebinding, Some(Kind::Ack)) => {
                if let Some(lease) = Lease::from_message(message, self.sent) {
                    self.bind(lease, now, actions);
                }
            }
            (State::Requesting(offer), Some(Kind::Nak))
                if message.address(option::SERVER_ID) == Some(offer.server) =>
            {
                self.restart(now, WAIT_AFTER_NAK, actions);
            }
            (State::Rebooting | State::Rebinding, Some(Kind::Nak)) => {
                self.restart(now, WAIT_AFTER_NAK, actions)
            }
            (State::Renewing, Some(Kind::Nak)) => {
                let server = self.lease.as_ref().map(|lease| lease.server);
                if message.address(option::SERVER_ID) == server {
                    self.restart(now, WAIT_AFTER_NAK, actions);
                }
            }
            _ => {}
        }
    }

    fn expire(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.lease.as_ref().is_some_and(|lease| lease.is_over(now)) {
            if self.state == State::Idle {
                self.lease = None;
                self.deadline = None;
                actions.push(Action::Lost);
            } else {
                self.restart(now, Duration::ZERO, actions);
            }
            return;
        }
        match self.state {
            State::Idle => {}
            State::Requesting(_) if self.tries >= REQUEST_TRIES => self.restart(now, Duration::ZERO, actions),
            State::Rebooting if self.tries >= REBOOT_TRIES => {
                // RFC 2131 section 3.2: nobody objects, so the rest of the lease may be used.
                self.state = State::Bound;
                let renew_at = self.lease.as_ref().and_then(|lease| lease.renew_at);
                self.deadline = renew_at.map(|at| at.max(now + SHORTEST_RENEWAL_WAIT));
            }
            State::Bound => {
                self.state = State::Renewing;
                self.began = now;
                self.xid = self.random.next_u32();
                self.send(now, actions);
            }
            State::Renewing
                if self.lease.as_ref().and_then(|lease| lease.rebind_at).is_some_and(|at| at <= now) =>
            {
                self.state = State::Rebinding;
                self.send(now, actions);
            }
            _ => self.send(now, actions),
        }
    }

    fn bind(&mut self, lease: Lease, now: Instant, actions: &mut Vec<Action>) {
        self.deadline = lease.renew_at.map(|at| at.max(now));
        self.state = State::Bound;
        self.tries = 0;
        self.lease = Some(lease);
        actions.push(Action::Bound);
    }

    /// Gives up the lease and looks for servers again.
    fn restart(&mut self, now: Instant, wait: Duration, actions: &mut Vec<Action>) {
        if self.lease.take().is_some() {
            actions.push(Action::Lost);
        }
        self.state = State::Selecting;
        self.began = now;
        self.tries = 0;
        self.xid = self.random.next_u32();
        if wait.is_zero() {
            self.send(now, actions);
        } else {
            self.deadline = Some(now + wait);
        }
    }

    fn send(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let (message, destination) = self.message(now);
        self.sent = now;
        self.tries += 1;
        self.deadline = Some(now + self.wait(now));
        actions.push(Action::Send(message, destination));
    }

    /// Time until the next try or the next state.
    fn wait(&mut self, now: Instant) -> Duration {
        let until = |at: Option<Instant>| at.map_or(Duration::MAX, |at| at.saturating_sub(now));
        if let (State::Renewing | State::Rebinding, Some(lease)) = (&self.state, &self.lease) {
            let is_renewing = self.state == State::Renewing;
            let left = until(if is_renewing { lease.rebind_at } else { lease.ends_at });
            // Half of what is left, at least a minute, and not past the end.
            return (left / 2).max(SHORTEST_RENEWAL_WAIT).min(left);
        }
        let doubled = FIRST_WAIT * 2_u32.saturating_pow(self.tries.saturating_sub(1).min(8));
        let jitter = self.random.between(-0.25, 0.25);
        let wait = doubled.min(LONGEST_WAIT).mul_f64(1.0 + jitter);
        wait.min(until(self.lease.as_ref().and_then(|lease| lease.ends_at)))
    }

    fn message(&self, now: Instant) -> (Message, Destination) {
        let kind = if self.state == State::Selecting { Kind::Discover } else { Kind::Request };
        let mut message = Message::request(kind, self.xid, self.mac);
        message.secs = u16::try_from(now.saturating_sub(self.began).as_secs()).unwrap_or(u16::MAX);
        let options = &mut message.options;
        // Hardware type 1 and the address, as RFC 2132 section 9.14 proposes and reservations by address expect.
        options.insert(option::CLIENT_ID, [&[1], &self.mac[..]].concat());
        options.insert(option::PARAMETERS, PARAMETERS.to_vec());
        options.insert(option::LARGEST_MESSAGE, LARGEST_MESSAGE.to_be_bytes().to_vec());
        if let Some(hostname) = &self.hostname {
            options.insert(option::HOST_NAME, hostname.as_bytes().to_vec());
        }
        let mut destination = Destination::Broadcast;
        match (&self.state, &self.lease) {
            (State::Requesting(offer), _) => {
                options.insert(option::REQUESTED_ADDRESS, offer.address().octets().to_vec());
                options.insert(option::SERVER_ID, offer.server.octets().to_vec());
            }
            (State::Rebooting, Some(lease)) => {
                options.insert(option::REQUESTED_ADDRESS, lease.address().octets().to_vec());
            }
            (State::Renewing, Some(lease)) => {
                message.ciaddr = lease.address();
                destination = Destination::Server { server: lease.server, from: lease.address() };
            }
            (State::Rebinding, Some(lease)) => {
                message.ciaddr = lease.address();
                destination = Destination::BroadcastFrom(lease.address());
            }
            _ => {}
        }
        (message, destination)
    }
}
