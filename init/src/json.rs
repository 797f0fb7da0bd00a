//! JSON text (RFC 8259) for the two lines PID 1 prints: values in, one line out.
//!
//! There is no reader here, and no numbers but unsigned integers: a serializer crate would be larger than the
//! rest of the report.

use std::fmt;

/// A JSON value; objects keep the order of their fields, so that a line is the same at every boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// A number without sign or fraction.
    Number(u64),
    /// A string; control characters are escaped.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object with fields in print order.
    Object(Vec<(&'static str, Json)>),
    /// An object whose fields are named by others.
    Map(Vec<(String, Json)>),
}

impl Json {
    /// A list of strings.
    pub fn texts(items: &[String]) -> Self {
        Self::List(items.iter().cloned().map(Self::Text).collect())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write_text(f, text),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Object(fields) => write_fields(f, fields),
            Self::Map(fields) => write_fields(f, fields),
        }
    }
}

fn write_fields(f: &mut fmt::Formatter<'_>, fields: &[(impl AsRef<str>, Json)]) -> fmt::Result {
    f.write_str("{")?;
    for (index, (name, value)) in fields.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { "," })?;
        write_text(f, name.as_ref())?;
        f.write_str(":")?;
        fmt::Display::fmt(value, f)?;
    }
    f.write_str("}")
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            // RFC 8259 asks for U+0000..U+001F; DEL and the C1 controls are terminal commands as well.
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => fmt::Write::write_char(f, c)?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_one_line() {
        for (value, text) in [
            (Json::Null, "null"),
            (Json::Number(u64::MAX), "18446744073709551615"),
            (Json::from("a\"b\\c\n\u{1b}[2J\u{7f}é"), r#""a\"b\\c\u000a\u001b[2J\u007fé""#),
            (Json::List(vec![]), "[]"),
            (Json::texts(&["a".to_owned(), "b".to_owned()]), r#"["a","b"]"#),
            (Json::Object(vec![]), "{}"),
            (Json::Object(vec![("z", Json::Number(1)), ("a", None::<&str>.into())]), r#"{"z":1,"a":null}"#),
        ] {
            assert_eq!(value.to_string(), text);
        }
    }
}
