//! The command line of `lepton`.

use lepton_control::{LogName, Request};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use lexopt::{Error, Parser};

/// What `lepton --help` prints.
pub(crate) const USAGE: &str = "\
usage: lepton [-o json] COMMAND

  status              the host: image, addresses, configuration, services
  services            all services
  services NAME       one service
  logs [-f] [-n COUNT] [NAME]
                      the log of a service, or of the kernel; -f waits for more; when
                      no service has the name: of a pod, as lepton pods logs
  logs -p [-n COUNT] [NAME]
                      the same of the boot before this one, from the state partition
  start NAME          start a service and what it needs
  stop NAME           stop a service and what needs it
  restart NAME        stop a service and start it again
  reboot              stop the host and start it again
  poweroff            stop the host and switch it off
  pods ...            the pods of this host; see lepton pods --help
  exec ...            a program in a pod: short for lepton pods exec
  port-forward ...    a pod's port on this host: short for lepton pods port-forward
  ctr ...             images and containers of this host; see lepton ctr --help
  id ...              the identity of this host; see lepton id --help
  reset-state         empty the state partition at the next boot
  install [--check] [--wipe] DISK
                      put the running system, started from CD or network, on a disk
                      (a path, a serial number, or smallest) and restart; --check
                      only says whether it can be done; --wipe also gives up the
                      state that is on the disk

exit codes: 0 done, 1 refused or out of reach, 2 wrong usage, 3 no such service;
ctr, id and pods have their own";

/// What other programs do, with arguments of their own.
const OTHERS: [&str; 5] = ["ctr", "id", "pods", "exec", "port-forward"];

/// What shall be done, and how it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) command: Command,
    /// One JSON object per line, as PID 1 answers.
    pub(crate) json: bool,
}

