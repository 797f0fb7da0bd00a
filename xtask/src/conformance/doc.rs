//! `docs/conformance.md`: the record of specs for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::record::{Entry, Outcome, Record};

const INTRODUCTION: &str = "\
# Kubernetes' end-to-end specs

<!-- Written by `cargo xtask docs` from images/boot-tests/conformance.toml. Do not edit. -->

What comes out of those specs of Kubernetes' own end-to-end suite that judge nodes ([NodeConformance]), on a cluster whose nodes are images of \
this repository, in QEMU under emulation ([testing.md](testing.md)).
";

/// What is said of a spec that nobody ran yet.
const NOT_YET: &str = "no batch had it yet";

/// The text of the document.
pub(crate) fn text(repo: &Path) -> Result<String> {
    Ok(render(&Record::load(repo)?))
}

fn render(record: &Record) -> String {
    let of = |wanted: Outcome| {
        let has = move |entry: &Entry| entry.result.unwrap_or(Outcome::NotRun) == wanted;
        record.specs.iter().filter(move |(_, entry)| has(entry))
    };
    let count = |wanted| of(wanted).count();
    let mut text = String::from(INTRODUCTION);
    if record.specs.is_empty() {
        text.push_str("\nNo spec was run yet.\n");
        return text;
    }
    let line = |text: &mut String, line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).expect("writing to a string cannot fail");
        text.push('\n');
    };
    line(&mut text, format_args!("\n| specs | {} |\n|---|---|", record.specs.len()));
    line(&mut text, format_args!("| passed | {} |", count(Outcome::Passed)));
    line(&mut text, format_args!("| failed | {} |", count(Outcome::Failed)));
    line(&mut text, format_args!("| not run | {} |", count(Outcome::NotRun)));
    for (title, wanted) in [("Failed", Outcome::Failed), ("Not run", Outcome::NotRun)] {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, entry) in of(wanted) {
            let reason = if entry.result.is_none() { NOT_YET } else { entry.reason.as_str() };
            reasons.entry(reason).or_default().push(name);
        }
        if !reasons.is_empty() {
            line(&mut text, format_args!("\n## {title}"));
        }
        for (reason, names) in reasons {
            line(&mut text, format_args!("\n{}:\n", escape(reason)));
            names.iter().for_each(|name| line(&mut text, format_args!("- {}", escape(name))));
        }
    }
    if count(Outcome::Passed) > 0 {
        line(&mut text, format_args!("\n## Passed\n"));
        of(Outcome::Passed).for_each(|(name, _)| line(&mut text, format_args!("- {}", escape(name))));
    }
    text
}

/// As text of Markdown: on one line, and with nothing that means something there.
fn escape(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().flat_map(|c| "\\`*_<>[]|#".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spec_stands_below_what_came_out_of_it() {
        let mut record = Record::default();
        record.follow(&["[a] one".to_owned(), "two".to_owned(), "three".to_owned(), "four".to_owned()]);
        record.note("[a] one", Outcome::Passed, String::new());
        record.note("two", Outcome::Failed, "expected <1>\n got 2".to_owned());
        record.note("three", Outcome::NotRun, "needs two nodes".to_owned());
        let text = render(&record);
        let after = text.strip_prefix(INTRODUCTION).unwrap();
        let wanted = "\n| specs | 4 |\n|---|---|\n| passed | 1 |\n| failed | 1 |\n| not run | 2 |\n\
            \n## Failed\n\nexpected \\<1\\> got 2:\n\n- two\n\
            \n## Not run\n\nneeds two nodes:\n\n- three\n\nno batch had it yet:\n\n- four\n\
            \n## Passed\n\n- \\[a\\] one\n";
        assert_eq!(after, wanted);
        assert!(render(&Record::default()).ends_with("No spec was run yet.\n"));
    }
}
