//! Reading one value of a document: the rules that make a mistake void no more than it must.
//!
//! * A bad value of an optional key: the key counts as not given.
//! * A bad element of a list: the others stay.
//! * A bad or missing required key, or settings that contradict each other: the table that holds them is left out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::de::{Deserialize, DeserializeOwned};
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use crate::document::{Problem, line_of};
use crate::suggest;

/// A value as the parser gives it.
pub(crate) type Value<'i> = Spanned<DeValue<'i>>;

/// What a document's values are read with.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    /// Name of the document in messages.
    pub(crate) source: &'a str,
    pub(crate) text: &'a str,
    pub(crate) problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Reports a mistake at a byte offset of the text.
    pub(crate) fn report(&mut self, offset: usize, key: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            source: self.source.to_owned(),
            line: line_of(self.text, offset),
            key: key.to_owned(),
            message: message.into(),
        });
    }
}

/// Where a value stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Its key with those of the tables around it, `network.links[0].mtu`.
    pub(crate) key: &'a str,
    /// Byte offset of the value.
    pub(crate) offset: usize,
}

/// A type that can be the value of a key.
pub(crate) trait Field: Sized {
    /// Reads a value; `None` when it is unusable, which has then been reported.
    fn read(value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// The value of a key that is not given; `None` for a required one.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether a source that has this value says nothing about the key.
    fn is_absent(&self) -> bool {
        false
    }

    /// Takes from a source of lower precedence what is absent here.
    fn fill(&mut self, lower: Self) {
        if self.is_absent() {
            *self = lower;
        }
    }

    /// What two elements of a list cannot have both; elements without one may repeat.
    fn identity(&self) -> Option<String> {
        None
    }
}

/// Reads what serde can read, with the message in our words.
pub(crate) fn read_plain<T: DeserializeOwned>(
    value: Value<'_>,
    place: Place<'_>,
    reader: &mut Reader<'_>,
) -> Option<T> {
    match T::deserialize(ValueDeserializer::from(value)) {
        Ok(value) => Some(value),
        Err(error) => {
            let offset = error.span().map_or(place.offset, |span| span.start);
            reader.report(offset, place.key, suggest::with_suggestion(error.message()));
            None
        }
    }
}

/// Makes types fields that serde reads.
macro_rules! plain_fields {
    ($($type:ty),+ $(,)?) => {$(
        impl $crate::field::Field for $type {
            fn read(
                value: $crate::field::Value<'_>,
                place: $crate::field::Place<'_>,
                reader: &mut $crate::field::Reader<'_>,
            ) -> Option<Self> {
                $crate::field::read_plain(value, place, reader)
            }
        }
    )+};
}
pub(crate) use plain_fields;

plain_fields!(bool, u32, String);

impl Field for IpAddr {
    fn read(value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let text: String = read_plain(value, place, reader)?;
        let address = text.parse().ok();
        if address.is_none() {
            reader.report(place.offset, place.key, format!("{text:?} is not an IP address"));
        }
        address
    }

    fn identity(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl<T: Field> Field for Option<T> {
    fn read(value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        T::read(value, place, reader).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn fill(&mut self, lower: Self) {
        match (self.as_mut(), lower) {
            (Some(value), Some(lower)) => value.fill(lower),
            (None, lower) => *self = lower,
            (Some(_), None) => {}
        }
    }
}

/// What a list is read into: apart from the elements' type every list is read by the same code.
trait Elements {
    /// Reads an element and puts it behind the others; gives what it is told apart by.
    fn add(&mut self, value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Option<String>>;

    /// Removes the last element.
    fn remove_last(&mut self);
}

impl<T: Field> Elements for Vec<T> {
    fn add(&mut self, value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Option<String>> {
        let element = T::read(value, place, reader)?;
        let identity = element.identity();
        self.push(element);
        Some(identity)
    }

    fn remove_last(&mut self) {
        self.pop();
    }
}

/// Reads a list; `None` when it is none.
fn read_list(
    value: Value<'_>,
    place: Place<'_>,
    reader: &mut Reader<'_>,
    list: &mut dyn Elements,
) -> Option<()> {
    let DeValue::Array(elements) = value.into_inner() else {
        reader.report(place.offset, place.key, "a list is needed: put the value in [ ]");
        return None;
    };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (index, element) in elements.into_iter().enumerate() {
        let offset = element.span().start;
        let key = format!("{}[{index}]", place.key);
        let Some(identity) = list.add(element, Place { key: &key, offset }, reader).flatten() else {
            continue;
        };
        if let Some(first) = seen.get(&identity) {
            let message = format!("{identity} is given already in line {first}; this one is left out");
            reader.report(offset, &key, message);
            list.remove_last();
        } else {
            seen.insert(identity, line_of(reader.text, offset));
        }
    }
    Some(())
}

impl<T: Field> Field for Vec<T> {
    fn read(value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut list = Self::new();
        read_list(value, place, reader, &mut list)?;
        Some(list)
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// A table with free keys.
impl<K, V> Field for BTreeMap<K, V>
where
    K: std::str::FromStr<Err = String> + Ord,
    V: Field,
{
    fn read(value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = value.into_inner() else {
            reader.report(place.offset, place.key, "a table is needed");
            return None;
        };
        let mut map = Self::new();
        for (name, value) in table {
            let key = format!("{}.{}", place.key, name.get_ref());
            match name.get_ref().parse::<K>() {
                Ok(parsed) => {
                    let offset = value.span().start;
                    if let Some(value) = V::read(value, Place { key: &key, offset }, reader) {
                        map.insert(parsed, value);
                    }
                }
                Err(message) => reader.report(name.span().start, &key, message),
            }
        }
        Some(map)
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }

    /// Key by key, as for a table with fixed keys.
    fn fill(&mut self, lower: Self) {
        for (key, value) in lower {
            self.entry(key).or_insert(value);
        }
    }
}

/// A text type whose mistakes its `FromStr` explains, as serde sees it.
pub(crate) fn parse_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err = String>,
    D: serde::Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}
