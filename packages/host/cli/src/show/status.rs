//! The host as a whole, and its services.

use lepton_host_api::v1 as api;
use serde_json::Value;

use super::{NONE, fact, list, maybe, name, size, text};
use crate::output::{Table, View, objects};
use crate::span;

const SERVICES: &[&str] = &["SERVICE", "STATE", "FOR", "STARTS", "PID", "MEMORY", "SAYS"];

impl View for api::StatusResponse {
    fn tables(&self, several: bool) -> Vec<Table> {
        let phase =
            format!("{}, up {}", name(self.phase().as_str_name(), "PHASE_"), span::short(self.uptime_ms));
        let memory = maybe(self.memory.as_ref(), |memory| {
            format!("{} of {}", size(memory.used_bytes), size(memory.total_bytes))
        });
        if several {
            let is_well = |service: &&api::Service| {
                matches!(service.state(), api::ServiceState::Ready | api::ServiceState::Done)
            };
            let well = self.services.iter().filter(is_well).count();
            let row = vec![
                text(&self.hostname),
                format!("{} {} {}", text(&self.image), text(&self.image_version), self.arch),
                phase,
                format!("{well}/{}", self.services.len()),
                memory,
                list(&self.addresses),
                self.config_errors.len().to_string(),
            ];
            return vec![Table {
                head: &["NAME", "IMAGE", "PHASE", "SERVICES", "MEMORY", "ADDRESSES", "ERRORS"],
                rows: vec![row],
            }];
        }
        let state = self.state.as_ref();
        let device = state.and_then(|state| state.device.as_deref()).unwrap_or("memory");
        let mut rows = vec![
            fact("host", text(&self.hostname)),
            fact("image", format!("{} {} {}", text(&self.image), text(&self.image_version), self.arch)),
            fact("kernel", text(&self.kernel)),
            fact("phase", phase),
            fact("addresses", list(&self.addresses)),
            fact("state", maybe(state, |state| format!("{device} ({})", state.filesystem))),
            fact("config", list(&self.config_sources)),
            fact("memory", memory),
            fact("boot", text(&self.boot_id)),
        ];
        rows.extend(self.config_errors.iter().map(|error| fact("error", error.as_str())));
        vec![Table { head: &[], rows }, services(&self.services)]
    }
}

impl View for api::ServicesResponse {
    fn tables(&self, several: bool) -> Vec<Table> {
        match self.services.as_slice() {
            [service] if !several => vec![facts(service)],
            all => vec![services(all)],
        }
    }

    fn objects(&self) -> Vec<Value> {
        objects(&self.services)
    }
}

/// A row for each service.
fn services(services: &[api::Service]) -> Table {
    Table { head: SERVICES, rows: services.iter().map(service_row).collect() }
}

/// A row of one service.
fn service_row(service: &api::Service) -> Vec<String> {
    vec![
        service.name.clone(),
        state(service.state()),
        span::short(service.for_ms),
        service.starts.to_string(),
        maybe(service.pid, |pid| pid.to_string()),
        maybe(service.memory_bytes, size),
        service.text.clone().or_else(|| service.last_end.clone()).unwrap_or_default(),
    ]
}

fn state(state: api::ServiceState) -> String {
    name(state.as_str_name(), "SERVICE_STATE_")
}

fn facts(service: &api::Service) -> Table {
    let rows = vec![
        fact("service", service.name.as_str()),
        fact("state", format!("{} for {}", state(service.state()), span::short(service.for_ms))),
        fact("says", service.text.as_deref().unwrap_or(NONE)),
        fact("last end", service.last_end.as_deref().unwrap_or(NONE)),
        fact("starts", service.starts.to_string()),
        fact("pid", maybe(service.pid, |pid| pid.to_string())),
        fact("memory", maybe(service.memory_bytes, size)),
        fact("tasks", maybe(service.tasks, |tasks| tasks.to_string())),
        fact("dropped", format!("{} log lines", service.dropped_lines)),
    ];
    Table { head: &[], rows }
}

/// A line of `lepton events`.
pub(crate) fn change_line(time_unix_ms: i64, change: &api::ServiceChange) -> String {
    let now = change.service.clone().unwrap_or_default();
    let before = match change.before() {
        api::ServiceState::Unspecified => String::new(),
        before => format!("{} -> ", state(before)),
    };
    let says =
        now.text.as_deref().or(now.last_end.as_deref()).map(|says| format!(": {says}")).unwrap_or_default();
    format!("{} {} {before}{}{says}", span::rfc3339(time_unix_ms), now.name, state(now.state()))
}

/// A line of `lepton events` where the host left some out.
pub(crate) fn lost_line(time_unix_ms: i64, lost: u64) -> String {
    format!(
        "{} {lost} changes were not sent: this connection is too slow for them",
        span::rfc3339(time_unix_ms)
    )
}

