//! Gives the Workload API and the attestors bytes that nobody would write: `fuzz proc|pods|cri|claims|sessions SECONDS
//! [NUMBER]`. The seeds are good files, lists and conversations; each run changes some of their bytes, cuts them, or repeats
//! parts. A number printed with a failure repeats the run.

#[expect(clippy::unwrap_used, reason = "it is of the tests")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Error, Result, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lepton_cri::v1 as cri;
use lepton_spiffe_api::workload as api;
use lepton_workload_api::attest::{Attestors, unix::Unix};
use lepton_workload_api::fuzz;
use prost::Message as _;
use support::{Running, client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

const USAGE: &str = "usage: fuzz proc|pods|cri|claims|sessions SECONDS [NUMBER]";
/// A session that takes longer hangs.
const HANG: Duration = Duration::from_secs(60);
/// The server is asked whether it is well after so many sessions.
const ASK: u64 = 64;
const UID: &str = "c7e4c2a1-6d26-44f2-9a0c-3c5a4c0f9b3d";

/// A small generator that a number repeats (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("it is below a usize")
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Changes bytes in a few places.
    fn change(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(5) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            let end = (at + self.below(32)).min(bytes.len());
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => bytes.truncate(at + 1),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => bytes.insert(at, self.next().to_le_bytes()[0]),
            }
        }
        bytes
    }
}

/// Tells which run failed.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = writeln!(std::io::stderr(), "the failing run is number {}", self.0);
    }
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(target), Some(seconds)) = (arguments.first(), number(1)) else {
        return Err(Error::other(USAGE));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sessions = if target == "sessions" { Some(runtime.block_on(Sessions::new())?) } else { None };
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut seed, mut good) = (number(2).unwrap_or(1), 0);
    let first = seed;
    while Instant::now() < end {
        let shown = Shown(seed);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        good += match &sessions {
            Some(sessions) => runtime.block_on(sessions.run(&mut random, seed % ASK == 0))?,
            None => run(target, &mut random)?,
        };
        std::mem::forget(shown);
        seed += 1;
    }
    writeln!(
        std::io::stdout(),
        "{target}: {} runs, {good} good inputs or bytes of answers, no failure",
        seed - first
    )
}

fn run(target: &str, random: &mut Random) -> Result<usize> {
    let id = "0123456789abcdef".repeat(4);
    match target {
        "proc" => {
            let paths = [
                format!("0::/kubepods/burstable/pod{UID}/{id}\n"),
                format!("0::/kubepods/pod{UID}/{id}/init.scope\n"),
                format!("4:memory:/a\n0::/pods/{id}/{id}\n"),
                "0::/lepton/web/below\n".to_owned(),
                "0::/../web (deleted)\n".to_owned(),
                "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20".to_owned(),
                "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nroot:x:0:0:root:/root:/bin/sh\n".to_owned(),
            ];
            let bytes = random.pick(&paths).clone().into_bytes();
            Ok(fuzz::proc(&random.change(bytes)).into())
        }
        "pods" => Ok(fuzz::pods(&random.change(PODS.as_bytes().to_vec()))),
        "cri" => {
            let (container, pod) = listed(&id);
            let cgroup =
                random.pick(&[format!("/kubepods/pod{UID}/{id}"), format!("/pods/{id}/{id}")]).clone();
            let container =
                random.change(cri::ListContainersResponse { containers: vec![container] }.encode_to_vec());
            let pod = random.change(cri::ListPodSandboxResponse { items: vec![pod] }.encode_to_vec());
            Ok(fuzz::cri(&cgroup, &container, &pod).into())
        }
        "claims" => {
            let id = "spiffe://example.org/web".parse().map_err(Error::other)?;
            let own = random.below(2) == 0;
            Ok(fuzz::claims(&random.change(CLAIMS.as_bytes().to_vec()), &id, own))
        }
        _ => Err(Error::other(USAGE)),
    }
}

const CLAIMS: &str = r#"{"aud":["a","b"],"exp":1700000300.5,"iat":1700000000,"sub":"spiffe://example.org/web",
"x":{"y":[null,true,-1e308,"\u00e9",{}]},"n":18446744073709551615}"#;

const PODS: &str = r#"{"kind":"PodList","items":[{"metadata":{"name":"web","namespace":"shop",
"uid":"c7e4c2a1-6d26-44f2-9a0c-3c5a4c0f9b3d","labels":{"app":"web","empty":""},
"ownerReferences":[{"kind":"ReplicaSet","name":"web-1","uid":"1"}]},
"spec":{"serviceAccountName":"web","nodeName":"edge-1","containers":[{"name":"web"}]},
"status":{"containerStatuses":[{"name":"web","image":"a:1","imageID":"a@sha256:1"}],"initContainerStatuses":null}}]}"#;

