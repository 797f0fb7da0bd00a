//! What a DHCPv6 server gave, and until when.

use std::net::Ipv6Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{IaAddress, Options, option};
use crate::time::Instant;

/// RFC 8415 section 7.6: how long configuration without addresses holds when the server does not say.
const REFRESH_DEFAULT_S: u32 = 86_400;
/// The same section: no sooner.
const REFRESH_SHORTEST_S: u32 = 600;
/// No lease is renewed sooner after its last reply: a server that says 0 would be asked without end.
const RENEW_SHORTEST: Duration = Duration::from_secs(5);

/// An address and configuration, or configuration alone. It is kept below `/run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address; nothing for configuration alone.
    pub address: Option<Ipv6Addr>,
    /// When it goes out of use for new connections; nothing: never.
    pub preferred_until: Option<Instant>,
    /// When it goes; nothing: never.
    pub ends_at: Option<Instant>,
    /// Identifier of the server.
    pub server: Vec<u8>,
    /// DNS servers.
    pub dns: Vec<Ipv6Addr>,
    /// Domains to search.
    pub search: Vec<String>,
    /// NTP servers.
    pub ntp: Vec<Ipv6Addr>,
    /// When its server, or any for configuration alone, is asked again; nothing: never.
    pub renew_at: Option<Instant>,
    /// When any server is asked.
    pub rebind_at: Option<Instant>,
}

impl Lease {
    /// The lease in a reply to a request sent at `since`, with an address for identity association `iaid`.
    pub fn with_address(options: &Options, iaid: u32, since: Instant) -> Option<Self> {
        let ia = options.ia_na(iaid)?;
        let IaAddress { address, preferred_s, valid_s } =
            *ia.addresses.iter().find(|address| address.valid_s > 0)?;
        let after = |seconds: u32| (seconds != u32::MAX).then(|| since + Duration::from_secs(seconds.into()));
        // RFC 8415 section 21.4 recommends these parts, in tenths.
        let given = |time: u32, tenths: u32| match time {
            0 if preferred_s == u32::MAX => u32::MAX,
            0 => preferred_s / 10 * tenths + preferred_s % 10 * tenths / 10,
            given => given,
        };
        let (t1, t2) = (given(ia.t1_s, 5).min(valid_s), given(ia.t2_s, 8).min(valid_s));
        let mut lease = Self::configuration(options)?;
        lease.address = Some(address);
        lease.preferred_until = after(preferred_s);
        lease.ends_at = after(valid_s);
        lease.renew_at = after(t1).map(|at| at.max(since + RENEW_SHORTEST));
        lease.rebind_at = after(t2.max(t1)).map(|at| at.max(since + RENEW_SHORTEST));
        Some(lease)
    }

    /// The configuration in a reply to an information request sent at `since`.
    pub fn without_address(options: &Options, since: Instant) -> Option<Self> {
        let refresh = options.get(option::REFRESH_TIME).and_then(|value| value.try_into().ok());
        let seconds = refresh.map_or(REFRESH_DEFAULT_S, u32::from_be_bytes).max(REFRESH_SHORTEST_S);
        let mut lease = Self::configuration(options)?;
        lease.renew_at = (seconds != u32::MAX).then(|| since + Duration::from_secs(seconds.into()));
        Some(lease)
    }

    fn configuration(options: &Options) -> Option<Self> {
        Some(Self {
            address: None,
            preferred_until: None,
            ends_at: None,
            server: options.get(option::SERVER_ID)?.to_vec(),
            dns: options.addresses(option::DNS),
            search: options.search(),
            ntp: options.ntp(),
            renew_at: None,
            rebind_at: None,
        })
    }

    /// Whether its address has ended.
    pub fn is_over(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }
}
