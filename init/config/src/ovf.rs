//! What the properties of an OVF environment (DSP0243 section 9.5) say as a machine config.
//!
//! The keys are those of `docs/vsphere.md`; reading the XML is somebody else's.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use crate::document::{self, Problem};
use crate::encoding::{self, Inline};
use crate::kernel_words::{checked, first_link};
use crate::network::{Link, Match};
use crate::{Cidr, Hostname, Mac, MachineConfig, Server};

/// Class of the properties; clients write it before the key.
pub const CLASS: &str = "lepton";

/// The properties of an environment as a config, with what was wrong and what was left aside.
#[derive(Clone, Debug, Default)]
pub struct Properties {
    /// What they say.
    pub config: MachineConfig,
    /// What of it could not be used.
    pub problems: Vec<Problem>,
    /// One sentence per property that has no use here.
    pub skipped: Vec<String>,
    /// A config to fetch.
    pub url: Option<String>,
}

/// Reads properties; `source` is their name in messages, `card` the first network card, when the environment names it.
///
/// An empty value is no answer. An answer of its own comes before the same key in the answer `config`.
pub fn parse<'a>(
    source: &str,
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    card: Option<Mac>,
) -> Properties {
    let mut found = Properties::default();
    let mut link = Link::default();
    let mut whole = MachineConfig::default();
    for (key, value) in pairs {
        let value = value.trim();
        let Some(name) = name_of(key).filter(|_| !value.is_empty()) else { continue };
        let mut errors = Vec::new();
        match name {
            "hostname" => found.config.hostname = one::<Hostname>(value, &mut errors),
            "addresses" => link.addresses = list::<Cidr>(value, &mut errors),
            "gateway" => {
                link.gateways = list::<Address>(value, &mut errors).into_iter().map(|a| a.0).collect()
            }
            "dns" => {
                let servers = list::<Address>(value, &mut errors);
                found.config.network.dns = servers.into_iter().map(|server| server.0).collect();
            }
            "ntp" => found.config.time.servers = list::<Server>(value, &mut errors),
            "config" => match encoding::inline(value) {
                Ok(Inline::Text(text)) => {
                    let parsed = document::parse_bytes(&format!("{source}: {key}"), &text);
                    found.problems.extend(parsed.problems);
                    whole = parsed.config;
                }
                Ok(Inline::Url(url)) => found.url = Some(url),
                Err(error) => errors.push(error.to_string()),
            },
            // A secret: its value must not be repeated anywhere.
            "join-token" => found.skipped.push(format!("{source}: nothing on this host uses {key} yet")),
            _ => found.skipped.push(format!("{source}: no meaning for the property {key}")),
        }
        let problem = |message| Problem { source: source.to_owned(), line: 0, key: key.to_owned(), message };
        found.problems.extend(errors.into_iter().map(problem));
    }
    if link != Link::default() {
        link.r#match = Some(card.map_or_else(first_link, |mac| Match { mac: Some(mac), ..Match::default() }));
        match checked(link.clone()) {
            Ok(link) => found.config.network.links.push(link),
            Err(message) => {
                let key = format!("{CLASS}.gateway");
                found.problems.push(Problem { source: source.to_owned(), line: 0, key, message });
                // Addresses without a way out still make the host reachable from its own network.
                link.gateways.clear();
                found
                    .config
                    .network
                    .links
                    .extend(checked(link).ok().filter(|link| !link.addresses.is_empty()));
            }
        }
    }
    found.config.fill_from(whole);
    found
}

/// `lepton.hostname`, `lepton.hostname.1` and `hostname` are one name; other classes are other products'.
fn name_of(key: &str) -> Option<&str> {
    match key.split_once('.') {
        None => Some(key),
        Some((CLASS, rest)) => rest.split('.').next(),
        Some(_) => None,
    }
}

fn one<T: FromStr<Err = String>>(value: &str, errors: &mut Vec<String>) -> Option<T> {
    value.parse().map_err(|error| errors.push(error)).ok()
}

/// Values between commas or blanks; bad ones are left out.
fn list<T: FromStr<Err: Display>>(value: &str, errors: &mut Vec<String>) -> Vec<T> {
    let words = value.split([',', ';', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    words
        .filter_map(|word| word.parse().map_err(|error: T::Err| errors.push(error.to_string())).ok())
        .collect()
}

/// An address, with an error that names it.
struct Address(IpAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("{text:?} is not an IP address"))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(pairs: &[(&str, &str)], mac: Option<&str>, want: &Expect) {
        let found = parse("ovf", pairs.iter().copied(), mac.map(|mac| mac.parse().unwrap()));
        let mut text = found.config.to_toml();
        for line in found.problems.iter().map(ToString::to_string).chain(found.skipped) {
            text.push_str(&format!("! {line}\n"));
        }
        want.assert_eq(&text);
    }

    #[test]
    fn every_answer() {
        check(
            &[
                ("lepton.hostname", "edge-1"),
                ("lepton.addresses", "192.0.2.10/24, 2001:db8::10/64"),
                ("lepton.gateway", "192.0.2.1"),
                ("lepton.dns", "192.0.2.53,2001:db8::53"),
                ("lepton.ntp", "ntp.example.org"),
                // hostname = "other", [[files]] path = "/etc/motd", content = "hi"
                (
                    "lepton.config",
                    "aG9zdG5hbWUgPSAib3RoZXIiCltbZmlsZXNdXQpwYXRoID0gIi9ldGMvbW90ZCIKY29udGVudCA9ICJoaSIK",
                ),
                ("lepton.join-token", "secret"),
                ("other.hostname", "x"),
            ],
            Some("00:50:56:01:02:03"),
            &expect![[r#"
                hostname = "edge-1"

                [network]
                dns = ["192.0.2.53", "2001:db8::53"]

                [[network.links]]
                addresses = ["192.0.2.10/24", "2001:db8::10/64"]
                gateways = ["192.0.2.1"]

                [network.links.match]
                mac = "00:50:56:01:02:03"

                [time]
                servers = ["ntp.example.org"]

                [[files]]
                path = "/etc/motd"
                content = "hi"
                ! ovf: nothing on this host uses lepton.join-token yet
            "#]],
        );
    }

    #[test]
    fn empty_answers_and_mistakes() {
        check(&[("lepton.hostname", ""), ("lepton.addresses", " ")], None, &expect![""]);
        check(
            &[
                ("hostname", "a b"),
                ("lepton.addresses", "192.0.2.10/24,x"),
                ("lepton.gateway", "2001:db8::1"),
                ("lepton.config", "%%"),
                ("lepton.color", "red"),
            ],
            None,
            &expect![[r#"
                [[network.links]]
                addresses = ["192.0.2.10/24"]
                gateways = ["2001:db8::1"]

                [network.links.match]
                name = "eth0"
                ! ovf: hostname: "a b" is not a host name: use letters, digits and hyphens, with dots between labels, at most 64 characters (RFC 1123)
                ! ovf: lepton.addresses: "x" is not an address with a prefix length, such as 192.0.2.10/24 or 2001:db8::10/64
                ! ovf: lepton.config: bad percent encoding
                ! ovf: no meaning for the property lepton.color
            "#]],
        );
    }
}
