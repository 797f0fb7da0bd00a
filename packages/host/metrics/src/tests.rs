//! A host of files: what is told of it, and of what is not there.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use expect_test::expect;

use super::*;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn places(root: &Path) -> Places {
    write(
        root,
        &[
            (
                "proc/stat",
                "cpu  3 0 0 9 0 0 0 0 0 0\ncpu0 150 0 25 900 4 0 1 0 0 0\nintr 77 1 2\nctxt 5\nbtime 1700000000\nprocesses 9\nprocs_running 1\nprocs_blocked 0\n",
            ),
            ("proc/meminfo", "MemTotal:  487288 kB\nMemFree: 4 kB\nMemAvailable: 8 kB\n"),
            ("proc/loadavg", "0.50 0.25 0.10 1/123 999\n"),
            ("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"),
            ("proc/pressure/io", "some avg10=0.00 total=2\nfull avg10=0.00 total=1\n"),
            ("proc/1/mountinfo", ""),
            ("proc/sys/kernel/osrelease", "6.12.0\n"),
            ("sys/block/vda/stat", "10 0 20 300 5 0 8 40 1 600 700 0 0 0 0 0 0\n"),
            ("sys/block/vda/size", "2048\n"),
            ("sys/block/loop0/stat", "1 1 1 1 1 1 1 1 1 1 1\n"),
            ("sys/class/net/eth0/operstate", "up\n"),
            ("sys/class/net/eth0/speed", "1000\n"),
            ("sys/class/net/eth0/statistics/rx_bytes", "100\n"),
            ("sys/class/net/lo/operstate", "unknown\n"),
            ("sys/fs/cgroup/lepton/network/cpu.stat", "usage_usec 2500000\nuser_usec 1\n"),
            ("sys/fs/cgroup/lepton/network/memory.current", "4096\n"),
            ("sys/fs/cgroup/lepton/network/memory.max", "max\n"),
            ("sys/fs/cgroup/lepton/network/pids.current", "3\n"),
            ("os-release", "NAME=Lepton\nIMAGE_ID=\"node\"\nIMAGE_VERSION=0.1.0\n"),
        ],
    );
    Places {
        proc: root.join("proc"),
        sys: root.join("sys"),
        os_release: root.join("os-release"),
        control: root.join("control.sock"),
        runtime: root.join("runtime.sock"),
        identity: root.join("identity.sock"),
        logs: root.join("logs.sock"),
    }
}

const STATUS: &str = r#"{"status":{"image":"node","version":"0.1.0","arch":"x86_64","kernel":"6.12.0","phase":"ready","uptime-ms":9000,"ready-ms":1200,"hostname":"a","addresses":[],"state":{"device":null,"filesystem":"tmpfs"},"config":{"sources":["image"],"errors":["x"]},"memory":null,"services":[{"name":"network","state":"ready","text":null,"pid":7,"starts":2,"last-end":null,"for-ms":1,"memory-kb":4,"tasks":3,"dropped-lines":0}]}}"#;

/// A PID 1 that answers one request.
fn pid1(places: &Places) {
    let listener = UnixListener::bind(&places.control).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
        stream.write_all(format!("{STATUS}\n").as_bytes()).unwrap();
    });
}

/// Without what differs each time.
fn steady(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("collector_duration"));
    let lines = lines.map(|line| line.replace(std::env::consts::ARCH, "ARCH"));
    lines.map(|line| line + "\n").collect()
}

