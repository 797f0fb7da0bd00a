//! `lepton-multi-call`: the program that the name it is called by says, as BusyBox does it.
//!
//! Packages link to it under their programs' names. Each of these is a library with a `main`; what they share (HTTP, TLS,
//! the runtime, certificates) is in an image once.

use std::path::Path;
use std::process::ExitCode;

/// A name, and what it does.
type Program = (&'static str, fn() -> ExitCode);

/// Every program in here.
const PROGRAMS: &[Program] = &[
    ("identity", lepton_identity::main),
    ("kubelet-agent", lepton_kubelet::main),
    ("lepton", lepton_remote::main),
    ("lepton-ctr", lepton_ctr::main),
    ("lepton-host", lepton_host::main),
    ("lepton-id", lepton_id::main),
    ("lepton-logs", lepton_logs::main),
    ("lepton-pods", lepton_pods::main),
    ("lepton-route", lepton_route::main),
    ("runtime", lepton_runtime::main),
];

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    match find(Path::new(&called)) {
        Some(main) => main(),
        None => {
            let names: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).collect();
            eprintln!("lepton-multi-call: call it by one of its names: {}", names.join(", "));
            ExitCode::from(2)
        }
    }
}

/// The program that is meant.
fn find(called: &Path) -> Option<fn() -> ExitCode> {
    let name = called.file_name()?;
    PROGRAMS.iter().find(|(known, _)| name == *known).map(|(_, main)| *main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_the_last_part_of_its_path() {
        assert!(find(Path::new("/usr/bin/lepton-id")).is_some());
        assert!(find(Path::new("identity")).is_some());
        for other in ["", "/", "lepton-multi-call", "identity/", "leptons"] {
            assert_eq!(find(Path::new(other)).is_some(), other == "identity/", "{other:?}");
        }
    }

    /// Recipes link to it under these names, and nothing else checks that a link leads to a program.
    #[test]
    fn recipes_link_to_every_program_and_to_no_other() {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut linked = Vec::new();
        for recipe in walkdir::WalkDir::new(packages).min_depth(2).max_depth(2) {
            let recipe = recipe.unwrap();
            if recipe.file_name() == "package.toml" {
                let text = std::fs::read_to_string(recipe.path()).unwrap();
                let links = text.lines().filter_map(|line| line.strip_suffix(" = \"lepton-multi-call\""));
                linked.extend(
                    links.filter(|link| *link != "binary").map(|link| link.trim_matches('"').to_owned()),
                );
            }
        }
        linked.sort();
        let names: Vec<String> = PROGRAMS.iter().map(|(name, _)| format!("/usr/bin/{name}")).collect();
        assert_eq!(linked, names);
    }
}
