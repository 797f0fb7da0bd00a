//! What a user is asked for when deploying a machine, and how the guest sees the answers.
//!
//! The guest reads an OVF environment in which each key carries the product's class as a prefix.

use super::Product;
use crate::xml::Xml;

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Property<'a> {
    /// Name in the OVF environment, without dots and colons (DSP0243 9.5).
    pub key: &'a str,
    /// Heading under which clients show it; neighbours with the same heading form a group.
    pub category: &'a str,
    /// Name for people.
    pub label: &'a str,
    /// What to answer, and what happens with no answer.
    pub description: &'a str,
    /// The answer when the user gives none.
    pub value: &'a str,
    /// Who may read the answer.
    pub visibility: Visibility,
}

/// Who may read an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Clients show it.
    Shown,
    /// Clients treat it as a password.
    Hidden,
}

const NETWORK: &str = "Network";
const HOST: &str = "Host";

/// The questions of a host; the keys are the ones that PID 1 looks for.
pub const HOST_PROPERTIES: &[Property<'static>] = &[
    shown(NETWORK, "hostname", "Host name", "Leave empty to use the name that DHCP gives."),
    shown(
        NETWORK,
        "addresses",
        "Addresses",
        "Addresses of the first network card with prefix lengths, separated by commas: \
         192.0.2.10/24,2001:db8::10/64. Leave empty for DHCP.",
    ),
    shown(NETWORK, "gateway", "Gateways", "Addresses of the default routers, separated by commas."),
    shown(NETWORK, "dns", "DNS servers", "Addresses, separated by commas."),
    shown(NETWORK, "ntp", "Time servers", "Names or addresses, separated by commas."),
    shown(HOST, "config", "Machine config", "A machine config in TOML, encoded as base64."),
    Property {
        key: "join-token",
        category: HOST,
        label: "Join token",
        description: "The token with which the host joins a SPIRE server or a cluster.",
        value: "",
        visibility: Visibility::Hidden,
    },
];

const fn shown(
    category: &'static str,
    key: &'static str,
    label: &'static str,
    description: &'static str,
) -> Property<'static> {
    Property { key, category, label, description, value: "", visibility: Visibility::Shown }
}

/// Writes the `ProductSection`.
pub(super) fn section(xml: &mut Xml, product: &Product<'_>, properties: &[Property<'_>]) {
    xml.element("ProductSection", &[("ovf:class", product.class)], |xml| {
        xml.text("Info", "The installed software");
        xml.text("Product", product.name);
        xml.text("Vendor", product.vendor);
        xml.text("Version", product.version);
        let mut category = "";
        for property in properties {
            if property.category != category {
                category = property.category;
                xml.text("Category", category);
            }
            write_property(xml, property);
        }
    });
}

fn write_property(xml: &mut Xml, property: &Property<'_>) {
    let mut attributes = vec![("ovf:key", property.key)];
    if property.visibility == Visibility::Hidden {
        attributes.push(("ovf:password", "true"));
    }
    attributes.extend([
        ("ovf:type", "string"),
        ("ovf:userConfigurable", "true"),
        ("ovf:value", property.value),
    ]);
    xml.element("Property", &attributes, |xml| {
        xml.text("Label", property.label);
        xml.text("Description", property.description);
    });
}
