//! Syslog messages of RFC 5424, framed by octet counting as RFC 5425 section 4.3 has it: `MSG-LEN SP SYSLOG-MSG`.
//!
//! TIMESTAMP has six digits of the second (RFC 5424 section 6.2.3); the nanoseconds stand in the structured data, whose number
//! is that of examples (RFC 5612), as the project has none. The text is sent as its bytes are, MSG-ANY: nobody knows what a
//! container writes in.

use super::{Severity, Speaker};
use crate::clock;
use crate::record::Record;
use crate::source::{Kind, Source};

/// SD-ID of the structured data.
const SD_ID: &str = "lepton@32473";

/// What stays the same for all lines of a source.
#[derive(Debug)]
pub struct Syslog {
    facility: u8,
    /// HOSTNAME, APP-NAME, PROCID and MSGID, with blanks around them.
    names: Vec<u8>,
    data: Vec<u8>,
}

impl Syslog {
    /// For lines of this speaker.
    pub fn new(speaker: Speaker<'_>) -> Self {
        // Section 6.2.1: kern, daemon and local0.
        let facility = match speaker.kind() {
            Some(Kind::Kernel) => 0,
            Some(Kind::Containers) => 16,
            Some(Kind::Services) | None => 3,
        };
        let mut names = vec![b' '];
        name(&mut names, speaker.host, 255);
        names.push(b' ');
        name(&mut names, speaker.source.map_or("lepton", Source::name), 48);
        names.extend_from_slice(b" - - ");
        let mut data = Vec::new();
        if let Some(source) = speaker.source {
            if let Some(unit) = source.unit() {
                parameter(&mut data, "unit", unit);
            }
            if let Source::Pod { namespace, pod, uid, restart, .. } = source {
                parameter(&mut data, "namespace", namespace);
                parameter(&mut data, "pod", pod);
                parameter(&mut data, "pod-uid", uid);
                parameter(&mut data, "restart", &restart.to_string());
            }
            if let Some(container) = source.container() {
                parameter(&mut data, "container", container);
            }
        }
        Self { facility, names, data }
    }

    /// Adds a line with its length before it; `scratch` is for the message.
    pub fn push(&self, record: &Record<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        scratch.clear();
        // Section 6.2.1.
        let severity = match Severity::of(record.stream) {
            Severity::Error => 3,
            Severity::Warning => 4,
            Severity::Info => 6,
        };
        scratch.extend_from_slice(format!("<{}>1 ", self.facility * 8 + severity).as_bytes());
        clock::push_rfc3339(scratch, record.time_ns, 6);
        scratch.extend_from_slice(&self.names);
        scratch.push(b'[');
        scratch.extend_from_slice(SD_ID.as_bytes());
        scratch.extend_from_slice(&self.data);
        parameter(scratch, "stream", record.stream.as_str());
        if record.is_part {
            parameter(scratch, "partial", "true");
        }
        parameter(scratch, "ns", &record.time_ns.to_string());
        scratch.extend_from_slice(b"]");
        if !record.text.is_empty() {
            scratch.push(b' ');
            // A mark of byte order would claim that the rest is UTF-8.
            scratch.extend_from_slice(record.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record.text));
        }
        out.extend_from_slice(scratch.len().to_string().as_bytes());
        out.push(b' ');
        out.extend_from_slice(scratch);
    }
}

/// PRINTUSASCII of a bounded length; `-` when nothing is left.
fn name(out: &mut Vec<u8>, text: &str, limit: usize) {
    let start = out.len();
    out.extend(text.bytes().filter(u8::is_ascii_graphic).take(limit));
    if out.len() == start {
        out.push(b'-');
    }
}

/// A parameter of the structured data, with what must be escaped (section 6.3.3).
fn parameter(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value.bytes() {
        if matches!(byte, b'"' | b'\\' | b']') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stream;

    #[test]
    fn messages() {
        let message = |host: &str, source: Option<&Source>, record: Record<'_>| {
            let mut out = Vec::new();
            Syslog::new(Speaker { host, source }).push(&record, &mut Vec::new(), &mut out);
            let text = String::from_utf8(out).unwrap();
            let (len, message) = text.split_once(' ').unwrap();
            assert_eq!(len.parse::<usize>().unwrap(), message.len());
            message.to_owned()
        };
        let record =
            Record { time_ns: 1_000_001_001, stream: Stream::Stderr, is_part: true, text: b"a \"b\"" };
        let pod = Source::Pod {
            namespace: "shop".into(),
            pod: "web-1".into(),
            uid: "c7\"e4]".into(),
            container: "app".into(),
            restart: 2,
        };
        assert_eq!(
            message("edge-1", Some(&pod), record),
            "<131>1 1970-01-01T00:00:01.000001Z edge-1 app - - [lepton@32473 namespace=\"shop\" pod=\"web-1\" \
             pod-uid=\"c7\\\"e4\\]\" restart=\"2\" container=\"app\" stream=\"stderr\" partial=\"true\" \
             ns=\"1000001001\"] a \"b\""
        );
        let record = Record { time_ns: 0, stream: Stream::Log, is_part: false, text: b"" };
        assert_eq!(
            message("", Some(&Source::Kernel), record),
            "<6>1 1970-01-01T00:00:00.000000Z - kernel - - [lepton@32473 unit=\"kernel\" stream=\"log\" ns=\"0\"]"
        );
        let record = Record { stream: Stream::Lepton, ..record };
        assert!(message("a b", None, record).starts_with("<28>1 1970-01-01T00:00:00.000000Z ab lepton - - "));
    }
}
