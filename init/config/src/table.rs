//! `table!`: a struct that is a table of the document.
//!
//! The one list of a table's keys gives its type, its reader with the check for unknown keys, its merge rule, its
//! place in the effective config and its schema.

use crate::field::{Place, Reader};

/// Rules that concern several keys of a table.
pub(crate) trait Check: Sized {
    /// Reports contradictions and removes what must not be applied; `None` leaves the whole table out.
    fn check(self, _place: Place<'_>, _reader: &mut Reader<'_>) -> Option<Self> {
        Some(self)
    }

    /// Optional keys without which the table would mean something else: a bad value of one voids the table.
    const VITAL: &'static [&'static str] = &[];
    /// Whether an unknown key voids the table, because a choice with a condition fewer chooses more.
    const STRICT: bool = false;

    /// See [`crate::field::Field::identity`].
    fn identity(&self) -> Option<String> {
        None
    }
}

/// Defines a table: first the keys that must be given, then those that may be left out.
macro_rules! table {
    (
        $(#[$meta:meta])*
        struct $name:ident {
            required { $($(#[$required_meta:meta])* $required:ident: $required_type:ty,)* }
            optional { $($(#[$optional_meta:meta])* $optional:ident: $optional_type:ty,)* }
        }
    ) => {
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $(#[$meta])*
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $name {
            $($(#[$required_meta])* pub $required: $required_type,)*
            $(
                $(#[$optional_meta])*
                #[serde(default, skip_serializing_if = "crate::field::Field::is_absent")]
                pub $optional: $optional_type,
            )*
        }

        impl $crate::field::Field for $name {
            fn read(
                value: $crate::field::Value<'_>,
                place: $crate::field::Place<'_>,
                reader: &mut $crate::field::Reader<'_>,
            ) -> Option<Self> {
                let toml::de::DeValue::Table(table) = value.into_inner() else {
                    reader.report(place.offset, place.key, "a table is needed");
                    return None;
                };
                const KEYS: &[&str] = &[$(stringify!($required),)* $(stringify!($optional),)*];
                $(let mut $required: Option<$required_type> = None;)*
                $(let mut $optional: Option<$optional_type> = None;)*
                let mut broken = false;
                for (name, value) in table {
                    let key = $crate::table::join(place.key, name.get_ref());
                    let at = $crate::field::Place { key: &key, offset: value.span().start };
                    match name.get_ref().as_ref() {
                        $(text if $crate::table::is_key(text, stringify!($required)) => {
                            $required = $crate::field::Field::read(value, at, reader);
                            broken |= $required.is_none();
                        })*
                        $(text if $crate::table::is_key(text, stringify!($optional)) => {
                            $optional = $crate::field::Field::read(value, at, reader);
                            let is_vital = <Self as $crate::table::Check>::VITAL.contains(&text);
                            broken |= $optional.is_none() && is_vital;
                        })*
                        text => {
                            let message = $crate::table::unknown(text, KEYS);
                            reader.report(name.span().start, &key, message);
                            broken |= <Self as $crate::table::Check>::STRICT;
                        }
                    }
                }
                if broken {
                    return None;
                }
                $(
                    if $required.is_none() {
                        let message = $crate::table::missing(stringify!($required));
                        reader.report(place.offset, place.key, message);
                    }
                )*
                let read = Self {
                    $($required: $required?,)*
                    $($optional: $optional.or_else($crate::field::Field::absent)?,)*
                };
                $crate::table::Check::check(read, place, reader)
            }

            fn absent() -> Option<Self> {
                Some(Self {
                    $($required: <$required_type as $crate::field::Field>::absent()?,)*
                    $($optional: $crate::field::Field::absent()?,)*
                })
            }

            fn is_absent(&self) -> bool {
                $(if !$crate::field::Field::is_absent(&self.$required) { return false; })*
                $(if !$crate::field::Field::is_absent(&self.$optional) { return false; })*
                true
            }

            fn fill(&mut self, lower: Self) {
                $($crate::field::Field::fill(&mut self.$required, lower.$required);)*
                $($crate::field::Field::fill(&mut self.$optional, lower.$optional);)*
            }

            fn identity(&self) -> Option<String> {
                $crate::table::Check::identity(self)
            }
        }
    };
}
pub(crate) use table;

/// Whether `text` is the key of the field `name`: hyphens for underscores.
pub(crate) fn is_key(text: &str, name: &str) -> bool {
    let name = plain(name);
    text.len() == name.len()
        && text.bytes().zip(name.bytes()).all(|(key, field)| key == if field == b'_' { b'-' } else { field })
}

/// The name of a field that is a keyword carries `r#`.
fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

pub(crate) fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

pub(crate) fn unknown(key: &str, known: &[&str]) -> String {
    let known: Vec<String> = known.iter().map(|name| plain(name).replace('_', "-")).collect();
    let hint = crate::suggest::hint(key, known.iter().map(String::as_str));
    format!("unknown key{hint} (known here: {})", known.join(", "))
}

pub(crate) fn missing(name: &str) -> String {
    format!("the key {:?} is missing", plain(name).replace('_', "-"))
}
