//! The headers of a PE32+ file (Microsoft PE format): read with goblin, changed in place.
//!
//! Only headers: section data is never read here, so a file of any size costs one small read.

use goblin::pe::header::Header;
use goblin::pe::optional_header::IMAGE_NT_OPTIONAL_HDR64_MAGIC;

/// Headers of EFI programs lie in the first page.
pub(super) const HEAD_BYTES: usize = 4096;

/// One entry of the section table has 40 bytes.
const SECTION_BYTES: usize = 40;

/// Offsets of fields from the start of the PE signature (4 bytes, then COFF header of 20, then optional header).
const SECTION_COUNT: usize = 6;
const TIMESTAMP: usize = 8;
const OPTIONAL: usize = 24;
const INITIALIZED_DATA: usize = OPTIONAL + 8;
const IMAGE_SIZE: usize = OPTIONAL + 56;
const CHECKSUM: usize = OPTIONAL + 64;
const DLL_CHARACTERISTICS: usize = OPTIONAL + 70;

/// A section as its header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Name with its dot, 8 bytes at most.
    pub name: String,
    /// Where the data begins in the file, in bytes.
    pub file_offset: u64,
    /// Bytes of data that mean something (VirtualSize).
    pub size: u64,
    /// Bytes of data in the file with padding (SizeOfRawData).
    pub raw_size: u64,
    /// Where the data is loaded, from the image's base.
    pub virtual_address: u64,
    /// IMAGE_SCN_ flags.
    pub characteristics: u32,
}

/// Why headers cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeError {
    /// The bytes are no PE file.
    #[error("the headers of the PE file cannot be parsed")]
    Parse(#[source] goblin::error::Error),
    /// The file is for a 32-bit machine or an object file.
    #[error("the PE file is not a PE32+ program")]
    NotPe32Plus,
    /// A section name is no text.
    #[error("a section of the PE file has a name that is not UTF-8")]
    Name,
}

/// The fields that building an image needs.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    pub(super) machine: u16,
    pub(super) dll_characteristics: u16,
    pub(super) section_alignment: u64,
    pub(super) size_of_headers: u64,
    pub(super) is_signed: bool,
    pub(super) sections: Vec<Section>,
    initialized_data: u64,
    signature: usize,
    table: usize,
}

impl Headers {
    /// Reads the headers out of the first bytes of a file.
    pub(super) fn parse(head: &[u8]) -> Result<Self, PeError> {
        let header = Header::parse(head).map_err(PeError::Parse)?;
        let optional = header.optional_header.ok_or(PeError::NotPe32Plus)?;
        if optional.standard_fields.magic != IMAGE_NT_OPTIONAL_HDR64_MAGIC {
            return Err(PeError::NotPe32Plus);
        }
        let signature = header.dos_header.pe_pointer as usize;
        let table = signature + OPTIONAL + usize::from(header.coff_header.size_of_optional_header);
        let mut sections = Vec::new();
        for raw in header.coff_header.sections(head, &mut table.clone()).map_err(PeError::Parse)? {
            sections.push(Section {
                name: raw.name().map_err(|_| PeError::Name)?.to_owned(),
                file_offset: raw.pointer_to_raw_data.into(),
                size: raw.virtual_size.into(),
                raw_size: raw.size_of_raw_data.into(),
                virtual_address: raw.virtual_address.into(),
                characteristics: raw.characteristics,
            });
        }
        let windows = optional.windows_fields;
        let certificates = optional.data_directories.get_certificate_table();
        Ok(Self {
            machine: header.coff_header.machine,
            dll_characteristics: windows.dll_characteristics,
            section_alignment: windows.section_alignment.into(),
            size_of_headers: windows.size_of_headers.into(),
            is_signed: certificates.is_some_and(|table| table.size != 0),
            initialized_data: optional.standard_fields.size_of_initialized_data,
            sections,
            signature,
            table,
        })
    }

    /// How many sections the header area can hold.
    pub(super) fn section_room(&self) -> usize {
        let end = usize::try_from(self.size_of_headers).unwrap_or(usize::MAX);
        end.saturating_sub(self.table) / SECTION_BYTES
    }

    /// Writes the changed fields back over `head`; no clock value and no checksum is left in it.
    ///
    /// # Panics
    /// When the sections do not fit the room or a value has more than 32 bits: the caller checks both.
    pub(super) fn write(&self, head: &mut [u8], added_data: u64) {
        let last = self.sections.last().expect("a program has sections");
        let image_size = (last.virtual_address + last.size).next_multiple_of(self.section_alignment);
        let count = u16::try_from(self.sections.len()).expect("the table's room was checked");
        put(head, self.signature + SECTION_COUNT, &count.to_le_bytes());
        put(head, self.signature + TIMESTAMP, &[0; 4]);
        put(head, self.signature + INITIALIZED_DATA, &word(self.initialized_data + added_data));
        put(head, self.signature + IMAGE_SIZE, &word(image_size));
        put(head, self.signature + CHECKSUM, &[0; 4]);
        put(head, self.signature + DLL_CHARACTERISTICS, &self.dll_characteristics.to_le_bytes());
        for (index, section) in self.sections.iter().enumerate() {
            put(head, self.table + index * SECTION_BYTES, &section_header(section));
        }
    }
}

/// Name, VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData, no relocations, Characteristics.
fn section_header(section: &Section) -> [u8; SECTION_BYTES] {
    let mut header = [0; SECTION_BYTES];
    put(&mut header, 0, section.name.as_bytes());
    put(&mut header, 8, &word(section.size));
    put(&mut header, 12, &word(section.virtual_address));
    put(&mut header, 16, &word(section.raw_size));
    put(&mut header, 20, &word(section.file_offset));
    put(&mut header, 36, &section.characteristics.to_le_bytes());
    header
}

fn word(value: u64) -> [u8; 4] {
    u32::try_from(value).expect("sizes of a PE file were checked to have 32 bits").to_le_bytes()
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}
