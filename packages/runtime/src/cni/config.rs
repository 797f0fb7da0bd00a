//! Configuration lists of CNI: the first usable file of the folder counts, in the order of names, as with other
//! runtimes.

use std::path::Path;

use serde_json::{Value, json};

use super::CniError;
use crate::files;

/// Newest version of the specification that is known here.
const NEWEST: &str = "1.1.0";

/// A configuration list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct List(Value);

impl List {
    /// The first one of a folder; a broken file is an error, and not passed over for the next.
    pub(crate) fn first(folder: &Path) -> Result<Self, CniError> {
        let is_config = |name: &String| [".conflist", ".conf", ".json"].iter().any(|end| name.ends_with(end));
        let name = files::names(folder).into_iter().find(is_config);
        let path = folder.join(name.ok_or_else(|| CniError::NoConfig(folder.to_owned()))?);
        let wrong = |reason: String| CniError::Config { path: path.clone(), reason };
        let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
        let json: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        // A single plugin is a list of one.
        let json = if json["plugins"].is_array() {
            json
        } else {
            json!({"cniVersion": json["cniVersion"], "name": json["name"], "plugins": [json]})
        };
        Self::check(json).map_err(wrong)
    }

    /// One that was written down.
    pub(crate) fn stored(json: &Value) -> Result<Self, CniError> {
        Self::check(json.clone())
            .map_err(|reason| CniError::Config { path: "a stored configuration".into(), reason })
    }

    fn check(json: Value) -> Result<Self, String> {
        let list = Self(json);
        if list.0["name"].as_str().is_none_or(str::is_empty) {
            return Err("it has no name".to_owned());
        }
        if list.plugins().next().is_none() {
            return Err("it has no plugins".to_owned());
        }
        for plugin in list.plugins() {
            let kind = plugin["type"].as_str().unwrap_or_default();
            if kind.is_empty() || kind.contains('/') {
                return Err(format!("{kind:?} is no plugin"));
            }
        }
        if list.version() > version(NEWEST) {
            return Err(format!("cniVersion {} is newer than {NEWEST}", list.0["cniVersion"]));
        }
        Ok(list)
    }

    /// As it is written down.
    pub(crate) fn json(&self) -> Value {
        self.0.clone()
    }

    /// Its plugins, in their order.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Value> {
        self.0["plugins"].as_array().into_iter().flatten()
    }

    fn version(&self) -> [u64; 3] {
        version(self.0["cniVersion"].as_str().unwrap_or("0.2.0"))
    }

    /// Whether its plugins can be asked about a pod, and want to be.
    pub(crate) fn has_check(&self) -> bool {
        let is_off = match &self.0["disableCheck"] {
            // Both spellings are in the specification's examples.
            Value::String(text) => text == "true",
            value => value.as_bool() == Some(true),
        };
        self.version() >= [0, 4, 0] && !is_off
    }

    /// Whether its plugins can be asked how they are, and told what there is.
    pub(crate) fn has_status(&self) -> bool {
        self.version() >= [1, 1, 0]
    }

    /// What a plugin reads: its part, with name, version, the result before, and the capabilities that it declares.
    pub(crate) fn for_plugin(&self, plugin: &Value, previous: Option<&Value>, wanted: &Value) -> Value {
        let mut input = plugin.clone();
        let Some(fields) = input.as_object_mut() else { return input };
        fields.insert("name".to_owned(), self.0["name"].clone());
        fields.insert("cniVersion".to_owned(), self.0["cniVersion"].clone());
        if let Some(previous) = previous {
            fields.insert("prevResult".to_owned(), previous.clone());
        }
        let declared = fields.remove("capabilities");
        let given: serde_json::Map<String, Value> = declared
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(_, on)| on.as_bool() == Some(true))
            .filter_map(|(name, _)| Some((name.clone(), wanted.get(name)?.clone())))
            .collect();
        if !given.is_empty() {
            fields.insert("runtimeConfig".to_owned(), given.into());
        }
        input
    }
}

fn version(text: &str) -> [u64; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_first_file_counts() {
        let other = r#"{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"ptp"}]}"#;
        let single = r#"{"cniVersion":"0.4.0","name":"a","type":"bridge"}"#;
        let folder = folder(&[("20-b.conflist", other), ("10-a.conf", single), ("00-readme.txt", "")]);
        let list = List::first(folder.path()).unwrap();
        assert_eq!(list.json()["name"], "a");
        assert_eq!(list.plugins().count(), 1);
    }

    #[test]
    fn wrong_ones_are_said() {
        let reason = |text: &str| List::first(folder(&[("1.conf", text)]).path()).unwrap_err().to_string();
        assert!(reason(r#"{"name":"a","type":"../sh"}"#).contains("is no plugin"));
        assert!(reason(r#"{"name":"a","plugins":[]}"#).contains("no plugins"));
        assert!(reason(r#"{"type":"bridge"}"#).contains("no name"));
        assert!(reason(r#"{"cniVersion":"2.0.0","name":"a","type":"bridge"}"#).contains("newer"));
        let empty = folder(&[]);
        assert!(matches!(List::first(empty.path()), Err(CniError::NoConfig(_))));
    }

    #[test]
    fn not_every_list_can_be_checked() {
        let list = |version: &str, off: Value| {
            List::stored(
                &json!({"cniVersion": version, "name": "a", "disableCheck": off, "plugins": [{"type": "b"}]}),
            )
        };
        assert!(list("1.0.0", Value::Null).unwrap().has_check());
        assert!(!list("0.3.1", Value::Null).unwrap().has_check());
        assert!(!list("1.1.0", json!(true)).unwrap().has_check());
        assert!(!list("1.1.0", json!("true")).unwrap().has_check());
    }

    #[test]
    fn plugins_get_what_they_declare() {
        let list = List::stored(&json!({"cniVersion":"1.0.0","name":"a","plugins":[
            {"type":"portmap","capabilities":{"portMappings":true,"bandwidth":false}}]}))
        .unwrap();
        let wanted = json!({"portMappings":[1],"bandwidth":{}});
        let input = list.for_plugin(list.plugins().next().unwrap(), Some(&json!({"ips":[]})), &wanted);
        assert_eq!(
            input,
            json!({"type":"portmap","name":"a","cniVersion":"1.0.0","prevResult":{"ips":[]},"runtimeConfig":{"portMappings":[1]}})
        );
    }
}
