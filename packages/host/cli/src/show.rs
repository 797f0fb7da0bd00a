//! Answers of hosts as people read them; and figures in them. Nothing here asks a host.

mod config;
mod figures;
mod network;
mod status;
mod storage;
mod workloads;

pub(crate) use config::effective;
pub(crate) use figures::Tops;
pub(crate) use status::{change_line, lost_line};

use crate::span;

/// What stands for nothing.
const NONE: &str = "-";

/// Bytes in the largest unit that leaves a whole part.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.iter().find(|(_, shift)| bytes >> shift > 0) {
        // Of KiB nobody needs tenths.
        Some((unit, 10)) => format!("{} {unit}", bytes >> 10),
        Some((unit, shift)) => {
            format!("{}.{} {unit}", bytes >> shift, ((bytes >> (shift - 10)) & 0x3ff) * 10 / 1024)
        }
        None => format!("{bytes} B"),
    }
}

/// A text, or what stands for nothing.
fn text(text: &str) -> String {
    if text.is_empty() { NONE.to_owned() } else { text.to_owned() }
}

/// Something that may be missing.
fn maybe<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

/// Words with spaces between them.
fn list(items: &[String]) -> String {
    text(&items.join(" "))
}

/// The name of an enumeration's value: `SERVICE_STATE_BACK_OFF` is `back-off`.
fn name(value: &str, prefix: &str) -> String {
    let word = value.strip_prefix(prefix).unwrap_or(value).replace('_', "-").to_ascii_lowercase();
    if word == "unspecified" { NONE.to_owned() } else { word }
}

/// Thousandths of a processor as hundredths of one.
fn percent(permille: u32) -> String {
    format!("{}.{}%", permille / 10, permille % 10)
}

/// How long ago something was.
fn age(since_ms: i64, now_ms: i64) -> String {
    span::short(u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0))
}

fn fact(name: &str, value: impl Into<String>) -> Vec<String> {
    vec![name.to_owned(), value.into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1_048_575, "1023 KiB"),
            (1_572_864, "1.5 MiB"),
            (34_359_738_368, "32.0 GiB"),
            (1_099_511_627_776, "1.0 TiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
        assert_eq!(percent(1234), "123.4%");
        assert_eq!(
            (name("SERVICE_STATE_BACK_OFF", "SERVICE_STATE_"), name("X_UNSPECIFIED", "X_")),
            ("back-off".into(), "-".into())
        );
        assert_eq!(age(5000, 3000), "0.0s");
    }
}
