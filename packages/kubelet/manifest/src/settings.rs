//! `kubelet.settings` of the machine config: fields of a KubeletConfiguration, and how long pods may delay the host's end.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::duration;
use crate::yaml::{self, BadYaml};

/// What a text of fields may say itself to be.
const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";
/// What the file calls the times of a shutdown.
const WHOLE: &str = "shutdownGracePeriod";
const CRITICAL: &str = "shutdownGracePeriodCriticalPods";
const BY_PRIORITY: &str = "shutdownGracePeriodByPodPriority";
/// All the time that pods get when nothing is said, and the most of it that is kept for critical ones.
const DEFAULT_WHOLE: &str = "30s";
const DEFAULT_CRITICAL: Duration = Duration::from_secs(10);
/// With what comes after it this is less than `stop-timeout-s` of the service, at which PID 1 ends everything.
const LONGEST: Duration = Duration::from_secs(120);

/// Why a text is none of settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSettings {
    /// No YAML.
    #[error(transparent)]
    Yaml(#[from] BadYaml),
    /// Something else than fields.
    #[error("fields of a KubeletConfiguration are needed")]
    Kind,
    /// A field has a value that it cannot have.
    #[error("{field}: {message}")]
    Field {
        /// Its name.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Fields that come last in kubelet's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    fields: Map<String, Value>,
    shutdown: Duration,
}

impl Settings {
    /// Reads them, YAML or JSON; without a text there are the times of a shutdown alone.
    pub fn parse(text: Option<&str>) -> Result<Self, BadSettings> {
        let mut fields = match text.map(yaml::parse).transpose()? {
            None => Map::new(),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(BadSettings::Kind),
        };
        for (key, want) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            if let Some(given) = fields.remove(key).filter(|given| given != want) {
                return Err(bad(key, format!("it is {given}, not {want}")));
            }
        }
        let shutdown = shutdown(&mut fields)?;
        Ok(Self { fields, shutdown })
    }

    /// The fields, among them the times of a shutdown.
    pub fn into_fields(self) -> Map<String, Value> {
        self.fields
    }

    /// All the time that kubelet takes to end its pods when the host goes down.
    pub fn shutdown(&self) -> Duration {
        self.shutdown
    }
}

fn bad(field: &str, message: impl Into<String>) -> BadSettings {
    BadSettings::Field { field: field.to_owned(), message: message.into() }
}

/// Fills in the times of a shutdown that nobody gave, and says how much they are together.
fn shutdown(fields: &mut Map<String, Value>) -> Result<Duration, BadSettings> {
    let priorities = fields.get(BY_PRIORITY).and_then(Value::as_array).filter(|list| !list.is_empty());
    let (key, whole) = match priorities {
        // kubelet takes one way to say it.
        Some(_) if fields.contains_key(WHOLE) || fields.contains_key(CRITICAL) => {
            return Err(bad(BY_PRIORITY, format!("it excludes {WHOLE} and {CRITICAL}")));
        }
        Some(list) => (BY_PRIORITY, sum(list)?),
        None => {
            fields.entry(WHOLE).or_insert_with(|| DEFAULT_WHOLE.into());
            let whole = time(fields, WHOLE)?;
            // Else a short time for all would be less than that of critical pods, which kubelet refuses. It counts whole
            // seconds.
            let critical = Duration::from_secs(DEFAULT_CRITICAL.min(whole / 3).as_secs());
            fields.entry(CRITICAL).or_insert_with(|| duration::text(critical).into());
            if time(fields, CRITICAL)? > whole {
                return Err(bad(CRITICAL, format!("it is a part of {WHOLE} and cannot be longer")));
            }
            (WHOLE, whole)
        }
    };
    if whole > LONGEST {
        return Err(bad(
            key,
            format!(
                "pods would get {} when the host goes down; {} is the most",
                duration::text(whole),
                duration::text(LONGEST)
            ),
        ));
    }
    Ok(whole)
}

