//! PID 1: the boot as a list of named steps, then one loop for ever.
//!
//! Every step is required; one that fails ends the boot loudly (see `fail.rs`). What a step does is in the
//! module it calls. Nothing here may return to the kernel.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use lepton_config::MachineConfig;
use lepton_control::Phase;
use lepton_init::cmdline::Cmdline;
use lepton_init::console::Consoles;
use lepton_init::events::{Event, Events};
use lepton_init::kmsg::Level;
use lepton_init::mounts::Stage;
use lepton_init::options::Options;
use lepton_init::os_release::OsRelease;
use lepton_init::reap::reap_all;
use lepton_init::screen::Screen;
use lepton_init::services::applied::{Place, RunningConfig};
use lepton_init::services::effects::is_named;
use lepton_init::services::host::Host;
use lepton_init::services::{Services, load};
use lepton_init::source::{APPLIED_FILE, Before, Layers};
use lepton_init::step::{StepError, run};
use lepton_init::watchdog::Watchdog;
use lepton_init::{
    clock, etc, fail, hostname, install, kmsg, launch, log_files, mounts, network, root, shutdown, signals,
    source, state, stdio, sysctl,
};
use rustix::process::{Pid, getpid};
use rustix::system::{RebootCommand, reboot};

fn main() -> ExitCode {
    let started = clock::since_boot();
    if let Some(code) = state::grow::run_child() {
        return code;
    }
    if std::env::args_os().next().is_some_and(|name| name == launch::NAME) {
        return launch::main();
    }
    if std::env::args_os().next().is_some_and(|name| name == log_files::NAME) {
        return log_files::main();
    }
    if getpid() != Pid::INIT {
        eprintln!("init: this is the first process of a host and cannot be started by hand");
        return ExitCode::FAILURE;
    }
    fail::install_panic_hook();
    match boot(started) {
        Ok((events, services, screen)) => serve(events, services, screen),
        Err(error) => fail::fail(&error),
    }
}

/// From the first instruction to the start of services.
fn boot(started: Duration) -> Result<(Events, Services, Screen), StepError> {
    run("block signals", signals::block)?;
    run("mount kernel file systems", || mounts::mount_stage(Stage::Initrd))?;
    run("detach standard streams", stdio::detach)?;
    let cmdline = run("read kernel command line", Cmdline::read)?;
    let mut options = Options::from_cmdline(&cmdline);

    run("mount root", root::mount_image)?;
    run("enter root", root::enter)?;
    run("mount file systems", || mounts::mount_stage(Stage::Root))?;
    run("link devices", mounts::link_devices)?;
    run("fill /etc", etc::fill)?;

    let mut gathered =
        run("gather machine config", || Ok::<_, Infallible>(source::gather(&cmdline, &options)))?;
    let mut errors = std::mem::take(&mut gathered.errors);
    let mut layers = Layers::new(gathered);
    options.fill_from(layers.effective());

    install::drop_when_installed(&mut options);

    run("set kernel settings", sysctl::apply)?;
    run("raise loopback", network::raise_loopback)?;
    let state = run("mount /var", || state::mount_var(&options))?;
    run("share mounts", mounts::share)?;
    state.device.iter().for_each(|device| state::grow::start(device));

    // It lies on the state partition, so only now all of the config is known.
    let (applied, applied_errors) = match options.ignore_applied {
        false => source::read_applied(Path::new(APPLIED_FILE)),
        true => (None, vec![format!("{APPLIED_FILE} is left aside, as the kernel command line says")]),
    };
    let (applied, applied_config) = applied.unzip();
    layers.set_applied(applied_config);
    let mut before = Before::default();
    let failed = run("apply machine config", || {
        Ok::<_, Infallible>(source::apply_changes(&mut before, &MachineConfig::default(), layers.effective()))
    })?;
    let asked = layers.effective().hostname.as_ref().map(|name| name.as_str());
    let (_, name_errors) = run("set host name", || hostname::set(asked))?;

    let install_errors = install::check(&options);

    // From here on Ctrl-Alt-Del is a signal to PID 1 instead of a restart at once.
    run("take Ctrl-Alt-Del", || reboot(RebootCommand::CadOff).map_err(io::Error::from))?;
    let events = run("watch power buttons", Events::open)?;

    let config = layers.effective().clone();
    let screen = Screen::new(config.console.status != Some(false));
    // After everything that may take long before the loop that feeds it.
    let timeout = config.watchdog.timeout_s.map(|timeout| Watchdog::open(timeout.get())).transpose();
    let (watchdog, watchdog_error) = match timeout {
        Ok(watchdog) => (watchdog, None),
        Err(error) => (None, Some(format!("watchdog: {error}"))),
    };

    let mut services = run("prepare services", || {
        let (specs, service_errors) = load::load(&config);
        for more in [
            failed,
            name_errors,
            state.errors.clone(),
            install_errors.clone(),
            service_errors,
            watchdog_error.into_iter().collect(),
        ] {
            errors.extend(more);
        }
        let file = PathBuf::from(APPLIED_FILE);
        let place = state.device.clone().map(|device| Place { device, file });
        let host = Host {
            image: OsRelease::read(),
            kernel: started,
            errors: [options.errors.clone(), errors].concat(),
            state,
            config: RunningConfig::new(layers, applied, place),
            before,
            applied_errors,
            network_name: None,
            is_named: is_named(&config),
            ready: None,
            phase: Phase::Starting,
        };
        Services::new(specs, host, watchdog)
    })?;
    if install_errors.is_empty() {
        install::start(&options);
    }
    services.start_all();
    services.start_fetching(clock::since_boot());
    Ok((events, services, screen))
}

