//! What a machine config says so that people of the trust domain can manage a host. Pure.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::authority::{Authority, Issued};

/// The part of a machine config: the host's authority and the people it believes.
pub(crate) fn fragment(operators: &Authority, hosts: &Authority, authority: &Issued) -> Zeroizing<String> {
    let domain = &hosts.trust_domain;
    let mut text = Zeroizing::new(String::new());
    // Not more than once allocated: it has a key.
    text.reserve(4096 + authority.certificate.len() + hosts.certificate.len() + operators.certificate.len());
    let written = write!(
        text,
        "\
# For the machine config of hosts of {domain}: what they are called, and who may manage them.
# It holds a private key. Whoever has it can pass as a host of {domain}: keep it as you keep a password.

[identity]
trust-domain = \"{domain}\"

[identity.authority]
certificate = \"\"\"
{}{}\"\"\"
key = \"\"\"
{}\"\"\"

[host]
listen = [\"[::]:7443\"]
trust-bundle = \"\"\"
{}\"\"\"
",
        authority.certificate,
        hosts.certificate,
        authority.key.as_str(),
        operators.certificate,
    );
    written.expect("a String takes every text");
    text
}
