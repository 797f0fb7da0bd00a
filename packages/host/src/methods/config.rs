//! The machine config: shown, compared, checked and applied, all by PID 1. Nothing here writes it down.

use lepton_control::{
    Answer as Pid1Answer, ConfigChange, ConfigProblem, Difference, Effect, HostConfig, Request as Ask, Trial,
};
use lepton_host_api::roles::Role;
use lepton_host_api::v1 as api;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{Answer, Methods};
use crate::pid1::unexpected;
use crate::record::{Record, caller};

/// Longest text of a machine config in bytes; PID 1 takes requests of twice that, with escapes.
const LONGEST: usize = 128 * 1024;
/// Longest trial.
const LONGEST_TRIAL_S: u32 = 3600;

impl Methods {
    async fn host_config(&self) -> Result<HostConfig, Status> {
        match self.pid1.ask(&Ask::GetConfig).await? {
            Pid1Answer::Config(config) => Ok(*config),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn machine_config(
        &self,
        request: &Request<api::GetConfigRequest>,
    ) -> Answer<api::GetConfigResponse> {
        let caller = caller(request)?;
        if !request.get_ref().secrets {
            return self.config_without_secrets().await.map(Response::new);
        }
        let record = Record::new(request, "GetConfig", json!({ "secrets": true }))?;
        record
            .of(async {
                if caller.role < Role::Admin {
                    return Err(Status::permission_denied(format!(
                        "secrets need the role admin, and {} has the role {}",
                        caller.name, caller.role
                    )));
                }
                let config = self.host_config().await?;
                let (effective, applied) = (config.effective.clone(), config.applied.clone());
                Ok(shown(config, effective, applied))
            })
            .await
    }

    pub(super) async fn config_without_secrets(&self) -> Result<api::GetConfigResponse, Status> {
        let config = self.host_config().await?;
        let effective = without_secrets(&config.effective)?;
        let applied = config.applied.as_deref().map(without_secrets).transpose()?;
        Ok(shown(config, effective, applied))
    }

    async fn try_change(&self, text: String) -> Result<Result<ConfigChange, Vec<ConfigProblem>>, Status> {
        check_length(&text)?;
        change(self.pid1.ask(&Ask::CheckConfig { text }).await?)
    }

    pub(super) async fn diff(&self, text: String) -> Result<api::DiffConfigResponse, Status> {
        let change = self.try_change(text).await?.map_err(|problems| invalid(&problems))?;
        Ok(api::DiffConfigResponse {
            differences: change.differences.into_iter().map(difference).collect(),
            revision: change.revision,
            left_out: change.left_out,
            persistent: change.persistent,
        })
    }

    pub(super) async fn check(&self, text: String) -> Result<api::CheckConfigResponse, Status> {
        let problems = self.try_change(text).await?.err().unwrap_or_default();
        let problem =
            |it: ConfigProblem| api::ConfigProblem { line: it.line, key: it.key, message: it.message };
        Ok(api::CheckConfigResponse { problems: problems.into_iter().map(problem).collect() })
    }

    pub(super) async fn apply(
        &self,
        request: Request<api::ApplyConfigRequest>,
    ) -> Answer<api::ApplyConfigResponse> {
        let arguments = json!({
            "expected-revision": request.get_ref().expected_revision, "try-s": request.get_ref().try_s,
            "bytes": request.get_ref().text.len(),
        });
        let mut record = Record::new(&request, "ApplyConfig", arguments)?;
        let api::ApplyConfigRequest { text, expected_revision, try_s } = request.into_inner();
        let applied = async {
            check_length(&text)?;
            if try_s.is_some_and(|seconds| !(1..=LONGEST_TRIAL_S).contains(&seconds)) {
                return Err(Status::invalid_argument(format!("a trial takes 1 to {LONGEST_TRIAL_S} s")));
            }
            let expected = Some(expected_revision).filter(|revision| !revision.is_empty());
            let answer = self.pid1.ask(&Ask::ApplyConfigChange { text, expected, try_s }).await?;
            change(answer)?.map_err(|problems| invalid(&problems))
        }
        .await;
        // Keys say what was changed, and are no secrets.
        if let Ok(change) = &applied {
            let keys: Vec<&str> = change.differences.iter().map(|it| it.key.as_str()).collect();
            record.add("keys", keys);
            record.add("revision", change.revision.as_str());
            record.add("trial", change.trial.as_ref().map(|trial| trial.id.as_str()));
        }
        record
            .of(async {
                let change = applied?;
                Ok(api::ApplyConfigResponse {
                    differences: change.differences.into_iter().map(difference).collect(),
                    revision: change.revision,
                    trial: change.trial.map(trial),
                    left_out: change.left_out,
                    persistent: change.persistent,
                    errors: change.errors,
                })
            })
            .await
    }

    pub(super) async fn confirm(
        &self,
        request: Request<api::ConfirmConfigRequest>,
    ) -> Answer<api::ConfirmConfigResponse> {
        let id = request.get_ref().id.clone();
        let record = Record::new(&request, "ConfirmConfig", json!({ "id": id }))?;
        record
            .of(async {
                match self.pid1.ask(&Ask::ConfirmConfig { id }).await? {
                    Pid1Answer::Done => Ok(api::ConfirmConfigResponse {}),
                    _ => Err(unexpected()),
                }
            })
            .await
    }
}

fn check_length(text: &str) -> Result<(), Status> {
    match text.len() {
        0..=LONGEST => Ok(()),
        _ => Err(Status::invalid_argument(format!("a machine config has at most {LONGEST} bytes"))),
    }
}

fn change(answer: Pid1Answer) -> Result<Result<ConfigChange, Vec<ConfigProblem>>, Status> {
    match answer {
        Pid1Answer::ConfigChange(change) => Ok(Ok(*change)),
        Pid1Answer::ConfigProblems(problems) => Ok(Err(problems)),
        _ => Err(unexpected()),
    }
}

fn invalid(problems: &[ConfigProblem]) -> Status {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Status::invalid_argument(format!("this is no machine config of this host:\n{}", lines.join("\n")))
}

/// A config without its secrets. What cannot be read is not shown, as it is not known what in it is secret.
fn without_secrets(text: &str) -> Result<String, Status> {
    let parsed = lepton_config::parse("the machine config", text);
    lepton_config::to_toml_without_secrets(&parsed.config)
        .map_err(|_| Status::internal("the machine config cannot be shown without its secrets"))
}

fn shown(config: HostConfig, effective: String, applied: Option<String>) -> api::GetConfigResponse {
    api::GetConfigResponse {
        effective,
        revision: config.revision,
        sources: config.sources,
        applied,
        trial: config.trial.map(trial),
        errors: config.errors,
        persistent: config.persistent,
    }
}

fn trial(trial: Trial) -> api::ConfigTrial {
    api::ConfigTrial { id: trial.id, remaining_ms: trial.left_ms }
}

fn difference(of: Difference) -> api::ConfigDifference {
    let (mut overridden_by, mut missing_service) = (String::new(), String::new());
    let effect = match of.effect {
        Effect::Live => api::ConfigEffect::Live,
        Effect::Restart => api::ConfigEffect::Reboot,
        Effect::Overridden { source } => {
            overridden_by = source;
            api::ConfigEffect::Overridden
        }
        Effect::NoService { service } => {
            missing_service = service;
            api::ConfigEffect::NoService
        }
    };
    api::ConfigDifference {
        key: of.key,
        old: of.old,
        new: of.new,
        effect: effect.into(),
        overridden_by,
        missing_service,
    }
}
