//! No artifact names a folder of the machine that built it, not even inside of what is compressed in it.
//!
//! `grep` searches every file; initrd, root and kernel are unpacked for it first. Disk images hold the same parts,
//! compressed as they are.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use lepton_builder::arch::Arch;

use super::case::{Defect, hold, scratch};
use super::initrd::Initrd;
use super::plant::Copy;
use super::{Verdict, erofs, files, refuse, require, tool};
use crate::Context;
use crate::context::TestError;

pub(super) fn none(cx: &Context) -> Verdict {
    let words = words(cx)?;
    let word = words[0].as_bytes();
    let judge = |file: &Path| {
        let dir = scratch()?;
        parts(cx, file, dir.path())?;
        search(cx, file, dir.path(), &words)
    };
    let at_end = |copy: &Copy| copy.write(copy.len()?, word);
    let in_program = |copy: &Copy| in_initrd(copy, word);
    let in_kernel = |copy: &Copy| copy.replace(&fake_kernel(cx.arch, word)?);
    for name in files::names(cx)? {
        let path = cx.artifacts.join(&name);
        let mut defects = vec![Defect::new("a path at the end", &at_end)];
        match part_of(&path) {
            Part::Initrd => defects = vec![Defect::new("a path in a program of the initrd", &in_program)],
            Part::Kernel => defects = vec![Defect::new("a path in the compressed kernel", &in_kernel)],
            Part::Nothing => {}
        }
        hold(&path, &judge, &defects)?;
    }
    Ok(())
}

/// What to search for: with a slash at the end, since `/root` alone is also root's home on the host we build.
fn words(cx: &Context) -> Result<Vec<String>, TestError> {
    let deep = cx.host_paths.iter().filter(|path| path.parent().is_some());
    let words: Vec<String> = deep.map(|path| format!("{}/", path.display())).collect();
    require("grep", !words.is_empty(), || "there is no path to search for".to_owned())?;
    Ok(words)
}

/// Fails when `grep` finds one of the words in `file` or below `dir`.
fn search(cx: &Context, file: &Path, dir: &Path, words: &[String]) -> Verdict {
    // With lines that end in NUL no run of zeroes is one line of a gibibyte.
    let grep = tool::on(cx, "grep", file)
        .read_only(dir, "/in/parts")
        .args(["--recursive", "--text", "--null-data", "--only-matching", "--fixed-strings"])
        .args(words.iter().flat_map(|word| ["--regexp", word]))
        .arg("/in");
    let found = tool::find("grep", &grep)?;
    require("grep", found.is_none(), || {
        let lines = found
            .iter()
            .flat_map(|text| text.lines())
            .take(10)
            .map(|line| format!("\n{}", line.replace('\0', " ")));
        format!("{} names folders of this machine:{}", file.display(), lines.collect::<String>())
    })
}

/// What is compressed in a file.
enum Part {
    Initrd,
    Kernel,
    Nothing,
}

fn part_of(file: &Path) -> Part {
    match file.file_name().and_then(|name| name.to_str()) {
        Some("initrd") => Part::Initrd,
        Some("vmlinuz") => Part::Kernel,
        _ => Part::Nothing,
    }
}

/// Unpacks what is compressed in `file` into `dir`.
fn parts(cx: &Context, file: &Path, dir: &Path) -> Verdict {
    match part_of(file) {
        Part::Initrd => {
            let initrd = Initrd::open(file)?;
            for name in ["init", "rootfs.erofs"] {
                let path = dir.join(name);
                fs::write(&path, initrd.file(name)?).map_err(TestError::file("write", path))?;
            }
            erofs::unpack(cx, &dir.join("rootfs.erofs"), dir).map(drop)
        }
        Part::Kernel => {
            let bytes = fs::read(file).map_err(TestError::file("read", file))?;
            let kernel = kernel(cx.arch, &bytes)
                .map_err(|error| refuse("zstd", format!("{}: {error}", file.display())))?;
            fs::write(dir.join("vmlinux"), kernel).map_err(TestError::file("write", dir))
        }
        Part::Nothing => Ok(()),
    }
}

/// x86 boot protocol 2.08 (x86/boot.rst): sectors of real-mode code after the first, then where behind them the
/// compressed kernel begins.
const SETUP_SECTS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
/// EFI zboot (zboot-header.S): where in the file the compressed kernel begins.
const ZBOOT_OFFSET: usize = 8;

fn kernel(arch: Arch, image: &[u8]) -> io::Result<Vec<u8>> {
    let header = image.get(..PAYLOAD_OFFSET + 4).ok_or(io::ErrorKind::UnexpectedEof)?;
    let number = |at: usize| {
        usize::try_from(u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte])))
            .map_err(io::Error::other)
    };
    let start = match arch {
        Arch::X86_64 => (usize::from(header[SETUP_SECTS]) + 1) * 512 + number(PAYLOAD_OFFSET)?,
        Arch::Aarch64 => number(ZBOOT_OFFSET)?,
    };
    let payload = image.get(start..).ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut kernel = Vec::new();
    zstd::Decoder::with_buffer(payload)?.single_frame().read_to_end(&mut kernel)?;
    Ok(kernel)
}

/// As much of a kernel as [`kernel`] reads, with `word` in it behind text enough to be coded, not copied.
fn fake_kernel(arch: Arch, word: &[u8]) -> io::Result<Vec<u8>> {
    let mut image = vec![0; 1024 + 16];
    match arch {
        Arch::X86_64 => {
            image[SETUP_SECTS] = 1;
            image[PAYLOAD_OFFSET] = 16;
        }
        // 1040, little-endian.
        Arch::Aarch64 => image[ZBOOT_OFFSET..][..2].copy_from_slice(&[0x10, 0x04]),
    }
    let text: String = (0..1000_u32).map(|number| format!("{} ", number * number)).collect();
    image.extend(zstd::encode_all([text.as_bytes(), word].concat().as_slice(), 1)?);
    Ok(image)
}

fn in_initrd(copy: &Copy, word: &[u8]) -> io::Result<()> {
    let mut initrd = Initrd::parse(&copy.read_all()?)?;
    initrd.compressed.entry("init".to_owned()).or_default().extend(word);
    copy.replace(&initrd.to_bytes()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_searched_unpacked() {
        let word = b"/home/someone/lepton/";
        let holds = |bytes: &[u8]| bytes.windows(word.len()).any(|window| window == word);
        for arch in Arch::ALL {
            let image = fake_kernel(arch, word).unwrap();
            assert!(!holds(&image) && holds(&kernel(arch, &image).unwrap()));
            assert!(kernel(arch, &image[..1024]).is_err());
        }
    }
}
