//! PID 1 and its services.

use std::path::Path;

use lepton_control::{Answer, Client, Phase, Request, ServiceState, Status};

use crate::cgroups;
use crate::family::{Families, Kind};
use crate::kernel::seconds;
use crate::{Outcome, Places};

const PHASES: [Phase; 4] = [Phase::Starting, Phase::Ready, Phase::Failed, Phase::Stopping];
const STATES: [ServiceState; 8] = [
    ServiceState::Waiting,
    ServiceState::Starting,
    ServiceState::Ready,
    ServiceState::Stopping,
    ServiceState::BackOff,
    ServiceState::Done,
    ServiceState::Stopped,
    ServiceState::Failed,
];

/// What PID 1 says, with what the cgroups of its services have used.
pub(crate) fn collect(places: &Places, families: &mut Families) -> Outcome {
    let asked = Client::connect_to(&places.control).and_then(|mut client| client.ask(&Request::Status));
    let Ok(Answer::Status(status)) = asked else { return Outcome::Failed };
    host(&status, families);
    for service in &status.services {
        let name = service.name.as_str();
        let label = [("service", name)];
        let states = families.add("lepton_service_state", Kind::Gauge, "Whether a service is in a state.");
        for state in STATES {
            let word = state.to_string();
            states.number(&[("service", name), ("state", &word)], u64::from(state == service.state));
        }
        let help = "How often a service was started since the host's start.";
        families.add("lepton_service_starts", Kind::Counter, help).number(&label, service.starts.into());
        let help = "Lines of a service's log that were dropped because they came too fast.";
        families
            .add("lepton_service_dropped_lines", Kind::Counter, help)
            .number(&label, service.dropped_lines);
        used(&places.sys.join("fs/cgroup/lepton").join(name), &label, families);
    }
    Outcome::Read
}

fn host(status: &Status, families: &mut Families) {
    let phases = families.add("lepton_phase", Kind::Gauge, "Whether the host is in a phase of its life.");
    for phase in PHASES {
        let word = match phase {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Failed => "failed",
            Phase::Stopping => "stopping",
        };
        phases.number(&[("phase", word)], u64::from(phase == status.phase));
    }
    let help = "Mistakes in the machine config.";
    let errors = status.config.errors.len() as u64;
    families.add("lepton_config_errors", Kind::Gauge, help).number(&[], errors);
    let help = "Whether the host has a state partition.";
    let is_persistent = status.state.device.is_some();
    families.add("lepton_state_persistent", Kind::Gauge, help).number(&[], is_persistent.into());
    if let Some(millis) = status.ready_ms {
        let help = "Time from the kernel's start until the host was ready.";
        families.add("lepton_ready_seconds", Kind::Gauge, help).real(&[], seconds(millis * 1000));
    }
}

fn used(cgroup: &Path, label: &[(&str, &str)], families: &mut Families) {
    let usage = cgroups::usage(cgroup);
    let help = "Time of processors that a service has used.";
    if let Some(micros) = usage.cpu_us {
        families.add("lepton_service_cpu_seconds", Kind::Counter, help).real(label, seconds(micros));
    }
    let help = "Memory of a service.";
    families.add("lepton_service_memory_bytes", Kind::Gauge, help).known(label, usage.memory);
    let help = "Memory past which a service is killed.";
    families.add("lepton_service_memory_max_bytes", Kind::Gauge, help).known(label, usage.memory_max);
    let help = "Processes and threads of a service.";
    families.add("lepton_service_tasks", Kind::Gauge, help).known(label, usage.tasks);
    let help = "Processes of a service that were killed because memory was short.";
    families.add("lepton_service_oom_kills", Kind::Counter, help).known(label, usage.oom_kills);
}
