//! A machine config that is applied on the running host: what it would change, the change, and its trial.
//!
//! It is checked as a whole first: with a mistake nothing of it is applied. It is kept on the state partition before it
//! takes effect; one on trial is kept when it is confirmed. Nothing here does what the config says, and nothing waits.

use std::path::PathBuf;
use std::time::Duration;

use lepton_config::MachineConfig;
use lepton_control::{Answer, ConfigChange, ConfigProblem, Difference, Effect, ErrorKind, HostConfig, Trial};

use super::effects::effect_of;
use super::load;
use crate::clock::millis;
use crate::source::{self, Differs, Layers};

/// Longest trial in seconds.
const LONGEST_TRIAL: u32 = 3600;
/// Characters of a value that are shown.
const MOST_OF_VALUE: usize = 200;
/// Bytes of differences in one answer: keys and values are text of the config, and answers have a bound.
const MOST_OF_ANSWER: usize = 256 * 1024;

/// The machine config of a running host.
#[derive(Debug)]
pub struct RunningConfig {
    /// Its sources, and what they say together.
    pub layers: Layers,
    /// What was applied, as it was written; that which is on trial, when one is.
    applied: Option<String>,
    trial: Option<OnTrial>,
    place: Option<Place>,
}

/// Where an applied config survives a restart.
#[derive(Clone, Debug)]
pub struct Place {
    /// The state partition.
    pub device: String,
    /// The file on it.
    pub file: PathBuf,
}

/// A config on trial.
#[derive(Debug)]
struct OnTrial {
    id: String,
    until: Duration,
    /// What was applied before: its text and what it says.
    before: Option<(String, MachineConfig)>,
}

/// A request to apply a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) text: &'a str,
    /// The revision that the client saw.
    pub(super) expected: Option<&'a str>,
    pub(super) try_s: Option<u32>,
}

/// A config that can be applied.
#[derive(Debug)]
pub(super) struct Plan {
    config: MachineConfig,
    pub(super) differences: Vec<Difference>,
    pub(super) left_out: u32,
}

impl RunningConfig {
    /// With what was applied before the start; without a place nothing survives a restart.
    pub fn new(layers: Layers, applied: Option<String>, place: Option<Place>) -> Self {
        Self { layers, applied, trial: None, place }
    }

    /// The config in use, and what is applied.
    pub(super) fn get(&self, errors: Vec<String>, now: Duration) -> Answer {
        Answer::Config(Box::new(HostConfig {
            revision: self.layers.revision(),
            effective: self.layers.effective().to_toml(),
            applied: self.applied.clone(),
            sources: self.layers.names(),
            errors,
            persistent: self.place.is_some(),
            trial: self.trial(now),
        }))
    }

    /// Says what a plan changes, or has changed.
    pub(super) fn change(&self, plan: Plan, errors: Vec<String>, now: Duration) -> Answer {
        Answer::ConfigChange(Box::new(ConfigChange {
            revision: self.layers.revision(),
            differences: plan.differences,
            left_out: plan.left_out,
            persistent: self.place.is_some(),
            trial: self.trial(now),
            errors,
        }))
    }

    /// Puts a text in place of the one before, for good or on trial. Gives what it changes, and the config that was in use.
    pub(super) fn apply(
        &mut self,
        wish: Wish<'_>,
        now: Duration,
        has_service: &dyn Fn(&str) -> bool,
    ) -> Result<(Plan, MachineConfig), Answer> {
        let Wish { text, expected, try_s } = wish;
        if try_s.is_some_and(|seconds| !(1..=LONGEST_TRIAL).contains(&seconds)) {
            let message = format!("a trial takes 1 to {LONGEST_TRIAL} seconds");
            return Err(Answer::error(ErrorKind::BadRequest, message));
        }
        if let Some(trial) = self.trial(now) {
            let message = format!("another config is on trial, for {} s more", trial.left_ms.div_ceil(1000));
            return Err(Answer::error(ErrorKind::Conflict, message));
        }
        if expected.is_some_and(|expected| expected != self.layers.revision()) {
            let message = "the config was changed meanwhile: look at it again";
            return Err(Answer::error(ErrorKind::Conflict, message));
        }
        let mut plan = self.plan(text, has_service).map_err(Answer::ConfigProblems)?;
        let text = Some(text).filter(|text| !text.trim().is_empty());
        if try_s.is_none() {
            self.keep(text)?;
        }
        let before = self.applied.take().zip(self.layers.applied().cloned());
        self.applied = text.map(str::to_owned);
        let config = std::mem::take(&mut plan.config);
        let old = self.layers.set_applied(text.map(|_| config));
        self.trial = try_s.map(|seconds| OnTrial {
            id: self.layers.revision(),
            until: now + Duration::from_secs(seconds.into()),
            before,
        });
        Ok((plan, old))
    }

    /// Keeps the config that is on trial.
    pub(super) fn confirm(&mut self, id: &str) -> Answer {
        if self.trial.as_ref().is_none_or(|trial| trial.id != id) {
            return Answer::error(ErrorKind::NoTrial, "no config of that name is on trial");
        }
        if let Err(answer) = self.keep(self.applied.as_deref()) {
            return answer;
        }
        self.trial = None;
        Answer::Done
    }

    /// When the trial ends.
    pub(super) fn end_of_trial(&self) -> Option<Duration> {
        self.trial.as_ref().map(|trial| trial.until)
    }

