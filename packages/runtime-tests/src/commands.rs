//! The host's command line, as people use it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::judge::holds;

/// The program.
const LEPTON: &str = "/usr/bin/lepton";

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Runs a command to its end, without input.
pub(crate) fn lepton(words: &[&str]) -> Result<Said, String> {
    typed(words, "")
}

/// The same, which must succeed; gives its output.
pub(crate) fn done(words: &[&str]) -> Result<String, String> {
    let said = lepton(words)?;
    holds(said.code == Some(0), || format!("lepton {}: {said:?}", words.join(" ")))?;
    Ok(said.output)
}

/// Runs a command that reads this, and then the end of its input.
pub(crate) fn typed(words: &[&str], input: &str) -> Result<Said, String> {
    let failed = |error: std::io::Error| format!("{LEPTON} {}: {error}", words.join(" "));
    #[expect(clippy::disallowed_methods, reason = "it is the program that is judged")]
    let mut command = Command::new(LEPTON);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that reads nothing may have ended.
        let _ = stdin.write_all(input.as_bytes());
    }
    let Output { status, stdout, stderr } = child.wait_with_output().map_err(failed)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { code: status.code(), output: text(stdout), errors: text(stderr) })
}
