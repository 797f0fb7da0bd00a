//! Where a package's files come from: the tables `[source]` and `[[install]]` of a recipe.
//!
//! What each kind means for people is in docs/recipes.md; nothing is resolved here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{CrateFolder, PackageName, RootPath};

/// Where a package's files come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum SourceSpec {
    /// Files of the package's own folder.
    Files {},
    /// Files of Debian packages for the architecture that the image is for, pinned in `packages.lock`; programs bring
    /// the shared libraries they name.
    Debian {
        /// Debian's names; what they depend on is pinned with them.
        packages: Vec<String>,
    },
    /// Programs of this repository, compiled for the host: of the crate in `packages/CRATE`, and of others.
    Workspace {
        /// Folder of the crate below `packages`.
        #[serde(rename = "crate")]
        folder: CrateFolder,
        /// Name of its program; the last part of the crate's folder unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        binary: Option<PackageName>,
        /// Where the program goes; `/usr/bin/BINARY` unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<RootPath>,
        /// Programs besides it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        more: Vec<WorkspaceProgram>,
    },
    /// Programs of Go modules, compiled for the host: `go.mod`, `go.sum` and `tools.go` in the package's folder pin and
    /// name them.
    Go {
        /// Name of each program -> import path of its main package.
        commands: BTreeMap<PackageName, String>,
        /// Name of the one program (a multi-call binary) that the commands are links to.
        #[serde(rename = "multi-call", skip_serializing_if = "Option::is_none")]
        multi_call: Option<PackageName>,
        /// Build tags.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
        /// Strings that the linker sets: `import/path.variable` -> value.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        strings: BTreeMap<String, String>,
        /// Folder that the programs go to; `/usr/bin` unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<RootPath>,
    },
}

/// One more program of a package.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WorkspaceProgram {
    /// Folder of its crate below `packages`.
    #[serde(rename = "crate")]
    pub folder: CrateFolder,
    /// Its name; the last part of the crate's folder unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<PackageName>,
    /// Where it goes; `/usr/bin/BINARY` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<RootPath>,
}

/// A program that is compiled for a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub binary: String,
    /// What it is compiled from: the folder of a crate relative to the repository, or the import path of a Go package.
    pub from: String,
    /// Its path in the image.
    pub to: RootPath,
}

impl SourceSpec {
    /// Whether everything lies in the package's own folder.
    pub fn is_own_folder(&self) -> bool {
        matches!(self, Self::Files {})
    }

    /// What is compiled.
    pub fn programs(&self) -> Vec<Program> {
        match self {
            Self::Files {} | Self::Debian { .. } => Vec::new(),
            Self::Workspace { folder, binary, to, more } => {
                let first =
                    WorkspaceProgram { folder: folder.clone(), binary: binary.clone(), to: to.clone() };
                std::iter::once(&first).chain(more).map(WorkspaceProgram::program).collect()
            }
            Self::Go { commands, to, multi_call: Some(name), .. } => {
                let of = commands.values().next().cloned();
                let to = below(go_folder(to.as_ref()), name.as_str());
                of.map(|from| Program { binary: name.to_string(), from, to }).into_iter().collect()
            }
            Self::Go { commands, to, .. } => {
                let folder = go_folder(to.as_ref());
                let program = |(name, package): (&PackageName, &String)| Program {
                    binary: name.to_string(),
                    from: package.clone(),
                    to: below(folder, name.as_str()),
                };
                commands.iter().map(program).collect()
            }
        }
    }
}

impl SourceSpec {
    /// Symbolic links that come of it: the commands of a multi-call binary.
    pub fn links(&self) -> BTreeMap<RootPath, String> {
        let Self::Go { commands, to, multi_call: Some(program), .. } = self else { return BTreeMap::new() };
        let folder = go_folder(to.as_ref());
        commands.keys().map(|name| (below(folder, name.as_str()), program.to_string())).collect()
    }
}

impl WorkspaceProgram {
    fn program(&self) -> Program {
        let binary = self.binary.as_ref().map_or_else(|| self.folder.last(), PackageName::as_str);
        Program {
            binary: binary.to_owned(),
            from: format!("packages/{}", self.folder),
            to: self.to.clone().unwrap_or_else(|| below("/usr/bin", binary)),
        }
    }
}

/// Where Go programs go.
fn go_folder(to: Option<&RootPath>) -> &str {
    to.map_or("/usr/bin", RootPath::as_str)
}

fn below(folder: &str, name: &str) -> RootPath {
    format!("{folder}/{name}").parse().expect("a name is one part of a path")
}

