//! OTLP over HTTP: a collector that reads requests by the published field numbers, and answers as it is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::{Host, until, write_lines};

/// A field of a message: its number and what it holds.
#[derive(Debug, PartialEq)]
enum Field<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// Fields of a message (protobuf's wire format).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Varint(varint(&mut bytes)),
            1 => {
                let (fixed, rest) = bytes.split_at(8);
                bytes = rest;
                Field::Fixed(u64::from_le_bytes(fixed.try_into().unwrap()))
            }
            2 => {
                let len = usize::try_from(varint(&mut bytes)).unwrap();
                let (inner, rest) = bytes.split_at(len);
                bytes = rest;
                Field::Bytes(inner)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return number;
        }
    }
}

/// All messages in a field of that number.
fn inner(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    fields(bytes)
        .into_iter()
        .filter(|(of, _)| *of == number)
        .map(|(_, field)| match field {
            Field::Bytes(inner) => inner,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// A log record of a request with what it came with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    resource: Vec<(String, String)>,
    time_unix_nano: u64,
    observed_time_unix_nano: u64,
    severity_number: u64,
    attributes: Vec<(String, String)>,
    pub(crate) body: String,
}

fn key_value(bytes: &[u8]) -> (String, String) {
    let key = String::from_utf8(inner(bytes, 1)[0].to_vec()).unwrap();
    (key, any_value(inner(bytes, 2)[0]))
}

fn any_value(bytes: &[u8]) -> String {
    match &fields(bytes)[..] {
        [(1, Field::Bytes(text))] => String::from_utf8(text.to_vec()).unwrap(),
        [(2, Field::Varint(flag))] => (*flag == 1).to_string(),
        [(3, Field::Varint(number))] => number.to_string(),
        // A number that is 0 may be left out.
        [] => "0".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Reads an ExportLogsServiceRequest.
fn records(request: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    for resource_logs in inner(request, 1) {
        let resource: Vec<_> =
            inner(resource_logs, 1).iter().flat_map(|it| inner(it, 1)).map(key_value).collect();
        for scope_logs in inner(resource_logs, 2) {
            assert_eq!(inner(inner(scope_logs, 1)[0], 1), [b"lepton-logs"]);
            for log_record in inner(scope_logs, 2) {
                let mut record = Record { resource: resource.clone(), ..Record::default() };
                for (number, field) in fields(log_record) {
                    match (number, field) {
                        (1, Field::Fixed(time)) => record.time_unix_nano = time,
                        (2, Field::Varint(severity)) => record.severity_number = severity,
                        (5, Field::Bytes(body)) => record.body = any_value(body),
                        (6, Field::Bytes(attribute)) => record.attributes.push(key_value(attribute)),
                        (11, Field::Fixed(time)) => record.observed_time_unix_nano = time,
                        other => panic!("{other:?}"),
                    }
                }
                records.push(record);
            }
        }
    }
    records
}

/// What is answered to the texts of a request: status and body.
type Answer = dyn Fn(&[String]) -> (u16, Vec<u8>) + Send + Sync;

/// Of each request: its encoding, its bytes as sent, and as unpacked.
type Sizes = Vec<(Option<String>, usize, usize)>;

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    came: Arc<Mutex<Vec<Record>>>,
    sizes: Arc<Mutex<Sizes>>,
}

impl Collector {
    pub(crate) fn start(answer: impl Fn(&[String]) -> (u16, Vec<u8>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, came) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept): (Arc<Answer>, _) = (Arc::new(answer), (Arc::clone(&came), Arc::clone(&sizes)));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, came, sizes) = (Arc::clone(&answer), Arc::clone(&came), Arc::clone(&sizes));
                thread::spawn(move || serve(stream, &*answer, &came, &sizes));
            }
        });
        Self { address, came: kept.0, sizes: kept.1 }
    }

    fn records(&self) -> Vec<Record> {
        self.came.lock().unwrap().clone()
    }
}

/// Requests on one connection. What the program that was killed has begun is no request.
fn serve(stream: TcpStream, answer: &Answer, came: &Mutex<Vec<Record>>, sizes: &Mutex<Sizes>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            head.push(line);
        }
        assert_eq!(head[0], "post /v1/logs http/1.1");
        assert!(head.contains(&"content-type: application/x-protobuf".to_owned()), "{head:?}");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let encoding =
            head.iter().find_map(|line| line.strip_prefix("content-encoding: ")).map(str::to_owned);
        if encoding.as_deref() == Some("gzip") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
            body = plain;
        }
        sizes.lock().unwrap().push((encoding, length, body.len()));
        let records = records(&body);
        let texts: Vec<String> = records.iter().map(|record| record.body.clone()).collect();
        let (status, body) = answer(&texts);
        if status == 200 {
            came.lock().unwrap().extend(records);
        }
        let retry = if status == 503 { "Retry-After: 1\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} X\r\n{retry}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    }
}

fn config(collector: &Collector) -> String {
    format!("[[logs.destinations]]\nname = 'central'\nurl = 'otlp+http://{}'\n", collector.address)
}

