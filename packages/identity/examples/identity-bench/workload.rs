//! A workload: a client of the Workload API that knows nothing of which agent it asks. What it finds goes to standard output,
//! a line each.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lepton_spiffe::{Bundle, CertificateDer, PrivateKey, Purpose, X509Svid, verify};
use lepton_spiffe_api::workload as api;
use lepton_spiffe_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Makes this program a workload.
pub(crate) const WORD: &str = "workload";
/// Between two attempts of one that waits for an agent, and of each of many that do.
const AGAIN: Duration = Duration::from_millis(2);
const AGAIN_OF_MANY: Duration = Duration::from_secs(1);
/// Longer than any agent takes to start, and many workloads before it.
const PATIENCE: Duration = Duration::from_secs(600);

type Client =
    SpiffeWorkloadApiClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

/// What a workload does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Keeps a stream open, and tells of each SVID: user, time, end.
    Hold,
    /// Fetches its SVID on one connection for so many seconds, and tells how often.
    Count(u64),
    /// Fetches it so many times on one connection, and tells the microseconds of each.
    OneConnection(u64),
    /// The same, with a connection for each.
    NewConnections(u64),
    /// Waits until an agent is there and gives it an SVID, and tells when.
    First,
}

impl Work {
    /// The command line of a workload.
    pub(crate) fn words(&self, socket: &Path) -> [String; 4] {
        let (what, number) = match self {
            Self::Hold => ("hold", 0),
            Self::Count(seconds) => ("count", *seconds),
            Self::OneConnection(count) => ("one-connection", *count),
            Self::NewConnections(count) => ("new-connections", *count),
            Self::First => ("first", 0),
        };
        [WORD, &socket.to_string_lossy(), what, &number.to_string()].map(str::to_owned)
    }

    fn parse(what: &str, number: u64) -> Option<Self> {
        Some(match what {
            "hold" => Self::Hold,
            "count" => Self::Count(number),
            "one-connection" => Self::OneConnection(number),
            "new-connections" => Self::NewConnections(number),
            "first" => Self::First,
            _ => return None,
        })
    }
}

/// Does what the command line says.
pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let usage = || format!("bad words for a workload: {words:?}");
    let [socket, what, number] = words else { return Err(usage()) };
    let work = Work::parse(what, number.parse().map_err(|_| usage())?).ok_or_else(usage)?;
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tokio = tokio.map_err(|error| error.to_string())?;
    tokio.block_on(act(&work, Path::new(socket))).map_err(|error| format!("workload {what}: {error}"))
}

async fn act(work: &Work, socket: &Path) -> Result<(), String> {
    match work {
        Work::Hold => hold(socket).await,
        Work::Count(seconds) => {
            let mut client = first(socket, AGAIN).await?;
            let (begin, mut calls) = (Instant::now(), 0_u64);
            while begin.elapsed() < Duration::from_secs(*seconds) {
                fetch(&mut client).await.map_err(said)?;
                calls += 1;
            }
            say(&calls.to_string())
        }
        Work::OneConnection(count) => {
            let mut client = first(socket, AGAIN).await?;
            let mut times = Vec::new();
            for _ in 0..*count {
                let begin = Instant::now();
                fetch(&mut client).await.map_err(said)?;
                times.push(begin.elapsed().as_micros().to_string());
            }
            say(&times.join(" "))
        }
        Work::NewConnections(count) => {
            first(socket, AGAIN).await?;
            let mut times = Vec::new();
            for _ in 0..*count {
                let begin = Instant::now();
                let mut client = connect(socket).await.map_err(said)?;
                fetch(&mut client).await.map_err(said)?;
                times.push(begin.elapsed().as_micros().to_string());
            }
            say(&times.join(" "))
        }
        Work::First => {
            first(socket, AGAIN).await?;
            say(&now().as_micros().to_string())
        }
    }
}

/// Tells of each SVID that comes. A stream that ends, or an SVID that is no good, is the end.
async fn hold(socket: &Path) -> Result<(), String> {
    let user = rustix::process::getuid().as_raw();
    let mut client = first(socket, AGAIN_OF_MANY).await?;
    let stream = client.fetch_x509svid(api::X509svidRequest {}).await.map_err(said)?;
    let (mut stream, mut serial) = (stream.into_inner(), String::new());
    loop {
        let answer = match stream.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return say(&format!("{user} lost its stream")),
            Err(status) => return say(&format!("{user} lost its stream: {}", said(status))),
        };
        let at = now();
        match svid(&answer, i64::try_from(at.as_secs()).unwrap()) {
            Ok(svid) if svid.serial == serial => {}
            Ok(svid) => {
                say(&format!("{user} {} {}", at.as_micros(), svid.not_after))?;
                serial = svid.serial;
            }
            Err(why) => return say(&format!("{user} has no good SVID: {why}")),
        }
    }
}

/// The SVID of an answer, when its key belongs to it and its bundle leads to it now.
fn svid(answer: &api::X509svidResponse, now: i64) -> Result<X509Svid, String> {
    let svid = answer.svids.first().ok_or("there is none")?;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let key = PrivateKey::from_pkcs8(svid.x509_svid_key.clone());
    let read = X509Svid::new(certificates(&svid.x509_svid)?, key, "").map_err(|error| text(&error))?;
    let mut bundle = Bundle::empty(read.id.trust_domain().clone());
    for authority in certificates(&svid.bundle)? {
        bundle.add(authority).map_err(|error| text(&error))?;
    }
    verify(&read.chain, &bundle, Purpose::Client, now).map_err(|error| text(&error))?;
    Ok(read)
}

/// Certificates one after the other, as the Workload API sends them: each begins with its length (X.690, 8.1.3.5).
fn certificates(mut der: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut list = Vec::new();
    while let [0x30, 0x82, high, low, ..] = der {
        let length = 4 + usize::from(u16::from_be_bytes([*high, *low]));
        let one = der.get(..length).ok_or("a certificate is cut off")?;
        list.push(CertificateDer::from(one.to_vec()));
        der = &der[length..];
    }
    if der.is_empty() { Ok(list) } else { Err("there is something else behind the certificates".to_owned()) }
}

/// A connection to an agent that has given an SVID on it; waits until there is such a one.
async fn first(socket: &Path, again: Duration) -> Result<Client, String> {
    let begin = Instant::now();
    loop {
        let why = match connect(socket).await {
            Ok(mut client) => match fetch(&mut client).await {
                Ok(()) => return Ok(client),
                Err(status) => said(status),
            },
            Err(error) => error.to_string(),
        };
        if begin.elapsed() > PATIENCE {
            return Err(format!("no SVID within {PATIENCE:?}: {why}"));
        }
        tokio::time::sleep(again).await;
    }
}

async fn connect(socket: &Path) -> Result<Client, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
    Ok(SpiffeWorkloadApiClient::with_interceptor(endpoint.connect().await?, with_header))
}

fn with_header(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    Ok(request)
}

/// Opens a stream, takes its first answer, and ends it.
async fn fetch(client: &mut Client) -> Result<(), Status> {
    let stream = client.fetch_x509svid(api::X509svidRequest {}).await?;
    match stream.into_inner().message().await? {
        Some(answer) if !answer.svids.is_empty() => Ok(()),
        _ => Err(Status::not_found("the answer has no SVID")),
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn say(line: &str) -> Result<(), String> {
    // In one piece, as others write to the same pipe.
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).map_err(said)
}

/// Since 1970: all processes of the host have the same.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
