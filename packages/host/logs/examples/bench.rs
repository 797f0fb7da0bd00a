//! Measures the way of a line: `bench [LINES [BYTES]]` writes a container's log of so many lines with texts of so many bytes, and
//! says how long reading, keeping and formatting it takes, in time and in time of a processor, and what memory it took.

use std::fs;
use std::io::{Error, Result, Write as _};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use lepton_logs::buffer::{Buffer, Item};
use lepton_logs::clock;
use lepton_logs::format::Speaker;
use lepton_logs::format::json::Json;
use lepton_logs::format::otlp::Otlp;
use lepton_logs::format::syslog::Syslog;
use lepton_logs::frame::{self, Frame};
use lepton_logs::intake::{Intake, Taker};
use lepton_logs::source::discover::{Format, Found};
use lepton_logs::source::log::Log;
use lepton_logs::source::tail::Bench;
use lepton_logs::source::watch::Wake;
use lepton_logs::source::{Kind, Source};

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().map_err(Error::other));
    let lines = words.next().transpose()?.unwrap_or(1_000_000);
    let bytes = words.next().transpose()?.unwrap_or(100);
    let folder = Path::new("/var/tmp").join(format!("lepton-logs-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = run(&folder, lines, bytes);
    fs::remove_dir_all(&folder)?;
    result
}

fn run(folder: &Path, lines: u64, bytes: u64) -> Result<()> {
    let path = folder.join("0.log");
    let mut text = Vec::new();
    for line in 0..lines {
        clock::push_rfc3339(&mut text, 1_795_343_999_000_000_000 + line, 9);
        text.extend_from_slice(b" stdout F ");
        text.extend((0..bytes).map(|at| b'a' + u8::try_from((line + at) % 26).unwrap_or_default()));
        text.push(b'\n');
    }
    fs::write(&path, &text)?;
    drop(text);
    let buffer = Arc::new(Buffer::open(&folder.join("buffer"), 16 << 30)?);
    let taker = Taker { buffer: Arc::clone(&buffer), kinds: vec![Kind::Containers] };
    let (sender, logs) = mpsc::channel();
    let found = Found { source: Source::Container { name: "web".into() }, path, format: Format::Cri };
    sender.send(Arc::new(Log::open(found)?)).map_err(Error::other)?;
    let bench = Bench::new(String::new(), 0);
    let mut intake =
        Intake::new(vec![taker], Vec::new(), (logs, None), Arc::new(Wake::default()), Arc::default(), bench);
    measured("read and keep", lines, bytes, || {
        while intake.pass() {}
        Ok(())
    })?;
    for kind in ["json", "syslog", "otlp"] {
        measured(kind, lines, bytes, || format(&buffer, kind))?;
    }
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    writeln!(std::io::stdout(), "{peak} (with the log while it was made)")
}

fn format(buffer: &Buffer, kind: &str) -> Result<()> {
    let mut reader = buffer.reader();
    let source = Source::Container { name: "web".into() };
    let speaker = Speaker { host: "edge-1", source: Some(&source) };
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    while let Some(item) = buffer.next(&mut reader)? {
        let Item::Lines { frame, .. } = &item else { continue };
        let Some(Frame::Batch(batch)) = frame::decode(&mut frame.as_slice()) else { continue };
        out.clear();
        match kind {
            "json" => {
                let json = Json::new(speaker);
                batch.records.for_each(|record| json.push(&record, &mut out));
            }
            "syslog" => {
                let syslog = Syslog::new(speaker);
                batch.records.for_each(|record| syslog.push(&record, &mut scratch, &mut out));
            }
            _ => {
                let mut otlp = Otlp::default();
                otlp.push(speaker, batch.records, 0);
                out = otlp.encode();
            }
        }
        std::hint::black_box(&out);
    }
    Ok(())
}

fn measured(what: &str, lines: u64, bytes: u64, doing: impl FnOnce() -> Result<()>) -> Result<()> {
    let (start, before) = (Instant::now(), used());
    doing()?;
    let (time, used) = (start.elapsed(), used().saturating_sub(before));
    let per_second = lines as f64 / time.as_secs_f64();
    let megabytes = per_second * bytes as f64 / 1e6;
    let per_million = used.as_secs_f64() * 1e6 / lines as f64;
    writeln!(
        std::io::stdout(),
        "{what:14} {per_second:10.0} lines/s {megabytes:7.1} MB/s of text {per_million:6.3} s of a processor for 10^6 lines"
    )
}

/// Time of processors that this program used.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
