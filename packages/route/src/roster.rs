//! Which instances take requests, over time. What kubelet says counts at once, with one exception: kubelet that has
//! just started knows its pods before it knows how they are, so for a while what took requests before goes on doing so.
//! It is told the time and never asks for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::pods::{Instance, Reading, Seen};

/// How long pods that a new kubelet lists as not ready still count as they did: it probes them first.
const UNPROBED: Duration = Duration::from_secs(30);
/// How long pods that a new kubelet does not list at all still count: it reads their manifests first.
const UNLISTED: Duration = Duration::from_secs(5);
/// How long a host name without pods is answered with 503 and not with 404: its pod may be on its way.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Host names with the instances that take their requests.
pub(crate) type Targets = BTreeMap<String, Vec<Instance>>;

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// By UID: those that take requests.
    active: BTreeMap<String, Instance>,
    /// Host names, with the last time that a pod named them.
    hosts: BTreeMap<String, Instant>,
    /// When kubelet answered again after it had been away.
    returned: Option<Instant>,
}

impl Roster {
    /// Kubelet was out of reach and answers again: the next list may know little.
    pub(crate) fn kubelet_returned(&mut self, now: Instant) {
        self.returned = Some(now);
    }

    /// Takes a list and says who takes requests from now on.
    pub(crate) fn update(&mut self, reading: Reading, now: Instant) -> Targets {
        let since_return = self.returned.map(|at| now.duration_since(at));
        let is_within = |span: Duration| since_return.is_some_and(|since| since < span);
        let mut before = std::mem::take(&mut self.active);
        for seen in reading.seen {
            let (Seen::Ready(Instance { hosts, .. })
            | Seen::Unready { hosts, .. }
            | Seen::Leaving { hosts, .. }) = &seen;
            self.hosts.extend(hosts.iter().map(|host| (host.clone(), now)));
            match seen {
                Seen::Ready(instance) => {
                    before.remove(&instance.uid);
                    self.active.insert(instance.uid.clone(), instance);
                }
                Seen::Unready { uid, .. } => {
                    if let Some(instance) = before.remove(&uid).filter(|_| is_within(UNPROBED)) {
                        self.active.insert(uid, instance);
                    }
                }
                Seen::Leaving { uid, .. } => {
                    before.remove(&uid);
                }
            }
        }
        if is_within(UNLISTED) {
            self.active.extend(before);
        }
        self.hosts.retain(|_, seen| now.duration_since(*seen) < REMEMBERED);
        self.targets()
    }

    /// Whether a list without news would change anything as time passes.
    pub(crate) fn is_settled(&self, now: Instant) -> bool {
        let is_settled = self.returned.is_none_or(|at| now.duration_since(at) > UNPROBED);
        is_settled && self.hosts.keys().all(|host| self.active.values().any(|it| it.hosts.contains(host)))
    }

    fn targets(&self) -> Targets {
        let mut targets: Targets = self.hosts.keys().map(|host| (host.clone(), Vec::new())).collect();
        for instance in self.active.values() {
            for host in &instance.hosts {
                targets.entry(host.clone()).or_default().push(instance.clone());
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::Protocol;

    fn instance(uid: &str) -> Instance {
        Instance {
            uid: uid.to_owned(),
            name: format!("n/{uid}"),
            hosts: vec!["app.example".to_owned()],
            address: "10.0.0.1:80".parse().unwrap(),
            protocol: Protocol::Http1,
        }
    }

    fn ready(uid: &str) -> Seen {
        Seen::Ready(instance(uid))
    }

    fn unready(uid: &str) -> Seen {
        Seen::Unready { uid: uid.to_owned(), hosts: instance(uid).hosts }
    }

    fn uids(roster: &mut Roster, seen: Vec<Seen>, now: Instant) -> Option<String> {
        let targets = roster.update(Reading { seen, problems: Vec::new() }, now);
        targets.get("app.example").map(|list| list.iter().map(|it| &*it.uid).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_kubelet_says_counts_at_once() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        assert_eq!(uids(&mut roster, vec![], now), None);
        assert_eq!(uids(&mut roster, vec![ready("a"), ready("b"), unready("c")], now).unwrap(), "a b");
        assert_eq!(uids(&mut roster, vec![unready("a"), ready("b")], now).unwrap(), "b");
        let leaving = Seen::Leaving { uid: "b".to_owned(), hosts: instance("b").hosts };
        assert_eq!(uids(&mut roster, vec![ready("a"), leaving], now).unwrap(), "a");
        assert_eq!(uids(&mut roster, vec![], now).unwrap(), "", "the name is known for a while");
        assert_eq!(uids(&mut roster, vec![], now + REMEMBERED), None);
    }

    #[test]
    fn a_kubelet_that_has_just_started_is_given_time() {
        let (mut roster, start) = (Roster::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        uids(&mut roster, vec![ready("a"), ready("b")], start);
        assert!(roster.is_settled(start));
        roster.kubelet_returned(start);
        assert!(!roster.is_settled(start));
        assert_eq!(uids(&mut roster, vec![unready("a")], after(1)).unwrap(), "a b", "b is not listed yet");
        assert_eq!(uids(&mut roster, vec![unready("a")], after(6)).unwrap(), "a", "b is gone");
        assert_eq!(uids(&mut roster, vec![unready("a"), unready("c")], after(29)).unwrap(), "a", "c is new");
        assert_eq!(uids(&mut roster, vec![unready("a")], after(31)).unwrap(), "", "a is not ready indeed");
        roster.kubelet_returned(after(40));
        uids(&mut roster, vec![ready("d")], after(40));
        let leaving = Seen::Leaving { uid: "d".to_owned(), hosts: instance("d").hosts };
        assert_eq!(uids(&mut roster, vec![leaving], after(41)).unwrap(), "", "that is no loss of memory");
    }
}
