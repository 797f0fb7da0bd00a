//! What containers and pods use, read from their cgroups, snapshots and network namespaces.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use lepton_cri::v1::{
    ContainerAttributes, ContainerStats, CpuUsage, FilesystemIdentifier, FilesystemUsage, IoUsage,
    LinuxPodSandboxStats, MemoryUsage, NetworkInterfaceUsage, NetworkUsage, PodSandboxAttributes,
    PodSandboxStats, ProcessUsage, PsiData, PsiStats, SwapUsage, UInt64Value,
};
use lepton_runtime_shim::time;

use crate::cgroup;
use crate::container::{Container, Life};
use crate::runtime::Runtime;
use crate::sandbox::Sandbox;

/// The last reading of processor time, to tell what is used now.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<BTreeMap<String, (i64, u64, u64)>>);

impl Samples {
    /// Nanoseconds of processor time per second since the last reading; with two readings at the same moment, the rate
    /// that was told before.
    fn rate(&self, id: &str, at: i64, usage: u64) -> Option<u64> {
        let mut samples = self.0.lock().expect("no holder panics");
        let rate = match samples.get(id) {
            Some((before, used, _)) if at > *before => {
                let passed = u128::try_from(at - before).ok()?;
                let used = u128::from(usage.saturating_sub(*used));
                u64::try_from(used * 1_000_000_000 / passed).ok()
            }
            Some((_, _, rate)) => return Some(*rate),
            None => None,
        };
        samples.insert(id.to_owned(), (at, usage, rate.unwrap_or(0)));
        rate
    }

    /// There will be no more readings.
    pub(crate) fn forget(&self, id: &str) {
        self.0.lock().expect("no holder panics").remove(id);
    }
}

