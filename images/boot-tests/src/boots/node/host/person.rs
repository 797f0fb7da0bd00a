//! A person at a workstation, who has the command line `lepton` and a folder of their own.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lepton_builder::process::{Process, ProcessError};

use crate::context::TestError;

/// The trust domain of the test.
const DOMAIN: &str = "lab.example.org";
/// How long a state is waited for, on a machine that emulates two others.
const WAIT: Duration = Duration::from_secs(240);

/// The person at the workstation.
pub(in crate::boots::node) struct Person {
    program: PathBuf,
    home: PathBuf,
    /// What was run last, for a failure.
    last: RefCell<String>,
}

/// What a call of `lepton` came to.
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) text: String,
}

impl Person {
    /// One who has nothing but the folder `home` and the programs of `folder`.
    pub(in crate::boots::node) fn new(folder: &Path, home: &Path) -> Self {
        let (program, home) = (folder.join("lepton-remote"), home.to_owned());
        Self { program, home, last: RefCell::default() }
    }

    /// Makes a trust domain in a folder; gives what of it goes into the machine config of its hosts.
    pub(in crate::boots::node) fn trust_domain(&self, folder: &str) -> Result<String, TestError> {
        let made = self.run(&["keys", "new", folder, "--trust-domain", DOMAIN])?;
        self.require(made.code == 0, || made.text)?;
        let path = self.home.join(folder).join("host.toml");
        std::fs::read_to_string(&path).map_err(TestError::file("read", &path))
    }

    /// Runs `lepton` with these words.
    pub(super) fn run(&self, words: &[&str]) -> Result<Said, TestError> {
        *self.last.borrow_mut() = words.join(" ");
        let process = Process::new(&self.program).args(words.iter().copied()).cwd(&self.home);
        let config = self.home.join(".config");
        match process.env("HOME", &self.home).env("XDG_CONFIG_HOME", config).output() {
            Ok(text) => Ok(Said { code: 0, text }),
            Err(ProcessError::Failed { status, tail, .. }) => {
                Ok(Said { code: status.code().unwrap_or(-1), text: tail })
            }
            Err(error) => Err(TestError::Tool(error)),
        }
    }

    /// Runs `lepton` with these words, which must end with this exit code.
    pub(super) fn ask(&self, code: i32, words: &[&str]) -> Result<String, TestError> {
        let said = self.run(words)?;
        self.require(said.code == code, || {
            format!("it ends with {code}, not with {}:\n{}", said.code, said.text)
        })?;
        Ok(said.text)
    }

    /// Runs `lepton` with these words; every part must be in the answer.
    pub(super) fn sees(&self, words: &[&str], parts: &[&str]) -> Result<String, TestError> {
        let text = self.ask(0, words)?;
        for part in parts {
            self.require(text.contains(part), || format!("{part:?} is in\n{text}"))?;
        }
        Ok(text)
    }

    /// Asks until a part is in the answer.
    pub(super) fn until(&self, words: &[&str], part: &str) -> Result<(), TestError> {
        let deadline = Instant::now() + WAIT;
        loop {
            let said = self.run(words)?;
            if said.code == 0 && said.text.contains(part) {
                return Ok(());
            }
            self.require(Instant::now() < deadline, || format!("{part:?} never comes:\n{}", said.text))?;
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// What is so, or a failure with what was run last.
    pub(super) fn require(&self, holds: bool, fact: impl FnOnce() -> String) -> Result<(), TestError> {
        match holds {
            true => Ok(()),
            false => Err(TestError::Refused {
                judge: "a person at a workstation",
                reason: format!("lepton {}: {}", self.last.borrow(), fact()),
            }),
        }
    }

    /// A file of their folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Writes a file of their folder.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), TestError> {
        let path = self.path(name);
        std::fs::write(&path, text).map_err(TestError::file("write", &path))
    }
}