    /// Goes back to the config before when a trial is over; gives the one that was in use.
    pub(super) fn end_trial(&mut self, now: Duration) -> Option<MachineConfig> {
        let trial = self.trial.take_if(|trial| trial.until <= now)?;
        let (text, config) = trial.before.unzip();
        self.applied = text;
        Some(self.layers.set_applied(config))
    }

    fn trial(&self, now: Duration) -> Option<Trial> {
        let trial = self.trial.as_ref()?;
        Some(Trial { id: trial.id.clone(), left_ms: millis(trial.until.saturating_sub(now)) })
    }

    /// Puts a text on the state partition, when there is one.
    fn keep(&self, text: Option<&str>) -> Result<(), Answer> {
        let Some(Place { file, .. }) = &self.place else { return Ok(()) };
        source::store_applied(file, text).map_err(|error| {
            Answer::error(ErrorKind::Refused, format!("cannot write {}: {error}", file.display()))
        })
    }

    /// What that text means on this host, or everything that is wrong with it.
    pub(super) fn plan(
        &self,
        text: &str,
        has_service: &dyn Fn(&str) -> bool,
    ) -> Result<Plan, Vec<ConfigProblem>> {
        let parsed = lepton_config::parse("config", text);
        let mut problems: Vec<ConfigProblem> = parsed.problems.into_iter().map(problem).collect();
        let config = parsed.config;
        let (old, new) = (self.layers.effective(), self.layers.with(Some(&config)));
        self.misplaced(&config, &mut problems);
        // What is wrong only together with the other sources, and was not before.
        let known = merged_problems(old);
        problems.extend(merged_problems(&new).into_iter().filter(|problem| !known.contains(problem)));
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut plan = Plan { config, differences: Vec::new(), left_out: 0 };
        let mut room = MOST_OF_ANSWER;
        let differences = source::differences(old, &new).into_iter();
        let differences = differences.map(|differs| (effect_of(&differs.key, has_service), differs));
        for (effect, differs) in differences.chain(self.overridden(&plan.config, &new)) {
            let difference = shown(differs, effect);
            let values = difference.old.iter().chain(&difference.new).map(String::len).sum::<usize>();
            match room.checked_sub(difference.key.len() + values) {
                Some(rest) => {
                    room = rest;
                    plan.differences.push(difference);
                }
                None => plan.left_out += 1,
            }
        }
        Ok(plan)
    }

    /// Keys that such a config cannot have.
    fn misplaced(&self, config: &MachineConfig, problems: &mut Vec<ConfigProblem>) {
        let mut refuse = |key: &str, message: String| {
            problems.push(ConfigProblem { line: 0, key: key.to_owned(), message });
        };
        if config.state.disk.is_some() {
            let message =
                "the state partition is looked for before this config is read: give it in another source";
            refuse("state.disk", message.to_owned());
        }
        if let Some(place) = self.place.as_ref().filter(|_| config.install.disk.is_some()) {
            refuse("install.disk", format!("nothing is installed while {} is in use for /var", place.device));
        }
    }

    /// Keys of the text that a source of higher precedence has, too, with another value.
    fn overridden(&self, config: &MachineConfig, new: &MachineConfig) -> Vec<(Effect, Differs)> {
        let above: Vec<(&str, Vec<(String, String)>)> =
            self.layers.above_applied().iter().map(|it| (it.name, it.config.rows())).collect();
        let source_of = |key: &str| {
            let by = source::merged_by(key);
            let has = |rows: &[(String, String)]| rows.iter().any(|(key, _)| source::merged_by(key) == by);
            above.iter().find(|(_, rows)| has(rows)).map(|(name, _)| (*name).to_owned())
        };
        let wanted = source::differences(new, config).into_iter().filter(|differs| differs.new.is_some());
        let found = wanted
            .filter_map(|differs| Some((Effect::Overridden { source: source_of(&differs.key)? }, differs)));
        found.collect()
    }
}

/// What is wrong with a config as it is merged from all sources.
fn merged_problems(config: &MachineConfig) -> Vec<ConfigProblem> {
    let mut problems: Vec<ConfigProblem> =
        lepton_config::parse("", &config.to_toml()).problems.into_iter().map(problem).collect();
    // They would be lines of a text that nobody has written.
    problems.iter_mut().for_each(|problem| problem.line = 0);
    let of_services = load::load(config).1.into_iter();
    problems.extend(of_services.map(|message| ConfigProblem {
        line: 0,
        key: "services".to_owned(),
        message,
    }));
    problems
}

fn problem(of: lepton_config::Problem) -> ConfigProblem {
    let line = u32::try_from(of.line).unwrap_or(u32::MAX);
    ConfigProblem { line, key: of.key, message: of.message }
}

fn shown(differs: Differs, effect: Effect) -> Difference {
    let is_secret = lepton_config::is_secret(&differs.key);
    let show = |value: Option<String>| {
        let value = value?;
        Some(match value.char_indices().nth(MOST_OF_VALUE) {
            _ if is_secret => lepton_config::SECRET.to_owned(),
            Some((end, _)) => format!("{}…", &value[..end]),
            None => value,
        })
    };
    Difference { old: show(differs.old), new: show(differs.new), key: differs.key, effect }
}

#[cfg(test)]
mod tests;
