//! Verbs that need no host, and those of the host that the program runs on.

use super::{Action, Group, VERB, Verb, value};

const HERE: Verb = Verb { group: Group::Here, ..VERB };
const ON_HOST: Verb = Verb { group: Group::OnHost, action: Action::OnHost, words: 0..=usize::MAX, ..VERB };
const TTL: &str = "how long it is good for: a number and m, h, d or w";

pub(super) static VERBS: [Verb; 15] = [
    Verb {
        action: Action::KeysNew,
        name: "keys new",
        usage: "DIR --trust-domain NAME",
        words: 1..=1,
        summary: "make a trust domain: authorities of people and of hosts",
        text: "Makes in DIR: operators.pem and .key, which sign people; hosts.pem and .key, which sign authorities\n\
               of hosts; host.toml, which goes into the machine config of hosts. Keep DIR as you keep passwords.",
        flags: &[value(
            "trust-domain",
            "NAME",
            "its name: lower-case letters, digits, dots, hyphens, underscores",
        )],
        examples: &["lepton keys new ~/lab --trust-domain lab.example.org"],
        ..HERE
    },
    Verb {
        action: Action::KeysIssue,
        name: "keys issue",
        usage: "[--ttl TIME] [--to DIR] [KEYS]",
        words: 0..=1,
        summary: "make a certificate of a role",
        text: "KEYS is a folder of keys new; without it that of the context. ROLE.pem, with its key, goes there or\n\
               to another folder, with hosts.pem: give such a folder to others instead of your own.\n\
               --role says which: reader looks; operator also starts and stops services and hosts, and takes\n\
               support bundles; admin does all.",
        flags: &[value("ttl", "TIME", TTL), value("to", "DIR", "put it into this folder, which is made")],
        examples: &[
            "lepton keys issue --role admin ~/lab",
            "lepton keys issue --role reader --ttl 30d --to ~/for-ann ~/lab",
        ],
        ..HERE
    },
    Verb {
        action: Action::KeysHost,
        name: "keys host",
        usage: "[--ttl TIME] [KEYS]",
        words: 0..=1,
        summary: "print another host.toml, with an authority of its own",
        text: "For a machine config: [identity.authority], and [host] with whom to believe. It has a private key.\n\
               A host whose authority is over cannot be managed: 3653d unless --ttl is given.",
        flags: &[value("ttl", "TIME", TTL)],
        examples: &["(umask 77; lepton keys host ~/lab > rack-7.toml)"],
        ..HERE
    },
    Verb {
        action: Action::KeysShow,
        name: "keys show",
        usage: "[KEYS]",
        words: 0..=1,
        summary: "certificates of a folder, and until when they are good",
        ..HERE
    },
    Verb {
        action: Action::ContextAdd,
        name: "context add",
        usage: "NAME --keys DIR [--role ROLE] [--hosts HOST,...]",
        words: 1..=1,
        summary: "remember keys and hosts under a name",
        text: "Contexts are in ~/.config/lepton/config.toml ($XDG_CONFIG_HOME), for you to edit. The first one\n\
               is the current one. Without --role the greatest role is used whose certificate is in DIR.",
        flags: &[
            value("keys", "DIR", "folder of keys new, or one that keys issue --to has made"),
            value("hosts", "HOST,...", "hosts that are meant when -n is not given"),
        ],
        examples: &["lepton context add lab --keys ~/lab --hosts 192.0.2.10,192.0.2.11"],
        ..HERE
    },
    Verb {
        action: Action::ContextList,
        name: "context list",
        summary: "contexts; the current one has a star",
        ..HERE
    },
    Verb {
        action: Action::ContextUse,
        name: "context use",
        usage: "[NAME]",
        words: 0..=1,
        summary: "make a context the current one; without NAME, none",
        ..HERE
    },
    Verb {
        action: Action::ContextRemove,
        name: "context remove",
        usage: "NAME",
        words: 1..=1,
        summary: "forget a context; its keys stay",
        ..HERE
    },
    Verb {
        action: Action::Completions,
        name: "completions",
        usage: "SHELL",
        words: 1..=1,
        summary: "print completions for bash, zsh or fish",
        examples: &[
            "source <(lepton completions bash)",
            "lepton completions zsh > \"${fpath[1]}/_lepton\"",
            "lepton completions fish > ~/.config/fish/completions/lepton.fish",
        ],
        ..HERE
    },
    Verb {
        action: Action::Help,
        name: "help",
        usage: "[VERB | exit-codes]",
        words: 0..=2,
        summary: "how a verb is used",
        ..HERE
    },
    Verb { name: "ctr", usage: "...", summary: "images and containers; see lepton ctr --help", ..ON_HOST },
    Verb { name: "id", usage: "...", summary: "the identity of the host; see lepton id --help", ..ON_HOST },
    Verb { name: "port-forward", usage: "...", summary: "a port of a pod, on this host", ..ON_HOST },
    Verb {
        name: "install",
        usage: "[--check] [--wipe] DISK",
        summary: "put the running system on a disk",
        ..ON_HOST
    },
    Verb { name: "reset-state", summary: "empty the state partition at the next boot", ..ON_HOST },
];
