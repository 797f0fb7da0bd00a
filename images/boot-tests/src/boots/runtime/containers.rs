//! Containers of a machine config under PID 1, and a registry that is reached through a mirror: `lepton` and
//! `lepton ctr` say what becomes of them, and power-off asks them to stop.

use super::{finished, machine, registry};
use crate::Context;
use crate::context::TestError;
use crate::machine::Network;
use crate::ready::Ready;

/// What the client looks at; see `packages/runtime-tests/src/containers.rs`.
const CASES: [&str; 8] =
    ["services", "web", "commands", "pulled", "run", "stopped", "ctr-killed", "runtime-killed"];
/// What the container `web` says on the console when it is asked to stop.
const STOPPED: &str = "runtime-tests: web was asked to stop";
/// The mistake of the config, which leaves a registry without endpoints.
const MISTAKE: &str = "registries[1].endpoints[0].url";

/// The program of `pulled` is the host's, because its image has none.
const CONFIG: &str = r#"
[[files]]
path = "/etc/web/index.html"
content = "from the host"

[[containers]]
name = "web"
image = "localhost/shell:1"
command = ["/usr/bin/sh", "-c", """
trap 'echo asked to stop; echo runtime-tests: web was asked to stop >/console; exit 0' TERM
echo serving $GREETING
httpd -p 80 -h /srv
while :; do sleep 1000 & wait; done
"""]
environment = { GREETING = "s3cret-greeting" }
ports = ["8080:80"]
mounts = ["/etc/web:/srv:ro", "/dev/console:/console"]
memory-max-mib = 64
wanted = true

[[containers]]
name = "once"
image = "localhost/shell:1"
command = ["/usr/bin/sh", "-c", "echo once ran; exit 7"]
network = "host"
restart = "on-failure"
restart-s = 0.2
give-up = { starts = 3, within-s = 600 }

[[containers]]
name = "missing"
image = "registry.example/nothing:1"
restart-s = 0.2
give-up = { starts = 2, within-s = 600 }

[[containers]]
name = "pulled"
image = "registry.example/tool:1"
kind = "oneshot"
command = ["/probe", "show", "/hello"]
mounts = ["/usr/bin/runtime-tests:/probe:ro"]
network = "host"

[[registries]]
host = "registry.example"
only-endpoints = true
endpoints = [{ url = "http://10.0.2.100/hub" }]

[[registries]]
host = "closed.example"
only-endpoints = true
endpoints = [{ url = "closed.example" }]

[[services]]
name = "runtime-tests"
command = ["/usr/bin/runtime-tests", "containers"]
restart = "never"
wanted = false
capabilities = ["CAP_KILL", "CAP_DAC_READ_SEARCH"]
after = ["runtime"]
"#;

pub(in crate::boots) fn containers(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let hub = dir.path().join("hub");
    registry::write(&hub, "tool", cx.arch).map_err(TestError::file("write", &hub))?;
    let machine = machine(cx)?.network(Network::Served { dir: dir.path().to_owned() });
    let guest = finished(cx, &machine, CONFIG, &CASES)?;
    let console = guest.watch();
    let ready = console.text().lines().find_map(Ready::parse);
    let errors = ready.and_then(Result::ok).map(|ready| (ready.config.errors, ready.services));
    let is_ready = errors.as_ref().is_some_and(|(errors, services)| {
        matches!(&errors[..], [error] if error.contains(MISTAKE))
            && services.get("web").and_then(|state| state.as_str()) == Some("ready")
    });
    guest.require(is_ready, || format!("it is ready with web and one mistake, not {errors:?}"))?;
    let stops = |text: &str| text.matches(STOPPED).count();
    let before = stops(&console.text());
    guest.power_off()?;
    // `lepton stop` and `lepton restart`, and the host's end.
    match (before, stops(&console.text())) {
        (2, 3) => Ok(()),
        (before, after) => Err(TestError::Refused {
            judge: "the container's stop signal",
            reason: format!("web was asked to stop {before} times before power-off and {after} in all"),
        }),
    }
}
