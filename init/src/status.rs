//! The state of the host in a few rows, for people in front of a console. Pure: `screen.rs` shows them.

use lepton_control::{Phase, ServiceState, Status};

/// Services that have a row of their own; of more the rest is counted.
const SERVICES: usize = 12;
/// Mistakes that are shown, the last ones.
const ERRORS: usize = 5;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What seldom changes, for a console that keeps every line.
    Facts,
    /// Also what services say of themselves, for one that is drawn again.
    Sayings,
}

/// Rows of a name and a value.
pub fn rows(status: &Status, detail: Detail) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let phase = match status.phase {
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::Failed => "failed",
        Phase::Stopping => "stopping",
    };
    let device = status.state.device.as_deref().unwrap_or("memory");
    let mut rows = vec![
        row("host", &format!("{}, {phase}", status.hostname)),
        row("image", &format!("{} {} {}", text(&status.image), text(&status.version), status.arch)),
        row("addresses", &list(&status.addresses)),
        row("state", &format!("{device} ({})", status.state.filesystem)),
        row("config", &list(&status.config.sources)),
    ];
    for service in status.services.iter().take(SERVICES) {
        let mut text = format!("{} {}", service.name, service.state);
        // Why one does not run belongs to the facts.
        let is_down = matches!(service.state, ServiceState::Failed | ServiceState::Waiting);
        let said = match (&service.text, &service.last_end) {
            (Some(said), _) if is_down || detail == Detail::Sayings => Some(said),
            (_, Some(end)) if is_down => Some(end),
            _ => None,
        };
        if let Some(said) = said {
            text.push_str(": ");
            text.push_str(said);
        }
        rows.push(row("service", &text));
    }
    if status.services.len() > SERVICES {
        rows.push(row("service", &format!("and {} more", status.services.len() - SERVICES)));
    }
    let errors = &status.config.errors;
    rows.extend(errors.iter().skip(errors.len().saturating_sub(ERRORS)).map(|error| row("error", error)));
    rows
}

fn row(name: &str, value: &str) -> String {
    // What others wrote must not command the terminal.
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    format!("{name:<10} {}", value.chars().map(plain).collect::<String>())
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.join(" ") }
}

/// The text for a console that keeps every line.
pub fn plain(rows: &[String]) -> String {
    rows.iter().map(|row| format!("lepton: status {row}\n")).collect()
}

/// The text that draws the rows at the top of a Linux terminal (console_codes(4)), in place of `before` rows, and leaves
/// the part below to the lines of others.
pub fn drawn(rows: &[String], before: usize) -> String {
    let mut text = String::new();
    // Without wrapping, a row that is too long ends at the edge.
    text.push_str("\x1b7\x1b[?7l\x1b[H");
    if before != rows.len() {
        text.push_str("\x1b[2J");
    }
    for row in rows {
        text.push_str(row);
        text.push_str("\x1b[K\r\n");
    }
    text.push_str("\x1b[K\x1b[?7h");
    if before == rows.len() {
        text.push_str("\x1b8");
    } else {
        // Lines scroll below an empty one; setting that part moves the cursor away from it.
        text.push_str(&format!("\x1b[{0};r\x1b[{0};1H", rows.len() + 2));
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use lepton_control::{ConfigStatus, ServiceStatus, StateStatus};

    use super::*;

    fn service(name: &str, state: ServiceState, text: Option<&str>) -> ServiceStatus {
        ServiceStatus {
            name: name.into(),
            state,
            text: text.map(str::to_owned),
            pid: None,
            starts: 1,
            last_end: Some("was ended by signal 9".into()),
            for_ms: 0,
            memory_kb: None,
            tasks: None,
            dropped_lines: 0,
        }
    }

    fn status() -> Status {
        Status {
            image: Some("minimal".into()),
            version: None,
            arch: "x86_64".into(),
            kernel: "6".into(),
            phase: Phase::Ready,
            uptime_ms: 1,
            ready_ms: None,
            hostname: "edge-1".into(),
            addresses: vec!["192.0.2.1".into(), "2001:db8::1".into()],
            state: StateStatus { device: None, filesystem: "tmpfs".into() },
            config: ConfigStatus {
                sources: vec!["image".into(), "cmdline".into()],
                errors: (0..7).map(|number| format!("mistake {number} \x1b[2J")).collect(),
            },
            memory: None,
            services: vec![
                service("network", ServiceState::Ready, Some("lease of eth0")),
                service("time", ServiceState::Failed, None),
            ],
        }
    }

    #[test]
    fn facts() {
        expect![[r#"
            lepton: status host       edge-1, ready
            lepton: status image      minimal - x86_64
            lepton: status addresses  192.0.2.1 2001:db8::1
            lepton: status state      memory (tmpfs)
            lepton: status config     image cmdline
            lepton: status service    network ready
            lepton: status service    time failed: was ended by signal 9
            lepton: status error      mistake 2  [2J
            lepton: status error      mistake 3  [2J
            lepton: status error      mistake 4  [2J
            lepton: status error      mistake 5  [2J
            lepton: status error      mistake 6  [2J
        "#]]
        .assert_eq(&plain(&rows(&status(), Detail::Facts)));
    }

    #[test]
    fn many_services_are_counted() {
        let mut status = status();
        status.services =
            (0..20).map(|n| service(&format!("s{n}"), ServiceState::Ready, Some("x"))).collect();
        let rows = rows(&status, Detail::Sayings);
        assert!(rows.contains(&"service    s11 ready: x".to_owned()), "{rows:?}");
        assert!(rows.contains(&"service    and 8 more".to_owned()), "{rows:?}");
    }

    #[test]
    fn a_screen_of_the_same_height_is_drawn_in_place() {
        let rows = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            drawn(&rows, 0),
            "\x1b7\x1b[?7l\x1b[H\x1b[2Ja\x1b[K\r\nb\x1b[K\r\n\x1b[K\x1b[?7h\x1b[4;r\x1b[4;1H"
        );
        assert_eq!(drawn(&rows, 2), "\x1b7\x1b[?7l\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[K\x1b[?7h\x1b8");
    }
}
