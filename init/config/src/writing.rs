//! From values to TOML text: what serde can describe, as tables that people can read and [`crate::parse`] reads back.
//!
//! PID 1 carries this code, so it is small: one serializer, which makes a tree, and one walk over that tree. A value that
//! TOML cannot say (a tuple, a variant with contents, a number that is none) is refused.

mod rows;

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde::ser::{self, Impossible, SerializeMap, SerializeSeq, SerializeStruct};

pub use rows::{SECRET, is_secret, rows, to_toml_without_secrets};

/// The value has no TOML form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TOML cannot say this")]
pub struct Unwritable;

impl ser::Error for Unwritable {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// The document that says `value`, which must be a table: a struct or a map.
pub fn to_toml(value: &impl Serialize) -> Result<String, Unwritable> {
    let Value::Table(rows) = value.serialize(Writer)? else { return Err(Unwritable) };
    let mut text = String::new();
    write_table(&mut text, "", &rows);
    Ok(text)
}

/// A value on its way to text.
#[derive(Debug)]
enum Value {
    /// A key with it is left out.
    Absent,
    /// A text, number or truth value, as TOML writes it.
    Plain(String),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
}

impl Value {
    /// Whether it stands behind an equals sign; else it has a header of its own.
    fn is_inline(&self) -> bool {
        match self {
            Self::Table(_) => false,
            Self::List(items) => items.is_empty() || items.iter().any(|item| !matches!(item, Self::Table(_))),
            Self::Absent | Self::Plain(_) => true,
        }
    }
}

/// The rows of a table, those with headers of their own last.
fn write_table(text: &mut String, path: &str, rows: &[(String, Value)]) {
    for (key, value) in rows.iter().filter(|(_, value)| value.is_inline()) {
        write_row(text, key, value);
        text.push('\n');
    }
    for (key, value) in rows {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(rows) => {
                // A table of tables needs no header: theirs name it.
                if rows.is_empty() || rows.iter().any(|(_, value)| value.is_inline()) {
                    write_header(text, ["[", &path, "]\n"]);
                }
                write_table(text, &path, rows);
            }
            Value::List(items) if !value.is_inline() => {
                for item in items {
                    let Value::Table(rows) = item else { continue };
                    write_header(text, ["[[", &path, "]]\n"]);
                    write_table(text, &path, rows);
                }
            }
            _ => {}
        }
    }
}

fn write_header(text: &mut String, parts: [&str; 3]) {
    if !text.is_empty() {
        text.push('\n');
    }
    parts.iter().for_each(|part| text.push_str(part));
}

fn write_row(text: &mut String, key: &str, value: &Value) {
    text.push_str(key);
    text.push_str(" = ");
    write_inline(text, value);
}

fn write_inline(text: &mut String, value: &Value) {
    match value {
        Value::Absent => {}
        Value::Plain(plain) => text.push_str(plain),
        Value::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write_inline(text, item);
            }
            text.push(']');
        }
        Value::Table(rows) => {
            text.push_str("{ ");
            for (index, (key, value)) in rows.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write_row(text, key, value);
            }
            text.push_str(" }");
        }
    }
}

/// A basic string (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\0'..='\x1f' | '\x7f' => {
                write!(quoted, "\\u{:04x}", u32::from(c)).expect("writing to a string cannot fail");
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// The one serializer.
#[derive(Clone, Copy, Debug)]
struct Writer;

macro_rules! plain {
    ($($name:ident($type:ty)),* $(,)?) => {$(
        fn $name(self, value: $type) -> Result<Value, Unwritable> {
            Ok(Value::Plain(value.to_string()))
        }
    )*};
}

impl ser::Serializer for Writer {
    type Ok = Value;
    type Error = Unwritable;
    type SerializeSeq = Items;
    type SerializeTuple = Impossible<Value, Unwritable>;
    type SerializeTupleStruct = Impossible<Value, Unwritable>;
    type SerializeTupleVariant = Impossible<Value, Unwritable>;
    type SerializeMap = Rows;
    type SerializeStruct = Rows;
    type SerializeStructVariant = Impossible<Value, Unwritable>;

    plain! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_u8(u8), serialize_u16(u16), serialize_u32(u32),
    }

    fn serialize_u64(self, value: u64) -> Result<Value, Unwritable> {
        self.serialize_i64(value.try_into().map_err(|_| Unwritable)?)
    }

    fn serialize_f32(self, value: f32) -> Result<Value, Unwritable> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Value, Unwritable> {
        if !value.is_finite() {
            return Err(Unwritable);
        }
        let mut text = value.to_string();
        // Without a fraction it would be a whole number to a reader.
        if !text.contains('.') {
            text.push_str(".0");
        }
        Ok(Value::Plain(text))
    }

    fn serialize_char(self, value: char) -> Result<Value, Unwritable> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<Value, Unwritable> {
        Ok(Value::Plain(quoted(value)))
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Value, Unwritable> {
        Err(Unwritable)
    }

    fn serialize_none(self) -> Result<Value, Unwritable> {
        Ok(Value::Absent)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Unwritable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Unwritable> {
        Ok(Value::Absent)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Unwritable> {
        Ok(Value::Absent)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<Value, Unwritable> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, Unwritable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, Unwritable> {
        Err(Unwritable)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, Unwritable> {
        Ok(Items(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unwritable> {
        Err(Unwritable)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unwritable> {
        Err(Unwritable)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unwritable> {
        Err(Unwritable)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Rows, Unwritable> {
        Ok(Rows::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Rows, Unwritable> {
        Ok(Rows::default())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unwritable> {
        Err(Unwritable)
    }
}

/// A list that grows.
#[derive(Debug)]
struct Items(Vec<Value>);

impl SerializeSeq for Items {
    type Ok = Value;
    type Error = Unwritable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.0.push(value.serialize(Writer)?);
        Ok(())
    }

    fn end(self) -> Result<Value, Unwritable> {
        Ok(Value::List(self.0))
    }
}

/// A table that grows.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<(String, Value)>,
    /// The key whose value comes next; of maps only.
    key: String,
}

impl Rows {
    /// Not generic, so that it is one piece of code.
    fn push(&mut self, name: String, value: Result<Value, Unwritable>) -> Result<(), Unwritable> {
        match value? {
            Value::Absent => {}
            value => self.rows.push((name, value)),
        }
        Ok(())
    }
}

impl SerializeStruct for Rows {
    type Ok = Value;
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        self.push(key(name), value.serialize(Writer))
    }

    fn end(self) -> Result<Value, Unwritable> {
        Ok(Value::Table(self.rows))
    }
}

impl SerializeMap for Rows {
    type Ok = Value;
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Unwritable> {
        // A key is a text; what quotes it as a value quotes it here where it must be.
        let Value::Plain(quoted) = name.serialize(Writer)? else { return Err(Unwritable) };
        let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(Unwritable)?;
        self.key = if key(inner) == inner { inner.to_owned() } else { quoted };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        let key = std::mem::take(&mut self.key);
        self.push(key, value.serialize(Writer))
    }

    fn end(self) -> Result<Value, Unwritable> {
        Ok(Value::Table(self.rows))
    }
}

#[cfg(test)]
mod tests;
