//! A judge of services that other images ship: each is killed again and again with the policy of its own recipe, and
//! neither they nor PID 1 leave anything behind.
//!
//! It knows what the recipes say; a recipe that is changed fails here.

use std::io;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lepton_control::{Request, ServiceState, ServiceStatus};

use crate::census::{Census, dying_cgroups};
use crate::host_network::HostNetwork;
use crate::pid1::{ask, holds, kill_9, status_of, until};
use crate::say;

/// How often each service is killed.
const KILLS: u32 = 100;
/// The longest back-off (docs/services.md).
const LONGEST: Duration = Duration::from_secs(30);
/// How much sooner than it should a back-off may seem to end: this program hears of its start late.
const EARLY: Duration = Duration::from_millis(50);
/// Cgroups that the kernel may keep because pages of files that a service read first are charged to it. A leak would be
/// one for each kill.
const KEPT: usize = 10;

/// What the recipe of a service says.
struct Policy {
    name: &'static str,
    /// `restart-s`.
    first: Duration,
    /// Kills one after the other after which `give-up` holds; nothing: back-off makes starts too rare for it.
    given_up_after: Option<u32>,
    /// Whether it is at its work, so that it is worth killing.
    is_at_work: fn(&ServiceStatus) -> bool,
}

const NETWORK: Policy = Policy {
    name: "network",
    first: Duration::from_millis(500),
    given_up_after: Some(6),
    is_at_work: |status| status.state == ServiceState::Ready,
};
/// It is fetching, and has not said yet that it is ready: its server does not answer.
const CONFIG: Policy = Policy {
    name: "config",
    first: Duration::from_secs(5),
    given_up_after: None,
    is_at_work: |status| {
        status.state == ServiceState::Starting
            && status.text.as_deref().is_some_and(|text| text.starts_with("fetching "))
    },
};

/// Both services as their recipes have them, whatever time their back-off takes.
pub(crate) fn by_policy() -> io::Result<ExitCode> {
    told("others", others_ended)?;
    told("network", || {
        // The other one opens and closes connections meanwhile.
        stopped(CONFIG.name)?;
        killed(&NETWORK)
    })?;
    told("config", || {
        start(CONFIG.name)?;
        killed(&CONFIG)
    })?;
    say("end")?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for services of the image that end by themselves, so that what is counted changes only by what is killed.
fn others_ended() -> Result<String, String> {
    for name in ["failing", "forking", "missing", "sandbox", "watchdog"] {
        until(name, |status| matches!(status.state, ServiceState::Done | ServiceState::Failed))?;
    }
    Ok(String::new())
}

fn told(name: &str, case: impl FnOnce() -> Result<String, String>) -> io::Result<()> {
    match case() {
        Ok(facts) => say(&format!("killed {name} ok {facts}")),
        Err(error) => say(&format!("killed {name} FAILED {error}")),
    }
}

fn killed(policy: &Policy) -> Result<String, String> {
    let name = policy.name;
    until(name, policy.is_at_work)?;
    // Counted while it is stopped, because what it does at a time, such as a connection, must not count.
    let (before, dying) = (stopped(name)?, dying_cgroups()?);
    start(name)?;
    let network = HostNetwork::read()?;
    let (mut in_a_row, mut given_up) = (0, 0);
    for round in 1..=KILLS {
        let was = until(name, policy.is_at_work)?;
        kill_9(&was)?;
        in_a_row += 1;
        let now = after_kill(policy, &was, in_a_row).map_err(|error| format!("round {round}: {error}"))?;
        HostNetwork::read()?.is_still(&network).map_err(|error| format!("round {round}: {error}"))?;
        if now.state == ServiceState::Failed {
            given_up += 1;
            in_a_row = 0;
            start(name)?;
        }
    }
    let wanted = policy.given_up_after.map_or(0, |kills| KILLS / kills);
    holds(given_up == wanted, || format!("it was given up {given_up} times, not {wanted}"))?;
    until(name, policy.is_at_work)?;
    stopped(name)?;
    let facts = before.unchanged()?;
    let kept = dying_cgroups()?;
    holds(kept <= dying + KEPT, || format!("the kernel keeps {kept} dead cgroups, before {dying}"))?;
    start(name)?;
    until(name, policy.is_at_work)?;
    Ok(format!("kills={KILLS} given-up={given_up} {facts}; dead cgroups={dying}/{kept}"))
}

/// Requires that the service waits as long as it should, and then is started again or given up.
fn after_kill(policy: &Policy, was: &ServiceStatus, in_a_row: u32) -> Result<ServiceStatus, String> {
    let name = policy.name;
    let wait = policy.first.saturating_mul(1 << (in_a_row - 1).min(16)).min(LONGEST);
    let began = Instant::now();
    let down = until(name, |status| status.pid != was.pid)?;
    let is_away =
        |status: &ServiceStatus| status.state == ServiceState::BackOff && status.starts == was.starts;
    holds(is_away(&down), || format!("not in back-off: {down:?}"))?;
    let is_killed = down.last_end.as_deref() == Some("was ended by signal 9");
    holds(is_killed, || format!("not killed: {down:?}"))?;
    sleep(wait.saturating_sub(began.elapsed() + EARLY));
    let still = status_of(name)?;
    // On a slow machine the look itself may come too late.
    holds(is_away(&still) || began.elapsed() >= wait, || {
        format!("back after less than {wait:?}: {still:?}")
    })?;
    let now = until(name, |status| !is_away(status))?;
    let is_given_up = now.state == ServiceState::Failed;
    let last = now.last_end.as_deref().unwrap_or_default();
    let is_due = policy.given_up_after == Some(in_a_row);
    let fits = if is_given_up { last.contains("given up: ") } else { now.starts == was.starts + 1 };
    holds(is_given_up == is_due && fits, || format!("kill {in_a_row} in a row: {now:?}"))?;
    Ok(now)
}

/// Stops a service, and counts when nothing of it is left.
fn stopped(name: &str) -> Result<Census, String> {
    ask(&Request::Stop { name: name.to_owned() })?;
    until(name, |status| status.state == ServiceState::Stopped)?;
    Census::settled()
}

fn start(name: &str) -> Result<(), String> {
    ask(&Request::Start { name: name.to_owned() }).map(drop)
}
