//! The cache with the host's own authority, and one that does not answer.

use std::time::Duration;

use lepton_spiffe::UnixSeconds;

use super::*;
use crate::authority::{Chain, Csr, Soon};
use crate::clock::fake::FakeClock;
use crate::keys;
use crate::local::Local;

/// An authority that can go away.
#[derive(Debug)]
struct Switch {
    local: Local,
    is_away: Mutex<bool>,
}

impl Authority for Switch {
    fn sync(&self) -> Soon<'_, Update> {
        self.local.sync()
    }

    fn x509(&self, requests: Vec<Csr>) -> Soon<'_, Vec<Result<Chain, AuthorityError>>> {
        self.local.x509(requests)
    }

    fn jwt(&self, entry: &Entry, audience: &[String]) -> Soon<'_, JwtSvid> {
        if *self.is_away.lock().unwrap() {
            return Box::pin(async { Err(AuthorityError::Unavailable("it is away".to_owned())) });
        }
        self.local.jwt(entry, audience)
    }
}

struct Host {
    _folder: tempfile::TempDir,
    clock: Arc<FakeClock>,
    switch: Arc<Switch>,
    cache: Cache,
}

const CONFIG: &str = "[[identity.entries]]\npath = '/web'\nselectors = ['unix:uid:1', 'lepton:service:web']\n\
    [[identity.entries]]\npath = '/user'\nselectors = ['unix:uid:1']\n\
    [[identity.entries]]\npath = '/other'\nselectors = ['unix:uid:2']\n";

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new());
        let domain: TrustDomain = "td".parse().unwrap();
        let local = Local::open(&folder.path().join("l"), &domain, "a", clock.clone()).unwrap();
        local.set_entries(&lepton_config::parse("x", CONFIG).config.identity.entries, &[]);
        let switch = Arc::new(Switch { local, is_away: Mutex::new(false) });
        let cache = Cache::new(domain, clock.clone(), Arc::default());
        Self { _folder: folder, clock, switch, cache }
    }

    fn authority(&self) -> Arc<dyn Authority> {
        self.switch.clone()
    }

    async fn make(&self, entries: &[Arc<Entry>]) -> BTreeMap<String, Result<X509Svid, AuthorityError>> {
        let mut made = BTreeMap::new();
        for entry in entries {
            let (key, der) = keys::request().unwrap();
            let chains = self.switch.x509(vec![Csr { entry: entry.id.clone(), der }]).await.unwrap();
            made.insert(entry.id.clone(), Ok(X509Svid::new(chains[0].clone().unwrap(), key, "").unwrap()));
        }
        made
    }

    /// As the agent does it.
    async fn sync(&self) {
        let update = self.switch.sync().await.unwrap();
        let made = self.make(&self.cache.missing(&update)).await;
        self.cache.replace(&self.authority(), update, made);
    }

    async fn rotate(&self) -> usize {
        let due = self.cache.due(100);
        self.cache.put(self.make(&due).await);
        due.len()
    }
}

