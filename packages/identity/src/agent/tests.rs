//! The agent's loop, step by step: alone, left, and with servers that are away.

use std::path::PathBuf;

use lepton_identity_control::Status;
use lepton_spiffe::{Purpose, SpiffeId, X509Svid, verify};
use lepton_workload_api::Identities as _;

use super::*;
use crate::authority::{Authority as _, Csr};
use crate::clock::fake::FakeClock;
use crate::metrics::Metrics;
use crate::store::{Kept, Membership};
use crate::{keys, server};

struct Host {
    folder: tempfile::TempDir,
    clock: Arc<FakeClock>,
}

const ALONE: &str = "[identity]\ntrust-domain = 'home'\nsite = 'r7'\n\
    [[identity.entries]]\npath = '/web'\nselectors = ['unix:uid:1']\n";
/// Nobody listens there.
const AWAY: &str =
    "[identity]\ntrust-domain = 'td'\nservers = ['127.0.0.1:1', '127.0.0.1:2']\njoin-token = 'secret'\n";

impl Host {
    fn new(config: &str) -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(FakeClock::new()) };
        host.configure(config);
        host
    }

    fn configure(&self, config: &str) {
        // A new file, as PID 1 makes one.
        let (path, new) = (self.path("config.toml"), self.path("config.new"));
        std::fs::write(&new, config).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Agent {
        let places = Places {
            machine_config: self.path("config.toml"),
            data: self.path("data"),
            product_uuid: self.path("uuid"),
            os_release: self.path("os-release"),
            ..Places::default()
        };
        let config = MachineConfig::new(places.machine_config.clone(), false);
        let clock: Arc<dyn Clock> = self.clock.clone();
        Agent::new(places, config, Arc::clone(&clock), |domain| {
            let metrics = Arc::new(Metrics::default());
            let cache = Arc::new(Cache::new(domain.clone(), Arc::clone(&clock), Arc::clone(&metrics)));
            Arc::new(Shared::new(domain, clock, cache, metrics))
        })
        .unwrap()
    }

    /// Files that the agent keeps.
    fn files(&self) -> Vec<String> {
        #[expect(clippy::disallowed_methods, reason = "the order is made here")]
        let listed = std::fs::read_dir(self.path("data")).unwrap();
        let mut names: Vec<_> = listed.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// What a host has that joined the trust domain `td`: its identity and a cache with one entry.
    async fn have_joined(&self) -> Arc<X509Svid> {
        let issuer = Local::open(&self.path("server"), &"td".parse().unwrap(), "agent", self.clock.clone());
        let issuer = issuer.unwrap();
        let config = lepton_config::parse("x", ALONE).config;
        issuer.set_entries(&config.identity.entries, &[]);
        let update = issuer.sync().await.unwrap();
        let mut svids = std::collections::BTreeMap::new();
        for entry in update.entries.keys() {
            let (key, der) = keys::request().unwrap();
            let chains = issuer.x509(vec![Csr { entry: entry.clone(), der }]).await.unwrap();
            let svid = X509Svid::new(chains[0].clone().unwrap(), key, "").unwrap();
            svids.insert(entry.clone(), Arc::new(svid));
        }
        files::make_folder(&self.path("data")).unwrap();
        let own = svids.remove(crate::local::HOST).unwrap();
        let membership = Membership {
            svid: Arc::clone(&own),
            bundle: Arc::new(issuer.bundle()),
            attestor: "join_token".to_owned(),
            reattestable: false,
        };
        membership.write(&self.path("data/identity.json")).unwrap();
        let mut update = update;
        update.entries.remove(crate::local::HOST);
        Kept { update, svids }.write(&self.path("data/cache.json")).unwrap();
        own
    }
}

impl Agent {
    fn served(&self) -> Vec<SpiffeId> {
        let selectors = ["unix:uid:1".parse().unwrap()].into();
        self.cache.watch(&selectors).borrow().svids.iter().map(|svid| svid.id.clone()).collect()
    }

    fn status(&self) -> Status {
        self.shared.status()
    }
}

fn actor() -> Actor {
    Actor::process(std::process::id(), 0)
}

#[tokio::test(start_paused = true)]
async fn alone_and_again() {
    let host = Host::new(ALONE);
    let mut agent = host.start();
    agent.step().await;
    let status = agent.status();
    assert_eq!((status.state, status.entries, status.svids), (State::Alone, 1, 1), "{status:?}");
    assert!(status.spiffe_id.unwrap().starts_with("spiffe://home/host/"));
    assert_eq!(agent.served(), ["spiffe://home/web".parse().unwrap()]);
    let bundle = agent.cache.bundle();
    drop(agent);
    let mut agent = host.start();
    agent.step().await;
    assert_eq!(agent.cache.bundle().x509_authorities, bundle.x509_authorities);

    // What the machine config says anew counts at once.
    host.configure(
        &ALONE.replace("/web", "/other").replace("'unix:uid:1'", "'unix:uid:1', 'lepton:site:r7'"),
    );
    agent.step().await;
    assert_eq!(agent.served(), ["spiffe://home/other".parse().unwrap()]);
    std::fs::write(host.path("os-release"), "ID=lepton\nIMAGE_ID=node\n").unwrap();
    for (selector, count) in [
        ("site:r8", 0),
        ("image:node", 1),
        ("image:other", 0),
        (&format!("arch:{}", std::env::consts::ARCH), 1),
    ] {
        host.configure(&ALONE.replace("'unix:uid:1'", &format!("'unix:uid:1', 'lepton:{selector}'")));
        agent.step().await;
        assert_eq!(agent.served().len(), count, "{selector}");
    }
    assert!(agent.join_as_told(None, &actor()).await.is_err());
    host.configure("");
    agent.step().await;
    let name = agent.status().trust_domain;
    assert_eq!((name.starts_with("host-"), name.len()), (true, 37), "{name}");
}

#[tokio::test(start_paused = true)]
async fn hosts_are_told_apart_by_their_firmware() {
    // Each has a disk of its own, as a copy of a machine and a machine that was installed anew have.
    let named = async |uuid: &str| {
        let host = Host::new(ALONE);
        std::fs::write(host.path("uuid"), uuid).unwrap();
        let mut agent = host.start();
        agent.step().await;
        let id = agent.status().spiffe_id.unwrap();
        assert!(id.starts_with("spiffe://home/host/"), "{id}");
        id
    };
    let first = named("4c4c4544-0042-3510-8052-b7c04f4a3732\n").await;
    assert_eq!(named("4C4C4544-0042-3510-8052-B7C04F4A3732\n").await, first);
    assert_ne!(named("4c4c4544-0042-3510-8052-b7c04f4a3733\n").await, first);
    // Firmware that has no number tells nobody apart: the disks do.
    let none = "00000000-0000-0000-0000-000000000000\n";
    assert_ne!(named(none).await, named(none).await);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_leaves_no_gap() {
    let host = Host::new(ALONE);
    let mut agent = host.start();
    agent.step().await;
    for jump in [500, -300, 4000] {
        host.clock.jump(jump * 86_400);
        agent.step().await;
        let view = agent.cache.watch(&["unix:uid:1".parse().unwrap()].into());
        let svid = Arc::clone(&view.borrow().svids[0]);
        let now = host.clock.now();
        verify(&svid.chain, &agent.cache.bundle(), Purpose::Server, now).unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        agent.step().await;
        assert_eq!(agent.served().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_has_left_stays_away() {
    let host = Host::new(ALONE);
    let mut agent = host.start();
    agent.step().await;
    assert_eq!(host.files(), ["host-id", "local.json"]);
    agent.leave(false, &actor()).await.unwrap();
    agent.step().await;
    assert_eq!((agent.status().state, host.files()), (State::Left, vec!["host-id".into(), "left".into()]));
    assert_eq!(agent.served(), []);
    assert!(agent.refresh().await.is_err());
    drop(agent);
    // A key that a power cut has left is gone after the next start.
    std::fs::write(host.path("data/identity.json"), "key").unwrap();
    std::fs::write(host.path("data/.local.json.new"), "half a key").unwrap();
    let mut agent = host.start();
    agent.step().await;
    assert_eq!((agent.status().state, host.files()), (State::Left, vec!["host-id".into(), "left".into()]));
    agent.join_as_told(None, &actor()).await.unwrap();
    assert_eq!((agent.status().state, agent.served().len()), (State::Alone, 1));
}

#[tokio::test]
async fn without_servers_what_was_kept_is_served_until_it_expires() {
    let host = Host::new(&AWAY.replace("join-token = 'secret'\n", ""));
    let own = host.have_joined().await;
    let mut agent = host.start();
    assert_eq!(agent.status().state, State::Degraded);
    agent.step().await;
    let status = agent.status();
    assert_eq!((status.state, status.serial.as_ref()), (State::Degraded, Some(&own.serial)), "{status:?}");
    assert!(status.last_error.unwrap().contains("no server answers"));
    assert!(status.servers.iter().all(|server| server.answers == Some(false)));
    assert_eq!(agent.served(), ["spiffe://td/web".parse().unwrap()]);
    let away = agent.refresh().await.unwrap_err();
    assert_eq!(away.0, ErrorKind::Unavailable);
    let refused = agent.leave(false, &actor()).await.unwrap_err();
    assert_eq!(refused.0, ErrorKind::Unavailable);
    assert_eq!(agent.served().len(), 1, "nothing has changed");

    host.clock.jump(3700);
    agent.step().await;
    assert_eq!(agent.status().state, State::Expired);
    assert_eq!(agent.served(), []);
    assert!(host.files().contains(&"identity.json".to_owned()), "its bundle is good still");
    agent.leave(true, &actor()).await.unwrap();
    assert_eq!(host.files(), ["host-id", "left"]);
}

#[tokio::test]
async fn a_host_that_was_alone_goes_on_until_a_server_answers() {
    let host = Host::new(ALONE);
    let mut agent = host.start();
    agent.step().await;
    let watch = agent.cache.watch(&["unix:uid:1".parse().unwrap()].into());
    host.configure(AWAY);
    agent.step().await;
    assert_eq!(agent.served(), ["spiffe://home/web".parse().unwrap()], "{:?}", agent.status());
    host.configure(&(AWAY.to_owned() + "[[identity.entries]]\npath = '/web'\nselectors = ['unix:uid:1']\n"));
    agent.step().await;
    assert!(!watch.has_changed().unwrap());
    assert!(agent.status().last_error.unwrap().contains("no trust bundle"));
    drop(agent);
    let mut agent = host.start();
    agent.step().await;
    assert_eq!(agent.served(), ["spiffe://home/web".parse().unwrap()]);
}

#[tokio::test]
async fn a_machine_config_without_servers_costs_no_membership() {
    let config = AWAY.replace("join-token = 'secret'\n", "");
    let host = Host::new(&config);
    let own = host.have_joined().await;
    let mut agent = host.start();
    agent.step().await;
    assert_eq!(agent.served(), ["spiffe://td/web".parse().unwrap()]);
    host.configure(ALONE);
    agent.step().await;
    assert_eq!(agent.status().state, State::Alone);
    assert_eq!(agent.served(), ["spiffe://home/web".parse().unwrap()]);
    host.configure(&config);
    agent.step().await;
    let status = agent.status();
    assert_eq!((status.state, status.serial), (State::Degraded, Some(own.serial.clone())));
    assert_eq!(agent.served(), ["spiffe://td/web".parse().unwrap()]);
}

#[tokio::test]
async fn what_is_missing_to_join_is_said() {
    let host = Host::new(&AWAY.replace("join-token = 'secret'\n", ""));
    let mut agent = host.start();
    agent.step().await;
    let status = agent.status();
    assert_eq!(status.state, State::Failed);
    assert!(status.last_error.unwrap().contains("nothing to join with"));
    let bundle = Local::open(&host.path("ca"), &"td".parse().unwrap(), "a", host.clock.clone()).unwrap();
    let bundle = bundle.bundle().to_pem();
    host.configure(&AWAY.replace("join-token", &format!("trust-bundle = '''{bundle}'''\njoin-token")));
    agent.step().await;
    let status = agent.status();
    assert_eq!(status.state, State::Joining, "{status:?}");
    let error = status.last_error.unwrap();
    assert!(error.contains("no server answers") && !error.contains("secret"), "{error}");
    assert_eq!(host.files(), ["host-id"], "nothing is half joined");
}

#[tokio::test]
async fn servers_are_known_by_their_spiffe_id() {
    use rustls::ServerConnection;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    let host = Host::new("");
    let local =
        |name: &str| Local::open(&host.path(name), &"td".parse().unwrap(), name, host.clock.clone()).unwrap();
    let (issuer, stranger) = (local("a"), local("b"));
    let config = "[[identity.entries]]\npath = '/spire/server'\nselectors = ['a:b']\n\
                  [[identity.entries]]\npath = '/spire/other'\nselectors = ['a:b']\n";
    let shake = async |issuer: &Local, entry: &str, skew: i64| {
        issuer.set_entries(&lepton_config::parse("x", config).config.identity.entries, &[]);
        let (key, der) = keys::request().unwrap();
        let chains = issuer.x509(vec![Csr { entry: entry.to_owned(), der }]).await.unwrap();
        let key = PrivateKeyDer::Pkcs8(key.to_pki().clone_key());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chains[0].clone().unwrap(), key)
            .unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        let trust = Trust::Bundle(Arc::new(local("a").bundle()));
        host.clock.jump(skew);
        let clock: Arc<dyn Clock> = host.clock.clone();
        let client = server::config(&trust, None, &clock).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut shaken = Ok(());
        for _ in 0..4 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            shaken = shaken.and(server.process_new_packets().map(|_| ()).map_err(|error| error.to_string()));
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            let read = client.process_new_packets().map(|_| ()).map_err(|error| error.to_string());
            if read.is_err() {
                shaken = read;
                break;
            }
        }
        host.clock.jump(-skew);
        shaken
    };
    assert_eq!(shake(&issuer, "/spire/server#0", 0).await, Ok(()));
    let other = shake(&issuer, "/spire/other#1", 0).await.unwrap_err();
    assert!(other.contains("spiffe://td/spire/server is expected"), "{other}");
    let unknown = shake(&stranger, "/spire/server#0", 0).await.unwrap_err();
    assert!(unknown.contains("no authority of the bundle has signed it"), "{unknown}");
    assert_eq!(shake(&issuer, "/spire/server#0", -200).await, Ok(()), "our clock may be behind");
    assert!(shake(&issuer, "/spire/server#0", -900).await.is_err());
    assert!(shake(&issuer, "/spire/server#0", 3700).await.unwrap_err().contains("expired"));
}

#[tokio::test(start_paused = true)]
async fn an_authority_of_the_machine_config_signs_while_it_is_there() {
    let (certificate, key) = crate::local::given::tests::example("home");
    let with = |certificate: &str| {
        ALONE.replace(
            "trust-domain = 'home'\n",
            &format!("trust-domain = 'home'\nauthority = {{ certificate = \"\"\"\n{certificate}\"\"\", key = \"\"\"\n{key}\"\"\" }}\n"),
        ) + "[host]\nlisten = ['[::]:7443']\n"
    };
    let host = Host::new(ALONE);
    let mut agent = host.start();
    agent.step().await;
    let own = agent.cache.bundle();

    host.configure(&with(&certificate));
    agent.step().await;
    let bundle = agent.cache.bundle();
    let known = lepton_spiffe::Bundle::from_pem("home".parse().unwrap(), certificate.as_bytes()).unwrap();
    assert_eq!(bundle.x509_authorities, known.x509_authorities);
    let status = agent.status();
    assert_eq!((status.state, status.entries, status.svids), (State::Alone, 2, 2), "{status:?}");
    let selectors = ["lepton:service:host".parse().unwrap()].into();
    let api = agent.cache.watch(&selectors).borrow().svids[0].clone();
    assert_eq!(Some(api.id.to_string()), status.spiffe_id);
    verify(&api.chain, &bundle, Purpose::Server, host.clock.now()).unwrap();

    host.configure(&with(&certificate.replace("CERTIFICATE", "NOTHING")));
    agent.step().await;
    let status = agent.status();
    assert_eq!(status.state, State::Failed);
    assert!(status.last_error.unwrap().starts_with("identity.authority: certificate: "));
    assert!(!agent.served().is_empty(), "workloads keep what they have");

    host.configure(ALONE);
    agent.step().await;
    assert_eq!(agent.status().state, State::Alone);
    assert_eq!(agent.cache.bundle().x509_authorities, own.x509_authorities);
}
