//! The program with the specs (`images/boot-tests/go/e2e`): which there are, and what comes out of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use lepton_builder::arch::Arch;
use lepton_builder::process::Process;
use serde::Deserialize;

use super::record::Outcome;

/// The specs that judge nodes.
const LABEL: &str = "NodeConformance";
/// Those that nothing else may run beside.
const SERIAL: &str = "Serial";
/// What the suite puts before the name of a spec when it compares it with a focus.
const SUITE: &str = "Kubernetes e2e suite";
/// Longest reason of a failure, in characters: the assertion is at its beginning.
const LONGEST: usize = 300;

/// A line of the file that the program writes.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Line {
    /// The spec.
    pub(super) name: String,
    #[serde(default)]
    labels: Option<Vec<String>>,
    state: String,
    #[serde(default)]
    pub(super) seconds: f64,
    #[serde(default)]
    message: String,
}

/// What every run has in common.
#[derive(Debug)]
pub(super) struct Suite<'a> {
    /// The file that says where it finds the images of pods.
    pub(super) registries: &'a Path,
    /// Folder for its files.
    pub(super) out: &'a Path,
    /// Architecture of the nodes.
    pub(super) arch: Arch,
}

/// One run of the program.
#[derive(Debug)]
pub(super) struct Run {
    /// What it says.
    pub(super) log: PathBuf,
    outcomes: PathBuf,
    process: Process,
}

/// The specs of the suite, by name, each with whether it must run alone.
pub(super) fn list(program: &Path, out: &Path) -> Result<Vec<(String, bool)>> {
    let outcomes = fresh(&out.join("list.json"))?;
    Process::new(program)
        .inherit_env()
        .args(["--ginkgo.dry-run", "--ginkgo.label-filter", LABEL, "--provider=skeleton", "--outcomes"])
        .arg(&outcomes)
        .output()?;
    let lines = read(&outcomes)?;
    if lines.is_empty() {
        bail!("the suite has no specs labelled {LABEL}");
    }
    let is_serial = |line: &Line| line.labels.iter().flatten().any(|label| label == SERIAL);
    Ok(lines.into_iter().map(|line| (line.name.clone(), is_serial(&line))).collect())
}

impl Suite<'_> {
    /// A run of these specs, whose files are called `name`; `process` is the program, which knows the cluster.
    pub(super) fn run(&self, name: &str, specs: &[String], process: Process) -> Result<Run> {
        let outcomes = fresh(&self.out.join(format!("{name}.json")))?;
        let process = process
            .env("KUBE_TEST_REPO_LIST", self.registries)
            .args(["--provider=skeleton", "--node-os-distro=custom", "--ginkgo.no-color", "--ginkgo.v"])
            .args(["--node-os-arch", self.arch.golang(), "--ginkgo.label-filter", LABEL])
            .args(["--ginkgo.focus", &focus(specs), "--outcomes"])
            .arg(&outcomes);
        Ok(Run { log: self.out.join(format!("{name}.log")), outcomes, process })
    }
}

impl Run {
    /// Starts it and waits for its end. A suite with a failed spec fails, too; what counts are the lines.
    pub(super) fn wait(&self) -> Result<()> {
        let log = File::create(&self.log).with_context(|| format!("cannot make {}", self.log.display()))?;
        let errors = log.try_clone().context("cannot share a file")?;
        self.process.spawn(Stdio::null(), log.into(), errors.into())?.wait().context("cannot wait")?;
        Ok(())
    }

    /// What is known by now.
    pub(super) fn lines(&self) -> Result<Vec<Line>> {
        read(&self.outcomes)
    }
}

impl Line {
    /// What it means for the record.
    pub(super) fn outcome(&self) -> (Outcome, String) {
        let reason = shorten(&self.message);
        match self.state.as_str() {
            "passed" => (Outcome::Passed, reason),
            "skipped" | "pending" => (Outcome::NotRun, reason),
            "failed" => (Outcome::Failed, reason),
            other => (Outcome::Failed, format!("{other}: {reason}")),
        }
    }
}

/// A file that is not there yet, in a folder that is.
fn fresh(path: &Path) -> Result<PathBuf> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(path.to_owned()),
    }
}

/// The whole lines of a file that may still be written to; none when there is none yet.
fn read(path: &Path) -> Result<Vec<Line>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str(line).with_context(|| format!("cannot understand {line}")))
        .collect()
}

/// The regular expression for exactly these specs.
fn focus(specs: &[String]) -> String {
    let names: Vec<String> = specs.iter().map(|name| escape(name)).collect();
    format!("^{SUITE} (?:{})$", names.join("|"))
}

fn escape(text: &str) -> String {
    text.chars().flat_map(|c| "\\.+*?()|[]{}^$".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// The beginning of what a spec says, on one line.
fn shorten(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_focus_is_of_these_specs_alone() {
        let names = ["[sig-node] a (b) [X]".to_owned(), "c.d|e".to_owned()];
        assert_eq!(focus(&names), r"^Kubernetes e2e suite (?:\[sig-node\] a \(b\) \[X\]|c\.d\|e)$");
    }

    #[test]
    fn lines_become_outcomes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert!(read(&path).unwrap().is_empty());
        let text = concat!(
            r#"{"name":"a","labels":["Serial"],"state":"passed","seconds":1.5,"message":"","place":""}"#,
            "\n",
            r#"{"name":"b","labels":null,"state":"skipped","seconds":0,"message":"Requires at least\n 2 nodes","place":"x"}"#,
            "\n",
            r#"{"name":"c","labels":[],"state":"timedout","message":"late"}"#,
            "\n",
            r#"{"name":"half"#,
        );
        fs::write(&path, text).unwrap();
        let found: Vec<_> = read(&path).unwrap().iter().map(Line::outcome).collect();
        let wanted = [
            (Outcome::Passed, String::new()),
            (Outcome::NotRun, "Requires at least 2 nodes".to_owned()),
            (Outcome::Failed, "timedout: late".to_owned()),
        ];
        assert_eq!(found, wanted);
        assert_eq!(shorten(&"ü".repeat(400)).chars().count(), LONGEST + 1);
    }
}
