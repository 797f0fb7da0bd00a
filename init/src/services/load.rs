//! The services of this host: those of the image, and those of the machine config.
//!
//! What is wrong is left out and reported: one bad table must not keep the others from starting.

use std::fs;

use lepton_config::MachineConfig;
use lepton_service_spec::{ContainerSpec, OrderError, ServiceSpec, order};

use crate::files;

/// Where the image keeps one file for each of its services.
const DIR: &str = "/usr/share/lepton/services";

/// Services in start order, and one sentence for each that was left out.
pub fn load(config: &MachineConfig) -> (Vec<ServiceSpec>, Vec<String>) {
    let mut errors = Vec::new();
    let mut found = Vec::new();
    for name in files::list_dir(DIR).unwrap_or_default() {
        let path = format!("{DIR}/{name}");
        let text = fs::read_to_string(&path).map_err(|error| error.to_string());
        match text.and_then(|text| toml::from_str(&text).map_err(|error| error.message().to_owned())) {
            Ok(spec) => found.push(spec),
            Err(error) => errors.push(format!("{path}: {error}")),
        }
    }
    (merge(found, &config.services, &config.containers, &mut errors), errors)
}

/// All sets in start order. A configured service replaces one of the image that has its name; a container replaces none.
pub fn merge(
    mut services: Vec<ServiceSpec>,
    configured: &[ServiceSpec],
    containers: &[ContainerSpec],
    errors: &mut Vec<String>,
) -> Vec<ServiceSpec> {
    for spec in configured {
        services.retain(|service| service.name != spec.name);
        services.push(spec.clone());
    }
    for container in containers {
        if services.iter().any(|service| service.name == container.name) {
            errors
                .push(format!("container {0}: a service is named {0}; give it another name", container.name));
        } else {
            services.push(container.service());
        }
    }
    services.retain(|service| {
        let problems = service.problems();
        errors.extend(problems.iter().map(|problem| format!("service {}: {problem}", service.name)));
        problems.is_empty()
    });
    loop {
        let mistakes = match order(&services) {
            Ok(places) => return places.into_iter().map(|place| services[place].clone()).collect(),
            Err(mistakes) => mistakes,
        };
        // Each mistake costs its service; that may leave others without what they need, so the rest is looked at again.
        for mistake in mistakes {
            errors.push(mistake.to_string());
            match &mistake {
                OrderError::Missing { service, .. } => services.retain(|spec| spec.name != *service),
                OrderError::Circle(names) => services.retain(|spec| !names.contains(&spec.name)),
                // Twice, and what may come later: the last one of that name goes.
                other => {
                    let text = other.to_string();
                    let last = services.iter().rposition(|spec| text.contains(&format!("{:?}", spec.name)));
                    services.remove(last.unwrap_or(services.len() - 1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, needs: &[&str]) -> ServiceSpec {
        let mut spec = ServiceSpec::new(name, &["/x"]);
        spec.needs = needs.iter().map(|&name| name.to_owned()).collect();
        spec
    }

    #[test]
    fn what_is_wrong_is_left_out_with_what_needs_it() {
        let image =
            vec![spec("b", &["a"]), spec("a", &[]), spec("x", &["y"]), spec("y", &["x"]), spec("z", &["x"])];
        let mut bad = spec("c", &[]);
        bad.command.clear();
        let mut again = spec("a", &[]);
        again.command = vec!["/other".into()];
        let mut errors = Vec::new();
        let services = merge(image, &[bad, again, spec("d", &["c"])], &[], &mut errors);
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(services[0].command, ["/other"]);
        assert_eq!(
            errors,
            [
                "service c: command: it is empty; name a program",
                "service \"d\" needs \"c\", which is no service here",
                "services wait for each other: x -> y -> x",
                "service \"z\" needs \"x\", which is no service here",
            ]
        );
    }

    #[test]
    fn containers_are_services_that_need_the_runtime() {
        let container = |name: &str| {
            toml::from_str::<ContainerSpec>(&format!("name = {name:?}\nimage = \"a/b:1\"\n")).unwrap()
        };
        let image = || vec![spec("runtime", &[]), spec("network", &[])];
        let mut errors = Vec::new();
        let services = merge(image(), &[], &[container("web"), container("network")], &mut errors);
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["runtime", "network", "web"]);
        assert_eq!(services[1].command, ["/x"]);
        assert_eq!(errors, ["container network: a service is named network; give it another name"]);
        errors.clear();
        assert_eq!(merge(vec![], &[], &[container("web")], &mut errors), []);
        assert_eq!(errors, ["service \"web\" needs \"runtime\", which is no service here"]);
    }
}
