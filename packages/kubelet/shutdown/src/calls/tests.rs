//! Calls as godbus makes them, and as it does not.

use super::*;
use crate::fuzz::call;

const MANAGER: [&str; 3] = [LOGIN, LOGIN_PATH, LOGIN_INTERFACE];
const KUBELET: [&str; 4] = ["shutdown", "kubelet", "Kubelet needs time to handle node shutdown", "delay"];

struct Host {
    login: Login,
    client: Client,
}

impl Host {
    fn new(has_name: bool) -> Self {
        let login = Login { locks: Locks::new(), delay_us: 60_000_000 };
        let name = ":1.1".to_owned();
        Self {
            login,
            client: Client { name, has_name, pid: Some(9), takes_descriptors: true, rules: Vec::new() },
        }
    }

    fn ask(
        &mut self,
        [destination, path, interface]: [&str; 3],
        member: &str,
        arguments: &[&str],
    ) -> Result<Body, Refusal> {
        let bytes = call(1, [destination, path, interface, member], arguments);
        answer(&Call::read(&bytes).unwrap().unwrap(), &mut self.client, &self.login).unwrap()
    }

    fn of_bus(&mut self, member: &str, arguments: &[&str]) -> Result<Body, Refusal> {
        self.ask([BUS, "/org/freedesktop/DBus", BUS_INTERFACE], member, arguments)
    }
}

fn name(answer: Result<Body, Refusal>) -> &'static str {
    answer.map_or_else(|(name, _)| name, |body| panic!("it was answered {body:?}"))
}

#[test]
fn hello_comes_first_and_once() {
    let mut host = Host::new(false);
    assert_eq!(name(host.of_bus("AddMatch", &[""])), ACCESS_DENIED);
    assert_eq!(name(host.ask(MANAGER, "Hello", &[])), ACCESS_DENIED);
    assert!(matches!(host.of_bus("Hello", &[]), Ok(Body::Text(name)) if name == ":1.1"));
    assert_eq!(name(host.of_bus("Hello", &[])), FAILED);
    assert!(matches!(host.of_bus("AddMatch", &[""]), Ok(Body::Nothing)));
}

#[test]
fn rules_come_and_go_and_are_counted() {
    let mut host = Host::new(true);
    for _ in 0..RULES {
        assert!(host.of_bus("AddMatch", &["member='M',type='signal'"]).is_ok());
    }
    assert_eq!(name(host.of_bus("AddMatch", &["member='N'"])), LIMITS_EXCEEDED);
    for _ in 0..RULES {
        assert!(host.of_bus("RemoveMatch", &["type='signal',member='M'"]).is_ok());
    }
    assert_eq!(name(host.of_bus("RemoveMatch", &["type='signal',member='M'"])), RULE_NOT_FOUND);
    assert_eq!(name(host.of_bus("AddMatch", &["colour='red'"])), RULE_INVALID);
    assert_eq!(name(host.of_bus("AddMatch", &["a", "b"])), INVALID_ARGS);
}

#[tokio::test]
async fn a_lock() {
    let mut host = Host::new(true);
    let lock = host.ask(MANAGER, "Inhibit", &KUBELET).unwrap();
    assert!(matches!(lock, Body::Descriptor(_)));
    let held = host.login.locks.prepare();
    assert_eq!(held.into_values().collect::<Vec<_>>(), [Inhibitor::new(KUBELET[1], KUBELET[2], Some(9))]);
    assert_eq!(name(host.ask(MANAGER, "Inhibit", &KUBELET)), IN_PROGRESS);
}

#[tokio::test]
async fn locks_that_are_not_given() {
    let mut host = Host::new(true);
    for (what, mode) in [("sleep", "delay"), ("shutdown", "block"), ("shutdown:sleep", "delay"), ("", "")] {
        assert_eq!(
            name(host.ask(MANAGER, "Inhibit", &[what, "w", "y", mode])),
            NOT_SUPPORTED,
            "{what} {mode}"
        );
    }
    assert_eq!(name(host.ask(MANAGER, "Inhibit", &["shutdown"])), INVALID_ARGS);
    assert_eq!(name(host.ask([LOGIN, "/", LOGIN_INTERFACE], "Inhibit", &KUBELET)), UNKNOWN_OBJECT);
    host.client.takes_descriptors = false;
    assert_eq!(name(host.ask(MANAGER, "Inhibit", &KUBELET)), NOT_SUPPORTED);
    assert!(host.login.locks.prepare().is_empty());
}

#[test]
fn the_delay_is_a_property() {
    let mut host = Host::new(true);
    let properties = [LOGIN, LOGIN_PATH, PROPERTIES];
    let delay = host.ask(properties, "Get", &[LOGIN_INTERFACE, DELAY]);
    assert!(matches!(delay, Ok(Body::Number(60_000_000))));
    assert_eq!(name(host.ask(properties, "Get", &[LOGIN_INTERFACE, "BlockInhibited"])), UNKNOWN_PROPERTY);
    assert_eq!(name(host.ask(properties, "Get", &[])), INVALID_ARGS);
    assert_eq!(name(host.ask(properties, "Set", &[LOGIN_INTERFACE, DELAY])), UNKNOWN_METHOD);
}

#[test]
fn everything_else_is_unknown() {
    let mut host = Host::new(true);
    let systemd =
        ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    assert_eq!(name(host.ask(systemd, "KillUnit", &["systemd-logind.service", "all"])), SERVICE_UNKNOWN);
    assert_eq!(name(host.ask(["", "/", ""], "Get", &[])), SERVICE_UNKNOWN);
    assert_eq!(name(host.ask(MANAGER, "PowerOff", &[])), UNKNOWN_METHOD);
    assert_eq!(name(host.of_bus("RequestName", &[LOGIN])), UNKNOWN_METHOD);
    assert!(matches!(host.ask([LOGIN, "/", PEER], "Ping", &[]), Ok(Body::Nothing)));
}
