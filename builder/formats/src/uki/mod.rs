//! Unified Kernel Image (UAPI.5): systemd-stub with the kernel, its initrd and its command line as PE sections.
//!
//! Data of the added sections begins at multiples of 2048 bytes, so that ISO 9660 extents can point at it.
//! Every byte after the headers belongs to exactly one section and nothing follows the last one: that is
//! what Authenticode digests cover, so the image can be signed by appending a certificate table.
//! Nothing is signed or measured here.

mod pe;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt::Write as _;
use std::io;

use goblin::pe::dll_characteristic::IMAGE_DLLCHARACTERISTICS_NX_COMPAT;
use goblin::pe::section_table::{IMAGE_SCN_CNT_CODE, IMAGE_SCN_CNT_INITIALIZED_DATA, IMAGE_SCN_MEM_READ};

use crate::content::Content;
use crate::sparse::Sparse;
use pe::{HEAD_BYTES, Headers};
pub use pe::{PeError, Section};

/// File offsets and raw sizes of added sections are multiples of this: one ISO 9660 block.
pub const SECTION_ALIGN: u64 = 2048;

/// Longest kernel command line in bytes: COMMAND_LINE_SIZE of x86 and arm64 is 2048 with the NUL.
pub const CMDLINE_MAX: usize = 2047;

/// First line of every SBAT section: the version of the format itself.
const SBAT_HEADER: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n";

/// What an image is made of; an empty text or content makes no section.
#[derive(Clone, Debug)]
pub struct UkiSpec {
    /// systemd-stub (`linuxx64.efi.stub`), unsigned.
    pub stub: Vec<u8>,
    /// Contents of `/etc/os-release`: `.osrel`.
    pub os_release: String,
    /// Kernel command line: `.cmdline`, `CMDLINE_MAX` bytes at most.
    pub cmdline: String,
    /// Kernel release as `uname -r` prints it: `.uname`.
    pub uname: String,
    /// SBAT lines added to the stub's own, each ending in a newline.
    pub sbat: String,
    /// The kernel with its EFI stub: `.linux`.
    pub kernel: Content,
    /// The initrd: `.initrd`.
    pub initrd: Content,
    /// Further sections in order, by name with dot: `.pcrsig`.
    pub more: Vec<(String, Content)>,
}

