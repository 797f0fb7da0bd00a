//! Artifacts that somebody else built, with the list of digests they were published with. Read only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use lepton_builder::arch::Arch;
use lepton_builder::artifact::Format;
use lepton_builder::build;
use lepton_builder::digest::Digest;
use lepton_builder::machine_config::MachineConfig;
use lepton_builder::manifest::SUMS;
use lepton_builder::name::ImageName;

use super::compare::{Difference, Kind, first_difference};
use crate::context::Context;
use crate::exit::BadArgument;

/// What was published of one image.
#[derive(Debug)]
pub(super) struct Published {
    dir: PathBuf,
    files: BTreeMap<String, Digest>,
    /// The formats that were built; the manifest names them all, so exactly these are built again.
    pub formats: Vec<Format>,
}

/// What `dir/SHA256SUMS` lists of this image.
pub(super) fn read(context: &Context, dir: &Path, image: &ImageName, arch: Arch) -> Result<Published> {
    let list = dir.join(SUMS);
    let text = fs::read_to_string(&list)
        .map_err(|error| BadArgument(format!("cannot read {}: {error}", list.display())))?;
    let locked =
        build::plan(&context.catalog, image, arch)?.with_config(&MachineConfig::NONE).lock(&context.lock)?;
    let stem = locked.stem();
    let mut files = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let bad = || BadArgument(format!("{}:{}: this is no line of sha256sum", list.display(), number + 1));
        let (digest, name) = line.split_once("  ").ok_or_else(bad)?;
        let digest: Digest = digest.parse().map_err(|_| bad())?;
        let is_below =
            Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !is_below {
            return Err(bad().into());
        }
        if name.starts_with(&format!("{stem}.")) {
            files.insert(name.to_owned(), digest);
        }
    }
    let tops: BTreeSet<&str> = files.keys().filter_map(|name| name.split('/').next()).collect();
    let is_listed = |format: &Format| tops.contains(format!("{stem}.{}", format.extension()).as_str());
    let formats: Vec<Format> = Format::ALL.into_iter().filter(is_listed).collect();
    if formats.is_empty() {
        return Err(BadArgument(format!(
            "{} lists no artifact of {stem}: this checkout builds another image, version or architecture",
            list.display()
        ))
        .into());
    }
    Ok(Published { dir: dir.to_owned(), files, formats })
}

impl Published {
    /// Every published file that `out` has not, or has differently.
    pub(super) fn compare(&self, out: &Path) -> Result<Vec<Difference>> {
        let mut differences = Vec::new();
        for (name, wanted) in &self.files {
            let built = out.join(name);
            let kind = match Digest::of_file(&built) {
                Ok((found, _)) if found == *wanted => continue,
                Ok(_) => self.kind(name, *wanted, &built)?,
                Err(_) => Kind::Once,
            };
            differences.push(Difference { name: name.into(), kind });
        }
        Ok(differences)
    }

    fn kind(&self, name: &str, wanted: Digest, built: &Path) -> Result<Kind> {
        let published = self.dir.join(name);
        match Digest::of_file(&published) {
            Ok((found, _)) if found == wanted => {
                let byte = first_difference(&published, built)?;
                Ok(byte.map_or(Kind::Digest, |byte| Kind::Byte(byte, None)))
            }
            _ => Ok(Kind::Digest),
        }
    }
}
