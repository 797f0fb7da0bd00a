//! What a person sees of a build: bars on a terminal, plain lines otherwise, nothing with `--quiet`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// A plain line says that a long step is still alive at least this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);

/// How progress is shown.
#[derive(Clone, Debug)]
pub struct Progress(Mode);

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
            Self(Mode::Bars(MultiProgress::new()))
        } else {
            Self(Mode::Plain)
        }
    }

    /// No output.
    pub fn quiet() -> Self {
        Self(Mode::Quiet)
    }

    /// Begins a step of `total` units, when that is known.
    pub fn step(&self, name: &str, total: Option<u64>) -> Step {
        let started = Instant::now();
        let view = match &self.0 {
            Mode::Quiet => View::None,
            Mode::Plain => View::Plain(std::cell::Cell::new((0, started))),
            Mode::Bars(bars) => View::Bar(bars.add(bar(name, total))),
        };
        Step { name: name.to_owned(), total, started, view }
    }

    /// One line about something finished.
    pub fn line(&self, text: &str) {
        match &self.0 {
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

    /// The step is done.
    pub fn finish(self) {
        let elapsed = self.started.elapsed();
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
