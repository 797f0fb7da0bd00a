//! The place where the runtime runs in this test, and the conversation with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lepton_cri::v1 as cri;
use lepton_cri::v1::image_service_client::ImageServiceClient;
use lepton_cri::v1::runtime_service_client::RuntimeServiceClient;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::thread::UnshareFlags;
use tonic::transport::{Channel, Endpoint};

use crate::cgroup::OwnCgroup;
use crate::image;

/// Real time that anything may take: the machine may be busy with other tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A client with kubelet's and crictl's limit of a message.
pub(crate) type Client = RuntimeServiceClient<Channel>;

/// The place.
pub(crate) struct Host {
    folder: tempfile::TempDir,
    programs: PathBuf,
    plugins: Option<PathBuf>,
    runtime: Option<Child>,
    /// More words for the runtime's command line, from its next start on.
    pub(crate) options: Vec<String>,
    /// Last: the runtime is gone by then.
    _cgroup: OwnCgroup,
}

impl Host {
    /// Makes it, or says what is missing.
    pub(crate) fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can make containers here".to_owned());
        }
        let busybox =
            std::env::var_os("LEPTON_TEST_BUSYBOX").map_or_else(|| "/bin/busybox".into(), PathBuf::from);
        let Some(programs) = programs() else {
            return Err("LEPTON_TEST_PROGRAMS does not say where the runtime's programs are".to_owned());
        };
        let needed = ["runtime", "runtime-shim", "runtime-oci"].map(|name| programs.join(name));
        for path in needed.iter().chain([&busybox]) {
            if !path.is_file() {
                return Err(format!("there is no {}", path.display()));
            }
        }
        let plugins = std::env::var_os("LEPTON_TEST_CNI").map(PathBuf::from);
        let cgroup = isolate().map_err(|error| format!("namespaces cannot be made here: {error}"))?;
        let folder = tempfile::Builder::new().prefix("lepton-runtime").tempdir().unwrap();
        let host = Self { folder, programs, plugins, runtime: None, options: Vec::new(), _cgroup: cgroup };
        fs::create_dir_all(host.path("cni")).unwrap();
        fs::create_dir_all(host.path("run")).unwrap();
        // As /run of a host is.
        mount("tmpfs", host.path("run"), "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
        fs::create_dir_all(host.path("logs")).unwrap();
        image::write(&busybox, &host.path("busybox.tar"));
        let mut host = host;
        host.start();
        Ok(host)
    }

    /// A program of the runtime.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A file of this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the runtime, and waits until it listens.
    pub(crate) fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("runtime.log")).unwrap();
        let mut command = Command::new(self.program("runtime"));
        let _ = fs::remove_file(self.path("cri.sock"));
        command.arg("--socket").arg(self.path("cri.sock"));
        command.arg("--run").arg(self.path("run")).arg("--state").arg(self.path("state"));
        command.arg("--shim").arg(self.program("runtime-shim"));
        command.arg("--oci").arg(self.program("runtime-oci"));
        command.arg("--cni-config").arg(self.path("cni"));
        command.arg("--cni-plugins").arg(self.plugins.clone().unwrap_or_else(|| self.path("no-plugins")));
        command.arg("--import").arg(self.path("busybox.tar"));
        command.args(&self.options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.runtime = Some(command.spawn().unwrap());
        let begin = Instant::now();
        while !self.path("cri.sock").exists() {
            let ended = self.runtime.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the runtime ended: {ended:?}\n{}", self.log());
            assert!(begin.elapsed() < LIMIT, "the runtime does not listen\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the runtime at once.
    pub(crate) fn kill(&mut self) {
        let mut runtime = self.runtime.take().unwrap();
        runtime.kill().unwrap();
        runtime.wait().unwrap();
    }

    /// What the runtime said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("runtime.log")).unwrap_or_default()
    }

    /// The process id of the runtime.
    pub(crate) fn process(&self) -> u32 {
        self.runtime.as_ref().unwrap().id()
    }

    /// Whether there are CNI plugins.
    pub(crate) fn plugins(&self) -> bool {
        self.plugins.is_some()
    }

    /// A client.
    pub(crate) async fn client(&self) -> Client {
        runtime_client(self.channel()().await.unwrap())
    }

    /// A client for images.
    pub(crate) async fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel()().await.unwrap())
    }

    /// Connects to the runtime; not when it is away. It may be taken to other threads.
    pub(crate) fn channel(&self) -> impl AsyncFn() -> Option<Channel> + Clone + Send + 'static {
        let address = format!("unix://{}", self.path("cri.sock").display());
        async move || Endpoint::from_shared(address.clone()).unwrap().connect().await.ok()
    }

    /// How many descriptors the runtime has.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process())).unwrap().count()
    }

    /// A pod's configuration, in the host's network.
    pub(crate) fn pod(&self, name: &str) -> cri::PodSandboxConfig {
        let options = cri::NamespaceOption {
            network: cri::NamespaceMode::Node.into(),
            pid: cri::NamespaceMode::Container.into(),
            ..cri::NamespaceOption::default()
        };
        let context = cri::LinuxSandboxSecurityContext {
            namespace_options: Some(options),
            ..cri::LinuxSandboxSecurityContext::default()
        };
        cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            log_directory: self.path("logs").display().to_string(),
            linux: Some(cri::LinuxPodSandboxConfig {
                security_context: Some(context),
                ..cri::LinuxPodSandboxConfig::default()
            }),
            ..cri::PodSandboxConfig::default()
        }
    }

    /// Takes everything down.
    pub(crate) fn end(&mut self) {
        if self.runtime.is_some() {
            self.kill();
        }
        let _ = unmount(self.path("run"), UnmountFlags::DETACH);
    }
}

