//! A JSON object per line, in UTF-8, with a line feed behind it.

use serde_json::Value;

use super::{Speaker, text};
use crate::clock;
use crate::record::Record;
use crate::source::Source;

/// What stays the same for all lines of a source.
#[derive(Debug)]
pub struct Json {
    fields: Vec<u8>,
}

impl Json {
    /// For lines of this speaker.
    pub fn new(speaker: Speaker<'_>) -> Self {
        let mut fields = Vec::new();
        field(&mut fields, "host", speaker.host);
        if let Some(source) = speaker.source {
            if let Some(unit) = source.unit() {
                field(&mut fields, "unit", unit);
            }
            if let Source::Pod { namespace, pod, uid, restart, .. } = source {
                field(&mut fields, "namespace", namespace);
                field(&mut fields, "pod", pod);
                field(&mut fields, "pod-uid", uid);
                fields.extend_from_slice(format!(",\"restart\":{restart}").as_bytes());
            }
            if let Some(container) = source.container() {
                field(&mut fields, "container", container);
            }
        }
        Self { fields }
    }

    /// Adds a line.
    pub fn push(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        clock::push_rfc3339(out, record.time_ns, 9);
        out.push(b'"');
        out.extend_from_slice(&self.fields);
        out.extend_from_slice(b",\"stream\":\"");
        out.extend_from_slice(record.stream.as_str().as_bytes());
        out.push(b'"');
        if record.is_part {
            out.extend_from_slice(b",\"partial\":true");
        }
        out.extend_from_slice(b",\"text\":");
        quote(&text(record), out);
        out.extend_from_slice(b"}\n");
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    quote(value, out);
}

fn quote(text: &str, out: &mut Vec<u8>) {
    let is_plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(Value::from(text).to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stream;

    #[test]
    fn lines() {
        let line = |source: Option<&Source>, record: Record<'_>| {
            let mut out = Vec::new();
            Json::new(Speaker { host: "edge-1", source }).push(&record, &mut out);
            let text = String::from_utf8(out).unwrap();
            let _: Value = serde_json::from_str(&text).unwrap();
            text
        };
        let record =
            Record { time_ns: 1_001, stream: Stream::Stderr, is_part: true, text: b"a \"b\"\x1b\xff" };
        let pod = Source::Pod {
            namespace: "shop".into(),
            pod: "web-1".into(),
            uid: "c7e4".into(),
            container: "app".into(),
            restart: 2,
        };
        assert_eq!(
            line(Some(&pod), record),
            "{\"time\":\"1970-01-01T00:00:00.000001001Z\",\"host\":\"edge-1\",\"namespace\":\"shop\",\"pod\":\"web-1\",\
             \"pod-uid\":\"c7e4\",\"restart\":2,\"container\":\"app\",\"stream\":\"stderr\",\"partial\":true,\
             \"text\":\"a \\\"b\\\"\\u001b\u{fffd}\"}\n"
        );
        let record = Record { time_ns: 0, stream: Stream::Log, is_part: false, text: b"up" };
        assert_eq!(
            line(Some(&Source::Service { name: "network".into() }), record),
            "{\"time\":\"1970-01-01T00:00:00.000000000Z\",\"host\":\"edge-1\",\"unit\":\"network\",\"stream\":\"log\",\"text\":\"up\"}\n"
        );
        let web = line(Some(&Source::Container { name: "web".into() }), record);
        assert!(web.contains("\"unit\":\"web\",\"container\":\"web\""), "{web}");
        assert!(!line(None, record).contains("unit"));
    }
}
