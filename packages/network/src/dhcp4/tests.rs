//! The client against a server of this file, in invented time, and messages as they are on the wire.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::client::{Action, Client, Destination, Event};
use super::lease::Lease;
use super::message::{Kind, Message, option};
use crate::random::Random;
use crate::time::Instant;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: [u8; 4] = [192, 0, 2, 1];

fn client() -> Client {
    Client::new(MAC, Some("edge-1".into()), None, Random::from_seed(1))
}

fn at(seconds: u64) -> Instant {
    Duration::from_secs(seconds)
}

/// An answer to `request` that leases 192.0.2.`last` for `seconds`.
fn answer(request: &Message, kind: Kind, last: u8, seconds: u32) -> Message {
    let mut message = Message::request(kind, request.xid, MAC);
    message.is_reply = true;
    message.options.insert(option::SERVER_ID, SERVER.to_vec());
    if kind != Kind::Nak {
        message.yiaddr = Ipv4Addr::new(192, 0, 2, last);
        message.options.insert(option::LEASE_TIME, seconds.to_be_bytes().to_vec());
        message.options.insert(option::SUBNET_MASK, vec![255, 255, 255, 0]);
        message.options.insert(option::ROUTER, SERVER.to_vec());
    }
    // Over the wire and back.
    Message::parse(&message.to_bytes()).expect("what is written can be read")
}

/// The one message among the actions.
fn sent(actions: &[Action]) -> (&Message, Destination) {
    let mut messages = actions.iter().filter_map(|action| match action {
        Action::Send(message, destination) => Some((message, *destination)),
        _ => None,
    });
    let message = messages.next().expect("something is sent");
    assert!(messages.next().is_none(), "only one thing is sent");
    message
}

/// Leads a client to a lease of 1000 s at time 0.
fn bound() -> Client {
    let mut client = client();
    let actions = client.handle(&Event::CarrierUp, at(0));
    let offer = answer(sent(&actions).0, Kind::Offer, 7, 1000);
    let actions = client.handle(&Event::Received(&offer), at(0));
    let ack = answer(sent(&actions).0, Kind::Ack, 7, 1000);
    assert_eq!(client.handle(&Event::Received(&ack), at(0)), [Action::Bound]);
    client
}

#[test]
fn a_lease_is_asked_for_and_taken() {
    let mut client = client();
    let actions = client.handle(&Event::CarrierUp, at(0));
    let (discover, destination) = sent(&actions);
    assert_eq!((discover.kind(), destination), (Some(Kind::Discover), Destination::Broadcast));
    assert_eq!(discover.options[&option::HOST_NAME], b"edge-1");
    let actions = client.handle(&Event::Received(&answer(discover, Kind::Offer, 7, 1000)), at(1));
    let (request, destination) = sent(&actions);
    assert_eq!((request.kind(), destination), (Some(Kind::Request), Destination::Broadcast));
    assert_eq!(request.address(option::REQUESTED_ADDRESS), Some(Ipv4Addr::new(192, 0, 2, 7)));
    assert_eq!(request.address(option::SERVER_ID), Some(SERVER.into()));
    client.handle(&Event::Received(&answer(request, Kind::Ack, 7, 1000)), at(2));
    let lease = client.lease().expect("a lease");
    assert_eq!(lease.net.to_string(), "192.0.2.7/24");
    // It counts from the request, not from the answer.
    assert_eq!(
        (lease.renew_at, lease.rebind_at, lease.ends_at),
        (Some(at(501)), Some(at(876)), Some(at(1001)))
    );
    assert_eq!(client.deadline(), Some(at(501)));
}

#[test]
fn without_a_server_it_asks_less_and_less() {
    let mut client = client();
    client.handle(&Event::CarrierUp, at(0));
    let (mut now, mut times) = (at(0), Vec::new());
    while now < at(1000) {
        let next = client.deadline().expect("it goes on");
        times.push((next - now).as_secs_f64());
        now = next;
        assert_eq!(sent(&client.handle(&Event::Timer, now)).0.kind(), Some(Kind::Discover));
    }
    assert!(times[0] < 2.6, "{times:?}");
    assert!(times.iter().all(|time| *time <= 80.0), "{times:?}");
    assert!(times.len() < 25, "{times:?}");
}

