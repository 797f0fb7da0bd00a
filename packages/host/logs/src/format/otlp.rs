//! OTLP (opentelemetry-proto 1.x, `ExportLogsServiceRequest` and its answer): the messages that are needed, by their published
//! field numbers. Attributes have the names of OpenTelemetry's semantic conventions where there are any.

use prost::Message as _;

use super::{Severity, Speaker, text};
use crate::record::{Records, Stream};
use crate::source::Source;

/// Messages, as published.
#[expect(missing_docs, reason = "the published descriptions have the text")]
pub mod messages {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ExportLogsServiceRequest {
        #[prost(message, repeated, tag = "1")]
        pub resource_logs: Vec<ResourceLogs>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ResourceLogs {
        #[prost(message, optional, tag = "1")]
        pub resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub scope_logs: Vec<ScopeLogs>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ScopeLogs {
        #[prost(message, optional, tag = "1")]
        pub scope: Option<InstrumentationScope>,
        #[prost(message, repeated, tag = "2")]
        pub log_records: Vec<LogRecord>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct InstrumentationScope {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub version: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct LogRecord {
        #[prost(fixed64, tag = "1")]
        pub time_unix_nano: u64,
        #[prost(int32, tag = "2")]
        pub severity_number: i32,
        #[prost(message, optional, tag = "5")]
        pub body: Option<AnyValue>,
        #[prost(message, repeated, tag = "6")]
        pub attributes: Vec<KeyValue>,
        #[prost(fixed64, tag = "11")]
        pub observed_time_unix_nano: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct KeyValue {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(message, optional, tag = "2")]
        pub value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct AnyValue {
        #[prost(oneof = "Value", tags = "1, 2, 3")]
        pub value: Option<Value>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        #[prost(string, tag = "1")]
        StringValue(String),
        #[prost(bool, tag = "2")]
        BoolValue(bool),
        #[prost(int64, tag = "3")]
        IntValue(i64),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ExportLogsServiceResponse {
        #[prost(message, optional, tag = "1")]
        pub partial_success: Option<ExportLogsPartialSuccess>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ExportLogsPartialSuccess {
        #[prost(int64, tag = "1")]
        pub rejected_log_records: i64,
        #[prost(string, tag = "2")]
        pub error_message: String,
    }
}

use messages::{
    AnyValue, ExportLogsServiceRequest, ExportLogsServiceResponse, InstrumentationScope, KeyValue, LogRecord,
    Resource, ResourceLogs, ScopeLogs, Value,
};

/// Lines of several sources on their way into one request.
#[derive(Debug, Default)]
pub struct Otlp {
    request: ExportLogsServiceRequest,
    /// Records in it.
    pub records: usize,
    /// Bytes of their texts, and what they cost besides.
    pub bytes: usize,
}

/// What a record has in a request besides its text: times, severity, an attribute and lengths.
const RECORD_BYTES: usize = 64;

impl Otlp {
    /// Adds lines of one source. `observed_ns` is now.
    pub fn push(&mut self, speaker: Speaker<'_>, records: Records<'_>, observed_ns: u64) {
        let log_records: Vec<LogRecord> = records
            .map(|record| {
                self.records += 1;
                self.bytes += RECORD_BYTES + record.text.len();
                let mut attributes = Vec::new();
                match record.stream {
                    Stream::Stdout | Stream::Stderr => {
                        attributes.push(attribute("log.iostream", record.stream.as_str()));
                    }
                    Stream::Lepton => attributes.push(attribute("lepton.notice", "missing")),
                    Stream::Log => {}
                }
                if record.is_part {
                    attributes.push(KeyValue {
                        key: "lepton.partial".to_owned(),
                        value: Some(AnyValue { value: Some(Value::BoolValue(true)) }),
                    });
                }
                LogRecord {
                    time_unix_nano: record.time_ns,
                    // The first numbers of INFO, WARN and ERROR.
                    severity_number: match Severity::of(record.stream) {
                        Severity::Info => 9,
                        Severity::Warning => 13,
                        Severity::Error => 17,
                    },
                    body: Some(string(&text(&record))),
                    attributes,
                    observed_time_unix_nano: observed_ns,
                }
            })
            .collect();
        if log_records.is_empty() {
            return;
        }
        let resource = resource(speaker);
        let last = self.request.resource_logs.last_mut();
        if let Some(last) = last.filter(|last| last.resource.as_ref() == Some(&resource)) {
            last.scope_logs[0].log_records.extend(log_records);
            return;
        }
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.request.resource_logs.push(ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![ScopeLogs { scope: Some(scope), log_records }],
        });
    }

    /// The request's body.
    pub fn encode(&self) -> Vec<u8> {
        self.request.encode_to_vec()
    }
}

fn resource(speaker: Speaker<'_>) -> Resource {
    let mut attributes = vec![attribute("host.name", speaker.host)];
    if let Some(source) = speaker.source {
        attributes.push(attribute("service.name", source.name()));
        if let Some(unit) = source.unit() {
            attributes.push(attribute("lepton.unit", unit));
        }
        match source {
            Source::Pod { namespace, pod, uid, container, restart } => attributes.extend([
                attribute("k8s.namespace.name", namespace),
                attribute("k8s.pod.name", pod),
                attribute("k8s.pod.uid", uid),
                attribute("k8s.container.name", container),
                KeyValue {
                    key: "k8s.container.restart_count".to_owned(),
                    value: Some(AnyValue { value: Some(Value::IntValue((*restart).into())) }),
                },
            ]),
            Source::Container { name } => attributes.push(attribute("container.name", name)),
            Source::Kernel | Source::Service { .. } => {}
        }
    }
    Resource { attributes }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(string(value)) }
}

fn string(text: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.to_owned())) }
}

/// Records that a destination does not want, of an answer's body. What is no answer says nothing.
pub fn rejected(body: &[u8]) -> u64 {
    let answer = ExportLogsServiceResponse::decode(body).unwrap_or_default();
    let rejected = answer.partial_success.unwrap_or_default().rejected_log_records;
    u64::try_from(rejected).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn requests_by_their_bytes() {
        let mut records = Vec::new();
        Record { time_ns: 7, stream: Stream::Stderr, is_part: false, text: b"a\xff" }.encode(&mut records);
        let mut otlp = Otlp::default();
        let source = Source::Service { name: "web".into() };
        let speaker = Speaker { host: "h", source: Some(&source) };
        otlp.push(speaker, Records(&records), 9);
        let host = b"\x0a\x10\x0a\x09host.name\x12\x03\x0a\x01h";
        let bytes = otlp.encode();
        // resource_logs, its resource, and the first attribute's key.
        assert_eq!(bytes[0], 0x0a);
        assert!(memchr::memmem::find(&bytes, host).is_some(), "{bytes:x?}");
        // time_unix_nano, severity_number and body.
        let record = b"\x09\x07\0\0\0\0\0\0\0\x10\x11\x2a\x06\x0a\x04a\xef\xbf\xbd";
        assert!(memchr::memmem::find(&bytes, record).is_some(), "{bytes:x?}");
        // observed_time_unix_nano.
        assert!(bytes.ends_with(b"\x59\x09\0\0\0\0\0\0\0"), "{bytes:x?}");
        otlp.push(speaker, Records(&records), 9);
        assert_eq!((otlp.records, otlp.request.resource_logs.len()), (2, 1));
        otlp.push(Speaker { host: "h", source: None }, Records(&records), 9);
        assert_eq!(otlp.request.resource_logs.len(), 2);
    }

    #[test]
    fn answers() {
        assert_eq!(rejected(b""), 0);
        assert_eq!(rejected(b"\x0a\x06\x08\x05\x12\x02no"), 5);
        assert_eq!(rejected(b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 0, "-1");
        assert_eq!(rejected(b"<html>"), 0);
    }
}
