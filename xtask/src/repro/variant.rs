//! The two ways to build, and how the second differs. Nothing here compares results.

use anyhow::Result;
use lepton_builder::artifact::Format;
use lepton_builder::clock::Clock;
use lepton_builder::host::STORE_VARIABLE;
use lepton_builder::process::{Process, with_umask};
use lepton_builder::substitute;
use nix::unistd::geteuid;

use super::Run;
use super::clock;
use super::place::Place;
use crate::cli::{Change, ReproOptions};
use crate::context::Context;

/// A user that no distribution gives to a person or a service.
const OTHER_USER: u32 = 60_999;

/// In which order the files of a copy are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Forward,
    Backward,
}

/// One way to build.
#[derive(Debug)]
pub(super) struct Variant {
    /// What messages call it.
    pub name: &'static str,
    /// The user, where it is not the one who started this program.
    pub user: Option<u32>,
    /// The clock, where it is not the machine's.
    pub clock: Option<Clock>,
    /// The order of files in folders.
    pub order: Order,
    umask: u32,
    locale: &'static str,
    zone: &'static str,
    jobs: usize,
    /// Differences that this machine does not allow, each with the reason.
    impossible: Vec<String>,
}

impl Variant {
    /// The ordinary build.
    pub(super) fn first(context: &Context) -> Self {
        Self {
            name: "first",
            user: None,
            clock: None,
            order: Order::Forward,
            umask: 0o022,
            locale: "C.UTF-8",
            zone: "UTC",
            jobs: context.host.jobs,
            impossible: Vec::new(),
        }
    }

    /// The other one.
    pub(super) fn second(context: &Context, options: &ReproOptions) -> Result<Self> {
        let differs = |change| !options.same.contains(&change);
        let mut variant = Self { name: "second", ..Self::first(context) };
        if differs(Change::Order) {
            variant.order = Order::Backward;
        }
        if differs(Change::Umask) {
            variant.umask = 0o077;
        }
        if differs(Change::Locale) {
            // In Turkish the small letter of I is not i.
            variant.locale = "tr_TR.UTF-8";
        }
        if differs(Change::Zone) {
            variant.zone = "Asia/Kathmandu";
        }
        if differs(Change::Jobs) {
            variant.jobs += 1;
        }
        if differs(Change::User) {
            if geteuid().is_root() {
                variant.user = Some(OTHER_USER);
            } else {
                variant.impossible.push("user: only root can start a build as another one".to_owned());
            }
        }
        if differs(Change::Clock) {
            match clock::other(context)? {
                Some(clock) => variant.clock = Some(clock),
                None => variant.impossible.push("clock: packages.lock has no tool set \"repro\"".to_owned()),
            }
        }
        Ok(variant)
    }

    /// One line for everything that differs, and one for what cannot.
    pub(super) fn differences_from(&self, first: &Self) -> Vec<String> {
        let mut found = vec!["path, store and place of this program".to_owned()];
        let mut add = |differs: bool, text: String| found.extend(differs.then_some(text));
        add(self.user != first.user, format!("user {} and {}", geteuid(), self.user.unwrap_or(0)));
        add(self.umask != first.umask, format!("umask {:03o} and {:03o}", first.umask, self.umask));
        add(self.locale != first.locale, format!("locale {} and {}", first.locale, self.locale));
        add(self.zone != first.zone, format!("time zone {} and {}", first.zone, self.zone));
        add(self.jobs != first.jobs, format!("{} and {} jobs", first.jobs, self.jobs));
        add(self.order != first.order, "order of files in folders".to_owned());
        let days = self.clock.as_ref().map_or(0, |clock| clock.ahead / 86_400);
        add(self.clock.is_some(), format!("clock {days} days ahead"));
        let mut lines = vec![format!("the builds differ in: {}", found.join(", "))];
        lines.extend(self.impossible.iter().map(|why| format!("the same in both builds, {why}")));
        lines
    }

    /// Builds in a place.
    pub(super) fn build(&self, run: &Run<'_>, place: &Place, formats: &[Format]) -> Result<()> {
        let progress = &run.context.progress;
        progress.line(&format!(
            "{} build of {} for {}, in {}",
            self.name,
            run.image,
            run.arch,
            place.dir().display()
        ));
        let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
        let mut process = Process::new(place.program())
            .inherit_env()
            .shown_as(format!("the {} build", self.name))
            .env(STORE_VARIABLE, place.store())
            .env(substitute::VARIABLE, "")
            .env("CARGO", &run.context.host.cargo)
            .env("TZ", self.zone)
            .env("LC_ALL", self.locale)
            .arg("--repo")
            .arg(place.repo())
            .args(["image", run.image.as_str(), "--arch", run.arch.name(), "--format", &names.join(",")])
            .args(["--jobs", &self.jobs.to_string(), "--out"])
            .arg(place.out());
        if let Some(user) = self.user {
            // Another user has no part in this one's cargo; its crates are in the store already.
            process = process.user(user).env("HOME", place.home()).cwd(place.dir()).arg("--offline");
        }
        if let Some(clock) = &self.clock {
            let clock = Clock { library: place.library(), ..clock.clone() };
            if clock::reaches(&place.program(), &clock) {
                for (key, value) in clock.env(&clock.library.to_string_lossy()) {
                    process = process.env(key, value);
                }
            }
            process = process.args(["--clock", &clock.to_text()]);
        }
        let show = |line: &str| {
            if is_step(line) || line.starts_with(clock::LINE) {
                progress.line(&format!("  {}", line.trim()));
            }
        };
        Ok(with_umask(self.umask, || process.run(show))?)
    }
}

/// Whether a line says how long a step took, or is taking.
fn is_step(line: &str) -> bool {
    line.starts_with("  ") && line.ends_with(" s")
}
