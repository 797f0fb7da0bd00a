//! Processors, memory, pressure and what the kernel counts (proc_stat(5), proc_meminfo(5), and the kernel's
//! Documentation/accounting/psi.rst).

use std::fs;
use std::path::Path;

use crate::family::{Families, Kind};
use crate::{Outcome, Places};

/// `USER_HZ`: the clock ticks of /proc/stat in a second, the same on all architectures that are built for.
const TICKS: f64 = 100.0;
/// Columns of a line of /proc/stat. Time of guests is in `user` already.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
/// Lines of /proc/meminfo, in KiB.
const MEMORY: [(&str, &str, &str); 8] = [
    ("MemTotal", "lepton_memory_total_bytes", "Memory of the host."),
    ("MemFree", "lepton_memory_free_bytes", "Memory that nobody uses."),
    ("MemAvailable", "lepton_memory_available_bytes", "Memory that programs can still have."),
    ("Buffers", "lepton_memory_buffers_bytes", "Memory with contents of block devices."),
    ("Cached", "lepton_memory_cached_bytes", "Memory with contents of files."),
    ("Slab", "lepton_memory_slab_bytes", "Memory of the kernel's own objects."),
    ("SwapTotal", "lepton_swap_total_bytes", "Swap space of the host."),
    ("SwapFree", "lepton_swap_free_bytes", "Swap space that is not in use."),
];

/// Everything but pressure.
pub(crate) fn collect(places: &Places, families: &mut Families) -> Outcome {
    let read = |name: &str| fs::read_to_string(places.proc.join(name)).ok();
    let (Some(stat), Some(meminfo), Some(load)) = (read("stat"), read("meminfo"), read("loadavg")) else {
        return Outcome::Failed;
    };
    processors(&stat, families);
    for (key, name, help) in MEMORY {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kb: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        families.add(name, Kind::Gauge, help).known(&[], kb.map(|kb| kb * 1024));
    }
    let mut words = load.split_whitespace();
    for (name, help) in [
        ("lepton_load1", "Load average of one minute."),
        ("lepton_load5", "Load average of five minutes."),
        ("lepton_load15", "Load average of fifteen minutes."),
    ] {
        if let Some(value) = words.next().and_then(|word| word.parse().ok()) {
            families.add(name, Kind::Gauge, help).real(&[], value);
        }
    }
    let threads = words.next().and_then(|word| word.split_once('/')?.1.parse().ok());
    families.add("lepton_threads", Kind::Gauge, "Threads of all processes.").known(&[], threads);
    Outcome::Read
}

fn processors(stat: &str, families: &mut Families) {
    let time =
        families.add("lepton_cpu_seconds", Kind::Counter, "Time of each processor by what it was used for.");
    for line in stat.lines() {
        let mut words = line.split_whitespace();
        let Some(number) = words.next().and_then(|word| word.strip_prefix("cpu")).filter(|it| !it.is_empty())
        else {
            continue;
        };
        for (mode, ticks) in MODES.iter().zip(words) {
            if let Ok(ticks) = ticks.parse::<f64>() {
                time.real(&[("cpu", number), ("mode", mode)], ticks / TICKS);
            }
        }
    }
    let field = |key: &str| {
        let mut lines = stat.lines();
        lines.find_map(|line| {
            line.strip_prefix(key)?.strip_prefix(' ')?.split_whitespace().next()?.parse().ok()
        })
    };
    for (key, name, kind, help) in [
        ("ctxt", "lepton_context_switches", Kind::Counter, "Switches from one thread to another."),
        ("intr", "lepton_interrupts", Kind::Counter, "Interrupts."),
        ("processes", "lepton_forks", Kind::Counter, "Processes and threads that were made."),
        ("procs_running", "lepton_threads_running", Kind::Gauge, "Threads that run or could."),
        ("procs_blocked", "lepton_threads_blocked", Kind::Gauge, "Threads that wait for disks."),
        ("btime", "lepton_boot_time_seconds", Kind::Gauge, "When the kernel started, in seconds since 1970."),
    ] {
        families.add(name, kind, help).known(&[], field(key));
    }
}

/// Pressure stall information; a kernel without it has no such folder.
pub(crate) fn pressure(places: &Places, families: &mut Families) -> Outcome {
    let folder = places.proc.join("pressure");
    if !folder.exists() {
        return Outcome::Absent;
    }
    let mut outcome = Outcome::Failed;
    for resource in ["cpu", "memory", "io"] {
        let Ok(text) = fs::read_to_string(folder.join(resource)) else { continue };
        outcome = Outcome::Read;
        stalls(&text, resource, families);
    }
    outcome
}

/// Lines as `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`; the total is in microseconds.
fn stalls(text: &str, resource: &str, families: &mut Families) {
    for (word, name, help) in [
        ("some", "lepton_pressure_waiting_seconds", "Time in which some threads waited for a resource."),
        (
            "full",
            "lepton_pressure_stalled_seconds",
            "Time in which all threads that had work waited for a resource.",
        ),
    ] {
        let line = text.lines().find_map(|line| line.strip_prefix(word));
        let total = line.and_then(|line| line.rsplit_once("total=")?.1.trim().parse().ok());
        if let Some(total) = total {
            families.add(name, Kind::Counter, help).real(&[("resource", resource)], seconds(total));
        }
    }
}

/// Microseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
pub(crate) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// The number of a file of one value.
pub(crate) fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
