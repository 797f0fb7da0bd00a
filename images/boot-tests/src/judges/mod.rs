//! The judges: tools of other people read every finished artifact and must find nothing wrong.
//!
//! A judge that would accept anything proves nothing, so each also gets copies with a planted defect and must refuse
//! them (`case.rs`). Nothing here boots; nothing here changes an artifact.

mod appliance;
mod case;
mod disk;
mod erofs;
mod files;
pub(crate) mod grown;
mod hardening;
mod import;
mod initrd;
mod iso;
mod kconfig;
mod ova;
mod ovf;
mod paths;
pub(crate) mod plant;
mod sbom;
mod signature;
mod tool;
mod uki;
mod vmdk;
mod volume;

use lepton_builder::arch::Arch;

use crate::Context;
use crate::context::TestError;
use crate::runner::{Peer, Test, When};

/// All judges, the quickest first.
pub(crate) const TESTS: &[Test] = &[
    judge("judge-sizes", files::sizes),
    judge("judge-kconfig", kconfig::resolved),
    judge("judge-hardening", hardening::kconfig),
    judge("judge-sbom", sbom::contents),
    judge("judge-sbom-spdx", sbom::spdx).with(&[Peer::Python]),
    judge("judge-sbom-ntia", sbom::ntia).with(&[Peer::Python]),
    judge("judge-provenance", sbom::provenance),
    judge("judge-signature", signature::minisign),
    judge("judge-uki", uki::sections),
    judge("judge-iso", iso::boot_images),
    judge("judge-gpt", disk::gpt),
    judge("judge-gpt-4k", disk::gpt_4k),
    judge("judge-ext4", volume::ext4),
    judge("judge-fat", volume::fat),
    judge("judge-erofs", erofs::root),
    judge("judge-qcow2", disk::qcow2),
    judge("judge-vmdk", disk::vmdk),
    judge("judge-vmdk-7zip", vmdk::disk),
    judge("judge-ova", ova::appliance),
    judge("judge-ovf", ovf::package).with(&[Peer::Python]),
    judge("judge-ova-import", import::machine).with(&[Peer::Govmomi]),
    judge("judge-paths", paths::none),
    judge("judge-sums", files::sums),
];

/// What a judge says: `Ok` when it found nothing wrong.
type Verdict = Result<(), TestError>;

const fn judge(name: &'static str, run: fn(&Context) -> Verdict) -> Test {
    Test { name, arches: &Arch::ALL, when: When::Always, peers: &[], run }
}

/// What a judge says that found something wrong.
fn refuse(judge: &'static str, reason: impl Into<String>) -> TestError {
    TestError::Refused { judge, reason: reason.into() }
}

/// Refuses with `reason` unless `holds`.
fn require(judge: &'static str, holds: bool, reason: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(refuse(judge, reason())) }
}
