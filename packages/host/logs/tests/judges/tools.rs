//! Programs that are not ours.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names the tool tree.
const TREE: &str = "LEPTON_TEST_MONITORING";

/// What a variable names.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told where programs are, and nothing is built by it"
)]
pub(crate) fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        eprintln!("left out: {variable} is not set; `cargo xtask test` sets it");
    }
    path
}

/// The tool tree with rsyslog.
pub(crate) struct Tree(PathBuf);

impl Tree {
    pub(crate) fn find() -> Option<Self> {
        named(TREE).map(Self)
    }

    /// A program of the tree, with its own loader and libraries.
    #[expect(clippy::disallowed_methods, reason = "these programs are the judges")]
    pub(crate) fn command(&self, program: &str) -> Command {
        let loaders = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"];
        let mut loaders = loaders.into_iter().map(|name| self.0.join("usr").join(name));
        let mut command = Command::new(loaders.find(|loader| loader.exists()).unwrap());
        command.arg("--library-path").arg(self.libraries()).arg(self.0.join(program)).env_clear();
        // The machine's own settings of OpenSSL are none of a test's.
        command.env("OPENSSL_CONF", "/dev/null");
        command
    }

    pub(crate) fn libraries(&self) -> PathBuf {
        self.0.join(Path::new("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH)))
    }
}
