//! The service `kubelet`: configures kubelet from the machine config, starts it and looks after it.
//!
//! Alone it gives kubelet the host's static pods; in a cluster it sees to credentials first. kubelet itself is
//! Kubernetes' own program (package `kubernetes`).

mod configuration;
mod drain;
mod failure;
mod files;
mod health;
mod host;
mod hosts;
mod join;
mod networks;
mod pki;
mod places;
mod pods;
mod role;
mod supervise;
mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use lepton_config::MachineConfig;

use configuration::{Configuration, Inputs};
use failure::{Failure, system_failure};
use host::Host;
use places::Places;
use pods::Pods;
use role::Role;
use supervise::Work;

/// A name from DHCP comes with the network, which may take a while.
const NAME_TRIES: u32 = 60;
const NAME_WAIT: Duration = Duration::from_secs(1);

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some() {
        eprintln!("usage: kubelet-agent");
        return ExitCode::from(2);
    }
    match run(&Places::of_host()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("kubelet-agent: {error}");
            lepton_notify::status(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(places: &Places) -> Result<u8, Failure> {
    let config = machine_config(&places.machine_config);
    let role = Role::of(&config.kubelet);
    let node_name = name(&config, &role)?;
    join::prepare(&role, &node_name, places)?;
    let is_alone = role.is_alone();
    networks::choose(is_alone, places)?;
    if is_alone {
        hosts::name(&places.hosts, &node_name)?;
    }
    let inputs =
        Inputs { kubelet: &config.kubelet, role: &role, host: Host::look(), places, node_name: &node_name };
    let Configuration { document, shutdown } = configuration::make(&inputs)?;
    files::write(&places.configuration(), serde_json::Value::Object(document).to_string().as_bytes())?;
    files::make_folder(&places.people)?;
    let arguments = configuration::arguments(&inputs);
    let mut said = Vec::new();
    let mut sync = || sync(&config, places, &mut said);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system_failure("start"))?;
    runtime.block_on(supervise::run(Work { places, arguments, is_alone, shutdown, sync: &mut sync }))
}

/// The effective config. What cannot be read is left out: PID 1 has said so already.
fn machine_config(path: &Path) -> MachineConfig {
    let text = std::fs::read(path).unwrap_or_default();
    let parsed = lepton_config::parse_bytes(&path.display().to_string(), &text);
    for problem in &parsed.problems {
        eprintln!("kubelet-agent: {problem}");
    }
    parsed.config
}

/// The node's name, once there is one.
fn name(config: &MachineConfig, role: &Role) -> Result<String, Failure> {
    for _ in 0..NAME_TRIES {
        if let Some(name) = role::node_name(config, role, &host::name()) {
            return Ok(name);
        }
        lepton_notify::status("waiting for a host name");
        std::thread::sleep(NAME_WAIT);
    }
    Err(Failure::Nameless)
}

/// Puts the manifests where kubelet looks, and says what is wrong with them, once.
fn sync(config: &MachineConfig, places: &Places, said: &mut Vec<String>) -> Result<String, Failure> {
    let pods = Pods::gather(config, &places.people);
    for problem in pods.problems.iter().filter(|problem| !said.contains(problem)) {
        eprintln!("kubelet-agent: {problem}");
    }
    said.clone_from(&pods.problems);
    pods.write(&places.manifests())?;
    let count = match pods.len() {
        0 => "no static pods".to_owned(),
        1 => "one static pod".to_owned(),
        count => format!("{count} static pods"),
    };
    Ok(match pods.problems.as_slice() {
        [] => count,
        [one] => format!("{count}; left out: {one}"),
        [first, others @ ..] => format!("{count}; left out: {first} (and {} more)", others.len()),
    })
}
