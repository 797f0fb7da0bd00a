//! Hybrid ISO 9660 image: starts from CD and from USB stick, under BIOS and UEFI, and holds its bytes once.
//!
//! The unified kernel image lies contiguously in the FAT volume of the EFI system partition; the ISO 9660 files
//! `vmlinuz` and `initrd`, which isolinux loads, are extents that point at its `.linux` and `.initrd` sections.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | MBR and GPT (`hybrid`) |
//! | 32768 | primary volume descriptor, boot record, terminator, two path tables, boot catalog |
//! | then, each on a 2048-byte block | directories, files |
//! | then, at a multiple of 4096 | EFI system partition |
//! | last 16896 | backup GPT |
//!
//! Copied to a larger stick, the backup GPT is not at its end: readers accept the primary one.

mod date;
mod dump;
mod eltorito;
mod esp;
mod hybrid;
mod isolinux;
mod record;
#[cfg(test)]
mod tests;
mod tree;
mod volume;

use std::collections::BTreeMap;
use std::io;

use crate::content::Content;
use crate::fat::FatError;
use crate::gpt::{GptError, Sectors};
use crate::seed::Seed;
use crate::sparse::Sparse;
use crate::uki::UkiError;
use date::Date;
pub use dump::dump;
pub use isolinux::isolinux_cfg;
use record::{Extent, Kind, record};
use tree::{Places, Tree};
use volume::Volume;

/// Bytes of a logical block.
const BLOCK: u64 = 2048;

/// The first volume descriptor follows the 32 KiB of the system area.
const DESCRIPTOR: u32 = 16;

/// The EFI system partition starts at a multiple of this, which suits sticks with pages of 4096 bytes.
const ESP_ALIGN: u64 = 4096;

/// Where isolinux looks for its files.
const ISOLINUX_BIN: &str = "isolinux/isolinux.bin";

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct IsoSpec {
    /// The unified kernel image, signed or not, with sections on 2048-byte boundaries (`uki::build`).
    pub uki: Content,
    /// Path of the UKI in the EFI system partition: `/EFI/BOOT/BOOTX64.EFI`.
    pub boot_path: String,
    /// Further files of the EFI system partition by absolute path.
    pub esp_files: BTreeMap<String, Content>,
    /// Files of the ISO 9660 volume by path without a leading slash: `docs/readme.txt`.
    pub root_files: BTreeMap<String, Content>,
    /// What BIOS machines start; `None` on aarch64.
    pub bios: Option<Bios>,
    /// Volume identifier: 1 to 32 of A-Z, 0-9 and `_`.
    pub label: String,
    /// Every time stamp, in seconds since 1970.
    pub epoch: u64,
    /// Source of GUIDs, the FAT serial number and the disk signature.
    pub seed: Seed,
}