/// One file to install.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Install {
    /// Path below the package's folder; for Debian packages, the absolute path of the file there, in which `{efi}` is
    /// the architecture's suffix of EFI programs and `{triplet}` its GNU triplet.
    pub from: String,
    /// Path in the image.
    pub to: RootPath,
    /// Permission bits, in octal.
    #[serde(default = "Install::mode")]
    pub mode: String,
    /// For Debian packages: `from` ends in `/*.EXTENSION`, and all files it matches are installed as one, in the order
    /// of their names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub join: bool,
}

impl Install {
    fn mode() -> String {
        "0644".to_owned()
    }

    /// Folder and end of the names of the files that are joined; nothing where the pattern is none.
    pub fn pattern(&self) -> Option<(&str, &str)> {
        let (folder, name) = self.from.rsplit_once('/')?;
        let end = name.strip_prefix('*').filter(|end| end.starts_with('.') && !end.contains('*'))?;
        (!folder.contains('*')).then_some((folder, end))
    }

    /// What is wrong with it in a recipe of this source.
    pub(crate) fn problem(&self, source: &SourceSpec) -> Option<String> {
        match (self.join, source) {
            (false, SourceSpec::Files {} | SourceSpec::Debian { .. }) => None,
            (true, SourceSpec::Debian { .. }) => self.pattern().is_none().then(|| {
                format!(
                    "from = {:?}: files that are joined are written as \"/a/folder/*.extension\"",
                    self.from
                )
            }),
            (true, _) => Some("join is for recipes of kind \"debian\"".to_owned()),
            (false, SourceSpec::Workspace { .. } | SourceSpec::Go { .. }) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SourceSpec {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn programs_of_one_and_of_several_crates() {
        let one = source("kind = \"workspace\"\ncrate = \"agent\"\n").programs();
        let to = "/usr/bin/agent".parse().unwrap();
        assert_eq!(one, [Program { binary: "agent".into(), from: "packages/agent".into(), to }]);
        let text = "kind = \"workspace\"\ncrate = \"agent\"\nbinary = \"main\"\nto = \"/usr/lib/main\"\n\
                    more = [{ crate = \"agent/part\" }, { crate = \"agent/other\", binary = \"x\" }]\n";
        let found: Vec<String> = source(text)
            .programs()
            .into_iter()
            .map(|program| format!("{} {} {}", program.binary, program.from, program.to))
            .collect();
        assert_eq!(
            found,
            [
                "main packages/agent /usr/lib/main",
                "part packages/agent/part /usr/bin/part",
                "x packages/agent/other /usr/bin/x"
            ]
        );
    }

    #[test]
    fn programs_of_go_modules() {
        let text = "kind = \"go\"\nto = \"/usr/lib/cni\"\ncommands = { one = \"example.org/one\" }\n";
        let to = "/usr/lib/cni/one".parse().unwrap();
        let one = Program { binary: "one".into(), from: "example.org/one".into(), to };
        assert_eq!(source(text).programs(), [one]);
        let all = source(
            "kind = \"go\"\nmulti-call = \"all\"\ncommands = { b = \"example.org/b\", a = \"example.org/a\" }\n",
        );
        let to = "/usr/bin/all".parse().unwrap();
        assert_eq!(all.programs(), [Program { binary: "all".into(), from: "example.org/a".into(), to }]);
        let links: Vec<_> = all.links().into_iter().map(|(path, to)| format!("{path} -> {to}")).collect();
        assert_eq!(links, ["/usr/bin/a -> all", "/usr/bin/b -> all"]);
        assert!(toml::from_str::<SourceSpec>("kind = \"go\"\ncommand = \"x\"\n").is_err());
        assert!(toml::from_str::<SourceSpec>("kind = \"workspace\"\ncrate = \"../init\"\n").is_err());
    }

    #[test]
    fn patterns_of_joined_files() {
        let install = |from: &str| Install {
            from: from.to_owned(),
            to: "/x".parse().unwrap(),
            mode: Install::mode(),
            join: true,
        };
        assert_eq!(install("/usr/share/ca/*.crt").pattern(), Some(("/usr/share/ca", ".crt")));
        for bad in ["/usr/share/ca/a.crt", "/usr/*/a.crt", "/usr/*/*.crt", "*.crt", "/usr/*", "/usr/*.*"] {
            assert_eq!(install(bad).pattern(), None, "{bad}");
        }
        let debian = SourceSpec::Debian { packages: Vec::new() };
        assert_eq!(install("/usr/share/ca/*.crt").problem(&debian), None);
        assert!(install("/usr/share/ca/*.crt").problem(&SourceSpec::Files {}).is_some());
        assert!(install("/usr/share/ca/a.crt").problem(&debian).is_some());
    }
}
