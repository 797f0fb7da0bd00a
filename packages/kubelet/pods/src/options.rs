//! The command line of `lepton-pods`, which people call as `lepton pods`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use lepton_pod_manifest::duration;
use lepton_runtime_client::session::Choice;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use lexopt::{Error, Parser};

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
usage: lepton pods [-o json] [-n NAMESPACE] [COMMAND]

                      without a command: the pods of this host
  logs [OPTIONS] POD[/CONTAINER]
                      what a container wrote, also after its end
    -f                wait for more, until the container ends
    --tail COUNT      the last lines alone
    --since TIME      lines since then, such as 90s, 5m or 1h30m
    --timestamps      each line with its time
    -p                the container before this one, when it was started again
  exec [-i] [-t] POD[/CONTAINER] [--] COMMAND...
                      run a program; -i passes on what is typed, -t with a terminal
  port-forward [--address ADDRESS] POD [LOCAL:]REMOTE...
                      pass connections to a port of this host on to one of the pod, a
                      number or a name; without LOCAL the same number, with \":80\" a
                      free one; ADDRESS is 127.0.0.1 and ::1 unless given

A POD is its name; of a pod from a manifest also without -NODE, as the manifest has it.
-c CONTAINER can stand for /CONTAINER; without either the first one of the pod is meant.
-n NAMESPACE is needed when pods of several namespaces have the name.
Short: lepton logs POD when no service has the name, lepton exec, lepton port-forward.

exit codes: 0 done, 1 refused or out of reach, 2 wrong usage, 3 no such pod or container;
exec: the program's, or 125 when it could not be run";

/// Where the runtime listens.
const SOCKET: &str = "/run/lepton/runtime.sock";
/// Where kubelet listens, and the certificates for it.
const KUBELET: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10250);
const CREDENTIALS: &str = "/run/lepton/kubelet";
/// Where forwarded ports listen unless it is said.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// What shall be done, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) socket: PathBuf,
    pub(crate) kubelet: SocketAddr,
    pub(crate) credentials: PathBuf,
    pub(crate) namespace: Option<String>,
    /// One JSON object per line.
    pub(crate) json: bool,
}

/// A pod as people name it, and perhaps a container of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The pod's.
    pub pod: String,
    /// The container's, if one is named.
    pub container: Option<String>,
    /// Whether services were asked for the name before.
    pub is_no_service: bool,
}

/// What shall be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    List,
    Logs { name: Name, choice: LogChoice },
    Exec { name: Name, command: Vec<String>, choice: Choice },
    Forward { name: Name, ports: Vec<Ports>, addresses: Vec<IpAddr> },
}

/// What is shown of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogChoice {
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) times: bool,
    pub(crate) tail: Option<usize>,
    pub(crate) since: Option<Duration>,
}

/// A port of this host, and the pod's behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// None for the same as the pod's, 0 for any.
    pub(crate) local: Option<u16>,
    /// A number or a name.
    pub(crate) remote: String,
}

/// Options in the order in which they came.
#[derive(Debug, Default)]
struct Flags {
    words: Vec<String>,
    container: Option<String>,
    is_no_service: bool,
    log: LogChoice,
    choice: Choice,
    addresses: Vec<IpAddr>,
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(mut parser: Parser) -> Result<Self, Error> {
        let mut options = Self {
            command: Command::List,
            socket: SOCKET.into(),
            kubelet: KUBELET,
            credentials: CREDENTIALS.into(),
            namespace: None,
            json: false,
        };
        let (mut flags, mut verb) = (Flags::default(), String::new());
        while let Some(argument) = parser.next()? {
            match (verb.as_str(), argument) {
                (_, Short('h') | Long("help")) => {
                    options.command = Command::Help;
                    return Ok(options);
                }
                (_, Short('n') | Long("namespace")) => options.namespace = Some(parser.value()?.string()?),
                ("" | "list", Short('o') | Long("output")) => options.json = format(&mut parser)?,
                (_, Long("socket")) => options.socket = parser.value()?.into(),
                (_, Long("kubelet")) => options.kubelet = parser.value()?.parse()?,
                (_, Long("credentials")) => options.credentials = parser.value()?.into(),
                ("", Value(word)) => verb = word.string()?,
                (verb, Value(word)) => flags.word(verb, word.string()?, &mut parser)?,
                (verb, Short(letter)) => {
                    let option = letter.to_string();
                    flags.option(verb, &option, &mut parser)?;
                }
                (verb, Long(option)) => {
                    let option = option.to_owned();
                    flags.option(verb, &option, &mut parser)?;
                }
            }
        }
        options.command = flags.command(&verb)?;
        Ok(options)
    }
}

impl Flags {
    /// A name, or what belongs to it.
    fn word(&mut self, verb: &str, word: String, parser: &mut Parser) -> Result<(), Error> {
        self.words.push(word);
        // What follows belongs to the program that is run.
        if verb == "exec" && self.words.len() > 1 {
            for word in parser.raw_args()? {
                self.words.push(word.string()?);
            }
        }
        Ok(())
    }