fn listed(id: &str) -> (cri::Container, cri::PodSandbox) {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let uid = label("io.kubernetes.pod.uid", UID);
    let container = cri::Container {
        id: id.to_owned(),
        pod_sandbox_id: id.to_owned(),
        metadata: Some(cri::ContainerMetadata { name: "web".to_owned(), attempt: 0 }),
        image: Some(cri::ImageSpec { image: "a:1".to_owned(), ..cri::ImageSpec::default() }),
        image_ref: "a@sha256:1".to_owned(),
        state: cri::ContainerState::ContainerRunning.into(),
        labels: [uid.clone(), label("io.kubernetes.container.name", "web")].into(),
        ..cri::Container::default()
    };
    let metadata = cri::PodSandboxMetadata {
        name: "web".to_owned(),
        uid: UID.to_owned(),
        namespace: "shop".to_owned(),
        attempt: 0,
    };
    let pod = cri::PodSandbox {
        id: id.to_owned(),
        metadata: Some(metadata),
        labels: [uid, label("app", "web")].into(),
        ..cri::PodSandbox::default()
    };
    (container, pod)
}

/// A server, and what good clients sent to it.
struct Sessions {
    running: Running,
    seeds: Vec<Vec<u8>>,
}

impl Sessions {
    async fn new() -> Result<Self> {
        let running = Running::new(Attestors::new().with(Unix::default()));
        let id = running.cache.register(
            "/web",
            "a",
            &[&format!("unix:uid:{}", rustix::process::getuid().as_raw())],
        );
        let svid = running.cache.token(&id, "a", 300).token.expose().to_owned();
        let mut seeds = Vec::new();
        for call in 0..5 {
            let proxy = running.folder.path().join(format!("proxy-{call}"));
            let recorded = record(&proxy, running.socket())?;
            let mut client = client(&proxy).await;
            let done = match call {
                0 => client.fetch_x509svid(api::X509svidRequest {}).await.map(drop),
                1 => client.fetch_x509_bundles(api::X509BundlesRequest {}).await.map(drop),
                2 => client.fetch_jwt_bundles(api::JwtBundlesRequest {}).await.map(drop),
                3 => {
                    let audience = vec!["a".to_owned(), "b".to_owned()];
                    client
                        .fetch_jwtsvid(api::JwtsvidRequest { audience, spiffe_id: id.to_string() })
                        .await
                        .map(drop)
                }
                _ => {
                    let request =
                        api::ValidateJwtsvidRequest { audience: "a".to_owned(), svid: svid.clone() };
                    client.validate_jwtsvid(request).await.map(drop)
                }
            };
            done.map_err(Error::other)?;
            let bytes = recorded.lock().map_err(|_| Error::other("nothing was recorded"))?.clone();
            seeds.push(bytes);
        }
        Ok(Self { running, seeds })
    }

    async fn run(&self, random: &mut Random, ask: bool) -> Result<usize> {
        let seed = random.pick(&self.seeds).clone();
        let bytes = random.change(seed);
        let conversation = async {
            let mut stream = UnixStream::connect(self.running.socket()).await?;
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).await?;
            Ok::<_, Error>(answers.len())
        };
        // A connection that the server cut is an answer, too.
        let Ok(answers) = tokio::time::timeout(HANG, conversation).await else {
            return Err(Error::other("a session hangs"));
        };
        if ask {
            let mut client = self.running.client().await;
            let mut stream =
                client.fetch_x509svid(api::X509svidRequest {}).await.map_err(Error::other)?.into_inner();
            let message = tokio::time::timeout(HANG, stream.message()).await;
            let message = message.map_err(|_| Error::other("the server hangs"))?.map_err(Error::other)?;
            if message.is_none_or(|message| message.svids.len() != 1) {
                return Err(Error::other("the server has another answer"));
            }
        }
        Ok(answers.unwrap_or(0))
    }
}

/// Passes one connection on, and keeps what the client sends.
fn record(proxy: &Path, socket: PathBuf) -> Result<Arc<Mutex<Vec<u8>>>> {
    let listener = UnixListener::bind(proxy)?;
    let recorded: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&recorded);
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await?;
        let mut server = UnixStream::connect(socket).await?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let upwards = async {
            let mut buffer = [0; 4096];
            loop {
                let count = from_client.read(&mut buffer).await?;
                if count == 0 {
                    return Ok(());
                }
                if let Ok(mut kept) = kept.lock() {
                    kept.extend_from_slice(&buffer[..count]);
                }
                to_server.write_all(&buffer[..count]).await?;
            }
        };
        tokio::select! {
            ended = upwards => ended,
            ended = tokio::io::copy(&mut from_server, &mut to_client) => ended.map(drop),
        }
    });
    Ok(recorded)
}
