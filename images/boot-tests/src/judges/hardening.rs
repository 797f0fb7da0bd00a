//! The kernel's configuration by kernel-hardening-checker: every complaint is an exception that is listed with its
//! reason, and every listed exception still is one, so that neither a new complaint nor a healed one goes unnoticed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lepton_builder::arch::Arch;
use serde::Deserialize;

use super::case::{Defect, hold};
use super::{Verdict, refuse, require, tool};
use crate::Context;
use crate::context::TestError;

const JUDGE: &str = "kernel-hardening-checker";

/// The list of exceptions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    #[serde(rename = "exception")]
    exceptions: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    symbols: Vec<String>,
    /// Absent: all of them.
    arch: Option<Vec<Arch>>,
    reason: String,
}

/// One line of the checker's report.
#[derive(Debug, Deserialize)]
struct Check {
    option_name: String,
    check_result_bool: bool,
}

/// The built configuration fails exactly the listed checks.
pub(super) fn kconfig(cx: &Context) -> Verdict {
    let expected = expected(&cx.hardening_exceptions, cx.arch)?;
    let config = cx.artifact("kconfig")?;
    let judge = |config: &Path| {
        // The checker goes by the file's name when it looks for compressed ones; ours has another extension.
        let ask = tool::on(cx, JUDGE, config).args(["-m", "json", "-c"]).arg(tool::shown(config));
        let report = tool::report(JUDGE, &ask)?;
        let checks: Vec<Check> = serde_json::from_str(&report)
            .map_err(|error| refuse(JUDGE, format!("cannot read its report: {error}")))?;
        let failed: BTreeSet<String> = checks
            .into_iter()
            .filter(|check| !check.check_result_bool)
            .map(|check| check.option_name)
            .collect();
        let list = |names: &BTreeSet<String>, others: &BTreeSet<String>| {
            names.difference(others).cloned().collect::<Vec<_>>().join(", ")
        };
        require(JUDGE, failed == expected, || {
            format!(
                "fails without being listed: [{}]; listed without failing: [{}]\nhint: kernel-config/hardening-exceptions.toml",
                list(&failed, &expected),
                list(&expected, &failed)
            )
        })
    };
    let without = |copy: &super::plant::Copy| {
        let text = String::from_utf8_lossy(&copy.read_all()?).into_owned();
        copy.replace(text.replace("CONFIG_STACKPROTECTOR_STRONG=y\n", "").as_bytes())
    };
    hold(&config, &judge, &[Defect::new("a hardening symbol that is gone", &without)])
}

fn expected(path: &Path, arch: Arch) -> Result<BTreeSet<String>, TestError> {
    let text = fs::read_to_string(path).map_err(TestError::file("read", path))?;
    let list: Exceptions = toml::from_str(&text)
        .map_err(|error| refuse(JUDGE, format!("cannot read {}: {error}", path.display())))?;
    let mut names = BTreeSet::new();
    for exception in list.exceptions {
        require(JUDGE, !exception.reason.is_empty(), || format!("{:?} has no reason", exception.symbols))?;
        if exception.arch.is_none_or(|arches| arches.contains(&arch)) {
            names.extend(exception.symbols);
        }
    }
    Ok(names)
}
