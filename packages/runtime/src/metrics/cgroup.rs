//! Metrics from the files of a cgroup (cgroup v2) and from the file system below containers. It must not know of CRI.

use std::fs;
use std::path::Path;

use lepton_runtime_images::Usage;

use super::series::Series;
use super::table;
use crate::files;

/// The weight that a cgroup has unless it is given another, and the shares that it stands for.
const USUAL_WEIGHT: (u64, u64) = (100, 1024);

/// What a cgroup and those below it have used.
pub(super) fn usage(series: &mut Series, cgroup: &Path) {
    cpu(series, cgroup);
    memory(series, cgroup);
    devices(series, cgroup);
    huge_pages(series, cgroup);
    for (file, stalled, waiting) in [
        ("cpu.pressure", &table::CPU_STALLED, &table::CPU_WAITING),
        ("memory.pressure", &table::MEMORY_STALLED, &table::MEMORY_WAITING),
        ("io.pressure", &table::IO_STALLED, &table::IO_WAITING),
    ] {
        let text = text(cgroup, file);
        series.add(stalled, total(&text, "full ").map(seconds));
        series.add(waiting, total(&text, "some ").map(seconds));
    }
}

fn cpu(series: &mut Series, cgroup: &Path) {
    let stat = text(cgroup, "cpu.stat");
    // cgroup v2 does not count each processor for itself.
    series.add_with(&table::CPU_USAGE, &["total"], keyed(&stat, "usage_usec").map(seconds));
    series.add(&table::CPU_USER, keyed(&stat, "user_usec").map(seconds));
    series.add(&table::CPU_SYSTEM, keyed(&stat, "system_usec").map(seconds));
    series.add(&table::CPU_PERIODS, keyed(&stat, "nr_periods"));
    series.add(&table::CPU_THROTTLED, keyed(&stat, "nr_throttled"));
    series.add(&table::CPU_THROTTLED_TIME, keyed(&stat, "throttled_usec").map(seconds));
}

fn memory(series: &mut Series, cgroup: &Path) {
    let usage = number(cgroup, "memory.current");
    let stat = text(cgroup, "memory.stat");
    let key = |key| keyed(&stat, key);
    let working_set = usage.zip(key("inactive_file")).map(|(usage, idle)| usage.saturating_sub(idle));
    series.add(&table::MEMORY_USAGE, usage);
    series.add(&table::MEMORY_MAX_USAGE, number(cgroup, "memory.peak"));
    series.add(&table::MEMORY_WORKING_SET, working_set);
    series.add(&table::MEMORY_RSS, key("anon"));
    series.add(&table::MEMORY_CACHE, key("file"));
    series.add(&table::MEMORY_MAPPED, key("file_mapped"));
    series.add(&table::MEMORY_KERNEL, key("kernel"));
    series.add(&table::MEMORY_SWAP, number(cgroup, "memory.swap.current"));
    // The kernel counts a cgroup with those below it; without any, that is the cgroup alone, too.
    let is_alone = files::names(cgroup).iter().all(|name| !cgroup.join(name).is_dir());
    for kind in ["pgfault", "pgmajfault"] {
        series.add_with(&table::MEMORY_FAULTS, &[kind, "container"], key(kind).filter(|_| is_alone));
        series.add_with(&table::MEMORY_FAULTS, &[kind, "hierarchy"], key(kind));
    }
    let events = text(cgroup, "memory.events");
    series.add(&table::MEMORY_LIMIT_HITS, keyed(&events, "max"));
    series.add(&table::OOM_EVENTS, keyed(&events, "oom_kill"));
}

/// Lines as `259:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn devices(series: &mut Series, cgroup: &Path) {
    for line in text(cgroup, "io.stat").lines() {
        let Some((device, fields)) = line.split_once(' ') else { continue };
        let Some((major, minor)) = device.split_once(':') else { continue };
        let name = device_name(device);
        let field = |name: &str| {
            let mut words = fields.split_whitespace();
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        for (family, key) in [
            (&table::IO_READ_BYTES, "rbytes"),
            (&table::IO_READS, "rios"),
            (&table::IO_WRITTEN_BYTES, "wbytes"),
            (&table::IO_WRITES, "wios"),
        ] {
            series.add_with(family, &[&name], field(key));
        }
        for (operation, key) in [("Read", "rbytes"), ("Write", "wbytes"), ("Discard", "dbytes")] {
            series.add_with(&table::IO_USAGE, &[&name, major, minor, operation], field(key));
        }
    }
}