/// What shall be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print the usage.
    Help,
    /// Ask PID 1.
    Ask(Request),
    /// Show a log.
    Logs { name: LogName, follow: bool, lines: Option<u32> },
    /// Start the containers' command line with these arguments.
    Containers(Vec<String>),
    /// Start the command line of the host's identity with these arguments.
    Identity(Vec<String>),
    /// Start the pods' command line with these arguments.
    Pods(Vec<String>),
    /// Start the installer with these arguments.
    Install(Vec<String>),
    /// Show a log of the boot before this one.
    Previous { name: LogName, lines: Option<u32> },
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(mut parser: Parser) -> Result<Self, Error> {
        let (mut words, mut json, mut follow, mut lines) = (Vec::new(), false, false, None);
        let mut install = Vec::new();
        let mut previous = false;
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(Self { command: Command::Help, json }),
                Short('o') | Long("output") => match parser.value()?.string()?.as_str() {
                    "json" => json = true,
                    "table" => json = false,
                    other => return Err(format!("-o takes json or table, not {other:?}").into()),
                },
                Short('f') | Long("follow") => follow = true,
                Long(flag @ ("check" | "wipe")) => install.push(format!("--{flag}")),
                Short('p') | Long("previous") => previous = true,
                Short('n') | Long("lines") => lines = Some(parser.value()?.parse()?),
                Value(word) if words.is_empty() && OTHERS.iter().any(|other| *other == word) => {
                    let word = word.string()?;
                    let format = if json { &["-o", "json"][..] } else { &[] };
                    let mut rest: Vec<String> = format.iter().map(|&word| word.to_owned()).collect();
                    if !["ctr", "id", "pods"].contains(&word.as_str()) {
                        rest.push(word.clone());
                    }
                    for word in parser.raw_args()? {
                        rest.push(word.string()?);
                    }
                    let command = match word.as_str() {
                        "ctr" => Command::Containers(rest),
                        "id" => Command::Identity(rest),
                        _ => Command::Pods(rest),
                    };
                    return Ok(Self { command, json });
                }
                Value(word) => words.push(word.string()?),
                other => return Err(other.unexpected()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if (follow || previous || lines.is_some()) && words.first() != Some(&"logs") {
            return Err("-f, -p and -n belong to logs".into());
        }
        if previous && (follow || json) {
            return Err("-p goes with -n only: its lines are those of a file".into());
        }
        if !install.is_empty() && words.first() != Some(&"install") {
            return Err("--check and --wipe belong to install".into());
        }
        let ask = |request| Ok(Command::Ask(request));
        let command = match words[..] {
            [] => Err("name a command".into()),
            ["status"] => ask(Request::Status),
            ["services"] => ask(Request::Services),
            ["services", name] => ask(Request::Service { name: name.to_owned() }),
            ["logs"] | ["logs", _] => {
                let name =
                    words.get(1).map(|&name| LogName::Service(name.to_owned())).unwrap_or(LogName::Kernel);
                Ok(match previous {
                    true => Command::Previous { name, lines },
                    false => Command::Logs { name, follow, lines },
                })
            }
            ["start", name] => ask(Request::Start { name: name.to_owned() }),
            ["stop", name] => ask(Request::Stop { name: name.to_owned() }),
            ["restart", name] => ask(Request::Restart { name: name.to_owned() }),
            ["reboot"] => ask(Request::Reboot),
            ["poweroff"] => ask(Request::Poweroff),
            ["install", disk] => {
                install.push(disk.to_owned());
                Ok(Command::Install(install))
            }
            ["reset-state"] => ask(Request::ResetState),
            [command, ..] => {
                Err(Error::from(format!("{command:?} is no command, or has a wrong number of names")))
            }
        };
        Ok(Self { command: command?, json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, String> {
        Options::parse(Parser::from_args(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn commands() {
        assert_eq!(
            parse(&["status", "-o", "json"]).unwrap(),
            Options { command: Command::Ask(Request::Status), json: true }
        );
        let logs = Command::Logs { name: LogName::Service("a".into()), follow: true, lines: Some(5) };
        assert_eq!(parse(&["logs", "-fn5", "a"]).unwrap().command, logs);
        assert_eq!(parse(&["stop", "a"]).unwrap().command, Command::Ask(Request::Stop { name: "a".into() }));
        let install = Command::Install(vec!["--wipe".into(), "smallest".into()]);
        assert_eq!(parse(&["install", "smallest", "--wipe"]).unwrap().command, install);
        let previous = Command::Previous { name: LogName::Kernel, lines: Some(5) };
        assert_eq!(parse(&["logs", "-p", "-n5"]).unwrap().command, previous);
        let containers = ["-o", "json", "run", "-d", "--help", "a"].map(str::to_owned).to_vec();
        assert_eq!(
            parse(&["-o", "json", "ctr", "run", "-d", "--help", "a"]).unwrap().command,
            Command::Containers(containers)
        );
        assert_eq!(parse(&["ctr"]).unwrap().command, Command::Containers(vec![]));
        let identity = ["-o", "json", "status", "--help"].map(str::to_owned).to_vec();
        assert_eq!(
            parse(&["-o", "json", "id", "status", "--help"]).unwrap().command,
            Command::Identity(identity)
        );
        let pods = |words: &[&str]| Command::Pods(words.iter().map(|&word| word.to_owned()).collect());
        assert_eq!(parse(&["pods"]).unwrap().command, pods(&[]));
        assert_eq!(
            parse(&["-o", "json", "pods", "-n", "a"]).unwrap().command,
            pods(&["-o", "json", "-n", "a"])
        );
        assert_eq!(
            parse(&["exec", "-it", "a", "--", "ls", "-l"]).unwrap().command,
            pods(&["exec", "-it", "a", "--", "ls", "-l"])
        );
        assert_eq!(parse(&["port-forward", "--help"]).unwrap().command, pods(&["port-forward", "--help"]));
        assert_eq!(parse(&["--help"]).unwrap().command, Command::Help);
        for bad in [
            &[][..],
            &["halt"],
            &["start"],
            &["status", "-f"],
            &["-o", "xml", "status"],
            &["logs", "-n", "x"],
            &["logs", "-pf"],
            &["status", "-p"],
            &["-x"],
            &["install"],
            &["install", "a", "b"],
            &["status", "--wipe"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
