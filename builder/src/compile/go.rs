//! Compiles Go programs from pinned modules: static, in the sandbox, offline.
//!
//! A folder of ours holds `go.mod`, `go.sum` and a `tools.go` that imports the programs, or a program of ours. The tool
//! tree's `go` downloads what they need as this machine configures it (`GOPROXY` and its kin, in the environment or in
//! `go env`'s file), and checks every module against `go.sum`. Nothing here changes a `go.mod` or `go.sum`.

mod multi_call;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{CompileError, file_error, modules};
use crate::arch::Arch;
use crate::digest::{Digest, KeyBuilder};
use crate::process::Process;
use crate::store::Output;
use crate::tools::{ToolTree, Toolbox};

/// Raised when this file builds differently from the same inputs.
const RECIPE: &str = "go-2";
/// The tool set with the compiler.
pub(crate) const TOOLS: &str = "go";
/// Debian package with the sources of Go's own library, which every program links.
pub(crate) const LIBRARY: &str = "golang-1.26-src:all";
/// No symbol table, no debug information, and no identifier that depends on the build's history.
const LDFLAGS: &str = "-s -w -buildid=";
/// With C among it: linked with what C needs, so that it runs beside any C library, too.
const LDFLAGS_OF_C: &str = " -linkmode=external -extldflags=-static";
/// Names and users by Go's own code, because what C's library does for them needs files of the machine it was made on.
const TAGS_OF_C: [&str; 2] = ["netgo", "osusergo"];
/// Only what is pinned, modules that can be removed again, no path of the machine, and nothing from version control.
const GOFLAGS: &str = "-mod=readonly -modcacherw -trimpath -buildvcs=false";
/// Files that pin modules; beside them lies Go code.
const PINS: [&str; 2] = ["go.mod", "go.sum"];
/// The package in the folder itself.
pub const OWN: &str = ".";

/// Programs of the modules that one folder pins.
#[derive(Clone, Copy, Debug)]
pub struct GoBuild<'a> {
    /// What people and caches call this set of programs.
    pub name: &'a str,
    /// Folder with `go.mod`, `go.sum` and Go code.
    pub folder: &'a Path,
    /// The programs.
    pub programs: &'a [GoProgram<'a>],
    /// Name of the one program that acts as any of them, by the name it is called by; without it each is its own.
    pub multi_call: Option<&'a str>,
    /// Build tags.
    pub tags: &'a [&'a str],
    /// Whether C is among what they are made of.
    pub cgo: Cgo,
    /// Strings that the linker sets: `package.name` and value.
    pub strings: &'a [(&'a str, &'a str)],
    /// What they are for.
    pub arch: Arch,
    /// Whether `go` may not download.
    pub offline: bool,
}

/// What the modules of programs are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgo {
    /// Go alone.
    Off,
    /// C as well, compiled by the tool tree's compiler: for programs of the machine that builds, and for no other.
    On,
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct GoProgram<'a> {
    /// Name of its file.
    pub name: &'a str,
    /// Import path of its main package. That of the folder, `OWN`, is for tests: it has no version, so no list of its
    /// modules is written, and no image can hold it.
    pub package: &'a str,
}

/// Folders of `go` that outlive a build; programs of every set share them.
struct Caches {
    modules: PathBuf,
    /// For the compiler in the sandbox.
    objects: PathBuf,
    /// For `go` outside of it, which compiles nothing: GOCACHE and GOPATH.
    other: PathBuf,
}