/// The path of a block device, or its numbers when the kernel has no name for it.
fn device_name(numbers: &str) -> String {
    let event = fs::read_to_string(format!("/sys/dev/block/{numbers}/uevent")).unwrap_or_default();
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map_or_else(|| numbers.to_owned(), |name| format!("/dev/{name}"))
}

/// Files as `hugetlb.2MB.current`.
fn huge_pages(series: &mut Series, cgroup: &Path) {
    for name in files::names(cgroup) {
        let size = name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(".current"));
        // Reservations have files of their own: `hugetlb.2MB.rsvd.current`.
        if let Some(size) = size.filter(|size| !size.contains('.')) {
            series.add_with(&table::HUGE_PAGES, &[size], number(cgroup, &name));
        }
    }
}

/// What a cgroup may use; the shares are those that were asked for.
pub(super) fn limits(series: &mut Series, cgroup: &Path, shares: i64) {
    let quota = text(cgroup, "cpu.max");
    let mut quota = quota.split_whitespace();
    series.add(&table::SPEC_CPU_QUOTA, quota.next().and_then(|quota| quota.parse().ok()));
    series.add(&table::SPEC_CPU_PERIOD, quota.next().and_then(|period| period.parse().ok()));
    // A weight does not tell which shares it came from, but for the usual one.
    let (weight, usual) = USUAL_WEIGHT;
    let usual = number(cgroup, "cpu.weight").filter(|found| *found == weight).map(|_| usual);
    let shares = u64::try_from(shares).ok().filter(|shares| *shares > 0).or(usual);
    series.add(&table::SPEC_CPU_SHARES, shares);
    series.add(&table::SPEC_MEMORY, limit(cgroup, "memory.max"));
    series.add(&table::SPEC_MEMORY_MIN, number(cgroup, "memory.min"));
    series.add(&table::SPEC_SWAP, limit(cgroup, "memory.swap.max"));
}

/// The file system that containers write to.
pub(super) struct Disk {
    device: String,
    bytes: u64,
    /// None where inodes are made as they are needed.
    inodes: Option<(u64, u64)>,
}

impl Disk {
    /// The one that a folder is on.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let found = rustix::fs::statvfs(folder).ok()?;
        let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Some(Self {
            device: source(&table, folder)?,
            bytes: found.f_blocks.saturating_mul(found.f_frsize),
            inodes: (found.f_files > 0).then_some((found.f_files, found.f_ffree)),
        })
    }

    pub(super) fn add(&self, series: &mut Series, written: Option<Usage>) {
        let device = [self.device.as_str()];
        series.add_with(&table::FS_LIMIT, &device, Some(self.bytes));
        series.add_with(&table::FS_USAGE, &device, written.map(|written| written.bytes));
        series.add_with(&table::FS_INODES, &device, self.inodes.map(|(all, _)| all));
        series.add_with(&table::FS_INODES_FREE, &device, self.inodes.map(|(_, free)| free));
    }
}

/// What is mounted where a folder lies; of mounts at the same place the last one counts.
fn source(table: &str, folder: &Path) -> Option<String> {
    let mounts = table.lines().filter_map(|line| {
        let (place, what) = line.split_once(" - ")?;
        Some((Path::new(place.split(' ').nth(4)?), what.split(' ').nth(1)?))
    });
    let over = mounts.filter(|(place, _)| folder.starts_with(place));
    over.max_by_key(|(place, _)| place.components().count()).map(|(_, source)| source.to_owned())
}

/// A limit, where `max` is none: cAdvisor tells that by 0.
fn limit(cgroup: &Path, file: &str) -> Option<u64> {
    match text(cgroup, file).trim() {
        "max" => Some(0),
        text => text.parse().ok(),
    }
}

/// Whole seconds of microseconds: CRI has no fractions.
fn seconds(micros: u64) -> u64 {
    micros / 1_000_000
}

/// A file that is not there says nothing.
pub(super) fn text(cgroup: &Path, file: &str) -> String {
    fs::read_to_string(cgroup.join(file)).unwrap_or_default()
}

pub(super) fn number(cgroup: &Path, file: &str) -> Option<u64> {
    text(cgroup, file).trim().parse().ok()
}

