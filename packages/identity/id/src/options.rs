//! The command line of `lepton-id`, which people call as `lepton id`.

use std::path::PathBuf;

use lepton_identity_control::SOCKET;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use lexopt::{Error, Parser};

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
usage: lepton id [-o json] COMMAND

  status              how the host's identity is; the exit code says its state
  show                the host's identity and those of its workloads
  fetch x509 [--spiffe-id ID] [--write FOLDER]
                      X.509-SVIDs of workloads; --write puts each with its key and
                      its bundle into files, which only root may read
  fetch jwt --audience NAME [--spiffe-id ID]
                      JWT-SVIDs for that audience, one a line; --audience again for
                      more than one
  bundle [DOMAIN] [--jwks]
                      a trust bundle, in PEM or as a SPIFFE JWK set
  refresh             ask for entries and bundles now, and make every SVID anew
  join [--token-file FILE]
                      join the trust domain of the machine config, with the token in
                      FILE (- for standard input) or as the machine config says
  leave [--force]     leave the trust domain: the keys of this host are destroyed;
                      --force also when no server can be asked
  wait --ready [--timeout SECONDS]
                      wait until workloads can have SVIDs
  metrics             figures in the OpenMetrics text format

--json stands for -o json. A token is never given on the command line, where others
of this host could see it.

exit codes: 0 done, 1 refused or out of reach, 2 wrong usage, 3 no such identity or
bundle, 4 not ready in time; status: 0 alone or ready, 10 off-site, 11 degraded,
12 joining, 13 expired, 14 evicted, 15 left, 16 failed";

/// What shall be done, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) socket: PathBuf,
    /// One JSON value per line.
    pub(crate) json: bool,
}

/// What shall be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Status,
    Show,
    FetchX509 { spiffe_id: Option<String>, write: Option<PathBuf> },
    FetchJwt { audience: Vec<String>, spiffe_id: Option<String> },
    Bundle { trust_domain: Option<String>, jwks: bool },
    Refresh,
    Join { token_file: Option<PathBuf> },
    Leave { force: bool },
    Wait { timeout_s: Option<u64> },
    Metrics,
}

/// Words and options in the order in which they came.
#[derive(Debug, Default)]
struct Flags {
    words: Vec<String>,
    spiffe_id: Option<String>,
    write: Option<PathBuf>,
    audience: Vec<String>,
    jwks: bool,
    token_file: Option<PathBuf>,
    force: bool,
    ready: bool,
    timeout_s: Option<u64>,
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(mut parser: Parser) -> Result<Self, Error> {
        let mut options = Self { command: Command::Help, socket: SOCKET.into(), json: false };
        let mut flags = Flags::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(options),
                Short('o') | Long("output") => options.json = format(&mut parser)?,
                Long("json") => options.json = true,
                Long("socket") => options.socket = parser.value()?.into(),
                Value(word) => flags.words.push(word.string()?),
                Long(option) => {
                    let option = option.to_owned();
                    flags.option(&option, &mut parser)?;
                }
                Short(letter) => return Err(Error::UnexpectedOption(format!("-{letter}"))),
            }
        }
        options.command = flags.command()?;
        Ok(options)
    }
}

