//! The kernel command line: words and quotes as the kernel itself reads them.
//!
//! This file knows the syntax only; what a key means is in `options.rs`.

use std::{fs, io};

/// The parameters of `/proc/cmdline`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cmdline(Vec<(String, Option<String>)>);

impl Cmdline {
    /// Reads the running kernel's command line; needs `/proc`.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/cmdline")?))
    }

    /// Splits a command line as the kernel's `next_arg` does: blanks separate, double quotes hide blanks, and
    /// quotes around a whole parameter or around its value are dropped.
    pub fn parse(text: &str) -> Self {
        let mut parameters = Vec::new();
        let mut word = String::new();
        let mut quoted = false;
        for c in text.chars().chain([' ']) {
            if c == '"' {
                quoted = !quoted;
            }
            if c.is_whitespace() && !quoted {
                if !word.is_empty() {
                    parameters.push(split(&word));
                    word.clear();
                }
            } else {
                word.push(c);
            }
        }
        // A quote that is never closed hides the final blank, too: the rest is one parameter.
        if !word.is_empty() {
            parameters.push(split(word.trim_end()));
        }
        Self(parameters)
    }

    /// The value of the last `key=value`, as for the kernel's own parameters; a bare `key` has the value "".
    pub fn value(&self, key: &str) -> Option<&str> {
        self.iter().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// All parameters in order; a bare word has the value "".
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_deref().unwrap_or_default()))
    }
}

fn split(word: &str) -> (String, Option<String>) {
    let word = match word.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest),
        None => word,
    };
    match word.split_once('=') {
        None => (word.to_owned(), None),
        Some((key, value)) => {
            let value = match value.strip_prefix('"') {
                Some(rest) => rest.strip_suffix('"').unwrap_or(rest),
                None => value,
            };
            (key.to_owned(), Some(value.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        let cases: [(&str, &[(&str, &str)]); 9] = [
            ("", &[]),
            (" \n", &[]),
            ("quiet  console=ttyS0\n", &[("quiet", ""), ("console", "ttyS0")]),
            ("a=\"b c\" d", &[("a", "b c"), ("d", "")]),
            ("\"a=b c\" d", &[("a", "b c"), ("d", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a=", &[("a", "")]),
            ("a=\"open end", &[("a", "open end")]),
            ("a=b\"c d\"e", &[("a", "b\"c d\"e")]),
        ];
        for (text, expected) in cases {
            assert_eq!(Cmdline::parse(text).iter().collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_last_value_wins() {
        let cmdline = Cmdline::parse("panic=5 quiet panic=-1");
        assert_eq!(cmdline.value("panic"), Some("-1"));
        assert_eq!(cmdline.value("quiet"), Some(""));
        assert_eq!(cmdline.value("debug"), None);
    }
}
