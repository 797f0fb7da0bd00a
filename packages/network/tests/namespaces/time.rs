//! NTP against chrony. The clock that is set is one of this test; the machine's is only read.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use lepton_network::ntp::{Clock, Ntp, SystemClock};
use lepton_network::random::Random;
use lepton_network::time::now;

use crate::Scenario;
use crate::field::Field;

/// Every scenario of this file.
pub(crate) const ALL: &[Scenario] = &[("ntp_steps_once", ntp_steps_once), ("ntp_slews", ntp_slews)];

const SECOND: i128 = 1_000_000_000;
/// A server of its own, as far away from a reference clock as a home router.
const CHRONY: &str = "local stratum 3\nallow 127.0.0.0/8\ncmdport 0\nbindcmdaddress /\n";

#[derive(Debug, Default)]
struct State {
    offset: i128,
    steps: Vec<i128>,
    frequency: Option<f64>,
}

/// The machine's clock with an error that can be corrected.
#[derive(Clone, Debug, Default)]
struct TestClock(Rc<RefCell<State>>);

impl Clock for TestClock {
    fn now(&self) -> i128 {
        SystemClock::default().now() + self.0.borrow().offset
    }

    fn step(&mut self, offset: i128) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.offset += offset;
        state.steps.push(offset);
        Ok(())
    }

    fn set_frequency(&mut self, parts_per_million: f64) -> io::Result<()> {
        self.0.borrow_mut().frequency = Some(parts_per_million);
        Ok(())
    }
}

/// Runs a client with a clock that is wrong by `offset` until `is_done`.
fn run(field: &mut Field, offset: i128, is_done: impl Fn(&State) -> bool) -> (TestClock, Ntp) {
    field.chronyd(CHRONY);
    let clock = TestClock::default();
    clock.0.borrow_mut().offset = offset;
    let mut ntp = Ntp::new(Box::new(clock.clone()), Random::from_seed(1));
    ntp.set_servers(&["127.0.0.1".to_owned()], now());
    let began = now();
    while !is_done(&clock.0.borrow()) {
        assert!(now() < began + Duration::from_secs(40), "{clock:?} {ntp:?}\n{}", field.read("chronyd.log"));
        ntp.run(now());
        std::thread::sleep(Duration::from_millis(5));
    }
    (clock, ntp)
}

fn ntp_steps_once(field: &mut Field) {
    let (clock, ntp) = run(field, -100 * SECOND, |state| state.frequency.is_some());
    let state = clock.0.borrow();
    assert_eq!(state.steps.len(), 1, "{state:?}");
    assert!((state.steps[0] - 100 * SECOND).abs() < SECOND / 20, "{state:?}");
    assert!(state.offset.abs() < SECOND / 20, "{state:?}");
    let status = ntp.status(now());
    assert_eq!((status.servers, status.answering, status.stratum), (1, 1, Some(3)));
    assert!(status.is_synchronized);
}

fn ntp_slews(field: &mut Field) {
    let (clock, _) = run(field, SECOND / 5, |state| state.frequency.is_some());
    let state = clock.0.borrow();
    assert!(state.steps.is_empty(), "{state:?}");
    assert_eq!(state.frequency, Some(-500.0), "it is slowed down as much as the kernel allows");
}
