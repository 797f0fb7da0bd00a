//! Unified kernel images of a payload: the system, and the one that installs it.

use std::fs;

use lepton_formats::cpio::{self, Entry, Kind};
use lepton_formats::uki::{UkiSpec, build as build_uki};
use lepton_formats::{Content, Sparse};

use super::{ArtifactError, Payload, file_error, open};
use crate::assemble::os_release;
use crate::compile::kernel::RELEASE;

/// The system. Built in memory, pointing at the kernel and initrd where they lie.
pub(super) fn build(payload: &Payload<'_>) -> Result<Sparse, ArtifactError> {
    with(payload, payload.initrd.clone(), payload.locked.plan().cmdline.clone())
}

/// The kernel asks for archives of an initrd to begin at multiples of this many bytes.
const ALIGNMENT: u64 = 4;

/// The same system, which brings `uki` along in its initrd and installs that on the smallest disk: firmware that loads
/// one file over the network leaves none of its bytes to read for an installer.
pub(super) fn installing(payload: &Payload<'_>, uki: &Content) -> Result<Sparse, ArtifactError> {
    let file =
        Entry { path: "uki.efi".to_owned(), mode: 0o444, uid: 0, gid: 0, kind: Kind::File(uki.clone()) };
    let mut archive = Vec::new();
    cpio::write(&[file], payload.locked.date(), &mut archive)?;
    let start = payload.initrd.len().next_multiple_of(ALIGNMENT);
    let mut initrd = Sparse::new(start + archive.len() as u64);
    initrd.put(0, payload.initrd.clone());
    initrd.put(start, archive);
    let cmdline = format!("{} lepton.install=smallest", payload.locked.plan().cmdline);
    with(payload, initrd.into(), cmdline)
}

fn with(payload: &Payload<'_>, initrd: Content, cmdline: String) -> Result<Sparse, ArtifactError> {
    let plan = payload.locked.plan();
    let stub_name = format!("usr/lib/systemd/boot/efi/linux{}.efi.stub", plan.arch.efi_suffix());
    let stub_path = payload.tools.root().join(stub_name);
    let stub = fs::read(&stub_path).map_err(file_error("read", &stub_path))?;
    let release_path = payload.kernel.path(RELEASE);
    let release = fs::read_to_string(&release_path).map_err(file_error("read", &release_path))?;
    let spec = UkiSpec {
        stub,
        os_release: os_release(payload.locked),
        cmdline,
        uname: release.trim().to_owned(),
        // Generation 1 of our own component: raised when an image must no longer be started.
        sbat: format!("lepton,1,Lepton,lepton,{},-\n", plan.version),
        kernel: open(payload.kernel.path("vmlinuz"))?,
        initrd,
        more: Vec::new(),
    };
    Ok(build_uki(&spec)?.image)
}
