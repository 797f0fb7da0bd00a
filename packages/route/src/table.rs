//! Which endpoints answer for a host name. A table never changes: a new one takes its place, and keeps the endpoints
//! that both have, with their connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::endpoint::Endpoint;
use crate::pods::Instance;
use crate::roster::Targets;
use crate::stats::HostStats;

/// Host names and who answers for them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// By name; one that stands for all names below begins with `*.`.
    routes: BTreeMap<String, Arc<Route>>,
}

/// One host name.
#[derive(Debug)]
pub(crate) struct Route {
    /// As pods name it.
    pub(crate) host: String,
    /// Those that are ready.
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    /// Requests that were made.
    pub(crate) stats: Arc<HostStats>,
    /// Whose turn is next.
    turn: AtomicUsize,
}

impl Table {
    /// The table that follows on `old`.
    pub(crate) fn following(old: &Self, targets: Targets) -> Self {
        let mut known: BTreeMap<&str, &Arc<Endpoint>> = BTreeMap::new();
        for endpoint in old.routes.values().flat_map(|route| &route.endpoints) {
            known.insert(&endpoint.uid, endpoint);
        }
        let mut new: BTreeMap<String, Arc<Endpoint>> = BTreeMap::new();
        let mut endpoint = |instance: Instance| {
            let kept = known.get(&*instance.uid).filter(|it| it.is_at(&instance)).map(|it| Arc::clone(it));
            let entry = new.entry(instance.uid.clone());
            Arc::clone(entry.or_insert_with(|| kept.unwrap_or_else(|| Arc::new(Endpoint::new(instance)))))
        };
        let routes = targets.into_iter().map(|(host, instances)| {
            let before = old.routes.get(&host);
            let route = Route {
                endpoints: instances.into_iter().map(&mut endpoint).collect(),
                stats: before.map(|route| Arc::clone(&route.stats)).unwrap_or_default(),
                turn: AtomicUsize::new(before.map_or(0, |route| route.turn.load(Ordering::Relaxed))),
                host: host.clone(),
            };
            (host, Arc::new(route))
        });
        let table = Self { routes: routes.collect() };
        for endpoint in known.into_values() {
            if !new.get(&endpoint.uid).is_some_and(|it| Arc::ptr_eq(it, endpoint)) {
                endpoint.retire();
            }
        }
        table
    }

    /// Who answers for a name in lower case, which has no `*`: the name itself, else the longest `*.` above it.
    pub(crate) fn find(&self, host: &str) -> Option<&Arc<Route>> {
        if let Some(route) = self.routes.get(host) {
            return Some(route);
        }
        let mut rest = host;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(route) = self.routes.get(&format!("*.{above}")) {
                return Some(route);
            }
            rest = above;
        }
        None
    }

    /// All of them, by name.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    /// In short, for people.
    pub(crate) fn summary(&self) -> String {
        let with = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let endpoints: BTreeMap<&str, ()> =
            self.routes().flat_map(|route| &route.endpoints).map(|it| (&*it.uid, ())).collect();
        format!("{}, {}", with(self.routes.len(), "host name"), with(endpoints.len(), "ready instance"))
    }
}

impl Route {
    /// The next in turn that is not one of `tried`: of those that answered last time if there are any, else of the rest.
    pub(crate) fn pick(&self, tried: &[Arc<Endpoint>], now: Instant) -> Option<&Arc<Endpoint>> {
        let count = self.endpoints.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..count).map(move |step| &self.endpoints[turn.wrapping_add(step) % count]);
        let mut fresh = in_turn().filter(|it| !tried.iter().any(|other| Arc::ptr_eq(it, other)));
        let first = fresh.next()?;
        if first.is_well(now) {
            return Some(first);
        }
        fresh.find(|it| it.is_well(now)).or(Some(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::Protocol;

    fn instance(uid: &str, port: u16, hosts: &[&str]) -> Instance {
        Instance {
            uid: uid.to_owned(),
            name: format!("n/{uid}"),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            address: ([10, 0, 0, 1], port).into(),
            protocol: Protocol::Http1,
        }
    }

    fn table(old: &Table, list: &[Instance]) -> Table {
        let mut targets = Targets::new();
        for instance in list {
            for host in &instance.hosts {
                targets.entry(host.clone()).or_default().push(instance.clone());
            }
        }
        Table::following(old, targets)
    }

    #[test]
    fn the_nearest_name_answers() {
        let list = [
            instance("a", 1, &["app.example"]),
            instance("b", 2, &["*.example"]),
            instance("c", 3, &["*.deep.example"]),
        ];
        let table = table(&Table::default(), &list);
        let host = |name: &str| table.find(name).map(|route| &*route.host);
        assert_eq!(host("app.example"), Some("app.example"));
        assert_eq!(host("other.example"), Some("*.example"));
        assert_eq!(host("a.b.example"), Some("*.example"));
        assert_eq!(host("a.b.deep.example"), Some("*.deep.example"));
        assert_eq!(host("deep.example"), Some("*.example"));
        assert_eq!(host("example"), None, "a wild card is for names below");
    }

    #[test]
    fn turns_and_back_off() {
        let list = [1, 2, 3].map(|port| instance(&port.to_string(), port, &["a"]));
        let table = table(&Table::default(), &list);
        let (route, now) = (table.find("a").unwrap(), Instant::now());
        let uid = |tried: &[Arc<Endpoint>]| route.pick(tried, now).map(|it| it.uid.clone());
        let five: Vec<_> = (0..5).filter_map(|_| uid(&[])).collect();
        assert_eq!(five, ["1", "2", "3", "1", "2"]);
        route.endpoints[2].has_failed(now);
        assert_eq!(uid(&[]).unwrap(), "1", "3 was in turn");
        let tried = [Arc::clone(&route.endpoints[0]), Arc::clone(&route.endpoints[1])];
        assert_eq!(uid(&tried).unwrap(), "3", "better than none");
        assert_eq!(uid(&route.endpoints), None);
    }

    #[test]
    fn what_stays_keeps_its_endpoint_and_its_figures() {
        let first = table(&Table::default(), &[instance("a", 1, &["x", "y"]), instance("b", 2, &["x"])]);
        first.find("x").unwrap().stats.count(200, std::time::Duration::ZERO);
        let second = table(&first, &[instance("a", 1, &["x"]), instance("b", 3, &["x"])]);
        let of = |table: &Table| table.find("x").unwrap().endpoints.clone();
        assert!(Arc::ptr_eq(&of(&first)[0], &of(&second)[0]));
        assert!(!Arc::ptr_eq(&of(&first)[1], &of(&second)[1]), "another port");
        assert!(of(&first)[1].is_retired() && !of(&first)[0].is_retired());
        assert_eq!(second.find("x").unwrap().stats.figures().codes[&200], 1);
        assert!(second.find("y").is_none());
        assert_eq!(second.summary(), "1 host name, 2 ready instances");
    }
}
