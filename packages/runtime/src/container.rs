//! One container: what was asked for, where it is in its life, and what is written down of it.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use lepton_cri::v1::{ContainerConfig, ContainerMetadata, ContainerState, LinuxContainerUser};
use lepton_runtime_shim::protocol::Exit;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::error::{Context as _, Result};
use crate::files;

/// What is written down beside the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its id.
    pub(crate) id: String,
    /// Its pod.
    pub(crate) sandbox: String,
    /// When it was made, in nanoseconds since 1970.
    pub(crate) created_at: i64,
    /// The boot that it was made in.
    pub(crate) boot: String,
    /// The id of its image.
    pub(crate) image: String,
    /// A reference with digest of its image, or its id.
    pub(crate) image_ref: String,
    /// Its log.
    pub(crate) log: Option<std::path::PathBuf>,
    /// Its cgroup, from the root of the hierarchy.
    pub(crate) cgroup: std::path::PathBuf,
    /// Who its program is.
    pub(crate) user: User,
    /// What asks it to end, as a number.
    pub(crate) stop_signal: i32,
    /// When it was started; 0 when it was not.
    pub(crate) started_at: i64,
}

/// Who a program is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Further groups.
    pub(crate) groups: Vec<u32>,
}

impl User {
    /// As CRI shows it.
    pub(crate) fn shown(&self) -> LinuxContainerUser {
        LinuxContainerUser {
            uid: self.uid.into(),
            gid: self.gid.into(),
            supplemental_groups: self.groups.iter().map(|group| i64::from(*group)).collect(),
        }
    }
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It was not started.
    Created,
    /// It runs.
    Running,
    /// It ended; `None` when nobody saw how.
    Exited(Option<Exit>, Option<String>),
}

impl Life {
    /// As CRI shows it.
    pub(crate) fn state(&self) -> ContainerState {
        match self {
            Self::Created => ContainerState::ContainerCreated,
            Self::Running => ContainerState::ContainerRunning,
            Self::Exited(..) => ContainerState::ContainerExited,
        }
    }
}

/// Clients that attach to a container before its start, so that none of what it writes is lost to them.
#[derive(Clone, Copy, Debug, Default)]
struct Early {
    /// So many were told where to connect to, and are not there yet.
    expected: usize,
    /// The container's streams are there, and its program has not started.
    open: bool,
}

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    config: Mutex<ContainerConfig>,
    record: Mutex<Record>,
    life: watch::Sender<Life>,
    early: watch::Sender<Early>,
    /// One start or removal at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

const CONFIG: &str = "config.pb";
const RECORD: &str = "record.json";
/// Written by the shim.
pub(crate) const EXIT: &str = "exit.json";

impl Container {
    /// A new one.
    pub(crate) fn new(config: ContainerConfig, record: Record) -> Self {
        Self {
            config: Mutex::new(config),
            record: Mutex::new(record),
            life: watch::Sender::new(Life::Created),
            early: watch::Sender::default(),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// One that was written down. What was started and has no written end runs, until its shim says otherwise.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let config = std::fs::read(folder.join(CONFIG)).or_cannot("read a container's configuration")?;
        let config =
            ContainerConfig::decode(config.as_slice()).or_cannot("read a container's configuration")?;
        let record: Record = files::read_json(&folder.join(RECORD)).or_cannot("read a container's record")?;
        let started = record.started_at != 0;
        let container = Self::new(config, record);
        match files::read_json(&folder.join(EXIT)) {
            Ok(exit) => container.set_life(Life::Exited(Some(exit), None)),
            Err(_) if started => container.set_life(Life::Running),
            Err(_) => {}
        }
        Ok(container)
    }

    /// Writes it down.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).or_cannot(format!("make {}", folder.display()))?;
        let config = self.config().encode_to_vec();
        files::write(&folder.join(CONFIG), &config).or_cannot("write a container's configuration")?;
        files::write_json(&folder.join(RECORD), &self.record()).or_cannot("write a container's record")
    }

    /// What was asked for.
    pub(crate) fn config(&self) -> ContainerConfig {
        self.config.lock().expect("no holder panics").clone()
    }

    /// Changes what was asked for.
    pub(crate) fn change_config(&self, change: impl FnOnce(&mut ContainerConfig)) {
        change(&mut self.config.lock().expect("no holder panics"));
    }

    /// What is known now.
    pub(crate) fn record(&self) -> Record {
        self.record.lock().expect("no holder panics").clone()
    }

    /// Changes what is known.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().expect("no holder panics"));
    }

    /// Its id.
    pub(crate) fn id(&self) -> String {
        self.record().id
    }

    /// Its name and attempt.
    pub(crate) fn metadata(&self) -> ContainerMetadata {
        self.config().metadata.unwrap_or_default()
    }

    /// Where it is in its life.
    pub(crate) fn life(&self) -> Life {
        self.life.borrow().clone()
    }

    /// It got further.
    pub(crate) fn set_life(&self, life: Life) {
        self.life.send_replace(life);
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) {
        let mut changes = self.life.subscribe();
        // The sender is this container's own.
        let _ = changes.wait_for(|life| matches!(life, Life::Exited(..))).await;
    }

    /// A client that wants to attach before the start was told where to connect to.
    pub(crate) fn expect(&self) {
        self.early.send_modify(|early| early.expected += 1);
    }

    /// It is attached, or it will not be.
    pub(crate) fn arrived(&self) {
        self.early.send_modify(|early| early.expected = early.expected.saturating_sub(1));
    }

    /// Waits until a client may attach.
    pub(crate) async fn opened(&self) {
        let mut changes = self.early.subscribe();
        let _ = changes.wait_for(|early| early.open).await;
    }

    /// Lets clients attach, and waits for those that are expected, but not for long.
    pub(crate) async fn open(&self, patience: Duration) {
        self.early.send_modify(|early| early.open = true);
        let mut changes = self.early.subscribe();
        let _ = tokio::time::timeout(patience, changes.wait_for(|early| early.expected == 0)).await;
    }
}

/// The name that a container has once at a time.
pub(crate) fn name(sandbox: &str, metadata: &ContainerMetadata) -> String {
    format!("{}_{sandbox}_{}", metadata.name, metadata.attempt)
}