#[test]
fn a_lease_is_renewed_rebound_and_lost() {
    let mut client = bound();
    let mut seen = Vec::new();
    loop {
        let now = client.deadline().expect("it goes on");
        let actions = client.handle(&Event::Timer, now);
        let (message, destination) = sent(&actions);
        seen.push((now.as_secs(), message.kind(), destination));
        if actions.contains(&Action::Lost) {
            break;
        }
    }
    let ours = Ipv4Addr::new(192, 0, 2, 7);
    let to_server = Destination::Server { server: SERVER.into(), from: ours };
    let request = Some(Kind::Request);
    assert_eq!(
        seen,
        [
            (500, request, to_server),
            (687, request, to_server),
            (781, request, to_server),
            (841, request, to_server),
            (875, request, Destination::BroadcastFrom(ours)),
            (937, request, Destination::BroadcastFrom(ours)),
            (997, request, Destination::BroadcastFrom(ours)),
            (1000, Some(Kind::Discover), Destination::Broadcast),
        ]
    );
    assert_eq!(client.lease(), None);
}

#[test]
fn a_renewal_gives_a_new_end() {
    let mut client = bound();
    let actions = client.handle(&Event::Timer, at(500));
    let (renewal, _) = sent(&actions);
    assert_eq!(renewal.ciaddr, Ipv4Addr::new(192, 0, 2, 7));
    assert!(!renewal.options.contains_key(&option::SERVER_ID), "RFC 2131 table 5");
    let ack = answer(renewal, Kind::Ack, 7, 1000);
    assert_eq!(client.handle(&Event::Received(&ack), at(501)), [Action::Bound]);
    assert_eq!(client.lease().unwrap().ends_at, Some(at(1500)));
}

#[test]
fn another_address_or_a_refusal_ends_the_lease() {
    let mut client = bound();
    let actions = client.handle(&Event::Timer, at(500));
    let nak = answer(sent(&actions).0, Kind::Nak, 0, 0);
    assert_eq!(client.handle(&Event::Received(&nak), at(501)), [Action::Lost]);
    assert_eq!(client.deadline(), Some(at(502)), "not at once: a server may refuse always");
    assert_eq!(sent(&client.handle(&Event::Timer, at(502))).0.kind(), Some(Kind::Discover));
}

#[test]
fn a_pulled_cable_confirms_the_lease() {
    let mut client = bound();
    client.handle(&Event::CarrierDown, at(100));
    assert!(client.lease().is_some());
    let actions = client.handle(&Event::CarrierUp, at(200));
    let (request, destination) = sent(&actions);
    assert_eq!((request.kind(), destination), (Some(Kind::Request), Destination::Broadcast));
    assert_eq!(request.address(option::REQUESTED_ADDRESS), Some(Ipv4Addr::new(192, 0, 2, 7)));
    assert_eq!(request.address(option::SERVER_ID), None, "RFC 2131 section 4.3.2: INIT-REBOOT");
    // Nobody answers: the lease is used for what is left of it.
    let mut now = at(200);
    while client.state() == "confirming" {
        now = client.deadline().unwrap();
        client.handle(&Event::Timer, now);
    }
    assert!(client.lease().is_some() && now < at(210), "{now:?}");
    assert_eq!(client.deadline(), Some(at(500)));
    // The cable stays out: the lease ends all the same.
    client.handle(&Event::CarrierDown, at(300));
    assert_eq!(client.deadline(), Some(at(1000)));
    assert_eq!(client.handle(&Event::Timer, at(1000)), [Action::Lost]);
}

#[test]
fn messages_of_others_are_ignored() {
    let mut client = client();
    let actions = client.handle(&Event::CarrierUp, at(0));
    let discover = sent(&actions).0.clone();
    let check = |client: &mut Client, change: &dyn Fn(&mut Message)| {
        let mut offer = answer(&discover, Kind::Offer, 7, 1000);
        change(&mut offer);
        assert_eq!(client.handle(&Event::Received(&offer), at(1)), [], "{offer:?}");
    };
    check(&mut client, &|offer| offer.xid ^= 1);
    check(&mut client, &|offer| offer.mac[5] ^= 1);
    check(&mut client, &|offer| offer.is_reply = false);
    check(&mut client, &|offer| offer.set_kind(Kind::Ack));
    check(&mut client, &|offer| offer.yiaddr = Ipv4Addr::BROADCAST);
    check(&mut client, &|offer| drop(offer.options.remove(&option::SERVER_ID)));
    check(&mut client, &|offer| drop(offer.options.remove(&option::LEASE_TIME)));
    check(&mut client, &|offer| drop(offer.options.insert(option::SUBNET_MASK, vec![255, 0, 255, 0])));
}

