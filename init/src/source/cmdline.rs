//! The kernel command line as a source: `lepton.hostname=`, `ip=`, `vlan=`, `bond=` and `lepton.config=`, in this order.

use lepton_config::encoding::{self, Inline};
use lepton_config::{kernel_words, parse_bytes};

use super::{Layer, Look};
use crate::cmdline::Cmdline;

/// What the words say; a command line without any of them is no source.
pub(super) fn look(cmdline: &Cmdline) -> Look {
    let mut layer = Layer::default();
    let (words, problems) = kernel_words::parse(cmdline.iter());
    layer.errors.extend(problems.iter().map(ToString::to_string));
    if let Some(name) = cmdline.value("lepton.hostname") {
        match name.parse() {
            Ok(name) => layer.config.hostname = Some(name),
            Err(error) => layer.errors.push(format!("kernel command line: lepton.hostname: {error}")),
        }
    }
    layer.config.fill_from(words);
    let mut is_used = cmdline.iter().any(|(key, _)| key.starts_with("lepton."));
    is_used |= cmdline.iter().any(|(key, _)| ["ip", "vlan", "bond"].contains(&key));
    if let Some(value) = cmdline.value("lepton.config") {
        match encoding::inline(value) {
            Ok(Inline::Text(text)) => layer.add(parse_bytes("lepton.config", &text)),
            Ok(Inline::Url(url)) => layer.url = Some(url),
            Err(error) => layer.errors.push(format!(
                "kernel command line: lepton.config: {error}; write TOML with percent encoding, base64 or a URL"
            )),
        }
    }
    if is_used { Ok(layer) } else { Err("no lepton., ip=, vlan= or bond= word".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_before_the_inline_config() {
        let text = "quiet lepton.config=hostname=%22low%22%0A[time]%0Aservers=[%22a%22] lepton.hostname=high ip=eth1:off";
        let layer = look(&Cmdline::parse(text)).unwrap();
        assert_eq!(layer.errors, [] as [&str; 0]);
        assert_eq!(layer.config.hostname.unwrap().as_str(), "high");
        assert_eq!(layer.config.time.servers.len(), 1);
        assert_eq!(layer.config.network.links.len(), 1);
        assert!(look(&Cmdline::parse("quiet console=ttyS0")).is_err());
    }

    #[test]
    fn mistakes_and_urls() {
        let layer = look(&Cmdline::parse("lepton.config=a%2 lepton.hostname=-x")).unwrap();
        assert_eq!(layer.errors.len(), 2, "{:?}", layer.errors);
        let layer = look(&Cmdline::parse("lepton.config=https://192.0.2.1/c.toml")).unwrap();
        assert_eq!(layer.url.as_deref(), Some("https://192.0.2.1/c.toml"));
        assert!(layer.errors.is_empty());
    }
}
