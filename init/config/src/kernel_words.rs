//! `ip=`, `vlan=` and `bond=` of the kernel command line, in the forms that initrds have made common
//! (the kernel's nfsroot document and dracut.cmdline(7)).
//!
//! They become the same tables as a document's: messages name the word instead of a line.

use std::net::{IpAddr, Ipv4Addr};

use crate::document::Problem;
use crate::field::{Field, Place, Reader};
use crate::names::{Hostname, LinkName, LinkRef, Server};
use crate::network::{Bond, BondMode, Dhcp, LacpRate, Link, Match, Mtu, TransmitHash, Vlan, VlanId};
use crate::table::Check;
use crate::{Cidr, MachineConfig};

/// Name of the source in messages.
pub const SOURCE: &str = "kernel command line";

/// What the network words of a command line say; other words are not looked at.
pub fn parse<'a>(words: impl IntoIterator<Item = (&'a str, &'a str)>) -> (MachineConfig, Vec<Problem>) {
    let mut config = MachineConfig::default();
    let mut problems = Vec::new();
    for (key, value) in words {
        let result = match key {
            "ip" => ip(value, &mut config),
            "vlan" => vlan(value, &mut config),
            "bond" => bond(value, &mut config),
            _ => continue,
        };
        if let Err(message) = result {
            let key = format!("{key}={value}");
            problems.push(Problem { source: SOURCE.to_owned(), line: 0, key, message });
        }
    }
    (config, problems)
}

/// `ip=METHOD`, `ip=LINK:METHOD[:MTU]` or
/// `ip=ADDRESS:SERVER:GATEWAY:NETMASK:HOSTNAME:LINK:METHOD[:DNS0[:DNS1[:NTP]]]`; IPv6 addresses stand in brackets.
fn ip(value: &str, config: &mut MachineConfig) -> Result<(), String> {
    let fields = split(value)?;
    let field = |index: usize| fields.get(index).map_or("", String::as_str);
    match fields.len() {
        1 if field(0).is_empty() => Err("it says nothing; write ip=dhcp or an address".to_owned()),
        1 => match method(field(0)) {
            // Without a link it is for every link, which is what happens without any config.
            Some(Dhcp::Both) => Ok(()),
            Some(Dhcp::None) => Err("name the link: ip=eth0:off".to_owned()),
            Some(dhcp) => {
                Err(format!("name the link: ip=eth0:{}", if dhcp == Dhcp::V4 { "dhcp4" } else { "dhcp6" }))
            }
            None => address_word(&fields, config),
        },
        2 | 3 if method(field(1)).is_some() => {
            let mtu = field(2);
            let mtu = if mtu.is_empty() { None } else { Some(number(mtu, Mtu::new, "MTU")?) };
            let link = Link { dhcp: method(field(1)), mtu, ..Link::default() };
            add(link, field(0), config)
        }
        _ => address_word(&fields, config),
    }
}

fn address_word(fields: &[String], config: &mut MachineConfig) -> Result<(), String> {
    let field = |index: usize| fields.get(index).map_or("", String::as_str);
    if fields.len() > 10 {
        return Err(
            "too many fields: ADDRESS:SERVER:GATEWAY:NETMASK:HOSTNAME:LINK:METHOD:DNS0:DNS1:NTP".to_owned()
        );
    }
    let dhcp = match field(6) {
        "" => None,
        text => Some(
            method(text)
                .ok_or_else(|| format!("unknown method {text:?} (known: dhcp, dhcp4, dhcp6, off)"))?,
        ),
    };
    let mut link = Link { dhcp, ..Link::default() };
    if !field(0).is_empty() {
        link.addresses.push(cidr(field(0), field(3))?);
    }
    if !field(2).is_empty() {
        link.gateways.push(address(field(2), "gateway")?);
    }
    for index in [7, 8] {
        if !field(index).is_empty() {
            config.network.dns.push(address(field(index), "DNS server")?);
        }
    }
    if !field(9).is_empty() {
        config.time.servers.push(field(9).parse::<Server>()?);
    }
    if !field(4).is_empty() {
        config.hostname = Some(field(4).parse::<Hostname>()?);
    }
    add(link, field(5), config)
}