/// Looks after services, reaps and obeys, for ever.
fn serve(mut events: Events, mut services: Services, mut screen: Screen) -> ! {
    let mut consoles = Consoles::default();
    loop {
        services.turn();
        announce(&mut services, &mut consoles);
        screen.look(services.host.phase, &mut consoles, || services.status(clock::since_boot()));
        if let Some(request) = services.take_request() {
            kmsg::log(Level::Notice, &format!("stopping: {request:?}, asked by a control request"));
            shutdown::stop(request, &mut events, &mut consoles, Some(&mut services))
        }
        let deadline = services.deadline().into_iter().chain(screen.deadline()).min();
        let left = deadline.map(|deadline| deadline.saturating_sub(clock::since_boot()));
        let happened = events.wait_also(left, Some(services.as_fd())).unwrap_or_else(|error| {
            kmsg::warn(&format!("cannot wait for events: {error}"));
            // An error that stays must not become a busy loop.
            sleep(Duration::from_secs(1));
            Vec::new()
        });
        for event in happened {
            match event {
                Event::ChildrenEnded => {
                    // What a process said before it ended is heard while the kernel still knows whose it was.
                    services.turn();
                    reap_all(|pid, status| services.exited(pid, status));
                }
                Event::Requested(request, origin) => {
                    kmsg::log(Level::Notice, &format!("stopping: {request:?}, asked by {origin:?}"));
                    shutdown::stop(request, &mut events, &mut consoles, Some(&mut services))
                }
            }
        }
    }
}

/// Prints the ready line once, or in its place that a required service was given up.
fn announce(services: &mut Services, consoles: &mut Consoles) {
    if services.host.phase == Phase::Failed || services.host.phase == Phase::Stopping {
        return;
    }
    if let Some((name, error)) = services.failed() {
        kmsg::log(Level::Error, &format!("required service {name} does not run: {error}"));
        consoles.write_line(&fail::line(&format!("service {name}"), &error, None));
        services.host.phase = Phase::Failed;
    } else if services.host.phase == Phase::Starting && services.is_settled() {
        let report = services.host.report(services.summary());
        consoles.write_line(&report.line());
        services.host.ready = Some(report.ready);
        services.host.phase = Phase::Ready;
    }
}
