//! The client against a server of this file, in invented time.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::client::{Action, Client, Event, Mode};
use super::message::{IaAddress, IaNa, Kind, Message, Options, Status, option};
use crate::random::Random;
use crate::time::Instant;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

fn client() -> Client {
    Client::new(MAC, None, Random::from_seed(1))
}

fn at(seconds: u64) -> Instant {
    Duration::from_secs(seconds)
}

fn status(code: u8) -> Vec<u8> {
    vec![0, code]
}

/// An answer with an address for 1000 s, preferred for 800 s.
fn answer(request: &Message, kind: Kind) -> Message {
    let mut options = Options::default();
    options.push(option::CLIENT_ID, request.options.get(option::CLIENT_ID).unwrap().to_vec());
    options.push(option::SERVER_ID, vec![0, 1, 2, 3]);
    let addresses = vec![IaAddress { address: ADDRESS, preferred_s: 800, valid_s: 1000 }];
    let ia = IaNa { iaid: 0x0012_3456, t1_s: 0, t2_s: 0, addresses, status: Status::Success };
    options.push(option::IA_NA, ia.to_bytes());
    options.push(option::DNS, ADDRESS.octets().to_vec());
    let message = Message { kind, xid: request.xid, options };
    // Over the wire and back.
    Message::parse(&message.to_bytes()).expect("what is written can be read")
}

fn sent(actions: &[Action]) -> &Message {
    let message = actions.iter().find_map(|action| match action {
        Action::Send(message) => Some(message),
        _ => None,
    });
    message.expect("something is sent")
}

/// Leads a client to a lease at time 0.
fn bound() -> Client {
    let mut client = client();
    let actions = client.handle(&Event::Start(Mode::Stateful), at(0));
    let advertise = answer(sent(&actions), Kind::Advertise);
    let actions = client.handle(&Event::Received(&advertise), at(0));
    let request = sent(&actions);
    assert_eq!(request.kind, Kind::Request);
    assert_eq!(request.options.get(option::SERVER_ID), Some(&[0, 1, 2, 3][..]));
    let reply = answer(request, Kind::Reply);
    assert_eq!(client.handle(&Event::Received(&reply), at(0)), [Action::Bound]);
    client
}

#[test]
fn a_lease_is_asked_for_and_taken() {
    let client = bound();
    let lease = client.lease().unwrap();
    assert_eq!((lease.address, &lease.dns[..]), (Some(ADDRESS), &[ADDRESS][..]));
    assert_eq!((lease.renew_at, lease.rebind_at), (Some(at(400)), Some(at(640))));
    assert_eq!((lease.preferred_until, lease.ends_at), (Some(at(800)), Some(at(1000))));
}

#[test]
fn rapid_commit_saves_two_messages() {
    let mut client = client();
    let actions = client.handle(&Event::Start(Mode::Stateful), at(0));
    assert!(sent(&actions).options.get(option::RAPID_COMMIT).is_some());
    let mut reply = answer(sent(&actions), Kind::Reply);
    assert_eq!(client.handle(&Event::Received(&reply), at(0)), [], "without the option it is not meant");
    reply.options.push(option::RAPID_COMMIT, Vec::new());
    assert_eq!(client.handle(&Event::Received(&reply), at(0)), [Action::Bound]);
}

#[test]
fn a_lease_is_renewed_rebound_and_lost() {
    let mut client = bound();
    let mut seen = Vec::new();
    loop {
        let now = client.deadline().expect("it goes on");
        let actions = client.handle(&Event::Timer, now);
        let kind = sent(&actions).kind;
        if seen.last().is_none_or(|(_, last)| *last != kind) {
            seen.push((now.as_secs(), kind));
        }
        if actions.contains(&Action::Lost) {
            break;
        }
    }
    assert_eq!(seen, [(400, Kind::Renew), (640, Kind::Rebind), (1000, Kind::Solicit)]);
}

#[test]
fn a_server_that_forgot_gives_a_new_lease() {
    let mut client = bound();
    let actions = client.handle(&Event::Timer, at(400));
    let mut reply = answer(sent(&actions), Kind::Reply);
    let mut ia = reply.options.get(option::IA_NA).unwrap()[..12].to_vec();
    ia.extend([0, 13, 0, 2]);
    ia.extend(status(3));
    reply.options.0.retain(|(number, _)| *number != option::IA_NA);
    reply.options.push(option::IA_NA, ia);
    let actions = client.handle(&Event::Received(&reply), at(401));
    assert_eq!(actions[0], Action::Lost);
    assert_eq!(sent(&actions).kind, Kind::Solicit);
}

