//! Addresses with prefix lengths, destinations of routes, hardware addresses.

use std::fmt;
use std::net::IpAddr;

use crate::text::text_type;

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefixed {
    /// The address.
    pub address: IpAddr,
    /// Bits of the network part.
    pub prefix: u8,
}

text_type!(
    /// An address of a host with its prefix length, `192.0.2.10/24`.
    Cidr(Prefixed),
    parse = |text| {
        let parsed = prefixed(text).ok_or_else(|| {
            format!("{text:?} is not an address with a prefix length, such as 192.0.2.10/24 or 2001:db8::10/64")
        })?;
        if parsed.address.is_multicast() || parsed.address.is_unspecified() {
            return Err(format!("{text:?} cannot be the address of a link"));
        }
        Ok(parsed)
    },
    pattern = r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$"
);

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Everywhere; the family is that of the gateway.
    Default,
    /// A network; the bits behind the prefix are 0.
    Network(Prefixed),
}

text_type!(
    /// Destination of a route: a network such as `198.51.100.0/24`, or `default`.
    Destination(Target),
    parse = |text| {
        if text == "default" {
            return Ok(Target::Default);
        }
        let network = prefixed(text)
            .ok_or_else(|| format!("{text:?} is neither a network such as 198.51.100.0/24 nor \"default\""))?;
        let start = network.first();
        if start != network.address {
            return Err(format!("{text:?} has bits behind its prefix; the network is {start}/{}", network.prefix));
        }
        Ok(if network.prefix == 0 { Target::Default } else { Target::Network(network) })
    },
    pattern = r"^(default|[0-9A-Fa-f.:]+/[0-9]{1,3})$"
);

text_type!(
    /// A hardware address, `52:54:00:12:34:56`.
    Mac([u8; 6]),
    parse = |text| {
        let wrong = || format!("{text:?} is not a hardware address such as 52:54:00:12:34:56");
        let parts: Vec<&str> = text.split([':', '-']).collect();
        let mut bytes = [0; 6];
        if parts.len() != bytes.len() {
            return Err(wrong());
        }
        for (byte, part) in bytes.iter_mut().zip(parts) {
            let is_hex = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(part, 16).ok().filter(|_| is_hex).ok_or_else(wrong)?;
        }
        Ok(bytes)
    },
    pattern = r"^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$"
);

/// `ADDRESS/LENGTH`, whatever the bits behind the prefix are.
pub(crate) fn prefixed(text: &str) -> Option<Prefixed> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= bits).then_some(Prefixed { address, prefix })
}

impl Prefixed {
    /// The first address of the network.
    pub fn first(self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

impl Cidr {
    /// An address with its prefix length; `None` when the length is too large for the family.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        format!("{address}/{prefix}").parse().ok()
    }

    /// The address.
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// Bits of the network part.
    pub fn prefix(&self) -> u8 {
        self.0.prefix
    }
}

impl Destination {
    /// Where the route leads.
    pub fn target(&self) -> Target {
        self.0
    }
}

impl Mac {
    /// The six bytes.
    pub fn bytes(&self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.address, self.0.prefix)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Target::Default => f.write_str("default"),
            Target::Network(network) => write!(f, "{}/{}", network.address, network.prefix),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["192.0.2.10/24", "2001:db8::10/64", "10.0.0.1/32", "fe80::1/128"] {
            assert_eq!(good.parse::<Cidr>().unwrap().to_string(), good);
        }
        for bad in
            ["192.0.2.10", "192.0.2.10/33", "2001:db8::/129", "0.0.0.0/0", "224.0.0.1/4", "x/1", "1.2.3/8"]
        {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn destinations() {
        for good in ["default", "198.51.100.0/24", "2001:db8::/32", "203.0.113.7/32"] {
            assert_eq!(good.parse::<Destination>().unwrap().to_string(), good);
        }
        for all in ["0.0.0.0/0", "::/0"] {
            assert_eq!(all.parse::<Destination>().unwrap().to_string(), "default");
        }
        let error = "198.51.100.7/24".parse::<Destination>().unwrap_err();
        assert!(error.ends_with("the network is 198.51.100.0/24"), "{error}");
    }

    #[test]
    fn hardware_addresses() {
        assert_eq!("52-54-00-AB-CD-EF".parse::<Mac>().unwrap().to_string(), "52:54:00:ab:cd:ef");
        for bad in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:+5", "525400123456"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
