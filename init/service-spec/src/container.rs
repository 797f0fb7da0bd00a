//! The `[[containers]]` table: an OCI image that runs as a service, through the program `lepton-ctr`.
//!
//! Only what the table says and which service it becomes; nothing here knows CRI.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::endpoint::{Bind, Port, User};
use crate::rules::no_zero;
use crate::spec::{is_true, yes};
use crate::{Capability, GiveUp, Kind, Problem, ReadyWhen, Restart, Seconds, ServiceSpec};

/// The program that keeps one container.
const PROGRAM: &str = "/usr/bin/lepton-ctr";
/// The service that makes containers.
const RUNTIME: &str = "runtime";
/// What stopping takes beyond the container's own time: killing, unmounting, giving back the network.
const TAKING_DOWN: Seconds = Seconds::from_millis(30_000);

/// Which network a container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ContainerNetwork {
    /// One of its own, with addresses of the host's pod network.
    #[default]
    Pod,
    /// The host's.
    Host,
}

/// When an image is asked of its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// When the host does not have it.
    #[default]
    Missing,
    /// Before every start.
    Always,
    /// Never.
    Never,
}

/// An OCI image that PID 1 runs through the container runtime and looks after as after a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContainerSpec {
    /// Its name, and that of its service: lower-case letters, digits and hyphens, a letter first, at most 32.
    pub name: String,
    /// The image: `registry/name:tag` or `registry/name@sha256:digest`.
    pub image: String,
    /// When the image is asked of its registry.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pull: Pull,
    /// The program and its first arguments, instead of the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments, instead of the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables of its environment, besides the image's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The folder it starts in; the image's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The user it runs as: a name of the image or a number, and the number of a group behind a colon (`1000:1000`); the
    /// image's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Which network it has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: ContainerNetwork,
    /// Ports of the host that lead to ports of the container: `80:8080`, `192.0.2.1:53:53/udp`, `[2001:db8::1]:80:8080`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Paths of the host that the container sees: `/var/web:/srv`, or `/var/web:/srv:ro` if it cannot change them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
    /// Whether it cannot change its root file system.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Capabilities besides the 14 that containers have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// Memory past which it is killed, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_mib: Option<u32>,
    /// Its limit of processor time, in percent of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_max_percent: Option<u32>,
    /// Most processes and threads at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u32>,
    /// Whether it runs until it is stopped (`daemon`) or does one thing and ends (`oneshot`).
    #[serde(default)]
    pub kind: Kind,
    /// Services that must be ready before this one starts, besides `runtime`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Services that start before this one when they exist; it starts even if they failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// What follows when it ends by itself; `always` for a daemon and `never` for a oneshot unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Wait before the first start again; each further one waits twice as long, 30 seconds at most.
    #[serde(default = "ServiceSpec::default_restart_s")]
    pub restart_s: Seconds,
    /// Time between its stop signal and SIGKILL.
    #[serde(default = "ServiceSpec::default_timeout_s")]
    pub stop_timeout_s: Seconds,
    /// When PID 1 stops starting it again.
    #[serde(default)]
    pub give_up: GiveUp,
    /// Whether the host counts as failed when it is given up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub required: bool,
    /// Whether it starts with the host; else only on request.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// Whether the ready line waits for it; not unless given, as a registry may be out of reach for long.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wanted: bool,
}

impl ContainerSpec {
    /// The service that it is for PID 1.
    pub fn service(&self) -> ServiceSpec {
        let mut service = ServiceSpec::new(&self.name, &[PROGRAM, "run", "--service"]);
        service.command.extend(self.options());
        service.command.extend(["--".to_owned(), self.image.clone()]);
        service.command.extend(self.args.iter().cloned());
        // Not in the command line, which every process of the host can read.
        service.environment.clone_from(&self.environment);
        service.kind = self.kind;
        service.ready = (self.kind == Kind::Daemon).then_some(ReadyWhen::Notify);
        service.needs = vec![RUNTIME.to_owned()];
        service.needs.extend(self.needs.iter().filter(|name| *name != RUNTIME).cloned());
        service.after.clone_from(&self.after);
        service.restart = self.restart;
        service.restart_s = self.restart_s;
        service.give_up = self.give_up;
        // A pull takes as long as it takes.
        service.start_timeout_s = Seconds::from_millis(0);
        let stop = self.stop_timeout_s.millis() + TAKING_DOWN.millis();
        service.stop_timeout_s = Seconds::from_millis(stop.min(Seconds::LONGEST.millis()));
        (service.required, service.enabled, service.wanted) = (self.required, self.enabled, self.wanted);
        service
    }

    fn options(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("--name", self.name.clone());
        match self.pull {
            Pull::Missing => {}
            Pull::Always => option("--pull", "always".to_owned()),
            Pull::Never => option("--pull", "never".to_owned()),
        }
        if self.network == ContainerNetwork::Host {
            option("--network", "host".to_owned());
        }
        self.command.iter().for_each(|word| option("--command", word.clone()));
        self.environment.keys().for_each(|name| option("--env", name.clone()));
        self.ports.iter().for_each(|port| option("--port", port.clone()));
        self.mounts.iter().for_each(|mount| option("--mount", mount.clone()));
        self.capabilities.iter().for_each(|name| option("--cap-add", name.to_string()));
        self.working_dir.iter().for_each(|folder| option("--workdir", folder.clone()));
        self.user.iter().for_each(|user| option("--user", user.clone()));
        self.memory_max_mib.iter().for_each(|mib| option("--memory", format!("{mib}M")));
        let percent = self.cpu_max_percent.iter();
        percent.for_each(|percent| option("--cpus", format!("{}.{:02}", percent / 100, percent % 100)));
        self.pids_max.iter().for_each(|count| option("--pids", count.to_string()));
        option("--stop-timeout", self.stop_timeout_s.millis().div_ceil(1000).to_string());
        if self.read_only {
            words.push("--read-only".to_owned());
        }
        words
    }

