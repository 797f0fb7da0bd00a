//! Guestinfo: what the owner of a VMware virtual machine put into its settings.
//!
//! Keys: `guestinfo.hostname`, `guestinfo.lepton.config` with `guestinfo.lepton.config.encoding`, and `guestinfo.ovfEnv`,
//! the answers given when an appliance was deployed; in this order.
//! The hypervisor is called only when firmware and processor both say that it is VMware's.

mod rpc;
mod sys;

use lepton_config::encoding::{self, Inline};
use lepton_config::{Hostname, parse_bytes};

use super::{Layer, Look, ovf_env, vendor};
use rpc::{Port, Rpc};

pub(super) fn look() -> Look {
    match vendor() {
        Some(vendor) if vendor.starts_with("VMware") => {}
        Some(vendor) => return Err(format!("the machine is not VMware's but of {vendor}")),
        None => return Err("the machine does not name its vendor".to_owned()),
    }
    let Some(port) = sys::Backdoor::detect() else {
        return Err("the machine says it is VMware's, but its processor does not".to_owned());
    };
    read(port)
}

fn read(port: impl Port) -> Look {
    let mut rpc = Rpc::new(port);
    let mut layer = Layer::default();
    let mut is_used = false;
    let mut get = |key: &str, layer: &mut Layer| match rpc.info_get(key) {
        Ok(value) => value.filter(|value| !value.is_empty()),
        Err(error) => {
            layer.errors.push(format!("cannot read {key}: {error}"));
            None
        }
    };
    if let Some(name) = get("guestinfo.hostname", &mut layer) {
        is_used = true;
        match String::from_utf8_lossy(&name).trim().parse::<Hostname>() {
            Ok(name) => layer.config.hostname = Some(name),
            Err(error) => layer.errors.push(format!("guestinfo.hostname: {error}")),
        }
    }
    if let Some(value) = get("guestinfo.lepton.config", &mut layer) {
        is_used = true;
        let encoding = get("guestinfo.lepton.config.encoding", &mut layer).unwrap_or_default();
        add_config(&value, &encoding, &mut layer);
    }
    if let Some(text) = get("guestinfo.ovfEnv", &mut layer) {
        is_used = true;
        ovf_env::add("guestinfo.ovfEnv", &text, &mut layer);
    }
    if is_used || !layer.errors.is_empty() {
        Ok(layer)
    } else {
        Err("no guestinfo key of Lepton is set".to_owned())
    }
}

fn add_config(value: &[u8], encoding: &[u8], layer: &mut Layer) {
    const KEY: &str = "guestinfo.lepton.config";
    let (value, encoding) = (String::from_utf8_lossy(value), String::from_utf8_lossy(encoding));
    let decoded = match encoding.trim() {
        // Plain text needs no percent encoding here, but a URL or base64 without a named encoding is what people try.
        "" if value.contains(['\n', ' ']) => Ok(Inline::Text(value.as_bytes().to_vec())),
        "" => encoding::inline(&value),
        name => encoding::named(name, &value).map(Inline::Text),
    };
    match decoded {
        Ok(Inline::Text(bytes)) => layer.add(parse_bytes(KEY, &bytes)),
        Ok(Inline::Url(url)) => layer.url = Some(url),
        Err(error) => layer.errors.push(format!("{KEY}: {error}")),
    }
}

#[cfg(test)]
mod tests;
