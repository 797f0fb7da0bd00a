//! `Cargo.lock` for fewer crates: only what they reach, so that a crate which another program begins to need leaves this
//! program's inputs as they were.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// What starts an entry.
const ENTRY: &str = "[[package]]\n";

/// An entry, as far as it says what it needs.
#[derive(Deserialize)]
struct Entry {
    name: String,
    version: String,
    source: Option<String>,
    /// `name`, `name version` or `name version (source)`: as much as tells it from others.
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The lock `text` without entries that no workspace crate named in `members` reaches. Dependencies of their tests count,
/// because the lock does not tell them apart.
pub(super) fn narrowed(text: &str, members: &BTreeSet<&str>) -> Result<String, String> {
    let mut blocks = text.split(ENTRY);
    let head = blocks.next().unwrap_or_default();
    let blocks: Vec<&str> = blocks.collect();
    let entries = blocks
        .iter()
        .map(|block| toml::from_str::<Entry>(block).map_err(|error| error.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        by_name.entry(&entry.name).or_default().push(index);
    }
    let own = |entry: &Entry| entry.source.is_none() && members.contains(entry.name.as_str());
    let mut open: Vec<usize> = (0..entries.len()).filter(|index| own(&entries[*index])).collect();
    let mut reached: BTreeSet<usize> = open.iter().copied().collect();
    while let Some(index) = open.pop() {
        for wanted in &entries[index].dependencies {
            let mut words = wanted.split(' ');
            let (name, version) = (words.next().unwrap_or_default(), words.next());
            let known = by_name.get(name).map(Vec::as_slice).unwrap_or_default();
            let fits = |index: &&usize| version.is_none_or(|version| entries[**index].version == version);
            let mut found = known.iter().filter(fits).peekable();
            if found.peek().is_none() {
                return Err(format!("{:?} needs {wanted:?}, which has no entry", entries[index].name));
            }
            open.extend(found.filter(|index| reached.insert(**index)));
        }
    }
    let kept = blocks.iter().enumerate().filter(|(index, _)| reached.contains(index));
    Ok(kept.fold(head.to_owned(), |text, (_, block)| text + ENTRY + block))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "# made by cargo\nversion = 4\n\n\
        [[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"r\"\n\n\
        [[package]]\nname = \"a\"\nversion = \"2.0.0\"\nsource = \"r\"\ndependencies = [\n \"b\",\n]\n\n\
        [[package]]\nname = \"b\"\nversion = \"1.0.0\"\nsource = \"r\"\n\n\
        [[package]]\nname = \"one\"\nversion = \"0.1.0\"\ndependencies = [\n \"a 2.0.0\",\n]\n\n\
        [[package]]\nname = \"two\"\nversion = \"0.1.0\"\ndependencies = [\n \"a 1.0.0\",\n \"one\",\n]\n";

    fn kept(members: &[&str]) -> Vec<String> {
        let text = narrowed(LOCK, &members.iter().copied().collect()).unwrap();
        assert!(text.starts_with("# made by cargo\nversion = 4\n\n"), "{text}");
        let line = |block: &str| block.lines().take(2).collect::<String>().replace("version = ", " ");
        text.split(ENTRY).skip(1).map(line).collect()
    }

    #[test]
    fn only_what_the_members_reach_is_kept() {
        assert_eq!(
            kept(&["one"]),
            ["name = \"a\" \"2.0.0\"", "name = \"b\" \"1.0.0\"", "name = \"one\" \"0.1.0\""]
        );
        assert_eq!(kept(&["two"]).len(), 5);
        // A crate of a registry is no member, whatever its name.
        assert_eq!(kept(&["b"]), Vec::<String>::new());
    }

    #[test]
    fn a_lock_that_lacks_an_entry_is_an_error() {
        let text = LOCK.replace("name = \"b\"", "name = \"c\"");
        let error = narrowed(&text, &BTreeSet::from(["one"])).unwrap_err();
        assert_eq!(error, "\"a\" needs \"b\", which has no entry");
        assert!(narrowed("[[package]]\nname = 1\n", &BTreeSet::new()).is_err());
    }
}
