//! `[host]`: the management API of the host, which other hosts reach over the network.

use crate::identity::TrustDomainName;
use crate::route::{ListenAddress, PemText};
use crate::table::{Check, table};

table! {
    /// The management API. Without `listen`, or with nobody to believe, it is on the local socket alone.
    #[derive(Default)]
    struct Management {
        required {}
        optional {
            /// Addresses and ports that the API has on the network: `[::]:7443`, which takes IPv4, too. Without any: none.
            listen: Vec<ListenAddress>,
            /// Trust domain of the clients. Without this key: the host's own, of `[identity]`.
            trust_domain: Option<TrustDomainName>,
            /// What clients are verified with, in PEM: the certificates that sign those of operators. Without this key: the
            /// bundle of the host's trust domain, when that has servers.
            trust_bundle: Option<PemText>,
        }
    }
}

impl Check for Management {
    /// Without one of these others would be believed.
    const VITAL: &'static [&'static str] = &["trust-domain", "trust-bundle"];
    const STRICT: bool = true;
}

#[cfg(test)]
mod tests {
    #[test]
    fn whom_to_believe_is_never_guessed() {
        let pem = "'''-----BEGIN A-----\n-----END A-----'''";
        let good = format!("[host]\nlisten = ['[::]:7443']\ntrust-domain = 'a'\ntrust-bundle = {pem}");
        let parsed = crate::parse("x", &good);
        assert_eq!((parsed.problems, parsed.config.host.listen.len()), (vec![], 1));
        for bad in ["trust-bundle = 'a.pem'", "trust-domain = 'A B'", "trust-bundel = ''"] {
            let parsed = crate::parse("x", &format!("[host]\nlisten = ['[::]:7443']\n{bad}"));
            assert_eq!(parsed.problems.len(), 1, "{bad}");
            assert_eq!(parsed.config.host, super::Management::default(), "{bad}");
        }
    }
}
