//! Runs the tools of the tool tree on artifacts, which they see read-only below `/in`.

use std::path::Path;

use lepton_builder::process::ProcessError;
use lepton_builder::sandbox::Sandbox;

use crate::Context;
use crate::context::TestError;
use crate::runner::Peer;

/// Exit code of a sandbox that could not be made or whose tool died by a signal.
const NO_VERDICT: i32 = 125;

/// `program`, which sees `file` as [`shown`] says.
pub(super) fn on(cx: &Context, program: &str, file: &Path) -> Sandbox {
    Sandbox::new(&cx.tools, program).read_only(file, &shown(file))
}

/// Where a tool sees `file`.
pub(super) fn shown(file: &Path) -> String {
    format!("/in/{}", file.file_name().unwrap_or(file.as_os_str()).to_string_lossy())
}

/// The tool tree's Python with the wheels of `python/requirements.txt`, running the statements `code`; it sees `file`
/// as [`shown`] says.
pub(super) fn python(cx: &Context, code: &str, file: &Path) -> Result<Sandbox, TestError> {
    let tree = cx.peer(Peer::Python)?;
    // Some wheels need more than a folder on the search path: `.pth` files of their own.
    let start = format!("import site; site.addsitedir('/python')\n{code}");
    Ok(on(cx, "python3", file).read_only(tree, "/python").args(["-B", "-c", &start]))
}

/// Exit code of `grep` that found nothing.
const NOTHING_FOUND: i32 = 1;

/// All that the tool printed; its failure is a refusal by `judge`.
pub(super) fn ask(judge: &'static str, tool: &Sandbox) -> Result<String, TestError> {
    let mut text = String::new();
    let ended = tool.run(|line| {
        text.push_str(line);
        text.push('\n');
    });
    ended.map(|()| text).map_err(|error| refusal(judge, error))
}

/// What the tool printed on standard output, for reports that programs read.
pub(super) fn report(judge: &'static str, tool: &Sandbox) -> Result<String, TestError> {
    tool.process().output().map_err(|error| refusal(judge, error))
}

/// What a search printed, or that it found nothing.
pub(super) fn find(judge: &'static str, tool: &Sandbox) -> Result<Option<String>, TestError> {
    match tool.process().output() {
        Err(ProcessError::Failed { status, .. }) if status.code() == Some(NOTHING_FOUND) => Ok(None),
        found => found.map(Some).map_err(|error| refusal(judge, error)),
    }
}

fn refusal(judge: &'static str, error: ProcessError) -> TestError {
    match &error {
        ProcessError::Failed { status, .. } if status.code() != Some(NO_VERDICT) => {
            TestError::Refused { judge, reason: error.to_string() }
        }
        _ => TestError::Tool(error),
    }
}
