//! Contexts: keys and hosts under a name, in a file of the user's. It must not look at the environment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use lepton_host_api::roles::Role;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// All contexts of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// A fleet, and who one is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Context {
    /// Folder with `hosts.pem` and certificates of roles.
    pub(crate) keys: PathBuf,
    /// Whose certificate is used; without it the greatest role's that is there.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "role_out",
        deserialize_with = "role_in"
    )]
    pub(crate) role: Option<Role>,
    /// Hosts that are meant when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hosts: Vec<String>,
    /// SPIFFE IDs that certain hosts must have, by the name that they are called by here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) host_ids: BTreeMap<String, String>,
}

/// Why contexts cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ContextsError {
    /// The file cannot be read or written.
    #[error("cannot {action} {path}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// It is no file of contexts.
    #[error("{path} is no file of contexts")]
    Form { path: PathBuf, source: Box<toml::de::Error> },
    /// It cannot be said in TOML.
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: Box<toml::ser::Error> },
    /// There is no such context.
    #[error("there is no context {name:?}; lepton context list shows those there are")]
    Absent { name: String },
    /// There is one already.
    #[error("there is a context {name:?} already; lepton context remove {name} forgets it")]
    Exists { name: String },
    /// Nobody says where the file is.
    #[error("no place for contexts: neither XDG_CONFIG_HOME nor HOME is set")]
    NoPlace,
}

impl Contexts {
    /// Reads the file; none is no context.
    pub(crate) fn read(path: &Path) -> Result<Self, ContextsError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ContextsError::File { action: "read", path: path.to_owned(), source }),
        };
        toml::from_str(&text)
            .map_err(|source| ContextsError::Form { path: path.to_owned(), source: Box::new(source) })
    }

    /// Writes the file in one step.
    pub(crate) fn write(&self, path: &Path) -> Result<(), ContextsError> {
        let text = toml::to_string(self)
            .map_err(|source| ContextsError::Write { path: path.to_owned(), source: Box::new(source) })?;
        let fresh = path.with_extension("toml.new");
        let put = || {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            let mut file = fs::File::create(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, path)
        };
        put().map_err(|source| ContextsError::File { action: "write", path: path.to_owned(), source })
    }

    /// The context of that name, or the current one; none when none is chosen.
    pub(crate) fn choose(&self, name: Option<&str>) -> Result<Option<&Context>, ContextsError> {
        let Some(name) = name.or(self.current.as_deref()) else { return Ok(None) };
        self.contexts.get(name).map(Some).ok_or_else(|| ContextsError::Absent { name: name.to_owned() })
    }

    /// Adds one; the first is the current one.
    pub(crate) fn add(&mut self, name: &str, context: Context) -> Result<(), ContextsError> {
        if self.contexts.contains_key(name) {
            return Err(ContextsError::Exists { name: name.to_owned() });
        }
        if self.contexts.is_empty() {
            self.current = Some(name.to_owned());
        }
        self.contexts.insert(name.to_owned(), context);
        Ok(())
    }

    /// Makes one the current one, or none.
    pub(crate) fn set_current(&mut self, name: Option<&str>) -> Result<(), ContextsError> {
        if let Some(name) = name.filter(|name| !self.contexts.contains_key(*name)) {
            return Err(ContextsError::Absent { name: name.to_owned() });
        }
        self.current = name.map(str::to_owned);
        Ok(())
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), ContextsError> {
        if self.contexts.remove(name).is_none() {
            return Err(ContextsError::Absent { name: name.to_owned() });
        }
        self.current.take_if(|current| current == name);
        Ok(())
    }
}

fn role_out<S: Serializer>(role: &Option<Role>, serializer: S) -> Result<S::Ok, S::Error> {
    role.map(Role::name).serialize(serializer)
}

fn role_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Role>, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(keys: &str) -> Context {
        Context { keys: keys.into(), role: None, hosts: Vec::new(), host_ids: BTreeMap::new() }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lepton/config.toml");
        assert_eq!(Contexts::read(&path).unwrap(), Contexts::default());
        let mut contexts = Contexts::default();
        let lab = Context {
            role: Some(Role::Operator),
            hosts: vec!["192.0.2.10".into(), "edge-1:7000".into()],
            host_ids: [("192.0.2.10".to_owned(), "spiffe://a/host/1".to_owned())].into(),
            ..context("/home/ann/lab")
        };
        contexts.add("lab", lab).unwrap();
        contexts.add("other", context("/x")).unwrap();
        contexts.write(&path).unwrap();
        expect_test::expect![[r#"
            current = "lab"

            [contexts.lab]
            keys = "/home/ann/lab"
            role = "operator"
            hosts = ["192.0.2.10", "edge-1:7000"]

            [contexts.lab.host-ids]
            "192.0.2.10" = "spiffe://a/host/1"

            [contexts.other]
            keys = "/x"
        "#]]
        .assert_eq(&fs::read_to_string(&path).unwrap());
        assert_eq!(Contexts::read(&path).unwrap(), contexts);
        for bad in ["current = 1", "hosts = []", "[contexts.a]", "[contexts.a]\nkeys = '/x'\nrole = 'root'"] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(Contexts::read(&path), Err(ContextsError::Form { .. })), "{bad}");
        }
    }

    #[test]
    fn the_current_one() {
        let mut contexts = Contexts::default();
        assert_eq!(contexts.choose(None).unwrap(), None);
        contexts.add("a", context("/a")).unwrap();
        contexts.add("b", context("/b")).unwrap();
        assert!(matches!(contexts.add("a", context("/c")), Err(ContextsError::Exists { .. })));
        let keys =
            |contexts: &Contexts, name| contexts.choose(name).unwrap().map(|context| context.keys.clone());
        assert_eq!(keys(&contexts, None), Some("/a".into()));
        assert_eq!(keys(&contexts, Some("b")), Some("/b".into()));
        contexts.set_current(Some("b")).unwrap();
        contexts.remove("a").unwrap();
        assert_eq!(keys(&contexts, None), Some("/b".into()));
        contexts.remove("b").unwrap();
        assert_eq!(contexts, Contexts::default());
        for error in
            [contexts.choose(Some("a")).map(drop), contexts.remove("a"), contexts.set_current(Some("a"))]
        {
            assert!(matches!(error, Err(ContextsError::Absent { .. })));
        }
    }
}