fn value(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

impl Runtime {
    /// What a container uses.
    pub(crate) async fn container_stats(&self, container: &Container) -> ContainerStats {
        let record = container.record();
        let config = container.config();
        let now = time::now_ns();
        let disk = self.images.usage(&record.id).await.ok();
        let mountpoint = self.settings.images.root.display().to_string();
        let runs = container.life() == Life::Running;
        let cgroup = &record.cgroup;
        ContainerStats {
            attributes: Some(ContainerAttributes {
                id: record.id.clone(),
                metadata: Some(container.metadata()),
                labels: config.labels,
                annotations: config.annotations,
            }),
            cpu: runs.then(|| self.cpu(&record.id, cgroup, now)),
            memory: runs.then(|| memory(cgroup, now)).flatten(),
            swap: runs.then(|| swap(cgroup, now)),
            io: runs.then(|| IoUsage { timestamp: now, psi: pressure(cgroup, "io.pressure") }),
            writable_layer: disk.map(|disk| FilesystemUsage {
                timestamp: now,
                fs_id: Some(FilesystemIdentifier { mountpoint }),
                used_bytes: value(disk.bytes),
                inodes_used: value(disk.inodes),
            }),
        }
    }

    /// What a pod uses.
    pub(crate) async fn sandbox_stats(&self, sandbox: &Sandbox) -> PodSandboxStats {
        let id = sandbox.id();
        let now = time::now_ns();
        let cgroup = sandbox.cgroup();
        let mut containers = Vec::new();
        for container in self.containers_of(&id) {
            if container.life() == Life::Running {
                containers.push(self.container_stats(&container).await);
            }
        }
        let processes = cgroup::number(&cgroup, "pids.current").unwrap_or(0);
        PodSandboxStats {
            attributes: Some(PodSandboxAttributes {
                id: id.clone(),
                metadata: Some(sandbox.metadata()),
                labels: sandbox.labels(),
                annotations: sandbox.config.annotations.clone(),
            }),
            linux: Some(LinuxPodSandboxStats {
                cpu: Some(self.cpu(&id, &cgroup, now)),
                memory: memory(&cgroup, now),
                network: self.network(&id, now).await,
                process: Some(ProcessUsage { timestamp: now, process_count: value(processes) }),
                containers,
                io: Some(IoUsage { timestamp: now, psi: pressure(&cgroup, "io.pressure") }),
            }),
            windows: None,
        }
    }

    fn cpu(&self, id: &str, cgroup: &Path, now: i64) -> CpuUsage {
        let usage = cgroup::keyed(cgroup, "cpu.stat", "usage_usec").unwrap_or(0) * 1000;
        CpuUsage {
            timestamp: now,
            usage_core_nano_seconds: value(usage),
            usage_nano_cores: self.samples.rate(id, now, usage).and_then(value),
            psi: pressure(cgroup, "cpu.pressure"),
        }
    }

    /// Counters of the pod's interfaces: those of its network namespace, through the shim's or a container's `/proc`.
    async fn network(&self, id: &str, now: i64) -> Option<NetworkUsage> {
        let containers = self.shim(id).containers().await.ok()?;
        let pid = containers.iter().find(|container| container.exit.is_none())?.pid;
        let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
        let mut interfaces = interfaces(&text);
        let place = interfaces.iter().position(|interface| interface.name == "eth0");
        let default_interface = place.map(|place| interfaces.remove(place));
        Some(NetworkUsage { timestamp: now, default_interface, interfaces })
    }
}

/// The table of `/proc/net/dev`, without the loopback.
fn interfaces(table: &str) -> Vec<NetworkInterfaceUsage> {
    table
        .lines()
        .filter_map(|line| {
            let (name, numbers) = line.split_once(':')?;
            let numbers: Vec<u64> =
                numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            let at = |place: usize| numbers.get(place).copied().and_then(value);
            let name = name.trim().to_owned();
            (name != "lo").then(|| NetworkInterfaceUsage {
                name,
                rx_bytes: at(0),
                rx_errors: at(2),
                tx_bytes: at(8),
                tx_errors: at(10),
            })
        })
        .collect()
}

/// Nothing where the kernel does not count it.
fn memory(cgroup: &Path, now: i64) -> Option<MemoryUsage> {
    let usage = cgroup::number(cgroup, "memory.current")?;
    let key = |key: &str| cgroup::keyed(cgroup, "memory.stat", key).unwrap_or(0);
    // What can be dropped at once does not count, as kubelet's eviction sees it.
    let working_set = usage.saturating_sub(key("inactive_file"));
    let limit = cgroup::number(cgroup, "memory.max");
    Some(MemoryUsage {
        timestamp: now,
        working_set_bytes: value(working_set),
        available_bytes: limit.and_then(|limit| value(limit.saturating_sub(working_set))),
        usage_bytes: value(usage),
        rss_bytes: value(key("anon")),
        page_faults: value(key("pgfault")),
        major_page_faults: value(key("pgmajfault")),
        psi: pressure(cgroup, "memory.pressure"),
    })
}

fn swap(cgroup: &Path, now: i64) -> SwapUsage {
    let used = cgroup::number(cgroup, "memory.swap.current").unwrap_or(0);
    let limit = cgroup::number(cgroup, "memory.swap.max");
    SwapUsage {
        timestamp: now,
        swap_usage_bytes: value(used),
        swap_available_bytes: limit.and_then(|limit| value(limit.saturating_sub(used))),
    }
}

fn pressure(cgroup: &Path, file: &str) -> Option<PsiStats> {
    let text = fs::read_to_string(cgroup::folder(cgroup).join(file)).ok()?;
    let line = |kind: &str| text.lines().find_map(|line| line.strip_prefix(kind)).map(psi);
    Some(PsiStats { full: line("full "), some: line("some ") })
}

/// `avg10=0.00 avg60=0.00 avg300=0.00 total=0`, where the total is in microseconds.
fn psi(line: &str) -> PsiData {
    let field =
        |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let average = |name: &str| field(name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let total = field("total").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    PsiData {
        total: total * 1000,
        avg10: average("avg10"),
        avg60: average("avg60"),
        avg300: average("avg300"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let table = "Inter-|   Receive\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 1 2 0 0 0 0 0 30 4 5 0 0 0 0 0\n";
        let interfaces = interfaces(table);
        assert_eq!(interfaces.len(), 1);
        assert_eq!(interfaces[0].tx_errors, value(5));
        let data = psi("avg10=1.50 avg60=0.00 avg300=0.25 total=7");
        assert_eq!((data.total, data.avg10, data.avg300), (7000, 1.5, 0.25));
    }

    #[test]
    fn rates_need_two_readings() {
        let samples = Samples::default();
        assert_eq!(samples.rate("a", 1_000_000_000, 5), None);
        assert_eq!(samples.rate("a", 2_000_000_000, 500_000_005), Some(500_000_000));
        assert_eq!(samples.rate("a", 2_000_000_000, 600_000_005), Some(500_000_000));
    }
}
