//! The inside of the sandbox: namespaces, mounts, then the tool.
//!
//! Two steps, each a fresh start of this program: the first makes the namespaces, the second is
//! process 1 of the PID namespace, mounts and becomes the tool. Both die with their parent.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Uid, chdir, getegid, geteuid, pivot_root, sethostname};

use super::{Access, Bind, Network, Sandbox};
use crate::process::Process;

/// Exit code of a sandbox that could not be made; the reason is on standard error.
const CANNOT_ENTER: u8 = 125;
/// First argument of the second step.
const INNER: &str = "inner";
/// Only argument of an attempt that runs nothing.
pub(super) const PROBE: &str = "probe";
/// First of the arguments of a program that only enters a network.
pub(super) const BESIDE: &str = "beside";
/// Where name servers are listed; a tool with the machine's network needs the machine's list.
pub(crate) const RESOLV_CONF: &str = "etc/resolv.conf";
/// Device nodes that every tool may use.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// A failed step of entering.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}{hint}")]
struct EnterError {
    step: String,
    source: io::Error,
    hint: &'static str,
}

/// Runs the sandbox described by the arguments after [`super::ENTER`].
pub fn enter(args: &[String]) -> ExitCode {
    let result = match args {
        [probe] if probe == PROBE => namespaces(Network::None).map(|()| ExitCode::SUCCESS),
        [text] => outer(text),
        [inner, text] if inner == INNER => inner_step(text),
        [beside, pid, program, args @ ..] if beside == BESIDE => beside_step(pid, program, args),
        _ => return ExitCode::from(2),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::from(CANNOT_ENTER)
        }
    }
}

fn outer(text: &str) -> Result<ExitCode, EnterError> {
    let sandbox = parse(text)?;
    die_with_parent()?;
    namespaces(sandbox.network)?;
    let inner = Process::new("/proc/self/exe").arg(super::ENTER).arg(INNER).arg(text);
    let mut child = inner
        .spawn(Stdio::inherit(), Stdio::inherit(), Stdio::inherit())
        .map_err(|error| failed("start the inner step", io::Error::other(error)))?;
    let status = child.wait().map_err(|error| failed("wait for the tool", error))?;
    let code = status.code().unwrap_or(CANNOT_ENTER.into());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(CANNOT_ENTER)))
}

/// Enters new namespaces; as an ordinary user, a user namespace in which that user is root.
fn namespaces(network: Network) -> Result<(), EnterError> {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    match network {
        Network::None => flags |= CloneFlags::CLONE_NEWNET,
        Network::Host => {}
        Network::Of(pid) => {
            join(pid)?;
            return unshare(flags).map_err(|error| failed("make namespaces", error.into()));
        }
    }
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(|error| EnterError {
        step: "make namespaces".to_owned(),
        source: match error {
            // The kernel's answer to a used up limit reads "no space left on device".
            Errno::ENOSPC => io::Error::other("the system allows no more of them"),
            other => other.into(),
        },
        hint: "\nhint: builds by an ordinary user need user namespaces; see the sysctls user.max_user_namespaces, \
               kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
    })?;
    if !uid.is_root() {
        map_user(uid, gid.as_raw())?;
    }
    Ok(())
}

/// Enters the network of a sandbox, and the user namespace that it belongs to, and becomes a program of the machine.
fn beside_step(pid: &str, program: &str, args: &[String]) -> Result<ExitCode, EnterError> {
    let number = pid.parse().map_err(|_| failed(&format!("understand {pid}"), Errno::EINVAL.into()))?;
    join(number)?;
    die_with_parent()?;
    let error = Process::new(program).args(args).inherit_env().exec();
    Err(failed(&format!("run {program}"), error))
}

/// Enters the network of another process. An ordinary user may do so as root of the user namespace that owns it.
fn join(pid: u32) -> Result<(), EnterError> {
    let open = |name: &str| {
        let path = format!("/proc/{pid}/ns/{name}");
        File::open(&path).map_err(|error| failed(&format!("open {path}"), error))
    };
    let enter = |file: File, kind: CloneFlags, name: &str| {
        let failed = |error: Errno| failed(&format!("enter the {name} namespace of {pid}"), error.into());
        setns(file, kind).map_err(failed)
    };
    let network = open("net")?;
    if !geteuid().is_root() {
        enter(open("user")?, CloneFlags::CLONE_NEWUSER, "user")?;
    }
    enter(network, CloneFlags::CLONE_NEWNET, "network")
}

fn inner_step(text: &str) -> Result<ExitCode, EnterError> {
    let sandbox = parse(text)?;
    die_with_parent()?;
    // Tools let the mask into what they write: mkfs.erofs gives it to an inode of its own.
    umask(Mode::from_bits_truncate(0o022));
    sethostname("lepton-build").map_err(|error| failed("set the host name", error.into()))?;
    make_root(&sandbox)?;
    let mut process = Process::new(&sandbox.program).args(&sandbox.args).cwd(&sandbox.cwd);
    for (key, value) in &sandbox.env {
        process = process.env(key, value);
    }
    let error = process.env("PWD", sandbox.cwd.as_os_str()).exec();
    Err(failed(&format!("run {}", sandbox.program), error))
}