#[test]
fn records_have_all_that_is_known() {
    let collector = Collector::start(|_| (200, Vec::new()));
    let mut host = Host::new(&config(&collector));
    let text = "2026-11-30T10:00:00.000000007Z stderr P ohé\n";
    std::fs::write(host.log(), text).unwrap();
    std::fs::write(host.path("host/kernel.log"), "2026-11-30T10:00:00.500Z 1.500 up\n").unwrap();
    host.start();
    until("both came", || collector.records().len() == 2);
    let records = collector.records();
    let name = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    let app = records.iter().find(|record| record.time_unix_nano % 1_000_000 == 7).unwrap();
    assert_eq!(
        app.resource,
        pairs(&[
            ("host.name", &name),
            ("service.name", "app"),
            ("k8s.namespace.name", "shop"),
            ("k8s.pod.name", "web-1"),
            ("k8s.pod.uid", "c7e4c2a1"),
            ("k8s.container.name", "app"),
            ("k8s.container.restart_count", "0"),
        ])
    );
    assert_eq!(app.attributes, pairs(&[("log.iostream", "stderr"), ("lepton.partial", "true")]));
    assert_eq!((app.body.as_str(), app.severity_number), ("ohé", 17));
    assert_eq!(app.time_unix_nano, 1_796_032_800_000_000_007);
    assert!(app.observed_time_unix_nano > 0);
    let kernel = records.iter().find(|record| record.body == "up").unwrap();
    assert_eq!(
        kernel.resource,
        pairs(&[("host.name", &name), ("service.name", "kernel"), ("lepton.unit", "kernel")])
    );
    assert_eq!((kernel.severity_number, kernel.attributes.len()), (9, 0));
    host.stop();
}

#[test]
fn answers_that_say_later_and_never() {
    // The first two requests come at a bad time; a line is never wanted; of a third request one line is refused.
    let asked = Arc::new(AtomicU64::new(0));
    let collector = Collector::start({
        let asked = Arc::clone(&asked);
        move |texts| {
            if texts.iter().any(|text| text == "line 77") {
                return (400, Vec::new());
            }
            match asked.fetch_add(1, Ordering::Relaxed) {
                0 => (503, Vec::new()),
                1 => (429, Vec::new()),
                // partial_success { rejected_log_records: 1, error_message: "no" }
                2 => (200, b"\x0a\x06\x08\x01\x12\x02no".to_vec()),
                _ => (200, Vec::new()),
            }
        }
    });
    let mut host = Host::new(&config(&collector));
    write_lines(&host.log(), 0..10);
    let start = Instant::now();
    host.start();
    until("they came at last", || host.figure("sent_lines_total", "central") == 9);
    assert!(start.elapsed() >= Duration::from_secs(1), "it was asked to wait for a second");
    assert_eq!(host.figure("retries_total", "central"), 2);
    write_lines(&host.log(), 77..80);
    until("they were refused", || host.figure("refused_lines_total", "central") == 4);
    write_lines(&host.log(), 80..90);
    until("the rest came", || host.figure("sent_lines_total", "central") == 19);
    assert_eq!(host.figure("dropped_lines_total", "central"), 4);
    until("it was told", || {
        let notices = collector.records().into_iter().filter(|it| it.severity_number == 13);
        notices.map(|it| it.body.split(' ').nth(1).unwrap().parse::<u64>().unwrap()).sum::<u64>() == 4
    });
    host.stop();
    assert!(host.said().contains("answers 400"), "{}", host.said());
}

#[test]
fn many_lines() {
    let collector = Collector::start(|_| (200, Vec::new()));
    let mut host = Host::new(&config(&collector));
    host.start();
    write_lines(&host.log(), 0..100_000);
    until("all lines", || host.figure("sent_lines_total", "central") == 100_000);
    let bodies: Vec<_> = collector.records().into_iter().map(|record| record.body).collect();
    assert_eq!(bodies, (0..100_000).map(|number| format!("line {number}")).collect::<Vec<_>>());
    host.stop();
}

#[test]
fn requests_are_compressed_unless_that_is_unwanted() {
    for (setting, encoding) in
        [("", Some("gzip")), ("compression = 'gzip'\n", Some("gzip")), ("compression = 'none'\n", None)]
    {
        let collector = Collector::start(|_| (200, Vec::new()));
        let mut host = Host::new(&format!("{}{setting}", config(&collector)));
        write_lines(&host.log(), 0..5_000);
        host.start();
        until("all lines", || host.figure("sent_lines_total", "central") == 5_000);
        let bodies: Vec<_> = collector.records().into_iter().map(|record| record.body).collect();
        assert_eq!(bodies, (0..5_000).map(|number| format!("line {number}")).collect::<Vec<_>>());
        let sizes = collector.sizes.lock().unwrap().clone();
        assert!(sizes.iter().all(|(of, ..)| of.as_deref() == encoding), "{setting}: {sizes:?}");
        let (sent, plain) = sizes.iter().fold((0, 0), |sum, (_, sent, plain)| (sum.0 + sent, sum.1 + plain));
        match encoding {
            Some(_) => assert!(sent * 5 < plain, "{sent} of {plain} bytes"),
            None => assert_eq!(sent, plain),
        }
        // What was sent is counted as it was sent.
        assert_eq!(host.figure("sent_bytes_total", "central"), sent as u64);
        host.stop();
    }
}
