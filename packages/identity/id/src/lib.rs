//! `lepton-id`: the identity of a host, for people. The identity agent decides and does; this asks it and shows the answer.
//!
//! Exit codes stand in the usage (options.rs): a script needs no other answer to know the state.

mod failure;
mod files;
mod options;
mod show;
mod time;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use lepton_identity_control::{Answer, Client, ClientError, Request};
use serde_json::json;

use failure::Failure;
use options::{Command, Options, USAGE};

/// The command line is wrong.
const WRONG_USAGE: u8 = 2;
/// Between two looks for an agent that has not started yet.
const LOOK: Duration = Duration::from_millis(200);

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("lepton-id: {error}\n{USAGE}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match run(&options, &mut io::stdout().lock()) {
        Ok(code) => ExitCode::from(code),
        // Whoever read the output has gone: that is no failure of ours.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lepton-id: {}", error.chain());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Does what was asked; gives the exit code.
fn run(options: &Options, output: &mut impl Write) -> Result<u8, Failure> {
    let json = options.json;
    let ask = |request: &Request| Client::connect_to(&options.socket)?.ask(request);
    match &options.command {
        Command::Help => writeln!(output, "{USAGE}")?,
        Command::Status => {
            let Answer::Status(status) = ask(&Request::Status)? else { return Err(Failure::OtherAnswer) };
            show::status(&status, json, output)?;
            return Ok(status.state.exit_code());
        }
        Command::Show => {
            let Answer::Identities(list) = ask(&Request::Show)? else { return Err(Failure::OtherAnswer) };
            show::identities(&list, json, output)?;
        }
        Command::FetchX509 { spiffe_id, write } => {
            let request = Request::FetchX509 { spiffe_id: spiffe_id.clone() };
            let Answer::X509(list) = ask(&request)? else { return Err(Failure::OtherAnswer) };
            show::x509(&list, json, output)?;
            if let Some(folder) = write {
                for path in files::write(&list, folder)? {
                    eprintln!("lepton-id: wrote {}", path.display());
                }
            }
        }
        Command::FetchJwt { audience, spiffe_id } => {
            let request = Request::FetchJwt { audience: audience.clone(), spiffe_id: spiffe_id.clone() };
            let Answer::Jwt(list) = ask(&request)? else { return Err(Failure::OtherAnswer) };
            for one in list {
                // The token is what was asked for; it goes nowhere else.
                if json {
                    let fields = json!({ "spiffe-id": one.spiffe_id, "hint": one.hint,
                                         "expires-at": one.expires_at, "token": one.token.expose() });
                    show::value(&fields, output)?;
                } else {
                    writeln!(output, "{}", one.token.expose())?;
                }
            }
        }
        Command::Bundle { trust_domain, jwks } => {
            let request = Request::Bundle { trust_domain: trust_domain.clone() };
            let Answer::Bundle(bundle) = ask(&request)? else { return Err(Failure::OtherAnswer) };
            let text = if *jwks { bundle.jwks } else { bundle.pem };
            writeln!(output, "{}", text.trim_end())?;
        }
        Command::Refresh => done(&ask(&Request::Refresh)?)?,
        Command::Join { token_file } => {
            let token = token_file.as_deref().map(files::token).transpose()?;
            let Answer::Status(status) = ask(&Request::Join { token })? else {
                return Err(Failure::OtherAnswer);
            };
            show::status(&status, json, output)?;
        }
        Command::Leave { force } => done(&ask(&Request::Leave { force: *force })?)?,
        Command::Wait { timeout_s } => {
            let Answer::Status(status) = wait(&options.socket, *timeout_s)? else {
                return Err(Failure::OtherAnswer);
            };
            show::status(&status, json, output)?;
        }
        Command::Metrics => {
            let Answer::Metrics(text) = ask(&Request::Metrics)? else { return Err(Failure::OtherAnswer) };
            output.write_all(text.as_bytes())?;
        }
    }
    Ok(0)
}

fn done(answer: &Answer) -> Result<(), Failure> {
    if *answer == Answer::Done { Ok(()) } else { Err(Failure::OtherAnswer) }
}

/// Waits until the host has an identity; for the agent's own start, too, because scripts run while the host boots.
fn wait(socket: &Path, timeout_s: Option<u64>) -> Result<Answer, Failure> {
    let start = Instant::now();
    let timeout = timeout_s.map(Duration::from_secs);
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        let request = Request::WaitReady { timeout_s: left.map(|left| left.as_secs().max(1)) };
        let answer = Client::connect_to(socket).and_then(|mut client| client.ask(&request));
        match answer {
            Err(ClientError::Socket { .. } | ClientError::Closed) if left != Some(Duration::ZERO) => {
                thread::sleep(LOOK);
            }
            Err(ClientError::Socket { .. } | ClientError::Closed) => {
                return Err(Failure::TooLate(timeout_s.unwrap_or_default()));
            }
            answer => return Ok(answer?),
        }
    }
}

#[cfg(test)]
mod tests;