#[test]
fn a_message_on_the_wire() {
    let mut client = client();
    let actions = client.handle(&Event::CarrierUp, at(0));
    let bytes = sent(&actions).0.to_bytes();
    assert_eq!(bytes.len(), 300);
    let hex: Vec<String> = bytes[236..282].iter().map(|byte| format!("{byte:02x}")).collect();
    // Cookie, discover, host name, parameters, largest message, client identifier.
    let expected = "63 82 53 63 35 01 01 0c 06 65 64 67 65 2d 31 37 0b 01 79 03 06 0c 0f 1a 2a 3a 3b 77 39 02 05 c0 \
                    3d 07 01 52 54 00 12 34 56 ff 00 00 00 00";
    assert_eq!(hex.join(" "), expected);
}

#[test]
fn options_are_put_together() {
    let mut message = Message::request(Kind::Offer, 1, MAC);
    message.is_reply = true;
    let long: Vec<u8> = (0..=255).chain(0..100).collect();
    message.options.insert(200, long.clone());
    let mut bytes = message.to_bytes();
    assert_eq!(Message::parse(&bytes).unwrap().options[&200], long, "RFC 3396");
    // Option 52: more options in the field for the boot file.
    bytes.truncate(240);
    bytes.extend([53, 1, 2, 52, 1, 1, 255]);
    bytes[108..114].copy_from_slice(&[6, 4, 192, 0, 2, 53]);
    assert_eq!(Message::parse(&bytes).unwrap().addresses(option::DNS), [Ipv4Addr::new(192, 0, 2, 53)]);
}

#[test]
fn classless_routes_replace_the_router() {
    let request = Message::request(Kind::Request, 1, MAC);
    let mut ack = answer(&request, Kind::Ack, 7, u32::MAX);
    // 10.0.0.0/8 on the link, 198.51.100.0/24 and everything else through routers.
    let routes = [8, 10, 0, 0, 0, 0, 24, 198, 51, 100, 192, 0, 2, 9, 0, 192, 0, 2, 8];
    ack.options.insert(option::CLASSLESS_ROUTES, routes.to_vec());
    let lease = Lease::from_message(&ack, at(0)).unwrap();
    assert_eq!(lease.routers, [Ipv4Addr::new(192, 0, 2, 8)]);
    let routes: Vec<String> = lease.routes.iter().map(|(net, router)| format!("{net} {router:?}")).collect();
    assert_eq!(routes, ["10.0.0.0/8 None", "198.51.100.0/24 Some(192.0.2.9)"]);
    assert_eq!((lease.renew_at, lease.ends_at), (None, None), "a lease for ever");
    ack.options.insert(option::CLASSLESS_ROUTES, vec![24, 198, 51]);
    let lease = Lease::from_message(&ack, at(0)).unwrap();
    assert_eq!((lease.routers, lease.routes), (vec![SERVER.into()], vec![]), "cut short: not used at all");
}

#[test]
fn strange_times_are_put_right() {
    let request = Message::request(Kind::Request, 1, MAC);
    let check = |lease_s: u32, t1: u32, t2: u32, expected: (u64, u64, u64)| {
        let mut ack = answer(&request, Kind::Ack, 7, lease_s);
        ack.options.insert(option::RENEWAL_TIME, t1.to_be_bytes().to_vec());
        ack.options.insert(option::REBINDING_TIME, t2.to_be_bytes().to_vec());
        let lease = Lease::from_message(&ack, at(0)).unwrap();
        let times = [lease.renew_at, lease.rebind_at, lease.ends_at].map(|time| time.unwrap().as_secs());
        assert_eq!((times[0], times[1], times[2]), expected);
    };
    check(1000, 100, 200, (100, 200, 1000));
    check(1000, 300, 200, (200, 200, 1000));
    check(1000, 0, 2000, (500, 875, 1000));
    check(0, 0, 0, (0, 0, 10));
}

#[test]
fn hostile_messages_are_survived() {
    let mut random = Random::from_seed(9);
    let mut client = client();
    let actions = client.handle(&Event::CarrierUp, at(0));
    let offer = answer(sent(&actions).0, Kind::Offer, 7, 1000).to_bytes();
    for round in 0..30_000_u64 {
        let mut bytes = offer.clone();
        for _ in 0..random.next_u32() % 6 {
            // The options are where the parser works.
            let at = 236 + random.next_u32() as usize % (bytes.len() - 236);
            bytes[at] = random.next_u8();
        }
        bytes.truncate(200 + random.next_u32() as usize % 120);
        if let Some(message) = Message::parse(&bytes) {
            for action in client.handle(&Event::Received(&message), at(round)) {
                if let Action::Send(message, _) = action {
                    message.to_bytes();
                }
            }
            client.handle(&Event::CarrierUp, at(round));
        }
    }
}
