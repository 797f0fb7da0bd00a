//! A thousand workloads with open streams, whose SVIDs are all made anew at about half their life: whether any was without a
//! good one, and how long it took.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::contender::{Contender, Make};
use crate::crowd::{Crowd, Update};
use crate::report;
use crate::site::{self, RELOAD, Site};
use crate::workload::Work;

/// Long enough that all streams are open before the first SVID is due, also on a busy machine.
const TTL_S: u32 = 240;

/// What a rotation was like.
struct Rotation {
    /// From the first update to the last.
    spread: Duration,
    /// The least time that an SVID was still good for when the next one came.
    margin: Duration,
    /// Workloads that had none for a while, or lost their stream.
    gaps: u64,
    cpu: Duration,
}

/// Both, one after the other: their times are the same, so that both at a time would be at each other's expense.
pub(crate) fn compare(site: &Site) {
    let rotations = [Make::Lepton, Make::Spire].map(|make| rotate(site, make));
    let of = |figure: fn(&Rotation) -> u64| rotations.each_ref().map(figure);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    report("rotation of 1000, workloads with a gap", of(|it| it.gaps), "workloads");
    report("  first to last update", rotations.each_ref().map(|it| millis(it.spread)), "ms");
    report(
        "  least time that an old SVID was good still",
        rotations.each_ref().map(|it| millis(it.margin)),
        "ms",
    );
    report("  CPU time of the agent", rotations.each_ref().map(|it| millis(it.cpu)), "ms");
}

fn rotate(site: &Site, make: Make) -> Rotation {
    let mut agent = site.contender(make, "rotation", TTL_S);
    site.entries(&agent);
    thread::sleep(RELOAD);
    // They are there before the agent: starting a thousand processes may take longer than half the life of an SVID.
    let crowd = Crowd::start(&site.client, agent.socket(), &Work::Hold, site::users());
    agent.start();
    let first = crowd.first_updates();
    watch(&agent, &crowd, first)
}

fn watch(agent: &Contender, crowd: &Crowd, mut held: BTreeMap<u32, Update>) -> Rotation {
    let before = agent.cpu();
    let deadline = Instant::now() + Duration::from_secs(TTL_S.into());
    let mut updated: BTreeMap<u32, u64> = BTreeMap::new();
    let (mut gaps, mut margin_us) = (0, u64::MAX);
    while updated.len() < held.len() {
        match crowd.update(deadline) {
            Some(Ok(update)) => {
                let old = held.insert(update.user, update).unwrap();
                let end_us = old.until_s * 1_000_000;
                gaps += u64::from(update.at_us > end_us);
                margin_us = margin_us.min(end_us.saturating_sub(update.at_us));
                updated.entry(update.user).or_insert(update.at_us);
            }
            Some(Err(line)) => {
                eprintln!("{line}");
                gaps += 1;
            }
            // Whoever has none by now has one that has expired.
            None => break,
        }
    }
    gaps += u64::try_from(held.len() - updated.len()).unwrap();
    let (first, last) = (updated.values().min(), updated.values().max());
    let spread_us = last.zip(first).map_or(0, |(last, first)| last - first);
    Rotation {
        spread: Duration::from_micros(spread_us),
        margin: Duration::from_micros(if updated.is_empty() { 0 } else { margin_us }),
        gaps,
        cpu: agent.cpu().saturating_sub(before),
    }
}
