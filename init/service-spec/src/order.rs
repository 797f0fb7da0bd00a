//! The order of services: each after all it needs or waits for. Circles and missing services are errors.

use std::collections::BTreeMap;

use crate::ServiceSpec;

/// Why a set of services cannot be ordered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Two services have one name.
    #[error("two services are named {0:?}; give one another name")]
    Twice(String),
    /// A service needs one that is not there.
    #[error("service {service:?} needs {missing:?}, which is no service here")]
    Missing {
        /// The service.
        service: String,
        /// What it needs.
        missing: String,
    },
    /// Services wait for each other.
    #[error("services wait for each other: {}", .0.join(" -> "))]
    Circle(Vec<String>),
}

/// Places in `services` in an order in which each comes after all it needs or waits for.
///
/// Services that do not depend on each other keep their order. All mistakes are found at once; of several circles one
/// for each service that closes it.
pub fn order(services: &[ServiceSpec]) -> Result<Vec<usize>, Vec<OrderError>> {
    let mut errors = Vec::new();
    let mut places = BTreeMap::new();
    for (place, service) in services.iter().enumerate() {
        if places.insert(service.name.as_str(), place).is_some() {
            errors.push(OrderError::Twice(service.name.clone()));
        }
    }
    for service in services {
        for missing in service.needs.iter().filter(|name| !places.contains_key(name.as_str())) {
            errors.push(OrderError::Missing { service: service.name.clone(), missing: missing.clone() });
        }
    }
    let mut walk = Walk { services, places, done: Vec::new(), is_done: vec![false; services.len()], errors };
    for place in 0..services.len() {
        walk.visit(place, &mut Vec::new());
    }
    if walk.errors.is_empty() { Ok(walk.done) } else { Err(walk.errors) }
}

struct Walk<'a> {
    services: &'a [ServiceSpec],
    places: BTreeMap<&'a str, usize>,
    done: Vec<usize>,
    is_done: Vec<bool>,
    errors: Vec<OrderError>,
}

impl Walk<'_> {
    fn visit(&mut self, place: usize, path: &mut Vec<usize>) {
        if self.is_done[place] {
            return;
        }
        if let Some(start) = path.iter().position(|earlier| *earlier == place) {
            let circle = path[start..].iter().chain([&place]);
            let names = circle.map(|place| self.services[*place].name.clone()).collect();
            self.errors.push(OrderError::Circle(names));
            return;
        }
        path.push(place);
        let service = &self.services[place];
        for name in service.needs.iter().chain(&service.after) {
            // `after` may name a service that this image does not have.
            if let Some(&earlier) = self.places.get(name.as_str()) {
                self.visit(earlier, path);
            }
        }
        path.pop();
        self.is_done[place] = true;
        self.done.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(rows: &[(&str, &[&str], &[&str])]) -> Vec<ServiceSpec> {
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        rows.iter()
            .map(|(name, needs, after)| {
                let mut spec = ServiceSpec::new(name, &["/x"]);
                (spec.needs, spec.after) = (texts(needs), texts(after));
                spec
            })
            .collect()
    }

    #[test]
    fn each_comes_after_what_it_waits_for() {
        let set = services(&[("c", &["b"], &[]), ("a", &[], &["z"]), ("b", &[], &["a"])]);
        assert_eq!(order(&set), Ok(vec![1, 2, 0]));
        assert_eq!(order(&[]), Ok(vec![]));
    }

    #[test]
    fn every_mistake_is_found() {
        let set = services(&[("a", &["b"], &[]), ("b", &[], &["a"]), ("c", &["x"], &[]), ("c", &[], &[])]);
        let errors = order(&set).unwrap_err();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "two services are named \"c\"; give one another name",
                "service \"c\" needs \"x\", which is no service here",
                "services wait for each other: a -> b -> a",
            ]
        );
    }
}
