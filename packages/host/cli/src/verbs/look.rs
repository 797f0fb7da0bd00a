//! Verbs that look at hosts.

use super::{Action, Flag, Group, VERB, Verb, flag, switch, value};

const FOLLOW: Flag = flag('f', "follow", "go on with lines to come, until interrupted");
const SINCE: Flag =
    value("since", "TIME", "only lines since then: 10m, 2h, 3d, or a time such as 2026-11-30T08:00:00Z");
const TAIL: Flag = value("tail", "COUNT", "only so many of the newest lines");

pub(super) static VERBS: [Verb; 18] = [
    Verb {
        action: Action::Status,
        name: "status",
        summary: "the host: image, phase, addresses, configuration, services",
        text: "Of one host everything; of several a line for each.",
        method: Some("Status"),
        examples: &["lepton -n 192.0.2.10 status", "lepton -n edge-1,edge-2 status -o json"],
        ..VERB
    },
    Verb {
        action: Action::Services,
        name: "services",
        usage: "[NAME]",
        words: 0..=1,
        summary: "services of PID 1, or one of them",
        method: Some("Services"),
        examples: &["lepton -n edge-1 services", "lepton -n edge-1 services runtime"],
        ..VERB
    },
    Verb {
        action: Action::Logs,
        name: "logs",
        usage: "[-f] [--since TIME] [--tail COUNT] [NAME]",
        words: 0..=1,
        summary: "the log of a service, of a pod, or of the kernel",
        text: "NAME is a service; when no service has that name, a pod (NAME or NAMESPACE/NAME); when no pod\n\
               has it, a container of the machine config. Without NAME: the kernel's messages.\n\
               Control characters of a log are shown as \\x1b, so that no host writes to your terminal.",
        flags: &[
            FOLLOW,
            SINCE,
            TAIL,
            Flag {
                short: Some('c'),
                long: "container",
                value: Some("NAME"),
                text: "the container of the pod NAME",
            },
        ],
        method: Some("Logs"),
        examples: &[
            "lepton -n edge-1 logs -f --since 10m runtime",
            "lepton -n edge-1,edge-2 logs --tail 5 default/web -c app",
        ],
        ..VERB
    },
    Verb {
        action: Action::Dmesg,
        name: "dmesg",
        usage: "[-f] [--since TIME] [--tail COUNT]",
        summary: "messages of the kernel and of PID 1",
        flags: &[FOLLOW, SINCE, TAIL],
        method: Some("Dmesg"),
        examples: &["lepton -n edge-1 dmesg --tail 20"],
        ..VERB
    },
    Verb {
        action: Action::Events,
        name: "events",
        usage: "[--count COUNT] [SERVICE]",
        words: 0..=1,
        summary: "services as they change their state, until interrupted",
        text: "The first lines show every service as it is.",
        flags: &[value("count", "COUNT", "end after so many lines of each host")],
        method: Some("Events"),
        examples: &["lepton -n edge-1,edge-2 events runtime"],
        ..VERB
    },
    Verb {
        action: Action::Top,
        name: "top",
        usage: "[--interval TIME] [--count COUNT]",
        summary: "processors, memory and disks used by service and container",
        text: "CPU is the share of one processor: 100% is one processor in full use.",
        flags: &[
            value("interval", "TIME", "time between two tables: 2s unless given, 200ms to 60s"),
            value("count", "COUNT", "end after so many tables"),
        ],
        method: Some("Top"),
        examples: &["lepton -n edge-1 top", "lepton -n edge-1,edge-2 top --count 1"],
        ..VERB
    },
    Verb {
        action: Action::Processes,
        name: "processes",
        aliases: &["ps"],
        summary: "all processes of the host",
        method: Some("Processes"),
        ..VERB
    },
    Verb {
        action: Action::Net,
        name: "net",
        aliases: &["network"],
        summary: "links, addresses, routes, name servers, sockets that listen",
        method: Some("Network"),
        ..VERB
    },
    Verb {
        action: Action::Disks,
        name: "disks",
        summary: "disks and their partitions",
        method: Some("Disks"),
        ..VERB
    },
    Verb {
        action: Action::Mounts,
        name: "mounts",
        summary: "what is mounted, and how full it is",
        method: Some("Mounts"),
        ..VERB
    },
    Verb {
        action: Action::Time,
        name: "time",
        summary: "the clock, and how well it follows time servers",
        text: "OFFSET is how far the host's clock was off when it was compared last.",
        method: Some("Time"),
        ..VERB
    },
    Verb {
        action: Action::ConfigGet,
        name: "config get",
        usage: "[--applied] [--secrets]",
        summary: "the machine config in effect",
        text: "Secrets are shown as (secret) unless --secrets is given, which takes the role admin.",
        flags: &[
            switch("applied", "only what was applied through the API"),
            switch("secrets", "with secrets; for admins"),
        ],
        method: Some("GetConfig"),
        examples: &["lepton -n edge-1 config get > edge-1.toml"],
        ..VERB
    },
    Verb {
        action: Action::ConfigDiff,
        name: "config diff",
        usage: "FILE",
        words: 1..=1,
        summary: "what applying a machine config would change",
        text: "FILE is a machine config in TOML, or - for the standard input. For each key: whether it takes\n\
               effect at once, at the next start of the host, or never, because another source has it, too.",
        method: Some("DiffConfig"),
        ..VERB
    },
    Verb {
        action: Action::ConfigCheck,
        name: "config check",
        usage: "FILE",
        words: 1..=1,
        summary: "whether a file is a machine config, and what is wrong with it",
        text: "The host judges, so the answer is of its version. Exit code 1 when something is wrong.",
        method: Some("CheckConfig"),
        ..VERB
    },
    Verb {
        action: Action::Pods,
        name: "pods",
        usage: "[NAMESPACE]",
        words: 0..=1,
        summary: "pods of the host",
        method: Some("Pods"),
        ..VERB
    },
    Verb {
        action: Action::Containers,
        name: "containers",
        usage: "[-a]",
        summary: "containers of the host",
        flags: &[flag('a', "all", "also those that have ended")],
        method: Some("Containers"),
        ..VERB
    },
    Verb {
        action: Action::Images,
        name: "images",
        summary: "images that the container runtime has",
        method: Some("Images"),
        ..VERB
    },
    Verb {
        action: Action::Version,
        name: "version",
        summary: "what runs here and on hosts, and as whom they know you",
        group: Group::Look,
        method: Some("Version"),
        ..VERB
    },
];
