//! Rules of the manager as stories, and a random walk for the promise that a service never has two main processes.

use super::*;
use lepton_control::ServiceState;
use lepton_service_spec::{GiveUp, Seconds};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn spec(name: &str, needs: &[&str]) -> ServiceSpec {
    let mut spec = ServiceSpec::new(name, &["/x"]);
    spec.needs = needs.iter().map(|&name| name.to_owned()).collect();
    spec
}

fn ready() -> Notice {
    Notice { is_ready: true, ..Notice::default() }
}

/// The actions but for notes.
fn acts(manager: &mut Manager) -> Vec<Action> {
    let is_act = |action: &Action| !matches!(action, Action::Note(..));
    manager.take_actions().into_iter().filter(is_act).collect()
}

fn states(manager: &Manager) -> Vec<ServiceState> {
    manager.units().iter().map(Unit::public_state).collect()
}

/// Starts `place` for real: spawned as this process, and executed.
fn run(manager: &mut Manager, place: usize, pid: u32, now: Duration) {
    assert_eq!(acts(manager), [Action::Start(place)]);
    manager.spawned(place, pid);
    manager.executed(place, now);
}

/// The main process ends and leaves nothing.
fn end(manager: &mut Manager, pid: u32, ended: Ended, now: Duration) -> usize {
    let place = manager.exited(pid, ended, now).unwrap();
    assert_eq!(acts(manager), [Action::Kill(place)]);
    manager.emptied(place, now);
    place
}

#[test]
fn each_starts_when_what_it_needs_is_ready() {
    let mut notifies = spec("a", &[]);
    notifies.ready = Some(ReadyWhen::Notify);
    let mut later = spec("c", &[]);
    later.after = vec!["b".into(), "nowhere".into()];
    let mut manager = Manager::new(vec![notifies, spec("b", &["a"]), later]);
    manager.start_all(secs(0));
    assert_eq!(acts(&mut manager), [Action::Start(0)]);
    manager.spawned(0, 10);
    manager.executed(0, secs(0));
    assert_eq!(acts(&mut manager), []);
    manager.notified(0, &ready(), secs(1));
    run(&mut manager, 1, 11, secs(1));
    assert!(!manager.is_settled());
    run(&mut manager, 2, 12, secs(1));
    assert!(manager.is_settled());
    assert_eq!(states(&manager), [ServiceState::Ready; 3]);
}

#[test]
fn back_off_doubles_and_then_it_is_given_up() {
    let mut spec = spec("a", &[]);
    spec.give_up = GiveUp { starts: 4, within_s: Seconds::from_millis(100_000) };
    let mut manager = Manager::new(vec![spec, self::spec("b", &["a"])]);
    let mut now = secs(0);
    manager.start_all(now);
    for (pid, wait) in [(10, 500), (11, 1000), (12, 2000), (13, 4000)] {
        assert_eq!(acts(&mut manager).first(), Some(&Action::Start(0)));
        manager.spawned(0, pid);
        end(&mut manager, pid, Ended::Exit(1), now);
        assert_eq!(states(&manager)[0], ServiceState::BackOff);
        assert_eq!(manager.deadline(), Some(now + ms(wait)));
        manager.tick(now + ms(wait) - ms(1));
        assert_eq!(acts(&mut manager), []);
        now += ms(wait);
        manager.tick(now);
    }
    assert_eq!(acts(&mut manager), []);
    assert_eq!(states(&manager), [ServiceState::Failed, ServiceState::Waiting]);
    assert_eq!(manager.blocked_by(1), Some("a"));
    assert!(manager.is_settled());
    let end = manager.units()[0].last_end().unwrap();
    assert_eq!(end, "ended with status 1; given up: 4 starts within 100s");
    // A request begins anew.
    manager.start(0, now);
    run(&mut manager, 0, 20, now);
    run(&mut manager, 1, 21, now);
}

