//! The namespaces of a pod, without a process that holds them: made by a short-lived thread or child, and pinned by bind
//! mounts in the pod's folder. Only a PID namespace needs a process for as long as it lives: its PID 1, `runtime-shim
//! init`.
//!
//! A child is there for user namespaces, which are entered by processes of one thread only and whose maps are written
//! from outside, and for the PID 1. Neither thread nor child must outlive the making.

use std::fs::{self, File};
use std::io::{self, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::mount::mount_bind;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use rustix::process::{Gid, Uid};
use rustix::thread::{UnshareFlags, set_thread_gid, set_thread_uid};

use crate::pod::{self, IdMap, Pod};

/// A pod's namespaces could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct NamespaceError {
    what: String,
    source: io::Error,
}

fn cannot<T, E: Into<io::Error>>(what: impl Into<String>, result: Result<T, E>) -> Result<T, NamespaceError> {
    result.map_err(|error| NamespaceError { what: what.into(), source: error.into() })
}

/// Makes and pins the namespaces of a pod. The pod's PID 1, if it has one, lives as long as what is given back.
pub fn make(folder: &Path, pod: &Pod) -> Result<Option<ChildStdin>, NamespaceError> {
    let kinds = kinds(pod);
    if kinds.is_empty() {
        return Ok(None);
    }
    if pod.user.is_none() && !pod.pid {
        return std::thread::scope(|scope| scope.spawn(|| in_thread(folder, pod, &kinds)).join())
            .unwrap_or_else(|_| cannot("make namespaces", Err(io::Error::other("the thread panicked"))))
            .map(|()| None);
    }
    let mut child = start(folder)?;
    let mut input = child.stdin.take().expect("it was asked for");
    let result = converse(folder, pod, &kinds, &mut child, &mut input);
    // Its work is done, or will not be done.
    let _ = child.kill();
    cannot("wait for the child that makes namespaces", child.wait())?;
    result.map(|()| Some(input))
}

/// The namespaces that a pod has of its own, as `/proc/PID/ns` names them.
fn kinds(pod: &Pod) -> Vec<&'static str> {
    [
        ("user", pod.user.is_some()),
        ("net", pod.network),
        ("ipc", pod.ipc),
        ("uts", pod.hostname.is_some()),
        ("pid", pod.pid),
    ]
    .into_iter()
    .filter_map(|(kind, own)| own.then_some(kind))
    .collect()
}

fn start(folder: &Path) -> Result<Child, NamespaceError> {
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that starts itself")]
    let mut command = Command::new("/proc/self/exe");
    command.arg("namespaces").arg(folder).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    cannot("start the child that makes namespaces", command.spawn())
}

fn converse(
    folder: &Path,
    pod: &Pod,
    kinds: &[&str],
    child: &mut Child,
    input: &mut ChildStdin,
) -> Result<(), NamespaceError> {
    let pid = child.id();
    let mut output = BufReader::new(child.stdout.take().expect("it was asked for"));
    if let Some(maps) = &pod.user {
        line(&mut output)?;
        cannot("write the user map", fs::write(format!("/proc/{pid}/uid_map"), IdMap::text(&maps.uids)))?;
        cannot("write the group map", fs::write(format!("/proc/{pid}/gid_map"), IdMap::text(&maps.gids)))?;
        cannot("answer the child", input.write_all(b"\n"))?;
    }
    line(&mut output)?;
    for kind in kinds {
        let from = match *kind {
            // Its own is the host's still.
            "pid" => format!("/proc/{pid}/ns/pid_for_children"),
            kind => format!("/proc/{pid}/ns/{kind}"),
        };
        pin(&from, &pod::namespace(folder, kind))?;
    }
    Ok(())
}

/// Makes and pins namespaces as a thread that is theirs and ends.
fn in_thread(folder: &Path, pod: &Pod, kinds: &[&str]) -> Result<(), NamespaceError> {
    enter(pod)?;
    kinds
        .iter()
        .try_for_each(|kind| pin(&format!("/proc/thread-self/ns/{kind}"), &pod::namespace(folder, kind)))
}

fn pin(from: &str, to: &Path) -> Result<(), NamespaceError> {
    cannot(format!("make {}", to.display()), File::create(to))?;
    cannot(format!("mount {from} on {}", to.display()), mount_bind(from, to))
}

fn line(output: &mut impl io::BufRead) -> Result<String, NamespaceError> {
    let mut line = String::new();
    cannot("hear from the child", output.read_line(&mut line))?;
    match line.strip_prefix("error: ") {
        Some(error) => cannot("make namespaces", Err(io::Error::other(error.trim().to_owned()))),
        None if line.is_empty() => cannot("make namespaces", Err(io::Error::other("the child ended"))),
        None => Ok(line),
    }
}

