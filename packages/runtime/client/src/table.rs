//! Rows with columns of equal width, as people read them; and the figures in them.

use std::io::{self, Write};

/// Characters of an id that are shown: enough to tell a million apart.
pub const SHORT: usize = 12;

/// Writes rows, the head first.
pub fn write<const N: usize>(
    head: [&str; N],
    rows: Vec<[String; N]>,
    output: &mut impl Write,
) -> io::Result<()> {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    for row in &all {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The beginning of an id, without the name of its digest.
pub fn short(id: &str) -> String {
    let id = id.split_once(':').map_or(id, |(_, digits)| digits);
    id.chars().take(SHORT).collect()
}

/// Bytes in the largest unit that leaves a whole part.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    }
}

/// A span in its two largest units.
pub fn span(ns: i64) -> String {
    let seconds = u64::try_from(ns).unwrap_or(0) / 1_000_000_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_figures() {
        let mut text = Vec::new();
        write(["A", "LONG"], vec![["ab".into(), "c".into()], ["d".into(), String::new()]], &mut text)
            .unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "A   LONG\nab  c\nd\n");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!([size(5), size(2048), size(1_572_864)], ["5 B", "2 KiB", "1.5 MiB"]);
        assert_eq!([span(-1), span(59_999_999_999), span(3_661_000_000_000)], ["0s", "59s", "1h1m"]);
    }
}
