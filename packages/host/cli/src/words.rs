//! The command line, read by the table of verbs. It must not open files or look at the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lepton_host_api::roles::Role;
use lexopt::prelude::{Long, Short, Value, ValueExt as _};
use lexopt::{Error, Parser};

use crate::span;
use crate::verbs::{self, Action, Flag, Group, Verb};

/// How long a host may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a command line means.
#[derive(Debug)]
pub(crate) enum Line {
    /// Help, of a verb or of all.
    Help(Option<&'static Verb>),
    /// Do it.
    Do(Asked),
}

/// Options that every verb has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Global {
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) context: Option<String>,
    pub(crate) keys: Option<PathBuf>,
    pub(crate) role: Option<Role>,
    pub(crate) json: bool,
    pub(crate) timeout: Duration,
}

/// A verb with its words and options.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) verb: &'static Verb,
    pub(crate) words: Vec<String>,
    pub(crate) global: Global,
    flags: BTreeMap<&'static str, String>,
}

impl Asked {
    /// Whether an option without a value was given.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.flags.contains_key(long)
    }

    /// The value of an option.
    pub(crate) fn value(&self, long: &str) -> Option<&str> {
        self.flags.get(long).map(String::as_str)
    }

    /// The value of an option, as what it stands for.
    pub(crate) fn parsed<T>(
        &self,
        long: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        form: &str,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.value(long) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| format!("--{long} {text:?}: write {form}").into())
    }

    /// The word at that place.
    pub(crate) fn word(&self, place: usize) -> Option<&str> {
        self.words.get(place).map(String::as_str)
    }
}

impl Global {
    fn new() -> Self {
        Self { hosts: None, context: None, keys: None, role: None, json: false, timeout: TIMEOUT }
    }

    /// Takes an option that every verb has; none of those gives false.
    fn take(&mut self, flag: &Flag, parser: &mut Parser) -> Result<(), Error> {
        match flag.long {
            "output" => match parser.value()?.string()?.as_str() {
                "json" => self.json = true,
                "table" => self.json = false,
                other => return Err(format!("-o takes json or table, not {other:?}").into()),
            },
            "timeout" => {
                let text = parser.value()?.string()?;
                let time = span::parse(&text).filter(|time| !time.is_zero());
                self.timeout = time.ok_or_else(|| format!("--timeout {text:?}: write a time such as 10s"))?;
            }
            "role" => self.role = Some(parser.value()?.parse()?),
            "host" => {
                let text = parser.value()?.string()?;
                let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
                if names.iter().any(String::is_empty) {
                    return Err(format!("-n {text:?}: name hosts with commas between them").into());
                }
                self.hosts.get_or_insert_default().extend(names);
            }
            "context" => self.context = Some(parser.value()?.string()?),
            "keys" => self.keys = Some(parser.value()?.into()),
            other => unreachable!("no option {other}"),
        }
        Ok(())
    }
}

/// Options before the verb alone, so that it is known whom it is about even when the rest is another program's.
pub(crate) fn global(arguments: &[OsString]) -> Result<Global, Error> {
    let mut parser = Parser::from_args(arguments);
    let mut global = Global::new();
    while let Some(argument) = parser.next()? {
        match known(&argument, verbs::GLOBAL.iter().chain(&verbs::BEFORE)) {
            Some(flag) if flag.long == "help" => {}
            Some(flag) => global.take(flag, &mut parser)?,
            None => break,
        }
    }
    Ok(global)
}

/// Reads the command line.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Line, Error> {
    let mut parser = Parser::from_args(arguments);
    let mut global = Global::new();
    let mut help = false;
    let verb = loop {
        match parser.next()? {
            None if help => return Ok(Line::Help(None)),
            None => return Err("name a verb".into()),
            Some(Value(word)) => break find(&word.string()?, &mut parser, &mut help)?,
            Some(argument) => match known(&argument, verbs::GLOBAL.iter().chain(&verbs::BEFORE)) {
                Some(flag) if flag.long == "help" => help = true,
                Some(flag) => global.take(flag, &mut parser)?,
                None => return Err(argument.unexpected()),
            },
        }
    };
    if help {
        return Ok(Line::Help(verb));
    }
    let Some(verb) = verb else { return Ok(Line::Help(None)) };
    rest(verb, global, parser)
}

fn find(word: &str, parser: &mut Parser, help: &mut bool) -> Result<Option<&'static Verb>, Error> {
    if let Some(verb) = verbs::find(word) {
        return Ok(Some(verb));
    }
    let family = verbs::family(word);
    if family.is_empty() {
        return Err(format!("there is no verb {word:?}").into());
    }
    let names: Vec<&str> = family.iter().filter_map(|verb| verb.name.split(' ').nth(1)).collect();
    let names = names.join(", ");
    match parser.next()? {
        Some(Value(second)) => {
            let name = format!("{word} {}", second.string()?);
            verbs::find(&name)
                .map(Some)
                .ok_or_else(|| format!("there is no verb {name:?}; after {word}: {names}").into())
        }
        Some(Short('h') | Long("help")) => {
            *help = true;
            Ok(None)
        }
        Some(other) => Err(other.unexpected()),
        None => Err(format!("after {word} comes one of {names}").into()),
    }
}

