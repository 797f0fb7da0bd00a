//! Cgroups of containers: made, limited, read and removed (cgroup v2 alone). Paths are from the root of the hierarchy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lepton_cri::v1::LinuxContainerResources;

use crate::error::{Context as _, Failure, Result};

/// Where the hierarchy is mounted.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";
/// Controllers that containers use, if the kernel has them.
const CONTROLLERS: [&str; 7] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
/// The kernel's own accounting period for `cpu.max`, in microseconds.
const PERIOD_US: i64 = 100_000;

/// The folder of a cgroup.
pub(crate) fn folder(cgroup: &Path) -> PathBuf {
    Path::new(ROOT).join(cgroup.strip_prefix("/").unwrap_or(cgroup))
}

/// Makes a cgroup whose parents pass every controller on.
pub(crate) fn make(cgroup: &Path) -> Result<()> {
    let mut at = PathBuf::from(ROOT);
    for part in cgroup.strip_prefix("/").unwrap_or(cgroup).components() {
        pass_on(&at)?;
        at.push(part);
        match fs::create_dir(&at) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).or_cannot(format!("make the cgroup {}", at.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Lets the children of a cgroup have the controllers that it has.
fn pass_on(folder: &Path) -> Result<()> {
    let read = |name: &str| fs::read_to_string(folder.join(name));
    let there = read("cgroup.controllers").or_cannot("read the controllers: is cgroup v2 mounted?")?;
    let passed = read("cgroup.subtree_control").or_cannot("read the controllers")?;
    let missing: Vec<&str> = CONTROLLERS
        .into_iter()
        .filter(|name| there.split_whitespace().any(|word| word == *name))
        .filter(|name| !passed.split_whitespace().any(|word| word == *name))
        .collect();
    for name in missing {
        fs::write(folder.join("cgroup.subtree_control"), format!("+{name}"))
            .or_cannot(format!("pass controller {name} on in {}", folder.display()))?;
    }
    Ok(())
}

/// Sets what a container may use; what is not named stays as it is.
pub(crate) fn limit(cgroup: &Path, resources: &LinuxContainerResources) -> Result<()> {
    let folder = folder(cgroup);
    for (file, value) in values(resources)? {
        let path = folder.join(&file);
        if !path.exists() {
            return Err(Failure::precondition(format!(
                "cannot set {file}: the kernel has no such controller"
            )));
        }
        fs::write(&path, &value).or_cannot(format!("set {file} to {value}"))?;
    }
    Ok(())
}

/// The files and what goes into them.
fn values(resources: &LinuxContainerResources) -> Result<Vec<(String, String)>> {
    let mut values = Vec::new();
    let mut set = |file: &str, value: String| values.push((file.to_owned(), value));
    if resources.cpu_shares > 0 {
        set("cpu.weight", weight(resources.cpu_shares).to_string());
    }
    if resources.cpu_quota != 0 || resources.cpu_period > 0 {
        let period = if resources.cpu_period > 0 { resources.cpu_period } else { PERIOD_US };
        let quota = if resources.cpu_quota > 0 { resources.cpu_quota.to_string() } else { "max".to_owned() };
        set("cpu.max", format!("{quota} {period}"));
    }
    if !resources.cpuset_cpus.is_empty() {
        set("cpuset.cpus", resources.cpuset_cpus.clone());
    }
    if !resources.cpuset_mems.is_empty() {
        set("cpuset.mems", resources.cpuset_mems.clone());
    }
    let memory = resources.memory_limit_in_bytes;
    if memory != 0 {
        set("memory.max", if memory > 0 { memory.to_string() } else { "max".to_owned() });
    }
    let swap = resources.memory_swap_limit_in_bytes;
    if swap != 0 && memory > 0 {
        // CRI counts memory and swap together, the kernel swap alone.
        let alone = if swap < 0 { "max".to_owned() } else { (swap - memory).max(0).to_string() };
        set("memory.swap.max", alone);
    }
    for page in &resources.hugepage_limits {
        set(&format!("hugetlb.{}.max", page.page_size), page.limit.to_string());
    }
    for (file, value) in &resources.unified {
        if file.contains('/') || file.is_empty() {
            return Err(Failure::invalid(format!("{file:?} is no file of a cgroup")));
        }
        set(file, value.clone());
    }
    Ok(values)
}

/// Shares of cgroup v1 (2 to 262144) as weight of v2 (1 to 10000), so that 1024 becomes 100: runc's and crun's formula,
/// which kubelet uses for its own cgroups.
pub(crate) fn weight(shares: i64) -> u64 {
    let shares = shares.clamp(2, 262_144) as f64;
    let log = shares.log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, reason = "between 1 and 10000")]
    let weight = (10_f64.powf(exponent) - ROUNDING).ceil() as u64;
    weight.clamp(1, 10_000)
}

/// What a C library's powers may be off by, so that 100 stays 100.
const ROUNDING: f64 = 1e-9;

/// How long processes of a cgroup may take to be gone, and the first pause between two looks.
const LONGEST: Duration = Duration::from_secs(2);
const SHORTEST: Duration = Duration::from_millis(1);

/// Kills everything in a cgroup and removes it with those below; what is dying still is waited for a little.
pub(crate) async fn remove(cgroup: &Path) -> Result<()> {
    let folder = folder(cgroup);
    if !folder.exists() {
        return Ok(());
    }
    let _ = fs::write(folder.join("cgroup.kill"), "1");
    let begin = Instant::now();
    let mut pause = SHORTEST;
    while begin.elapsed() < LONGEST {
        if remove_folder(&folder) {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SHORTEST * 8);
    }
    Err(Failure::internal(format!(
        "cannot remove the cgroup {}: processes in it do not end",
        folder.display()
    )))
}

fn remove_folder(folder: &Path) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the order of removal does not show")]
    let below = fs::read_dir(folder);
    for entry in below.into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_folder(&entry.path());
        }
    }
    match fs::remove_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// A number of a cgroup.
pub(crate) fn number(cgroup: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder(cgroup).join(file)).ok()?.trim().parse().ok()
}

/// A line `KEY NUMBER` of a cgroup's file.
pub(crate) fn keyed(cgroup: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(folder(cgroup).join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weight() {
        assert_eq!(weight(2), 1);
        assert_eq!(weight(1024), 100);
        assert_eq!(weight(262_144), 10_000);
        assert_eq!(weight(0), 1);
    }

    #[test]
    fn limits_as_the_kernel_takes_them() {
        let resources = LinuxContainerResources {
            cpu_period: 50_000,
            cpu_quota: 25_000,
            memory_limit_in_bytes: 1000,
            memory_swap_limit_in_bytes: 1500,
            unified: [("memory.high".to_owned(), "900".to_owned())].into(),
            ..LinuxContainerResources::default()
        };
        let values = values(&resources).unwrap();
        let lines: Vec<String> = values.iter().map(|(file, value)| format!("{file} {value}")).collect();
        assert_eq!(
            lines,
            ["cpu.max 25000 50000", "memory.max 1000", "memory.swap.max 500", "memory.high 900"]
        );
        let escape = [("../cgroup.procs".to_owned(), "1".to_owned())].into();
        let bad = LinuxContainerResources { unified: escape, ..LinuxContainerResources::default() };
        assert!(super::values(&bad).is_err());
    }
}
