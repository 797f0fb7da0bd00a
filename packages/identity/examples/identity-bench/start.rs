//! From the start of an agent to the first SVID of a workload that waits for it.

use std::thread;
use std::time::{Duration, Instant};

use crate::contender::{Contender, Make};
use crate::crowd::Crowd;
use crate::site::{self, RELOAD, Site};
use crate::workload::{Work, now};
use crate::{LONG_S, SETTLE, quantile, report};

/// Starts of each agent.
const ROUNDS: usize = 5;
/// How long a client gets to begin to wait.
const READY: Duration = Duration::from_millis(500);

/// Starts an agent, for which a workload waits already; microseconds until that has its SVID.
fn timed(site: &Site, agent: &mut Contender, user: u32) -> u64 {
    let crowd = Crowd::start(&site.client, agent.socket(), &Work::First, std::iter::once(user));
    thread::sleep(READY);
    let (begin, limit) = (now(), Instant::now() + Duration::from_secs(120));
    agent.start();
    let line = crowd.next(limit).unwrap_or_else(|| panic!("no SVID:\n{}", agent.log()));
    let at = Duration::from_micros(line.parse().unwrap());
    u64::try_from(at.saturating_sub(begin).as_micros()).unwrap()
}

/// The first start of a host, which joins.
pub(crate) fn first(site: &Site) {
    let mut times = [const { Vec::new() }; 2];
    for round in 0..ROUNDS {
        for (place, make) in [Make::Lepton, Make::Spire].into_iter().enumerate() {
            let mut agent = site.contender(make, &format!("first-{round}"), LONG_S);
            let user = site::users().start;
            site.entries_of(&agent, user..user + 1);
            // The entry is of before the start.
            thread::sleep(RELOAD);
            times[place].push(timed(site, &mut agent, user));
        }
    }
    report("first start (it joins) to the first SVID, median", millis(times), "ms");
}

/// A restart of a host that has a thousand workloads.
pub(crate) fn again(site: &Site, both: &mut [Contender; 2]) {
    let mut times = [const { Vec::new() }; 2];
    for round in 0..ROUNDS {
        for (place, agent) in both.iter_mut().enumerate() {
            agent.stop();
            // Another workload each time: one agent makes their SVIDs anew, some of them later than others.
            let user = site::users().nth(round * 1000 / ROUNDS).unwrap();
            times[place].push(timed(site, agent, user));
            thread::sleep(SETTLE);
        }
    }
    report("restart with 1000 entries to a workload's SVID, median", millis(times), "ms");
}

fn millis(times: [Vec<u64>; 2]) -> [u64; 2] {
    times.map(|mut times| quantile(&mut times, 500).div_ceil(1000))
}
