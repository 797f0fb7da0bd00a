//! The host alone, with a clock that goes fast.

use std::time::Duration;

use lepton_spiffe::{Purpose, X509Svid, verify};

use super::*;
use crate::clock::fake::FakeClock;
use crate::keys;

const DAY: u64 = 86_400;

struct Alone {
    folder: tempfile::TempDir,
    clock: Arc<FakeClock>,
}

impl Alone {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(FakeClock::new()) }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("local.json")
    }

    fn open_as(&self, host: &str) -> Local {
        let clock: Arc<dyn Clock> = self.clock.clone();
        Local::open(&self.path(), &"example.org".parse().unwrap(), host, clock).unwrap()
    }

    fn open(&self) -> Local {
        let local = self.open_as("a");
        let config = "[[identity.entries]]\npath = '/web'\nselectors = ['unix:uid:1000']\ndns-names = ['web.example']\n\
                      x509-ttl-s = 600\nhint = 'main'\n\
                      [[identity.entries]]\npath = '/rack'\nselectors = ['lepton:site:r7', 'unix:uid:0']\n\
                      [[identity.entries]]\npath = '/other'\nselectors = ['lepton:site:r8', 'unix:uid:0']\n\
                      [[identity.entries]]\npath = '/all'\nselectors = ['lepton:site:r7']\n";
        let parsed = lepton_config::parse("x", config);
        assert_eq!(parsed.problems, []);
        local.set_entries(&parsed.config.identity.entries, &["lepton:site:r7".parse().unwrap()]);
        local
    }
}

async fn issue(local: &Local, entry: &str) -> X509Svid {
    let (key, der) = keys::request().unwrap();
    let answers = local.x509(vec![Csr { entry: entry.to_owned(), der }]).await.unwrap();
    let [Ok(chain)] = answers.as_slice() else { panic!("{answers:?}") };
    X509Svid::new(chain.clone(), key, "").unwrap()
}

#[tokio::test(start_paused = true)]
async fn entries_and_svids() {
    let alone = Alone::new();
    let local = alone.open();
    let update = local.sync().await.unwrap();
    let names: Vec<_> = update.entries.keys().map(String::as_str).collect();
    assert_eq!(names, ["/rack#1", "/web#0", "host"]);
    let rack: Vec<_> = update.entries["/rack#1"].selectors.iter().map(ToString::to_string).collect();
    assert_eq!(rack, ["unix:uid:0"], "the site is the host's");

    let svid = issue(&local, "/web#0").await;
    let now = alone.clock.now();
    assert_eq!(svid.id.to_string(), "spiffe://example.org/web");
    assert_eq!((svid.dns_names.as_slice(), svid.not_after), (&["web.example".to_owned()][..], now + 600));
    verify(&svid.chain, &update.bundle, Purpose::Server, now).unwrap();
    verify(&svid.chain, &update.bundle, Purpose::Client, now).unwrap();
    assert_eq!(issue(&local, "host").await.id, *local.host());
    let (_, der) = keys::request().unwrap();
    let refused = local.x509(vec![Csr { entry: "/none".to_owned(), der }]).await.unwrap();
    assert_eq!(refused, [Err(AuthorityError::NoEntry)]);

    let entry = &update.entries["/web#0"];
    let token = local.jwt(entry, &["a".to_owned()]).await.unwrap();
    assert_eq!((token.expires_at, &*token.hint), (now + 300, "main"));
    JwtSvid::verify(token.token.expose(), "a", |_| Some(&update.bundle), now).unwrap();
}

#[tokio::test(start_paused = true)]
async fn keys_change_with_overlap() {
    let alone = Alone::new();
    let local = alone.open();
    let first = local.bundle();
    assert_eq!(first.x509_authorities.len(), 1);
    // A year, day by day: whoever has a bundle of yesterday verifies what is issued today, and the other way round.
    let (mut yesterday, mut changes) = (first.clone(), 0);
    let mut old = issue(&local, "/web#0").await;
    for _ in 0..365 {
        tokio::time::advance(Duration::from_secs(DAY)).await;
        changes += usize::from(local.renew(&alone.path()).unwrap());
        let (now, bundle) = (alone.clock.now(), local.bundle());
        let svid = issue(&local, "/web#0").await;
        verify(&svid.chain, &yesterday, Purpose::Server, now).unwrap();
        verify(&old.chain, &bundle, Purpose::Server, now - i64::try_from(DAY).unwrap()).unwrap();
        assert!((1..=3).contains(&bundle.x509_authorities.len()));
        assert_eq!(alone.open().bundle(), bundle, "it is on the disk");
        (yesterday, old) = (bundle, svid);
    }
    assert!((24..=60).contains(&changes), "{changes}");
    assert!(!yesterday.x509_authorities.contains(&first.x509_authorities[0]));
}

#[tokio::test(start_paused = true)]
async fn wrong_clocks_are_survived() {
    let alone = Alone::new();
    drop(alone.open());
    for jump in [-400, 800, 400] {
        alone.clock.jump(jump * 86_400);
        let local = alone.open();
        let svid = issue(&local, "/web#0").await;
        verify(&svid.chain, &local.bundle(), Purpose::Server, alone.clock.now()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_disk_is_no_authority() {
    let alone = Alone::new();
    let first = alone.open().bundle();
    assert_eq!(alone.open_as("a").bundle(), first);
    let copy = alone.open_as("b").bundle();
    assert_ne!(copy.x509_authorities, first.x509_authorities);
    std::fs::write(alone.path(), "{\"version\":1,\"half").unwrap();
    assert_ne!(alone.open_as("b").bundle().x509_authorities, copy.x509_authorities);
}
