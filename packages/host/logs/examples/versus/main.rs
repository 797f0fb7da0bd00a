//! The sender (`LEPTON_BENCH_LOGS`) beside rsyslogd of a tool tree (`LEPTON_TEST_MONITORING`) on this machine: each reads the same
//! log of a container from its beginning and sends it to the same receiver as syslog over TLS (RFC 5425), in turns. `cargo xtask bench --host` runs it.
//!
//! `versus [LINES [TURNS]]` prints lines `NAME<tab>OURS<tab>RSYSLOGD'S<tab>UNIT`, medians of all turns.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it starts programs, is told where things are, and reports by itself"
)]

mod contender;
mod receiver;
#[path = "../../tests/judges/running.rs"]
mod running;
#[path = "../../tests/judges/tools.rs"]
mod tools;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use contender::{Contender, Lepton, Rsyslogd, Run};
use lepton_logs::clock;
use tools::Tree;

/// Bytes of a line's text.
const TEXT: u64 = 100;
/// 2026-11-30T10:00:00Z
const FIRST: u64 = 1_796_032_800_000_000_000;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let (Some(Ok(lines)), Some(Ok(turns))) =
        (numbers.next().or(Some(Ok(1_000_000))), numbers.next().or(Some(Ok(3))))
    else {
        eprintln!("usage: versus [LINES [TURNS]]");
        return ExitCode::FAILURE;
    };
    let (Some(tree), Some(program)) = (Tree::find(), tools::named("LEPTON_BENCH_LOGS")) else {
        return ExitCode::FAILURE;
    };
    measure(&tree, &program, lines, turns);
    ExitCode::SUCCESS
}

fn measure(tree: &Tree, program: &Path, lines: u64, turns: u64) {
    // On a disk, where logs and buffers of a host are.
    let folder = tempfile::Builder::new().prefix("lepton-versus-").tempdir_in("/var/tmp").unwrap();
    let log = folder.path().join("0.log");
    write_log(&log, lines);
    for (queue, is_on_disk) in [("memory", false), ("files", true)] {
        let contenders: [Box<dyn Contender>; 2] =
            [Box::new(Lepton { program }), Box::new(Rsyslogd { tree, is_on_disk })];
        let mut runs: [Vec<Run>; 2] = Default::default();
        for _ in 0..turns {
            for (contender, runs) in contenders.iter().zip(&mut runs) {
                runs.push(contender::run(&**contender, &log, lines, folder.path()));
            }
        }
        let title = format!("rsyslogd's queue in {queue}");
        report(&title, "lines", &runs, "a second", |run| lines * 1000 / run.wall_ms.max(1));
        report(&title, "CPU for 10^6 lines", &runs, "ms", |run| run.cpu_ms * 1_000_000 / lines);
        report(&title, "highest RSS", &runs, "KiB", |run| run.peak_kib);
    }
}

/// A container's log as a runtime writes it.
fn write_log(path: &Path, lines: u64) {
    let mut text = Vec::new();
    for line in 0..lines {
        clock::push_rfc3339(&mut text, FIRST + line * 1000, 9);
        text.extend_from_slice(b" stdout F ");
        text.extend((0..TEXT).map(|at| b'a' + u8::try_from((line + at) % 26).unwrap_or_default()));
        text.push(b'\n');
    }
    fs::write(path, text).unwrap();
}

fn report(title: &str, what: &str, runs: &[Vec<Run>; 2], unit: &str, of: impl Fn(&Run) -> u64) {
    let median = |runs: &Vec<Run>| {
        let mut values: Vec<u64> = runs.iter().map(&of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    println!("{title}: {what}\t{}\t{}\t{unit}", median(&runs[0]), median(&runs[1]));
    let _ = std::io::stdout().flush();
}
