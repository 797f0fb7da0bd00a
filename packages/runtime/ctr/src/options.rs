//! The command line of `lepton-ctr`, besides the options of `run`.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use lexopt::{Error, Parser};

use crate::run_options::RunOptions;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
usage: lepton ctr [-o json] COMMAND

  images              images on this host
  pull [--credentials FILE] IMAGE
                      take an image from its registry; the file holds USER:PASSWORD
  rmi IMAGE...        remove images
  ps [-a]             containers that run; -a also those that ended
  run [OPTIONS] IMAGE [ARGUMENT...]
                      run a container and show what it writes; its exit code is passed on
    -d                do not wait for its end; print its id
    -i                pass on what is typed
    -t                with a terminal, as large as this one
    --rm              remove it when it ends (not with -d)
    --name NAME       lower-case letters, digits and hyphens
    --pull WHEN       missing (default), always, never
    --command WORD    instead of the image's entry point; may be repeated
    -e, --env NAME[=VALUE]
                      without a value: that of this program
    -p, --port [ADDRESS:]HOST:CONTAINER[/udp]
    -v, --mount HOST:CONTAINER[:ro]
    --network WHICH   pod (default), host
    --memory SIZE     such as 64M or 1G
    --cpus COUNT      such as 0.5
    --pids COUNT      most processes and threads
    --user USER[:GROUP]
    --workdir FOLDER
    --cap-add NAME    as capabilities(7) has it, or ALL
    --privileged      every capability and device, no seccomp
    --read-only       it cannot change its root file system
    --stop-timeout SECONDS
                      between its stop signal and SIGKILL, 10 unless given
  logs [-f] [-n COUNT] [-t] CONTAINER
                      what it wrote; -f waits for more, -t with times
  exec [-i] [-t] CONTAINER COMMAND...
                      run a program in it; -i passes on what is typed, -t with a terminal
  inspect CONTAINER...
                      all that is known of it, as JSON
  stop [-t SECONDS] CONTAINER...
                      its stop signal, SIGKILL after the time
  rm [-f] CONTAINER...
                      remove it; -f also when it runs

A CONTAINER is a name or the beginning of an id.
exit codes: 0 done, 1 refused or out of reach, 2 wrong usage, 3 no such container or image;
run and exec: the program's, or 125 when it could not be run";

/// Where the runtime listens.
const SOCKET: &str = "/run/lepton/runtime.sock";
/// Where the logs of containers are that were made here.
const LOGS: &str = "/var/log/lepton/containers";

/// What shall be done, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) socket: PathBuf,
    pub(crate) logs: PathBuf,
    /// One JSON object per line.
    pub(crate) json: bool,
}

/// What shall be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Images,
    Pull { name: String, credentials: Option<PathBuf> },
    RemoveImages(Vec<String>),
    List { all: bool },
    Run(Box<RunOptions>),
    Logs { name: String, follow: bool, lines: Option<usize>, times: bool },
    Exec { name: String, command: Vec<String>, stdin: bool, tty: bool },
    Inspect(Vec<String>),
    Stop { names: Vec<String>, seconds: Option<u32> },
    Remove { names: Vec<String>, force: bool },
}

/// Options of several commands, in the order in which they came.
#[derive(Debug, Default)]
struct Flags {
    words: Vec<String>,
    all: bool,
    follow: bool,
    force: bool,
    stdin: bool,
    tty: bool,
    count: Option<String>,
    credentials: Option<PathBuf>,
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(mut parser: Parser) -> Result<Self, Error> {
        let mut options =
            Self { command: Command::Help, socket: SOCKET.into(), logs: LOGS.into(), json: false };
        let verb = loop {
            match parser.next()? {
                None => return Err("name a command".into()),
                Some(Short('h') | Long("help")) => return Ok(options),
                Some(Long("socket")) => options.socket = parser.value()?.into(),
                Some(Long("logs")) => options.logs = parser.value()?.into(),
                Some(Short('o') | Long("output")) => options.json = format(&mut parser)?,
                Some(Value(verb)) => break verb.string()?,
                Some(other) => return Err(other.unexpected()),
            }
        };
        options.command = match verb.as_str() {
            "run" => match RunOptions::parse(&mut parser, &mut options.json)? {
                Some(run) => Command::Run(Box::new(run)),
                None => Command::Help,
            },
            verb => match options.flags(verb, &mut parser)? {
                Some(flags) => flags.command(verb)?,
                None => Command::Help,
            },
        };
        Ok(options)
    }

