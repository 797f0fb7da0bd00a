//! Takes a machine config that the service `config` has fetched, as far as a running host can take it.
//!
//! What has changed is done, nothing else: what runs and is the same keeps running. What has an effect at the start
//! alone is reported. Nothing here waits.

use std::collections::BTreeMap;
use std::time::Duration;

use lepton_config::MachineConfig;
use lepton_control::{Answer, ErrorKind};
use lepton_service_spec::ServiceSpec;

use super::cgroup::service_of_process;
use super::process::Process;
use super::{Services, load};
use crate::kmsg::{self, Level};
use crate::options::Options;
use crate::{hostname, install, source};

/// The only service that may bring a config.
const FETCHER: &str = "config";
/// Reads network and time of the config when it starts; addresses stay while it is started again.
const NETWORK: &str = "network";
/// Reads registries and proxies of the config when it starts; containers go on while it is started again.
const RUNTIME: &str = "runtime";
/// Reads pods and the cluster of the config when it starts; pods go on while it is started again.
const KUBELET: &str = "kubelet";

impl Services {
    /// Starts the service that fetches a config, when a source names a URL.
    pub fn start_fetching(&mut self, now: Duration) {
        if !self.host.late.is_asked() {
            return;
        }
        match self.manager.find(FETCHER) {
            Some(place) => self.manager.start(place, now),
            None => self.host.late.errors.push(format!(
                "url: this image has no package {FETCHER:?}, which fetches a config from a URL; give its text instead"
            )),
        }
        self.act();
    }

    /// Merges and applies a config; `source` is its name in messages.
    pub(super) fn apply_config(&mut self, source: &str, text: &str, pid: u32, now: Duration) -> Answer {
        if !is_fetcher(pid) {
            return not_allowed();
        }
        let parsed = lepton_config::parse(source, text);
        let old = match self.host.late.merge(parsed.config, &mut self.host.sources) {
            Ok(old) => old,
            Err(error) => return Answer::error(ErrorKind::Refused, error.to_string()),
        };
        kmsg::log(Level::Notice, &format!("config from {source}"));
        let new = self.host.late.effective().clone();
        let mut errors: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
        errors.extend(source::apply_changes(&old, &new));
        if old.hostname != new.hostname {
            errors.extend(self.rename(&new));
        }
        if (&old.services, &old.containers) != (&new.services, &new.containers) {
            errors.extend(self.set_services(&new, now));
        }
        let readers = [
            (NETWORK, (&old.network, &old.time) != (&new.network, &new.time)),
            (RUNTIME, (&old.registries, &old.proxy) != (&new.registries, &new.proxy)),
            (KUBELET, (&old.pods, &old.kubelet) != (&new.pods, &new.kubelet)),
        ];
        for (name, is_concerned) in readers {
            if let Some(place) = self.manager.find(name).filter(|_| is_concerned) {
                self.manager.renew(place, now);
            }
        }
        errors.extend(self.install(&old, &new));
        errors.extend(too_late(&old, &new).map(|key| {
            format!(
                "{source}: {key}: it has an effect at the start of the host only; give it in another source"
            )
        }));
        for error in &errors {
            kmsg::warn(&format!("config: {error}"));
        }
        self.host.late.errors = errors;
        Answer::Done
    }

    /// Shows why there is no fetched config yet.
    pub(super) fn config_failed(&mut self, message: &str, pid: u32) -> Answer {
        if !is_fetcher(pid) {
            return not_allowed();
        }
        let errors = vec![message.to_owned()];
        if self.host.late.errors != errors {
            kmsg::warn(&format!("config: {message}"));
            self.host.late.errors = errors;
        }
        Answer::Done
    }

    fn rename(&mut self, config: &MachineConfig) -> Option<String> {
        let name = config.hostname.as_ref()?;
        self.host.is_named = true;
        hostname::rename(name.as_str()).err().map(|error| format!("cannot name the host {name}: {error}"))
    }

    /// Starts services that are new, starts those anew that have changed, and stops those that are gone.
    fn set_services(&mut self, config: &MachineConfig, now: Duration) -> Vec<String> {
        // Decisions that were not carried out name places, which change below.
        self.act();
        let before: BTreeMap<String, ServiceSpec> =
            self.manager.units().iter().map(|unit| (unit.spec().name.clone(), unit.spec().clone())).collect();
        let (mut specs, errors) = load::load(config);
        let changed: Vec<String> = specs
            .iter()
            .filter(|spec| before.get(&spec.name) != Some(*spec))
            .map(|spec| spec.name.clone())
            .collect();
        // One that is gone may still run: it stays known, so that it can end as it should.
        let gone: Vec<ServiceSpec> =
            before.values().filter(|spec| !specs.iter().any(|new| new.name == spec.name)).cloned().collect();
        specs.extend(gone.iter().cloned());
        for spec in &specs {
            if !self.processes.iter().any(|process| process.name == spec.name) {
                self.processes.push(Process::new(&spec.name));
            }
        }
        self.manager.set_specs(specs);
        for spec in &gone {
            self.manager.find(&spec.name).into_iter().for_each(|place| self.manager.stop(place, now));
        }
        for name in changed {
            let Some(place) = self.manager.find(&name) else { continue };
            let unit = &self.manager.units()[place];
            match (unit.is_alive(), unit.spec().enabled) {
                (true, _) => self.manager.renew(place, now),
                (false, true) => self.manager.start(place, now),
                (false, false) => {}
            }
        }
        errors
    }

    /// Starts an installation that the config asks for now; the installer itself says on the console when it cannot.
    fn install(&self, old: &MachineConfig, new: &MachineConfig) -> Option<String> {
        let disk = new.install.disk.as_ref().filter(|_| old.install.disk != new.install.disk)?;
        if let Some(device) = &self.host.state.device {
            return Some(format!(
                "install: nothing is installed on {disk}, because {device} is in use for /var"
            ));
        }
        let wipe = new.install.wipe == Some(true);
        let mut options = Options { install: Some(disk.clone()), install_wipe: wipe, ..Options::default() };
        install::drop_when_installed(&mut options);
        install::start(&options);
        None
    }
}

fn is_fetcher(pid: u32) -> bool {
    service_of_process(pid).as_deref() == Some(FETCHER)
}

fn not_allowed() -> Answer {
    Answer::error(ErrorKind::NotAllowed, format!("only the service {FETCHER} may bring a config"))
}

/// Keys that have an effect at the start only.
fn too_late(old: &MachineConfig, new: &MachineConfig) -> impl Iterator<Item = &'static str> {
    [
        ("state.disk", old.state != new.state),
        ("console", old.console != new.console),
        ("watchdog", old.watchdog != new.watchdog),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
}
