//! Entrances for `examples/fuzz.rs` and the tests: bytes of anyone, and what must hold for them. Not a part of the interface.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::buffer::{Buffer, Item};
use crate::clock;
use crate::format::Speaker;
use crate::format::json::Json;
use crate::format::syslog::Syslog;
use crate::frame::{self, Batch, Frame, Position};
use crate::record::{Record, Records};
use crate::send::http::{self, Verdict};
use crate::source::{cri, lines};

/// A line of a log, as CRI has it and as PID 1 does: whatever it is, its text is a part of it, and every destination gets one
/// whole line of the right form. Gives whether it was an entry.
pub fn line(line: &[u8]) -> bool {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let record = cri::parse(line, 7);
    assert!(line.ends_with(record.text), "the text is the end of the entry");
    whole(&record);
    if let lines::Line::Text(record) = lines::parse(line, Some(1), 7) {
        assert!(line.ends_with(record.text));
        whole(&record);
    }
    let _ = clock::parse_rfc3339(line);
    record.text.len() < line.len()
}

fn whole(record: &Record<'_>) {
    let speaker = Speaker { host: "edge-1", source: None };
    let mut out = Vec::new();
    Json::new(speaker).push(record, &mut out);
    let text = std::str::from_utf8(&out).expect("JSON is UTF-8");
    assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "one line");
    let value: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
    assert_eq!(value["text"], String::from_utf8_lossy(record.text).as_ref());
    out.clear();
    Syslog::new(speaker).push(record, &mut Vec::new(), &mut out);
    let blank = out.iter().position(|byte| *byte == b' ').expect("a length and a blank");
    let len: usize = std::str::from_utf8(&out[..blank]).expect("digits").parse().expect("a number");
    assert_eq!(len, out.len() - blank - 1, "the length is that of the message");
}

/// A segment of a buffer: what is read of it is whole, and the buffer goes on with it. Gives the lines that were found.
pub fn segment(folder: &Path, bytes: &[u8]) -> io::Result<usize> {
    let mut input = bytes;
    let mut frames = 0;
    while let Some(frame) = frame::decode(&mut input) {
        frames += 1;
        if let Frame::Batch(batch) = frame {
            let _ = batch.records.count();
        }
    }
    assert!(frames <= bytes.len() / frame::HEADER);
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("0000000000000001.segment"), bytes)?;
    let buffer = Buffer::open(folder, 1 << 20)?;
    let batch =
        Batch { key: "kernel", position: Position::default(), left_out: 0, lines: 1, records: Records(b"") };
    buffer.append(&batch, &batch.encode())?;
    let mut reader = buffer.reader();
    let (mut lines, mut last) = (0, String::new());
    while let Some(item) = buffer.next(&mut reader)? {
        if let Item::Lines { lines: count, key, .. } = &item {
            lines += *count as usize;
            last.clone_from(key);
        }
        buffer.acked(&item, &mut reader, 0)?;
    }
    assert_eq!(last, "kernel", "what was added last comes last");
    assert!(!buffer.has_work());
    std::fs::remove_dir_all(folder)?;
    Ok(lines)
}

/// An answer of a destination. Gives whether it was one.
pub async fn answer(bytes: &[u8]) -> bool {
    let (ours, mut theirs) = tokio::io::duplex(64 << 10);
    let replying = async {
        // It answers as soon as it is asked, and goes.
        let _ = theirs.read(&mut [0; 1024]).await;
        let _ = theirs.write_all(bytes).await;
        let _ = theirs.shutdown().await;
        let mut ignored = tokio::io::sink();
        let _ = tokio::io::copy(&mut theirs, &mut ignored).await;
    };
    let (verdict, ()) = tokio::join!(http::converse(ours), replying);
    if let Some(Verdict::Again(Some(wait))) = verdict {
        assert!(wait.as_secs() <= 60, "no answer keeps lines for long");
    }
    verdict.is_some()
}
