//! `ps`: the containers of this host.

use std::io::{self, Write as _};

use lepton_cri::v1 as cri;
use lepton_runtime_shim::time;
use serde_json::json;

use crate::client::Client;
use crate::failure::Failure;
use crate::find::{self, Entry};
use crate::table;
use crate::wanted::PORTS;

/// What is known of one.
struct Row {
    entry: Entry,
    status: Option<cri::ContainerStatus>,
    address: String,
}

/// Shows those that run, or all.
pub(crate) async fn list(client: &Client, all: bool, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for entry in find::all(client).await?.into_iter().filter(|entry| all || entry.runs()) {
        match row(client, entry).await {
            // Removed meanwhile.
            Err(error) if error.is_not_found() => {}
            row => rows.push(row?),
        }
    }
    let mut output = io::stdout().lock();
    if json {
        return rows.iter().try_for_each(|row| writeln!(output, "{}", row.json())).map_err(Failure::output);
    }
    let head = ["CONTAINER", "NAME", "IMAGE", "STATE", "FOR", "ADDRESS", "PORTS", "POD"];
    table::write(head, rows.iter().map(Row::cells).collect(), &mut output).map_err(Failure::output)
}

async fn row(client: &Client, entry: Entry) -> Result<Row, Failure> {
    let status = match &entry.container {
        Some(container) => client.status(&container.id, false).await?.status,
        None => None,
    };
    let pod = client.pod_status(&entry.pod.id).await?;
    // A pod that was stopped has given its address back.
    let is_ready = pod.state() == cri::PodSandboxState::SandboxReady;
    let address = pod.network.filter(|_| is_ready).unwrap_or_default().ip;
    Ok(Row { entry, status, address })
}

impl Row {
    fn image(&self) -> &str {
        let image = self.status.as_ref().and_then(|status| status.image.as_ref());
        image.map_or("-", |image| image.image.as_str())
    }

    fn ports(&self) -> &str {
        self.entry.pod.annotations.get(PORTS).map_or("", String::as_str)
    }

    fn state(&self) -> String {
        match &self.status {
            None => "unfinished".to_owned(),
            Some(status) => match status.state() {
                cri::ContainerState::ContainerExited => format!("exited ({})", status.exit_code),
                state => name(state).to_owned(),
            },
        }
    }

    /// Nanoseconds since it is in its state.
    fn age(&self) -> i64 {
        let since = self.status.as_ref().map_or(self.entry.pod.created_at, since);
        time::now_ns() - since
    }

    fn cells(&self) -> [String; 8] {
        let text = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        [
            table::short(self.entry.id()),
            self.entry.name().to_owned(),
            self.image().to_owned(),
            self.state(),
            table::span(self.age()),
            text(&self.address),
            text(self.ports()),
            text(&self.entry.foreign_pod().unwrap_or_default()),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let status = self.status.clone().unwrap_or_default();
        let exited = status.state() == cri::ContainerState::ContainerExited;
        json!({
            "id": self.entry.id(),
            "name": self.entry.name(),
            "image": self.image(),
            "image-id": status.image_id,
            "state": self.status.as_ref().map_or("unfinished", |status| name(status.state())),
            "exit-code": exited.then_some(status.exit_code),
            "reason": exited.then_some(&status.reason),
            "created-ns": status.created_at,
            "started-ns": status.started_at,
            "finished-ns": status.finished_at,
            "address": Some(&self.address).filter(|address| !address.is_empty()),
            "ports": self.ports().split_whitespace().collect::<Vec<_>>(),
            "service": self.entry.is_service(),
            "pod": self.entry.pod.id,
            "pod-name": self.entry.foreign_pod(),
        })
    }
}

/// The name of a state.
pub(crate) fn name(state: cri::ContainerState) -> &'static str {
    match state {
        cri::ContainerState::ContainerCreated => "created",
        cri::ContainerState::ContainerRunning => "running",
        cri::ContainerState::ContainerExited => "exited",
        cri::ContainerState::ContainerUnknown => "unknown",
    }
}

fn since(status: &cri::ContainerStatus) -> i64 {
    match status.state() {
        cri::ContainerState::ContainerExited => status.finished_at,
        cri::ContainerState::ContainerRunning => status.started_at,
        _ => status.created_at,
    }
}