#[test]
fn restart_rules() {
    use Restart::{Always, Never, OnFailure};
    for (kind, rule, status, expected) in [
        (Kind::Daemon, Always, 0, ServiceState::BackOff),
        (Kind::Daemon, Always, 1, ServiceState::BackOff),
        (Kind::Daemon, OnFailure, 0, ServiceState::Done),
        (Kind::Daemon, OnFailure, 1, ServiceState::BackOff),
        (Kind::Daemon, Never, 0, ServiceState::Done),
        (Kind::Daemon, Never, 1, ServiceState::Failed),
        (Kind::Oneshot, OnFailure, 0, ServiceState::Done),
        (Kind::Oneshot, OnFailure, 1, ServiceState::BackOff),
        (Kind::Oneshot, Never, 0, ServiceState::Done),
        (Kind::Oneshot, Never, 1, ServiceState::Failed),
    ] {
        let mut spec = spec("a", &[]);
        (spec.kind, spec.restart) = (kind, Some(rule));
        let mut manager = Manager::new(vec![spec]);
        manager.start_all(secs(0));
        run(&mut manager, 0, 10, secs(0));
        end(&mut manager, 10, Ended::Exit(status), secs(1));
        assert_eq!(states(&manager), [expected], "{kind:?} {rule:?} {status}");
    }
}

#[test]
fn a_oneshot_is_ready_when_it_has_ended_well() {
    let mut first = spec("a", &[]);
    first.kind = Kind::Oneshot;
    let mut manager = Manager::new(vec![first, spec("b", &["a"])]);
    manager.start_all(secs(0));
    run(&mut manager, 0, 10, secs(0));
    assert_eq!(states(&manager), [ServiceState::Starting, ServiceState::Waiting]);
    end(&mut manager, 10, Ended::Exit(0), secs(1));
    run(&mut manager, 1, 11, secs(1));
}

#[test]
fn deadlines_kill() {
    let mut spec = spec("a", &[]);
    spec.ready = Some(ReadyWhen::Notify);
    spec.watchdog_s = Some(Seconds::from_millis(2000));
    let mut manager = Manager::new(vec![spec]);
    manager.start_all(secs(0));
    run(&mut manager, 0, 10, secs(0));
    manager.tick(secs(10));
    assert_eq!(acts(&mut manager), [Action::Kill(0)]);
    manager.exited(10, Ended::Signal(9), secs(10));
    manager.emptied(0, secs(10));
    assert_eq!(manager.units()[0].last_end(), Some("was not ready within 10s"));
    manager.tick(ms(10_500));
    run(&mut manager, 0, 11, ms(10_500));
    manager.notified(0, &ready(), secs(11));
    manager.notified(0, &Notice { is_alive: true, ..Notice::default() }, secs(12));
    assert_eq!(manager.deadline(), Some(secs(14)));
    manager.tick(secs(14));
    assert_eq!(acts(&mut manager), [Action::Kill(0)]);
    // Empty before the end of its main process was read: nothing changes when that comes.
    manager.emptied(0, secs(14));
    assert_eq!(manager.exited(11, Ended::Signal(9), secs(14)), None);
    assert_eq!(states(&manager), [ServiceState::BackOff]);
}

#[test]
fn a_stop_takes_what_needs_it_first_and_is_no_failure() {
    let mut manager = Manager::new(vec![spec("a", &[]), spec("b", &["a"]), spec("c", &[])]);
    manager.start_all(secs(0));
    manager.take_actions();
    for (place, pid) in [(0, 10), (2, 12)] {
        manager.spawned(place, pid);
        manager.executed(place, secs(0));
    }
    run(&mut manager, 1, 11, secs(0));
    manager.stop(0, secs(1));
    assert_eq!(acts(&mut manager), [Action::Terminate(1)]);
    end(&mut manager, 11, Ended::Signal(15), secs(1));
    assert_eq!(acts(&mut manager), [Action::Terminate(0)]);
    // It ignores SIGTERM.
    manager.tick(secs(11));
    assert_eq!(acts(&mut manager), [Action::Kill(0)]);
    manager.exited(10, Ended::Signal(9), secs(11));
    manager.emptied(0, secs(11));
    assert_eq!(states(&manager), [ServiceState::Stopped, ServiceState::Stopped, ServiceState::Ready]);
    assert_eq!(manager.units()[0].last_end(), Some("stopped on request"));
    manager.tick(secs(1000));
    assert_eq!(acts(&mut manager), []);
    // Starting one starts what it needs.
    manager.start(1, secs(1000));
    run(&mut manager, 0, 20, secs(1000));
    run(&mut manager, 1, 21, secs(1000));
    manager.restart(0, secs(1001));
    assert_eq!(acts(&mut manager), [Action::Terminate(0)]);
    end(&mut manager, 20, Ended::Signal(15), secs(1001));
    run(&mut manager, 0, 22, secs(1001));
    assert_eq!(states(&manager), [ServiceState::Ready; 3]);
}

