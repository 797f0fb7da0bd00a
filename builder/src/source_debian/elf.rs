//! What an ELF file names: its loader, its libraries and where to look for them (System V ABI, "Dynamic Linking").
//!
//! Nothing here looks into packages.

use goblin::elf::Elf;
use goblin::elf::header::{EM_AARCH64, EM_X86_64};

use crate::arch::Arch;

/// The dependencies of an ELF file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needs {
    machine: u16,
    /// `PT_INTERP`: absolute path of the dynamic loader.
    pub(super) loader: Option<String>,
    /// `DT_NEEDED`: names without a path, or absolute paths.
    pub(super) libraries: Vec<String>,
    /// `DT_RUNPATH` and `DT_RPATH`, split.
    run_paths: Vec<String>,
}

impl Needs {
    /// `None` for a file that is no ELF file for a CPU that Linux programs run on: data, or an EFI program.
    pub(super) fn of(bytes: &[u8]) -> Result<Option<Self>, goblin::error::Error> {
        if !bytes.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let elf = Elf::parse(bytes)?;
        let paths = elf.runpaths.iter().chain(&elf.rpaths).flat_map(|list| list.split(':'));
        Ok(Some(Self {
            machine: elf.header.e_machine,
            loader: elf.interpreter.map(str::to_owned),
            libraries: elf.libraries.iter().map(|name| (*name).to_owned()).collect(),
            run_paths: paths.filter(|path| !path.is_empty()).map(str::to_owned).collect(),
        }))
    }

    pub(super) fn is_for(&self, arch: Arch) -> bool {
        self.machine
            == match arch {
                Arch::X86_64 => EM_X86_64,
                Arch::Aarch64 => EM_AARCH64,
            }
    }

    /// Where the loader of Debian looks for `library` of `file`, in its order; there is no ld.so.cache in an image.
    pub(super) fn places(&self, library: &str, file: &str, arch: Arch) -> Vec<String> {
        if library.contains('/') {
            return vec![library.to_owned()];
        }
        let origin = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let own =
            self.run_paths.iter().map(|path| path.replace("${ORIGIN}", origin).replace("$ORIGIN", origin));
        let usual = [format!("/usr/lib/{}", arch.gnu_triplet()), "/usr/lib".to_owned()];
        own.chain(usual).map(|folder| format!("{folder}/{library}")).collect()
    }
}
