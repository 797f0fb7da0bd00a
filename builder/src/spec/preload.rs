//! Container images that an OS image brings along: the table `[[preload]]` of an image description.

use serde::Deserialize;
use toml::Spanned;

/// One preloaded image: files of the repository, or an image that the builder makes of packages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Preload {
    /// Its whole name, with registry and tag; files in which images carry their names need none.
    pub name: Option<String>,
    /// OCI image layout (a folder or a tar archive) or docker archive, relative to the repository.
    pub from: Option<String>,
    /// Packages whose files the image is made of, with what they need.
    #[serde(default)]
    pub packages: Vec<Spanned<String>>,
    /// What a container of an image made of packages runs unless it is told.
    #[serde(default)]
    pub command: Vec<String>,
}

impl Preload {
    /// What is wrong with it.
    pub(crate) fn problem(&self) -> Option<String> {
        let problem = match (&self.from, self.packages.is_empty(), &self.name) {
            (Some(_), false, _) => "either from or packages, not both",
            (None, true, _) => "from or packages are wanted",
            (Some(_), true, _) if !self.command.is_empty() => {
                "an image that is taken from files has a command of its own"
            }
            (None, false, None) => "an image made of packages needs a name, such as \"localhost/tools:1\"",
            _ => match &self.name {
                Some(name) if !is_complete(name) => {
                    return Some(format!(
                        "{name:?} is no name with registry and tag, such as \"localhost/tools:1\""
                    ));
                }
                _ => return None,
            },
        };
        Some(problem.to_owned())
    }
}

/// `REGISTRY/PATH:TAG`: nothing that a runtime would have to guess.
fn is_complete(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let Some((registry, rest)) = name.split_once('/') else { return false };
    let Some((path, tag)) = rest.rsplit_once(':') else { return false };
    let is_registry = registry == "localhost" || registry.contains('.') || registry.contains(':');
    let is_path = path.split('/').all(|part| !part.is_empty() && part.chars().all(plain));
    let is_tag =
        (1..=128).contains(&tag.len()) && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    is_registry && is_path && is_tag && !tag.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        toml::from_str::<Preload>(text).unwrap().problem().unwrap_or_default()
    }

    #[test]
    fn an_image_comes_from_one_place_and_has_a_whole_name() {
        for good in [
            "from = \"x.tar\"",
            "name = \"registry.example/a/b:1\"\nfrom = \"x\"",
            "name = \"localhost/a:1\"\npackages = [\"busybox\"]\ncommand = [\"/usr/bin/sh\"]",
        ] {
            assert_eq!(problem(good), "", "{good}");
        }
        assert!(problem("from = \"x\"\npackages = [\"a\"]").contains("not both"));
        assert!(problem("name = \"localhost/a:1\"").contains("are wanted"));
        assert!(problem("packages = [\"a\"]").contains("needs a name"));
        assert!(problem("from = \"x\"\ncommand = [\"/a\"]").contains("of its own"));
        for bad in
            ["busybox", "busybox:1", "library/busybox:1", "localhost/a", "localhost/A:1", "localhost/a:.x"]
        {
            assert!(problem(&format!("name = {bad:?}\nfrom = \"x\"")).contains("is no name"), "{bad}");
        }
    }
}
