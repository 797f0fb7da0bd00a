//! How a host leaves, and what is there of it after its power went away at any moment of its life.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lepton_identity_control::{Answer, Request, State};

use super::agent::{Agent, joining};
use super::client::Workload;
use super::field::Field;
use super::joining::SOON;
use super::process::until;
use super::rotation::joined;
use super::server::Setup;
use super::{Scenario, scan};

pub(crate) const ALL: &[Scenario] =
    &[("leave", leave), ("leave-force", leave_force), ("power-cuts", power_cuts)];

/// Moments at which the power goes away.
const CUTS: u32 = 50;
/// Joins, with all that belongs to them, and leaves take less.
const SPAN: Duration = Duration::from_millis(1200);

/// Nothing of the identity is left, and what was served is no good any more.
fn leave(field: &Field) {
    let server = field.server("a", Setup::default());
    let (mut agent, id) = joined(field, &server, "host");
    server.entry(&id, "/web", &["unix:uid:0"], &[]);
    let workload = Workload::start(agent.client(&field.programs.client, &["watch"]));
    workload.svids(SOON);
    assert_ne!(scan::keys(&agent.data()), [] as [&str; 0], "the scan finds keys where they are");
    agent.id(&["leave"]).good();
    agent.until(State::Left, SOON);
    assert_eq!(agent.id(&["status"]).code, 15);
    workload.until("a refusal", SOON, |line| line["kind"] == "refused" && line["of"] == "x509");
    assert_eq!(scan::keys(&agent.data()), [] as [&str; 0]);
    // It stays so: the token in the machine config is of a host that left.
    agent.stop();
    agent.start_again();
    until("the agent to answer", SOON, || agent.status().is_some());
    thread::sleep(Duration::from_secs(6));
    assert_eq!(agent.state(), Some(State::Left));
    assert_eq!(scan::keys(&agent.data()), [] as [&str; 0]);
    // Whoever wants it back says so.
    let file = field.folder("tokens").join("token");
    fs::write(&file, server.token()).unwrap();
    agent.id(&["join", "--token-file", &file.to_string_lossy()]).good();
    agent.until(State::Ready, SOON);
}

/// A host leaves also when nobody can be asked.
fn leave_force(field: &Field) {
    let mut server = field.server("a", Setup::default());
    let (mut agent, _) = joined(field, &server, "host");
    server.kill();
    agent.until(State::Degraded, Duration::from_secs(60));
    agent.id(&["leave", "--force"]).good();
    agent.until(State::Left, SOON);
    assert_eq!(scan::keys(&agent.data()), [] as [&str; 0]);
}

/// The process ends at any moment of joining, renewing and leaving: afterwards the host has joined, or it is as if it had
/// never tried; never half of it.
fn power_cuts(field: &Field) {
    let factory = field.factory();
    let setup = Setup { x509pop: Some(factory.bundle.clone()), agent_ttl_s: 3600, ..Setup::default() };
    let server = field.server("a", setup);
    let mut random = Random(fs::metadata(server.store()).unwrap().len() ^ 0x9e37_79b9_7f4a_7c15);
    let (mut whole, mut clean) = (0, 0);
    for number in 0..CUTS {
        let folder = field.folder(&format!("host-{number}"));
        let mut agent = Agent::new(&folder);
        // By turns by a token, which is good for one try, and by a certificate.
        let card = factory.certificate(&format!("host-{number}"));
        let by_token = number % 2 == 0;
        let how = if by_token {
            format!("join-token = \"{}\"", server.token())
        } else {
            format!(
                "[identity.x509pop]\ncertificate = '''\n{}'''\nkey = '''\n{}'''",
                card.certificate, card.key
            )
        };
        let config = joining("example.org", &[server.address()], &server.bundle(), &how);
        let moment = SPAN.mul_f64(random.next());
        let act = ["join", "refresh", "leave"][usize::try_from(number % 3).unwrap()];
        agent.start(&config);
        if act == "join" {
            thread::sleep(moment);
        } else {
            agent.until(State::Ready, SOON);
            // Asked, and not waited for: the power goes away while the agent is at it.
            let request = if act == "leave" { Request::Leave { force: false } } else { Request::Refresh };
            let admin = agent.admin();
            let asked = thread::spawn(move || {
                let client = lepton_identity_control::Client::connect_to(&admin);
                // The other end goes away in the middle.
                let _ = client.and_then(|mut client| client.ask(&request));
            });
            thread::sleep(moment.div_f64(8.0));
            agent.kill();
            asked.join().unwrap();
        }
        agent.kill();
        agent.start_again();
        let status = settled(&mut agent);
        assert!(!scan::has_secret(&agent.log()), "{}", agent.log());
        assert_eq!(scan::open_files(&agent.data()), [] as [&str; 0]);
        match status {
            State::Ready => {
                whole += 1;
                // It is a whole one: the server takes it.
                assert_eq!(agent.ask(&Request::Refresh).unwrap(), Answer::Done, "{act} {number}");
            }
            // A token that the server has spent without our knowing it cannot be used again.
            State::Failed if by_token && act == "join" => clean += 1,
            State::Left if act == "leave" => {
                clean += 1;
                assert_eq!(scan::keys(&agent.data()), [] as [&str; 0], "{act} {number}");
            }
            other => panic!("{act} {number}, cut after {moment:?}: {other}\n{}", agent.log()),
        }
        agent.stop();
        assert_eq!(halves(&agent.data()), [] as [&str; 0], "{act} {number}");
    }
    assert!(whole > 0 && clean > 0, "{whole} have joined, {clean} have not");
}

/// The state that an agent comes to.
fn settled(agent: &mut Agent) -> State {
    let start = Instant::now();
    loop {
        match agent.state() {
            // It has just taken up what is on the disk, and not asked the server yet, in the last of these.
            Some(state) if !matches!(state, State::Joining | State::Degraded) => return state,
            state => assert!(start.elapsed() < SOON, "it is {state:?} still\n{}", agent.log()),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Files that were being written.
fn halves(folder: &Path) -> Vec<String> {
    let is_half = |path: &std::path::PathBuf| {
        path.extension().is_some_and(|extension| extension == "new" || extension == "tmp")
    };
    let halves = scan::files(folder).into_iter().filter(is_half);
    halves.map(|path| path.display().to_string()).collect()
}

/// Numbers from 0 to 1 (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let fraction = (self.0 >> 11) as f64;
        fraction / (1_u64 << 53) as f64
    }
}
