//! Pods, containers and images.

use lepton_host_api::v1 as api;
use serde_json::Value;

use super::{age, list, maybe, name, size, text};
use crate::clock;
use crate::output::{Table, View, objects};

/// Characters of an ID that are shown: enough to tell a million apart.
const SHORT: usize = 12;

impl View for api::PodsResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        let now = clock::now_ms();
        let row = |pod: &api::Pod| {
            vec![
                pod.namespace.clone(),
                pod.name.clone(),
                format!("{}/{}", maybe(pod.ready, |ready| ready.to_string()), pod.containers),
                text(&pod.status),
                pod.restarts.to_string(),
                maybe(pod.created_unix_ms, |since| age(since, now)),
                list(&pod.addresses),
            ]
        };
        let head = &["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "ADDRESSES"];
        vec![Table { head, rows: self.pods.iter().map(row).collect() }]
    }

    fn objects(&self) -> Vec<Value> {
        objects(&self.pods)
    }
}

impl View for api::ContainersResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        let now = clock::now_ms();
        let row = |container: &api::Container| {
            vec![
                container.id.chars().take(SHORT).collect(),
                container.name.clone(),
                text(&container.pod),
                name(container.state().as_str_name(), "CONTAINER_STATE_"),
                age(container.created_unix_ms, now),
                container.attempt.to_string(),
                container.image.clone(),
            ]
        };
        let head = &["ID", "NAME", "POD", "STATE", "AGE", "ATTEMPT", "IMAGE"];
        vec![Table { head, rows: self.containers.iter().map(row).collect() }]
    }

    fn objects(&self) -> Vec<Value> {
        objects(&self.containers)
    }
}

impl View for api::ImagesResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        let row = |image: &api::Image| {
            let digits = image.id.split_once(':').map_or(image.id.as_str(), |(_, digits)| digits);
            let names = if image.tags.is_empty() { &image.digests } else { &image.tags };
            vec![
                digits.chars().take(SHORT).collect(),
                size(image.size_bytes),
                if image.pinned { "yes" } else { "no" }.to_owned(),
                list(names),
            ]
        };
        vec![Table { head: &["ID", "SIZE", "PINNED", "NAMES"], rows: self.images.iter().map(row).collect() }]
    }

    fn objects(&self) -> Vec<Value> {
        objects(&self.images)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::output::printed;

    #[test]
    fn what_runs() {
        let long_ago = |seconds: i64| clock::now_ms() - seconds * 1000;
        let pods = api::PodsResponse {
            pods: vec![
                api::Pod {
                    namespace: "default".into(),
                    name: "web-edge-1".into(),
                    status: "Running".into(),
                    ready: Some(1),
                    containers: 2,
                    restarts: 3,
                    addresses: vec!["10.85.0.4".into()],
                    created_unix_ms: Some(long_ago(7200)),
                    ..Default::default()
                },
                api::Pod { namespace: "default".into(), name: "b".into(), ..Default::default() },
            ],
        };
        let containers = api::ContainersResponse {
            containers: vec![api::Container {
                id: "0123456789abcdef".into(),
                name: "app".into(),
                pod: "default/web".into(),
                image: "registry.example/web:1".into(),
                state: 2,
                created_unix_ms: long_ago(90_000),
                attempt: 1,
            }],
        };
        let images = api::ImagesResponse {
            images: vec![api::Image {
                id: "sha256:0123456789abcdef".into(),
                tags: vec!["registry.example/web:1".into()],
                size_bytes: 3 << 20,
                pinned: true,
                ..Default::default()
            }],
        };
        let mut text = printed(false, &["a"], |output| output.answers(&[("a", pods)]));
        text.push_str(&printed(false, &["a"], |output| output.answers(&[("a", containers)])));
        text.push_str(&printed(false, &["a"], |output| output.answers(&[("a", images)])));
        expect![[r#"
            NAMESPACE  NAME        READY  STATUS   RESTARTS  AGE   ADDRESSES
            default    web-edge-1  1/2    Running  3         2h0m  10.85.0.4
            default    b           -/0    -        0         -     -
            ID            NAME  POD          STATE    AGE   ATTEMPT  IMAGE
            0123456789ab  app   default/web  running  1d1h  1        registry.example/web:1
            ID            SIZE     PINNED  NAMES
            0123456789ab  3.0 MiB  yes     registry.example/web:1
        "#]]
        .assert_eq(&text);
    }
}