fn rest(verb: &'static Verb, global: Global, mut parser: Parser) -> Result<Line, Error> {
    let mut asked = Asked { verb, words: Vec::new(), global, flags: BTreeMap::new() };
    if verb.group == Group::OnHost {
        // Another program's words.
        return Ok(Line::Do(asked));
    }
    while let Some(argument) = parser.next()? {
        if let Value(word) = argument {
            asked.words.push(word.string()?);
            // What follows a program is the program's.
            if verb.action == Action::Exec && asked.words.len() == 2 {
                asked
                    .words
                    .extend(parser.raw_args()?.map(|word| word.string()).collect::<Result<Vec<_>, _>>()?);
            }
            continue;
        }
        if let Some(flag) = known(&argument, verb.flags.iter()) {
            let value = flag.value.map(|_| parser.value()?.string()).transpose()?.unwrap_or_default();
            asked.flags.insert(flag.long, value);
        } else if let Some(flag) = known(&argument, verbs::GLOBAL.iter()) {
            if flag.long == "help" {
                return Ok(Line::Help(Some(verb)));
            }
            asked.global.take(flag, &mut parser)?;
        } else if let Some(flag) = known(&argument, verbs::BEFORE.iter()) {
            return Err(format!(
                "--{} stands before the verb: lepton --{} ... {}",
                flag.long, flag.long, verb.name
            )
            .into());
        } else {
            return Err(argument.unexpected());
        }
    }
    if !verb.words.contains(&asked.words.len()) {
        return Err(format!("usage: lepton {} {}", verb.name, verb.usage).trim_end().into());
    }
    Ok(Line::Do(asked))
}

fn known(
    argument: &lexopt::Arg<'_>,
    mut flags: impl Iterator<Item = &'static Flag>,
) -> Option<&'static Flag> {
    match argument {
        Short(short) => flags.find(|flag| flag.short == Some(*short)),
        Long(long) => flags.find(|flag| flag.long == *long),
        Value(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, String> {
        let words: Vec<OsString> = text.split_whitespace().map(Into::into).collect();
        parse(&words).map_err(|error| error.to_string())
    }

    fn asked(text: &str) -> Asked {
        match line(text) {
            Ok(Line::Do(asked)) => asked,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn verbs_and_their_options() {
        let logs = asked("-n a,b:1 -n [::1] logs -f --since=10m --tail 5 web -o json");
        assert_eq!((logs.verb.action, logs.word(0)), (Action::Logs, Some("web")));
        assert!(logs.has("follow") && logs.global.json);
        assert_eq!((logs.value("since"), logs.value("tail")), (Some("10m"), Some("5")));
        assert_eq!(logs.global.hosts.unwrap(), ["a", "b:1", "[::1]"]);

        let apply = asked("--context lab --timeout 2s config apply --try 60s -");
        assert_eq!((apply.verb.action, apply.word(0)), (Action::ConfigApply, Some("-")));
        assert_eq!(
            (apply.global.context.as_deref(), apply.global.timeout),
            (Some("lab"), Duration::from_secs(2))
        );
        assert_eq!(asked("keys issue --role reader").global.role, Some(Role::Reader));
        assert_eq!(asked("net").verb.action, asked("network").verb.action);
    }

    #[test]
    fn what_follows_a_program_is_the_programs() {
        for text in [
            "exec -it -c app web ls -l -o json",
            "exec -itc app web -- ls -l -o json",
            "exec -c app -i -t -- web ls -l -o json",
        ] {
            let exec = asked(text);
            assert_eq!(exec.words, ["web", "ls", "-l", "-o", "json"], "{text}");
            assert!(exec.has("stdin") && exec.has("tty") && !exec.global.json);
            assert_eq!(exec.value("container"), Some("app"));
        }
        assert_eq!(asked("-n a ctr run -x --help").verb.name, "ctr");
    }

    #[test]
    fn help() {
        let of = |text| match line(text) {
            Ok(Line::Help(verb)) => verb.map(|verb| verb.name),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!([of("--help"), of("-h"), of("config --help")], [None; 3]);
        assert_eq!(of("status -h"), Some("status"));
        assert_eq!(of("--help config apply"), Some("config apply"));
        assert_eq!(of("config apply --try 5s --help"), Some("config apply"));
    }

    #[test]
    fn wrong_lines_say_what_is_wrong() {
        for (text, part) in [
            ("", "name a verb"),
            ("halt", "no verb \"halt\""),
            ("config", "one of get, diff, check, apply, confirm"),
            ("config put", "after config: get"),
            ("status -n a", "--host stands before the verb"),
            ("-n a, status", "with commas"),
            ("start", "usage: lepton start SERVICE"),
            ("status x", "usage: lepton status"),
            ("exec web", "usage: lepton exec"),
            ("status -f", "invalid option '-f'"),
            ("-o xml status", "json or table"),
            ("--timeout 0s status", "such as 10s"),
            ("--role root status", "admin, operator and reader"),
            ("logs --tail", "missing argument"),
            ("logs --follow=x", "unexpected argument"),
        ] {
            let error = line(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn whom_it_is_about_is_known_before_the_verb_is() {
        let words = ["-o", "json", "-n", "a", "unknown", "-x"].map(Into::into);
        let global = global(&words).unwrap();
        assert_eq!((global.hosts.unwrap(), global.json), (vec!["a".to_owned()], true));
    }
}