/// A line `KEY NUMBER`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The total of a line `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn total(text: &str, kind: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("total=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_cgroup_without_controllers_says_little() {
        let folder = folder(&[("cpu.stat", "usage_usec 2500000\nuser_usec 1999999\nsystem_usec 500001\n")]);
        let mut series = Series::new(Vec::new());
        usage(&mut series, folder.path());
        limits(&mut series, folder.path(), 0);
        assert_eq!(series.of(&table::CPU_USAGE), [(vec!["total"], 2)]);
        assert_eq!(series.of(&table::CPU_USER), [(vec![], 1)]);
        assert_eq!(series.done().len(), 3);
    }

    #[test]
    fn used() {
        let folder = folder(&[
            ("memory.current", "1000\n"),
            ("memory.peak", "2000\n"),
            (
                "memory.stat",
                "anon 100\nfile 700\nfile_mapped 5\nkernel 50\nkernel_stack 9\ninactive_file 300\npgfault 7\npgmajfault 1\n",
            ),
            ("memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"),
            ("io.stat", "4095:77 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n4095:78 \n"),
            (
                "io.pressure",
                "some avg10=1.00 avg60=0.00 avg300=0.00 total=3000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=999999\n",
            ),
            ("hugetlb.2MB.current", "2097152\n"),
            ("hugetlb.2MB.rsvd.current", "4194304\n"),
            ("hugetlb.2MB.max", "max\n"),
        ]);
        let mut series = Series::new(vec!["a".to_owned()]);
        usage(&mut series, folder.path());
        for (family, value) in [
            (&table::MEMORY_USAGE, 1000),
            (&table::MEMORY_MAX_USAGE, 2000),
            (&table::MEMORY_WORKING_SET, 700),
            (&table::MEMORY_RSS, 100),
            (&table::MEMORY_KERNEL, 50),
            (&table::MEMORY_LIMIT_HITS, 12),
            (&table::OOM_EVENTS, 2),
            (&table::IO_WAITING, 3),
            (&table::IO_STALLED, 0),
        ] {
            assert_eq!(series.of(family), [(vec![], value)], "{}", family.name);
        }
        assert!(series.of(&table::MEMORY_SWAP).is_empty());
        assert_eq!(series.of(&table::HUGE_PAGES), [(vec!["2MB"], 2_097_152)]);
        assert_eq!(series.of(&table::IO_WRITES), [(vec!["4095:77"], 4)]);
        let discarded = (vec!["4095:77", "4095", "77", "Discard"], 5);
        assert_eq!(series.of(&table::IO_USAGE)[2], discarded);
        assert_eq!(series.of(&table::MEMORY_FAULTS).len(), 4);
        fs::create_dir(folder.path().join("below")).unwrap();
        let mut series = Series::new(Vec::new());
        usage(&mut series, folder.path());
        let whole = [(vec!["pgfault", "hierarchy"], 7), (vec!["pgmajfault", "hierarchy"], 1)];
        assert_eq!(series.of(&table::MEMORY_FAULTS), whole);
    }

    #[test]
    fn limited_or_not() {
        let given = folder(&[("cpu.max", "20000 100000\n"), ("memory.max", "5\n"), ("cpu.weight", "7\n")]);
        let mut series = Series::new(Vec::new());
        limits(&mut series, given.path(), 512);
        assert_eq!(series.of(&table::SPEC_CPU_QUOTA), [(vec![], 20_000)]);
        assert_eq!(series.of(&table::SPEC_CPU_PERIOD), [(vec![], 100_000)]);
        assert_eq!(series.of(&table::SPEC_CPU_SHARES), [(vec![], 512)]);
        assert_eq!(series.of(&table::SPEC_MEMORY), [(vec![], 5)]);
        let free = folder(&[("cpu.max", "max 100000\n"), ("memory.max", "max\n"), ("cpu.weight", "100\n")]);
        let mut series = Series::new(Vec::new());
        limits(&mut series, free.path(), 0);
        assert!(series.of(&table::SPEC_CPU_QUOTA).is_empty());
        assert_eq!(series.of(&table::SPEC_CPU_SHARES), [(vec![], 1024)]);
        assert_eq!(series.of(&table::SPEC_MEMORY), [(vec![], 0)]);
        let other = folder(&[("cpu.weight", "7\n")]);
        let mut series = Series::new(Vec::new());
        limits(&mut series, other.path(), 0);
        assert!(series.of(&table::SPEC_CPU_SHARES).is_empty());
    }

    #[test]
    fn the_last_and_deepest_mount_counts() {
        let table = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /var rw shared:1 - ext4 /dev/b rw\n3 2 8:3 / /var rw - ext4 /dev/c rw\n4 1 8:4 / /var2 rw - ext4 /dev/d rw\n";
        assert_eq!(source(table, Path::new("/var/lib")).as_deref(), Some("/dev/c"));
        assert_eq!(source(table, Path::new("/opt")).as_deref(), Some("/dev/a"));
    }
}
