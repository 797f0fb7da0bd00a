//! A host that is its own trust domain: each service and each pod gets its own identity and no other, and the host is the
//! same one after a restart and after its power was cut.
//!
//! Workloads ask with the program that kubelet asks with; the console's shell reads what they were given.

use super::{ADDRESS, PATIENCE, Shell, machine_of};
use crate::Context;
use crate::boots::state;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::Machine;
use crate::runner::Peer;

/// Bytes of the state disk.
const DISK: u64 = 1 << 30;
/// Where workloads put what they were given.
const SEEN: &str = "/var/lib/seen";
/// Removes that, so that what is there after the next start was given then.
const FORGET: &str = "rm -f /var/lib/seen/alpha /var/lib/seen/beta /var/lib/seen/web; sync";
/// Prints the SPIFFE ID of the token in a credential.
const SUBJECT: &str = "subject() { { sed 's/.*\"token\":\"//; s/\".*//' $1 | cut -d. -f2 | tr '_-' '/+' | tr -d '\\n'; echo ==; } \
| base64 -d 2>/dev/null | grep -o 'spiffe://[a-z0-9./-]*' | tail -n 1; }";
/// What is said on the console of an identity that workloads have; a token begins so.
const TOKEN: &str = "eyJ";

/// A service that asks until it has an identity.
fn service(name: &str) -> String {
    let ask = format!(
        "mkdir -p {SEEN}; until identity kubelet-credential --audience test > {SEEN}/{name} 2>/dev/null; do sleep 1; done; \
         exec sleep 100000"
    );
    format!("[[services]]\nname = \"{name}\"\ncommand = [\"/usr/bin/sh\", \"-c\", {ask:?}]\n")
}

/// A pod whose container, as root, does the same; and which says why when it has none.
fn pod(name: &str, labels: &str) -> String {
    let ask = format!(
        "until /identity kubelet-credential --audience test --workload /run/spiffe/workload.sock \
         > /seen/{name} 2> /seen/{name}.why; do sleep 1; done; exec sleep 100000"
    );
    format!(
        "[[pods]]
manifest = '''
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {{name: spiffe, hostPath: {{path: /run/spiffe, type: Directory}}}}
  - {{name: program, hostPath: {{path: /usr/bin/identity, type: File}}}}
  - {{name: seen, hostPath: {{path: {SEEN}, type: DirectoryOrCreate}}}}
  containers:
  - name: main
    image: localhost/busybox:1
    command: [sh, -c, {ask:?}]
    volumeMounts:
    - {{name: spiffe, mountPath: /run/spiffe, readOnly: true}}
    - {{name: program, mountPath: /identity, readOnly: true}}
    - {{name: seen, mountPath: /seen}}
'''
"
    )
}

fn config() -> String {
    let entry = |path: &str, selectors: &str| {
        format!("[[identity.entries]]\npath = \"{path}\"\nselectors = [{selectors}]\n")
    };
    [
        format!(
            "hostname = \"edge-1\"\n[[network.links]]\nmatch = {{ name = \"eth0\" }}\naddresses = [\"{ADDRESS}/24\"]\n\
             [identity]\ntrust-domain = \"example.org\"\n"
        ),
        entry("/alpha", "\"lepton:service:alpha\""),
        entry("/beta", "\"lepton:service:beta\""),
        // The shell and what it starts; processes of pods have the same user and must not get it.
        entry("/console", "\"lepton:service:debug-shell\", \"unix:uid:0\""),
        entry("/web", "\"k8s:ns:default\", \"k8s:pod-label:app:web\""),
        format!(
            "[[identity.files]]\nspiffe-id = \"/alpha\"\ncertificate = \"{SEEN}/cert.pem\"\nkey = \"{SEEN}/key.pem\"\n\
             bundle = \"{SEEN}/bundle.pem\"\n"
        ),
        service("alpha"),
        service("beta"),
        pod("web", "app: web"),
        pod("other", "app: other"),
    ]
    .concat()
}