    /// Reads what follows the verb; nothing when help is wanted.
    fn flags(&mut self, verb: &str, parser: &mut Parser) -> Result<Option<Flags>, Error> {
        let mut flags = Flags::default();
        while let Some(argument) = parser.next()? {
            match (verb, argument) {
                (_, Short('h') | Long("help")) => return Ok(None),
                (_, Short('o') | Long("output")) => self.json = format(parser)?,
                ("ps", Short('a') | Long("all")) => flags.all = true,
                ("logs", Short('f') | Long("follow")) => flags.follow = true,
                ("logs", Short('n') | Long("lines")) => flags.count = Some(parser.value()?.string()?),
                ("logs", Short('t') | Long("times")) | ("exec", Short('t') | Long("tty")) => flags.tty = true,
                ("exec", Short('i') | Long("stdin")) => flags.stdin = true,
                ("stop", Short('t') | Long("time")) => flags.count = Some(parser.value()?.string()?),
                ("rm", Short('f') | Long("force")) => flags.force = true,
                ("pull", Long("credentials")) => flags.credentials = Some(parser.value()?.into()),
                (_, Value(word)) => {
                    flags.words.push(word.string()?);
                    // What follows belongs to the program that is run.
                    if verb == "exec" {
                        for word in parser.raw_args()? {
                            flags.words.push(word.string()?);
                        }
                    }
                }
                (_, other) => return Err(other.unexpected()),
            }
        }
        Ok(Some(flags))
    }
}

impl Flags {
    fn command(self, verb: &str) -> Result<Command, Error> {
        let number = |text: Option<&String>| {
            text.map(|text| text.parse::<u32>().map_err(|_| format!("{text:?} is no number"))).transpose()
        };
        let count = number(self.count.as_ref())?;
        let is_one = self.words.len() == 1;
        let mut words = self.words;
        if matches!(verb, "rmi" | "inspect" | "stop" | "rm") && words.is_empty() {
            return Err(format!("{verb} what? name one or several").into());
        }
        Ok(match verb {
            "images" if words.is_empty() => Command::Images,
            "pull" if is_one => Command::Pull { name: words.remove(0), credentials: self.credentials },
            "rmi" => Command::RemoveImages(words),
            "ps" if words.is_empty() => Command::List { all: self.all },
            "logs" if is_one => {
                let lines = count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
                Command::Logs { name: words.remove(0), follow: self.follow, lines, times: self.tty }
            }
            "exec" if words.len() > 1 => {
                let name = words.remove(0);
                Command::Exec { name, command: words, stdin: self.stdin, tty: self.tty }
            }
            "inspect" => Command::Inspect(words),
            "stop" => Command::Stop { names: words, seconds: count },
            "rm" => Command::Remove { names: words, force: self.force },
            "help" => Command::Help,
            _ => return Err(format!("{verb:?} is no command, or has a wrong number of names").into()),
        })
    }
}

/// The value of `-o`: whether it is JSON.
pub(crate) fn format(parser: &mut Parser) -> Result<bool, Error> {
    match parser.value()?.string()?.as_str() {
        "json" => Ok(true),
        "table" => Ok(false),
        other => Err(format!("-o takes json or table, not {other:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(Parser::from_args(line.split_whitespace())).map_err(|error| error.to_string())
    }

    #[test]
    fn commands() {
        let options = parse("-o json --socket /s ps -a").unwrap();
        assert!(options.json);
        assert_eq!(options.socket.to_str(), Some("/s"));
        assert_eq!(options.command, Command::List { all: true });
        let exec = Command::Exec {
            name: "web".into(),
            command: ["ls", "-l", "--help"].map(str::to_owned).to_vec(),
            stdin: true,
            tty: true,
        };
        assert_eq!(parse("exec -it web ls -l --help").unwrap().command, exec);
        let logs = Command::Logs { name: "web".into(), follow: true, lines: Some(5), times: true };
        assert_eq!(parse("logs -ftn5 web").unwrap().command, logs);
        assert_eq!(
            parse("stop -t 0 a b").unwrap().command,
            Command::Stop { names: vec!["a".into(), "b".into()], seconds: Some(0) }
        );
        assert_eq!(parse("run --help").unwrap().command, Command::Help);
        assert!(matches!(parse("run a/b:1 -x").unwrap().command, Command::Run(_)));
        for bad in [
            "",
            "pss",
            "pull",
            "pull a b",
            "exec a",
            "ps -f",
            "logs -n x a",
            "rm",
            "-o xml ps",
            "run",
            "stop -t",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