fn selectors(texts: &[&str]) -> BTreeSet<Selector> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn ids(view: &View) -> Vec<String> {
    view.svids.iter().map(|svid| svid.id.path().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn all_selectors_of_an_entry_and_no_less() {
    let host = Host::new();
    let web = selectors(&["lepton:service:web", "unix:uid:1", "unix:gid:1"]);
    let mut watch = host.cache.watch(&web);
    assert!(!watch.borrow_and_update().is_settled, "nothing is known yet");
    host.sync().await;
    assert!(watch.has_changed().unwrap());
    let view = Arc::clone(&watch.borrow_and_update());
    assert_eq!((ids(&view), view.is_settled), (vec!["/web".to_owned(), "/user".to_owned()], true));
    for (texts, expected) in [
        (&["unix:uid:1"][..], &["/user"][..]),
        (&["lepton:service:web"], &[]),
        (&["unix:uid:2", "lepton:service:web"], &["/other"]),
        (&["unix:uid:3"], &[]),
        (&[], &[]),
    ] {
        let watch = host.cache.watch(&selectors(texts));
        assert_eq!(ids(&watch.borrow()), expected, "{texts:?}");
        assert!(watch.borrow().is_settled);
    }
    host.sync().await;
    assert!(!watch.has_changed().unwrap(), "nothing is new");
}

#[tokio::test(start_paused = true)]
async fn rotation_is_told_and_never_leaves_a_gap() {
    let host = Host::new();
    host.sync().await;
    let mut watch = host.cache.watch(&selectors(&["unix:uid:2"]));
    let first = Arc::clone(&watch.borrow_and_update());
    assert_eq!(host.rotate().await, 0);
    let mut rotations = 0;
    for _ in 0..240 {
        tokio::time::advance(Duration::from_secs(60)).await;
        rotations += usize::from(host.rotate().await > 0 && watch.has_changed().unwrap());
        host.cache.tick();
        let view = Arc::clone(&watch.borrow_and_update());
        assert_eq!(ids(&view), ["/other"]);
        let left: UnixSeconds = view.svids[0].not_after - host.clock.now();
        assert!(left > 1700, "{left}");
    }
    // Four hours, of which each SVID serves half of one.
    assert!((7..=10).contains(&rotations), "{rotations}");
    assert_ne!(watch.borrow().svids[0].serial, first.svids[0].serial);
    // Without its authority it is served until its end, and no longer.
    tokio::time::advance(Duration::from_secs(1700)).await;
    host.cache.tick();
    assert_eq!(ids(&watch.borrow()), ["/other"]);
    tokio::time::advance(Duration::from_secs(1901)).await;
    host.cache.tick();
    assert!(watch.borrow().svids.is_empty());
}

#[tokio::test(start_paused = true)]
async fn tokens_until_half_of_their_life() {
    let host = Host::new();
    host.sync().await;
    let user = selectors(&["unix:uid:1"]);
    let audience = ["a".to_owned()];
    let token = || host.cache.jwt(&user, &audience, None);
    let first = token().await.unwrap();
    assert_eq!(first.len(), 1);
    tokio::time::advance(Duration::from_secs(100)).await;
    assert_eq!(token().await.unwrap(), first, "it is held");
    assert_ne!(host.cache.jwt(&user, &["b".to_owned()], None).await.unwrap(), first);
    tokio::time::advance(Duration::from_secs(51)).await;
    let second = token().await.unwrap();
    assert_ne!(second, first, "half is over");

    *host.switch.is_away.lock().unwrap() = true;
    tokio::time::advance(Duration::from_secs(200)).await;
    assert_eq!(token().await.unwrap(), second, "the authority is away");
    tokio::time::advance(Duration::from_secs(101)).await;
    assert!(matches!(token().await, Err(JwtError::Unavailable(_))));
    *host.switch.is_away.lock().unwrap() = false;

    let other: SpiffeId = "spiffe://td/other".parse().unwrap();
    let refused = host.cache.jwt(&user, &audience, Some(&other)).await;
    assert_eq!(refused.unwrap_err(), JwtError::NoIdentity, "it is somebody else's");
    let nobody = host.cache.jwt(&selectors(&["unix:uid:9"]), &audience, None).await;
    assert_eq!(nobody.unwrap_err(), JwtError::NoIdentity);
}

#[tokio::test(start_paused = true)]
async fn entries_that_change_or_go() {
    let host = Host::new();
    host.sync().await;
    let mut watch = host.cache.watch(&selectors(&["unix:uid:2"]));
    let before = Arc::clone(&watch.borrow_and_update());
    let change = |text: &str| {
        let config = CONFIG.replace("selectors = ['unix:uid:2']", text);
        host.switch.local.set_entries(&lepton_config::parse("x", &config).config.identity.entries, &[]);
    };
    change("selectors = ['unix:uid:2', 'unix:gid:2']");
    host.sync().await;
    assert!(watch.borrow_and_update().svids.is_empty(), "it asks for more");
    let view = host.cache.watch(&selectors(&["unix:uid:2", "unix:gid:2"]));
    assert_eq!(view.borrow().svids[0].serial, before.svids[0].serial, "the SVID is the same");
    change("selectors = ['unix:uid:2']\ndns-names = ['a.example']");
    host.sync().await;
    let after = Arc::clone(&watch.borrow_and_update());
    assert_eq!(after.svids[0].dns_names, ["a.example"]);
    host.switch.local.set_entries(&[], &[]);
    host.sync().await;
    assert!(watch.borrow_and_update().svids.is_empty() && watch.borrow().is_settled);
    assert!(host.cache.jwt(&selectors(&["unix:uid:2"]), &["a".to_owned()], None).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_a_tainted_authority_has_signed_is_due() {
    let host = Host::new();
    host.sync().await;
    let user = selectors(&["unix:uid:1"]);
    let token = host.cache.jwt(&user, &["a".to_owned()], None).await.unwrap();
    assert_eq!(host.cache.due(100).len(), 0);
    let taint = async |authority| {
        let mut update = host.switch.sync().await.unwrap();
        update.tainted.x509.push(authority);
        update.tainted.jwt.insert("key".to_owned());
        host.cache.replace(&host.authority(), update, BTreeMap::new());
    };
    let folder = tempfile::tempdir().unwrap();
    let domain = "td".parse().unwrap();
    let other = Local::open(&folder.path().join("l"), &domain, "b", host.clock.clone()).unwrap();
    taint(other.bundle().x509_authorities[0].clone()).await;
    assert_eq!(host.cache.due(100).len(), 0, "it has signed nothing here");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_ne!(host.cache.jwt(&user, &["a".to_owned()], None).await.unwrap(), token);
    taint(host.switch.local.bundle().x509_authorities[0].clone()).await;
    assert_eq!(host.rotate().await, 4);
    assert_eq!(host.cache.due(100).len(), 0, "once");
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_each_time() {
    let host = Host::new();
    let update = host.switch.sync().await.unwrap();
    host.cache.replace(&host.authority(), update, BTreeMap::new());
    assert!(!host.cache.watch(&selectors(&["unix:uid:2"])).borrow().is_settled);
    let mut attempts = 0;
    for _ in 0..3600 {
        let due = host.cache.due(100);
        attempts += usize::from(!due.is_empty());
        let failed = due.iter().map(|entry| (entry.id.clone(), Err(AuthorityError::NoEntry)));
        host.cache.put(failed.collect());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!((10..=20).contains(&attempts), "{attempts}");
    host.cache.expire();
    assert_eq!(host.rotate().await, 4);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_is_served_again() {
    let host = Host::new();
    host.sync().await;
    let kept = host.cache.keep().unwrap();
    assert!(host.cache.keep().is_none(), "nothing has changed");
    let again = Cache::new("td".parse().unwrap(), host.clock.clone(), Arc::default());
    tokio::time::advance(Duration::from_secs(600)).await;
    again.restore(&host.authority(), kept);
    let user = selectors(&["unix:uid:1"]);
    assert_eq!(ids(&again.watch(&user).borrow()), ["/user"]);
    assert!(again.due(100).is_empty());
    assert!(again.jwt(&user, &["a".to_owned()], None).await.is_ok());
    tokio::time::advance(Duration::from_secs(1300)).await;
    assert_eq!(again.due(100).len(), 4, "half of their lives is over");
    again.clear("td".parse().unwrap());
    assert!(again.watch(&user).borrow().svids.is_empty());
}
