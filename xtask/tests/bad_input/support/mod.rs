//! A bench for one test: a tiny repository, a store, an output folder and a mirror, all of its own, and the
//! command line that is run on them. Its tools are shell scripts, so that a whole build takes a moment.

mod deb;
pub(crate) mod mirror;
pub(crate) mod repository;
pub(crate) mod tools;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use lepton_builder::digest::Digest;
use tempfile::TempDir;
use walkdir::WalkDir;

use mirror::Mirror;
use tools::Scripts;

/// The program under test.
const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Everything a test needs, removed with it.
pub(crate) struct Bench {
    dir: TempDir,
    /// The mirror that the packages come from.
    pub mirror: Mirror,
    /// What packages.lock pins: name of the package -> path on the mirror, size and digest.
    pub pins: BTreeMap<String, repository::Pin>,
}

/// What a folder holds: path below it -> size and digest, or nothing for a folder.
pub(crate) type Listing = BTreeMap<PathBuf, Option<(Digest, u64)>>;

impl Bench {
    /// A bench on which every build succeeds.
    pub(crate) fn new() -> Self {
        Self::with(Scripts::default())
    }

    /// A bench with other tools.
    pub(crate) fn with(scripts: Scripts) -> Self {
        let dir = tempfile::Builder::new().prefix("lepton-bad-input-").tempdir().expect("a temporary folder");
        let mirror = Mirror::start();
        let pins = repository::write(&dir.path().join("repo"), &mirror, &scripts);
        let bench = Self { dir, mirror, pins };
        for folder in [bench.store(), bench.out(), bench.path("home")] {
            fs::create_dir(folder).expect("a folder in a new folder");
        }
        bench
    }

    /// A path in the bench's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The output folder.
    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// The store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a file of the repository.
    pub(crate) fn write(&self, name: &str, text: &str) {
        repository::write_file(&self.path("repo"), name, text);
    }

    /// Replaces the only `from` in a file of the repository.
    pub(crate) fn replace(&self, name: &str, from: &str, to: &str) {
        let path = self.path("repo").join(name);
        let text = fs::read_to_string(&path).expect("a file of the repository");
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {name}");
        fs::write(path, text.replace(from, to)).expect("a file of the repository");
    }

    /// `program` in the environment of this bench: nothing of the machine's own reaches it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).current_dir(self.dir.path());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.path("home"));
        command.env("LEPTON_STORE", self.store()).env("LEPTON_DEBIAN_MIRROR", self.mirror.address());
        // The only thing asked of it is to vendor crates, and the repository uses none.
        command.env("CARGO", "/bin/true");
        command
    }

    /// `cargo xtask` with these arguments on this bench's repository.
    pub(crate) fn xtask(&self, args: &[&str]) -> Command {
        let mut command = self.command(XTASK);
        command.args(args).arg("--repo").arg(self.path("repo"));
        command
    }

    /// `cargo xtask image tiny` with more arguments.
    pub(crate) fn image(&self, more: &[&str]) -> Command {
        let mut command = self.xtask(&["image", "tiny", "--format", "uki,pxe"]);
        command.args(more).arg("--out").arg(self.out());
        command
    }

    /// The same in namespaces of its own, in which a shell has run `setup` first and runs `check` afterwards.
    pub(crate) fn image_after(&self, setup: &str, unshare: &[&str], check: &str) -> Command {
        let mut command = self.command("unshare");
        let script = format!("{setup} || exit 99; \"$@\"; code=$?; {check}; exit $code");
        command
            .args(unshare)
            .args(["sh", "-c", &script, "sh", XTASK, "image", "tiny", "--format", "uki,pxe"]);
        command.arg("--out").arg(self.out()).arg("--repo").arg(self.path("repo"));
        command
    }

    /// Builds, which must succeed.
    pub(crate) fn build(&self) -> Listing {
        let output = run(self.image(&[]));
        assert!(output.status.success(), "{}", text(&output));
        self.assert_no_leftovers();
        listing(&self.out())
    }

    /// Fails with this exit code and one error that says all of `words`; nothing new in the output folder and
    /// nothing temporary anywhere.
    pub(crate) fn fails(&self, command: Command, code: i32, words: &[&str]) -> String {
        let before = listing(&self.out());
        let output = run(command);
        let text = text(&output);
        assert_failure(output.status, &text, code, words);
        assert_eq!(listing(&self.out()), before, "the output folder changed\n{text}");
        self.assert_no_leftovers();
        text
    }

    /// No temporary folder in the output folder or the store.
    pub(crate) fn assert_no_leftovers(&self) {
        for folder in [self.out(), self.store().join("work")] {
            for name in names(&folder) {
                let wanted = ["lepton-", "SHA256SUMS", "cache-"].iter().any(|start| name.starts_with(start));
                assert!(wanted, "{name} is left in {} {:?}", folder.display(), listing(&folder.join(&name)));
            }
        }
    }
}

/// Runs to the end.
pub(crate) fn run(mut command: Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Starts, with its standard error kept.
pub(crate) fn start(mut command: Command) -> std::process::Child {
    command.stderr(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Everything that is left of a child's standard error.
pub(crate) fn rest_of_errors(child: &mut std::process::Child) -> String {
    let mut text = String::new();
    let mut stream = child.stderr.take().expect("standard error is kept");
    stream.read_to_string(&mut text).expect("standard error is text");
    text
}

/// The exit code, one error, and what it says.
pub(crate) fn assert_failure(status: ExitStatus, text: &str, code: i32, words: &[&str]) {
    assert_eq!(status.code(), Some(code), "{status}\n{text}");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("error: ")).count(),
        1,
        "one error is wanted\n{text}"
    );
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in\n{text}");
    }
}

/// What a program printed on standard error.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let listed = WalkDir::new(folder).min_depth(1).max_depth(1).sort_by_file_name().into_iter().flatten();
    listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The only entry of a folder whose name starts like this, or the only one at all.
pub(crate) fn only(folder: &Path, start: &str) -> PathBuf {
    let found: Vec<String> = names(folder).into_iter().filter(|name| name.starts_with(start)).collect();
    assert_eq!(found.len(), 1, "{found:?} in {}", folder.display());
    folder.join(&found[0])
}

/// Everything in a folder.
pub(crate) fn listing(folder: &Path) -> Listing {
    let listed = WalkDir::new(folder).min_depth(1).sort_by_file_name();
    let facts = |entry: walkdir::DirEntry| {
        let path = entry.path().strip_prefix(folder).expect("it was found below").to_owned();
        let is_file = entry.file_type().is_file();
        (path, is_file.then(|| Digest::of_file(entry.path()).expect("a readable file")))
    };
    listed.into_iter().map(|entry| facts(entry.expect("a readable folder"))).collect()
}

/// Changes one byte in the middle of a file.
pub(crate) fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("a file to damage");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("a file to damage");
}
