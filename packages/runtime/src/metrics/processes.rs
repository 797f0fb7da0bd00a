//! Metrics of a container's processes, from the lists of its cgroups and from `/proc`. Processes may end while it looks.

use std::fs;
use std::path::Path;

use super::cgroup::{number, text};
use super::series::Series;
use super::table;
use crate::files;

/// Processes and threads of a cgroup and those below it.
#[derive(Debug, Default, PartialEq)]
struct Members {
    processes: Vec<String>,
    threads: u64,
}

/// Counts; the first process is the one whose limits are told.
pub(super) fn add(series: &mut Series, cgroup: &Path, first: Option<u32>) {
    if !cgroup.join("cgroup.procs").exists() {
        // It has just ended.
        return;
    }
    let mut members = Members::default();
    gather(&mut members, cgroup);
    series.add(&table::PROCESSES, u64::try_from(members.processes.len()).ok());
    series.add(&table::THREADS, Some(members.threads));
    let most = match text(cgroup, "pids.max").trim() {
        "max" => Some(0),
        _ => number(cgroup, "pids.max"),
    };
    series.add(&table::THREADS_MAX, most);
    let (mut descriptors, mut sockets) = (0, 0);
    for process in &members.processes {
        let folder = Path::new("/proc").join(process).join("fd");
        for name in files::names(&folder) {
            descriptors += 1;
            let target = fs::read_link(folder.join(name)).unwrap_or_default();
            sockets += u64::from(target.to_str().is_some_and(|target| target.starts_with("socket:")));
        }
    }
    series.add(&table::DESCRIPTORS, Some(descriptors));
    series.add(&table::SOCKETS, Some(sockets));
    let limits = first.map(|first| text(Path::new("/proc"), &format!("{first}/limits"))).unwrap_or_default();
    series.add_with(&table::SOFT_LIMITS, &["max_open_files"], open_files(&limits));
}

fn gather(members: &mut Members, cgroup: &Path) {
    members.processes.extend(text(cgroup, "cgroup.procs").lines().map(str::to_owned));
    members.threads += u64::try_from(text(cgroup, "cgroup.threads").lines().count()).unwrap_or(0);
    for name in files::names(cgroup) {
        let below = cgroup.join(name);
        if below.is_dir() {
            gather(members, &below);
        }
    }
}

/// The soft limit of a line `Max open files            1024                 524288               files`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_the_kernel_shows_them() {
        let shown = "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 524288               files     \n";
        assert_eq!(open_files(shown), Some(1024));
        assert_eq!(
            open_files("Max open files            unlimited            unlimited            files \n"),
            None
        );
        assert_eq!(open_files(""), None);
    }

    #[test]
    fn those_below_count() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        fs::write(folder.path().join("cgroup.procs"), "1\n2\n").unwrap();
        fs::write(folder.path().join("cgroup.threads"), "1\n2\n3\n").unwrap();
        fs::write(below.join("cgroup.procs"), "4\n").unwrap();
        fs::write(below.join("cgroup.threads"), "4\n").unwrap();
        let mut members = Members::default();
        gather(&mut members, folder.path());
        assert_eq!(members, Members { processes: ["1", "2", "4"].map(str::to_owned).to_vec(), threads: 4 });
    }

    #[test]
    fn descriptors_of_this_process() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::process::id();
        fs::write(folder.path().join("cgroup.procs"), format!("{own}\n")).unwrap();
        let count = |series: &Series, family| series.of(family).first().map_or(0, |(_, value)| *value);
        let mut before = Series::new(Vec::new());
        add(&mut before, folder.path(), Some(own));
        assert!(count(&before, &table::DESCRIPTORS) > 2);
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut after = Series::new(Vec::new());
        add(&mut after, folder.path(), Some(own));
        assert!(count(&after, &table::SOCKETS) >= 1, "{held:?}");
    }
}
