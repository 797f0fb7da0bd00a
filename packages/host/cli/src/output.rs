//! What is printed: tables with columns of equal width, JSON objects, and lines of streams. With several hosts every row,
//! object and line says whose it is.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// Rows under a head, or facts without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Names of columns; none for facts: a name and a value in each row.
    pub(crate) head: &'static [&'static str],
    pub(crate) rows: Vec<Vec<String>>,
}

/// An answer of a host as people and programs read it.
pub(crate) trait View: Serialize {
    /// For people. `several`: it stands among those of other hosts, so every table has a head.
    fn tables(&self, several: bool) -> Vec<Table>;

    /// For programs: one object, or one for each thing of a list.
    fn objects(&self) -> Vec<Value> {
        vec![object(self)]
    }
}

/// A message as JSON.
pub(crate) fn object(message: &(impl Serialize + ?Sized)) -> Value {
    serde_json::to_value(message).unwrap_or_default()
}

/// Each of a list as JSON.
pub(crate) fn objects(list: &[impl Serialize]) -> Vec<Value> {
    list.iter().map(|one| object(one)).collect()
}

/// Where everything is printed.
pub(crate) struct Output<'a> {
    sink: RefCell<&'a mut dyn Write>,
    pub(crate) json: bool,
    /// Whether there is more than one host.
    pub(crate) several: bool,
    /// Width of the longest name of a host.
    width: usize,
}

impl<'a> Output<'a> {
    pub(crate) fn new(sink: &'a mut dyn Write, json: bool, hosts: &[&str]) -> Self {
        let width = hosts.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Self { sink: RefCell::new(sink), json, several: hosts.len() > 1, width }
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut sink = self.sink.borrow_mut();
        sink.write_all(bytes).and_then(|()| sink.flush()).map_err(Failure::Output)
    }

    /// Prints a text of this program.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Prints answers of hosts: tables of one kind become one table.
    pub(crate) fn answers<T: View>(&self, answers: &[(&str, T)]) -> Result<(), Failure> {
        if self.json {
            return answers.iter().try_for_each(|(host, answer)| {
                answer.objects().into_iter().try_for_each(|object| self.object(host, object))
            });
        }
        let mut merged: Vec<Table> = Vec::new();
        for (host, answer) in answers {
            for (place, mut table) in answer.tables(self.several).into_iter().enumerate() {
                if self.several {
                    table.rows.iter_mut().for_each(|row| row.insert(0, (*host).to_owned()));
                }
                match merged.get_mut(place) {
                    Some(there) => there.rows.append(&mut table.rows),
                    None => merged.push(table),
                }
            }
        }
        let tables: Vec<String> =
            merged.iter().map(|table| self.layout(table)).filter(|text| !text.is_empty()).collect();
        self.raw(tables.join("\n").as_bytes())
    }

    /// Prints one object of a host.
    pub(crate) fn object(&self, host: &str, object: Value) -> Result<(), Failure> {
        let mut with_host = Map::new();
        with_host.insert("host".to_owned(), host.into());
        match object {
            Value::Object(fields) => with_host.extend(fields),
            other => drop(with_host.insert("value".to_owned(), other)),
        }
        self.text(&Value::Object(with_host).to_string())
    }

    /// Prints a line of a host's stream.
    pub(crate) fn line(&self, host: &str, line: &str) -> Result<(), Failure> {
        let line = printable(line);
        match self.several {
            true => self.text(&format!("{host:<width$} {line}", width = self.width)),
            false => self.text(&line),
        }
    }

    fn layout(&self, table: &Table) -> String {
        let mut all: Vec<Vec<Cow<'_, str>>> = Vec::new();
        if !table.head.is_empty() {
            let host = self.several.then_some("HOST");
            all.push(host.into_iter().chain(table.head.iter().copied()).map(Cow::Borrowed).collect());
        }
        all.extend(table.rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()));
        let columns = all.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &all {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A text of a host without control characters, which could make a terminal do something.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_bad = |character: char| character.is_control() && character != '\t';
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            _ if !is_bad(character) => shown.push(character),
            _ => drop(write!(shown, "\\x{:02x}", u32::from(character))),
        }
    }
    Cow::Owned(shown)
}

/// What a test has printed.
#[cfg(test)]
pub(crate) fn printed(
    json: bool,
    hosts: &[&str],
    print: impl FnOnce(&Output<'_>) -> Result<(), Failure>,
) -> String {
    let mut sink = Vec::new();
    print(&Output::new(&mut sink, json, hosts)).unwrap();
    String::from_utf8(sink).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Two(Vec<&'static str>);

    impl View for Two {
        fn tables(&self, several: bool) -> Vec<Table> {
            let rows = self.0.iter().map(|name| vec![(*name).to_owned(), "1".to_owned()]).collect();
            let facts = Table { head: &[], rows: vec![vec!["count".to_owned(), self.0.len().to_string()]] };
            let list = Table { head: &["NAME", "N"], rows };
            if several { vec![list] } else { vec![facts, list] }
        }

        fn objects(&self) -> Vec<Value> {
            self.0.iter().map(|name| serde_json::json!({ "name": name })).collect()
        }
    }

    #[test]
    fn one_host_and_several() {
        let one = [("a", Two(vec!["x", "long\u{7}"]))];
        assert_eq!(
            printed(false, &["a"], |output| output.answers(&one)),
            "count  2\n\nNAME      N\nx         1\nlong\\x07  1\n"
        );
        let several = [("a", Two(vec!["x"])), ("edge-2", Two(vec!["y"]))];
        let hosts = ["a", "edge-2"];
        let table = printed(false, &hosts, |output| output.answers(&several));
        assert_eq!(table, "HOST    NAME  N\na       x     1\nedge-2  y     1\n");
        let json = printed(true, &hosts, |output| output.answers(&several));
        assert_eq!(json, "{\"host\":\"a\",\"name\":\"x\"}\n{\"host\":\"edge-2\",\"name\":\"y\"}\n");
    }

    #[test]
    fn lines_have_a_prefix_when_there_are_several_hosts() {
        let lines = |hosts: &[&str]| printed(false, hosts, |output| output.line("a", "b\tc\u{1b}[2J\r"));
        assert_eq!(lines(&["a"]), "b\tc\\x1b[2J\\x0d\n");
        assert_eq!(lines(&["a", "edge-2"]), "a      b\tc\\x1b[2J\\x0d\n");
    }
}
