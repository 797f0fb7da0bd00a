//! The one table of verbs: the command line is read by it, and help and completions are printed from it.
//! It must not do anything.

mod change;
mod here;
mod look;

use std::ops::RangeInclusive;

use lepton_host_api::roles::{METHODS, Role};

/// What shall be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Completions,
    ConfigApply,
    ConfigCheck,
    ConfigConfirm,
    ConfigDiff,
    ConfigGet,
    Containers,
    ContextAdd,
    ContextList,
    ContextRemove,
    ContextUse,
    Disks,
    Dmesg,
    Events,
    Exec,
    Help,
    Images,
    KeysHost,
    KeysIssue,
    KeysNew,
    KeysShow,
    Logs,
    Mounts,
    Net,
    Pods,
    Poweroff,
    Processes,
    Reboot,
    Reset,
    Restart,
    Services,
    Start,
    Status,
    Stop,
    SupportBundle,
    Time,
    Top,
    Version,
    /// What the host's own programs do, and no API: `install`, `ctr`, `id`, `port-forward`, `reset-state`.
    OnHost,
}

/// Headings of the list of verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Look,
    Change,
    Here,
    OnHost,
}

/// An option of a verb.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    pub(crate) short: Option<char>,
    pub(crate) long: &'static str,
    /// What stands for its value in help; none when it takes none.
    pub(crate) value: Option<&'static str>,
    pub(crate) text: &'static str,
}

/// One verb.
#[derive(Clone, Debug)]
pub(crate) struct Verb {
    pub(crate) action: Action,
    /// One word, or two: `config get`.
    pub(crate) name: &'static str,
    /// Other names.
    pub(crate) aliases: &'static [&'static str],
    pub(crate) group: Group,
    /// What follows the name in help.
    pub(crate) usage: &'static str,
    /// How many words follow it.
    pub(crate) words: RangeInclusive<usize>,
    /// One line.
    pub(crate) summary: &'static str,
    /// More lines; may be empty.
    pub(crate) text: &'static str,
    pub(crate) flags: &'static [Flag],
    /// Methods of the API that it calls, that with the greatest role first.
    pub(crate) method: Option<&'static str>,
    pub(crate) examples: &'static [&'static str],
}

/// What most verbs have, for struct update.
const VERB: Verb = Verb {
    action: Action::Help,
    name: "",
    aliases: &[],
    group: Group::Look,
    usage: "",
    words: 0..=0,
    summary: "",
    text: "",
    flags: &[],
    method: None,
    examples: &[],
};

const fn flag(short: char, long: &'static str, text: &'static str) -> Flag {
    Flag { short: Some(short), long, value: None, text }
}

const fn switch(long: &'static str, text: &'static str) -> Flag {
    Flag { short: None, long, value: None, text }
}

const fn value(long: &'static str, value: &'static str, text: &'static str) -> Flag {
    Flag { short: None, long, value: Some(value), text }
}

/// Options that stand before or after every verb.
pub(crate) static GLOBAL: [Flag; 4] = [
    Flag {
        short: Some('o'),
        long: "output",
        value: Some("FORMAT"),
        text: "table, or json: one object on each line, with its host",
    },
    Flag {
        short: None,
        long: "timeout",
        value: Some("TIME"),
        text: "how long a host may take to answer: 10s unless given",
    },
    Flag { short: Some('h'), long: "help", value: None, text: "print how a verb is used" },
    Flag {
        short: None,
        long: "role",
        value: Some("ROLE"),
        text: "use the certificate of this role: reader, operator or admin",
    },
];

/// Options that stand before the verb, because verbs have others of these names.
pub(crate) static BEFORE: [Flag; 3] = [
    Flag {
        short: Some('n'),
        long: "host",
        value: Some("HOST,..."),
        text: "the hosts: names or addresses, with :PORT unless it is 7443; or unix:PATH",
    },
    Flag {
        short: None,
        long: "context",
        value: Some("NAME"),
        text: "use this context instead of the current one",
    },
    Flag {
        short: None,
        long: "keys",
        value: Some("DIR"),
        text: "use the certificates of this folder instead of a context's",
    },
];

/// All verbs, as help lists them.
pub(crate) fn all() -> impl Iterator<Item = &'static Verb> {
    look::VERBS.iter().chain(&change::VERBS).chain(&here::VERBS)
}

/// The verb of a name or alias.
pub(crate) fn find(name: &str) -> Option<&'static Verb> {
    all().find(|verb| verb.name == name || verb.aliases.contains(&name))
}

/// Verbs that are written as two words, of which this is the first.
pub(crate) fn family(word: &str) -> Vec<&'static Verb> {
    all().filter(|verb| verb.name.split_once(' ').is_some_and(|(first, _)| first == word)).collect()
}

impl Verb {
    /// The least role that may do it, where it asks a host.
    pub(crate) fn role(&self) -> Option<Role> {
        let name = self.method?;
        METHODS.iter().find(|method| method.name == name).map(|method| method.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut names: Vec<&str> =
            all().flat_map(|verb| verb.aliases.iter().copied().chain([verb.name])).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is there twice");
        for verb in all() {
            assert!(!verb.summary.is_empty() && verb.summary.len() <= 62, "{}", verb.name);
            assert_eq!(verb.method.is_some(), verb.role().is_some(), "{}: no such method", verb.name);
            let asks = matches!(verb.group, Group::Look | Group::Change);
            assert_eq!(asks, verb.method.is_some(), "{}", verb.name);
            let longs: Vec<&str> = verb.flags.iter().chain(&GLOBAL).map(|flag| flag.long).collect();
            assert!(
                longs.iter().enumerate().all(|(place, long)| !longs[..place].contains(long)),
                "{}",
                verb.name
            );
            for line in verb.text.lines().chain(verb.flags.iter().map(|flag| flag.text)) {
                assert!(line.len() <= 100, "{}: {line}", verb.name);
            }
        }
    }

    #[test]
    fn every_method_has_a_verb() {
        for method in METHODS {
            assert!(all().any(|verb| verb.method == Some(method.name)), "{}", method.name);
        }
    }

    #[test]
    fn names() {
        assert_eq!(find("network").unwrap().action, Action::Net);
        assert_eq!(find("config get").unwrap().action, Action::ConfigGet);
        assert!(find("config").is_none() && find("halt").is_none());
        assert_eq!(family("config").len(), 5);
        assert!(family("status").is_empty());
    }
}
