//! What runs on the host.

use std::fs;

use crate::family::{Families, Kind};
use crate::{Outcome, Places};

/// `lepton_build_info`.
pub(crate) fn build(places: &Places, families: &mut Families) -> Outcome {
    let text = fs::read_to_string(&places.os_release).unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned()).unwrap_or_default()
    };
    let kernel = fs::read_to_string(places.proc.join("sys/kernel/osrelease")).unwrap_or_default();
    let family = families.add("lepton_build", Kind::Info, "What the host runs.");
    family.number(
        &[
            ("version", env!("CARGO_PKG_VERSION")),
            ("image", &value("IMAGE_ID")),
            ("image_version", &value("IMAGE_VERSION")),
            ("arch", std::env::consts::ARCH),
            ("kernel", kernel.trim()),
        ],
        1,
    );
    Outcome::Read
}