#[test]
fn a_host() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(dir.path());
    pid1(&places);
    expect![[r##"
        # TYPE lepton_boot_time_seconds gauge
        # UNIT lepton_boot_time_seconds seconds
        # HELP lepton_boot_time_seconds When the kernel started, in seconds since 1970.
        lepton_boot_time_seconds 1700000000
        # TYPE lepton_build info
        # HELP lepton_build What the host runs.
        lepton_build_info{version="0.1.0",image="node",image_version="0.1.0",arch="ARCH",kernel="6.12.0"} 1
        # TYPE lepton_collector_success gauge
        # HELP lepton_collector_success Whether a part of the figures could be read.
        lepton_collector_success{collector="build"} 1
        lepton_collector_success{collector="kernel"} 1
        lepton_collector_success{collector="pressure"} 1
        lepton_collector_success{collector="devices"} 1
        lepton_collector_success{collector="filesystems"} 1
        lepton_collector_success{collector="services"} 1
        # TYPE lepton_config_errors gauge
        # HELP lepton_config_errors Mistakes in the machine config.
        lepton_config_errors 1
        # TYPE lepton_context_switches counter
        # HELP lepton_context_switches Switches from one thread to another.
        lepton_context_switches_total 5
        # TYPE lepton_cpu_seconds counter
        # UNIT lepton_cpu_seconds seconds
        # HELP lepton_cpu_seconds Time of each processor by what it was used for.
        lepton_cpu_seconds_total{cpu="0",mode="user"} 1.5
        lepton_cpu_seconds_total{cpu="0",mode="nice"} 0
        lepton_cpu_seconds_total{cpu="0",mode="system"} 0.25
        lepton_cpu_seconds_total{cpu="0",mode="idle"} 9
        lepton_cpu_seconds_total{cpu="0",mode="iowait"} 0.04
        lepton_cpu_seconds_total{cpu="0",mode="irq"} 0
        lepton_cpu_seconds_total{cpu="0",mode="softirq"} 0.01
        lepton_cpu_seconds_total{cpu="0",mode="steal"} 0
        # TYPE lepton_disk_busy_seconds counter
        # UNIT lepton_disk_busy_seconds seconds
        # HELP lepton_disk_busy_seconds Time in which a disk had work.
        lepton_disk_busy_seconds_total{device="vda"} 0.6
        # TYPE lepton_disk_read_bytes counter
        # UNIT lepton_disk_read_bytes bytes
        # HELP lepton_disk_read_bytes Bytes that were read from a disk.
        lepton_disk_read_bytes_total{device="vda"} 10240
        # TYPE lepton_disk_read_time_seconds counter
        # UNIT lepton_disk_read_time_seconds seconds
        # HELP lepton_disk_read_time_seconds Time that all reads of a disk took together.
        lepton_disk_read_time_seconds_total{device="vda"} 0.3
        # TYPE lepton_disk_reads counter
        # HELP lepton_disk_reads Reads of a disk that were done.
        lepton_disk_reads_total{device="vda"} 10
        # TYPE lepton_disk_requests gauge
        # HELP lepton_disk_requests Reads and writes of a disk that are under way.
        lepton_disk_requests{device="vda"} 1
        # TYPE lepton_disk_size_bytes gauge
        # UNIT lepton_disk_size_bytes bytes
        # HELP lepton_disk_size_bytes Size of a disk.
        lepton_disk_size_bytes{device="vda"} 1048576
        # TYPE lepton_disk_write_time_seconds counter
        # UNIT lepton_disk_write_time_seconds seconds
        # HELP lepton_disk_write_time_seconds Time that all writes of a disk took together.
        lepton_disk_write_time_seconds_total{device="vda"} 0.04
        # TYPE lepton_disk_writes counter
        # HELP lepton_disk_writes Writes of a disk that were done.
        lepton_disk_writes_total{device="vda"} 5
        # TYPE lepton_disk_written_bytes counter
        # UNIT lepton_disk_written_bytes bytes
        # HELP lepton_disk_written_bytes Bytes that were written to a disk.
        lepton_disk_written_bytes_total{device="vda"} 4096
        # TYPE lepton_forks counter
        # HELP lepton_forks Processes and threads that were made.
        lepton_forks_total 9
        # TYPE lepton_interrupts counter
        # HELP lepton_interrupts Interrupts.
        lepton_interrupts_total 77
        # TYPE lepton_load1 gauge
        # HELP lepton_load1 Load average of one minute.
        lepton_load1 0.5
        # TYPE lepton_load15 gauge
        # HELP lepton_load15 Load average of fifteen minutes.
        lepton_load15 0.1
        # TYPE lepton_load5 gauge
        # HELP lepton_load5 Load average of five minutes.
        lepton_load5 0.25
        # TYPE lepton_memory_available_bytes gauge
        # UNIT lepton_memory_available_bytes bytes
        # HELP lepton_memory_available_bytes Memory that programs can still have.
        lepton_memory_available_bytes 8192
        # TYPE lepton_memory_free_bytes gauge
        # UNIT lepton_memory_free_bytes bytes
        # HELP lepton_memory_free_bytes Memory that nobody uses.
        lepton_memory_free_bytes 4096
        # TYPE lepton_memory_total_bytes gauge
        # UNIT lepton_memory_total_bytes bytes
        # HELP lepton_memory_total_bytes Memory of the host.
        lepton_memory_total_bytes 498982912
        # TYPE lepton_network_received_bytes counter
        # UNIT lepton_network_received_bytes bytes
        # HELP lepton_network_received_bytes Bytes that a link received.
        lepton_network_received_bytes_total{link="eth0"} 100
        # TYPE lepton_network_speed_bytes gauge
        # UNIT lepton_network_speed_bytes bytes
        # HELP lepton_network_speed_bytes Bytes that a link can carry in a second.
        lepton_network_speed_bytes{link="eth0"} 125000000
        # TYPE lepton_network_up gauge
        # HELP lepton_network_up Whether a link is up.
        lepton_network_up{link="eth0"} 1
        # TYPE lepton_phase gauge
        # HELP lepton_phase Whether the host is in a phase of its life.
        lepton_phase{phase="starting"} 0
        lepton_phase{phase="ready"} 1
        lepton_phase{phase="failed"} 0
        lepton_phase{phase="stopping"} 0
        # TYPE lepton_pressure_stalled_seconds counter
        # UNIT lepton_pressure_stalled_seconds seconds
        # HELP lepton_pressure_stalled_seconds Time in which all threads that had work waited for a resource.
        lepton_pressure_stalled_seconds_total{resource="io"} 0.000001
        # TYPE lepton_pressure_waiting_seconds counter
        # UNIT lepton_pressure_waiting_seconds seconds
        # HELP lepton_pressure_waiting_seconds Time in which some threads waited for a resource.
        lepton_pressure_waiting_seconds_total{resource="cpu"} 1.5
        lepton_pressure_waiting_seconds_total{resource="io"} 0.000002
        # TYPE lepton_ready_seconds gauge
        # UNIT lepton_ready_seconds seconds
        # HELP lepton_ready_seconds Time from the kernel's start until the host was ready.
        lepton_ready_seconds 1.2
        # TYPE lepton_service_cpu_seconds counter
        # UNIT lepton_service_cpu_seconds seconds
        # HELP lepton_service_cpu_seconds Time of processors that a service has used.
        lepton_service_cpu_seconds_total{service="network"} 2.5
        # TYPE lepton_service_dropped_lines counter
        # HELP lepton_service_dropped_lines Lines of a service's log that were dropped because they came too fast.
        lepton_service_dropped_lines_total{service="network"} 0
        # TYPE lepton_service_memory_bytes gauge
        # UNIT lepton_service_memory_bytes bytes
        # HELP lepton_service_memory_bytes Memory of a service.
        lepton_service_memory_bytes{service="network"} 4096
        # TYPE lepton_service_starts counter
        # HELP lepton_service_starts How often a service was started since the host's start.
        lepton_service_starts_total{service="network"} 2
        # TYPE lepton_service_state gauge
        # HELP lepton_service_state Whether a service is in a state.
        lepton_service_state{service="network",state="waiting"} 0
        lepton_service_state{service="network",state="starting"} 0
        lepton_service_state{service="network",state="ready"} 1
        lepton_service_state{service="network",state="stopping"} 0
        lepton_service_state{service="network",state="back-off"} 0
        lepton_service_state{service="network",state="done"} 0
        lepton_service_state{service="network",state="stopped"} 0
        lepton_service_state{service="network",state="failed"} 0
        # TYPE lepton_service_tasks gauge
        # HELP lepton_service_tasks Processes and threads of a service.
        lepton_service_tasks{service="network"} 3
        # TYPE lepton_state_persistent gauge
        # HELP lepton_state_persistent Whether the host has a state partition.
        lepton_state_persistent 0
        # TYPE lepton_threads gauge
        # HELP lepton_threads Threads of all processes.
        lepton_threads 123
        # TYPE lepton_threads_blocked gauge
        # HELP lepton_threads_blocked Threads that wait for disks.
        lepton_threads_blocked 0
        # TYPE lepton_threads_running gauge
        # HELP lepton_threads_running Threads that run or could.
        lepton_threads_running 1
        # EOF
    "##]].assert_eq(&steady(&collect(&places)));
}

#[test]
fn what_is_not_there_is_left_out_and_what_fails_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let places = places(&dir.path().join("host"));
    let text = collect_as(&places, Format::Prometheus);
    assert!(text.contains("lepton_collector_success{collector=\"services\"} 0\n"), "{text}");
    assert!(text.contains("lepton_collector_success{collector=\"kernel\"} 1\n"), "{text}");
    for absent in ["runtime", "identity", "logs"] {
        assert!(!text.contains(&format!("collector=\"{absent}\"")), "{text}");
    }
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    assert!(text.contains("# TYPE lepton_cpu_seconds_total counter\n"));
    // A socket of which nobody listens is a failure.
    fs::write(&places.logs, "").unwrap();
    assert!(collect(&places).contains("lepton_collector_success{collector=\"logs\"} 0\n"));
}

/// Every family has a type and a help before its samples, every sample is once, and the text ends as it must.
#[test]
fn the_text_of_this_machine_is_whole() {
    let text = collect(&Places { control: "/nowhere".into(), ..Places::default() });
    assert!(text.ends_with("# EOF\n"));
    let (mut family, mut families, mut samples) =
        ("", std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} is there twice");
        } else if let Some(rest) = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# UNIT ")) {
            assert!(
                rest.strip_prefix(family).is_some_and(|rest| rest.starts_with(' ') && rest.len() > 1),
                "{line}"
            );
        } else {
            assert!(line.starts_with(family), "{line} is not of {family}");
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(samples.insert(name), "{name} is there twice");
            value.parse::<f64>().unwrap();
        }
    }
    assert!(families.contains("lepton_cpu_seconds") && families.contains("lepton_memory_total_bytes"));
}
