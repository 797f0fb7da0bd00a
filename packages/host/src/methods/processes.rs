//! All processes, from proc(5).

use std::fs;
use std::path::Path;

use lepton_host_api::v1 as api;
use tonic::Status;
use walkdir::WalkDir;

use super::{Methods, blocking};
use crate::clock;
use crate::procfs::{self, Stat, TICKS};

/// Longest command line that is shown, in bytes.
const LONGEST: usize = 4096;

impl Methods {
    pub(super) async fn all_processes(&self) -> Result<api::ProcessesResponse, Status> {
        let proc = self.places.proc.clone();
        blocking(move || Ok(api::ProcessesResponse { processes: processes(&proc) })).await
    }
}

/// Process IDs, in ascending order.
pub(super) fn pids(proc: &Path) -> Vec<u32> {
    let found = WalkDir::new(proc).min_depth(1).max_depth(1).into_iter().filter_map(Result::ok);
    let mut pids: Vec<u32> = found.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

fn processes(proc: &Path) -> Vec<api::Process> {
    let (page, boot) = (rustix::param::page_size() as u64, clock::boot_ms());
    // One that has ended meanwhile is left out.
    pids(proc).into_iter().filter_map(|pid| process(&proc.join(pid.to_string()), pid, page, boot)).collect()
}

fn process(folder: &Path, pid: u32, page: u64, boot: i64) -> Option<api::Process> {
    // A name may be of any bytes.
    let text = |name: &str| {
        fs::read(folder.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok()
    };
    let stat = Stat::parse(&text("stat")?)?;
    let cgroup = text("cgroup").as_deref().and_then(procfs::cgroup).unwrap_or_default().to_owned();
    let mut cmdline = fs::read(folder.join("cmdline")).unwrap_or_default();
    cmdline.truncate(LONGEST);
    let ms = |ticks: u64| ticks.saturating_mul(1000 / TICKS);
    Some(api::Process {
        pid,
        parent: stat.parent,
        uid: procfs::uid(&text("status")?)?,
        state: stat.state,
        threads: stat.threads,
        memory_bytes: stat.pages.saturating_mul(page),
        cpu_ms: ms(stat.cpu_ticks),
        start_unix_ms: boot.saturating_add(i64::try_from(ms(stat.start_ticks)).unwrap_or(i64::MAX)),
        name: stat.name,
        command: procfs::command(&cmdline),
        service: procfs::service(&cgroup).unwrap_or_default().to_owned(),
        cgroup,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_them() {
        let all = processes(Path::new("/proc"));
        let own = all.iter().find(|process| process.pid == std::process::id()).unwrap();
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        assert!(own.memory_bytes > 100_000 && own.threads > 0 && !own.command.is_empty());
        let age = clock::millis() - own.start_unix_ms;
        assert!((-2000..3_600_000).contains(&age), "{age}");
        assert!(all.is_sorted_by_key(|process| process.pid));
    }
}
