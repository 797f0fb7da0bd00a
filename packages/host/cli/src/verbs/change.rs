//! Verbs that change something on hosts, or take much from them.

use super::{Action, Flag, Group, VERB, Verb, flag, switch, value};

const CHANGE: Verb = Verb { group: Group::Change, ..VERB };

pub(super) static VERBS: [Verb; 10] = [
    Verb {
        action: Action::Start,
        name: "start",
        usage: "SERVICE",
        words: 1..=1,
        summary: "start a service and what it needs",
        method: Some("StartService"),
        ..CHANGE
    },
    Verb {
        action: Action::Stop,
        name: "stop",
        usage: "SERVICE",
        words: 1..=1,
        summary: "stop a service and what needs it",
        method: Some("StopService"),
        ..CHANGE
    },
    Verb {
        action: Action::Restart,
        name: "restart",
        usage: "SERVICE",
        words: 1..=1,
        summary: "stop a service and start it again",
        text: "It does not wait until the service is ready; lepton events SERVICE shows when it is.",
        method: Some("RestartService"),
        ..CHANGE
    },
    Verb {
        action: Action::ConfigApply,
        name: "config apply",
        usage: "[--try TIME] [--expect REVISION] FILE",
        words: 1..=1,
        summary: "put a machine config in place of the one applied before",
        text: "FILE is a machine config in TOML, or - for the standard input. The host keeps it on its state\n\
               partition. With --try it goes back to the one before after TIME, and when it restarts, unless\n\
               lepton config confirm is called in between: so a mistake in [network] locks nobody out.\n\
               Exit code 4 when somebody has changed the config meanwhile, or one is on trial.",
        flags: &[
            value("try", "TIME", "on trial for so long: 1s to 1h"),
            value(
                "expect",
                "REVISION",
                "only if this is the revision of the config in effect, as config get shows it",
            ),
        ],
        method: Some("ApplyConfig"),
        examples: &["lepton -n edge-1 config apply --try 60s edge-1.toml && lepton -n edge-1 config confirm"],
        ..CHANGE
    },
    Verb {
        action: Action::ConfigConfirm,
        name: "config confirm",
        usage: "[ID]",
        words: 0..=1,
        summary: "keep a machine config that is on trial",
        text: "Without ID: the one that is on trial.",
        method: Some("ConfirmConfig"),
        ..CHANGE
    },
    Verb {
        action: Action::Exec,
        name: "exec",
        usage: "[-i] [-t] [-c CONTAINER] POD [--] PROGRAM [ARGUMENT...]",
        words: 2..=usize::MAX,
        summary: "run a program in a container of one host",
        text: "POD is NAME or NAMESPACE/NAME; a container of the machine config is named with -c alone, and POD is\n\
               left out as in: lepton exec -c web - PROGRAM. The exit code is the program's.",
        flags: &[
            flag('i', "stdin", "pass on what is typed"),
            flag('t', "tty", "give it a terminal"),
            Flag {
                short: Some('c'),
                long: "container",
                value: Some("NAME"),
                text: "the container of the pod",
            },
        ],
        method: Some("Exec"),
        examples: &["lepton -n edge-1 exec -it default/web -- /bin/sh"],
        ..CHANGE
    },
    Verb {
        action: Action::Reboot,
        name: "reboot",
        summary: "stop the host and start it again",
        method: Some("Reboot"),
        ..CHANGE
    },
    Verb {
        action: Action::Poweroff,
        name: "poweroff",
        summary: "stop the host and switch it off",
        method: Some("Poweroff"),
        ..CHANGE
    },
    Verb {
        action: Action::Reset,
        name: "reset",
        usage: "--yes [--later]",
        summary: "empty the state partition, and restart the host for it",
        text: "All that the host has stored is lost: images, volumes, logs, applied configs, keys it made.",
        flags: &[
            switch("yes", "without it nothing happens"),
            switch("later", "do not restart: the partition is emptied whenever the host starts next"),
        ],
        method: Some("Reset"),
        ..CHANGE
    },
    Verb {
        action: Action::SupportBundle,
        name: "support-bundle",
        usage: "[--lines COUNT] [FILE]",
        words: 0..=1,
        summary: "an archive with all that helps to understand a host",
        text: "Status, logs, configuration without secrets, processes, network, mounts and kernel messages, as\n\
               tar.gz. FILE is HOST-support.tar.gz unless given; - is the standard output. Of several hosts\n\
               FILE is a folder.",
        flags: &[value("lines", "COUNT", "so many of the newest lines of each log: 2000 unless given")],
        method: Some("SupportBundle"),
        ..CHANGE
    },
];
