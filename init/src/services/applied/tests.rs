//! Configs that are applied, refused, tried and kept.

use super::*;
use crate::source::{Gathered, Source};

const S: fn(u64) -> Duration = Duration::from_secs;
const ALL: &dyn Fn(&str) -> bool = &|_| true;

fn parsed(text: &str) -> MachineConfig {
    let parsed = lepton_config::parse("test", text);
    assert_eq!(parsed.problems, []);
    parsed.config
}

fn of(sources: &[(&'static str, &str)]) -> Layers {
    let sources = sources.iter().map(|(name, text)| Source { name, config: parsed(text) }).collect();
    Layers::new(Gathered { sources, ..Gathered::default() })
}

fn layers() -> Layers {
    of(&[
        ("cmdline", "hostname = 'word'"),
        ("esp", "network.dns = ['192.0.2.1']\n[[services]]\nname = 'agent'\ncommand = ['/a']\n"),
        ("image", "time.servers = ['image']\nsysctl = { 'vm.x' = 1 }"),
    ])
}

fn in_memory() -> RunningConfig {
    RunningConfig::new(layers(), None, None)
}

fn on_disk(dir: &tempfile::TempDir) -> RunningConfig {
    let file = dir.path().join("config/applied.toml");
    RunningConfig::new(layers(), None, Some(Place { device: "/dev/vda2".into(), file }))
}

fn wish(text: &str) -> Wish<'_> {
    Wish { text, expected: None, try_s: None }
}

fn kept(dir: &tempfile::TempDir) -> Option<String> {
    std::fs::read_to_string(dir.path().join("config/applied.toml")).ok()
}

fn kind(answer: Result<(Plan, MachineConfig), Answer>) -> ErrorKind {
    match answer {
        Err(Answer::Error { kind, .. }) => kind,
        other => panic!("{other:?}"),
    }
}

fn servers(config: &RunningConfig) -> String {
    config.layers.effective().time.servers.iter().map(|server| format!("{server} ")).collect()
}

#[test]
fn every_key_is_told_with_what_becomes_of_it() {
    let config = in_memory();
    let text = "hostname = 'other'\nnetwork.dns = ['192.0.2.1']\ntime.servers = ['a']\nwatchdog.timeout-s = 60\n\
                identity.join-token = 'abcdef'\nlogs.rate-lines-per-s = 5\n\
                [[services]]\nname = 'mine'\ncommand = ['/b']\n";
    let plan = config.plan(text, &|service| service != "logs").unwrap();
    let told: Vec<String> = plan
        .differences
        .iter()
        .map(|it| {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
            format!("{}: {} -> {}: {:?}", it.key, value(&it.old), value(&it.new), it.effect)
        })
        .filter(|line| !line.starts_with("services") || line.contains(".command"))
        .collect();
    assert_eq!(
        told,
        [
            "identity.join-token: - -> (secret): Live",
            "logs.rate-lines-per-s: - -> 5: NoService { service: \"logs\" }",
            "time.servers: [\"image\"] -> [\"a\"]: Live",
            "watchdog.timeout-s: - -> 60: Restart",
            "hostname: \"word\" -> \"other\": Overridden { source: \"cmdline\" }",
            "services[mine].command: - -> [\"/b\"]: Overridden { source: \"esp\" }",
        ]
    );
    assert_eq!(servers(&config), "image ", "looking changes nothing");
}

#[test]
fn all_mistakes_are_told_and_nothing_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = on_disk(&dir);
    let revision = config.layers.revision();
    let text =
        "hostnam = 'a'\nstate.disk = '/dev/vdb'\n[install]\ndisk = 'smallest'\n[time]\nservers = ['-']\n";
    let Err(Answer::ConfigProblems(problems)) = config.apply(wish(text), S(0), ALL) else { panic!() };
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        problems[0].starts_with("line 1: hostnam: unknown key; did you mean \"hostname\"?"),
        "{problems:?}"
    );
    assert!(problems[1].starts_with("line 6: time.servers[0]: \"-\" is neither"), "{problems:?}");
    assert!(problems[2].starts_with("state.disk: the state partition is looked for before"), "{problems:?}");
    assert!(problems[3].starts_with("install.disk: nothing is installed while /dev/vda2"), "{problems:?}");
    assert_eq!(problems.len(), 4);
    assert_eq!((config.layers.revision(), kept(&dir)), (revision, None));
    // Without a state partition an installation can begin.
    assert!(in_memory().plan("install.disk = 'smallest'", ALL).is_ok());
}

#[test]
fn what_contradicts_another_source_is_a_mistake() {
    let esp = "identity.servers = ['192.0.2.1:8081']\nidentity.trust-domain = 'a'";
    let config = RunningConfig::new(of(&[("esp", esp), ("image", "")]), None, None);
    let pem = "'''-----BEGIN A-----\n-----END A-----'''";
    let text = format!("[identity]\ntrust-domain = 'a'\nauthority = {{ certificate = {pem}, key = {pem} }}");
    assert!(in_memory().plan(&text, ALL).is_ok());
    let problems = config.plan(&text, ALL).unwrap_err();
    assert_eq!(problems.len(), 1);
    let said = problems[0].to_string();
    assert!(said.starts_with("identity: a host with servers issues nothing itself"), "{said}");
}

