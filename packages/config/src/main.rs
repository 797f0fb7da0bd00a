//! `config-fetch`: fetches the machine config from the URL that PID 1 left, and hands it to PID 1.
//!
//! It tries until it succeeds. PID 1's ready line waits for it, but 30 seconds at most: then the host is ready without
//! this config, its status says why, and the config is applied when it comes.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use lepton_config_fetch::fetch::{SOURCE, fetch};
use lepton_config_fetch::url::Wanted;
use lepton_control::{Client, ClientError, Request};

const URL: &str = "/run/lepton/config-url";
const ROOTS: &str = "/etc/ssl/certs";
/// How long the ready line may wait for a config.
const READY_WAIT: Duration = Duration::from_secs(30);
/// One attempt, from the connection to the last byte.
const ATTEMPT: Duration = Duration::from_secs(30);
/// The first wait between two attempts; an address by DHCP takes about so long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Each wait is twice as long as the one before, up to this one while the ready line waits.
const EARLY_WAIT: Duration = Duration::from_secs(2);
/// And up to this one later.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A sentence that ends the program.
type Sentence = String;

fn run() -> Result<(), Sentence> {
    let text = std::fs::read_to_string(URL).map_err(|error| format!("cannot read {URL}: {error}"))?;
    let wanted = match Wanted::parse(&text) {
        Ok(wanted) => wanted,
        Err(error) => {
            // Without the text, which may hold a password. It will not get better, so this is the end.
            tell(Request::ConfigFailed { message: format!("{SOURCE}: the URL cannot be used: {error}") })?;
            lepton_notify::ready();
            return Ok(());
        }
    };
    if !wanted.url.is_tls && wanted.sha256.is_none() {
        eprintln!("{} is not protected: add #sha256=DIGEST to the URL, or use https", wanted.url);
    }
    lepton_notify::status(&format!("fetching {}", wanted.url));
    let shown = wanted.url.to_string();
    let (sender, outcomes) = mpsc::channel();
    thread::spawn(move || try_on(&wanted, &sender));
    let deadline = Instant::now() + READY_WAIT;
    let mut failure = format!("{SOURCE}: cannot fetch {shown}: there is no answer yet");
    let mut is_ready = false;
    loop {
        // A name server that does not answer may keep the other thread longer than the ready line should wait.
        let wait = if is_ready { LONGEST_WAIT } else { deadline.saturating_duration_since(Instant::now()) };
        match outcomes.recv_timeout(wait) {
            Ok(Ok(text)) => {
                tell(Request::ApplyConfig { source: SOURCE.to_owned(), text })?;
                eprintln!("applied {shown}");
                lepton_notify::ready_with(&format!("applied {shown}"));
                return Ok(());
            }
            Ok(Err(error)) => {
                failure = format!("{SOURCE}: cannot fetch {shown}: {error}");
                eprintln!("{failure}");
                lepton_notify::status(&error.to_string());
                if is_ready {
                    tell(Request::ConfigFailed { message: failure.clone() })?;
                }
            }
            Err(RecvTimeoutError::Timeout) if is_ready => {}
            Err(RecvTimeoutError::Timeout) => {
                is_ready = true;
                tell(Request::ConfigFailed { message: failure.clone() })?;
                lepton_notify::ready();
            }
            Err(RecvTimeoutError::Disconnected) => return Err("fetching ended without a result".to_owned()),
        }
    }
}

/// Tries until it succeeds; gives every outcome away.
fn try_on(wanted: &Wanted, outcomes: &Sender<Result<String, Sentence>>) {
    let started = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let outcome = fetch(wanted, Path::new(ROOTS), ATTEMPT).map_err(|error| error.to_string());
        let is_done = outcome.is_ok();
        if outcomes.send(outcome).is_err() || is_done {
            return;
        }
        thread::sleep(wait);
        wait = (wait * 2).min(if started.elapsed() < READY_WAIT { EARLY_WAIT } else { LONGEST_WAIT });
    }
}

fn tell(request: Request) -> Result<(), Sentence> {
    let cannot = |error: ClientError| format!("PID 1 does not take it: {error}");
    Client::connect().and_then(|mut client| client.ask(&request)).map(drop).map_err(cannot)
}
