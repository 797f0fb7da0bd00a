//! Which Go modules a program was compiled from, as the program itself says: the linker writes the list into it.
//!
//! `go version -m` prints that list; nothing is guessed from `go.mod`, which also names modules that no program uses.

use std::fs;
use std::path::Path;

use ct_codecs::{Base64, Decoder as _};
use serde::{Deserialize, Serialize};

use super::{CompileError, file_error};

/// Name of the list in the output of a Go program.
pub fn list_of(program: &str) -> String {
    format!("{program}.modules.json")
}

/// One module that took part in a build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Module {
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: String,
    /// Hash of its files as `go.sum` has it (`h1:` and 44 characters of base64).
    pub sum: String,
}

/// The modules of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Modules {
    /// The one that has the program.
    pub main: Module,
    /// Those that it uses, sorted.
    pub others: Vec<Module>,
}

/// The modules of a program, from the list in its output folder.
pub fn load(path: &Path) -> Result<Modules, CompileError> {
    let text = fs::read(path).map_err(file_error("read", path))?;
    serde_json::from_slice(&text).map_err(|error| unusable(path, error.to_string()))
}

/// Reads what `go version -m PROGRAM` prints.
pub(super) fn parse(text: &str, program: &str) -> Result<Modules, CompileError> {
    let (main, others) = read(text, program, true)?;
    let fail =
        || unusable(Path::new(program), "`go version -m` names no module of its main package".to_owned());
    Ok(Modules { main: main.ok_or_else(fail)?, others })
}

/// The same of a program whose main package is ours, and without a version: its main module is the one that `package`
/// is of.
pub(super) fn parse_own(text: &str, program: &str, package: &str) -> Result<Modules, CompileError> {
    let (_, mut others) = read(text, program, false)?;
    let is_its = |module: &Module| {
        package.strip_prefix(&module.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let longest = others.iter().enumerate().filter(|(_, module)| is_its(module));
    let index =
        longest.max_by_key(|(_, module)| module.path.len()).map(|(index, _)| index).ok_or_else(|| {
            unusable(Path::new(program), format!("`go version -m` names no module of {package}"))
        })?;
    Ok(Modules { main: others.remove(index), others })
}

/// The module of the main package, where `with_main` says that it is pinned, and all others, sorted.
fn read(text: &str, program: &str, with_main: bool) -> Result<(Option<Module>, Vec<Module>), CompileError> {
    let fail = |message: String| unusable(Path::new(program), message);
    let (mut main, mut others) = (None, Vec::new());
    for line in text.lines() {
        let fields: Vec<&str> = line.trim_start().split('\t').collect();
        let module = || match fields[..] {
            [_, path, version, sum] if sum.starts_with("h1:") => {
                Ok(Module { path: path.to_owned(), version: version.to_owned(), sum: sum.to_owned() })
            }
            _ => Err(fail(format!("the line {line:?} of `go version -m` names no pinned module"))),
        };
        match fields.first() {
            Some(&"mod") if with_main => main = Some(module()?),
            // Replaced by the next line: without a sum of its own.
            Some(&"dep") if fields.len() == 3 => {}
            Some(&"dep" | &"=>") => others.push(module()?),
            _ => {}
        }
    }
    others.sort();
    Ok((main, others))
}

impl Module {
    /// The bytes of its hash in hexadecimal digits, as the digest `dirHash` of in-toto is written.
    pub fn dir_hash(&self) -> Option<String> {
        let bytes = Base64::decode_to_vec(self.sum.strip_prefix("h1:")?, None).ok()?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn unusable(path: &Path, message: String) -> CompileError {
    CompileError::Manifest { path: path.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn module(path: &str, version: &str) -> Module {
        Module { path: path.into(), version: version.into(), sum: SUM.into() }
    }

    #[test]
    fn the_list_that_go_prints() {
        let text = format!(
            "/out/one: go1.26.8\n\tpath\texample.org/m/one\n\tmod\texample.org/m\tv1.2.3\t{SUM}\n\
             \tdep\texample.org/z\tv0.1.0\t{SUM}\n\tdep\texample.org/a\tv0.0.0\n\t=>\texample.org/fork\tv0.2.0\t{SUM}\n\
             \tbuild\t-trimpath=true\n"
        );
        let found = parse(&text, "one").unwrap();
        assert_eq!(found.main, module("example.org/m", "v1.2.3"));
        assert_eq!(found.others, [module("example.org/fork", "v0.2.0"), module("example.org/z", "v0.1.0")]);
        let hash = found.main.dir_hash().unwrap();
        assert!(hash.starts_with("e3b0c44298fc1c14") && hash.len() == 64, "{hash}");
    }

    #[test]
    fn a_program_of_ours_made_of_pinned_packages() {
        let text = format!(
            "/out/all: go1.26.8\n\tpath\tours\n\tmod\tours\t(devel)\t\n\tdep\texample.org/m\tv1.2.3\t{SUM}\n\
             \tdep\texample.org/m/one\tv0.3.0\t{SUM}\n\tdep\texample.org/mm\tv0.1.0\t{SUM}\n"
        );
        let found = parse_own(&text, "all", "example.org/m/one/cmd").unwrap();
        assert_eq!(found.main, module("example.org/m/one", "v0.3.0"));
        assert_eq!(found.others, [module("example.org/m", "v1.2.3"), module("example.org/mm", "v0.1.0")]);
        let none = parse_own(&text, "all", "example.org/other").unwrap_err();
        assert!(none.to_string().contains("no module of example.org/other"), "{none}");
    }

    #[test]
    fn a_program_that_is_not_pinned_is_refused() {
        let none = parse("/out/one: go1.26.8\n", "one").unwrap_err();
        assert!(none.to_string().contains("names no module of its main package"), "{none}");
        let local = parse("one: go1.26.8\n\tmod\texample.org/m\t(devel)\t\n", "one").unwrap_err();
        assert!(local.to_string().contains("names no pinned module"), "{local}");
    }
}
