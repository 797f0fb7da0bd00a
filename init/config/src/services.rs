//! The tables `[[services]]` and `[[containers]]`, whose types and rules are those of `lepton-service-spec`.

use lepton_service_spec::{ContainerSpec, Problem, ServiceSpec};
use serde::de::DeserializeOwned;

use crate::field::{Field, Place, Reader, Value, read_plain};
use crate::table::join;

impl Field for ServiceSpec {
    fn read(value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_good(value, place, reader, Self::problems)
    }

    fn identity(&self) -> Option<String> {
        Some(format!("the service {}", self.name))
    }
}

impl Field for ContainerSpec {
    fn read(value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read_good(value, place, reader, Self::problems)
    }

    fn identity(&self) -> Option<String> {
        Some(format!("the container {}", self.name))
    }
}

/// A table without mistakes: a service without one of its limits would be another service.
fn read_good<T: DeserializeOwned>(
    value: Value<'_>,
    place: Place<'_>,
    reader: &mut Reader<'_>,
    problems: impl Fn(&T) -> Vec<Problem>,
) -> Option<T> {
    let spec: T = read_plain(value, place, reader)?;
    let problems = problems(&spec);
    for problem in &problems {
        reader.report(place.offset, &join(place.key, problem.key), problem.message.clone());
    }
    problems.is_empty().then_some(spec)
}
