//! The hardening gate of the build, asked again with the tools of the tests: it must be open for what was built, and
//! closed when a symbol, a word or an exception is not as it was.

use std::path::Path;

use lepton_builder::hardening::{Exceptions, Gate, HardeningError};

use super::case::{Defect, hold, scratch};
use super::plant::Copy;
use super::{Verdict, refuse};
use crate::Context;
use crate::context::TestError;

const JUDGE: &str = "kernel-hardening-checker";

/// The built configuration and the command line fail exactly the listed checks.
pub(super) fn kconfig(cx: &Context) -> Verdict {
    let config = cx.artifact("kconfig")?;
    let judge = |config: &Path| ask(cx, &cx.hardening, &cx.cmdline, config);
    let without = |copy: &Copy| {
        let text = String::from_utf8_lossy(&copy.read_all()?).into_owned();
        copy.replace(text.replace("CONFIG_STACKPROTECTOR_STRONG=y\n", "").as_bytes())
    };
    hold(&config, &judge, &[Defect::new("a hardening symbol that is gone", &without)])?;

    let must_refuse = |defect: &'static str, exceptions: &Exceptions, cmdline: &str| match ask(
        cx, exceptions, cmdline, &config,
    ) {
        Err(TestError::Refused { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(TestError::Blind { file: config.clone(), defect }),
    };
    // Off by its word, while the configuration has it on.
    let weak = format!("{} init_on_alloc=0", cx.cmdline);
    must_refuse("a word that turns a protection off", &cx.hardening, &weak)?;
    let mut fewer = cx.hardening.clone();
    fewer.list.pop();
    must_refuse("an exception that is not listed", &fewer, &cx.cmdline)?;
    let mut more = cx.hardening.clone();
    more.list.extend(more.list.first().cloned().map(|mut first| {
        first.symbols = vec!["CONFIG_STACKPROTECTOR_STRONG".to_owned()];
        first.arch = None;
        first
    }));
    must_refuse("an exception that no longer is one", &more, &cx.cmdline)
}

fn ask(cx: &Context, exceptions: &Exceptions, cmdline: &str, config: &Path) -> Verdict {
    let dir = scratch()?;
    let gate = Gate { exceptions, arch: cx.arch, cmdline };
    match gate.judge(&cx.tools, config, dir.path()) {
        Ok(_) => Ok(()),
        Err(HardeningError::Process(error)) => Err(TestError::Tool(error)),
        Err(error) => Err(refuse(JUDGE, error.to_string())),
    }
}
