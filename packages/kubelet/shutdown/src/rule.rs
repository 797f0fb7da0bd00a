//! Match rules: which signals a client wants (`type='signal',interface='…',…`).

use crate::names::{LOGIN, LOGIN_INTERFACE, LOGIN_OWNER, LOGIN_PATH, PREPARE};

/// The longest rule that is taken.
const LONGEST: usize = 1024;
/// Keys of rules besides `arg0`, `arg1`, …
const KEYS: [&str; 8] =
    ["destination", "eavesdrop", "interface", "member", "path", "path_namespace", "sender", "type"];

/// A rule: its keys and values, sorted by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule(Vec<(String, String)>);

impl Rule {
    /// Reads a rule; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("the rule is longer than 1024 bytes");
        }
        let mut pairs = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (key, value) = rest.split_once('=').ok_or("a part of the rule has no value")?;
            let is_argument =
                key.strip_prefix("arg").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if !KEYS.contains(&key) && !is_argument {
                return Err("the rule has an unknown key");
            }
            let (value, after) = take_value(value)?;
            pairs.push((key.to_owned(), value));
            rest = after.trim_start();
        }
        pairs.sort();
        if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err("the rule has a key twice");
        }
        Ok(Self(pairs))
    }

    /// Whether it wants the signal that the host goes down.
    pub(crate) fn wants_prepare(&self) -> bool {
        self.0.iter().all(|(key, value)| match key.as_str() {
            "type" => value == "signal",
            "sender" => value == LOGIN || value == LOGIN_OWNER,
            "interface" => value == LOGIN_INTERFACE,
            "member" => value == PREPARE,
            "path" => value == LOGIN_PATH,
            "path_namespace" => {
                value == "/"
                    || LOGIN_PATH
                        .strip_prefix(value.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            "eavesdrop" => true,
            // The signal goes to nobody by name, and its only argument is no string.
            _ => false,
        })
    }
}

/// The value up to the next comma outside of quotes, and what comes after that. Outside of quotes `\'` is a quote.
fn take_value(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut is_quoted = false;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ',' if !is_quoted => return Ok((value, &text[at + 1..])),
            '\\' if !is_quoted && letters.peek().is_some_and(|(_, next)| *next == '\'') => {
                value.push('\'');
                letters.next();
            }
            letter => value.push(letter),
        }
    }
    if is_quoted { Err("the rule ends within quotes") } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told() {
        let told = [
            "type='signal',interface='org.freedesktop.login1.Manager',member='PrepareForShutdown',path='/org/freedesktop/login1'",
            "interface=org.freedesktop.login1.Manager, member='Prepare'For'Shutdown'",
            "type='signal',sender='org.freedesktop.login1',path_namespace='/org/freedesktop'",
            "path_namespace='/'",
            "eavesdrop='true'",
            "",
        ];
        let not_told = [
            "type='method_call'",
            "type='signal',member='PrepareForSleep'",
            "interface='org.freedesktop.DBus'",
            "path='/'",
            "path_namespace='/org/free'",
            "sender='org.freedesktop.DBus'",
            "destination=':1.1'",
            "arg0='true'",
            r"member=\'PrepareForShutdown\'",
        ];
        for (rules, wanted) in [(&told[..], true), (&not_told[..], false)] {
            for rule in rules {
                assert_eq!(Rule::parse(rule).unwrap().wants_prepare(), wanted, "{rule}");
            }
        }
    }

    #[test]
    fn bad_rules() {
        for bad in [
            "type",
            "type='signal",
            "colour='red'",
            "arg='x'",
            "type='signal',type='error'",
            "type='signal',,",
            "=x",
        ] {
            assert!(Rule::parse(bad).is_err(), "{bad}");
        }
        assert!(Rule::parse(&format!("member='{}'", "x".repeat(LONGEST))).is_err());
    }

    #[test]
    fn the_same_rule_in_another_order() {
        assert_eq!(Rule::parse("type='signal',member='M'"), Rule::parse("member=M,type=signal"));
        assert_ne!(Rule::parse("member='M'"), Rule::parse("member='N'"));
        assert_eq!(Rule::parse(r"arg0=''\''',arg1=','").unwrap().0[0].1, "'");
    }
}
