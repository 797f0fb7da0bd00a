//! The pods' range of addresses that kubelet passes on from the cluster (`UpdateRuntimeConfig`): written into a
//! configuration list made from a template. Without a template the range is somebody else's to use.

use std::path::Path;

use serde_json::{Value, json};

use super::CniError;
use crate::files;

/// The list that is written.
const FILE: &str = "10-pods.conflist";
/// The address plugin whose ranges are set.
const PLUGIN: &str = "host-local";

/// Writes the list for these ranges (`10.1.0.0/24`, or one of each family with a comma between) to a folder.
pub(crate) fn write(template: &Path, folder: &Path, ranges: &str) -> Result<(), CniError> {
    let wrong = |path: &Path, reason: String| CniError::Config { path: path.to_owned(), reason };
    let text = std::fs::read(template).map_err(|error| wrong(template, error.to_string()))?;
    let mut list: Value =
        serde_json::from_slice(&text).map_err(|error| wrong(template, error.to_string()))?;
    let subnets = ranges.split(',').map(str::trim).map(subnet).collect::<Result<Vec<_>, _>>();
    let subnets = subnets.map_err(|reason| wrong(template, reason))?;
    let mut is_used = false;
    for plugin in list["plugins"].as_array_mut().into_iter().flatten() {
        if plugin["ipam"]["type"] == PLUGIN {
            plugin["ipam"]["ranges"] = subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
            is_used = true;
        }
    }
    if !is_used {
        return Err(wrong(template, format!("no plugin takes its addresses from {PLUGIN}")));
    }
    let target = folder.join(FILE);
    std::fs::create_dir_all(folder).map_err(|error| wrong(folder, error.to_string()))?;
    files::write_json(&target, &list).map_err(|error| wrong(&target, error.to_string()))
}

/// A network in CIDR notation, and nothing else: it goes into a file that programs read.
fn subnet(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no range of addresses");
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length.parse::<u8>() {
        Ok(length) if length <= most => Ok(format!("{address}/{length}")),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_both_families() {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("template.json");
        let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
            {"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "portmap"}]});
        std::fs::write(&template, list.to_string()).unwrap();
        let target = folder.path().join("net.d");
        write(&template, &target, "10.1.0.0/24,fd01::/64").unwrap();
        let written: Value = files::read_json(&target.join(FILE)).unwrap();
        let ranges = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd01::/64"}]]);
        assert_eq!(written["plugins"][0]["ipam"]["ranges"], ranges);
        for wrong in ["", "10.1.0.0", "10.1.0.0/33", "x/1", "10.1.0.0/24,"] {
            assert!(write(&template, &target, wrong).is_err(), "{wrong:?}");
        }
        std::fs::write(&template, r#"{"plugins": [{"type": "ptp"}]}"#).unwrap();
        assert!(write(&template, &target, "10.1.0.0/24").is_err());
    }
}