#[test]
fn the_end_may_take_as_long_as_the_longest_chain() {
    let with = |name: &str, needs: &[&str], stop: u64| {
        let mut spec = spec(name, needs);
        spec.stop_timeout_s = Seconds::from_millis(stop * 1000);
        spec
    };
    let mut kubelet = with("kubelet", &["runtime"], 120);
    kubelet.after = vec!["network".into()];
    let all =
        vec![with("network", &[], 10), with("runtime", &[], 20), kubelet, with("other", &["network"], 30)];
    let mut manager = Manager::new(all);
    assert_eq!(manager.longest_stop(), secs(0));
    manager.start(0, secs(0));
    run(&mut manager, 0, 10, secs(0));
    manager.start(3, secs(0));
    run(&mut manager, 3, 13, secs(0));
    assert_eq!(manager.longest_stop(), secs(40));
    manager.start(1, secs(0));
    run(&mut manager, 1, 11, secs(0));
    manager.start(2, secs(0));
    run(&mut manager, 2, 12, secs(0));
    assert_eq!(manager.longest_stop(), secs(140));
    // Pods end while there is a network and a runtime, and for as long as it takes.
    manager.stop_all(secs(1));
    assert_eq!(acts(&mut manager), [Action::Terminate(2), Action::Terminate(3)]);
    end(&mut manager, 13, Ended::Exit(0), secs(2));
    manager.tick(secs(120));
    assert_eq!(acts(&mut manager), []);
    end(&mut manager, 12, Ended::Exit(0), secs(120));
    assert_eq!(acts(&mut manager), [Action::Terminate(0), Action::Terminate(1)]);
}

#[test]
fn at_the_end_everything_stops_in_reverse_and_nothing_starts() {
    let mut last = spec("c", &[]);
    last.after = vec!["b".into()];
    let mut manager = Manager::new(vec![spec("a", &[]), spec("b", &["a"]), last]);
    manager.start_all(secs(0));
    for place in 0..3 {
        run(&mut manager, place, 10 + u32::try_from(place).unwrap(), secs(0));
    }
    manager.stop_all(secs(1));
    for place in [2, 1, 0] {
        assert_eq!(acts(&mut manager), [Action::Terminate(place)]);
        end(&mut manager, 10 + u32::try_from(place).unwrap(), Ended::Exit(0), secs(1));
    }
    assert!(manager.is_stopped());
    manager.start(0, secs(2));
    manager.start_all(secs(2));
    assert_eq!(acts(&mut manager), []);
}

/// Services as the kernel might have them, for a random walk: how many main processes each has, and whether its cgroup
/// holds others.
#[test]
fn never_two_main_processes() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..200 {
        let mut specs = vec![spec("a", &[]), spec("b", &["a"]), spec("c", &["b"]), spec("d", &[])];
        specs[1].ready = Some(ReadyWhen::Notify);
        specs[3].kind = Kind::Oneshot;
        specs[3].restart = Some(Restart::OnFailure);
        let mut manager = Manager::new(specs);
        let mut mains: [Option<u32>; 4] = [None; 4];
        let (mut next_pid, mut now) = (100, secs(0));
        manager.start_all(now);
        for _ in 0..300 {
            for action in manager.take_actions() {
                match action {
                    Action::Start(place) => {
                        assert_eq!(mains[place], None, "two main processes");
                        if random(10) == 0 {
                            manager.not_spawned(place, "no memory", now);
                        } else {
                            next_pid += 1;
                            mains[place] = Some(next_pid);
                            manager.spawned(place, next_pid);
                        }
                    }
                    Action::Terminate(_) | Action::Kill(_) | Action::Note(..) => {}
                }
            }
            let place = usize::try_from(random(4)).unwrap();
            now += ms(random(3000));
            match random(9) {
                0 | 1 => {
                    if let Some(pid) = mains[place].take() {
                        let status = i32::try_from(random(2)).unwrap();
                        manager.exited(pid, Ended::Exit(status), now);
                    }
                }
                2 | 3 => {
                    // What is left of a service goes some time after its main process.
                    if mains[place].is_none() && manager.draining().any(|draining| draining == place) {
                        manager.emptied(place, now);
                    }
                }
                4 => manager.executed(place, now),
                5 => manager.notified(place, &ready(), now),
                6 => manager.start(place, now),
                7 => manager.stop(place, now),
                _ => manager.restart(place, now),
            }
            manager.tick(now);
        }
    }
}

