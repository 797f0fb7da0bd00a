//! `docs/api.md`, which `cargo xtask docs` writes: what each method needs, takes and answers, from the published description
//! and the table of roles.
//! It knows only the part of Protocol Buffers that the description is written in.

use std::fmt::Write as _;

use crate::roles::{Effect, METHODS, Role, SERVICE};

/// The files of the description, in the order of the page.
const FILES: [(&str, &str); 10] = [
    ("Methods", include_str!("../proto/lepton/host/v1/host.proto")),
    ("Version and status", include_str!("../proto/lepton/host/v1/status.proto")),
    ("Services", include_str!("../proto/lepton/host/v1/services.proto")),
    ("Logs", include_str!("../proto/lepton/host/v1/logs.proto")),
    ("Figures and processes", include_str!("../proto/lepton/host/v1/figures.proto")),
    ("Network and time", include_str!("../proto/lepton/host/v1/network.proto")),
    ("Disks and mounts", include_str!("../proto/lepton/host/v1/storage.proto")),
    ("The machine config", include_str!("../proto/lepton/host/v1/config.proto")),
    ("Pods, containers and images", include_str!("../proto/lepton/host/v1/workloads.proto")),
    ("Power, state and support", include_str!("../proto/lepton/host/v1/power.proto")),
];

/// What stands before everything that is made.
const INTRODUCTION: &str = include_str!("introduction.md");

/// A message, an enumeration or a service.
#[derive(Debug, Default, PartialEq, Eq)]
struct Block {
    kind: String,
    name: String,
    text: String,
    rows: Vec<Row>,
}

/// A field, a value or a method.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    /// As it is written, without its end.
    code: String,
    /// The group of which only one is there.
    oneof: Option<String>,
    text: String,
}

/// The page.
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    let files: Vec<(&str, Vec<Block>)> = FILES.iter().map(|(title, proto)| (*title, blocks(proto))).collect();
    for (title, blocks) in &files {
        let _ = writeln!(page, "\n## {title}");
        for block in blocks {
            write(&mut page, block);
        }
    }
    page
}

fn write(page: &mut String, block: &Block) {
    match block.kind.as_str() {
        "service" => write_methods(page, block),
        "enum" => {
            let _ = write!(
                page,
                "\n### {}\n\n{}\n\n| number | value | means |\n|---|---|---|\n",
                block.name,
                sentences(&block.text)
            );
            for row in &block.rows {
                let (name, number) = row.code.split_once('=').unwrap_or((&row.code, ""));
                let _ = writeln!(page, "| {} | `{}` | {} |", number.trim(), name.trim(), row.text);
            }
        }
        _ => {
            let _ = write!(page, "\n### {}\n\n{}\n", block.name, sentences(&block.text));
            if block.rows.is_empty() {
                page.push_str("It has no fields.\n");
                return;
            }
            page.push_str("\n| number | field | type | means |\n|---|---|---|---|\n");
            for row in &block.rows {
                let (head, number) = row.code.split_once('=').unwrap_or((&row.code, ""));
                let (kind, name) = head.trim().rsplit_once(' ').unwrap_or(("", head));
                let one = row.oneof.as_ref().map_or_else(String::new, |name| format!("One of `{name}`. "));
                let _ =
                    writeln!(page, "| {} | `{name}` | {} | {one}{} |", number.trim(), shown(kind), row.text);
            }
        }
    }
}

fn write_methods(page: &mut String, block: &Block) {
    page.push_str("\n| method | least role | takes | answers | |\n|---|---|---|---|---|\n");
    for row in &block.rows {
        let Some((name, takes, answers)) = method(&row.code) else { continue };
        let role =
            METHODS.iter().find(|method| method.name == name).map_or("nobody", |method| method.role.name());
        let is_recorded =
            METHODS.iter().any(|method| method.name == name && method.effect == Effect::Changes);
        let text = if is_recorded { format!("{} Recorded.", row.text) } else { row.text.clone() };
        let _ = writeln!(page, "| `{name}` | {role} | {} | {} | {text} |", shown(takes), shown(answers));
    }
    let _ = writeln!(page, "\nPaths of requests are `/{SERVICE}/METHOD`.");
    for role in Role::ALL {
        let count = METHODS.iter().filter(|method| method.role <= role).count();
        let _ = writeln!(page, "The role {role} may call {count} methods.");
    }
}

