//! Takes what images of one architecture consist of out of an OCI image layout (image-layout.md).
//!
//! Every blob is compared with the digest and size that name it; nothing that no image names is taken.

use super::files::Files;
use super::oci::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, INDEX, Index, MANIFEST, Manifest};
use super::{Blobs, PreloadError};
use crate::arch::Arch;
use crate::digest::Digest;

/// The file that names images.
pub(super) const INDEX_FILE: &str = "index.json";
/// Indexes that name indexes: more than this is a mistake.
const DEEPEST: u32 = 4;

/// Images of `arch`; their blobs are added to `blobs`.
pub(super) fn read(
    files: &Files<'_>,
    arch: Arch,
    blobs: &mut Blobs,
) -> Result<Vec<Descriptor>, PreloadError> {
    let index: Index = files.document(files.named(INDEX_FILE)?, INDEX_FILE)?;
    let wanted: Vec<Descriptor> =
        index.manifests.into_iter().filter(|entry| entry.is_for(arch.golang())).collect();
    for entry in &wanted {
        take(files, entry, arch, DEEPEST, blobs)?;
    }
    Ok(wanted)
}

/// Adds a manifest or index and all that it names.
fn take(
    files: &Files<'_>,
    entry: &Descriptor,
    arch: Arch,
    depth: u32,
    blobs: &mut Blobs,
) -> Result<(), PreloadError> {
    let name = &entry.digest;
    let digest = take_blob(files, entry, blobs)?;
    let content = &blobs[&digest];
    match entry.media_type.as_str() {
        INDEX | DOCKER_LIST => {
            if depth == 0 {
                return Err(files.wrong(format!("{name}: indexes name indexes more than {DEEPEST} deep")));
            }
            let index: Index = files.document(content, name)?;
            let mut images = index.manifests.iter().filter(|entry| entry.is_for(arch.golang())).peekable();
            if images.peek().is_none() {
                return Err(files.wrong(format!("{name} has no image for linux/{}", arch.golang())));
            }
            images.try_for_each(|entry| take(files, entry, arch, depth - 1, blobs))
        }
        MANIFEST | DOCKER_MANIFEST => {
            let manifest: Manifest = files.document(content, name)?;
            let mut parts = std::iter::once(&manifest.config).chain(&manifest.layers);
            parts.try_for_each(|part| take_blob(files, part, blobs).map(drop))
        }
        other => Err(files.wrong(format!("{name} has the media type {other:?}, which is no image"))),
    }
}

fn take_blob(files: &Files<'_>, entry: &Descriptor, blobs: &mut Blobs) -> Result<Digest, PreloadError> {
    let name = &entry.digest;
    let digest = entry.sha256().ok_or_else(|| files.wrong(format!("{name:?} is no sha256 digest")))?;
    let content = files.named(&format!("blobs/sha256/{digest}"))?;
    let (found, size) = Digest::of_reader(content.reader()).map_err(|source| files.unreadable(source))?;
    if (found, size) != (digest, entry.size) {
        let wants = entry.size;
        return Err(files.wrong(format!("{name} of {wants} bytes has the digest {found} and {size} bytes")));
    }
    blobs.insert(digest, content.clone());
    Ok(digest)
}
