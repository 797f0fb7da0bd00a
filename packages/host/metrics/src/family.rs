//! Families of metrics, and their text in two formats: OpenMetrics 1.0 and the text format of Prometheus (0.0.4).
//!
//! The two differ in the names of counters' families, in units, and in the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A text format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    #[default]
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
}

impl Format {
    /// What a client wants that sends this header `Accept` (RFC 9110 section 12.5.1); the older one unless it names the newer.
    pub fn of_accept(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// The header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Types of metrics (OpenMetrics 1.0, "Metric Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gauge,
    Counter,
    StateSet,
    Info,
    Unknown,
}

impl Kind {
    fn word(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Gauge, _) => "gauge",
            (Self::Counter, _) => "counter",
            (Self::StateSet, Format::OpenMetrics) => "stateset",
            (Self::Info, Format::OpenMetrics) => "info",
            (Self::StateSet | Self::Info, Format::Prometheus) => "gauge",
            (Self::Unknown, Format::OpenMetrics) => "unknown",
            (Self::Unknown, Format::Prometheus) => "untyped",
        }
    }

    /// What is behind the family's name in the names of its samples.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::StateSet | Self::Unknown => "",
        }
    }
}

/// Units that names end with (OpenMetrics 1.0, "Units and Base Units").
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// One family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    kind: Kind,
    help: String,
    /// Labels in braces, if there are any, and the value.
    samples: Vec<(String, String)>,
}

impl Family {
    /// A whole number.
    pub(crate) fn number(&mut self, labels: &[(&str, &str)], value: u64) {
        self.samples.push((braced(labels), value.to_string()));
    }

    /// The same, when it is known.
    pub(crate) fn known(&mut self, labels: &[(&str, &str)], value: Option<u64>) {
        if let Some(value) = value {
            self.number(labels, value);
        }
    }

    /// Any number.
    pub(crate) fn real(&mut self, labels: &[(&str, &str)], value: f64) {
        self.samples.push((braced(labels), value.to_string()));
    }

    /// A sample that somebody else has written: labels in braces, and the value.
    pub(crate) fn written(&mut self, labels: &str, value: &str) {
        self.samples.push((labels.to_owned(), value.to_owned()));
    }
}

fn braced(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let mut text = String::from("{");
    for (index, (name, value)) in labels.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text.push('}');
    text
}

/// All families, each once, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Families(BTreeMap<String, Family>);

impl Families {
    /// The family of that name, without what its samples' names end with; it keeps the type and help that it has first.
    pub(crate) fn add(&mut self, name: &str, kind: Kind, help: &str) -> &mut Family {
        let new = || Family { kind, help: help.to_owned(), samples: Vec::new() };
        self.0.entry(name.to_owned()).or_insert_with(new)
    }

    /// The text, with families that have no samples left out.
    pub(crate) fn text(&self, format: Format) -> String {
        let mut text = String::new();
        for (name, family) in self.0.iter().filter(|(_, family)| !family.samples.is_empty()) {
            let sample = format!("{name}{}", family.kind.suffix());
            // In the older format a family has the name of its samples.
            let title = if format == Format::OpenMetrics { name } else { &sample };
            let _ = writeln!(text, "# TYPE {title} {}", family.kind.word(format));
            let unit =
                UNITS.iter().find(|unit| name.strip_suffix(*unit).is_some_and(|rest| rest.ends_with('_')));
            if let Some(unit) = unit.filter(|_| format == Format::OpenMetrics) {
                let _ = writeln!(text, "# UNIT {title} {unit}");
            }
            let _ =
                writeln!(text, "# HELP {title} {}", family.help.replace('\\', "\\\\").replace('\n', "\\n"));
            for (labels, value) in &family.samples {
                let _ = writeln!(text, "{sample}{labels} {value}");
            }
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn both_formats() {
        let mut families = Families::default();
        let family = families.add("b_seconds", Kind::Counter, "Time.");
        family.real(&[("kind", "a\"b\\\n")], 1.5);
        family.number(&[], 2);
        families.add("a", Kind::Info, "What it is.").number(&[("x", "y"), ("z", "")], 1);
        families.add("c_bytes", Kind::Gauge, "Size.").known(&[], None);
        expect![[r#"
            # TYPE a info
            # HELP a What it is.
            a_info{x="y",z=""} 1
            # TYPE b_seconds counter
            # UNIT b_seconds seconds
            # HELP b_seconds Time.
            b_seconds_total{kind="a\"b\\\n"} 1.5
            b_seconds_total 2
            # EOF
        "#]]
        .assert_eq(&families.text(Format::OpenMetrics));
        expect![[r#"
            # TYPE a_info gauge
            # HELP a_info What it is.
            a_info{x="y",z=""} 1
            # TYPE b_seconds_total counter
            # HELP b_seconds_total Time.
            b_seconds_total{kind="a\"b\\\n"} 1.5
            b_seconds_total 2
        "#]]
        .assert_eq(&families.text(Format::Prometheus));
    }

    #[test]
    fn who_gets_which() {
        let new = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::of_accept(new), Format::OpenMetrics);
        assert_eq!(Format::of_accept("*/*"), Format::Prometheus);
    }
}
