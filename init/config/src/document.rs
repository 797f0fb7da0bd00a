//! From text to a [`MachineConfig`] and the list of everything that was wrong.
//!
//! A text that is no TOML is cut down to what can be read: the table with the mistake is left out together with the
//! tables below it, and the rest applies.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::MachineConfig;
use crate::field::{Field, Place, Reader};
use crate::suggest;

/// A config larger than this is refused: it is a mistake, and PID 1 keeps it in memory.
pub const MAX_BYTES: usize = 1 << 20;
/// Broken tables that are left out of one text; with more it is no machine config.
const MAX_BROKEN: usize = 8;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the document.
    pub source: String,
    /// Line, from 1; 0 when the mistake concerns the document as a whole.
    pub line: usize,
    /// The key with those of the tables around it; empty for the whole document.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// What a document says, and what of it could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Everything that is right.
    pub config: MachineConfig,
    /// Everything that is wrong, in the order of the document.
    pub problems: Vec<Problem>,
}

/// Reads a document; `source` is its name in messages.
pub fn parse_bytes(source: &str, bytes: &[u8]) -> Parsed {
    if bytes.len() > MAX_BYTES {
        return refused(source, 0, format!("larger than {MAX_BYTES} bytes"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(source, text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            refused(source, line, "not UTF-8 text".to_owned())
        }
    }
}

/// Reads a document; `source` is its name in messages.
pub fn parse(source: &str, text: &str) -> Parsed {
    if text.len() > MAX_BYTES {
        return refused(source, 0, format!("larger than {MAX_BYTES} bytes"));
    }
    if let Some(kind) = foreign(text) {
        return refused(source, 1, format!("this is {kind}; a machine config is TOML (docs/config.md)"));
    }
    let mut problems = Vec::new();
    let mut kept = text.to_owned();
    for _ in 0..=MAX_BROKEN {
        let (table, errors) = DeTable::parse_recoverable(&kept);
        // The first place of several is nearest to the mistake; the others follow from it.
        let Some(error) = errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start)) else {
            let mut reader = Reader { source, text: &kept, problems };
            let place = Place { key: "", offset: 0 };
            let table = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
            let config = MachineConfig::read(table, place, &mut reader);
            let mut problems = reader.problems;
            // The parser sorts keys; people read lines.
            problems.sort_by_key(|problem| problem.line);
            problems.dedup();
            return Parsed { config: config.unwrap_or_default(), problems };
        };
        // Something unclosed is noticed at the start of the line behind it.
        let offset = error.span().map_or(0, |span| span.start).clamp(1, kept.len().max(1)) - 1;
        problems.push(Problem {
            source: source.to_owned(),
            line: line_of(&kept, offset),
            key: String::new(),
            message: one_line(&suggest::with_suggestion(error.message())),
        });
        let shorter = without_broken(&kept, offset);
        if shorter == kept {
            break;
        }
        kept = shorter;
    }
    problems.truncate(1);
    Parsed { config: MachineConfig::default(), problems }
}

fn refused(source: &str, line: usize, message: String) -> Parsed {
    let problem = Problem { source: source.to_owned(), line, key: String::new(), message };
    Parsed { config: MachineConfig::default(), problems: vec![problem] }
}

/// Other formats that are found where a machine config is looked for.
fn foreign(text: &str) -> Option<&'static str> {
    let first = text.trim_start().lines().next().unwrap_or_default().trim_end();
    match first {
        "#cloud-config" => Some("a cloud-init config (YAML)"),
        _ if first.starts_with("#!") => Some("a script"),
        _ if first.starts_with("#include") || first.starts_with("## template:") => {
            Some("cloud-init user data")
        }
        _ if first.starts_with("Content-Type: multipart") => Some("multi-part user data"),
        _ if first.starts_with('{') => Some("JSON"),
        _ if first.starts_with("<?xml") => Some("XML"),
        "---" => Some("YAML"),
        _ => None,
    }
}

/// Blanks the table around `offset` and the tables below it; lines keep their numbers.
///
/// Before the first table header that is the one line.
fn without_broken(text: &str, offset: usize) -> String {
    let broken = line_of(text, offset) - 1;
    let lines: Vec<&str> = text.split('\n').collect();
    let broken = broken.min(lines.len().saturating_sub(1));
    let header = (0..=broken).rev().find(|line| header(lines[*line]).is_some());
    let mut kept = Vec::with_capacity(lines.len());
    let Some(start) = header else {
        kept.extend(lines.iter().enumerate().map(|(line, text)| if line == broken { "" } else { *text }));
        return kept.join("\n");
    };
    let name = self::header(lines[start]).unwrap_or_default();
    let mut is_left_out = false;
    for (line, text) in lines.iter().enumerate() {
        if line == start {
            is_left_out = true;
        } else if line > broken
            && is_left_out
            && let Some(next) = self::header(text)
        {
            // What stands below the broken table would be taken for a part of the table before it.
            let below = next.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
            is_left_out = below && !name.is_empty();
        }
        kept.push(if is_left_out { "" } else { *text });
    }
    kept.join("\n")
}

/// The name in a line that looks like a table header; blanks around dots are dropped.
fn header(line: &str) -> Option<String> {
    let inner = line.trim_start().strip_prefix('[')?;
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    let name = inner.split([']', '#']).next().unwrap_or_default();
    Some(name.split('.').map(str::trim).collect::<Vec<_>>().join("."))
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
