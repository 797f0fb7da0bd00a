//! How many SVIDs workloads fetch in a second, and how long one waits for its own. Both agents take turns.

use std::time::Duration;

use crate::contender::Contender;
use crate::crowd::Crowd;
use crate::site::{self, Site};
use crate::workload::Work;
use crate::{quantile, report};

/// Turns of each agent.
const ROUNDS: usize = 7;
/// Workloads that fetch at the same time.
const CLIENTS: usize = 4;
/// Seconds of a turn.
const SECONDS: u64 = 3;
/// Fetches of a turn that are timed one by one.
const TIMED: u64 = 300;

/// Calls both of a round, by turns the one or the other first, so that neither always follows.
fn by_turns(both: &[Contender; 2], mut turn: impl FnMut(usize, &Contender)) {
    for round in 0..ROUNDS {
        for place in [round % 2, (round + 1) % 2] {
            turn(place, &both[place]);
        }
    }
}

/// Fetches of several workloads at a time, and what each costs the agent.
pub(crate) fn rates(site: &Site, both: &[Contender; 2]) {
    let (mut rates, mut calls, mut cpu) = ([const { Vec::new() }; 2], [0; 2], [Duration::ZERO; 2]);
    by_turns(both, |place, agent| {
        let before = agent.cpu();
        let users = site::users().take(CLIENTS);
        let answers = Crowd::start(&site.client, agent.socket(), &Work::Count(SECONDS), users).answers();
        let fetched: u64 = answers.iter().map(|text| text.parse::<u64>().unwrap()).sum();
        rates[place].push(fetched / SECONDS);
        calls[place] += fetched;
        cpu[place] += agent.cpu().saturating_sub(before);
    });
    let rates = rates.map(|mut rates| quantile(&mut rates, 500));
    report(&format!("fetches of X.509-SVIDs, {CLIENTS} workloads at a time"), rates, "a second");
    let costs = [0, 1].map(|place| u64::try_from(cpu[place].as_micros()).unwrap() / calls[place].max(1));
    report("CPU time of the agent for each", costs, "µs");
}

/// Fetches of one workload, one after the other.
pub(crate) fn latencies(site: &Site, both: &[Contender; 2]) {
    let ways = [
        (Work::OneConnection(TIMED), "one fetch, connection open"),
        (Work::NewConnections(TIMED), "one fetch with its connection"),
    ];
    for (work, name) in ways {
        let mut times = [const { Vec::new() }; 2];
        by_turns(both, |place, agent| {
            let users = site::users().skip(CLIENTS).take(1);
            let answers = Crowd::start(&site.client, agent.socket(), &work, users).answers();
            let numbers = answers.iter().flat_map(|text| text.split(' '));
            times[place].extend(numbers.map(|number| number.parse::<u64>().unwrap()));
        });
        for (quantile_name, thousandths) in [("median", 500), ("99th percentile", 990)] {
            let figures = times.each_mut().map(|times| quantile(times, thousandths));
            report(&format!("{name}, {quantile_name}"), figures, "µs");
        }
    }
}
