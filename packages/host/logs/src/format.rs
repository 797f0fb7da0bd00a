//! How lines look to a destination. Pure: records in, bytes out.

pub mod json;
pub mod otlp;
pub mod syslog;

use std::borrow::Cow;

use crate::record::{Record, Stream};
use crate::source::{Kind, Source};

/// Importance, as syslog and OpenTelemetry count it. Standard error is not always bad, but it is what a program has to say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something is wrong.
    Error,
    /// Lines are missing.
    Warning,
    /// Everything else.
    Info,
}

impl Severity {
    fn of(stream: Stream) -> Self {
        match stream {
            Stream::Stdout | Stream::Log => Self::Info,
            Stream::Stderr => Self::Error,
            Stream::Lepton => Self::Warning,
        }
    }
}

/// Who speaks: the host and one of its sources.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'a> {
    /// The host's name.
    pub host: &'a str,
    /// The source; none for several.
    pub source: Option<&'a Source>,
}

impl Speaker<'_> {
    fn kind(&self) -> Option<Kind> {
        self.source.map(Source::kind)
    }
}

/// A record's text as Unicode: other bytes become U+FFFD.
fn text<'a>(record: &Record<'a>) -> Cow<'a, str> {
    String::from_utf8_lossy(record.text)
}