/// `vlan=NAME:PARENT`, where the name ends in the number: `eth0.5`, `vlan5`, `vlan0005`.
fn vlan(value: &str, config: &mut MachineConfig) -> Result<(), String> {
    let (name, parent) = value.split_once(':').ok_or("write vlan=NAME:PARENT, such as vlan=eth0.5:eth0")?;
    let head = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let id = number(&name[head.len()..], VlanId::new, "VLAN number at the end of the name")?;
    let vlan = Vlan { id, parent: parent.parse()? };
    add_made(name, config, |link| link.vlan = Some(vlan))
}

/// `bond=NAME[:MEMBERS[:OPTIONS[:MTU]]]`, members and options with commas.
fn bond(value: &str, config: &mut MachineConfig) -> Result<(), String> {
    let mut parts = value.split(':');
    let name = parts.next().unwrap_or_default();
    let members = parts.next().unwrap_or_default();
    let options = parts.next().unwrap_or_default();
    let mtu = match parts.next().unwrap_or_default() {
        "" => None,
        text => Some(number(text, Mtu::new, "MTU")?),
    };
    if members.is_empty() || parts.next().is_some() {
        return Err(
            "write bond=NAME:MEMBERS[:OPTIONS[:MTU]], such as bond=bond0:eth0,eth1:mode=802.3ad".to_owned()
        );
    }
    let members: Vec<LinkRef> = members.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let mut bond =
        Bond { members, mode: None, miimon_ms: None, primary: None, lacp_rate: None, transmit_hash: None };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "mode" => bond.mode = Some(bond_mode(value)?),
            "miimon" => {
                bond.miimon_ms = Some(value.parse().map_err(|_| format!("miimon {value:?} is no number"))?)
            }
            "primary" => bond.primary = Some(value.parse()?),
            "lacp_rate" => bond.lacp_rate = Some(lacp_rate(value)?),
            "xmit_hash_policy" => bond.transmit_hash = Some(transmit_hash(value)?),
            _ => {
                return Err(format!(
                    "unknown option {key:?} (known: mode, miimon, primary, lacp_rate, xmit_hash_policy)"
                ));
            }
        }
    }
    let bond = checked(bond)?;
    add_made(name, config, |link| (link.bond, link.mtu) = (Some(bond), mtu))
}

fn bond_mode(text: &str) -> Result<BondMode, String> {
    match text {
        "active-backup" | "1" => Ok(BondMode::ActiveBackup),
        "802.3ad" | "4" => Ok(BondMode::Lacp),
        _ => Err(format!("unknown mode {text:?} (known: active-backup, 802.3ad)")),
    }
}

fn lacp_rate(text: &str) -> Result<LacpRate, String> {
    match text {
        "slow" | "0" => Ok(LacpRate::Slow),
        "fast" | "1" => Ok(LacpRate::Fast),
        _ => Err(format!("unknown lacp_rate {text:?} (known: slow, fast)")),
    }
}

fn transmit_hash(text: &str) -> Result<TransmitHash, String> {
    match text {
        "layer2" | "0" => Ok(TransmitHash::Layer2),
        "layer3+4" | "1" => Ok(TransmitHash::Layer34),
        "layer2+3" | "2" => Ok(TransmitHash::Layer23),
        _ => Err(format!("unknown xmit_hash_policy {text:?} (known: layer2, layer2+3, layer3+4)")),
    }
}

fn method(text: &str) -> Option<Dhcp> {
    match text {
        "dhcp" | "on" | "any" | "both" => Some(Dhcp::Both),
        "dhcp4" => Some(Dhcp::V4),
        "dhcp6" | "auto6" => Some(Dhcp::V6),
        "off" | "none" | "static" => Some(Dhcp::None),
        _ => None,
    }
}