#[test]
fn a_config_is_kept_and_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = on_disk(&dir);
    let (_, old) = config.apply(wish("time.servers = ['a'] # mine\n"), S(0), ALL).unwrap();
    assert_eq!(old.time.servers[0].as_str(), "image");
    assert_eq!(servers(&config), "a ");
    assert_eq!(kept(&dir).as_deref(), Some("time.servers = ['a'] # mine\n"));
    let Answer::Config(got) = config.get(vec![], S(0)) else { panic!() };
    assert_eq!((got.applied.as_deref(), got.persistent), (Some("time.servers = ['a'] # mine\n"), true));
    assert_eq!(got.sources, ["image", "applied", "esp", "cmdline"]);
    config.apply(wish(" \n"), S(0), ALL).unwrap();
    assert_eq!((servers(&config).as_str(), kept(&dir)), ("image ", None));

    let mut config = in_memory();
    let (plan, _) = config.apply(wish("time.servers = ['a']"), S(0), ALL).unwrap();
    let Answer::ConfigChange(change) = config.change(plan, vec![], S(0)) else { panic!() };
    assert!(!change.persistent && change.trial.is_none());
}

#[test]
fn of_two_at_once_the_second_is_told() {
    let mut config = in_memory();
    let seen = config.layers.revision();
    let after = |text| Wish { expected: Some(&seen), ..wish(text) };
    assert!(config.apply(after("time.servers = ['a']"), S(0), ALL).is_ok());
    assert_eq!(kind(config.apply(after("time.servers = ['b']"), S(0), ALL)), ErrorKind::Conflict);
    assert_eq!(servers(&config), "a ");
    // The same when what changed was on trial and is gone again.
    let seen = config.layers.revision();
    config.apply(Wish { try_s: Some(5), ..wish("") }, S(0), ALL).unwrap();
    config.end_trial(S(5)).unwrap();
    let late = Wish { expected: Some(&seen), ..wish("time.servers = ['b']") };
    assert_eq!(kind(config.apply(late, S(6), ALL)), ErrorKind::Conflict);
}

#[test]
fn a_trial_ends_by_itself_unless_it_is_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = on_disk(&dir);
    config.apply(wish("time.servers = ['a']"), S(0), ALL).unwrap();
    let attempt = Wish { try_s: Some(60), ..wish("time.servers = ['b']") };
    let (plan, _) = config.apply(attempt, S(10), ALL).unwrap();
    let Answer::ConfigChange(change) = config.change(plan, vec![], S(15)) else { panic!() };
    let trial = change.trial.unwrap();
    assert_eq!((trial.left_ms, config.end_of_trial()), (55_000, Some(S(70))));
    assert_eq!((servers(&config).as_str(), kept(&dir).as_deref()), ("b ", Some("time.servers = ['a']")));
    // A restart now would find the old one. Meanwhile nobody else may change anything.
    assert_eq!(kind(config.apply(wish(""), S(20), ALL)), ErrorKind::Conflict);
    assert!(config.end_trial(S(69)).is_none());
    let Answer::Error { kind: refused, .. } = config.confirm("another") else { panic!() };
    assert_eq!(refused, ErrorKind::NoTrial);
    let tried = config.end_trial(S(70)).unwrap();
    assert_eq!(tried.time.servers[0].as_str(), "b");
    assert_eq!((servers(&config).as_str(), config.end_of_trial()), ("a ", None));
    assert!(matches!(config.confirm(&trial.id), Answer::Error { kind: ErrorKind::NoTrial, .. }));

    config.apply(Wish { try_s: Some(60), ..wish("time.servers = ['c']") }, S(80), ALL).unwrap();
    let id = config.trial(S(81)).unwrap().id;
    assert_ne!(id, trial.id);
    assert_eq!(config.confirm(&id), Answer::Done);
    assert_eq!(kept(&dir).as_deref(), Some("time.servers = ['c']"));
    assert!(config.end_trial(S(1000)).is_none());
    assert_eq!(servers(&config), "c ");
    for bad in [0, 3601] {
        let wish = Wish { try_s: Some(bad), ..wish("") };
        assert_eq!(kind(config.apply(wish, S(0), ALL)), ErrorKind::BadRequest);
    }
}

#[test]
fn what_cannot_be_kept_is_not_applied() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = on_disk(&dir);
    std::fs::write(dir.path().join("config"), "a file where the folder should be").unwrap();
    assert_eq!(kind(config.apply(wish("time.servers = ['a']"), S(0), ALL)), ErrorKind::Refused);
    assert_eq!(servers(&config), "image ");
    config.apply(Wish { try_s: Some(9), ..wish("time.servers = ['a']") }, S(0), ALL).unwrap();
    let id = config.trial(S(1)).unwrap().id;
    assert!(matches!(config.confirm(&id), Answer::Error { kind: ErrorKind::Refused, .. }));
    assert!(config.end_trial(S(9)).is_some(), "it goes back all the same");
}

#[test]
fn an_answer_has_a_bound() {
    let config = in_memory();
    let text: String = (0..500)
        .map(|n| format!("[[files]]\npath = '/etc/{}{n}'\ncontent = 'x'\n", "long/".repeat(60)))
        .collect();
    let plan = config.plan(&text, ALL).unwrap();
    assert!(plan.left_out > 0 && !plan.differences.is_empty());
    let answer = config.change(plan, vec![], S(0));
    assert!(answer.to_line().len() < lepton_control::MAX_ANSWER);
    let text = format!("[[services]]\nname = 'x'\ncommand = ['/{}']", "é".repeat(1000));
    let plan = RunningConfig::new(of(&[]), None, None).plan(&text, ALL).unwrap();
    let command = plan.differences.iter().find(|it| it.key == "services[x].command").unwrap();
    assert_eq!(command.new.as_ref().unwrap().chars().count(), MOST_OF_VALUE + 1);
}
