//! What is used of hosts, and by whom.

use lepton_host_api::v1 as api;
use serde::Serialize;
use serde_json::Value;

use super::{NONE, maybe, percent, size, text};
use crate::output::{Table, View, object, objects};
use crate::span;

/// Figures of one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Tops(pub(crate) api::TopResponse);

impl View for Tops {
    fn tables(&self, _: bool) -> Vec<Table> {
        let host = self.0.host.clone().unwrap_or_default();
        let load: Vec<String> =
            host.load_centi.iter().map(|centi| format!("{}.{:02}", centi / 100, centi % 100)).collect();
        let row = vec![
            host.processors.to_string(),
            percent(host.cpu_permille),
            text(&load.join(" ")),
            format!("{} of {}", size(host.memory_used_bytes), size(host.memory_total_bytes)),
            format!("{}/s", size(host.read_bytes_per_s)),
            format!("{}/s", size(host.write_bytes_per_s)),
            host.tasks.to_string(),
        ];
        vec![
            Table {
                head: &["PROCESSORS", "CPU", "LOAD", "MEMORY", "READ", "WRITE", "TASKS"],
                rows: vec![row],
            },
            Table {
                head: &["KIND", "NAME", "POD", "CPU", "TIME", "MEMORY", "LIMIT", "TASKS", "READ", "WRITE"],
                rows: self.0.units.iter().map(unit).collect(),
            },
        ]
    }

    fn objects(&self) -> Vec<Value> {
        vec![object(&self.0)]
    }
}

fn unit(unit: &api::UnitFigures) -> Vec<String> {
    let kind = match unit.kind() {
        api::UnitKind::Service => "service",
        api::UnitKind::Container => "container",
        api::UnitKind::Unspecified => NONE,
    };
    vec![
        kind.to_owned(),
        unit.name.clone(),
        text(&unit.pod),
        percent(unit.cpu_permille),
        span::short(unit.cpu_ms),
        maybe(unit.memory_bytes, size),
        maybe(unit.memory_max_bytes, size),
        maybe(unit.tasks, |tasks| tasks.to_string()),
        format!("{}/s", size(unit.read_bytes_per_s)),
        format!("{}/s", size(unit.write_bytes_per_s)),
    ]
}

impl View for api::ProcessesResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        let row = |process: &api::Process| {
            let command = if process.command.is_empty() {
                format!("[{}]", process.name)
            } else {
                process.command.clone()
            };
            vec![
                process.pid.to_string(),
                process.parent.to_string(),
                process.uid.to_string(),
                process.state.clone(),
                process.threads.to_string(),
                size(process.memory_bytes),
                span::short(process.cpu_ms),
                span::rfc3339(process.start_unix_ms),
                text(&process.service),
                command,
            ]
        };
        let head = &["PID", "PARENT", "UID", "S", "THREADS", "MEMORY", "CPU", "START", "SERVICE", "COMMAND"];
        vec![Table { head, rows: self.processes.iter().map(row).collect() }]
    }

    fn objects(&self) -> Vec<Value> {
        objects(&self.processes)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::output::printed;

    #[test]
    fn figures_of_a_moment() {
        let top = api::TopResponse {
            time_unix_ms: 0,
            host: Some(api::HostFigures {
                processors: 2,
                cpu_permille: 314,
                load_centi: vec![5, 120, 0],
                memory_total_bytes: 1 << 30,
                memory_used_bytes: 200 << 20,
                read_bytes_per_s: 0,
                write_bytes_per_s: 4096,
                tasks: 90,
            }),
            units: vec![
                api::UnitFigures {
                    kind: 2,
                    name: "app".into(),
                    pod: "default/web".into(),
                    id: "ab12".into(),
                    cpu_permille: 1250,
                    cpu_ms: 61_000,
                    memory_bytes: Some(5 << 20),
                    memory_max_bytes: Some(64 << 20),
                    tasks: Some(3),
                    ..Default::default()
                },
                api::UnitFigures { kind: 1, name: "network".into(), cpu_permille: 2, ..Default::default() },
            ],
        };
        let text = printed(false, &["a"], |output| output.answers(&[("a", Tops(top.clone()))]));
        expect![[r#"
            PROCESSORS  CPU    LOAD            MEMORY                READ   WRITE    TASKS
            2           31.4%  0.05 1.20 0.00  200.0 MiB of 1.0 GiB  0 B/s  4 KiB/s  90

            KIND       NAME     POD          CPU     TIME  MEMORY   LIMIT     TASKS  READ   WRITE
            container  app      default/web  125.0%  1m1s  5.0 MiB  64.0 MiB  3      0 B/s  0 B/s
            service    network  -            0.2%    0.0s  -        -         -      0 B/s  0 B/s
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn processes() {
        let answer = api::ProcessesResponse {
            processes: vec![
                api::Process {
                    pid: 1,
                    parent: 0,
                    state: "S".into(),
                    threads: 1,
                    memory_bytes: 1 << 20,
                    name: "init".into(),
                    command: "/init".into(),
                    ..Default::default()
                },
                api::Process {
                    pid: 2,
                    state: "I".into(),
                    threads: 1,
                    name: "kthreadd".into(),
                    ..Default::default()
                },
            ],
        };
        let text = printed(false, &["a"], |output| output.answers(&[("a", answer)]));
        expect![[r#"
            PID  PARENT  UID  S  THREADS  MEMORY   CPU   START                 SERVICE  COMMAND
            1    0       0    S  1        1.0 MiB  0.0s  1970-01-01T00:00:00Z  -        /init
            2    0       0    I  1        0 B      0.0s  1970-01-01T00:00:00Z  -        [kthreadd]
        "#]]
        .assert_eq(&text);
    }
}