/// The child: `runtime-shim namespaces FOLDER`.
pub fn child(folder: &Path) {
    // Standard error is the shim's; the shim reports what comes here.
    let Err(error) = prepare(folder);
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(io::stdout(), "error: {error}: {cause}");
}

fn prepare(folder: &Path) -> Result<std::convert::Infallible, NamespaceError> {
    let file = folder.join(pod::FILE);
    let text = cannot(format!("read {}", file.display()), fs::read(&file))?;
    let pod: Pod = cannot(format!("use {}", file.display()), serde_json::from_slice(&text))?;
    if pod.user.is_some() {
        cannot("make a user namespace", unshare(UnshareFlags::NEWUSER))?;
        cannot("tell the shim", writeln!(io::stdout()))?;
        cannot("hear from the shim", read_byte())?;
        cannot("become its root", set_thread_gid(Gid::ROOT))?;
        cannot("become its root", set_thread_uid(Uid::ROOT))?;
    }
    enter(&pod)?;
    if pod.pid {
        cannot("start PID 1", start_init())?;
    }
    cannot("tell the shim", writeln!(io::stdout(), "made"))?;
    // Held until the shim has pinned everything and kills this process. Standard input is PID 1's to read from here on.
    loop {
        rustix::event::pause();
    }
}

/// Makes the namespaces of a pod, but for that of users, and sets them up.
fn enter(pod: &Pod) -> Result<(), NamespaceError> {
    let flags = [
        (UnshareFlags::NEWNET, pod.network),
        (UnshareFlags::NEWIPC, pod.ipc),
        (UnshareFlags::NEWUTS, pod.hostname.is_some()),
        (UnshareFlags::NEWPID, pod.pid),
    ];
    let flags = flags.into_iter().filter_map(|(flag, own)| own.then_some(flag)).collect();
    cannot("make namespaces", unshare(flags))?;
    if let Some(hostname) = &pod.hostname {
        cannot("set the host name", rustix::system::sethostname(hostname.as_bytes()))?;
    }
    if pod.network {
        cannot("bring up lo", loopback_up())?;
    }
    for (name, value) in &pod.sysctls {
        let path = sysctl_path(name);
        cannot(format!("set {name} to {value}"), fs::write(path, value))?;
    }
    Ok(())
}

/// The shim's answer.
fn read_byte() -> io::Result<()> {
    match rustix::io::read(rustix::stdio::stdin(), &mut [0; 1])? {
        1 => Ok(()),
        _ => Err(io::Error::other("the shim ended")),
    }
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    #[expect(deprecated, reason = "its safe form; no files are shared with another thread, as there is none")]
    rustix::thread::unshare(flags).map_err(Into::into)
}

/// Both ways to write a name: `net.ipv4.ip_forward`, and `net/ipv4/conf/eth0.1/forwarding` where dots are part of it.
fn sysctl_path(name: &str) -> String {
    let dot = name.find('.').unwrap_or(usize::MAX);
    let slash = name.find('/').unwrap_or(usize::MAX);
    if slash < dot {
        return format!("/proc/sys/{name}");
    }
    let swapped: String = name
        .chars()
        .map(|letter| match letter {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    format!("/proc/sys/{swapped}")
}

/// It shares standard input, whose other end the shim keeps: when that closes, the pod is over.
fn start_init() -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that starts itself")]
    let mut command = Command::new("/proc/self/exe");
    command.arg0("runtime-shim").arg("init").env_clear().current_dir("/");
    command.stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop)
}

/// `lo` up, through rtnetlink(7): it has index 1 in every new namespace.
pub fn loopback_up() -> io::Result<()> {
    /// `RTM_NEWLINK`
    const NEW_LINK: u16 = 16;
    /// `NLM_F_REQUEST`
    const REQUEST: u16 = 1;
    /// `IFF_UP`
    const UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(&32_u32.to_ne_bytes());
    message.extend_from_slice(&NEW_LINK.to_ne_bytes());
    message.extend_from_slice(&REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    // struct ifinfomsg: family, padding, type, index, flags, which flags.
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&UP.to_ne_bytes());
    message.extend_from_slice(&UP.to_ne_bytes());
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parameters() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(
            sysctl_path("net.ipv4.conf.eth0/1.forwarding"),
            "/proc/sys/net/ipv4/conf/eth0.1/forwarding"
        );
        assert_eq!(
            sysctl_path("net/ipv4/conf/eth0.1/forwarding"),
            "/proc/sys/net/ipv4/conf/eth0.1/forwarding"
        );
    }

    #[test]
    fn only_what_is_asked_for() {
        assert!(kinds(&Pod::default()).is_empty());
        let pod = Pod { network: true, hostname: Some("a".to_owned()), ..Pod::default() };
        assert_eq!(kinds(&pod), ["net", "uts"]);
    }
}
