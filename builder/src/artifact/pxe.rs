//! The folder for network boot: kernel, initrd, unified kernel images and scripts for iPXE.

use std::fs;
use std::path::Path;

use lepton_formats::Content;

use super::{ArtifactError, Payload, copy_to, file_error, open, text_to, uki};

/// The package that installs a running system.
const INSTALL: &str = "install";

/// Writes the folder `dir`.
pub(super) fn write(payload: &Payload<'_>, system: &Content, dir: &Path) -> Result<(), ArtifactError> {
    fs::create_dir(dir).map_err(file_error("make", dir))?;
    let plan = payload.locked.plan();
    copy_to(&open(payload.kernel.path("vmlinuz"))?, &dir.join("vmlinuz"))?;
    let direct = plan.arch.direct_boot_kernel();
    if direct != "vmlinuz" {
        copy_to(&open(payload.kernel.path(direct))?, &dir.join(direct))?;
    }
    copy_to(&payload.initrd, &dir.join("initrd"))?;
    copy_to(system, &dir.join(format!("{}.efi", payload.locked.stem())))?;
    // Names without a path are taken from where the script came from, by TFTP or HTTP alike.
    // initrd= is what the kernel's EFI stub looks for; it is harmless under BIOS.
    let script = format!("#!ipxe\nkernel vmlinuz initrd=initrd {}\ninitrd initrd\nboot\n", plan.cmdline);
    text_to(&script, &dir.join("boot.ipxe"))?;
    if !plan.packages.iter().any(|package| package.name.as_str() == INSTALL) {
        return Ok(());
    }
    // The installer needs the whole image as a file: iPXE packs what has a path after its name for the initrd.
    let script = format!(
        "#!ipxe\nkernel vmlinuz initrd=initrd {} lepton.install=smallest\ninitrd initrd\ninitrd {}.efi /uki.efi\nboot\n",
        plan.cmdline,
        payload.locked.stem()
    );
    text_to(&script, &dir.join("install.ipxe"))?;
    copy_to(&uki::installing(payload, system)?.into(), &dir.join("install.efi"))
}