/// Adds what a word says about a link; words about the same link come together.
fn add(link: Link, name: &str, config: &mut MachineConfig) -> Result<(), String> {
    if name.is_empty() {
        // As in the kernel: the first link, which hosts with a single one need not name.
        return push(Link { r#match: Some(first_link()), ..link }, config);
    }
    let reference: LinkRef = name.parse()?;
    let made = config.network.links.iter_mut().find(|other| is_named(other, name));
    if let Some(made) = made {
        merge(made, link);
        return Ok(());
    }
    push(Link { r#match: Some(matching(&reference)), ..link }, config)
}

/// Adds a link that is to be made.
fn add_made(name: &str, config: &mut MachineConfig, set: impl FnOnce(&mut Link)) -> Result<(), String> {
    let parsed: LinkName = name.parse()?;
    let links = &mut config.network.links;
    // An `ip=` word before this one took it for a link that is there.
    let taken = links.iter().position(|link| is_named(link, name));
    let mut link = taken.map(|index| links.remove(index)).unwrap_or_default();
    link.r#match = None;
    link.name = Some(parsed);
    set(&mut link);
    push(link, config)
}

fn is_named(link: &Link, name: &str) -> bool {
    let found = link.r#match.as_ref().and_then(|criteria| criteria.name.as_ref());
    found.or(link.name.as_ref()).is_some_and(|link| link.as_str() == name)
}

fn matching(reference: &LinkRef) -> Match {
    match reference.id() {
        crate::names::LinkId::Name(name) => Match { name: Some(name.clone()), ..Match::default() },
        crate::names::LinkId::Mac(mac) => Match { mac: Some(mac.clone()), ..Match::default() },
    }
}

/// The kernel gives this name to the first wired link (there is no renaming).
pub(crate) fn first_link() -> Match {
    Match { name: "eth0".parse().ok(), ..Match::default() }
}

fn merge(into: &mut Link, more: Link) {
    into.addresses.extend(more.addresses);
    into.gateways.extend(more.gateways);
    into.dhcp = more.dhcp.or(into.dhcp);
    into.mtu = more.mtu.or(into.mtu);
}

fn push(link: Link, config: &mut MachineConfig) -> Result<(), String> {
    let same = |other: &&mut Link| other.r#match.is_some() && other.r#match == link.r#match;
    if let Some(other) = config.network.links.iter_mut().find(same) {
        merge(other, link);
        return Ok(());
    }
    let link = checked(link)?;
    let identity = Field::identity(&link);
    if identity.is_some() && config.network.links.iter().any(|other| Field::identity(other) == identity) {
        return Err("the link is there already".to_owned());
    }
    config.network.links.push(link);
    Ok(())
}

/// Applies the rules that hold for a document's tables; a word with a contradiction is left out as a whole.
pub(crate) fn checked<T: Check>(table: T) -> Result<T, String> {
    let mut reader = Reader { source: SOURCE, text: "", problems: Vec::new() };
    let table = table.check(Place { key: "", offset: 0 }, &mut reader);
    match (table, reader.problems.into_iter().next()) {
        (Some(table), None) => Ok(table),
        (_, problem) => Err(problem.map_or_else(String::new, |problem| problem.message)),
    }
}

fn number<T>(text: &str, make: impl Fn(i64) -> Option<T>, what: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|_| !text.starts_with('+'));
    number.and_then(make).ok_or_else(|| format!("{text:?} is not a valid {what}"))
}

fn address(text: &str, what: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{what} {text:?} is not an address"))
}

/// An address with its prefix length behind it or in the netmask field, as a length or as a mask.
fn cidr(text: &str, mask: &str) -> Result<Cidr, String> {
    if text.contains('/') {
        return text.parse();
    }
    let address = address(text, "client")?;
    let prefix = match (mask, address) {
        ("", IpAddr::V4(_)) => {
            return Err(format!("{text} needs a netmask: write {text}/24 or fill the netmask field"));
        }
        ("", IpAddr::V6(_)) => 64,
        (mask, _) => match (mask.parse::<u8>(), mask.parse::<Ipv4Addr>()) {
            (Ok(length), _) => length,
            (_, Ok(mask))
                if mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros().min(32) == 32 =>
            {
                u8::try_from(mask.to_bits().leading_ones()).unwrap_or(32)
            }
            _ => return Err(format!("{mask:?} is not a netmask")),
        },
    };
    Cidr::new(address, prefix).ok_or_else(|| format!("{text}/{prefix} cannot be the address of a link"))
}

/// Splits at colons outside of brackets and drops the brackets.
fn split(value: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut inside = false;
    for c in value.chars() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            ':' if !inside => fields.push(String::new()),
            c => fields.last_mut().expect("there is one from the start").push(c),
        }
    }
    if inside { Err("a bracket is not closed".to_owned()) } else { Ok(fields) }
}

#[cfg(test)]
mod tests;
