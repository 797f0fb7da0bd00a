//! What the host is, and how it is.

use std::fs;

use lepton_control::{Answer as Pid1Answer, Phase, Request as Ask, Status as HostStatus};
use lepton_host_api::roles::Role;
use lepton_host_api::v1 as api;
use tonic::{Request, Response, Status};

use super::services::service;
use super::{Answer, Methods};
use crate::pid1::unexpected;
use crate::record::caller;

impl Methods {
    pub(super) async fn version_of(
        &self,
        request: &Request<api::VersionRequest>,
    ) -> Answer<api::VersionResponse> {
        let caller = caller(request)?;
        let status = self.host_status().await?;
        // On the local socket the host shows no certificate.
        let host_id = match caller.name.starts_with("spiffe://") {
            true => self.trusted.ready().map(|ready| ready.host.to_string()),
            false => None,
        };
        Ok(Response::new(api::VersionResponse {
            image: status.image.unwrap_or_default(),
            image_version: status.version.unwrap_or_default(),
            arch: status.arch,
            kernel: status.kernel,
            service_version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: status.hostname,
            host_id: host_id.unwrap_or_default(),
            caller: caller.name,
            role: match caller.role {
                Role::Reader => api::Role::Reader,
                Role::Operator => api::Role::Operator,
                Role::Admin => api::Role::Admin,
            }
            .into(),
        }))
    }

    pub(super) async fn host_status(&self) -> Result<HostStatus, Status> {
        match self.pid1.ask(&Ask::Status).await? {
            Pid1Answer::Status(status) => Ok(*status),
            _ => Err(unexpected()),
        }
    }

    /// This start of the host; empty when it cannot be read.
    pub(super) fn boot_id(&self) -> String {
        let boot_id = fs::read_to_string(self.places.proc.join("sys/kernel/random/boot_id"));
        boot_id.unwrap_or_default().trim().to_owned()
    }

    pub(super) async fn whole_status(&self) -> Result<api::StatusResponse, Status> {
        let status = self.host_status().await?;
        Ok(api::StatusResponse {
            image: status.image.unwrap_or_default(),
            image_version: status.version.unwrap_or_default(),
            arch: status.arch,
            kernel: status.kernel,
            phase: match status.phase {
                Phase::Starting => api::Phase::Starting,
                Phase::Ready => api::Phase::Ready,
                Phase::Failed => api::Phase::Failed,
                Phase::Stopping => api::Phase::Stopping,
            }
            .into(),
            uptime_ms: status.uptime_ms,
            ready_ms: status.ready_ms,
            hostname: status.hostname,
            addresses: status.addresses,
            state: Some(api::StateStorage {
                device: status.state.device,
                filesystem: status.state.filesystem,
            }),
            config_sources: status.config.sources,
            config_errors: status.config.errors,
            memory: status.memory.map(|memory| api::Memory {
                total_bytes: memory.total_kb * 1024,
                used_bytes: memory.used_kb * 1024,
            }),
            services: status.services.into_iter().map(service).collect(),
            boot_id: self.boot_id(),
        })
    }
}
