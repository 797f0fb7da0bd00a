//! The records of a PAX header, `LENGTH KEY=VALUE\n`, and what this crate needs of them.

/// What a header says about the entry after it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) is_sparse: bool,
}

/// The prefix of extended attributes, by GNU tar, Go and everyone else.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Reads all records; none if one is malformed. Of two with the same key the last counts, as POSIX has it.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Records> {
    let mut records = Records::default();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
        if length <= space + 1 || length > bytes.len() {
            return None;
        }
        let (record, rest) = bytes.split_at(length);
        bytes = rest;
        let record = record[space + 1..].strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        // An empty value takes back what a header for all entries said.
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => records.path = text(),
            b"linkpath" => records.link = text(),
            b"size" => records.size = optional(value, decimal)?,
            b"uid" => records.uid = optional(value, decimal)?,
            b"gid" => records.gid = optional(value, decimal)?,
            b"mtime" => records.mtime = optional(value, time)?,
            _ if key.starts_with(b"GNU.sparse.") => records.is_sparse = true,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    records.xattrs.retain(|(known, _)| known != name);
                    records.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
    }
    Some(records)
}

/// Outer none: malformed. Inner none: empty.
#[expect(clippy::option_option, reason = "a value can be malformed, or absent")]
fn optional<T>(value: &[u8], read: fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { read(value).map(Some) }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `-12.345`: seconds, and as many digits below as the writer liked.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (is_negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let below = parts.next().unwrap_or_default();
    if !below.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos =
        (0..9).fold(0, |sum, index| sum * 10 + u32::from(below.get(index).map_or(0, |digit| digit - b'0')));
    Some(match (is_negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let records: [&[u8]; 6] = [
            b"path=a b\xff",
            b"mtime=-1.50000",
            b"SCHILY.xattr.user.key=a=b\nc\n",
            b"comment=xx",
            b"gid=77",
            b"linkpath=",
        ];
        let text: Vec<u8> =
            records.iter().flat_map(|text| super::super::test_archive::record(text)).collect();
        let read = parse(&text).unwrap();
        assert_eq!(read.path.unwrap(), b"a b\xff");
        assert_eq!((read.mtime, read.gid, read.link), (Some((-2, 500_000_000)), Some(77), None));
        assert_eq!(read.xattrs, [(b"user.key".to_vec(), b"a=b\nc\n".to_vec())]);
    }

    #[test]
    fn malformed() {
        for text in [
            &b"x"[..],
            b"6 a=\n",
            b"99 a=b\n",
            b"0 a=b\n",
            b"6 a=bc",
            b"6 abcd\n",
            b"-6 a=b\n",
            b"18446744073709551616 a=b\n",
            b"9 size=x\n",
            b"7 a=b\n\n\n",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(b""), Some(Records::default()));
        assert!(parse(b"22 GNU.sparse.major=1\n").unwrap().is_sparse);
    }
}
