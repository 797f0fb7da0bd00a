//! `docs/hardening.md`, from the built configurations, the fragments' comments, the list of exceptions and the plan.
//! What a fragment asks for is not taken for granted: every value is looked up in the built configuration.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use lepton_builder::arch::Arch;
use lepton_builder::build;
use lepton_builder::hardening::{EXCEPTIONS_FILE, Exceptions};
use lepton_builder::spec::Catalog;

/// Sections of fragments that are about hardening: fragment, and how the title begins (nothing: every section).
const SECTIONS: [(&str, &str); 5] = [
    ("hardening", ""),
    ("x86_64", "IOMMU"),
    ("x86_64", "hardening"),
    ("aarch64", "IOMMU"),
    ("aarch64", "hardening"),
];

/// What stands before everything that is generated.
const INTRODUCTION: &str = "\
# Hardening

<!-- Written by `cargo xtask docs` from kernel-config/ and the default image. Do not edit. -->

What protects the kernel of every image, as it is in the built configurations of both architectures.
A build fails when `kernel-hardening-checker` finds anything that is neither asked for nor listed below as an exception, \
and when an exception no longer is one.
What protects user space, and against whom, is in SECURITY.md.
";

/// What a benchmark says of a node that joined a cluster. Its tool runs beside a node and not in the tests.
const BENCHMARK: &str = "
## Nodes, by the CIS benchmark

kube-bench's checks of nodes (CIS Kubernetes Benchmark 1.12, target `node`), in a privileged pod on a host of the image `node` that joined a cluster: \
22 pass, 1 fails, and 2 are for people to judge.
The tool was told where this host keeps what it asks for: `/run/lepton/kubelet/config.json`, `/run/lepton/kubelet/client-ca.pem` and \
`/var/lib/kubelet/kubeconfig`.

| check | says | why it is so |
|---|---|---|
| 4.1.1 permissions of kubelet's service file | fail | There is no unit of systemd, and so no file where the check looks. What PID 1 starts \
kubelet from lies in the root, a file system that nobody can write to, and holds no secret. |
| 4.2.7 `--hostname-override` is not set | to be judged | The node's name is the machine config's `hostname` or `node-name`; the certificate that the \
cluster gave the node is for that name alone. |
| 4.2.9 `--tls-cert-file` and `--tls-private-key-file` are set | to be judged | The serving certificate comes from the cluster and is renewed before it \
ends (`serverTLSBootstrap`); files that do not change would end. |
";

/// The text of the document.
pub(crate) fn text(repo: &Path) -> Result<String> {
    let mut text = String::from(INTRODUCTION);
    let built = Arch::ALL.map(|arch| {
        let name = format!("kernel-config/resolved/{arch}.config");
        let config = fs::read_to_string(repo.join(&name)).with_context(|| format!("cannot read {name}"))?;
        Ok::<_, anyhow::Error>((arch, answers(&config)))
    });
    let built: Vec<(Arch, BTreeMap<String, String>)> = built.into_iter().collect::<Result<_>>()?;
    text.push_str("\n## What is on, and what is left out\n");
    for (fragment, title) in SECTIONS {
        let name = format!("kernel-config/{fragment}.config");
        let lines = fs::read_to_string(repo.join(&name)).with_context(|| format!("cannot read {name}"))?;
        let arch: Option<Arch> = fragment.parse().ok();
        let sections: Vec<Section> =
            sections(&lines).into_iter().filter(|section| section.title.starts_with(title)).collect();
        ensure!(!sections.is_empty(), "{name} has no section {title:?}");
        for section in sections {
            write_section(&mut text, &section, arch, &built)?;
        }
    }
    write_exceptions(&mut text, &Exceptions::load(repo)?)?;
    write_command_lines(&mut text, repo)?;
    text.push_str(BENCHMARK);
    Ok(text)
}

/// A titled part of a fragment.
struct Section {
    title: String,
    groups: Vec<Group>,
}

/// Symbols below one comment.
#[derive(Default)]
struct Group {
    reason: Vec<String>,
    symbols: Vec<String>,
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# ---- ") {
            sections.push(Section { title: title.to_owned(), groups: Vec::new() });
            continue;
        }
        let Some(section) = sections.last_mut() else { continue };
        if let Some(symbol) = symbol(line) {
            if section.groups.is_empty() {
                section.groups.push(Group::default());
            }
            if let Some(group) = section.groups.last_mut() {
                group.symbols.push(symbol.to_owned());
            }
        } else if let Some(comment) = line.strip_prefix("# ") {
            match section.groups.last_mut() {
                Some(group) if group.symbols.is_empty() => group.reason.push(comment.to_owned()),
                _ => section.groups.push(Group { reason: vec![comment.to_owned()], symbols: Vec::new() }),
            }
        }
    }
    sections
}

