//! The scenarios again, in a machine with the kernel of the image: it has kinds of links that the kernel of the
//! machine at hand may lack, and it is the one that hosts have.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use cpio::newc::{Builder, ModeFileType, trailer};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::tcdrain;

use crate::field::{Field, STORE_VARIABLE};

/// Tells the program in the machine what to do.
const WORD: &str = "--machine";
/// Emulation is slow, and machines that run tests are busy.
const LIMIT_S: &str = "900";
/// The last line of a machine whose scenarios all passed.
const WELL: &str = "machine: all is well";

/// Boots the machine and runs scenarios there; nothing where no build has left a kernel.
pub(crate) fn run(filters: &[&str]) -> Option<bool> {
    let store = PathBuf::from(std::env::var_os(STORE_VARIABLE)?);
    let Some(kernel) = kernel(&store) else {
        eprintln!("left out: {} has no kernel for this architecture", store.display());
        return None;
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let initrd = dir.path().join("initrd");
    let own = std::env::current_exe().expect("this program");
    write_initrd(&own, &initrd);
    let (program, machine, console) = match std::env::consts::ARCH {
        "aarch64" => ("qemu-system-aarch64", "virt", "ttyAMA0"),
        _ => ("qemu-system-x86_64", "q35", "ttyS0"),
    };
    let words = Field::tool(program);
    let tree = Field::tree();
    let cmdline = format!(
        "console={console} quiet panic=-1 rdinit={} {STORE_VARIABLE}={} -- {WORD} {}",
        own.display(),
        store.display(),
        filters.join(" ")
    );
    let mut command = Command::new("timeout");
    command.arg(LIMIT_S).args(words);
    for folder in ["usr/share/qemu", "usr/share/seabios"] {
        command.arg("-L").arg(tree.join(folder));
    }
    command.args(["-nodefaults", "-no-reboot", "-display", "none", "-m", "1024", "-smp", "2"]);
    command.args(["-machine", machine, "-cpu", "max", "-accel", "tcg"]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).arg("-append").arg(cmdline);
    let serial = dir.path().join("serial");
    command.arg("-serial").arg(format!("file:{}", serial.display())).stdin(Stdio::null());
    command.status().expect("QEMU starts");
    let text = String::from_utf8_lossy(&fs::read(&serial).unwrap_or_default()).into_owned();
    let is_good = text.contains(WELL);
    for line in text.lines().filter(|line| !is_good || line.starts_with("test ") || line.contains("left out"))
    {
        eprintln!("  machine: {line}");
    }
    Some(is_good)
}

/// The program as process 1 of the machine.
pub(crate) fn main(filters: &[&str]) -> ExitCode {
    // Nothing over /tmp: this program may lie below it, and the root is in memory anyway.
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>).expect("a new machine");
    }
    if crate::all(filters) == ExitCode::SUCCESS {
        println!("{WELL}");
    }
    // What was written last is still in the serial port's queue, which nobody empties once the kernel has stopped.
    std::io::stdout().flush().expect("a console");
    tcdrain(std::io::stdout()).expect("a console");
    // QEMU ends, as it starts no machine anew.
    match reboot(RebootMode::RB_AUTOBOOT) {
        Err(error) => panic!("process 1 may restart its machine: {error}"),
    }
}

/// A kernel of this architecture among the outputs of builds.
fn kernel(store: &Path) -> Option<PathBuf> {
    let (name, magic, at) = match std::env::consts::ARCH {
        "aarch64" => ("Image", &b"ARM\x64"[..], 56),
        _ => ("vmlinuz", &b"HdrS"[..], 0x202),
    };
    let outputs = fs::read_dir(store.join("outputs")).ok()?;
    let kernels = outputs.filter_map(|entry| Some(entry.ok()?.path().join(name)));
    let is_kernel = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes[at..].starts_with(magic));
    kernels.filter(is_kernel).max_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok())
}

/// An initrd with this program, the service, the servers and their libraries, at the paths that they have here.
fn write_initrd(own: &Path, initrd: &Path) {
    let mut files = BTreeSet::new();
    for program in [own, Path::new(env!("CARGO_BIN_EXE_network"))] {
        files.extend(libraries(Command::new(loader()).arg("--list").arg(program)));
        files.extend([program.to_owned(), loader()]);
    }
    for tool in ["ip", "dnsmasq", "chronyd"] {
        let words = Field::tool(tool);
        files.extend(libraries(Command::new(&words[0]).args(&words[1..3]).arg("--list").arg(&words[3])));
        files.extend([PathBuf::from(&words[0]), PathBuf::from(&words[3])]);
    }
    let mut folders: BTreeSet<PathBuf> =
        ["/dev", "/etc", "/proc", "/run", "/sys", "/tmp"].map(PathBuf::from).into();
    folders.extend(files.iter().flat_map(|file| file.ancestors().skip(1)).map(Path::to_owned));
    folders.remove(Path::new("/"));
    let mut out = fs::File::create(initrd).expect("a new file");
    let entry = |path: &Path| {
        let name = path.strip_prefix("/").expect("an absolute path").display().to_string();
        Builder::new(&name).mode(0o755)
    };
    let mut add = |entry: Builder, bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).expect("programs are small");
        let mut writer = entry.write(&mut out, length);
        writer.write_all(bytes).expect("a file of this test");
        writer.finish().expect("a file of this test");
    };
    for folder in &folders {
        add(entry(folder).set_mode_file_type(ModeFileType::Directory), &[]);
    }
    let console = entry(Path::new("/dev/console")).set_mode_file_type(ModeFileType::Char);
    add(console.rdev_major(5).rdev_minor(1), &[]);
    let text = |path| entry(Path::new(path)).set_mode_file_type(ModeFileType::Regular);
    // Names that the servers look up.
    add(text("/etc/passwd"), b"root:x:0:0::/:/\nnobody:x:65534:65534::/:/\n");
    add(text("/etc/group"), b"root:x:0:\nnogroup:x:65534:\n");
    for file in &files {
        // Links are followed: the archive has what they lead to.
        let bytes = fs::read(file).expect("a file of this machine");
        add(entry(file).set_mode_file_type(ModeFileType::Regular), &bytes);
    }
    trailer(&mut out).expect("a file of this test");
}

/// The loader of this machine.
fn loader() -> PathBuf {
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"].map(PathBuf::from);
    loaders.into_iter().find(|loader| loader.exists()).expect("a machine with glibc")
}

/// What a loader lists: `libc.so.6 => /lib/libc.so.6 (0x…)`.
fn libraries(command: &mut Command) -> Vec<PathBuf> {
    let output = command.output().expect("the loader runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let named = text.lines().filter_map(|line| line.split("=> ").nth(1)?.split(' ').next());
    paths.chain(named).map(PathBuf::from).filter(|path| path.is_file()).collect()
}