/// What priorities get, one after the other.
fn sum(list: &[Value]) -> Result<Duration, BadSettings> {
    let mut sum = Duration::ZERO;
    for (index, entry) in list.iter().enumerate() {
        let given = entry.get("shutdownGracePeriodSeconds");
        let seconds = given.map_or(Some(0), Value::as_u64).ok_or_else(|| {
            let field = format!("{BY_PRIORITY}[{index}].shutdownGracePeriodSeconds");
            bad(&field, "a whole number of seconds is needed")
        })?;
        sum = sum.saturating_add(Duration::from_secs(seconds));
    }
    Ok(sum)
}

/// A time among the fields; one that is null is none.
fn time(fields: &Map<String, Value>, key: &str) -> Result<Duration, BadSettings> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(Duration::ZERO),
        Some(value) => value
            .as_str()
            .and_then(duration::parse)
            .ok_or_else(|| bad(key, format!("{value} is no time such as \"90s\" or \"1m30s\""))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_pods_get_when_the_host_goes_down() {
        for (text, whole, critical, seconds) in [
            (None, json!("30s"), json!("10s"), 30),
            (Some("maxPods: 5"), json!("30s"), json!("10s"), 30),
            (Some("shutdownGracePeriod: 5s"), json!("5s"), json!("1s"), 5),
            (
                Some("{shutdownGracePeriod: 1m30s, shutdownGracePeriodCriticalPods: 20s}"),
                json!("1m30s"),
                json!("20s"),
                90,
            ),
            (Some("shutdownGracePeriod: 2m"), json!("2m"), json!("10s"), 120),
            // No time at all: kubelet does nothing at a shutdown then.
            (Some("shutdownGracePeriod: 0s"), json!("0s"), json!("0s"), 0),
            (Some("shutdownGracePeriod: null"), Value::Null, json!("0s"), 0),
            (Some("shutdownGracePeriodByPodPriority: []"), json!("30s"), json!("10s"), 30),
            (
                Some(
                    "shutdownGracePeriodByPodPriority: [{priority: 0, shutdownGracePeriodSeconds: 60}, \
                     {priority: 100, shutdownGracePeriodSeconds: 9}]",
                ),
                Value::Null,
                Value::Null,
                69,
            ),
        ] {
            let settings = Settings::parse(text).unwrap();
            assert_eq!(settings.shutdown(), Duration::from_secs(seconds), "{text:?}");
            let fields = settings.into_fields();
            let field = |key| fields.get(key).cloned().unwrap_or_default();
            assert_eq!((field(WHOLE), field(CRITICAL)), (whole, critical), "{text:?}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, want) in [
            ("- a", "fields of a KubeletConfiguration are needed"),
            ("a: [", "line "),
            ("kind: Pod", "kind: it is \"Pod\", not KubeletConfiguration"),
            (
                "shutdownGracePeriod: 121s",
                "shutdownGracePeriod: pods would get 121s when the host goes down; 120s is the most",
            ),
            ("shutdownGracePeriod: 30", "shutdownGracePeriod: 30 is no time such as"),
            ("shutdownGracePeriod: -5s", "shutdownGracePeriod: \"-5s\" is no time"),
            (
                "{shutdownGracePeriod: 5s, shutdownGracePeriodCriticalPods: 6s}",
                "shutdownGracePeriodCriticalPods: it is a part of shutdownGracePeriod and",
            ),
            (
                "{shutdownGracePeriod: 5s, shutdownGracePeriodByPodPriority: [{shutdownGracePeriodSeconds: 1}]}",
                "shutdownGracePeriodByPodPriority: it excludes shutdownGracePeriod and",
            ),
            (
                "shutdownGracePeriodByPodPriority: [{shutdownGracePeriodSeconds: 5s}]",
                "shutdownGracePeriodByPodPriority[0].shutdownGracePeriodSeconds: a whole number",
            ),
            (
                "shutdownGracePeriodByPodPriority: [{shutdownGracePeriodSeconds: 100}, \
                 {shutdownGracePeriodSeconds: 21}]",
                "shutdownGracePeriodByPodPriority: pods would get 121s",
            ),
        ] {
            let error = Settings::parse(Some(text)).unwrap_err().to_string();
            assert!(error.starts_with(want), "{text}: {error}");
        }
    }
}
