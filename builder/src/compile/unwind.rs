//! What a program finds in place of an unwinder: functions that say that the stack has no more frames.
//!
//! Guest programs abort on panic and their Rust library was built without backtraces (`rust_std.rs`), so nothing
//! unwinds. Some crates (`anyhow`, through `std::backtrace`) still refer to the functions that walk a stack. An archive
//! of these is linked only where they are named: other programs do not grow.

use std::fs;

use super::{CompileError, file_error};
use crate::arch::Arch;
use crate::digest::{Digest, KeyBuilder};
use crate::store::Output;
use crate::tools::Toolbox;

/// The archive in the output.
pub(super) const ARCHIVE: &str = "libunwind.a";
/// Raised when this file builds differently from the same inputs.
const RECIPE: &str = "unwind-1";
/// Itanium C++ ABI, "Exception Handling", section 1: 5 is `_URC_END_OF_STACK`.
const SOURCE: &str = "\
int _Unwind_Backtrace(int (*trace)(void *, void *), void *argument) { (void)trace; (void)argument; return 5; }
unsigned long _Unwind_GetIP(void *context) { (void)context; return 0; }
unsigned long _Unwind_GetCFA(void *context) { (void)context; return 0; }
void *_Unwind_FindEnclosingFunction(void *address) { (void)address; return 0; }
";
const FLAGS: [&str; 6] =
    ["-c", "-Os", "-fPIC", "-ffreestanding", "-nostdinc", "-fno-asynchronous-unwind-tables"];

/// What the archive depends on.
pub(super) fn key(arch: Arch, toolbox: &Toolbox<'_>) -> Result<Digest, CompileError> {
    Ok(KeyBuilder::new(RECIPE)
        .with("target", arch.musl_target())
        .with("source", SOURCE)
        .with("flags", FLAGS.join(" "))
        .with_digest("rust", toolbox.key("rust")?)
        .finish())
}

/// The archive for `arch`, from the store when it is there.
pub(super) fn archive(arch: Arch, toolbox: &Toolbox<'_>) -> Result<Output, CompileError> {
    let key = key(arch, toolbox)?;
    if let Some(output) = toolbox.store.output(key)? {
        return Ok(output);
    }
    let tools = toolbox.tree("rust")?;
    let work = toolbox.store.scratch("unwind")?;
    let source = work.path().join("unwind.c");
    fs::write(&source, SOURCE).map_err(file_error("write", &source))?;
    let gnu = arch.gnu_triplet();
    let run = |program: &str, arguments: &[&str]| {
        let tool = tools.program(program).writable(work.path(), "/work").cwd("/work");
        tool.args(arguments.iter().copied()).run(|_| {})
    };
    run(&format!("{gnu}-gcc-14"), &[&FLAGS[..], &["unwind.c", "-o", "unwind.o"]].concat())?;
    // D: without times and owners.
    run(&format!("{gnu}-ar"), &["rcsD", ARCHIVE, "unwind.o"])?;
    let result = toolbox.store.scratch("unwind-output")?;
    let made = work.path().join(ARCHIVE);
    fs::copy(&made, result.path().join(ARCHIVE)).map_err(file_error("copy", &made))?;
    Ok(toolbox.store.add_output(result, key)?)
}