#[test]
fn another_link_is_noticed() {
    let mut client = bound();
    client.handle(&Event::Stop, at(100));
    assert!(client.lease().is_some(), "a pulled cable takes no address");
    let actions = client.handle(&Event::Start(Mode::Stateful), at(110));
    let confirm = sent(&actions).clone();
    assert_eq!(confirm.kind, Kind::Confirm);
    let mut reply = answer(&confirm, Kind::Reply);
    reply.options.push(option::STATUS, status(4));
    let actions = client.handle(&Event::Received(&reply), at(110));
    assert_eq!(actions[0], Action::Lost);
    // The same without an answer: the lease is used on.
    let mut client = bound();
    client.handle(&Event::Start(Mode::Stateful), at(110));
    let mut now = at(110);
    while client.state() == "confirming" {
        now = client.deadline().unwrap();
        client.handle(&Event::Timer, now);
    }
    assert!((at(119)..at(126)).contains(&now), "{now:?}");
    assert_eq!(client.deadline(), Some(at(400)));
}

#[test]
fn a_duplicate_is_declined() {
    let mut client = bound();
    let actions = client.handle(&Event::Duplicate, at(2));
    let decline = sent(&actions).clone();
    assert_eq!(decline.kind, Kind::Decline);
    assert_eq!(decline.options.ia_na(0x0012_3456).unwrap().addresses[0].address, ADDRESS);
    let actions = client.handle(&Event::Received(&answer(&decline, Kind::Reply)), at(3));
    assert_eq!((&actions[0], sent(&actions).kind), (&Action::Lost, Kind::Solicit));
}

#[test]
fn configuration_without_an_address() {
    let mut client = client();
    let actions = client.handle(&Event::Start(Mode::Stateless), at(0));
    let request = sent(&actions).clone();
    assert_eq!(request.kind, Kind::InformationRequest);
    assert!(request.options.get(option::IA_NA).is_none());
    let mut reply = answer(&request, Kind::Reply);
    reply.options.push(option::REFRESH_TIME, 10_u32.to_be_bytes().to_vec());
    assert_eq!(client.handle(&Event::Received(&reply), at(1)), [Action::Bound]);
    let lease = client.lease().unwrap();
    assert_eq!((lease.address, &lease.dns[..]), (None, &[ADDRESS][..]));
    assert_eq!(client.deadline(), Some(at(600)), "no sooner than ten minutes");
    assert_eq!(sent(&client.handle(&Event::Timer, at(600))).kind, Kind::InformationRequest);
    // A router that wants addresses by DHCPv6 now.
    let actions = client.handle(&Event::Start(Mode::Stateful), at(700));
    assert_eq!(sent(&actions).kind, Kind::Solicit);
}

#[test]
fn answers_to_others_are_ignored() {
    let mut client = client();
    let actions = client.handle(&Event::Start(Mode::Stateful), at(0));
    let solicit = sent(&actions).clone();
    let check = |client: &mut Client, change: &dyn Fn(&mut Message)| {
        let mut advertise = answer(&solicit, Kind::Advertise);
        change(&mut advertise);
        assert_eq!(client.handle(&Event::Received(&advertise), at(0)), [], "{advertise:?}");
    };
    check(&mut client, &|message| message.xid ^= 1);
    check(&mut client, &|message| message.options.0.retain(|(number, _)| *number != option::SERVER_ID));
    check(&mut client, &|message| message.options.0[0].1[4] ^= 1);
    check(&mut client, &|message| message.options.0.retain(|(number, _)| *number != option::IA_NA));
}

#[test]
fn hostile_messages_are_survived() {
    let mut random = Random::from_seed(13);
    let mut client = client();
    for round in 0..30_000_u64 {
        let actions = client.handle(&Event::Start(Mode::Stateful), at(round));
        let kind = if round % 2 == 0 { Kind::Advertise } else { Kind::Reply };
        let mut bytes = answer(sent(&actions), kind).to_bytes();
        for _ in 0..random.next_u32() % 5 {
            let at = 4 + random.next_u32() as usize % (bytes.len() - 4);
            bytes[at] = random.next_u8();
        }
        bytes.truncate(random.next_u32() as usize % (bytes.len() + 20));
        if let Some(message) = Message::parse(&bytes) {
            client.handle(&Event::Received(&message), at(round));
        }
    }
}