/// The symbol that a line of a fragment answers.
fn symbol(line: &str) -> Option<&str> {
    let off = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set"));
    let symbol = off.or_else(|| line.split_once('=').map(|(symbol, _)| symbol))?;
    symbol.strip_prefix("CONFIG_").filter(|name| !name.contains(' '))
}

/// Every symbol of a configuration with its value; a symbol that is not there is off.
fn answers(config: &str) -> BTreeMap<String, String> {
    let pairs = config.lines().filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='));
    pairs.map(|(symbol, value)| (symbol.to_owned(), value.to_owned())).collect()
}

fn write_section(
    text: &mut String,
    section: &Section,
    only: Option<Arch>,
    built: &[(Arch, BTreeMap<String, String>)],
) -> Result<()> {
    let place = only.map(|arch| format!(" ({arch})")).unwrap_or_default();
    writeln!(text, "\n### {}{place}\n", capitalised(&section.title))?;
    for group in &section.groups {
        let mut shown = Vec::new();
        for symbol in &group.symbols {
            let values: Vec<(Arch, &str)> = built
                .iter()
                .filter(|(arch, _)| only.is_none_or(|only| only == *arch))
                .map(|(arch, values)| (*arch, values.get(symbol).map_or("off", String::as_str)))
                .collect();
            shown.push(setting(symbol, &values));
        }
        let reason = group.reason.join(" ");
        let reason = if reason.is_empty() { String::new() } else { format!("{reason}\n  ") };
        writeln!(text, "* {reason}{}", shown.join(", "))?;
    }
    Ok(())
}

/// A symbol with its value: alone when it is `y`, in words when it is off, for each architecture when they differ.
fn setting(symbol: &str, values: &[(Arch, &str)]) -> String {
    let one = |value: &str| match value {
        "y" => format!("`{symbol}`"),
        "off" => format!("no `{symbol}`"),
        value => format!("`{symbol}={value}`"),
    };
    match values {
        [(_, first), rest @ ..] if rest.iter().all(|(_, value)| value == first) => one(first),
        _ => values
            .iter()
            .map(|(arch, value)| format!("{} ({arch})", one(value)))
            .collect::<Vec<_>>()
            .join(" / "),
    }
}

fn write_exceptions(text: &mut String, exceptions: &Exceptions) -> Result<()> {
    writeln!(text, "\n## What is recommended and refused\n\nEach with the reason ({EXCEPTIONS_FILE}).\n")?;
    for exception in &exceptions.list {
        let names: Vec<String> = exception
            .symbols
            .iter()
            .map(|name| format!("`{}`", name.trim_start_matches("CONFIG_")))
            .collect();
        let arches = exception.arch.iter().flatten().copied().map(Arch::name).collect::<Vec<_>>().join(", ");
        let arches = if arches.is_empty() { arches } else { format!(" ({arches} only)") };
        writeln!(text, "* {}{arches}: {}", names.join(", "), exception.reason)?;
    }
    Ok(())
}

fn write_command_lines(text: &mut String, repo: &Path) -> Result<()> {
    let catalog = Catalog::new(repo);
    let image = catalog.default_image()?;
    writeln!(
        text,
        "\n## Kernel command line\n\nOf the image `{image}`; docs/kernel.md explains the words.\n"
    )?;
    for arch in Arch::ALL {
        let plan = build::plan(&catalog, &image, arch)?;
        writeln!(text, "{arch}:\n\n```\n{}\n```\n", plan.cmdline)?;
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(())
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_the_reasons_of_the_symbols_below() {
        let text = "# file\nCONFIG_BEFORE=y\n# ---- one: title\n\nCONFIG_A=y\n# why\n# and why\nCONFIG_B=3\n# CONFIG_C is not set\n\n# else\nCONFIG_D=y\n";
        let [section] = &sections(text)[..] else { panic!("one section") };
        let groups: Vec<String> = section
            .groups
            .iter()
            .map(|group| format!("{}: {}", group.reason.join(" "), group.symbols.join(" ")))
            .collect();
        assert_eq!(section.title, "one: title");
        assert_eq!(groups, [": A", "why and why: B C", "else: D"]);
    }

    #[test]
    fn what_is_shown_is_what_was_built() {
        let [x86, arm] = Arch::ALL;
        assert_eq!(setting("A", &[(x86, "y"), (arm, "y")]), "`A`");
        assert_eq!(setting("A", &[(x86, "off")]), "no `A`");
        assert_eq!(setting("A", &[(x86, "32"), (arm, "off")]), "`A=32` (x86_64) / no `A` (aarch64)");
        assert_eq!(
            answers("CONFIG_A=y\n# CONFIG_B is not set\n"),
            BTreeMap::from([("A".into(), "y".into())])
        );
    }

    #[test]
    fn a_symbol_taken_back_changes_the_document() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = text(repo).unwrap();
        assert!(text.contains("`STACKPROTECTOR_STRONG`"), "{text}");
        assert!(text.contains("no `DEVMEM`"), "{text}");
    }
}
