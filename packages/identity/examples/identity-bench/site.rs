//! Where it takes place: a SPIRE server, a folder that goes with this, the programs, and who the workloads are.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::contender::{Contender, Make};
use crate::process::until;
use crate::server::{Server, Setup};

/// Workloads of one host.
pub(crate) const WORKLOADS: u32 = 1000;
/// Users that no program of a machine has.
const FIRST_USER: u32 = 61_001;
/// A thousand SVIDs on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(180);
/// The server looks for new entries each second.
pub(crate) const RELOAD: Duration = Duration::from_secs(2);

/// The place.
pub(crate) struct Site {
    pub(crate) server: Server,
    /// This program where every user can run it.
    pub(crate) client: PathBuf,
    lepton: PathBuf,
    spire: PathBuf,
    folder: tempfile::TempDir,
}

impl Site {
    /// Starts a server; what is missing as a sentence.
    pub(crate) fn new() -> Result<Self, String> {
        let variable = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.ok_or_else(|| format!("{name} is not set; use cargo xtask bench --identity"))
        };
        let (lepton, spire) = (variable("LEPTON_BENCH_AGENT")?, variable("LEPTON_TEST_SPIRE")?);
        if !fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0) {
            return Err("workloads of a thousand users need root".to_owned());
        }
        let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
        let open = || fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open()).unwrap();
        let client = folder.path().join("client");
        fs::copy(std::env::current_exe().unwrap(), &client).unwrap();
        fs::set_permissions(&client, open()).unwrap();
        let setup = Setup { ca_ttl_s: 7 * 86_400, ..Setup::default() };
        let server = Server::start(&spire, &folder.path().join("server"), setup);
        Ok(Self { server, client, lepton, spire: spire.join("spire-agent"), folder })
    }

    /// An agent with a folder of its own.
    pub(crate) fn contender(&self, make: Make, name: &str, ttl_s: u32) -> Contender {
        let program = match make {
            Make::Lepton => &self.lepton,
            Make::Spire => &self.spire,
        };
        let folder = self.folder.path().join(format!("{make}-{name}"));
        Contender::new(make, program, &folder, &self.server, ttl_s)
    }

    /// Ours, and SPIRE's.
    pub(crate) fn both(&self, name: &str, ttl_s: u32) -> [Contender; 2] {
        [Make::Lepton, Make::Spire].map(|make| self.contender(make, name, ttl_s))
    }

    /// Starts both, and waits until they have joined.
    pub(crate) fn join(&self, both: &mut [Contender; 2]) {
        for one in both {
            one.start();
            until(&format!("{} to join", one.host), PATIENCE, || self.server.agents().contains(&one.host));
        }
    }

    /// A workload for each of the users.
    pub(crate) fn entries(&self, of: &Contender) {
        self.entries_of(of, users());
    }

    /// Workloads of an agent, all in one request.
    pub(crate) fn entries_of(&self, of: &Contender, users: Range<u32>) {
        let entry = |user: u32| {
            json!({
                "parent_id": of.host,
                "spiffe_id": format!("spiffe://{}{}/{user}", self.server.trust_domain(), of.path),
                "selectors": [{ "type": "unix", "value": format!("uid:{user}") }],
                "x509_svid_ttl": of.ttl_s,
            })
        };
        let file = self.folder.path().join("entries.json");
        let entries: Vec<_> = users.map(entry).collect();
        fs::write(&file, json!({ "entries": entries }).to_string()).unwrap();
        self.server.ask(&["entry", "create", "-data", &file.to_string_lossy()]).good();
    }

    /// Waits until the server has signed as many SVIDs for an agent's workloads.
    pub(crate) fn until_signed(&self, of: &Contender, count: u32) {
        let id = format!("spiffe://{}{}/", self.server.trust_domain(), of.path);
        let is_of = |line: &&str| line.contains("Signed X509 SVID") && line.contains(&id);
        let count = usize::try_from(count).unwrap();
        until(&format!("{count} SVIDs of {}", of.path), PATIENCE, || {
            self.server.log().lines().filter(is_of).count() >= count
        });
    }
}

/// The workloads' users.
pub(crate) fn users() -> Range<u32> {
    FIRST_USER..FIRST_USER + WORKLOADS
}
