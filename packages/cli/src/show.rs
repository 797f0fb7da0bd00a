//! Answers as people read them.

use std::io::{self, Write};

use lepton_control::{ServiceStatus, Status};

/// The host, then its services.
pub(crate) fn status(status: &Status, output: &mut impl Write) -> io::Result<()> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let memory =
        status.memory.map(|memory| format!("{} of {} MiB", memory.used_kb / 1024, memory.total_kb / 1024));
    let device = status.state.device.as_deref().unwrap_or("memory");
    let phase = format!("{:?}", status.phase).to_lowercase();
    let mut rows = vec![
        ("host", status.hostname.clone()),
        ("image", format!("{} {} {}", text(&status.image), text(&status.version), status.arch)),
        ("kernel", status.kernel.clone()),
        ("phase", format!("{phase}, up {}", span(status.uptime_ms))),
        ("addresses", list(&status.addresses)),
        ("state", format!("{device} ({})", status.state.filesystem)),
        ("config", list(&status.config.sources)),
        ("memory", memory.unwrap_or_else(|| "-".to_owned())),
    ];
    rows.extend(status.config.errors.iter().map(|error| ("error", error.clone())));
    for (name, value) in rows {
        writeln!(output, "{name:<10} {value}")?;
    }
    writeln!(output)?;
    services(&status.services, output)
}

/// One row for each service.
pub(crate) fn services(services: &[ServiceStatus], output: &mut impl Write) -> io::Result<()> {
    let head = ["SERVICE", "STATE", "FOR", "STARTS", "PID", "MEMORY", "SAYS"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(services.iter().map(|service| {
        [
            service.name.clone(),
            service.state.to_string(),
            span(service.for_ms),
            service.starts.to_string(),
            service.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            service.memory_kb.map_or_else(|| "-".to_owned(), |kb| format!("{kb} KiB")),
            service.text.clone().or_else(|| service.last_end.clone()).unwrap_or_default(),
        ]
    }));
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}

/// One service, a fact per line.
pub(crate) fn service(service: &ServiceStatus, output: &mut impl Write) -> io::Result<()> {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    for (name, value) in [
        ("service", service.name.clone()),
        ("state", format!("{} for {}", service.state, span(service.for_ms))),
        ("says", service.text.clone().unwrap_or_else(|| "-".to_owned())),
        ("last end", service.last_end.clone().unwrap_or_else(|| "-".to_owned())),
        ("starts", service.starts.to_string()),
        ("pid", number(service.pid.map(u64::from))),
        ("memory", format!("{} KiB", number(service.memory_kb))),
        ("tasks", number(service.tasks)),
        ("dropped", format!("{} log lines", service.dropped_lines)),
    ] {
        writeln!(output, "{name:<10} {value}")?;
    }
    Ok(())
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.join(" ") }
}

/// A span in its two largest units.
fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (ms, text) in
            [(0, "0.0s"), (59_950, "59.9s"), (61_000, "1m1s"), (7_260_000, "2h1m"), (90_000_000, "1d1h")]
        {
            assert_eq!(span(ms), text);
        }
    }
}
