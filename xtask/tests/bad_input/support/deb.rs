//! Makes Debian packages (deb(5)) out of files, and the smallest program that firmware would accept.

use lepton_builder::arch::Arch;

/// The files of a package: path below the root, permission bits, bytes.
pub(crate) type Files = Vec<(String, u32, Vec<u8>)>;

/// A package with these files, in folders of their own.
pub(crate) fn package(files: &Files) -> Vec<u8> {
    let encoder = zstd::Encoder::new(Vec::new(), 1).expect("level 1 exists");
    let mut tar = tar::Builder::new(encoder);
    let mut folders = Vec::new();
    for (path, mode, bytes) in files {
        for (at, _) in path.match_indices('/') {
            let folder = format!("./{}/", &path[..at]);
            if !folders.contains(&folder) {
                append(&mut tar, &folder, 0o755, tar::EntryType::Directory, &[]);
                folders.push(folder);
            }
        }
        append(&mut tar, &format!("./{path}"), *mode, tar::EntryType::Regular, bytes);
    }
    let data = tar.into_inner().and_then(zstd::Encoder::finish).expect("writing to memory");
    let mut ar = ar::Builder::new(Vec::new());
    for (name, bytes) in [("debian-binary", b"2.0\n".as_slice()), ("data.tar.zst", &data)] {
        let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        ar.append(&header, bytes).expect("writing to memory");
    }
    ar.into_inner().expect("writing to memory")
}

fn append(
    tar: &mut tar::Builder<impl std::io::Write>,
    path: &str,
    mode: u32,
    kind: tar::EntryType,
    bytes: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    header.set_mtime(1_700_000_000);
    tar.append_data(&mut header, path, bytes).expect("writing to memory");
}

/// A PE32+ file of one section (PE format, "COFF File Header" and after): boot stub and kernel at once.
pub(crate) fn program(arch: Arch) -> Vec<u8> {
    let machine: u16 = match arch {
        Arch::X86_64 => 0x8664,
        Arch::Aarch64 => 0xaa64,
    };
    let mut file = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x44, &machine.to_le_bytes());
    put(0x46, &1u16.to_le_bytes());
    // Size of the optional header without data directories.
    put(0x54, &112u16.to_le_bytes());
    let optional = 0x58;
    put(optional, &0x20bu16.to_le_bytes());
    for (field, value) in [(32, 4096u32), (36, 512), (60, 512)] {
        put(optional + field, &value.to_le_bytes());
    }
    let section = optional + 112;
    put(section, b".text");
    for (field, value) in [(8, 1u32), (12, 4096), (16, 512), (20, 512)] {
        put(section + field, &value.to_le_bytes());
    }
    file
}