    /// An option, without its hyphens.
    fn option(&mut self, verb: &str, option: &str, parser: &mut Parser) -> Result<(), Error> {
        match (verb, option) {
            ("logs" | "exec", "c" | "container") => self.container = Some(parser.value()?.string()?),
            ("logs", "f" | "follow") => self.log.follow = true,
            ("logs", "p" | "previous") => self.log.previous = true,
            ("logs", "timestamps") => self.log.times = true,
            ("logs", "tail") => self.log.tail = Some(parser.value()?.parse()?),
            ("logs", "since") => {
                let text = parser.value()?.string()?;
                let since = duration::parse(&text);
                self.log.since =
                    Some(since.ok_or_else(|| format!("--since takes a time such as 5m, not {text:?}"))?);
            }
            // Said by the program `lepton`.
            ("logs", "no-service") => self.is_no_service = true,
            ("exec", "i" | "stdin") => self.choice.stdin = true,
            ("exec", "t" | "tty") => self.choice.tty = true,
            ("port-forward", "address") => self.addresses.push(parser.value()?.parse()?),
            _ => {
                let hyphens = if option.chars().count() == 1 { "-" } else { "--" };
                return Err(Error::UnexpectedOption(format!("{hyphens}{option}")));
            }
        }
        Ok(())
    }

    fn command(mut self, verb: &str) -> Result<Command, Error> {
        let wrong = || Error::from(format!("{verb:?} is no command, or has a wrong number of names"));
        if matches!(verb, "" | "list") && self.words.is_empty() {
            return Ok(Command::List);
        }
        if self.words.is_empty() {
            return Err(wrong());
        }
        let word = self.words.remove(0);
        let (pod, container) = match word.split_once('/') {
            None => (word, self.container),
            Some((pod, container)) if self.container.is_none() => {
                (pod.to_owned(), Some(container.to_owned()))
            }
            Some(_) => return Err(format!("{word:?} and -c both name a container").into()),
        };
        let name = Name { pod, container, is_no_service: self.is_no_service };
        match (verb, self.words.is_empty()) {
            ("logs", true) => Ok(Command::Logs { name, choice: self.log }),
            ("exec", false) => Ok(Command::Exec { name, command: self.words, choice: self.choice }),
            ("port-forward", false) if name.container.is_none() => {
                let ports = self.words.iter().map(|word| Ports::parse(word)).collect::<Result<_, _>>()?;
                let addresses = if self.addresses.is_empty() { LOOPBACK.to_vec() } else { self.addresses };
                Ok(Command::Forward { name, ports, addresses })
            }
            _ => Err(wrong()),
        }
    }
}

impl Ports {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not [LOCAL:]REMOTE");
        let (local, remote) = match text.split_once(':') {
            None => (None, text),
            Some(("", remote)) => (Some(0), remote),
            Some((local, remote)) => (Some(local.parse().map_err(|_| wrong())?), remote),
        };
        let is_number = remote.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && !remote.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(wrong());
        }
        Ok(Self { local, remote: remote.to_owned() })
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
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(Parser::from_args(line.split_whitespace())).map_err(|error| error.to_string())
    }

    fn name(pod: &str, container: Option<&str>) -> Name {
        Name { pod: pod.to_owned(), container: container.map(str::to_owned), is_no_service: false }
    }

    #[test]
    fn commands() {
        let options = parse("-o json -n system").unwrap();
        assert_eq!((options.command, options.json), (Command::List, true));
        assert_eq!(options.namespace.as_deref(), Some("system"));
        let choice = LogChoice {
            follow: true,
            previous: true,
            times: true,
            tail: Some(5),
            since: Some(Duration::from_secs(90)),
        };
        let logs = Command::Logs { name: name("web", Some("a")), choice };
        assert_eq!(parse("logs -fp --timestamps --tail 5 --since 1m30s web/a").unwrap().command, logs);
        assert_eq!(
            parse("logs web -c a").unwrap().command,
            Command::Logs { name: name("web", Some("a")), choice: LogChoice::default() }
        );
        let command = ["ls", "-l", "--help"].map(str::to_owned).to_vec();
        let choice = Choice { stdin: true, tty: true };
        for line in ["exec -it web -c a -- ls -l --help", "exec -it web/a ls -l --help"] {
            let command = Command::Exec { name: name("web", Some("a")), command: command.clone(), choice };
            assert_eq!(parse(line).unwrap().command, command, "{line}");
        }
        let ports = |local, remote: &str| Ports { local, remote: remote.to_owned() };
        let forward = Command::Forward {
            name: name("web", None),
            ports: vec![ports(None, "80"), ports(Some(8080), "http"), ports(Some(0), "443")],
            addresses: LOOPBACK.to_vec(),
        };
        assert_eq!(parse("port-forward web 80 8080:http :443").unwrap().command, forward);
        assert!(matches!(
            parse("port-forward --address 192.0.2.1 web 80").unwrap().command,
            Command::Forward { addresses, .. } if addresses == [IpAddr::from([192, 0, 2, 1])]
        ));
        assert_eq!(parse("exec --help").unwrap().command, Command::Help);
        for bad in [
            "-x",
            "-o xml",
            "halt",
            "halt web",
            "list web",
            "logs",
            "logs a b",
            "logs --since x a",
            "logs a/b -c c",
            "logs -i a",
            "exec web",
            "exec -f web ls",
            "port-forward web",
            "port-forward web 0",
            "port-forward web 99999",
            "port-forward web x:80",
            "port-forward web 80:",
            "port-forward web/a 80",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