impl GoBuild<'_> {
    /// The compiled programs by name, each of pinned modules with the list of those, from the store when they are there.
    pub fn output(&self, toolbox: &Toolbox<'_>) -> Result<Output, CompileError> {
        if self.cgo == Cgo::On && self.arch != toolbox.host {
            return Err(CompileError::ForeignC { name: self.name.to_owned(), arch: self.arch });
        }
        let sources = self.sources()?;
        let key = self.key_of(&sources, toolbox)?;
        if let Some(output) = toolbox.store.output(key)? {
            return Ok(output);
        }
        // It goes when the lock is given back: to remove a hundred thousand files takes minutes on some machines.
        let unpacked = toolbox.store.scratch("go-modules")?;
        // One at a time: a set takes all processors anyway, and they share the modules.
        let _lock = toolbox.store.lock("go")?;
        if let Some(output) = toolbox.store.output(key)? {
            return Ok(output);
        }
        let tools = toolbox.tree(TOOLS)?;
        let caches = Caches::new(toolbox)?;
        let stage = toolbox.store.scratch("go-source")?;
        for (name, bytes) in &sources {
            let path = stage.path().join(name);
            fs::write(&path, bytes).map_err(file_error("write", &path))?;
        }
        self.download(stage.path(), &tools, &caches, toolbox)?;
        let result = toolbox.store.scratch("go-output")?;
        self.compile(stage.path(), &tools, &caches, [unpacked.path(), result.path()], toolbox)?;
        Ok(toolbox.store.add_output(result, key)?)
    }

    /// What the result depends on.
    pub fn key(&self, toolbox: &Toolbox<'_>) -> Result<Digest, CompileError> {
        self.key_of(&self.sources()?, toolbox)
    }

    fn key_of(
        &self,
        sources: &BTreeMap<String, Vec<u8>>,
        toolbox: &Toolbox<'_>,
    ) -> Result<Digest, CompileError> {
        let mut key = KeyBuilder::new(RECIPE)
            .with_digest("tools", toolbox.key(TOOLS)?)
            .with("arch", self.arch.name())
            .with("flags", GOFLAGS)
            .with("tags", self.all_tags().join(","))
            .with("ldflags", self.ldflags());
        for program in self.programs {
            key = key.with(program.name, program.package);
        }
        if let Some(name) = self.multi_call {
            key = key.with("multi-call", name);
        }
        for (name, bytes) in sources {
            key = key.with(name, bytes);
        }
        Ok(key.finish())
    }

    /// Files of the folder that `go` needs to see.
    fn sources(&self) -> Result<BTreeMap<String, Vec<u8>>, CompileError> {
        let read = |name: String| {
            let path = self.folder.join(&name);
            fs::read(&path).map(|bytes| (name, bytes)).map_err(file_error("read", &path))
        };
        let mut names = PINS.map(str::to_owned).to_vec();
        for entry in WalkDir::new(self.folder).min_depth(1).max_depth(1).sort_by_file_name() {
            let entry = entry.map_err(|error| file_error("list", self.folder)(error.into()))?;
            names.extend(entry.file_name().to_str().filter(|name| name.ends_with(".go")).map(str::to_owned));
        }
        names.into_iter().map(read).collect()
    }

    fn ldflags(&self) -> String {
        let set = |(name, value): &(&str, &str)| format!(" -X {name}={value}");
        let strings: String = self.strings.iter().map(set).collect();
        let of_c = if self.cgo == Cgo::On { LDFLAGS_OF_C } else { "" };
        format!("{LDFLAGS}{of_c}{strings}")
    }

    /// Architecture and, but where it is asked for, no C.
    fn target(&self) -> [(&'static str, &'static str); 3] {
        let has_c = if self.cgo == Cgo::On { "1" } else { "0" };
        [("CGO_ENABLED", has_c), ("GOARCH", self.arch.golang()), ("GOOS", "linux")]
    }

    /// Listing what the programs are made of downloads exactly that, and fails where `go.sum` does not cover it.
    fn download(
        &self,
        stage: &Path,
        tools: &ToolTree,
        caches: &Caches,
        toolbox: &Toolbox<'_>,
    ) -> Result<(), CompileError> {
        let step = toolbox.progress.step(&format!("modules of {}", self.name), None);
        let mut go = Process::new(tools.root().join("usr/bin/go"))
            .inherit_env()
            .cwd(stage)
            .env("GOROOT", tools.root().join("usr/lib/go-1.26"))
            .env("GOMODCACHE", &caches.modules)
            .env("GOCACHE", caches.other.join("objects"))
            .env("GOPATH", caches.other.join("path"))
            // Modules that cannot be written could not be removed, either.
            .env("GOFLAGS", "-mod=readonly -modcacherw")
            .env("GO111MODULE", "on")
            .env("GOWORK", "off")
            // A module that asks for a newer compiler is an error and not a download.
            .env("GOTOOLCHAIN", "local");
        for (key, value) in self.target() {
            go = go.env(key, value);
        }
        if self.offline {
            go = go.env("GOPROXY", "off");
        }
        let list = go.args(["list", "-deps", "-f", "{{.ImportPath}}"]).args(self.tag_flags());
        list.args(self.programs.iter().map(|program| program.package))
            .run(|_| step.advance(1))
            .map_err(|source| CompileError::Modules { folder: self.folder.to_owned(), source })?;
        step.finish();
        Ok(())
    }

    fn compile(
        &self,
        stage: &Path,
        tools: &ToolTree,
        caches: &Caches,
        // Unpacked anew from the downloads, which `go` checks against go.sum while it does that: an unpacked module
        // that somebody changed would go unnoticed.
        [unpacked, out]: [&Path; 2],
        toolbox: &Toolbox<'_>,
    ) -> Result<(), CompileError> {
        let go = || {
            let mut go = tools
                .program("go")
                .read_only(stage, "/source")
                .read_only(&caches.modules.join("cache/download"), "/downloads")
                .writable(unpacked, "/modules")
                .writable(&caches.objects, "/objects")
                .writable(out, "/out")
                .cwd("/source")
                .env("GOMODCACHE", "/modules")
                .env("GOCACHE", "/objects")
                .env("GOPATH", "/tmp/go")
                .env("GOENV", "off")
                .env("GOPROXY", "file:///downloads")
                // go.sum has the digest of every module.
                .env("GOSUMDB", "off")
                .env("GOTOOLCHAIN", "local")
                .env("GOWORK", "off");
            for (key, value) in self.target() {
                go = go.env(key, value);
            }
            go
        };
        let build = |name: &str, package: &str| {
            let step = toolbox.progress.step(&format!("{name} for {}", self.arch), None);
            go().env("GOFLAGS", GOFLAGS)
                // Packages are printed as they are compiled.
                .args(["build", "-v", "-ldflags"])
                .arg(self.ldflags())
                .args(self.tag_flags())
                .args(["-o", &format!("/out/{name}"), package])
                .run(|_| step.advance(1))?;
            step.finish();
            go().args(["version", "-m"])
                .arg(format!("/out/{name}"))
                .process()
                .output()
                .map_err(CompileError::from)
        };
        let write_list = |name: &str, modules: &modules::Modules| {
            let list = serde_json::to_vec_pretty(modules).expect("a list of modules is made of text");
            let path = out.join(modules::list_of(name));
            fs::write(&path, list).map_err(file_error("write", path))
        };
        if let Some(name) = self.multi_call {
            let list = go().env("GOFLAGS", GOFLAGS).args(["list", "-f", multi_call::LIST_FORMAT]);
            let packages = self.programs.iter().map(|program| program.package);
            let listed = list.args(self.tag_flags()).args(packages).process().output()?;
            let places = multi_call::Places { stage, modules: unpacked };
            multi_call::prepare(name, self.programs, &listed, &places)?;
            let said = build(name, OWN)?;
            return write_list(name, &modules::parse_own(&said, name, self.programs[0].package)?);
        }
        for program in self.programs {
            let said = build(program.name, program.package)?;
            if program.package != OWN {
                write_list(program.name, &modules::parse(&said, program.name)?)?;
            }
        }
        Ok(())
    }

    fn all_tags(&self) -> Vec<&str> {
        let of_c = if self.cgo == Cgo::On { &TAGS_OF_C[..] } else { &[] };
        [of_c, self.tags].concat()
    }

    fn tag_flags(&self) -> Option<String> {
        let tags = self.all_tags();
        (!tags.is_empty()).then(|| format!("-tags={}", tags.join(",")))
    }
}

