//! What proc(5) says, as it is written there. Pure: texts in, facts out.

/// Ticks of a second in the files of proc(5) (`USER_HZ`), the same on every architecture that we run on.
pub(crate) const TICKS: u64 = 100;

/// proc_pid_stat(5), in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) parent: u32,
    /// Time of processors in ticks, in user and in kernel mode.
    pub(crate) cpu_ticks: u64,
    pub(crate) threads: u32,
    /// Ticks from the kernel's start to its own.
    pub(crate) start_ticks: u64,
    /// Resident memory in pages.
    pub(crate) pages: u64,
}

impl Stat {
    /// Reads `/proc/PID/stat`. The name may hold anything, also parentheses and spaces.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        // Fields are counted from 1 in proc_pid_stat(5), and the state is the third.
        let number = |place: usize| fields.get(place - 3)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_owned(),
            state: (*fields.first()?).to_owned(),
            parent: u32::try_from(number(4)?).ok()?,
            cpu_ticks: number(14)? + number(15)?,
            threads: u32::try_from(number(20)?).ok()?,
            start_ticks: number(22)?,
            pages: number(24)?,
        })
    }
}

/// The effective user in `/proc/PID/status`.
pub(crate) fn uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The words of `/proc/PID/cmdline`.
pub(crate) fn command(cmdline: &[u8]) -> String {
    let text = String::from_utf8_lossy(cmdline);
    let words = text.trim_end_matches('\0').replace('\0', " ");
    // One line each: a program can write anything there.
    words.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

/// The cgroup of version 2 in `/proc/PID/cgroup`.
pub(crate) fn cgroup(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The service of PID 1 that a cgroup is of.
pub(crate) fn service(cgroup: &str) -> Option<&str> {
    cgroup.strip_prefix("/lepton/")?.split('/').next().filter(|name| !name.is_empty())
}

/// Ticks of all processors, and those in which they had something to do, in `/proc/stat`; and how many there are.
pub(crate) fn cpu(stat: &str) -> Option<(u64, u64, u32)> {
    let first = stat.lines().next()?.strip_prefix("cpu ")?;
    // The two for guests are in the first two already.
    let ticks: Vec<u64> = first.split_ascii_whitespace().take(8).map_while(|it| it.parse().ok()).collect();
    let idle = ticks.get(3)? + ticks.get(4)?;
    let all: u64 = ticks.iter().sum();
    let is_one = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
    };
    Some((all, all - idle, u32::try_from(stat.lines().filter(is_one).count()).ok()?))
}

/// A value of `/proc/meminfo` in bytes.
pub(crate) fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Load averages in hundredths, and processes and threads, in `/proc/loadavg`.
pub(crate) fn load(text: &str) -> Option<([u32; 3], u64)> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let hundredths = |field: &str| {
        let (whole, part) = field.split_once('.')?;
        whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part.parse::<u32>().ok()?)
    };
    let [one, five, fifteen, tasks, ..] = fields[..] else { return None };
    let (_, tasks) = tasks.split_once('/')?;
    Some(([hundredths(one)?, hundredths(five)?, hundredths(fifteen)?], tasks.parse().ok()?))
}

/// Fields of a file such as cpu.stat: a key and a number on each line.
pub(crate) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?.trim().parse().ok()
}

/// Bytes read and written of all devices in a cgroup's io.stat.
pub(crate) fn io(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let values =
            text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
        values.fold(0_u64, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

/// Bytes read and written in a block device's `stat` of sysfs, whose unit is 512 bytes.
pub(crate) fn disk(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<u64> = stat.split_ascii_whitespace().map_while(|it| it.parse().ok()).collect();
    Some((fields.get(2)?.checked_mul(512)?, fields.get(6)?.checked_mul(512)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 3 0 1234 1000 42 18446744073709551615 1";
        let want = Stat {
            name: "a) b (c".to_owned(),
            state: "S".to_owned(),
            parent: 1,
            cpu_ticks: 300,
            threads: 3,
            start_ticks: 1234,
            pages: 42,
        };
        assert_eq!(Stat::parse(text), Some(want));
        for bad in ["", "7", "7 (a", "7 (a) S", ") (", "7 (a) S x 7 7 0 -1 0 0 0 0 0 1 1 0 0 0 0 1 0 1 1 1"] {
            assert_eq!(Stat::parse(bad), None, "{bad}");
        }
        assert_eq!(uid("Name:\ta\nUid:\t1\t2\t3\t4\n"), Some(2));
        assert_eq!(command(b"a\0-b\x1b\n\0c d\0"), "a -b?? c d");
        assert_eq!(cgroup("0::/lepton/web\n").and_then(service), Some("web"));
        assert_eq!(service("/lepton/"), None);
    }

    #[test]
    fn the_host() {
        let stat = "cpu  10 1 5 100 4 0 2 0 3 0\ncpu0 5 0 0 0\ncpu1 5 1 5 100\nintr 1\n";
        assert_eq!(cpu(stat), Some((122, 18, 2)));
        assert_eq!(
            meminfo("MemTotal:       1024 kB\nMemAvailable:    512 kB\n", "MemAvailable"),
            Some(524_288)
        );
        assert_eq!(meminfo("MemTotalX: 1 kB", "MemTotal"), None);
        assert_eq!(load("0.50 12.07 0.00 2/345 678\n"), Some(([50, 1207, 0], 345)));
        assert_eq!(field("usage_usec 7\nuser_usec 3\n", "user_usec"), Some(3));
        assert_eq!(io("8:0 rbytes=1 wbytes=2 rios=1\n8:16 rbytes=10 wbytes=20\n"), (11, 22));
        assert_eq!(disk("  1 2 3 4 5 6 7 8\n"), Some((1536, 3584)));
        assert_eq!(disk(""), None);
    }
}