pub(in crate::boots) fn identity(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = dir.path().join("state.raw");
    state::blank(&path, DISK)?;
    let mut on_disk = cx.clone();
    on_disk.cmdline.push_str(" lepton.state-disk=/dev/vda lepton.state-wait=30");
    let machine = machine_of(&on_disk, Peer::NodeTests, &config())?.disk(state::disk(&path, 512));

    let mut guest = start(cx, &machine)?;
    let mut shell = Shell { guest: &mut guest, count: 0 };
    everybody_has_their_own(&mut shell)?;
    nothing_lies_about(&mut shell)?;
    shell.run(&format!("lepton id status --json | grep -o 'spiffe://[^\"]*' > {SEEN}/host"))?;
    shell.run(&format!("grep -x 'spiffe://example.org/host/.*' {SEEN}/host"))?;
    shell.run(FORGET)?;
    quiet(&guest)?;
    guest.type_line("lepton reboot")?;
    guest.wait_restart()?;

    for is_last in [false, true] {
        let mut guest = start(cx, &machine)?;
        let mut shell = Shell { guest: &mut guest, count: 100 };
        shell.run(&format!("lepton id status --json | grep -o 'spiffe://[^\"]*' | cmp - {SEEN}/host"))?;
        everybody_has_their_own(&mut shell)?;
        shell.run(FORGET)?;
        quiet(&guest)?;
        if is_last {
            return Ok(guest.power_off()?);
        }
        // The power is cut in the middle of what follows an order to make everything anew.
        shell_of(&mut guest).run("lepton id refresh & sleep 0.1")?;
        drop(guest);
    }
    Ok(())
}

fn start(cx: &Context, machine: &Machine) -> Result<Guest, TestError> {
    let mut guest = Guest::start(machine, &cx.tools, cx.limit * PATIENCE)?;
    guest.wait_ready()?;
    Ok(guest)
}

fn shell_of(guest: &mut Guest) -> Shell<'_> {
    Shell { guest, count: 200 }
}

fn everybody_has_their_own(shell: &mut Shell<'_>) -> Result<(), TestError> {
    shell.run(SUBJECT)?;
    shell.run("lepton id wait --ready --timeout 120 > /dev/null")?;
    for name in ["alpha", "beta", "web"] {
        let has = format!("test \"$(subject {SEEN}/{name})\" = spiffe://example.org/{name}");
        shell.until("a workload has its identity", &has)?;
    }
    // The same program, started by somebody else, is somebody else.
    shell.run("identity kubelet-credential --audience test > /run/console")?;
    shell.run("test \"$(subject /run/console)\" = spiffe://example.org/console")?;
    // A process of a pod without an entry is nobody, although it is root and asks as the shell does.
    shell.until("a pod without an entry is told so", &format!("grep 'has no identity' {SEEN}/other.why"))?;
    shell.run(&format!("test ! -s {SEEN}/other"))?;
    Ok(())
}

/// Keys are where they belong, and root's alone.
fn nothing_lies_about(shell: &mut Shell<'_>) -> Result<(), TestError> {
    shell.until(
        "the identity of a service as files",
        &format!("test -s {SEEN}/cert.pem -a -s {SEEN}/key.pem"),
    )?;
    shell.run(&format!("test $(stat -c %a {SEEN}/key.pem) = 400"))?;
    shell.run("test -z \"$(find /var/lib/lepton/identity -type f -perm /077)\"")?;
    shell.run("test $(stat -c %a /var/lib/lepton/identity) = 700")?;
    shell.run("test $(stat -c %a /run/spiffe/workload.sock) = 666")?;
    shell.run("test $(stat -c %a /run/lepton/identity/admin.sock) = 600")?;
    // Logs of all services, those that PID 1 keeps on the disk among them.
    shell.run("for name in identity alpha beta kubelet; do lepton logs $name; done > /run/logs")?;
    shell.run(&format!("! grep -E 'PRIVATE KEY|{TOKEN}[A-Za-z0-9]+[.]' /run/logs"))?;
    shell.run(&format!("! grep -rE 'PRIVATE KEY|{TOKEN}[A-Za-z0-9]+[.]' /var/log"))?;
    shell.run("rm /run/logs; lepton id metrics | grep -c lepton_identity_svid_expiry_seconds")?;
    Ok(())
}

/// No console has a token or a key on it.
fn quiet(guest: &Guest) -> Result<(), TestError> {
    let console = guest.console();
    let is_quiet =
        !console.lines().any(|line| line.contains(TOKEN) && line.contains('.') && !line.contains("grep"));
    Ok(guest.require(is_quiet, || "no token is on the console".to_owned())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_config_is_one() {
        let value: toml::Value = toml::from_str(&config()).unwrap();
        let count = |list: &toml::Value| list.as_array().map(Vec::len);
        assert_eq!(count(&value["identity"]["entries"]), Some(4));
        assert_eq!(count(&value["identity"]["files"]), Some(1));
        assert_eq!((count(&value["services"]), count(&value["pods"])), (Some(2), Some(2)));
        let command = value["services"][0]["command"][2].as_str().unwrap();
        assert!(
            command.starts_with("mkdir -p /var/lib/seen; until identity kubelet-credential "),
            "{command}"
        );
        let manifest = value["pods"][0]["manifest"].as_str().unwrap();
        assert!(manifest.contains("command: [sh, -c, \"until /identity kubelet-credential "), "{manifest}");
        assert!(manifest.contains("labels: {app: web}"), "{manifest}");
    }
}
