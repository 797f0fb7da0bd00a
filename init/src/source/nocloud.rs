//! Disks that clouds and hypervisors attach: `cidata` (NoCloud of cloud-init) and `config-2` (OpenStack's config drive).
//!
//! Of their user data only a machine config is read: a host without a shell can do nothing with scripts.

use lepton_config::{Hostname, parse_bytes};

use super::volume::{Files, Volume, Volumes};
use super::{Layer, Look, json};

/// The files `user-data` and `meta-data` of a volume labelled `cidata`.
pub(super) fn cidata(volumes: &Volumes) -> Look {
    look(volumes, "cidata", |files, layer| {
        let user = add_user_data(files, "cidata", "user-data", layer)?;
        let Some(meta) = files.read("meta-data")? else { return Ok(user) };
        let text = String::from_utf8_lossy(&meta);
        add_hostname("cidata: meta-data", local_hostname(&text), layer);
        Ok(true)
    })
}

/// The folder `openstack/latest` of a volume labelled `config-2`.
pub(super) fn config_drive(volumes: &Volumes) -> Look {
    look(volumes, "config-2", |files, layer| {
        let user = add_user_data(files, "config-2", "openstack/latest/user_data", layer)?;
        let Some(meta) = files.read("openstack/latest/meta_data.json")? else { return Ok(user) };
        match json::meta_data(&meta) {
            Ok(data) => add_hostname("config-2: meta_data.json", data.hostname.as_deref(), layer),
            Err(error) => layer.errors.push(format!("config-2: meta_data.json: {error}")),
        }
        Ok(true)
    })
}

fn look(volumes: &Volumes, label: &str, read: impl Fn(&Files, &mut Layer) -> Result<bool, String>) -> Look {
    let mut candidates = volumes.labelled(label);
    let Some(volume) = candidates.next() else { return Err(format!("no disk labelled {label}")) };
    let mut layer = Layer::default();
    layer.skipped.extend(candidates.map(|other: &Volume| {
        format!("{label}: {} too has this label; {} is used", other.device, volume.device)
    }));
    let result = volume.with_files(|files| read(files, &mut layer));
    match result.map_err(|error| format!("cannot mount {}: {error}", volume.device))? {
        Ok(true) => Ok(layer),
        Ok(false) => Err(format!("{} has no user data", volume.device)),
        Err(error) => {
            // The disk is there for a reason: what it was to say is missing.
            layer.errors.push(format!("{label}: {error}"));
            Ok(layer)
        }
    }
}

/// Whether there is any.
fn add_user_data(files: &Files, label: &str, path: &str, layer: &mut Layer) -> Result<bool, String> {
    let Some(bytes) = files.read(path)? else { return Ok(false) };
    let name = path.rsplit('/').next().unwrap_or(path);
    layer.add(parse_bytes(&format!("{label}: {name}"), &bytes));
    Ok(true)
}

/// A name in the metadata comes after the one in the user data, which its owner wrote.
fn add_hostname(source: &str, name: Option<&str>, layer: &mut Layer) {
    match name.map(str::parse::<Hostname>) {
        Some(Ok(name)) => {
            layer.config.hostname.get_or_insert(name);
        }
        Some(Err(error)) => layer.errors.push(format!("{source}: {error}")),
        None => {}
    }
}

/// `local-hostname` of a `meta-data` file, which is YAML: a key at the start of a line, or of a flat JSON object.
fn local_hostname(text: &str) -> Option<&str> {
    let value = text.split(['\n', ',', '{', '}']).find_map(|part| {
        let part = part.trim_end();
        let (key, value) = part.trim_start_matches([' ', '"']).split_once(':')?;
        // An indented key belongs to another one, except behind a brace or comma.
        let is_top = !part.starts_with(' ') || part.trim_start().starts_with('"');
        (is_top && key.trim_end_matches('"') == "local-hostname").then_some(value)
    })?;
    let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_of_meta_data() {
        for (text, expected) in [
            ("instance-id: i-1\nlocal-hostname: edge-1\n", Some("edge-1")),
            ("local-hostname: \"edge-1\" # the name", Some("edge-1")),
            ("{\"instance-id\": \"i\", \"local-hostname\": \"edge-1\"}", Some("edge-1")),
            ("network:\n  local-hostname: no\n", None),
            ("local-hostname:\n", None),
            ("", None),
        ] {
            assert_eq!(local_hostname(text), expected, "{text:?}");
        }
    }

    #[test]
    fn host_names_of_a_config_drive() {
        let data = json::meta_data(br#"{"uuid":"x","hostname":"edge-1.example.org","keys":[{"name":"k"}]}"#)
            .unwrap();
        assert_eq!(data.hostname.as_deref(), Some("edge-1.example.org"));
        assert!(json::meta_data(b"[1").is_err());
    }

    #[test]
    fn a_name_in_the_user_data_comes_first() {
        let mut layer = Layer::default();
        add_hostname("x", Some("a"), &mut layer);
        add_hostname("x", Some("b"), &mut layer);
        add_hostname("x", Some("-"), &mut layer);
        assert_eq!(layer.config.hostname.unwrap().as_str(), "a");
        assert_eq!(layer.errors.len(), 1);
    }
}
