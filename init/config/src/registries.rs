//! `[[registries]]`: where container images come from besides the registries that they name, and how those are reached.

use crate::field::{Field, Place, Reader, Value, read_plain};
use crate::names::is_authority;
use crate::table::{Check, table};
use crate::text::{as_text, text_type};

/// The longest URL of an endpoint; what is asked there is put behind it.
const MAX_URL: usize = 1024;

table! {
    /// How one registry of container images is reached. Without an entry: over HTTPS, by its own name.
    #[cfg_attr(feature = "schema", schemars(extend("required" = ["endpoints", "host"])))]
    struct Registry {
        required {
            /// The registry as names of images begin with it, with its port if they have one: `docker.io`, `registry.example:5000`.
            host: RegistryHost,
        }
        optional {
            /// Where it is asked, in this order. The registry itself comes last, unless it is one of them.
            endpoints: Vec<RegistryEndpoint>,
            /// Whether nothing but the endpoints is asked; when none of them is usable, pulls fail. Without this key: no.
            only_endpoints: Option<OnlyEndpoints>,
        }
    }
}

table! {
    /// A place that answers for a registry: a mirror, or the registry itself.
    struct RegistryEndpoint {
        required {
            /// `https://HOST[:PORT][/PREFIX]`. With `http://` it is asked in plain HTTP, which nothing else allows.
            url: RegistryUrl,
        }
        optional {
            /// A file of PEM certificates that it must be verified by, instead of the host's own.
            ca_file: Option<CaFile>,
            /// The user that it is told, for this place alone.
            user: Option<String>,
            /// The password of that user.
            password: Option<String>,
            /// Whether it gets the credentials that come with a pull although it is not the registry itself. Without this
            /// key: no.
            pull_credentials: Option<bool>,
        }
    }
}

text_type!(
    /// The registry of an image's name: `HOST[:PORT]`.
    RegistryHost(String),
    parse = |text| {
        let message = || format!("{text:?} is not the registry of an image's name: HOST or HOST:PORT, without a scheme");
        is_authority(text).then(|| text.to_owned()).ok_or_else(message)
    },
    pattern = r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"
);

text_type!(
    /// Where a registry is asked: `http[s]://HOST[:PORT][/PREFIX]`.
    RegistryUrl(String),
    parse = |text| {
        // What stands before an @ may be a password, and mistakes are shown.
        let shown = if text.contains('@') { "it" } else { text };
        let message = || format!("{shown} is not of the form http[s]://HOST[:PORT][/PREFIX]; user and password have keys of their own");
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let (authority, path) = rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))).ok_or_else(message)?;
        let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._~-".contains(&byte));
        (is_authority(authority) && is_plain && text.len() <= MAX_URL).then(|| text.to_owned()).ok_or_else(message)
    },
    pattern = r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9/._~-]*)?$"
);

text_type!(
    /// The absolute path of a file.
    CaFile(String),
    parse = |text| {
        let is_path = text.starts_with('/') && !text.ends_with('/') && !text.contains('\0') && text.len() <= 4000;
        is_path.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is not the absolute path of a file"))
    },
    pattern = r"^/[^\u0000]*[^/\u0000]$"
);

/// Whether nothing but the endpoints is asked. A value that is neither yes nor no counts as yes: of the two, a pull that
/// fails is seen, and a registry that is asked in spite of the wish is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct OnlyEndpoints(bool);

impl OnlyEndpoints {
    /// Yes or no.
    pub fn get(self) -> bool {
        self.0
    }
}

impl Field for OnlyEndpoints {
    fn read(value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self(read_plain(value, place, reader).unwrap_or(true)))
    }
}

impl Registry {
    /// Whether nothing but the endpoints is asked.
    pub fn is_only_endpoints(&self) -> bool {
        self.only_endpoints.is_some_and(OnlyEndpoints::get)
    }
}

impl Check for Registry {
    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        // With only-endpoints it stays: without it the registry itself would be asked.
        if !self.endpoints.is_empty() || self.is_only_endpoints() {
            return Some(self);
        }
        let message = "there is no usable endpoint: name at least one, or leave the registry out";
        reader.report(place.offset, place.key, message);
        None
    }

    fn identity(&self) -> Option<String> {
        Some(format!("the registry {}", self.host))
    }
}

impl Check for RegistryEndpoint {
    /// An endpoint that lost one of these would be asked as somebody else, or trusted by other rules.
    const VITAL: &'static [&'static str] = &["ca-file", "user", "password"];

    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if self.user.is_some() != self.password.is_some() {
            reader.report(place.offset, place.key, "user and password belong together: give both or none");
            return None;
        }
        if self.user.as_ref().is_some_and(|user| user.contains(':')) {
            reader.report(
                place.offset,
                place.key,
                "user has a colon, which ends it in basic authentication (RFC 7617)",
            );
            return None;
        }
        Some(self)
    }

    fn identity(&self) -> Option<String> {
        Some(self.url.to_string())
    }
}

as_text!(CaFile, RegistryHost, RegistryUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in
            ["docker.io", "registry.example:5000", "localhost", "192.0.2.1:80", "[2001:db8::1]:5000", "[::1]"]
        {
            assert!(good.parse::<RegistryHost>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a/b",
            "https://a",
            "a@b",
            "::1",
            "[::g]",
            "a..b",
            "a b",
        ] {
            assert!(bad.parse::<RegistryHost>().is_err(), "{bad}");
        }
    }

    #[test]
    fn urls() {
        for good in
            ["https://a", "http://192.0.2.1:5000", "https://[2001:db8::1]:5000/docker/hub", "https://a/"]
        {
            assert!(good.parse::<RegistryUrl>().is_ok(), "{good}");
        }
        for bad in [
            "a",
            "ftp://a",
            "https://",
            "https:///x",
            "https://u:p@a",
            "https://a/?x",
            "https://a/#x",
            "https://a/ b",
        ] {
            assert!(bad.parse::<RegistryUrl>().is_err(), "{bad}");
        }
    }
}