/// A new root of bind mounts; the old one is out of reach afterwards.
fn make_root(sandbox: &Sandbox) -> Result<(), EnterError> {
    // Any folder that surely exists will do: the mount is seen in this namespace only.
    let root = Path::new("/tmp");
    mount_on(None, Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    // Sources are opened now, because the new root hides those that lie below its mount point.
    let binds: Vec<(PathBuf, &Bind)> = sandbox
        .binds
        .iter()
        .map(|bind| open_source(&bind.from).map(|path| (path, bind)))
        .collect::<Result<_, _>>()?;
    let with_names = sandbox.network == Network::Host && Path::new("/").join(RESOLV_CONF).exists();
    let names = with_names.then(|| open_source(&Path::new("/").join(RESOLV_CONF))).transpose()?;
    let usr = open_source(&sandbox.tree.join("usr"))?;
    let etc = open_source(&sandbox.tree.join("etc"))?;
    mount_on(Some("tmpfs"), root, Some("tmpfs"), MsFlags::MS_NODEV | MsFlags::MS_NOSUID)?;
    for dir in ["usr", "etc", "proc", "dev", "tmp", "var/tmp", "run", ".old"] {
        make_dir(&root.join(dir))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).map_err(|error| failed("link /usr", error))?;
    }
    bind(&usr, &root.join("usr"), Access::ReadOnly)?;
    bind(&etc, &root.join("etc"), Access::ReadOnly)?;
    if let Some(names) = &names {
        bind(names, &root.join(RESOLV_CONF), Access::ReadOnly)?;
    }
    make_devices(root, &sandbox.devices)?;
    for (source, wanted) in &binds {
        let target = root.join(wanted.to.strip_prefix("/").unwrap_or(&wanted.to));
        make_target(source, &target)?;
        bind(source, &target, wanted.access)?;
    }
    mount_proc(root)?;
    pivot_root(root, &root.join(".old")).map_err(|error| failed("change the root", error.into()))?;
    chdir("/").map_err(|error| failed("enter the root", error.into()))?;
    umount2("/.old", MntFlags::MNT_DETACH).map_err(|error| failed("leave the old root", error.into()))?;
    fs::remove_dir("/.old").map_err(|error| failed("remove the old root", error))
}

fn make_devices(root: &Path, extra: &[PathBuf]) -> Result<(), EnterError> {
    let always = DEVICES.iter().map(Path::new);
    for device in always.chain(extra.iter().map(PathBuf::as_path)) {
        let target = root.join(device.strip_prefix("/").unwrap_or(device));
        make_target(device, &target)?;
        mount_on(Some(device.to_str().unwrap_or_default()), &target, None, MsFlags::MS_BIND)?;
    }
    make_dir(&root.join("dev/shm"))?;
    for (link, to) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(to, root.join("dev").join(link)).map_err(|error| failed("link /dev", error))?;
    }
    Ok(())
}

/// `/proc` of the new PID namespace, or the machine's where containers forbid a new one.
fn mount_proc(root: &Path) -> Result<(), EnterError> {
    let target = root.join("proc");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if mount(Some("proc"), &target, Some("proc"), flags, None::<&str>).is_ok() {
        return Ok(());
    }
    mount_on(Some("/proc"), &target, None, MsFlags::MS_BIND | MsFlags::MS_REC)
}

fn bind(source: &Path, target: &Path, access: Access) -> Result<(), EnterError> {
    mount_on(Some(&source.to_string_lossy()), target, None, MsFlags::MS_BIND | MsFlags::MS_REC)?;
    if access == Access::Writable {
        return Ok(());
    }
    // A user namespace may not drop flags that the mount underneath has, so they are repeated.
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    let kept = statvfs(target).map_err(|error| failed("read mount flags", error.into()))?.flags();
    for (has, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if kept.contains(has) {
            flags |= flag;
        }
    }
    mount_on(None, target, None, flags)
}

/// A path to `source` that stays valid after its folder is mounted over.
fn open_source(source: &Path) -> Result<PathBuf, EnterError> {
    use std::os::fd::IntoRawFd;
    let file = File::open(source).map_err(|error| failed(&format!("open {}", source.display()), error))?;
    // The descriptor stays open until the tool starts; close-on-exec ends it there.
    Ok(PathBuf::from(format!("/proc/self/fd/{}", file.into_raw_fd())))
}

fn make_target(source: &Path, target: &Path) -> Result<(), EnterError> {
    if source.is_dir() {
        return make_dir(target);
    }
    if let Some(parent) = target.parent() {
        make_dir(parent)?;
    }
    if target.exists() {
        return Ok(());
    }
    File::create(target).map(drop).map_err(|error| failed(&format!("make {}", target.display()), error))
}

fn make_dir(path: &Path) -> Result<(), EnterError> {
    fs::create_dir_all(path).map_err(|error| failed(&format!("make {}", path.display()), error))
}

fn map_user(uid: Uid, gid: u32) -> Result<(), EnterError> {
    let write = |file: &str, text: String| {
        fs::write(file, text).map_err(|error| failed(&format!("write {file}"), error))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

fn mount_on(
    source: Option<&str>,
    target: &Path,
    kind: Option<&str>,
    flags: MsFlags,
) -> Result<(), EnterError> {
    mount(source, target, kind, flags, None::<&str>)
        .map_err(|error| failed(&format!("mount {}", target.display()), error.into()))
}

fn die_with_parent() -> Result<(), EnterError> {
    set_pdeathsig(Signal::SIGKILL).map_err(|error| failed("tie the sandbox to its parent", error.into()))
}

fn parse(text: &str) -> Result<Sandbox, EnterError> {
    serde_json::from_str(text).map_err(|error| failed("read the sandbox description", error.into()))
}

fn failed(step: &str, source: io::Error) -> EnterError {
    EnterError { step: step.to_owned(), source, hint: "" }
}
