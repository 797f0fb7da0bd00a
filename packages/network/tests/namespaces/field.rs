//! Two network namespaces with a cable between them: this process lives in that of the servers, and the service runs
//! in the other one.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The variable that names the store of a finished build.
pub(crate) const STORE_VARIABLE: &str = "LEPTON_TEST_STORE";
/// Machines that run many tests at a time are slow.
const PATIENCE: Duration = Duration::from_secs(40);

/// The namespaces and what runs in them. All of it ends with this value.
pub(crate) struct Field {
    pub(crate) dir: tempfile::TempDir,
    holder: Child,
    service: Option<Child>,
    servers: Vec<Child>,
}

impl Field {
    pub(crate) fn new() -> Self {
        let own = std::env::current_exe().expect("this program");
        let pipes = Command::new(own).arg("--hold").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut holder = pipes.expect("it starts");
        let mut line = String::new();
        let stdout = holder.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("it speaks");
        assert_eq!(line, "ready\n");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let field = Self { dir, holder, service: None, servers: Vec::new() };
        field.ip("link set lo up");
        field.ip_there("link set lo up");
        field
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The tool tree that has dnsmasq.
    pub(crate) fn tree() -> PathBuf {
        let store = PathBuf::from(std::env::var_os(STORE_VARIABLE).expect("it was looked at before"));
        let trees = fs::read_dir(store.join("trees")).expect("a store");
        let mut trees = trees.filter_map(|entry| Some(entry.ok()?.path()));
        let found = trees.find(|tree| tree.join("usr/sbin/dnsmasq").exists());
        found.expect("a tool tree with dnsmasq in the store")
    }

    /// A program of the tool tree, with its own loader and libraries.
    pub(crate) fn tool(program: &str) -> Vec<String> {
        let tree = Self::tree();
        let arch = std::env::consts::ARCH;
        let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"]
            .map(|name| tree.join("usr").join(name));
        let loader = loader.into_iter().find(|loader| loader.exists()).expect("a loader in the tool tree");
        let libraries = tree.join(format!("usr/lib/{arch}-linux-gnu"));
        let program = ["usr/sbin", "usr/bin"].map(|folder| tree.join(folder).join(program));
        let program =
            program.into_iter().find(|program| program.exists()).expect("the program is in the tool tree");
        let text = |path: &Path| path.display().to_string();
        vec![text(&loader), "--library-path".into(), text(&libraries), text(&program)]
    }

    /// The beginning of a command that runs in the namespace of the service.
    fn there(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("--in").arg(self.holder.id().to_string());
        command
    }

    /// `ip` among the servers.
    pub(crate) fn ip(&self, words: &str) -> String {
        let tool = Self::tool("ip");
        output(Command::new(&tool[0]).args(&tool[1..]).args(words.split(' ')), words)
    }

    /// `ip` where the service is.
    pub(crate) fn ip_there(&self, words: &str) -> String {
        output(self.there().args(Self::tool("ip")).args(words.split(' ')), words)
    }

    /// Whether the kernel has a kind of link.
    pub(crate) fn has_kind(&self, words: &str) -> bool {
        let tool = Self::tool("ip");
        let mut command = Command::new(&tool[0]);
        command.args(&tool[1..]).args(["link", "add"]).args(words.split(' ')).stderr(Stdio::null());
        let has = command.status().expect("ip runs").success();
        if !has {
            eprintln!("left out: this kernel does not make links with `{words}`");
        }
        has
    }

    /// A cable: `name` where the service is, `peer` among the servers, switched on.
    pub(crate) fn cable(&self, name: &str, peer: &str) {
        self.ip(&format!("link add {peer} type veth peer name {name} netns {}", self.holder.id()));
        self.ip(&format!("link set {peer} up"));
    }

    /// Starts dnsmasq on a link, without its DNS part.
    pub(crate) fn dnsmasq(&mut self, link: &str, options: &[&str]) {
        let mut words = Self::tool("dnsmasq");
        let leases = format!("--dhcp-leasefile={}", self.path("leases").display());
        let fixed = ["--no-daemon", "--conf-file=/dev/null", "--port=0", "--log-dhcp", "--no-ping", &leases];
        words.extend(fixed.map(str::to_owned));
        words.push(format!("--interface={link}"));
        words.extend(options.iter().map(|option| (*option).to_owned()));
        self.server("dnsmasq", &words);
    }

    /// Starts chronyd, which does not touch the clock.
    pub(crate) fn chronyd(&mut self, config: &str) {
        let path = self.path("chrony.conf");
        // chronyd removes this file when it ends, so it must be one of the test's own.
        let own = format!("{config}\npidfile {}\n", self.path("chronyd.pid").display());
        fs::write(&path, own).expect("a configuration");
        let mut words = Self::tool("chronyd");
        words.extend(["-d", "-x", "-U", "-u", "root", "-f"].map(str::to_owned));
        words.push(path.display().to_string());
        self.server("chronyd", &words);
    }

    fn server(&mut self, name: &str, words: &[String]) {
        let log = self.log(name);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        self.servers.push(command.spawn().expect("it starts"));
    }

    fn log(&self, name: &str) -> File {
        let path = self.path(&format!("{name}.log"));
        File::options().create(true).append(true).open(path).expect("a log")
    }

    /// Ends all servers, as a power cut would.
    pub(crate) fn stop_servers(&mut self) {
        for mut server in self.servers.drain(..) {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Starts the service with a machine config. Its link `eth0` counts as hardware.
    pub(crate) fn start(&mut self, config: &str) {
        fs::write(self.path("config.toml"), config).expect("a config");
        let log = self.log("network");
        let mut command = self.there();
        command.arg(env!("CARGO_BIN_EXE_network")).arg("--config").arg(self.path("config.toml"));
        command.arg("--run").arg(self.path("run")).arg("--resolv-conf").arg(self.path("resolv.conf"));
        command.args(["--wired", "eth0", "--wired", "eth1"]).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        self.service = Some(command.spawn().expect("the service starts"));
    }

    /// Ends the service as PID 1 would.
    pub(crate) fn stop(&mut self) {
        let mut service = self.service.take().expect("it runs");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(service.id()).expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        let status = service.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }

    /// Kilobytes of memory that only the service has and shares.
    pub(crate) fn resident_kib(&self) -> u64 {
        let pid = self.service.as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process with memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The state file.
    pub(crate) fn report(&self) -> Value {
        let text = fs::read_to_string(self.path("run/network.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Waits until something is so, and says what it waited for when it never is.
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !is_so(self) {
            if began.elapsed() > PATIENCE {
                self.tell();
                panic!("never so: {what}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        began.elapsed()
    }

    /// Addresses of a link with this origin.
    pub(crate) fn addresses(&self, link: &str, origin: &str) -> Vec<String> {
        let report = self.report();
        let links = report["links"].as_array().cloned().unwrap_or_default();
        let link = links.into_iter().find(|known| known["name"] == link).unwrap_or_default();
        let addresses = link["addresses"].as_array().cloned().unwrap_or_default();
        let addresses = addresses.into_iter().filter(|address| address["origin"] == origin);
        addresses.filter_map(|address| address["address"].as_str().map(str::to_owned)).collect()
    }

    /// Everything that helps to understand a failure.
    fn tell(&self) {
        for name in ["network.log", "dnsmasq.log", "chronyd.log", "run/network.json", "resolv.conf"] {
            eprintln!("== {name}\n{}", self.read(name));
        }
        eprintln!(
            "== addresses\n{}\n== routes\n{}{}",
            self.ip_there("-d addr"),
            self.ip_there("route"),
            self.ip_there("-6 route")
        );
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.stop_servers();
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn output(command: &mut Command, words: &str) -> String {
    let output = command.output().expect("ip runs");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
