//! Files of a host that is alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use lepton_identity_control::State;
use lepton_spiffe::{Bundle, TrustDomain};
use lepton_workload_api::Host;

use super::*;
use crate::authority::{Authority, Csr};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::clock::fake::FakeClock;
use crate::keys;
use crate::local::Local;
use crate::metrics::Metrics;

/// For what comes at once, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

struct Alone {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    local: Arc<Local>,
    task: tokio::task::JoinHandle<()>,
}

impl Alone {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(FakeClock::new());
        let domain: TrustDomain = "example.org".parse().unwrap();
        let local = Local::open(&folder.path().join("local.json"), &domain, "a", Arc::clone(&clock)).unwrap();
        let config = "[[identity.entries]]\npath = '/web'\nselectors = ['unix:uid:1000']\n";
        local.set_entries(&lepton_config::parse("x", config).config.identity.entries, &[]);
        let metrics = Arc::new(Metrics::default());
        let cache = Arc::new(Cache::new(domain.clone(), Arc::clone(&clock), Arc::clone(&metrics)));
        let shared = Arc::new(Shared::new(domain, clock, cache, metrics));
        let reloader =
            Reloader::new(folder.path().join("control.sock"), Host::of_process(std::process::id()));
        let task = tokio::spawn(run(Arc::clone(&shared), reloader));
        let alone = Self { folder, shared, local: Arc::new(local), task };
        alone.rotate().await;
        alone
    }

    /// New SVIDs for all.
    async fn rotate(&self) {
        let update = self.local.sync().await.unwrap();
        let mut fresh = BTreeMap::new();
        for entry in update.entries.keys() {
            let (key, der) = keys::request().unwrap();
            let chains = self.local.x509(vec![Csr { entry: entry.clone(), der }]).await.unwrap();
            fresh.insert(entry.clone(), Ok(X509Svid::new(chains[0].clone().unwrap(), key, "").unwrap()));
        }
        let authority: Arc<dyn Authority> = self.local.clone();
        self.shared.cache.replace(&authority, update, fresh);
    }

    fn svid(&self) -> Arc<X509Svid> {
        self.shared.cache.identity(&"spiffe://example.org/web".parse().unwrap()).unwrap().0
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("web").join(name)
    }

    /// The machine config wants these, with more keys.
    fn want(&self, more: &str) {
        let at = |name: &str| self.path(name).display().to_string();
        let user = fs::metadata(self.folder.path()).unwrap();
        let text = format!(
            "[[identity.files]]\nspiffe-id = '/web'\ncertificate = '{}'\nkey = '{}'\nbundle = '{}'\nuid = {}\ngid = {}\n{more}",
            at("cert.pem"),
            at("key.pem"),
            at("bundle.pem"),
            user.uid(),
            user.gid(),
        );
        let parsed = lepton_config::parse("x", &text);
        assert_eq!(parsed.problems, []);
        self.shared.set_files(&parsed.config.identity.files);
    }

    async fn until(&self, what: &str, is: impl Fn() -> bool) {
        let wait = async {
            while !is() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "{what}");
        assert!(!self.task.is_finished());
    }

    fn has(&self, svid: &X509Svid) -> bool {
        let is = |name: &str, text: &str| fs::read_to_string(self.path(name)).is_ok_and(|it| it == text);
        is("cert.pem", &svid.chain_pem()) && is("key.pem", &svid.key_pem())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[tokio::test]
async fn files_follow_rotations_and_the_config() {
    let alone = Alone::start().await;
    alone.want("");
    alone.until("nothing is written", || alone.has(&alone.svid())).await;
    assert_eq!(fs::metadata(alone.path("key.pem")).unwrap().permissions().mode() & 0o7777, 0o400);
    let bundle =
        Bundle::from_pem("example.org".parse().unwrap(), &fs::read(alone.path("bundle.pem")).unwrap());
    assert_eq!(bundle.unwrap().x509_authorities, alone.shared.cache.bundle().x509_authorities);

    let before = alone.svid();
    alone.rotate().await;
    assert_ne!(before.serial, alone.svid().serial);
    alone.until("a rotation is not written", || alone.has(&alone.svid())).await;

    alone.want("mode = '0440'");
    let has_mode =
        || fs::metadata(alone.path("key.pem")).is_ok_and(|it| it.permissions().mode() & 0o7777 == 0o440);
    alone.until("the mode stays as it was", has_mode).await;

    alone.shared.set_files(&[]);
    alone.until("files stay that nobody wants", || !exists(&alone.path("key.pem"))).await;
    alone.until("files stay that nobody wants", || !exists(&alone.path("bundle.pem"))).await;
    // And again.
    alone.want("");
    alone.until("nothing is written again", || alone.has(&alone.svid())).await;
}

#[tokio::test]
async fn a_host_that_leaves_removes_keys() {
    let alone = Alone::start().await;
    alone.want("");
    alone.until("nothing is written", || alone.has(&alone.svid())).await;
    alone.shared.cache.clear("example.org".parse().unwrap());
    alone.shared.enter(State::Left);
    alone.until("the key stays", || !exists(&alone.path("key.pem"))).await;
    // It comes back.
    alone.rotate().await;
    alone.shared.enter(State::Alone);
    alone.until("nothing is written after it came back", || alone.has(&alone.svid())).await;
}

#[tokio::test]
async fn what_fails_is_tried_again() {
    let alone = Alone::start().await;
    fs::write(alone.folder.path().join("web"), "no folder").unwrap();
    // PID 1 is not there either.
    alone.want("reload = { service = 'web', signal = 'SIGUSR1' }");
    tokio::time::sleep(Duration::from_millis(50)).await;
    fs::remove_file(alone.folder.path().join("web")).unwrap();
    alone.until("nothing is written later", || alone.has(&alone.svid())).await;
}
