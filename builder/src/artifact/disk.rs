//! The disk image, and its QEMU and VMware forms.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use lepton_formats::disk::{DiskSpec, EspSpec, esp_files, raw};
use lepton_formats::vmdk::Stats;
use lepton_formats::{Content, Seed, Sparse};

use super::{ArtifactError, Payload, create, file_error, open};

/// GPT with an EFI system partition and the state partition.
pub(super) fn build(payload: &Payload<'_>, uki: &Content, seed: &Seed) -> Result<Sparse, ArtifactError> {
    let plan = payload.locked.plan();
    let suffix = plan.arch.efi_suffix();
    let boot_manager =
        payload.tools.root().join(format!("usr/lib/systemd/boot/efi/systemd-boot{suffix}.efi"));
    let files = esp_files(&EspSpec {
        efi_arch: suffix,
        boot_manager: open(boot_manager)?,
        name: &format!("lepton-{}-{}", plan.image, plan.version),
        uki: uki.clone(),
    });
    Ok(raw(&DiskSpec { seed, modified: payload.locked.date(), esp: &files, state: &payload.state })?)
}

/// The disk as qcow2.
pub(super) fn qcow2(disk: &Sparse, path: &Path) -> Result<(), ArtifactError> {
    let mut out = BufWriter::new(create(path)?);
    lepton_formats::qcow2::write(disk, &mut out)?;
    finish(out, path)
}

/// The disk as stream-optimized VMDK.
pub(super) fn vmdk(disk: &Sparse, seed: &Seed, path: &Path) -> Result<Stats, ArtifactError> {
    let mut out = BufWriter::new(create(path)?);
    let stats = lepton_formats::vmdk::write(disk, seed, &mut out)?;
    finish(out, path)?;
    Ok(stats)
}

fn finish(mut out: BufWriter<File>, path: &Path) -> Result<(), ArtifactError> {
    out.flush().map_err(file_error("write", path))
}
