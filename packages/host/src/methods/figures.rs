//! What the host, services and containers use, over and over.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use lepton_host_api::v1 as api;
use tonic::Status;
use walkdir::WalkDir;

use super::{Answer, Methods, blocking};
use crate::cgroups::{Unit, Usage, units};
use crate::clock;
use crate::feed::{Feed, send};
use crate::places::Places;
use crate::procfs;

/// Between two answers, in milliseconds.
const USUAL: u32 = 2000;
const BOUNDS: std::ops::RangeInclusive<u32> = 200..=60_000;
/// Before the first answer.
const FIRST: Duration = Duration::from_millis(200);

/// All figures of one moment.
#[derive(Debug)]
struct Moment {
    at: Instant,
    cpu: (u64, u64, u32),
    memory: (u64, u64),
    load: ([u32; 3], u64),
    disks: (u64, u64),
    units: BTreeMap<Unit, Usage>,
}

impl Methods {
    pub(super) fn figures(&self, request: &api::TopRequest) -> Answer<Feed<api::TopResponse>> {
        let interval = if request.interval_ms == 0 { USUAL } else { request.interval_ms };
        if !BOUNDS.contains(&interval) {
            let (least, most) = (BOUNDS.start(), BOUNDS.end());
            return Err(Status::invalid_argument(format!("the interval is {least} to {most} ms")));
        }
        let (count, methods) = (request.count, self.clone());
        Ok(Feed::response(move |answers| async move {
            let mut before = methods.moment().await?;
            tokio::time::sleep(FIRST).await;
            let mut ticks = tokio::time::interval(Duration::from_millis(interval.into()));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut sent = 0;
            while count == 0 || sent < count {
                ticks.tick().await;
                let now = methods.moment().await?;
                let names = methods.container_names().await;
                if !send(&answers, compare(&before, &now, &names)).await {
                    break;
                }
                before = now;
                sent += 1;
            }
            Ok(())
        }))
    }

    async fn moment(&self) -> Result<Moment, Status> {
        let places = self.places.clone();
        blocking(move || moment(&places).ok_or_else(|| Status::internal("the host's figures cannot be read")))
            .await
    }
}

fn moment(places: &Places) -> Option<Moment> {
    let read = |name: &str| fs::read_to_string(places.proc.join(name)).ok();
    let memory = read("meminfo")?;
    let total = procfs::meminfo(&memory, "MemTotal")?;
    Some(Moment {
        at: Instant::now(),
        cpu: procfs::cpu(&read("stat")?)?,
        memory: (total, total.saturating_sub(procfs::meminfo(&memory, "MemAvailable")?)),
        load: procfs::load(&read("loadavg")?)?,
        disks: disks(places),
        units: units(&places.sys.join("fs/cgroup")).into_iter().collect(),
    })
}

/// Bytes read and written of devices that are not made of others.
fn disks(places: &Places) -> (u64, u64) {
    let found = WalkDir::new(places.sys.join("block")).min_depth(1).max_depth(1).sort_by_file_name();
    let (mut read, mut written) = (0_u64, 0_u64);
    for entry in found.into_iter().filter_map(Result::ok) {
        // Hardware and virtual hardware has a device; loop, RAM and mapped devices have none.
        if entry.path().join("device").exists()
            && let Some(stat) =
                fs::read_to_string(entry.path().join("stat")).ok().as_deref().and_then(procfs::disk)
        {
            read = read.saturating_add(stat.0);
            written = written.saturating_add(stat.1);
        }
    }
    (read, written)
}

fn compare(before: &Moment, now: &Moment, names: &BTreeMap<String, (String, String)>) -> api::TopResponse {
    let elapsed_us = now.at.duration_since(before.at).as_micros().max(1);
    let rate =
        |before: u64, now: u64| narrow(u128::from(now.saturating_sub(before)) * 1_000_000 / elapsed_us);
    let mut shown: Vec<api::UnitFigures> = Vec::new();
    for (unit, usage) in &now.units {
        // What has begun since then has used all of it since then.
        let earlier = before.units.get(unit).copied().unwrap_or_default();
        let permille = u128::from(usage.cpu_us.saturating_sub(earlier.cpu_us)) * 1000 / elapsed_us;
        let (kind, name, pod, id) = match unit {
            Unit::Service(name) => (api::UnitKind::Service, name.clone(), String::new(), String::new()),
            Unit::Container(id) => {
                let (name, pod) = names.get(id).cloned().unwrap_or_default();
                (api::UnitKind::Container, name, pod, id.clone())
            }
        };
        shown.push(api::UnitFigures {
            kind: kind.into(),
            name,
            pod,
            id,
            cpu_permille: u32::try_from(permille).unwrap_or(u32::MAX),
            cpu_ms: usage.cpu_us / 1000,
            memory_bytes: usage.memory,
            memory_max_bytes: usage.memory_max,
            tasks: usage.tasks,
            read_bytes_per_s: rate(earlier.read, usage.read),
            write_bytes_per_s: rate(earlier.written, usage.written),
        });
    }
    // By name where the share is the same, as they were in that order.
    shown.sort_by_key(|figures| std::cmp::Reverse(figures.cpu_permille));
    let (all, busy) = (now.cpu.0.saturating_sub(before.cpu.0), now.cpu.1.saturating_sub(before.cpu.1));
    let cpu = u64::from(now.cpu.2) * 1000 * busy / all.max(1);
    let host = api::HostFigures {
        processors: now.cpu.2,
        cpu_permille: u32::try_from(cpu).unwrap_or(u32::MAX),
        load_centi: now.load.0.to_vec(),
        memory_total_bytes: now.memory.0,
        memory_used_bytes: now.memory.1,
        read_bytes_per_s: rate(before.disks.0, now.disks.0),
        write_bytes_per_s: rate(before.disks.1, now.disks.1),
        tasks: now.load.1,
    };
    api::TopResponse { time_unix_ms: clock::millis(), host: Some(host), units: shown }
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_are_those_since_before() {
        let at = Instant::now();
        let moment = |seconds, cpu, units: &[(Unit, u64, u64)]| Moment {
            at: at + Duration::from_secs(seconds),
            cpu,
            memory: (100, 40),
            load: ([1, 2, 3], 9),
            disks: (seconds * 1000, 0),
            units: units
                .iter()
                .map(|(unit, cpu_us, read)| {
                    (unit.clone(), Usage { cpu_us: *cpu_us, read: *read, ..Usage::default() })
                })
                .collect(),
        };
        let (web, db) = (Unit::Service("web".into()), Unit::Container("id".into()));
        let before = moment(0, (1000, 100, 2), &[(web.clone(), 1_000_000, 10)]);
        let now = moment(2, (1400, 200, 2), &[(web, 2_000_000, 2010), (db, 3_000_000, 0)]);
        let names = [("id".to_owned(), ("db".to_owned(), "default/db".to_owned()))].into();
        let top = compare(&before, &now, &names);
        let host = top.host.unwrap();
        assert_eq!((host.cpu_permille, host.read_bytes_per_s, host.tasks), (500, 1000, 9));
        let units: Vec<(&str, &str, u32, u64)> =
            top.units.iter().map(|it| (&*it.name, &*it.pod, it.cpu_permille, it.read_bytes_per_s)).collect();
        assert_eq!(units, [("db", "default/db", 1500, 0), ("web", "", 500, 1000)]);
    }
}
