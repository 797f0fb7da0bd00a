//! Spans and times as people write and read them. Pure.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const DAY_MS: i64 = 86_400_000;

/// A span such as `500ms`, `10s`, `5m`, `2h` or `3d`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (digits, unit) = text.split_at(end);
    let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*size).map(Duration::from_millis)
}

/// A moment, in milliseconds since 1970: a span before now, or a time of RFC 3339 in UTC.
pub(crate) fn since(text: &str, now_ms: i64) -> Option<i64> {
    match parse(text) {
        Some(span) => Some(now_ms.saturating_sub(i64::try_from(span.as_millis()).ok()?)),
        None => time(text),
    }
}

/// A time such as `2026-11-30T08:00:00Z`, in milliseconds since 1970.
fn time(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let is_time =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let days = days(year, month, day);
    // A day that the month does not have is another one when it is counted back.
    (is_time && civil(days) == (year, month, day))
        .then(|| days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000)
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut found = [0; 3];
    for (place, width) in found.iter_mut().zip(widths) {
        let part = parts
            .next()
            .filter(|part| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Milliseconds since 1970 as `2026-11-29T10:20:30Z`.
pub(crate) fn rfc3339(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let second = ms.rem_euclid(DAY_MS) / 1000;
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// Days since 1970 of a date, by Howard Hinnant's method: years begin in March, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A span in its two largest units, as tables have it.
pub(crate) fn short(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, ms) in [
            ("500ms", 500),
            ("0s", 0),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("3d", 259_200_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in
            ["", "10", "s", "-1s", "1.5s", "1 s", "1w", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for (ms, text) in
            [(0, "0.0s"), (59_950, "59.9s"), (61_000, "1m1s"), (7_260_000, "2h1m"), (90_000_000, "1d1h")]
        {
            assert_eq!(short(ms), text);
        }
    }

    #[test]
    fn times_there_and_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59Z"),
            (1_795_951_230_000, "2026-11-29T11:20:30Z"),
            (-1000, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!((rfc3339(ms).as_str(), since(text, 5)), (text, Some(ms)));
        }
        assert_eq!(since("10m", 700_000), Some(100_000));
        for bad in [
            "2026-11-30",
            "2026-11-30T08:00Z",
            "2026-11-30T08:00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "26-01-01T00:00:00Z",
            "2026-01-01-01T00:00:00Z",
            "yesterday",
        ] {
            assert_eq!(since(bad, 0), None, "{bad}");
        }
    }
}
