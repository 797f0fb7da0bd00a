//! The options of `run`, checked as the keys of `[[containers]]` are.

use lepton_service_spec::endpoint::{Bind, Port, User};
use lepton_service_spec::{Capability, Pull, is_service_name};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use lexopt::{Error, Parser};

use crate::options::format;
use crate::session::Choice;

/// Seconds between the stop signal and SIGKILL unless given.
const STOP_SECONDS: u32 = 10;

/// Who waits for the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The caller, who sees what it writes; it is removed at its end or not.
    Attached { remove: bool },
    /// Nobody.
    Detached,
    /// PID 1: the container is found again, followed, and removed at its end.
    Service,
}

/// What shall run, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunOptions {
    pub(crate) mode: Mode,
    pub(crate) name: Option<String>,
    pub(crate) image: String,
    pub(crate) pull: Pull,
    pub(crate) command: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) ports: Vec<Port>,
    pub(crate) mounts: Vec<Bind>,
    pub(crate) host_network: bool,
    pub(crate) memory: Option<u64>,
    /// In thousandths of a processor.
    pub(crate) cpus: Option<u32>,
    pub(crate) pids: Option<u32>,
    pub(crate) user: Option<User>,
    pub(crate) folder: Option<String>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) privileged: bool,
    pub(crate) read_only: bool,
    pub(crate) stop_seconds: u32,
    /// What its program gets of the caller's.
    pub(crate) choice: Choice,
}

impl RunOptions {
    /// A container of an image with defaults only.
    pub(crate) fn new(image: &str) -> Self {
        Self {
            mode: Mode::Attached { remove: false },
            name: None,
            image: image.to_owned(),
            pull: Pull::default(),
            command: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            host_network: false,
            memory: None,
            cpus: None,
            pids: None,
            user: None,
            folder: None,
            capabilities: Vec::new(),
            privileged: false,
            read_only: false,
            stop_seconds: STOP_SECONDS,
            choice: Choice::default(),
        }
    }

    /// Reads what follows `run`; nothing when help is wanted.
    pub(crate) fn parse(parser: &mut Parser, json: &mut bool) -> Result<Option<Self>, Error> {
        let mut run = Self::new("");
        let (mut detached, mut service, mut remove) = (false, false, false);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Short('o') | Long("output") => *json = format(parser)?,
                Short('d') | Long("detach") => detached = true,
                Long("service") => service = true,
                Long("rm") => remove = true,
                Short('i') | Long("stdin") => run.choice.stdin = true,
                Short('t') | Long("tty") => run.choice.tty = true,
                Long("privileged") => run.privileged = true,
                Long("read-only") => run.read_only = true,
                Value(image) => {
                    run.image = image.string()?;
                    for word in parser.raw_args()? {
                        run.arguments.push(word.string()?);
                    }
                }
                Short(name) => run.short(name, parser)?,
                Long(name) => {
                    let name = name.to_owned();
                    let value = parser.value()?.string()?;
                    run.set(&name, value)?;
                }
            }
        }
        if run.image.is_empty() {
            return Err("name an image to run".into());
        }
        run.mode = match (service, detached, remove) {
            (false, false, remove) => Mode::Attached { remove },
            (false, true, false) => Mode::Detached,
            (true, false, false) => Mode::Service,
            (false, true, true) => {
                return Err("-d and --rm exclude each other: nobody waits for its end".into());
            }
            (true, _, _) => return Err("--service excludes -d and --rm".into()),
        };
        if !matches!(run.mode, Mode::Attached { .. }) && run.choice != Choice::default() {
            return Err(
                "-i and -t are for somebody who waits for its end; leave -d out, or use exec -it".into()
            );
        }
        if run.mode == Mode::Service && run.name.is_none() {
            return Err("--service needs --name".into());
        }
        if run.host_network && !run.ports.is_empty() {
            return Err("in the host's network every port is the host's; leave --port out".into());
        }
        Ok(Some(run))
    }

    fn short(&mut self, name: char, parser: &mut Parser) -> Result<(), Error> {
        let long = match name {
            'e' => "env",
            'p' => "port",
            'v' => "mount",
            other => return Err(Short(other).unexpected()),
        };
        let value = parser.value()?.string()?;
        self.set(long, value)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Error> {
        let not = |what: &str| format!("--{name}: {value:?} is no {what}");
        match name {
            "name" if is_service_name(&value) => self.name = Some(value),
            "name" => {
                let rule = "lower-case letters, digits and hyphens, a letter first, at most 32";
                return Err(format!("{}: use {rule}", not("name")).into());
            }
            "pull" => {
                self.pull = match value.as_str() {
                    "missing" => Pull::Missing,
                    "always" => Pull::Always,
                    "never" => Pull::Never,
                    _ => return Err(not("time to pull: missing, always, never").into()),
                }
            }
            "command" => self.command.push(value),
            "env" => self.environment.push(variable(&value)?),
            "port" => self.ports.push(value.parse()?),
            "mount" => self.mounts.push(value.parse()?),
            "network" => {
                self.host_network = match value.as_str() {
                    "pod" => false,
                    "host" => true,
                    _ => return Err(not("network: pod, host").into()),
                }
            }
            "memory" => self.memory = Some(bytes(&value).ok_or_else(|| not("size such as 64M or 1G"))?),
            "cpus" => self.cpus = Some(thousandths(&value).ok_or_else(|| not("number such as 0.5"))?),
            "pids" => self.pids = Some(positive(&value).ok_or_else(|| not("number from 1"))?),
            "user" => self.user = Some(value.parse()?),
            "workdir" if value.starts_with('/') => self.folder = Some(value),
            "workdir" => return Err(not("absolute path").into()),
            "cap-add" if value == "ALL" || Capability::named(&value).is_some() => {
                self.capabilities.push(value)
            }
            "cap-add" => return Err(not("capability such as CAP_NET_ADMIN").into()),
            "stop-timeout" => {
                self.stop_seconds = value.parse().map_err(|_| not("number of seconds"))?;
            }
            _ => return Err(Long(name).unexpected()),
        }
        Ok(())
    }
}