/// A client with kubelet's and crictl's limit of a message.
pub(crate) fn runtime_client(channel: Channel) -> Client {
    RuntimeServiceClient::new(channel).max_decoding_message_size(16 << 20)
}

/// A container's configuration: a script for the shell.
pub(crate) fn script(name: &str, script: &str) -> cri::ContainerConfig {
    let options = cri::NamespaceOption {
        network: cri::NamespaceMode::Node.into(),
        pid: cri::NamespaceMode::Container.into(),
        ..cri::NamespaceOption::default()
    };
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(cri::ImageSpec { image: image::NAME.to_owned(), ..cri::ImageSpec::default() }),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: format!("{name}.log"),
        linux: Some(cri::LinuxContainerConfig {
            security_context: Some(cri::LinuxContainerSecurityContext {
                namespace_options: Some(options),
                seccomp: Some(cri::SecurityProfile::default()),
                ..cri::LinuxContainerSecurityContext::default()
            }),
            ..cri::LinuxContainerConfig::default()
        }),
        ..cri::ContainerConfig::default()
    }
}

/// Where the runtime's programs are: `LEPTON_TEST_PROGRAMS` says it, else those of this build.
fn programs() -> Option<PathBuf> {
    let own = option_env!("CARGO_BIN_EXE_runtime").map(|path| Path::new(path).parent().unwrap().to_owned());
    std::env::var_os("LEPTON_TEST_PROGRAMS").map(PathBuf::from).or(own)
}

/// Namespaces of this process alone, with what the runtime expects of a host.
fn isolate() -> rustix::io::Result<OwnCgroup> {
    #[expect(deprecated, reason = "its safe form; this process has one thread still")]
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let cgroup = OwnCgroup::enter()?;
    // The streaming server listens on it.
    lepton_runtime_shim::namespaces::loopback_up().map_err(|_| rustix::io::Errno::NETUNREACH)?;
    Ok(cgroup)
}

/// The names in a folder of this test.
pub(crate) fn left_of(host: &Host, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(host.path(folder));
    entries.into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
