//! `text_type!`, `as_text!` and `number_type!`: values that are checked once, when they are made.

/// A text with a rule: `parse` takes the text and gives the value or what is wrong with it.
macro_rules! text_type {
    ($(#[$meta:meta])* $name:ident($inner:ty), parse = $parse:expr, pattern = $pattern:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let parse: fn(&str) -> Result<$inner, String> = $parse;
                parse(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::field::parse_text(deserializer)
            }
        }

        impl $crate::field::Field for $name {
            fn read(
                value: $crate::field::Value<'_>,
                place: $crate::field::Place<'_>,
                reader: &mut $crate::field::Reader<'_>,
            ) -> Option<Self> {
                let text: String = $crate::field::read_plain(value, place, reader)?;
                text.parse().map_err(|message: String| reader.report(place.offset, place.key, message)).ok()
            }

            fn identity(&self) -> Option<String> {
                Some(self.to_string())
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}
pub(crate) use text_type;

/// A number between two bounds, both allowed.
macro_rules! number_type {
    ($(#[$meta:meta])* $name:ident($inner:ty), $first:literal ..= $last:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
        pub struct $name($inner);

        impl $name {
            /// The number, when it is within the bounds.
            pub fn new(number: i64) -> Option<Self> {
                ($first..=$last).contains(&number).then(|| <$inner>::try_from(number).ok()).flatten().map(Self)
            }

            /// The number.
            pub fn get(self) -> $inner {
                self.0
            }

            fn out_of_range(number: i64) -> String {
                format!("{number} is out of range: {} to {}", $first, $last)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = i64::deserialize(deserializer)?;
                Self::new(number).ok_or_else(|| serde::de::Error::custom(Self::out_of_range(number)))
            }
        }

        impl $crate::field::Field for $name {
            fn read(
                value: $crate::field::Value<'_>,
                place: $crate::field::Place<'_>,
                reader: &mut $crate::field::Reader<'_>,
            ) -> Option<Self> {
                let number: i64 = $crate::field::read_plain(value, place, reader)?;
                let read = Self::new(number);
                if read.is_none() {
                    reader.report(place.offset, place.key, Self::out_of_range(number));
                }
                read
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "integer", "minimum": $first, "maximum": $last })
            }
        }
    };
}
pub(crate) use number_type;

/// Texts that are kept as they were written.
macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}
pub(crate) use as_text;
