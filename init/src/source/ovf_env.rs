//! Reading an OVF environment document (DSP0243 section 9): properties and network cards, nothing else.
//!
//! The text comes from outside: no document type is accepted, and its size and number of elements are bounded.

use lepton_config::{Mac, ovf};
use roxmltree::{Document, Node, ParsingOptions};

use super::Layer;

/// A real environment has some dozens of elements and attributes.
const MAX_NODES: u32 = 10_000;

/// What PID 1 wants to know of an environment.
#[derive(Debug, Default, PartialEq, Eq)]
struct Environment {
    properties: Vec<(String, String)>,
    /// Hardware address of the first network card, which VMware tells in a section of its own.
    card: Option<Mac>,
}

/// Adds what an environment says to `layer`; `source` is its name in messages.
pub(super) fn add(source: &str, text: &[u8], layer: &mut Layer) {
    let environment = match parse(text) {
        Ok(environment) => environment,
        Err(error) => {
            layer.errors.push(format!("{source}: {error}"));
            return;
        }
    };
    let pairs = environment.properties.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let found = ovf::parse(source, pairs, environment.card);
    layer.config.fill_from(found.config);
    layer.errors.extend(found.problems.iter().map(ToString::to_string));
    layer.skipped.extend(found.skipped);
    layer.url = layer.url.take().or(found.url);
}

fn parse(text: &[u8]) -> Result<Environment, String> {
    if text.len() > lepton_config::MAX_BYTES {
        return Err(format!("the environment is larger than {} bytes", lepton_config::MAX_BYTES));
    }
    let text = std::str::from_utf8(text).map_err(|_| "the environment is not UTF-8 text".to_owned())?;
    // What comes over a wire may end in a zero byte, as C programs send it.
    let text = text.trim_start_matches('\u{feff}').trim_end_matches('\0');
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| format!("not an environment: {error}"))?;
    if document.root_element().tag_name().name() != "Environment" {
        return Err("not an environment: the first element is not Environment".to_owned());
    }
    // Environments of other virtual systems of a group stand in elements named Entity; these are not ours.
    let sections = || document.root_element().children();
    let elements = |section: &'static str, name: &'static str| {
        let sections = sections().filter(move |node| node.tag_name().name() == section);
        sections.flat_map(|node| node.children()).filter(move |node| node.tag_name().name() == name)
    };
    let properties = elements("PropertySection", "Property")
        .filter_map(|node| Some((attribute(node, "key")?.to_owned(), attribute(node, "value")?.to_owned())))
        .collect();
    let card =
        elements("EthernetAdapterSection", "Adapter").find_map(|node| attribute(node, "mac")?.parse().ok());
    Ok(Environment { properties, card })
}

/// An attribute by its local name: writers disagree on whether it is in the name space.
fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|attribute| attribute.name() == name).map(|attribute| attribute.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form that VMware gives it.
    const TEXT: &str = include_str!("vmware/ovf-env.xml");

    #[test]
    fn properties_and_the_first_card() {
        let environment = parse(TEXT.as_bytes()).unwrap();
        let names: Vec<&str> = environment.properties.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            names,
            [
                "lepton.addresses",
                "lepton.config",
                "lepton.dns",
                "lepton.gateway",
                "lepton.hostname",
                "lepton.join-token",
                "lepton.ntp"
            ]
        );
        assert_eq!(environment.card.unwrap().to_string(), "00:50:56:01:02:03");
        let mut layer = Layer::default();
        add("ovf-env", TEXT.as_bytes(), &mut layer);
        assert_eq!(layer.errors, [] as [&str; 0]);
        assert_eq!(layer.config.hostname.unwrap().as_str(), "edge-ovf");
        assert_eq!(layer.config.network.links[0].addresses[0].to_string(), "192.0.2.10/24");
        assert!(!layer.skipped.iter().any(|line| line.contains("secret")), "{:?}", layer.skipped);
    }

    #[test]
    fn hostile_documents() {
        let bomb =
            format!("<!DOCTYPE x [<!ENTITY a \"{}\">]><Environment>&a;</Environment>", "b".repeat(1000));
        let many = format!("<Environment>{}</Environment>", "<a/>".repeat(20_000));
        let deep = "<Environment>".repeat(5000);
        for bad in ["", "<x/>", "\u{0}", &bomb, &many, &deep, &TEXT[..TEXT.len() / 2]] {
            assert!(parse(bad.as_bytes()).is_err());
        }
        assert!(parse(&[0xff]).is_err());
        assert!(parse(&vec![b' '; lepton_config::MAX_BYTES + 1]).is_err());
        assert_eq!(parse(b"<Environment/>\0").unwrap(), Environment::default());
    }
}
