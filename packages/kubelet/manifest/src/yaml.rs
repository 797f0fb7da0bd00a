//! A YAML text of one document as a JSON value. JSON is YAML, too.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use crate::scalar;

/// Most values that a text may have once its aliases are followed: a short text can stand for a huge one.
const MAX_VALUES: usize = 100_000;
/// Deepest nesting; a reader of the result goes down as deep.
const MAX_DEPTH: usize = 100;

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct BadYaml {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// The value of a text of one document.
pub fn parse(text: &str) -> Result<Value, BadYaml> {
    let mut reader =
        Reader { events: Parser::new_from_str(text), anchors: BTreeMap::new(), values: 0, line: 1 };
    let mut document = None;
    loop {
        match reader.next()? {
            Event::StreamEnd => return document.ok_or_else(|| reader.bad("the text is empty")),
            Event::DocumentStart(_) if document.is_some() => {
                return Err(reader.bad("a second document begins here (---): give one at a time"));
            }
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            event => document = Some(reader.value(event, 0)?),
        }
    }
}

struct Reader<'t> {
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, (Value, usize)>,
    /// How many there are so far.
    values: usize,
    /// Where the last event was.
    line: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Event<'t>, BadYaml> {
        match self.events.next() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, Span { start, .. }))) => {
                self.line = start.line();
                Ok(event)
            }
            Some(Err(error)) => {
                Err(BadYaml { line: error.marker().line(), message: error.info().to_owned() })
            }
        }
    }

    fn bad(&self, message: impl Into<String>) -> BadYaml {
        BadYaml { line: self.line, message: message.into() }
    }

    fn count(&mut self, values: usize) -> Result<(), BadYaml> {
        self.values += values;
        if self.values > MAX_VALUES {
            Err(self.bad(format!("more than {MAX_VALUES} values")))
        } else {
            Ok(())
        }
    }

    /// The value that `event` begins.
    fn value(&mut self, event: Event<'t>, depth: usize) -> Result<Value, BadYaml> {
        if depth > MAX_DEPTH {
            return Err(self.bad(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let before = self.values;
        self.count(1)?;
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                // A value that contains itself has no anchor yet when it is named.
                let (value, values) =
                    self.anchors.get(&anchor).cloned().ok_or_else(|| self.bad("an alias of nothing"))?;
                self.count(values)?;
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag.as_deref())?),
            Event::SequenceStart(anchor, _) => (anchor, self.sequence(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(depth)?),
            _ => return Err(self.bad("a value is missing")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), self.values - before));
        }
        Ok(value)
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, BadYaml> {
        let string = || Value::String(text.to_owned());
        let Some(tag) = tag else {
            return Ok(if style == ScalarStyle::Plain { scalar::plain(text) } else { string() });
        };
        let known = if tag.is_yaml_core_schema() { tag.suffix.as_str() } else { "" };
        let is_fit = |value: &Value| match known {
            "bool" => value.is_boolean(),
            "int" => value.is_i64() || value.is_u64(),
            "float" => value.is_number(),
            "null" => value.is_null(),
            _ => false,
        };
        match known {
            "str" => Ok(string()),
            "bool" | "int" | "float" | "null" => Some(scalar::plain(text))
                .filter(is_fit)
                .ok_or_else(|| self.bad(format!("{text:?} is no {known}"))),
            _ => Err(self.bad(format!("the tag {}{} means nothing here", tag.handle, tag.suffix))),
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, BadYaml> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(list)),
                event => list.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, BadYaml> {
        let (mut map, mut merged) = (Map::new(), Map::new());
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                // Keys of the mapping itself win over those that it takes from another.
                merged.append(&mut map);
                return Ok(Value::Object(merged));
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = match self.value(event, depth + 1)? {
                Value::String(key) => key,
                key @ (Value::Bool(_) | Value::Number(_)) => key.to_string(),
                _ => return Err(self.bad("a key is a text")),
            };
            let line = self.line;
            let next = self.next()?;
            let value = self.value(next, depth + 1)?;
            if is_merge {
                for from in if let Value::Array(list) = value { list } else { vec![value] } {
                    let Value::Object(from) = from else { return Err(self.bad("<< takes a mapping")) };
                    // Of several the first one wins.
                    from.into_iter().for_each(|(key, value)| {
                        merged.entry(key).or_insert(value);
                    });
                }
            } else if map.insert(key.clone(), value).is_some() {
                return Err(BadYaml { line, message: format!("the key {key:?} is there twice") });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json() {
        let text = "a: 1\nb: [x, 'yes', \"0644\", 0644]\nc: {d: ~}\n8080: port\nt: |\n  two\n  lines\n";
        let want = json!({
            "a": 1, "b": ["x", "yes", "0644", 420], "c": {"d": null}, "8080": "port", "t": "two\nlines\n"
        });
        assert_eq!(parse(text), Ok(want.clone()));
        assert_eq!(parse(&want.to_string()), Ok(want));
        assert_eq!(parse("---\na: !!str 5\n...\n"), Ok(json!({"a": "5"})));
    }

    #[test]
    fn anchors_and_merges() {
        let text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nlist: [*base]\n";
        let base = json!({"a": 1, "b": 2});
        assert_eq!(parse(text), Ok(json!({"base": base, "more": {"a": 1, "b": 3}, "list": [base]})));
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line, message) in [
            ("a: 1\na: 2\n", 2, "twice"),
            ("a: 1\n---\nb: 2\n", 2, "second document"),
            ("", 1, "empty"),
            ("a:\n  b: [1\n", 3, ""),
            ("a: &x [*x]\n", 1, "alias"),
            ("a: !!int x\n", 1, "is no int"),
            ("a: !thing x\n", 1, "means nothing"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(message), "{text:?}: {error}");
            assert_eq!(error.line, line, "{text:?}: {error}");
        }
    }

    #[test]
    fn a_short_text_cannot_stand_for_a_huge_one() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert!(parse(&text).unwrap_err().message.contains("more than"));
        let deep = format!("{}{}", "[".repeat(150), "]".repeat(150));
        assert!(parse(&deep).unwrap_err().message.contains("deeper"), "{deep}");
    }
}