/// `rpc Name(stream A) returns (B)`.
fn method(code: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = code.strip_prefix("rpc ")?.split_once('(')?;
    let (takes, rest) = rest.split_once(')')?;
    Some((name, takes, rest.trim().strip_prefix("returns (")?.strip_suffix(')')?))
}

/// A type; those of the description lead to their place on the page.
fn shown(kind: &str) -> String {
    let (words, name) = kind.rsplit_once(' ').map_or(("", kind), |(words, name)| (words, name));
    let is_ours = name.starts_with(|first: char| first.is_ascii_uppercase());
    let link = if is_ours { format!("[{name}](#{})", name.to_lowercase()) } else { name.to_owned() };
    if words.is_empty() { link } else { format!("{words} {link}") }
}

/// One sentence a line.
fn sentences(text: &str) -> String {
    text.replace(". ", ".\n")
}

/// The blocks of a description, in its order.
fn blocks(proto: &str) -> Vec<Block> {
    let (mut blocks, mut block, mut oneof) = (Vec::new(), None::<Block>, None::<String>);
    let mut text: Vec<&str> = Vec::new();
    for line in proto.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("//") {
            text.push(comment.trim());
            continue;
        }
        let comment = std::mem::take(&mut text).join(" ");
        let words: Vec<&str> = line.trim_end_matches(" {").trim_end_matches(" {}").split(' ').collect();
        match (&mut block, &words[..]) {
            (None, [kind @ ("message" | "enum" | "service"), name]) => {
                let begun = Block {
                    kind: (*kind).to_owned(),
                    name: (*name).to_owned(),
                    text: comment,
                    rows: Vec::new(),
                };
                match line.ends_with("{}") {
                    true => blocks.push(begun),
                    false => block = Some(begun),
                }
            }
            (Some(_), ["oneof", name]) => oneof = Some((*name).to_owned()),
            (Some(_), ["}"]) if oneof.is_some() => oneof = None,
            (Some(_), ["}"]) => blocks.extend(block.take()),
            (Some(block), _) if line.ends_with(';') => {
                let code = line.trim_end_matches(';').to_owned();
                block.rows.push(Row { code, oneof: oneof.clone(), text: comment });
            }
            _ => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description() {
        let proto = "// File.\nsyntax = \"proto3\";\n\n// A thing. It is\n// long.\nmessage A {\n  // What.\n  oneof b {\n    \
            // One.\n    string c = 1;\n  }\n  // Many.\n  repeated D e = 2;\n}\n// None.\nmessage F {}\n";
        let row = |code: &str, oneof: Option<&str>, text: &str| Row {
            code: code.to_owned(),
            oneof: oneof.map(str::to_owned),
            text: text.to_owned(),
        };
        let found = blocks(proto);
        assert_eq!(found[0].text, "A thing. It is long.");
        assert_eq!(
            found[0].rows,
            [row("string c = 1", Some("b"), "One."), row("repeated D e = 2", None, "Many.")]
        );
        assert_eq!((found.len(), found[1].name.as_str()), (2, "F"));
        assert_eq!(method("rpc A(stream B) returns (C)"), Some(("A", "stream B", "C")));
        assert_eq!(shown("repeated D"), "repeated [D](#d)");
    }

    #[test]
    fn everything_has_a_text_and_a_place() {
        let all: Vec<Block> = FILES.iter().flat_map(|(_, proto)| blocks(proto)).collect();
        let methods =
            all.iter().filter(|block| block.kind == "service").map(|block| block.rows.len()).sum::<usize>();
        assert_eq!(methods, METHODS.len());
        for block in &all {
            assert!(!block.text.is_empty(), "{}", block.name);
            assert!(block.rows.iter().all(|row| row.text.ends_with('.')), "{block:?}");
        }
        let page = page();
        for link in page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
            let is_there = page.lines().any(|line| {
                line.strip_prefix("## ")
                    .or(line.strip_prefix("### "))
                    .is_some_and(|title| title.to_lowercase().replace(' ', "-") == link)
            });
            assert!(is_there, "{link}");
        }
    }
}