    /// Everything that is wrong with this table by itself; empty when it is good.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = self.service().problems();
        let mut unless = |good: bool, key: &'static str, message: &dyn Fn() -> String| {
            if !good {
                found.push(Problem { key, message: message() });
            }
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_/:@[]".contains(c);
        let is_image = self.image.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            && self.image.chars().all(plain);
        unless(is_image, "image", &|| {
            format!("{:?} is no name of an image such as \"registry.example/web:1\"", self.image)
        });
        for port in &self.ports {
            if let Err(message) = port.parse::<Port>() {
                unless(false, "ports", &|| message.clone());
            }
        }
        unless(self.ports.is_empty() || self.network == ContainerNetwork::Pod, "ports", &|| {
            "in the host's network every port is the host's; leave the key out".to_owned()
        });
        for mount in &self.mounts {
            if let Err(message) = mount.parse::<Bind>() {
                unless(false, "mounts", &|| message.clone());
            }
        }
        if let Some(Err(message)) = self.user.as_ref().map(|user| user.parse::<User>()) {
            unless(false, "user", &|| message.clone());
        }
        let folder = self.working_dir.as_deref().unwrap_or("/");
        unless(folder.starts_with('/'), "working-dir", &|| format!("{folder:?} is no absolute path"));
        let counts = [
            ("memory-max-mib", self.memory_max_mib),
            ("cpu-max-percent", self.cpu_max_percent),
            ("pids-max", self.pids_max),
        ];
        found.extend(counts.into_iter().filter_map(no_zero));
        found
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &str) -> ContainerSpec {
        toml::from_str(&format!("name = \"web\"\nimage = \"registry.example/web:1\"\n{more}")).unwrap()
    }

    #[test]
    fn a_short_table() {
        let service = spec("").service();
        let command =
            "/usr/bin/lepton-ctr run --service --name web --stop-timeout 10 -- registry.example/web:1";
        assert_eq!(service.command.join(" "), command);
        assert_eq!(service.needs, ["runtime"]);
        assert_eq!((service.ready_when(), service.restart_rule()), (ReadyWhen::Notify, Restart::Always));
        assert!(!service.wanted && service.start_timeout_s.millis() == 0);
        assert_eq!(spec("").problems(), []);
    }

    #[test]
    fn a_full_table() {
        let spec = spec(
            r#"
            pull = "always"
            command = ["/bin/web"]
            args = ["-v"]
            ports = ["80:8080", "192.0.2.1:53:53/udp"]
            mounts = ["/var/web:/srv:ro"]
            read-only = true
            capabilities = ["CAP_NET_ADMIN"]
            memory-max-mib = 64
            cpu-max-percent = 150
            pids-max = 100
            working-dir = "/srv"
            user = "web:1001"
            needs = ["runtime", "other"]
            restart = "on-failure"
            stop-timeout-s = 2.5
            environment = { SECRET = "s3cret" }
            "#,
        );
        assert_eq!(spec.problems(), []);
        let service = spec.service();
        let command = "/usr/bin/lepton-ctr run --service --name web --pull always --command /bin/web --env SECRET \
            --port 80:8080 --port 192.0.2.1:53:53/udp --mount /var/web:/srv:ro --cap-add CAP_NET_ADMIN --workdir /srv \
            --user web:1001 --memory 64M --cpus 1.50 --pids 100 --stop-timeout 3 --read-only -- registry.example/web:1 -v";
        assert_eq!(service.command.join(" "), command);
        assert_eq!(service.environment["SECRET"], "s3cret");
        assert_eq!(service.needs, ["runtime", "other"]);
        assert_eq!(service.stop_timeout_s.millis(), 32_500);
        assert_eq!(toml::from_str::<ContainerSpec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
    }

    #[test]
    fn every_rule_finds_its_mistake() {
        for (text, key) in [
            ("ports = [\"80\"]", "ports"),
            ("ports = [\"80:80\"]\nnetwork = \"host\"", "ports"),
            ("mounts = [\"srv:/srv\"]", "mounts"),
            ("working-dir = \"srv\"", "working-dir"),
            ("user = \"a:b\"", "user"),
            ("memory-max-mib = 0", "memory-max-mib"),
            ("kind = \"oneshot\"\nrestart = \"always\"", "restart"),
            ("needs = [\"web\"]", "needs"),
            ("environment = { \"A B\" = \"\" }", "environment"),
            ("args = [\"\\u0000\"]", "command"),
        ] {
            let keys: Vec<&str> = spec(text).problems().iter().map(|problem| problem.key).collect();
            assert_eq!(keys, [key], "{text}");
        }
        for image in ["", "-x", "a b", "a\n"] {
            let mut spec = spec("");
            spec.image = image.to_owned();
            assert_eq!(spec.problems()[0].key, "image", "{image:?}");
        }
        for bad in ["imag = \"x\"", "network = \"none\"", "ports = [80]"] {
            assert!(toml::from_str::<ContainerSpec>(&format!("name = \"a\"\nimage = \"b\"\n{bad}")).is_err());
        }
    }
}
