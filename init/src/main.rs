//! PID 1: the boot as a list of named steps, then one loop for ever.
//!
//! Every step is required; one that fails ends the boot loudly (see `fail.rs`). What a step does is in the
//! module it calls. Nothing here may return to the kernel.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use lepton_init::cmdline::Cmdline;
use lepton_init::console::Consoles;
use lepton_init::events::{Event, Events};
use lepton_init::kmsg::Level;
use lepton_init::mounts::Stage;
use lepton_init::options::Options;
use lepton_init::os_release::OsRelease;
use lepton_init::ready::{MemInfo, Report};
use lepton_init::reap::reap_all;
use lepton_init::step::{StepError, run};
use lepton_init::{
    clock, etc, fail, hostname, kmsg, mounts, network, root, shutdown, signals, state, stdio, sysctl,
};
use rustix::process::{Pid, getpid};
use rustix::system::{RebootCommand, reboot};

fn main() -> ExitCode {
    let started = clock::since_boot();
    if let Some(code) = state::grow::run_child() {
        return code;
    }
    if getpid() != Pid::INIT {
        eprintln!("init: this is the first process of a host and cannot be started by hand");
        return ExitCode::FAILURE;
    }
    fail::install_panic_hook();
    let mut consoles = Consoles::default();
    match boot(started, &mut consoles) {
        Ok(events) => serve(events, consoles),
        Err(error) => fail::fail(&error),
    }
}

/// From the first instruction to the ready line.
fn boot(started: Duration, consoles: &mut Consoles) -> Result<Events, StepError> {
    run("block signals", signals::block)?;
    run("mount kernel file systems", || mounts::mount_stage(Stage::Initrd))?;
    run("detach standard streams", stdio::detach)?;
    let cmdline = run("read kernel command line", Cmdline::read)?;
    let options = Options::from_cmdline(&cmdline);

    run("mount root", root::mount_image)?;
    run("enter root", root::enter)?;
    run("mount file systems", || mounts::mount_stage(Stage::Root))?;
    run("link devices", mounts::link_devices)?;
    run("fill /etc", etc::fill)?;

    run("set kernel settings", sysctl::apply)?;
    let (hostname, name_errors) = run("set host name", || hostname::set(options.hostname.as_deref()))?;
    run("raise loopback", network::raise_loopback)?;
    let state = run("mount /var", || state::mount_var(&options))?;
    run("share mounts", mounts::share)?;
    state.device.iter().for_each(|device| state::grow::start(device));

    // From here on Ctrl-Alt-Del is a signal to PID 1 instead of a restart at once.
    run("take Ctrl-Alt-Del", || reboot(RebootCommand::CadOff).map_err(io::Error::from))?;
    let events = run("watch power buttons", Events::open)?;

    run("report ready", || {
        let mut sources = vec!["image".to_owned()];
        sources.extend(options.used.then(|| "cmdline".to_owned()));
        let report = Report {
            image: OsRelease::read(),
            arch: std::env::consts::ARCH,
            kernel: started,
            ready: clock::since_boot(),
            memory: MemInfo::read(),
            hostname,
            addresses: network::addresses(),
            errors: [options.errors, name_errors, state.errors.clone()].concat(),
            state,
            sources,
        };
        consoles.write_line(&report.line());
        Ok::<_, Infallible>(())
    })?;
    Ok(events)
}

/// Reaps and obeys, for ever.
fn serve(mut events: Events, mut consoles: Consoles) -> ! {
    loop {
        let happened = events.wait(None).unwrap_or_else(|error| {
            kmsg::warn(&format!("cannot wait for events: {error}"));
            // An error that stays must not become a busy loop.
            sleep(Duration::from_secs(1));
            Vec::new()
        });
        for event in happened {
            match event {
                Event::ChildrenEnded => {
                    reap_all(|_, _| {});
                }
                Event::Requested(request, origin) => {
                    kmsg::log(Level::Notice, &format!("stopping: {request:?}, asked by {origin:?}"));
                    shutdown::stop(request, &mut events, &mut consoles)
                }
            }
        }
    }
}
