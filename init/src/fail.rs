//! What follows a failed required step or a panic: say so everywhere, then restart or stay as `panic=` says.
//!
//! There is no silent half boot and no exit: both functions end in the kernel or wait for an operator.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::clock;
use crate::cmdline::Cmdline;
use crate::console::Consoles;
use crate::events::{Event, Events};
use crate::json::Json;
use crate::kmsg::{self, Level};
use crate::options::OnFailure;
use crate::reap::reap_all;
use crate::shutdown;
use crate::signals::Request;
use crate::step::{StepError, chain};

/// Ends a boot whose required step failed.
pub fn fail(error: &StepError) -> ! {
    end(error.step, &chain(error.source.as_ref()), error.hint)
}

/// Makes a panic end as a failed step does.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(on_panic));
}

fn on_panic(info: &PanicHookInfo<'_>) {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    // The way out panicked, too: only the kernel can be trusted now.
    if PANICKED.swap(true, Ordering::Relaxed) {
        shutdown::finish(Request::Reboot);
    }
    let message = info.payload_as_str().unwrap_or("no message");
    let text = match info.location() {
        Some(place) => format!("{message} ({}:{})", place.file(), place.line()),
        None => message.to_owned(),
    };
    end("panic", &text, None)
}

fn end(step: &str, error: &str, hint: Option<&str>) -> ! {
    kmsg::log(Level::Error, &format!("required step failed: {step}: {error}"));
    if let Some(hint) = hint {
        kmsg::log(Level::Error, &format!("hint: {hint}"));
    }
    let mut consoles = Consoles::default();
    consoles.write_line(&line(step, error, hint));
    // No network file system can be here yet, so this cannot wait for one.
    rustix::fs::sync();
    // Read again: the step that failed may have been the one that reads it.
    let policy = OnFailure::from_cmdline(&Cmdline::read().unwrap_or_default());
    let deadline = match policy {
        OnFailure::Halt => None,
        OnFailure::RebootAfter(time) => Some(clock::since_boot() + time),
    };
    match Events::open() {
        Ok(mut events) => {
            let request = wait_for_request(&mut events, deadline);
            shutdown::stop(request, &mut events, &mut consoles, None)
        }
        Err(error) => {
            kmsg::warn(&format!("power buttons and signals do not work: {error}"));
            let left = |deadline: Duration| deadline.saturating_sub(clock::since_boot());
            sleep(deadline.map_or(Duration::MAX, left));
            shutdown::finish(Request::Reboot)
        }
    }
}

/// The line for the consoles.
pub fn line(step: &str, error: &str, hint: Option<&str>) -> String {
    let mut fields = vec![("step", step.into()), ("error", error.into())];
    fields.extend(hint.map(|hint| ("hint", hint.into())));
    format!("lepton: failed {}", Json::Object(fields))
}

/// What an operator asks for, or a restart at the deadline.
fn wait_for_request(events: &mut Events, deadline: Option<Duration>) -> Request {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_sub(clock::since_boot()));
        if left.is_some_and(|left| left.is_zero()) {
            return Request::Reboot;
        }
        for event in events.wait(left).unwrap_or_default() {
            match event {
                Event::ChildrenEnded => {
                    reap_all(|_, _| {});
                }
                Event::Requested(request, _) => return request,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_line() {
        assert_eq!(
            line("mount root", "cannot mount \"x\"", None),
            r#"lepton: failed {"step":"mount root","error":"cannot mount \"x\""}"#
        );
        assert_eq!(line("a", "b", Some("c")), r#"lepton: failed {"step":"a","error":"b","hint":"c"}"#);
    }
}
