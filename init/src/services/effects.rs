//! What follows on a running host when its machine config becomes another one: what has changed is done, nothing else, and
//! what runs and is the same keeps running. Nothing here waits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use lepton_config::MachineConfig;
use lepton_control::{Answer, Effect, ErrorKind, Phase};
use lepton_service_spec::ServiceSpec;

use super::applied::Wish;
use super::process::Process;
use super::{Services, load};
use crate::kmsg::{self, Level};
use crate::options::Options;
use crate::{hostname, install, source};

/// How a service hears of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hears {
    /// It reads the config when it starts, so it is started anew: addresses, containers and pods stay meanwhile.
    AtStart,
    /// It looks at the config again and again.
    ByItself,
}

/// Which service reads a table of the config.
const READERS: [(&str, &str, Hears); 10] = [
    ("network", "network", Hears::AtStart),
    ("time", "network", Hears::AtStart),
    ("registries", "runtime", Hears::AtStart),
    ("proxy", "runtime", Hears::AtStart),
    ("pods", "kubelet", Hears::AtStart),
    ("kubelet", "kubelet", Hears::AtStart),
    ("route", "route", Hears::ByItself),
    ("identity", "identity", Hears::ByItself),
    ("host", "host", Hears::ByItself),
    ("logs", "logs", Hears::ByItself),
];

/// Whether PID 1 reads the table at the start of the host alone.
pub(super) fn is_read_at_start(table: &str) -> bool {
    ["state", "console", "watchdog"].contains(&table)
}

/// Whether the configuration names the host, so that nobody else may.
pub fn is_named(config: &MachineConfig) -> bool {
    config.hostname.is_some() || Path::new("/etc/hostname").exists()
}

/// When a change of that key takes effect.
pub(super) fn effect_of(key: &str, has_service: &dyn Fn(&str) -> bool) -> Effect {
    let table = source::table_of(key);
    let reader = READERS.iter().find(|(reads, ..)| *reads == table).map(|(_, name, _)| *name);
    match reader.filter(|name| !has_service(name)) {
        Some(service) => Effect::NoService { service: service.to_owned() },
        None if is_read_at_start(table) => Effect::Restart,
        None => Effect::Live,
    }
}

impl Services {
    /// Does what the config in use has and `old` has not. Gives the tables that differ, and one sentence per thing that
    /// failed.
    pub(super) fn follow_config(
        &mut self,
        old: &MachineConfig,
        now: Duration,
    ) -> (BTreeSet<String>, Vec<String>) {
        let new = self.host.config.layers.effective().clone();
        let changed = source::tables_that_differ(old, &new);
        let mut errors = source::apply_changes(&mut self.host.before, old, &new);
        if changed.contains("hostname") {
            errors.extend(self.rename(&new));
        }
        if changed.contains("services") || changed.contains("containers") {
            errors.extend(self.set_services(&new, now));
        }
        let readers =
            READERS.iter().filter(|(table, _, hears)| *hears == Hears::AtStart && changed.contains(*table));
        for name in readers.map(|(_, name, _)| *name).collect::<BTreeSet<_>>() {
            if let Some(place) = self.manager.find(name) {
                self.manager.renew(place, now);
            }
        }
        errors.extend(self.install(old, &new));
        (changed, errors)
    }

    /// What applying that text would change.
    pub(super) fn check_config(&self, text: &str, now: Duration) -> Answer {
        match self.host.config.plan(text, &|name| self.manager.find(name).is_some()) {
            Ok(plan) => self.host.config.change(plan, Vec::new(), now),
            Err(problems) => Answer::ConfigProblems(problems),
        }
    }

    /// Applies a text in place of the one before.
    pub(super) fn apply_change(&mut self, wish: Wish<'_>, now: Duration) -> Answer {
        if self.host.phase == Phase::Stopping {
            return Answer::error(ErrorKind::Refused, "the host is going down");
        }
        let has_service = |name: &str| self.manager.find(name).is_some();
        let (plan, old) = match self.host.config.apply(wish, now, &has_service) {
            Ok(applied) => applied,
            Err(answer) => return answer,
        };
        let said = wish.try_s.map_or_else(String::new, |seconds| format!(" on trial for {seconds} s"));
        kmsg::log(Level::Notice, &format!("config applied{said}: {} keys differ", plan.differences.len()));
        let errors = self.follow_applied(&old, now);
        self.host.config.change(plan, errors, now)
    }

    /// Goes back to the config before when a trial is over.
    pub(super) fn end_trial(&mut self, now: Duration) {
        // A host that goes down comes up with the one before.
        if self.host.phase == Phase::Stopping {
            return;
        }
        if let Some(old) = self.host.config.end_trial(now) {
            kmsg::warn("the config on trial was not confirmed: the one before is applied again");
            self.follow_applied(&old, now);
        }
    }

    fn follow_applied(&mut self, old: &MachineConfig, now: Duration) -> Vec<String> {
        let (_, errors) = self.follow_config(old, now);
        for error in &errors {
            kmsg::warn(&format!("config: {error}"));
        }
        self.host.applied_errors.clone_from(&errors);
        errors
    }

    /// Gives the host the name of the config; when that has none, the one that the network gave or the image's.
    fn rename(&mut self, config: &MachineConfig) -> Option<String> {
        self.host.is_named = is_named(config);
        let given = self.host.network_name.clone().filter(|_| !self.host.is_named);
        let asked = config.hostname.as_ref().map(|name| name.as_str());
        let name = asked.map(str::to_owned).or(given).unwrap_or_else(hostname::without_config);
        hostname::rename(&name).err().map(|error| format!("cannot name the host {name}: {error}"))
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
        self.manager.set_specs(specs, now);
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
