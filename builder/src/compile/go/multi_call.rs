//! One program instead of several: a multi-call binary, which acts as the command by whose name it is called.
//!
//! Each Go program brings Go's runtime and most of its library, so four small ones are nearly four times the size of one
//! that has them all. Go imports no package `main`: the files of those packages are copied into packages of the folder
//! that pins the modules, with `Main` for `main`, and a main package made here calls them. What they import stays where
//! it is.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::GoProgram;
use crate::compile::{CompileError, file_error};

/// The file of the main package, beside those of the folder that pins the modules.
const MAIN: &str = "multi_call.go";
/// What `go list -f` is to print of each package.
pub(super) const LIST_FORMAT: &str = "{{.ImportPath}}\t{{.Dir}}{{range .GoFiles}}\t{{.}}{{end}}";

/// Where the sandbox's folders lie outside of it.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// `/source`.
    pub stage: &'a Path,
    /// `/modules`.
    pub modules: &'a Path,
}

/// Writes the main package and the copies into the stage. `listed` is what `go list` printed in `LIST_FORMAT`.
pub(super) fn prepare(
    name: &str,
    programs: &[GoProgram<'_>],
    listed: &str,
    places: &Places<'_>,
) -> Result<(), CompileError> {
    for (index, program) in programs.iter().enumerate() {
        let fail = |message: String| CompileError::Manifest { path: program.package.into(), message };
        let mut fields = listed
            .lines()
            .map(|line| line.split('\t'))
            .find(|fields| fields.clone().next() == Some(program.package))
            .ok_or_else(|| fail("`go list` does not name it".to_owned()))?
            .skip(1);
        let folder = fields.next().unwrap_or_default();
        let below = folder
            .strip_prefix("/modules/")
            .ok_or_else(|| fail(format!("it lies in {folder}, which is no module")))?;
        let copies = places.stage.join(alias(index));
        fs::create_dir(&copies).map_err(file_error("make", &copies))?;
        let mut entries = 0;
        for file in fields {
            let path = places.modules.join(below).join(file);
            let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
            let (text, has_main) = importable(&text, &alias(index))
                .ok_or_else(|| fail(format!("{file} has no line `package main`")))?;
            entries += usize::from(has_main);
            let to = copies.join(file);
            fs::write(&to, text).map_err(file_error("write", &to))?;
        }
        if entries != 1 {
            return Err(fail(format!("it has {entries} functions main, not one")));
        }
    }
    let pins = places.stage.join("go.mod");
    let text = fs::read_to_string(&pins).map_err(file_error("read", &pins))?;
    let module = text.lines().find_map(|line| line.strip_prefix("module ")).ok_or_else(|| {
        CompileError::Manifest { path: pins, message: "it has no line `module NAME`".to_owned() }
    })?;
    let path = places.stage.join(MAIN);
    fs::write(&path, main(name, module.trim(), programs)).map_err(file_error("write", &path))
}

/// Name of the package that a program becomes.
fn alias(index: usize) -> String {
    format!("program{index}")
}

/// A file of a package `main` as one of the package `name`, and whether it has the function main; nothing when it is of
/// another package. gofmt writes both lines in one way only.
fn importable(text: &str, name: &str) -> Option<(String, bool)> {
    let (mut is_of_main, mut has_main) = (false, false);
    let mut changed = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive('\n') {
        match line.trim_end() {
            "package main" if !is_of_main => {
                is_of_main = true;
                let _ = writeln!(changed, "package {name}");
            }
            "func main() {" => {
                has_main = true;
                changed.push_str("func Main() {\n");
            }
            _ => changed.push_str(line),
        }
    }
    is_of_main.then_some((changed, has_main))
}

fn main(name: &str, module: &str, programs: &[GoProgram<'_>]) -> String {
    let mut imports = String::new();
    let mut cases = String::new();
    for (index, program) in programs.iter().enumerate() {
        let alias = alias(index);
        let _ = writeln!(imports, "\t\"{module}/{alias}\"");
        let _ = writeln!(cases, "\tcase {:?}:\n\t\t{alias}.Main()", program.name);
    }
    let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
    let said = format!("%s: {name} is called by the name of a program: {}\n", names.join(", "));
    format!(
        "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\t\"path/filepath\"\n\n{imports})\n\nfunc main() {{\n\
         \tswitch filepath.Base(os.Args[0]) {{\n{cases}\tdefault:\n\
         \t\tfmt.Fprintf(os.Stderr, {said:?}, os.Args[0])\n\t\tos.Exit(127)\n\t}}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAMS: &[GoProgram<'static>] = &[
        GoProgram { name: "one", package: "example.org/m/one" },
        GoProgram { name: "other", package: "example.org/m/cmd/other" },
    ];
    const LISTED: &str = "example.org/m/cmd/other\t/modules/example.org/m@v1.0.0/cmd/other\tmain.go\n\
                          example.org/m/one\t/modules/example.org/m@v1.0.0/one\tone.go\thelp.go\n";

    fn modules(dir: &Path, other: &str) {
        let module = dir.join("modules/example.org/m@v1.0.0");
        fs::create_dir_all(module.join("one")).unwrap();
        fs::create_dir_all(module.join("cmd/other")).unwrap();
        fs::write(module.join("one/one.go"), "// One.\npackage main\n\nfunc main() {\n\thelp()\n}\n")
            .unwrap();
        fs::write(module.join("one/help.go"), "package main\n\nfunc help() {}\n").unwrap();
        fs::write(module.join("cmd/other/main.go"), other).unwrap();
        let _ = fs::remove_dir_all(dir.join("stage"));
        fs::create_dir(dir.join("stage")).unwrap();
        fs::write(dir.join("stage/go.mod"), "// Ours.\nmodule ours/all\n\ngo 1.26\n").unwrap();
    }

    fn prepared(dir: &Path) -> Result<(), CompileError> {
        let places = Places { stage: &dir.join("stage"), modules: &dir.join("modules") };
        prepare("all", PROGRAMS, LISTED, &places)
    }

    #[test]
    fn programs_become_packages_of_one() {
        let dir = tempfile::tempdir().unwrap();
        modules(dir.path(), "package main\n\nfunc main() {\n}\n");
        prepared(dir.path()).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join("stage").join(name)).unwrap();
        assert_eq!(read("program0/one.go"), "// One.\npackage program0\n\nfunc Main() {\n\thelp()\n}\n");
        assert_eq!(read("program0/help.go"), "package program0\n\nfunc help() {}\n");
        assert_eq!(read("program1/main.go"), "package program1\n\nfunc Main() {\n}\n");
        let main = read("multi_call.go");
        assert!(main.contains("\t\"ours/all/program1\"\n"), "{main}");
        assert!(main.contains("\tcase \"one\":\n\t\tprogram0.Main()\n"), "{main}");
        assert!(main.contains("called by the name of a program: one, other\\n\""), "{main}");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (other, said) in [
            ("package other\n\nfunc main() {\n}\n", "main.go has no line `package main`"),
            ("package main\n", "it has 0 functions main"),
        ] {
            modules(dir.path(), other);
            let error = prepared(dir.path()).unwrap_err().to_string();
            assert!(error.contains("example.org/m/cmd/other") && error.contains(said), "{error}");
        }
    }
}
