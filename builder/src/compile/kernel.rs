//! Compiles the kernel: Debian's source package, our configuration, the pinned gcc.
//!
//! Every path inside the sandbox is fixed and the build's date is the source's, so the result depends
//! on nothing but the key.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{CompileError, file_error};
use crate::arch::Arch;
use crate::date;
use crate::digest::{Digest, KeyBuilder};
use crate::kernel_config::{KernelSpec, WantedConfig};
use crate::sandbox::Sandbox;
use crate::store::Output;
use crate::tools::{ToolTree, Toolbox};

/// Raised when this file builds differently from the same inputs.
const RECIPE: &str = "kernel-1";
/// The resolved configuration in the output.
pub const CONFIG: &str = "config";
/// The kernel's release (`uname -r`) in the output.
pub const RELEASE: &str = "release";
/// Lines that `make` prints for a whole build, to draw the bar.
const MAKE_LINES: u64 = 3_040;

/// A kernel to compile.
#[derive(Debug)]
pub struct KernelBuild<'a> {
    /// The source and base configuration.
    pub spec: &'a KernelSpec,
    /// The wanted answers.
    pub wanted: &'a WantedConfig,
    /// What it is for.
    pub arch: Arch,
    /// Processes at once.
    pub jobs: usize,
}

impl KernelBuild<'_> {
    /// What the result depends on.
    pub fn key(&self, toolbox: &Toolbox<'_>) -> Result<Digest, CompileError> {
        let tools = toolbox.key("kernel")?;
        Ok(KeyBuilder::new(RECIPE)
            .with("arch", self.arch.name())
            .with("base", &self.spec.base)
            .with("config", self.wanted.text())
            .with_digest("tools", tools)
            .finish())
    }

    /// The compiled kernel, from the store when it is there.
    pub fn output(&self, toolbox: &Toolbox<'_>) -> Result<Output, CompileError> {
        let key = self.key(toolbox)?;
        if let Some(output) = toolbox.store.output(key)? {
            return Ok(output);
        }
        let _lock = toolbox.store.lock(&format!("kernel-{key}"))?;
        if let Some(output) = toolbox.store.output(key)? {
            return Ok(output);
        }
        let tree = toolbox.tree("kernel")?;
        let work = toolbox.store.scratch("kernel")?;
        let build = Build { kernel: self, toolbox, tree: &tree, work: work.path() };
        build.unpack()?;
        build.configure()?;
        build.compile()?;
        let result = toolbox.store.scratch("kernel-output")?;
        build.collect(result.path())?;
        Ok(toolbox.store.add_output(result, key)?)
    }

    /// Only the resolved configuration: quick, for golden files and for people who change a symbol.
    pub fn resolve_config(&self, toolbox: &Toolbox<'_>) -> Result<String, CompileError> {
        let tree = toolbox.tree("kernel")?;
        let work = toolbox.store.scratch("kernel-config")?;
        let build = Build { kernel: self, toolbox, tree: &tree, work: work.path() };
        build.unpack()?;
        build.configure()
    }
}

/// One build in a scratch folder.
struct Build<'a> {
    kernel: &'a KernelBuild<'a>,
    toolbox: &'a Toolbox<'a>,
    tree: &'a ToolTree,
    work: &'a Path,
}

impl Build<'_> {
    fn unpack(&self) -> Result<(), CompileError> {
        for dir in ["source", "out"] {
            let path = self.work.join(dir);
            fs::create_dir_all(&path).map_err(file_error("make", &path))?;
        }
        let archive = format!("/usr/src/{}.tar.xz", self.kernel.spec.source);
        let step = self.toolbox.progress.step("unpack kernel source", None);
        self.sandbox("tar")
            .args(["--extract", "--strip-components=1", "--no-same-owner", "--directory=/work/source"])
            .arg(format!("--file={archive}"))
            .run(|_| step.advance(1))?;
        step.finish();
        Ok(())
    }

    fn configure(&self) -> Result<String, CompileError> {
        let wanted = self.work.join("wanted.config");
        fs::write(&wanted, self.kernel.wanted.text()).map_err(file_error("write", &wanted))?;
        // kconfig takes the answers it is given and the base target answers the rest.
        self.make().arg("KCONFIG_ALLCONFIG=/work/wanted.config").arg(&self.kernel.spec.base).run(|_| {})?;
        let path = self.work.join("out/.config");
        let resolved = fs::read_to_string(&path).map_err(file_error("read", &path))?;
        self.kernel.wanted.check(&resolved)?;
        Ok(resolved)
    }

    fn compile(&self) -> Result<(), CompileError> {
        let makefile = self.work.join("source/Makefile");
        let meta = fs::metadata(&makefile).map_err(file_error("read", &makefile))?;
        let built = date::format_date(u64::try_from(meta.mtime()).unwrap_or(0));
        let step = self.toolbox.progress.step(&format!("kernel for {}", self.kernel.arch), Some(MAKE_LINES));
        let targets = self.kernel.arch.kernel_images().iter().map(|image| image.target);
        self.make()
            .env("KBUILD_BUILD_TIMESTAMP", built)
            .env("KBUILD_BUILD_USER", "lepton")
            .env("KBUILD_BUILD_HOST", "lepton")
            .env("KBUILD_BUILD_VERSION", "1")
            .arg(format!("-j{}", self.kernel.jobs))
            .args(targets)
            .run(|_| step.advance(1))?;
        step.finish();
        Ok(())
    }

    fn collect(&self, result: &Path) -> Result<(), CompileError> {
        let out = self.work.join("out");
        let images = self.kernel.arch.kernel_images().iter().map(|image| (image.path, image.name));
        for (from, name) in images.chain([(".config", CONFIG), ("include/config/kernel.release", RELEASE)]) {
            fs::copy(out.join(from), result.join(name)).map_err(file_error("copy", out.join(from)))?;
        }
        Ok(())
    }

    fn make(&self) -> Sandbox {
        let arch = self.kernel.arch;
        self.sandbox("make")
            .args(["-C", "/work/source", "O=/work/out"])
            .arg(format!("ARCH={}", arch.kernel()))
            // Both architectures use the versioned cross name, so neither host is special.
            .arg(format!("CROSS_COMPILE={}-", arch.gnu_triplet()))
            .arg(format!("CC={}-gcc-14", arch.gnu_triplet()))
    }

    fn sandbox(&self, program: &str) -> Sandbox {
        self.tree.program(program).writable(self.work, "/work").env("LC_ALL", "C")
    }
}
