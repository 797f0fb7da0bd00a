//! The unified kernel image of a payload.

use std::fs;

use lepton_formats::uki::{UkiSpec, build as build_uki};
use lepton_formats::{Content, Sparse};

use super::{ArtifactError, Payload, file_error, open};
use crate::assemble::os_release;
use crate::compile::kernel::RELEASE;

/// Builds it in memory, pointing at the kernel and initrd where they lie.
pub(super) fn build(payload: &Payload<'_>) -> Result<Sparse, ArtifactError> {
    let plan = payload.locked.plan();
    let stub_name = format!("usr/lib/systemd/boot/efi/linux{}.efi.stub", plan.arch.efi_suffix());
    let stub_path = payload.tools.root().join(stub_name);
    let stub = fs::read(&stub_path).map_err(file_error("read", &stub_path))?;
    let release_path = payload.kernel.path(RELEASE);
    let release = fs::read_to_string(&release_path).map_err(file_error("read", &release_path))?;
    let initrd: Content = payload.initrd.clone();
    let spec = UkiSpec {
        stub,
        os_release: os_release(payload.locked),
        cmdline: plan.cmdline.clone(),
        uname: release.trim().to_owned(),
        // Generation 1 of our own component: raised when an image must no longer be started.
        sbat: format!("lepton,1,Lepton,lepton,{},-\n", plan.version),
        kernel: open(payload.kernel.path("vmlinuz"))?,
        initrd,
        more: Vec::new(),
    };
    Ok(build_uki(&spec)?.image)
}