impl Flags {
    /// An option, without its hyphens; each belongs to some commands alone.
    fn option(&mut self, option: &str, parser: &mut Parser) -> Result<(), Error> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match (words.as_slice(), option) {
            (["fetch", ..], "spiffe-id") => self.spiffe_id = Some(parser.value()?.string()?),
            (["fetch", "x509"], "write") => self.write = Some(parser.value()?.into()),
            (["fetch", "jwt"], "audience") => self.audience.push(parser.value()?.string()?),
            (["bundle", ..], "jwks") => self.jwks = true,
            (["join"], "token-file") => self.token_file = Some(parser.value()?.into()),
            (["leave"], "force") => self.force = true,
            (["wait"], "ready") => self.ready = true,
            (["wait"], "timeout") => self.timeout_s = Some(parser.value()?.parse()?),
            _ => return Err(Error::UnexpectedOption(format!("--{option}"))),
        }
        Ok(())
    }

    fn command(self) -> Result<Command, Error> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            [] => return Err("name a command".into()),
            ["status"] => Command::Status,
            ["show"] => Command::Show,
            ["fetch", "x509"] => Command::FetchX509 { spiffe_id: self.spiffe_id, write: self.write },
            ["fetch", "jwt"] if self.audience.is_empty() => {
                return Err("fetch jwt needs --audience: whom the token is for".into());
            }
            ["fetch", "jwt"] => Command::FetchJwt { audience: self.audience, spiffe_id: self.spiffe_id },
            ["fetch"] => return Err("fetch x509 or fetch jwt?".into()),
            ["bundle"] => Command::Bundle { trust_domain: None, jwks: self.jwks },
            ["bundle", domain] => {
                Command::Bundle { trust_domain: Some((*domain).to_owned()), jwks: self.jwks }
            }
            ["refresh"] => Command::Refresh,
            ["join"] => Command::Join { token_file: self.token_file },
            ["leave"] => Command::Leave { force: self.force },
            ["wait"] if self.ready => Command::Wait { timeout_s: self.timeout_s },
            ["wait"] => return Err("wait for what? there is --ready".into()),
            ["metrics"] => Command::Metrics,
            [command, ..] => {
                return Err(format!("{command:?} is no command, or has a wrong number of words").into());
            }
        })
    }
}

/// The value of `-o`: whether it is JSON.
fn format(parser: &mut Parser) -> Result<bool, Error> {
    match parser.value()?.string()?.as_str() {
        "json" => Ok(true),
        "table" => Ok(false),
        other => Err(format!("-o takes json or table, not {other:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use lepton_identity_control::State;

    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(Parser::from_args(line.split_whitespace())).map_err(|error| error.to_string())
    }

    #[test]
    fn commands() {
        assert_eq!(
            parse("-o json status").unwrap(),
            Options { command: Command::Status, socket: SOCKET.into(), json: true }
        );
        assert!(parse("status --json").unwrap().json);
        let id = Some("spiffe://a/b".to_owned());
        for (line, command) in [
            ("show", Command::Show),
            ("fetch x509", Command::FetchX509 { spiffe_id: None, write: None }),
            (
                "fetch x509 --write /tmp/a --spiffe-id spiffe://a/b",
                Command::FetchX509 { spiffe_id: id.clone(), write: Some("/tmp/a".into()) },
            ),
            (
                "fetch jwt --audience=a --audience b --spiffe-id spiffe://a/b",
                Command::FetchJwt { audience: vec!["a".into(), "b".into()], spiffe_id: id },
            ),
            ("bundle", Command::Bundle { trust_domain: None, jwks: false }),
            (
                "bundle example.org --jwks",
                Command::Bundle { trust_domain: Some("example.org".into()), jwks: true },
            ),
            ("refresh", Command::Refresh),
            ("join", Command::Join { token_file: None }),
            ("join --token-file -", Command::Join { token_file: Some("-".into()) }),
            ("leave", Command::Leave { force: false }),
            ("leave --force", Command::Leave { force: true }),
            ("wait --ready", Command::Wait { timeout_s: None }),
            ("wait --ready --timeout 5", Command::Wait { timeout_s: Some(5) }),
            ("metrics", Command::Metrics),
            ("status --help", Command::Help),
        ] {
            assert_eq!(parse(line).unwrap().command, command, "{line}");
        }
        for bad in [
            "",
            "-o xml status",
            "halt",
            "status now",
            "fetch",
            "fetch jwt",
            "fetch jwt --write /tmp",
            "fetch x509 --audience a",
            "status --force",
            "join secret",
            "join --token secret",
            "wait",
            "wait --timeout 5",
            "wait --ready --timeout x",
            "-x",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    /// The states are those of the protocol; people read their codes here.
    #[test]
    fn every_state_is_in_the_usage_with_its_exit_code() {
        let text = USAGE.replace('\n', " ");
        let (_, codes) = text.split_once("status: ").unwrap();
        for state in State::ALL {
            let code = state.exit_code();
            let listed = codes.split(", ").find(|part| part.starts_with(&format!("{code} "))).unwrap();
            assert!(listed.contains(state.as_str()), "{state}: {listed}");
        }
    }
}