#[test]
fn the_ready_line_waits_for_a_renewed_service() {
    let mut manager = Manager::new(vec![spec("a", &[])]);
    manager.start_all(secs(0));
    run(&mut manager, 0, 10, secs(0));
    assert!(manager.is_settled());
    manager.renew(0, secs(1));
    assert!(!manager.is_settled());
    assert_eq!(acts(&mut manager), [Action::Terminate(0)]);
    end(&mut manager, 10, Ended::Exit(0), secs(1));
    assert!(!manager.is_settled());
    run(&mut manager, 0, 11, secs(1));
    assert!(manager.is_settled());
    assert_eq!(states(&manager), [ServiceState::Ready]);
}

#[test]
fn other_descriptions_keep_what_runs() {
    let mut manager = Manager::new(vec![spec("a", &[]), spec("b", &[])]);
    manager.start_all(secs(0));
    assert_eq!(acts(&mut manager), [Action::Start(0), Action::Start(1)]);
    manager.spawned(0, 10);
    manager.executed(0, secs(0));
    manager.spawned(1, 11);
    manager.executed(1, secs(0));
    manager.set_specs(vec![spec("c", &[]), spec("b", &["c"]), spec("a", &[])], secs(1));
    assert_eq!(acts(&mut manager), []);
    assert_eq!(manager.units().iter().map(Unit::pid).collect::<Vec<_>>(), [None, Some(11), Some(10)]);
    // What is gone stays known until it has stopped.
    manager.stop(2, secs(1));
    assert_eq!(acts(&mut manager), [Action::Terminate(2)]);
    manager.start(0, secs(1));
    run(&mut manager, 0, 12, secs(1));
    assert_eq!(end(&mut manager, 10, Ended::Exit(0), secs(1)), 2);
    assert_eq!(states(&manager), [ServiceState::Ready, ServiceState::Ready, ServiceState::Stopped]);
}

#[test]
fn every_change_of_a_state_is_told_once() {
    let mut manager = Manager::new(vec![spec("a", &[])]);
    let told = |manager: &mut Manager| {
        let changes = manager.take_changes();
        changes.iter().map(|it| (it.at.as_secs(), it.before, it.state, it.starts)).collect::<Vec<_>>()
    };
    let (waiting, starting, up) = (ServiceState::Waiting, ServiceState::Starting, ServiceState::Ready);
    let (back_off, stopping, stopped) =
        (ServiceState::BackOff, ServiceState::Stopping, ServiceState::Stopped);
    manager.start_all(secs(1));
    run(&mut manager, 0, 10, secs(2));
    manager.tick(secs(3));
    assert_eq!(
        told(&mut manager),
        [(1, Some(stopped), waiting, 0), (1, Some(waiting), starting, 1), (2, Some(starting), up, 1)]
    );
    // It is in the same state again at the end, and a look from time to time would not have seen more than a count.
    end(&mut manager, 10, Ended::Exit(1), secs(4));
    manager.tick(secs(5));
    run(&mut manager, 0, 11, secs(5));
    assert_eq!(
        told(&mut manager),
        [
            (4, Some(up), back_off, 1),
            (5, Some(back_off), waiting, 1),
            (5, Some(waiting), starting, 2),
            (5, Some(starting), up, 2)
        ]
    );
    manager.stop(0, secs(6));
    assert_eq!(acts(&mut manager), [Action::Terminate(0)]);
    manager.exited(11, Ended::Exit(0), secs(7));
    // Wanted again while something of it is left.
    manager.start(0, secs(8));
    assert_eq!(acts(&mut manager), [Action::Kill(0)]);
    manager.emptied(0, secs(9));
    assert_eq!(
        told(&mut manager),
        [
            (6, Some(up), stopping, 2),
            (8, Some(stopping), back_off, 2),
            (9, Some(back_off), waiting, 2),
            (9, Some(waiting), starting, 3)
        ]
    );
    manager.set_specs(vec![spec("a", &[]), spec("b", &[])], secs(10));
    assert_eq!(told(&mut manager), [(10, None, stopped, 0)]);
}