/// A built image and where its sections are.
#[derive(Clone, Debug)]
pub struct Uki {
    /// The PE file.
    pub image: Sparse,
    /// All its sections, the stub's first.
    pub sections: Vec<Section>,
}

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UkiError {
    /// The stub is no usable PE file.
    #[error("cannot use the EFI stub")]
    Stub(#[source] PeError),
    /// A finished image is no PE file.
    #[error("cannot parse the unified kernel image")]
    Image(#[source] PeError),
    /// The kernel is no PE file.
    #[error("the kernel is no EFI program; hint: CONFIG_EFI_STUB")]
    Kernel(#[source] PeError),
    /// Stub and kernel are for different machines.
    #[error("the EFI stub is for machine {stub:#06x}, the kernel for {kernel:#06x}")]
    Machine {
        /// COFF machine of the stub.
        stub: u16,
        /// COFF machine of the kernel.
        kernel: u16,
    },
    /// The stub carries a signature, symbols or other data that belongs to no section.
    #[error("the EFI stub has data outside its sections; hint: use an unsigned, stripped stub")]
    Trailing,
    /// The header area of the stub is full.
    #[error("the header of the EFI stub has room for {room} sections, not {wanted}")]
    NoRoom {
        /// Sections that fit.
        room: usize,
        /// Sections wanted.
        wanted: usize,
    },
    /// A section name is not of the form `.name` with 8 bytes at most, or is there already.
    #[error("{name:?} cannot be the name of an added section")]
    Name {
        /// The name as given.
        name: String,
    },
    /// The stub's `.sbat` has no space for the added lines.
    #[error("the .sbat section of the stub holds {room} bytes, not {wanted}")]
    SbatFull {
        /// Bytes that fit.
        room: u64,
        /// Bytes wanted.
        wanted: u64,
    },
    /// The kernel would cut the command line.
    #[error("the kernel command line has {len} bytes; {CMDLINE_MAX} at most")]
    Cmdline {
        /// Its length in bytes.
        len: usize,
    },
    /// Addresses of a PE file have 32 bits.
    #[error("section {name} ends beyond 4 GiB")]
    TooLarge {
        /// Name of the section.
        name: String,
    },
    /// A content cannot be read.
    #[error("cannot read the parts of a unified kernel image")]
    Read(#[from] io::Error),
}

/// Builds the image.
pub fn build(spec: &UkiSpec) -> Result<Uki, UkiError> {
    let mut head = spec.stub.clone();
    let mut headers = Headers::parse(&head).map_err(UkiError::Stub)?;
    check_stub(&headers, head.len() as u64)?;
    match_kernel(&mut headers, &spec.kernel)?;
    let added = added_sections(spec, &mut headers, &mut head)?;
    let wanted = headers.sections.len() + added.len();
    if wanted > headers.section_room() {
        return Err(UkiError::NoRoom { room: headers.section_room(), wanted });
    }
    // The stub's last section takes the padding before the first added one, so that no byte is outside.
    let mut end = (head.len() as u64).next_multiple_of(SECTION_ALIGN);
    let last = headers.sections.last_mut().expect("check_stub saw a section");
    last.raw_size = end - last.file_offset;
    let mut placed = Vec::new();
    let mut added_data = 0;
    for (name, content) in added {
        let section = append(&headers, &name, end, content.len())?;
        end += section.raw_size;
        added_data += section.raw_size;
        placed.push((section.file_offset, content));
        headers.sections.push(section);
    }
    headers.write(&mut head, added_data);
    let mut image = Sparse::new(end);
    image.put(0, head);
    for (offset, content) in placed {
        image.put(offset, content);
    }
    Ok(Uki { image, sections: headers.sections })
}

/// The sections of a finished image, read from its headers.
pub fn sections(file: &Content) -> Result<Vec<Section>, UkiError> {
    Ok(Headers::parse(&head_of(file)?).map_err(UkiError::Image)?.sections)
}

/// The section table as text, one line a section, for golden tests.
pub fn dump(file: &Content) -> Result<String, UkiError> {
    let headers = Headers::parse(&head_of(file)?).map_err(UkiError::Image)?;
    let nx = headers.dll_characteristics & IMAGE_DLLCHARACTERISTICS_NX_COMPAT != 0;
    let mut text = format!("machine {:#06x} nx {nx} bytes {:#x}\n", headers.machine, file.len());
    for Section { name, file_offset, size, raw_size, virtual_address, characteristics } in headers.sections {
        let _ = writeln!(
            text,
            "{name:8} at {virtual_address:#09x} file {file_offset:#09x} size {size:#09x} raw {raw_size:#09x} flags {characteristics:#x}"
        );
    }
    Ok(text)
}

fn head_of(file: &Content) -> Result<Vec<u8>, io::Error> {
    file.slice(0, file.len().min(HEAD_BYTES as u64)).to_vec()
}

fn check_stub(headers: &Headers, len: u64) -> Result<(), UkiError> {
    let end = headers.sections.last().map(|last| last.file_offset + last.raw_size);
    if headers.is_signed || end != Some(len) { Err(UkiError::Trailing) } else { Ok(()) }
}

/// Firmware that enforces NX reads the flag of the outer image, so it may not promise more than the kernel does.
fn match_kernel(headers: &mut Headers, kernel: &Content) -> Result<(), UkiError> {
    let inner = Headers::parse(&head_of(kernel)?).map_err(UkiError::Kernel)?;
    if inner.machine != headers.machine {
        return Err(UkiError::Machine { stub: headers.machine, kernel: inner.machine });
    }
    headers.dll_characteristics &= inner.dll_characteristics | !IMAGE_DLLCHARACTERISTICS_NX_COMPAT;
    Ok(())
}

/// Names and contents in ukify's order; SBAT lines go into the stub's own section when it has one.
fn added_sections(
    spec: &UkiSpec,
    headers: &mut Headers,
    head: &mut [u8],
) -> Result<Vec<(String, Content)>, UkiError> {
    if spec.cmdline.len() > CMDLINE_MAX {
        return Err(UkiError::Cmdline { len: spec.cmdline.len() });
    }
    let text = |text: &str| Content::from(text.as_bytes());
    let mut added = vec![
        (".osrel".to_owned(), text(&spec.os_release)),
        (".cmdline".to_owned(), text(&spec.cmdline)),
        (".uname".to_owned(), text(&spec.uname)),
        (".linux".to_owned(), spec.kernel.clone()),
        (".initrd".to_owned(), spec.initrd.clone()),
    ];
    added.extend(spec.more.iter().cloned());
    match headers.sections.iter_mut().find(|section| section.name == ".sbat") {
        Some(section) => extend_sbat(section, head, &spec.sbat)?,
        None => added.push((".sbat".to_owned(), text(&format!("{SBAT_HEADER}{}", spec.sbat)))),
    }
    added.retain(|(_, content)| !content.is_empty());
    Ok(added)
}

fn extend_sbat(section: &mut Section, head: &mut [u8], lines: &str) -> Result<(), UkiError> {
    let wanted = section.size + lines.len() as u64;
    if wanted > section.raw_size {
        return Err(UkiError::SbatFull { room: section.raw_size, wanted });
    }
    let from = usize::try_from(section.file_offset + section.size).map_err(io::Error::other)?;
    head[from..from + lines.len()].copy_from_slice(lines.as_bytes());
    section.size = wanted;
    Ok(())
}

/// The header of a section appended to a file that ends at `end`.
fn append(headers: &Headers, name: &str, end: u64, len: u64) -> Result<Section, UkiError> {
    let is_taken = headers.sections.iter().any(|section| section.name == name);
    if !name.starts_with('.') || name.len() > 8 || name.contains('\0') || is_taken {
        return Err(UkiError::Name { name: name.to_owned() });
    }
    let last = headers.sections.last().expect("check_stub saw a section");
    let raw_size = len.next_multiple_of(SECTION_ALIGN);
    let virtual_address = (last.virtual_address + last.size).next_multiple_of(headers.section_alignment);
    let reach = (end + raw_size).max((virtual_address + len).next_multiple_of(headers.section_alignment));
    if reach > u32::MAX.into() {
        return Err(UkiError::TooLarge { name: name.to_owned() });
    }
    // As ukify: kernels that use the EFI handover protocol run in place.
    let content = if name == ".linux" { IMAGE_SCN_CNT_CODE } else { IMAGE_SCN_CNT_INITIALIZED_DATA };
    let characteristics = content | IMAGE_SCN_MEM_READ;
    Ok(Section {
        name: name.to_owned(),
        file_offset: end,
        size: len,
        raw_size,
        virtual_address,
        characteristics,
    })
}