/// `NAME=VALUE`, or `NAME` with the value that this program has.
fn variable(text: &str) -> Result<(String, String), Error> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => {
            #[expect(clippy::disallowed_methods, reason = "the caller says which variable it passes on")]
            let value = std::env::var(text);
            (
                text,
                value.map_err(|_| {
                    format!("--env {text}: this program has no such variable; write {text}=VALUE")
                })?,
            )
        }
    };
    if name.is_empty() {
        return Err(format!("--env: {text:?} is no NAME=VALUE").into());
    }
    Ok((name.to_owned(), value))
}

fn positive(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number > 0)
}

/// Bytes, or KiB, MiB, GiB with `K`, `M`, `G`.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().ok().filter(|number| *number > 0)?;
    // CRI counts in i64.
    number.checked_mul(1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// A decimal number in thousandths; less than a hundredth is what the kernel refuses.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || rest.len() > 3 || !digits(whole) || !digits(rest) {
        return None;
    }
    let rest: u32 = format!("{rest:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(rest).filter(|count| *count >= 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<RunOptions, String> {
        let mut parser = Parser::from_args(line.split_whitespace());
        RunOptions::parse(&mut parser, &mut false).map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn what_pid_1_writes_is_read() {
        let text = "name = \"web\"\nimage = \"a.example/web:1\"\nargs = [\"-v\"]\nports = [\"80:8080\"]\n\
            mounts = [\"/a:/b:ro\"]\nmemory-max-mib = 64\ncpu-max-percent = 150\npids-max = 9\nuser = \"1:2\"\n\
            working-dir = \"/srv\"\ncapabilities = [\"CAP_NET_ADMIN\"]\nread-only = true\npull = \"never\"\n\
            stop-timeout-s = 3\ncommand = [\"/x\", \"--y\"]\n";
        let spec: lepton_service_spec::ContainerSpec = toml::from_str(text).unwrap();
        let words = spec.service().command;
        let mut parser = Parser::from_args(&words[2..]);
        let run = RunOptions::parse(&mut parser, &mut false).unwrap().unwrap();
        let expected = RunOptions {
            mode: Mode::Service,
            name: Some("web".into()),
            pull: Pull::Never,
            command: vec!["/x".into(), "--y".into()],
            arguments: vec!["-v".into()],
            ports: vec!["80:8080".parse().unwrap()],
            mounts: vec!["/a:/b:ro".parse().unwrap()],
            memory: Some(64 << 20),
            cpus: Some(1500),
            pids: Some(9),
            user: Some("1:2".parse().unwrap()),
            folder: Some("/srv".into()),
            capabilities: vec!["CAP_NET_ADMIN".into()],
            read_only: true,
            stop_seconds: 3,
            ..RunOptions::new("a.example/web:1")
        };
        assert_eq!(run, expected);
    }

    #[test]
    fn modes_and_variables() {
        assert_eq!(parse("-d a -d").unwrap().mode, Mode::Detached);
        assert_eq!(parse("-d a -d").unwrap().arguments, ["-d"]);
        assert_eq!(parse("--rm a").unwrap().mode, Mode::Attached { remove: true });
        let choice = |stdin, tty| Choice { stdin, tty };
        assert_eq!(parse("-it a -i").unwrap().choice, choice(true, true));
        assert_eq!(parse("--stdin --rm a").unwrap().choice, choice(true, false));
        assert_eq!(parse("a -t").unwrap().choice, choice(false, false));
        assert_eq!(parse("-e A=b=c a").unwrap().environment, [("A".to_owned(), "b=c".to_owned())]);
        for bad in [
            "",
            "-d --rm a",
            "--service a",
            "-di a",
            "--service --name a -t a",
            "--name A a",
            "--network host -p 1:1 a",
            "-e =x a",
            "-e NO_SUCH_VARIABLE_HERE a",
            "--cap-add NET a",
            "--memory 0 a",
            "--memory 64X a",
            "--cpus 0 a",
            "--cpus 0.001 a",
            "--cpus 1.0000 a",
            "--pids 0 a",
            "--nosuch x a",
            "-x a",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn figures() {
        assert_eq!([bytes("64M"), bytes("1G"), bytes("5")], [Some(64 << 20), Some(1 << 30), Some(5)]);
        assert_eq!([bytes("M"), bytes(""), bytes("-1"), bytes("9999999999G")], [None; 4]);
        assert_eq!(
            [thousandths("0.5"), thousandths("2"), thousandths("1.25")],
            [Some(500), Some(2000), Some(1250)]
        );
    }
}