/// A service right after it was started or stopped.
macro_rules! of_service {
    ($($message:ident),*) => {$(
        impl View for api::$message {
            fn tables(&self, _: bool) -> Vec<Table> {
                vec![services(self.service.as_slice())]
            }

            fn objects(&self) -> Vec<Value> {
                objects(self.service.as_slice())
            }
        }
    )*};
}
of_service!(StartServiceResponse, StopServiceResponse, RestartServiceResponse);

impl View for api::VersionResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        let role = name(self.role().as_str_name(), "ROLE_");
        let row = vec![
            text(&self.hostname),
            format!("{} {} {}", text(&self.image), text(&self.image_version), self.arch),
            text(&self.kernel),
            text(&self.service_version),
            text(&self.host_id),
            text(&self.caller),
            role,
        ];
        let head = &["NAME", "IMAGE", "KERNEL", "SERVICE", "HOST-ID", "CALLER", "ROLE"];
        vec![Table { head, rows: vec![row] }]
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::output::printed;

    fn status() -> api::StatusResponse {
        api::StatusResponse {
            image: "node".into(),
            image_version: "0.1.0".into(),
            arch: "x86_64".into(),
            kernel: "6.18.1".into(),
            phase: api::Phase::Ready.into(),
            uptime_ms: 3_725_000,
            ready_ms: Some(900),
            hostname: "edge-1".into(),
            addresses: vec!["192.0.2.10".into(), "2001:db8::10".into()],
            state: Some(api::StateStorage { device: Some("/dev/vda2".into()), filesystem: "ext4".into() }),
            config_sources: vec!["image".into(), "applied".into()],
            config_errors: vec!["time: no such key".into()],
            memory: Some(api::Memory { total_bytes: 512 << 20, used_bytes: 96 << 20 }),
            services: vec![
                api::Service {
                    name: "network".into(),
                    state: 3,
                    for_ms: 1500,
                    starts: 1,
                    pid: Some(71),
                    memory_bytes: Some(3 << 20),
                    text: Some("eth0: dhcp".into()),
                    ..Default::default()
                },
                api::Service {
                    name: "web".into(),
                    state: 5,
                    for_ms: 400,
                    starts: 4,
                    last_end: Some("exit code 1".into()),
                    ..Default::default()
                },
            ],
            boot_id: "7e8c".into(),
        }
    }

    #[test]
    fn a_host() {
        let text = printed(false, &["edge-1"], |output| output.answers(&[("edge-1", status())]));
        expect![[r#"
            host       edge-1
            image      node 0.1.0 x86_64
            kernel     6.18.1
            phase      ready, up 1h2m
            addresses  192.0.2.10 2001:db8::10
            state      /dev/vda2 (ext4)
            config     image applied
            memory     96.0 MiB of 512.0 MiB
            boot       7e8c
            error      time: no such key

            SERVICE  STATE     FOR   STARTS  PID  MEMORY   SAYS
            network  ready     1.5s  1       71   3.0 MiB  eth0: dhcp
            web      back-off  0.4s  4       -    -        exit code 1
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn several_hosts() {
        let hosts = ["192.0.2.10", "192.0.2.11"];
        let starting = api::StatusResponse {
            phase: 1,
            hostname: "edge-2".into(),
            services: vec![],
            state: None,
            memory: None,
            ..status()
        };
        let text =
            printed(false, &hosts, |output| output.answers(&[(hosts[0], status()), (hosts[1], starting)]));
        expect![[r#"
            HOST        NAME    IMAGE              PHASE              SERVICES  MEMORY                 ADDRESSES                ERRORS
            192.0.2.10  edge-1  node 0.1.0 x86_64  ready, up 1h2m     1/2       96.0 MiB of 512.0 MiB  192.0.2.10 2001:db8::10  1
            192.0.2.11  edge-2  node 0.1.0 x86_64  starting, up 1h2m  0/0       -                      192.0.2.10 2001:db8::10  1
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn one_service_and_changes_of_it() {
        let services = api::ServicesResponse { services: vec![status().services.remove(1)] };
        let text = printed(false, &["a"], |output| output.answers(&[("a", services.clone())]));
        assert!(
            text.starts_with(
                "service   web\nstate     back-off for 0.4s\nsays      -\nlast end  exit code 1\n"
            ),
            "{text}"
        );
        let json = printed(true, &["a"], |output| output.answers(&[("a", services.clone())]));
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&value["host"], &value["state"], &value["starts"]),
            (&"a".into(), &"back-off".into(), &4.into())
        );
        let change = api::ServiceChange { before: 3, service: services.services.first().cloned() };
        assert_eq!(change_line(0, &change), "1970-01-01T00:00:00Z web ready -> back-off: exit code 1");
        let first = api::ServiceChange { before: 0, ..change };
        assert_eq!(change_line(0, &first), "1970-01-01T00:00:00Z web back-off: exit code 1");
    }
}
