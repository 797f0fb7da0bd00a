//! The CD image: the unified kernel image in an ESP, and on x86_64 the same bytes through isolinux.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use lepton_formats::iso::{Bios, IsoSpec, build as build_iso, isolinux_cfg};
use lepton_formats::{Content, Seed, Sparse};

use super::{ArtifactError, Payload, file_error, open};
use crate::arch::Arch;

/// Builds it in memory, pointing at the unified kernel image.
pub(super) fn build(payload: &Payload<'_>, uki: &Content, seed: &Seed) -> Result<Sparse, ArtifactError> {
    let plan = payload.locked.plan();
    let bios = match plan.arch {
        Arch::X86_64 => Some(bios(payload)?),
        Arch::Aarch64 => None,
    };
    let label = format!("LEPTON_{}", plan.image.as_str().replace('-', "_").to_uppercase());
    Ok(build_iso(&IsoSpec {
        uki: uki.clone(),
        boot_path: plan.arch.efi_boot_path().to_owned(),
        esp_files: BTreeMap::new(),
        root_files: BTreeMap::new(),
        bios,
        // ISO 9660 section 8.4.6: at most 32 characters.
        label: label.chars().take(32).collect(),
        epoch: payload.locked.date(),
        seed: *seed,
    })?)
}

fn bios(payload: &Payload<'_>) -> Result<Bios, ArtifactError> {
    let path = |name: &str| -> PathBuf { payload.tools.root().join("usr/lib").join(name) };
    let read = |name: &str| fs::read(path(name)).map_err(file_error("read", path(name)));
    Ok(Bios {
        isolinux_bin: read("ISOLINUX/isolinux.bin")?,
        isohdpfx: read("ISOLINUX/isohdpfx.bin")?,
        ldlinux_c32: open(path("syslinux/modules/bios/ldlinux.c32"))?,
        isolinux_cfg: isolinux_cfg(&payload.locked.plan().cmdline)?,
    })
}
