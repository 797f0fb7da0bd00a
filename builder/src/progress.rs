//! What a person sees of a build: bars on a terminal, plain lines otherwise, nothing with `--quiet`. It also
//! remembers how long each step took; it judges nothing.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::cpu::thread_cpu;

/// A plain line says that a long step is still alive at least this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);

/// How progress is shown.
#[derive(Clone, Debug)]
pub struct Progress {
    mode: Mode,
    times: Arc<Mutex<Vec<StepTime>>>,
}

/// How long a finished step took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    /// The step's name.
    pub name: String,
    /// Milliseconds from its begin to its end.
    pub wall_ms: u64,
    /// Milliseconds of CPU time of the step and its tools.
    pub cpu_ms: u64,
}

#[derive(Clone, Debug)]
enum Mode {
    Quiet,
    Plain,
    Bars(MultiProgress),
}

/// One long step.
#[derive(Debug)]
pub struct Step {
    name: String,
    total: Option<u64>,
    started: Instant,
    cpu_before: Duration,
    cpu_elsewhere: Duration,
    times: Arc<Mutex<Vec<StepTime>>>,
    view: View,
}

#[derive(Debug)]
enum View {
    None,
    Plain(std::cell::Cell<(u64, Instant)>),
    Bar(ProgressBar),
}

impl Progress {
    /// Bars when standard error is a terminal.
    pub fn new() -> Self {
        if std::io::stderr().is_terminal() {
            Self::with(Mode::Bars(MultiProgress::new()))
        } else {
            Self::with(Mode::Plain)
        }
    }

    /// No output.
    pub fn quiet() -> Self {
        Self::with(Mode::Quiet)
    }

    fn with(mode: Mode) -> Self {
        Self { mode, times: Arc::default() }
    }

    /// Every step that has finished until now, in the order they ended.
    pub fn times(&self) -> Vec<StepTime> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins a step of `total` units, when that is known.
    pub fn step(&self, name: &str, total: Option<u64>) -> Step {
        let started = Instant::now();
        let view = match &self.mode {
            Mode::Quiet => View::None,
            Mode::Plain => View::Plain(std::cell::Cell::new((0, started))),
            Mode::Bars(bars) => View::Bar(bars.add(bar(name, total))),
        };
        Step {
            name: name.to_owned(),
            total,
            started,
            cpu_before: thread_cpu(),
            cpu_elsewhere: Duration::ZERO,
            times: self.times.clone(),
            view,
        }
    }

    /// One line about something finished.
    pub fn line(&self, text: &str) {
        match &self.mode {
            Mode::Quiet => {}
            Mode::Plain => eprintln!("{text}"),
            Mode::Bars(bars) => bars.suspend(|| eprintln!("{text}")),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Step {
    /// Some units are done.
    pub fn advance(&self, count: u64) {
        match &self.view {
            View::None => {}
            View::Bar(bar) => bar.inc(count),
            View::Plain(state) => {
                let (done, mut last) = state.get();
                let done = done + count;
                if last.elapsed() >= PLAIN_INTERVAL {
                    last = Instant::now();
                    let total = self.total.map(|total| format!(" of about {total}")).unwrap_or_default();
                    eprintln!("  {}: {done}{total}, {} s", self.name, self.started.elapsed().as_secs());
                }
                state.set((done, last));
            }
        }
    }

    /// Other threads worked for this step: how much CPU time they used.
    pub fn add_cpu(&mut self, spent: Duration) {
        self.cpu_elsewhere += spent;
    }

    /// The step is done.
    pub fn finish(self) {
        let elapsed = self.started.elapsed();
        let cpu = thread_cpu().saturating_sub(self.cpu_before) + self.cpu_elsewhere;
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(StepTime {
            name: self.name.clone(),
            wall_ms: millis(elapsed),
            cpu_ms: millis(cpu),
        });
        match &self.view {
            View::None => {}
            View::Bar(bar) => bar.finish_and_clear(),
            // Steps too short to notice would only hide the others.
            View::Plain(_) if elapsed < Duration::from_millis(500) => {}
            View::Plain(_) => eprintln!("  {}: {:.1} s", self.name, elapsed.as_secs_f64()),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
    }
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn bar(name: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "  {msg:24} {wide_bar} {pos}/{len} {elapsed:>5}"),
        None => (ProgressBar::new_spinner(), "  {msg:24} {spinner} {pos} {elapsed:>5}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is a constant that was tried");
    let bar = bar.with_style(style).with_message(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
