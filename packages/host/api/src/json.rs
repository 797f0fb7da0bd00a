//! Enumerations in JSON: by their names, as numbers say nothing to people.

use serde::{Serialize, Serializer};

/// Writes the name of a value; a number that has none, as it is.
pub(crate) fn enumeration<E, S>(value: &i32, serializer: S) -> Result<S::Ok, S::Error>
where
    E: TryFrom<i32> + Serialize,
    S: Serializer,
{
    match E::try_from(*value) {
        Ok(name) => name.serialize(serializer),
        Err(_) => value.serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::{Service, ServiceChange, ServiceState};

    #[test]
    fn names_and_unknown_numbers() {
        let service = Service { name: "a".into(), state: ServiceState::BackOff.into(), ..Default::default() };
        let change = ServiceChange { before: 99, service: Some(service) };
        let json = serde_json::to_value(&change).unwrap();
        assert_eq!(json["before"], 99);
        assert_eq!(json["service"]["state"], "back-off");
        assert_eq!(json["service"]["dropped-lines"], 0);
        assert!(json["service"]["memory-bytes"].is_null());
    }
}
