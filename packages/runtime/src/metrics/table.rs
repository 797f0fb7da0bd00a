//! Every metric that there can be: name, type and labels as cAdvisor has them. It must not know where a value is from.

use lepton_cri::v1::{MetricDescriptor, MetricType};

/// The labels of every metric. `id` is the cgroup, `name` the id of the container or the pod.
pub(super) const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

/// Metrics of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    /// Labels beyond the usual ones.
    pub(super) labels: &'static [&'static str],
    help: &'static str,
}

impl Family {
    /// As CRI tells of it.
    pub(super) fn descriptor(&self) -> MetricDescriptor {
        let labels = LABELS.iter().chain(self.labels).map(|label| (*label).to_owned());
        MetricDescriptor {
            name: self.name.to_owned(),
            help: self.help.to_owned(),
            label_keys: labels.collect(),
        }
    }
}

macro_rules! families {
    ($($constant:ident $kind:ident $name:literal $labels:tt $help:literal)*) => {
        $(pub(super) const $constant: Family = Family {
            name: concat!("container_", $name), kind: MetricType::$kind, labels: &$labels, help: $help,
        };)*
        pub(super) const ALL: &[Family] = &[$($constant),*];
    };
}

#[rustfmt::skip]
families! {
    LAST_SEEN Gauge "last_seen" [] "When it was seen last, in seconds since 1970."
    START_TIME Gauge "start_time_seconds" [] "When it was started, in seconds since 1970."

    CPU_USAGE Counter "cpu_usage_seconds_total" ["cpu"] "Processor time used, in whole seconds."
    CPU_USER Counter "cpu_user_seconds_total" [] "Processor time used in user mode, in whole seconds."
    CPU_SYSTEM Counter "cpu_system_seconds_total" [] "Processor time used in the kernel, in whole seconds."
    CPU_PERIODS Counter "cpu_cfs_periods_total" [] "Periods of the processor quota in which something ran."
    CPU_THROTTLED Counter "cpu_cfs_throttled_periods_total" [] "Periods of the processor quota in which it was used up."
    CPU_THROTTLED_TIME Counter "cpu_cfs_throttled_seconds_total" [] "Time that the processor quota held something back, in whole seconds."

    MEMORY_USAGE Gauge "memory_usage_bytes" [] "Memory in use, caches of files included, in bytes."
    MEMORY_MAX_USAGE Gauge "memory_max_usage_bytes" [] "Most memory that was in use at a time, in bytes."
    MEMORY_WORKING_SET Gauge "memory_working_set_bytes" [] "Memory in use less inactive caches of files, in bytes."
    MEMORY_RSS Gauge "memory_rss" [] "Anonymous memory, in bytes."
    MEMORY_CACHE Gauge "memory_cache" [] "Memory that caches files, in bytes."
    MEMORY_MAPPED Gauge "memory_mapped_file" [] "Memory of mapped files, in bytes."
    MEMORY_KERNEL Gauge "memory_kernel_usage" [] "Memory that the kernel holds for it, in bytes."
    MEMORY_SWAP Gauge "memory_swap" [] "Swap in use, in bytes."
    MEMORY_LIMIT_HITS Counter "memory_failcnt" [] "How often memory was at its limit."
    MEMORY_FAULTS Counter "memory_failures_total" ["failure_type", "scope"] "Page faults, minor (pgfault) and major (pgmajfault) ones."
    OOM_EVENTS Counter "oom_events_total" [] "Processes that were killed because memory was short."

    IO_READ_BYTES Counter "fs_reads_bytes_total" ["device"] "Read from a device, in bytes."
    IO_READS Counter "fs_reads_total" ["device"] "Reads from a device."
    IO_WRITTEN_BYTES Counter "fs_writes_bytes_total" ["device"] "Written to a device, in bytes."
    IO_WRITES Counter "fs_writes_total" ["device"] "Writes to a device."
    IO_USAGE Counter "blkio_device_usage_total" ["device", "major", "minor", "operation"] "Transferred to or from a device, in bytes."
    FS_USAGE Gauge "fs_usage_bytes" ["device"] "Written into the container's root file system, in bytes."
    FS_LIMIT Gauge "fs_limit_bytes" ["device"] "Size of the file system below the container's root, in bytes."
    FS_INODES Gauge "fs_inodes_total" ["device"] "Inodes of the file system below the container's root."
    FS_INODES_FREE Gauge "fs_inodes_free" ["device"] "Free inodes of the file system below the container's root."

    HUGE_PAGES Gauge "hugetlb_usage_bytes" ["pagesize"] "Huge pages in use, in bytes."

    CPU_STALLED Counter "pressure_cpu_stalled_seconds_total" [] "Time that all tasks waited for a processor, in whole seconds."
    CPU_WAITING Counter "pressure_cpu_waiting_seconds_total" [] "Time that some task waited for a processor, in whole seconds."
    MEMORY_STALLED Counter "pressure_memory_stalled_seconds_total" [] "Time that all tasks waited for memory, in whole seconds."
    MEMORY_WAITING Counter "pressure_memory_waiting_seconds_total" [] "Time that some task waited for memory, in whole seconds."
    IO_STALLED Counter "pressure_io_stalled_seconds_total" [] "Time that all tasks waited for a device, in whole seconds."
    IO_WAITING Counter "pressure_io_waiting_seconds_total" [] "Time that some task waited for a device, in whole seconds."

    PROCESSES Gauge "processes" [] "Processes."
    THREADS Gauge "threads" [] "Threads."
    THREADS_MAX Gauge "threads_max" [] "How many threads there may be; 0 is any number."
    DESCRIPTORS Gauge "file_descriptors" [] "Open file descriptors of all processes."
    SOCKETS Gauge "sockets" [] "Open sockets of all processes."
    SOFT_LIMITS Gauge "ulimits_soft" ["ulimit"] "Soft limits of the first process; an unlimited one is not there."

    SPEC_CPU_PERIOD Gauge "spec_cpu_period" [] "Period of the processor quota, in microseconds."
    SPEC_CPU_QUOTA Gauge "spec_cpu_quota" [] "Processor time per period, in microseconds; without a quota it is not there."
    SPEC_CPU_SHARES Gauge "spec_cpu_shares" [] "Shares of processor time, 1024 by default."
    SPEC_MEMORY Gauge "spec_memory_limit_bytes" [] "Most memory that it may use, in bytes; 0 is any amount."
    SPEC_MEMORY_MIN Gauge "spec_memory_reservation_limit_bytes" [] "Memory that is never taken away, in bytes."
    SPEC_SWAP Gauge "spec_memory_swap_limit_bytes" [] "Most swap that it may use, in bytes; 0 is none or any amount, as cAdvisor tells it."

    RECEIVED_BYTES Counter "network_receive_bytes_total" ["interface"] "Received, in bytes."
    RECEIVED Counter "network_receive_packets_total" ["interface"] "Packets received."
    RECEIVE_DROPPED Counter "network_receive_packets_dropped_total" ["interface"] "Packets dropped while receiving."
    RECEIVE_ERRORS Counter "network_receive_errors_total" ["interface"] "Errors while receiving."
    SENT_BYTES Counter "network_transmit_bytes_total" ["interface"] "Sent, in bytes."
    SENT Counter "network_transmit_packets_total" ["interface"] "Packets sent."
    SEND_DROPPED Counter "network_transmit_packets_dropped_total" ["interface"] "Packets dropped while sending."
    SEND_ERRORS Counter "network_transmit_errors_total" ["interface"] "Errors while sending."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        let mut names: Vec<&str> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for family in ALL {
            // Counters end in `_total`, but for one that cAdvisor named before that was the rule.
            let is_total = family.name.ends_with("_total") || family.name == "container_memory_failcnt";
            let is_count = family.kind == MetricType::Counter;
            let is_inodes = family.name == "container_fs_inodes_total";
            assert!(is_count == is_total || is_inodes, "{}", family.name);
            assert!(!family.help.is_empty());
        }
    }
}