/// The parts of syslinux that a BIOS machine starts.
#[derive(Clone, Debug)]
pub struct Bios {
    /// `isolinux.bin`.
    pub isolinux_bin: Vec<u8>,
    /// `isohdpfx.bin`, 432 bytes.
    pub isohdpfx: Vec<u8>,
    /// `ldlinux.c32` of the same version.
    pub ldlinux_c32: Content,
    /// Contents of `isolinux.cfg` (see `isolinux_cfg`).
    pub isolinux_cfg: String,
}

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsoError {
    /// The UKI is no PE file.
    #[error("cannot find the kernel in the unified kernel image")]
    Uki(#[from] UkiError),
    /// A section is missing or does not begin at a block.
    #[error("the unified kernel image has no {section} section on a 2048-byte boundary")]
    Section {
        /// Its name.
        section: &'static str,
    },
    /// The volume identifier is empty, too long or has other characters.
    #[error("{label:?} cannot be a volume label; hint: 1 to 32 of A-Z, 0-9 and _")]
    Label {
        /// The label as given.
        label: String,
    },
    /// A path has an empty or dot component, a name of more than 160 bytes, or more than 8 levels.
    #[error("{path:?} cannot be a path in an ISO image")]
    Name {
        /// The path as given.
        path: String,
    },
    /// Two names are the same when cut to eight and three characters.
    #[error("{path} and {other} have the same name of eight and three characters; hint: rename one")]
    SameIdentifier {
        /// The second path.
        path: String,
        /// The path that has the name.
        other: String,
    },
    /// The boot files have that path.
    #[error("{path} is a path that an ISO image needs for itself")]
    Taken {
        /// The path.
        path: String,
    },
    /// Extents have 32 bits.
    #[error("{path} has {len} bytes; a file of an ISO image can have 4294967295 at most")]
    TooLarge {
        /// The path.
        path: String,
        /// Its length in bytes.
        len: u64,
    },
    /// The file is no isolinux made for hybrid images.
    #[error("isolinux.bin has no hybrid boot signature; hint: isolinux-debug.bin has none")]
    Isolinux,
    /// The MBR code has another size.
    #[error("isohdpfx.bin has {len} bytes, not 432")]
    Isohdpfx {
        /// Its length in bytes.
        len: usize,
    },
    /// The kernel would cut the command line.
    #[error("the kernel command line has {len} bytes; {most} at most under BIOS")]
    CmdlineLength {
        /// Its length in bytes.
        len: usize,
        /// What fits.
        most: usize,
    },
    /// isolinux would read the command line as something else.
    #[error("isolinux cannot pass on the kernel command line {cmdline:?}; hint: no line breaks, no initrd=")]
    Cmdline {
        /// The line as given.
        cmdline: String,
    },
    /// The EFI system partition.
    #[error("cannot write the EFI system partition")]
    Esp(#[from] FatError),
    /// The partition table.
    #[error("cannot write the partition table")]
    Table(#[from] GptError),
    /// A content cannot be read.
    #[error("cannot read the parts of an ISO image")]
    Read(#[from] io::Error),
}

/// Builds the image.
pub fn build(spec: &IsoSpec) -> Result<Sparse, IsoError> {
    check_label(&spec.label)?;
    let esp = esp::build(spec)?;
    let own_files = own_files(spec, &esp)?;
    let tree = Tree::build(own_files.keys().chain(esp.files.keys()))?;
    let layout = Layout::plan(&tree, &own_files, &esp)?;

    let date = Date::new(spec.epoch);
    let mut image = Sparse::new(layout.len);
    let mut put = |block: u32, content: Content| image.put(u64::from(block) * BLOCK, content);
    put(DESCRIPTOR, layout.volume(spec, date).descriptor().into());
    put(DESCRIPTOR + 1, eltorito::boot_record(layout.catalog).into());
    put(DESCRIPTOR + 2, volume::terminator().into());
    let [little, big] = layout.path_tables;
    put(little, tree.path_table(&layout.places, u32::to_le_bytes, u16::to_le_bytes).into());
    put(big, tree.path_table(&layout.places, u32::to_be_bytes, u16::to_be_bytes).into());
    let isolinux = spec.bios.as_ref().map(|bios| (bios, layout.places.files[ISOLINUX_BIN].block));
    let isolinux_block = isolinux.map(|(_, block)| block);
    put(layout.catalog, eltorito::catalog(isolinux_block, layout.esp, esp.volume.len()).into());
    for (number, extent) in layout.places.dirs.iter().enumerate() {
        put(extent.block, tree.directory(number, &layout.places, &date).into());
    }
    for (path, content) in own_files {
        let block = layout.places.files[&path].block;
        put(block, if path == ISOLINUX_BIN { patched(&content, block)? } else { content });
    }
    let esp_offset = u64::from(layout.esp) * BLOCK;
    image.place(esp_offset, &esp.volume);
    hybrid::write(&mut image, isolinux, (esp_offset, esp.volume.len()), &spec.seed)?;
    Ok(image)
}

fn patched(isolinux_bin: &Content, block: u32) -> Result<Content, IsoError> {
    Ok(eltorito::isolinux_bin(&isolinux_bin.to_vec()?, DESCRIPTOR, block)?.into())
}

fn check_label(label: &str) -> Result<(), IsoError> {
    let is_d_character = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if (1..=32).contains(&label.len()) && label.chars().all(is_d_character) {
        return Ok(());
    }
    Err(IsoError::Label { label: label.to_owned() })
}

/// Files whose bytes are in the ISO 9660 volume itself.
fn own_files(spec: &IsoSpec, esp: &esp::Esp) -> Result<BTreeMap<String, Content>, IsoError> {
    let mut files = BTreeMap::new();
    if let Some(bios) = &spec.bios {
        files.insert(ISOLINUX_BIN.to_owned(), bios.isolinux_bin.as_slice().into());
        files.insert("isolinux/ldlinux.c32".to_owned(), bios.ldlinux_c32.clone());
        files.insert("isolinux/isolinux.cfg".to_owned(), bios.isolinux_cfg.as_bytes().into());
    }
    for (path, content) in &spec.root_files {
        let is_taken = files.insert(path.clone(), content.clone()).is_some() || esp.files.contains_key(path);
        if is_taken {
            return Err(IsoError::Taken { path: path.clone() });
        }
    }
    Ok(files)
}

/// Blocks of everything.
struct Layout {
    path_tables: [u32; 2],
    path_table_len: u32,
    catalog: u32,
    places: Places,
    esp: u32,
    len: u64,
}

impl Layout {
    fn plan(tree: &Tree, own_files: &BTreeMap<String, Content>, esp: &esp::Esp) -> Result<Self, IsoError> {
        // Sizes do not depend on positions, so a first pass with none gives them.
        let nowhere = |path: &String| (path.clone(), Extent::default());
        let files = own_files.keys().chain(esp.files.keys()).map(nowhere).collect();
        let mut places = Places { dirs: vec![Extent::default(); tree.len()], files };
        let mut next = Blocks(DESCRIPTOR + 3);
        let path_table_len = tree.path_table(&places, u32::to_le_bytes, u16::to_le_bytes).len() as u64;
        let path_tables =
            [next.take("path table", path_table_len)?, next.take("path table", path_table_len)?];
        let catalog = next.take("boot catalog", BLOCK)?;
        let epoch = Date::new(0);
        let lengths: Vec<u64> =
            (0..tree.len()).map(|number| tree.directory(number, &places, &epoch).len() as u64).collect();
        for (extent, len) in places.dirs.iter_mut().zip(lengths) {
            *extent = next.extent("directory", len.next_multiple_of(BLOCK))?;
        }
        for (path, content) in own_files {
            places.files.insert(path.clone(), next.extent(path, content.len())?);
        }
        let start = (u64::from(next.0) * BLOCK).next_multiple_of(ESP_ALIGN);
        for (path, (offset, len)) in &esp.files {
            let mut at = Blocks::at(path, start + offset)?;
            places.files.insert(path.clone(), at.extent(path, *len)?);
        }
        let len = (start + esp.volume.len() + Sectors::S512.tail_bytes()).next_multiple_of(BLOCK);
        // The whole length in blocks must have 32 bits too.
        Blocks::at("image", len)?;
        let Blocks(esp) = Blocks::at("EFI system partition", start)?;
        let path_table_len = u32::try_from(path_table_len).map_err(io::Error::other)?;
        Ok(Self { path_tables, path_table_len, catalog, places, esp, len })
    }

    fn volume<'a>(&self, spec: &'a IsoSpec, date: Date) -> Volume<'a> {
        Volume {
            label: &spec.label,
            blocks: u32::try_from(self.len / BLOCK).expect("checked by the layout"),
            path_table_len: self.path_table_len,
            path_tables: self.path_tables,
            root: record(Kind::Volume, self.places.dirs[0], 0, &date),
            date,
        }
    }
}

/// The next free block.
struct Blocks(u32);

impl Blocks {
    fn at(what: &str, offset: u64) -> Result<Self, IsoError> {
        let too_large = |_| IsoError::TooLarge { path: what.to_owned(), len: offset };
        Ok(Self(u32::try_from(offset / BLOCK).map_err(too_large)?))
    }

    fn take(&mut self, what: &str, len: u64) -> Result<u32, IsoError> {
        let block = self.0;
        *self = Self::at(what, u64::from(block) * BLOCK + len.next_multiple_of(BLOCK))?;
        Ok(block)
    }

    fn extent(&mut self, path: &str, len: u64) -> Result<Extent, IsoError> {
        let too_large = |_| IsoError::TooLarge { path: path.to_owned(), len };
        let bytes = u32::try_from(len).map_err(too_large)?;
        Ok(Extent { block: self.take(path, len)?, len: bytes })
    }
}