impl Caches {
    fn new(toolbox: &Toolbox<'_>) -> Result<Self, CompileError> {
        Ok(Self {
            modules: toolbox.store.cache("go-modules")?,
            objects: toolbox.store.cache("go-objects")?,
            other: toolbox.store.cache("go")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(tags: &'static [&'static str]) -> GoBuild<'static> {
        GoBuild {
            name: "some",
            folder: Path::new("/some"),
            programs: &[GoProgram { name: "one", package: "example.org/one" }],
            multi_call: None,
            tags,
            cgo: Cgo::Off,
            strings: &[("example.org/one/version.version", "v1.2.3"), ("example.org/one/version.major", "1")],
            arch: Arch::Aarch64,
            offline: false,
        }
    }

    #[test]
    fn flags_of_the_linker_and_of_tags() {
        let build = build(&["notest", "grpcnotrace"]);
        let text =
            "-s -w -buildid= -X example.org/one/version.version=v1.2.3 -X example.org/one/version.major=1";
        assert_eq!(build.ldflags(), text);
        assert_eq!(build.tag_flags().as_deref(), Some("-tags=notest,grpcnotrace"));
        assert_eq!(self::build(&[]).tag_flags(), None);
        assert_eq!(build.target(), [("CGO_ENABLED", "0"), ("GOARCH", "arm64"), ("GOOS", "linux")]);
    }

    #[test]
    fn programs_with_c_are_static_and_need_nothing_of_the_machine() {
        let build = GoBuild { cgo: Cgo::On, strings: &[], ..build(&["some"]) };
        assert_eq!(build.ldflags(), "-s -w -buildid= -linkmode=external -extldflags=-static");
        assert_eq!(build.tag_flags().as_deref(), Some("-tags=netgo,osusergo,some"));
        assert_eq!(build.target()[0], ("CGO_ENABLED", "1"));
    }

    #[test]
    fn a_folder_without_go_sum_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["go.mod", "main.go", "notes.txt"] {
            fs::write(dir.path().join(name), "module some\n").unwrap();
        }
        let error = GoBuild { folder: dir.path(), ..build(&[]) }.sources().unwrap_err();
        assert!(error.to_string().ends_with("go.sum"), "{error}");
        fs::write(dir.path().join("go.sum"), "").unwrap();
        let sources = GoBuild { folder: dir.path(), ..build(&[]) }.sources().unwrap();
        assert_eq!(sources.into_keys().collect::<Vec<_>>(), ["go.mod", "go.sum", "main.go"]);
    }
}
