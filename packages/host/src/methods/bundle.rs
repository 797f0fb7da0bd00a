//! The support bundle: one tar.gz of what this API shows to readers, so that it holds no secret that they may not see.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use lepton_control::LogName;
use lepton_host_api::v1 as api;
use serde::Serialize;
use serde_json::json;
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc::Sender;
use tonic::{Request, Status};

use super::{Answer, Methods};
use crate::clock;
use crate::feed::{Feed, send};
use crate::pid1::Which;
use crate::record::Record;

/// Lines of each log, unless more are asked for; and the most.
const LINES: u32 = 2000;
const MOST_LINES: u32 = 100_000;
/// Bytes of one answer.
const PART: usize = 256 * 1024;

impl Methods {
    pub(super) fn bundle(
        &self,
        request: Request<api::SupportBundleRequest>,
    ) -> Answer<Feed<api::SupportBundleResponse>> {
        let lines = request.get_ref().log_lines;
        let record = Record::new(&request, "SupportBundle", json!({ "log-lines": lines }))?;
        let lines = if lines == 0 { LINES } else { lines.min(MOST_LINES) };
        let methods = self.clone();
        Ok(Feed::response(move |answers| async move {
            let made = methods.make_bundle(lines, &answers).await;
            record.write(made.as_ref().map(drop));
            made
        }))
    }

    async fn make_bundle(
        &self,
        lines: u32,
        answers: &Sender<api::SupportBundleResponse>,
    ) -> Result<(), Status> {
        let mut archive = Archive::new();
        macro_rules! add {
            ($name:literal, $answer:expr) => {{
                let answer = $answer;
                archive.add_json($name, &answer)?;
                archive.send(answers).await?;
                answer.ok()
            }};
        }
        let status = add!("status.json", self.whole_status().await);
        add!("network.json", self.whole_network().await);
        add!("time.json", self.clock().await);
        add!("processes.json", self.all_processes().await);
        add!("disks.json", self.all_disks().await);
        add!("mounts.json", self.all_mounts().await);
        add!("pods.json", self.all_pods("").await);
        add!("containers.json", self.all_containers(true).await);
        add!("images.json", self.all_images().await);
        match self.config_without_secrets().await {
            Ok(config) => {
                archive.add("config/effective.toml", config.effective.as_bytes())?;
                if let Some(applied) = &config.applied {
                    archive.add("config/applied.toml", applied.as_bytes())?;
                }
            }
            Err(status) => archive.add("config/error.txt", status.message().as_bytes())?,
        }
        archive.send(answers).await?;
        let services = status.map(|status| status.services).unwrap_or_default();
        let logs =
            services.into_iter().map(|it| (format!("logs/{}.log", it.name), LogName::Service(it.name)));
        for (name, log) in logs.chain([("dmesg.log".to_owned(), LogName::Kernel)]) {
            let text = match self.log_text(log, lines).await {
                Ok(text) => text,
                Err(status) => format!("{}\n", status.message()),
            };
            archive.add(&name, text.as_bytes())?;
            archive.send(answers).await?;
        }
        archive.finish(answers).await
    }

    /// The newest lines of a log, each with its time since the kernel's start.
    async fn log_text(&self, name: LogName, lines: u32) -> Result<String, Status> {
        let which = Which { lines: Some(lines), ..Which::default() };
        let (mut log, mut text) = (self.pid1.log(name, which).await?, String::new());
        loop {
            let lines = log.lines().await?;
            if lines.is_empty() {
                return Ok(text);
            }
            for line in lines {
                text.push_str(&format!("[{:>9}.{:03}] {}\n", line.ms / 1000, line.ms % 1000, line.text));
            }
        }
    }
}

/// An archive that is sent while it is made.
struct Archive {
    builder: Builder<GzEncoder<Vec<u8>>>,
    made_at: u64,
}

impl Archive {
    fn new() -> Self {
        let builder = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        Self { builder, made_at: clock::now().as_secs() }
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Status> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.made_at);
        let path = format!("support/{name}");
        self.builder.append_data(&mut header, path, bytes).map_err(|error| broken(&error))
    }

    /// What could not be had is in it as its reason.
    fn add_json<T: Serialize>(&mut self, name: &str, answer: &Result<T, Status>) -> Result<(), Status> {
        let text = match answer {
            Ok(answer) => serde_json::to_string_pretty(answer),
            Err(status) => serde_json::to_string_pretty(&json!({ "error": status.message() })),
        };
        let text = text.map_err(|error| Status::internal(error.to_string()))?;
        self.add(name, format!("{text}\n").as_bytes())
    }

    /// Sends what is there, when it is worth an answer.
    async fn send(&mut self, answers: &Sender<api::SupportBundleResponse>) -> Result<(), Status> {
        let encoder = self.builder.get_mut();
        encoder.flush().map_err(|error| broken(&error))?;
        send_parts(std::mem::take(encoder.get_mut()), answers).await
    }

    async fn finish(self, answers: &Sender<api::SupportBundleResponse>) -> Result<(), Status> {
        let encoder = self.builder.into_inner().map_err(|error| broken(&error))?;
        let rest = encoder.finish().map_err(|error| broken(&error))?;
        send_parts(rest, answers).await
    }
}

async fn send_parts(mut bytes: Vec<u8>, answers: &Sender<api::SupportBundleResponse>) -> Result<(), Status> {
    while !bytes.is_empty() {
        let rest = bytes.split_off(bytes.len().min(PART));
        if !send(answers, api::SupportBundleResponse { data: std::mem::replace(&mut bytes, rest) }).await {
            return Err(Status::cancelled("the caller has gone"));
        }
    }
    Ok(())
}

fn broken(error: &std::io::Error) -> Status {
    Status::internal(format!("the archive cannot be made: {error}"))
}
