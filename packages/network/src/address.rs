//! An address with the length of its prefix, as people and the kernel write it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `192.0.2.1/24` or `2001:db8::1/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Net {
    /// The address.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

/// Not an address with a prefix length.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is no address with a prefix length, such as 192.0.2.1/24")]
pub struct NetError(String);

impl Net {
    /// An address with the longest prefix of its family.
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix: longest(address) }
    }

    /// The first address of the network.
    pub fn network(self) -> Self {
        let bits = u32::from(longest(self.address));
        let host_bits = bits - u32::from(self.prefix).min(bits);
        let address = match self.address {
            IpAddr::V4(address) => {
                IpAddr::V4((u32::from(address) & u32::MAX.checked_shl(host_bits).unwrap_or(0)).into())
            }
            IpAddr::V6(address) => {
                IpAddr::V6((u128::from(address) & u128::MAX.checked_shl(host_bits).unwrap_or(0)).into())
            }
        };
        Self { address, prefix: self.prefix }
    }

    /// Whether `address` lies in this network.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Self { address, prefix: self.prefix }.network().address == self.network().address
    }

    /// Whether this is the whole address space of its family.
    pub fn is_default(self) -> bool {
        self.prefix == 0
    }
}

fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let error = || NetError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let prefix: u8 = prefix.parse().map_err(|_| error())?;
        if prefix > longest(address) {
            return Err(error());
        }
        Ok(Self { address, prefix })
    }
}

impl TryFrom<String> for Net {
    type Error = NetError;

    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<Net> for String {
    fn from(net: Net) -> Self {
        net.to_string()
    }
}

impl fmt::Display for Net {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_addresses() {
        let check = |text: &str, network: &str| {
            assert_eq!(text.parse::<Net>().unwrap().network().to_string(), network);
        };
        check("192.0.2.77/24", "192.0.2.0/24");
        check("192.0.2.77/32", "192.0.2.77/32");
        check("192.0.2.77/0", "0.0.0.0/0");
        check("2001:db8:0:1:2::3/64", "2001:db8:0:1::/64");
        check("2001:db8::1/0", "::/0");
        let net: Net = "10.0.0.1/30".parse().unwrap();
        assert!(net.contains("10.0.0.2".parse().unwrap()));
        assert!(!net.contains("10.0.0.4".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network() {
        for text in ["192.0.2.1", "192.0.2.1/33", "::1/129", "/8", "x/8", "1.2.3.4/-1"] {
            assert!(text.parse::<Net>().is_err(), "{text}");
        }
    }
}
