//! Wall clock and monotonic clock, and times as text (RFC 3339). Nothing else reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds of a day.
const DAY: u64 = 86_400 * 1_000_000_000;

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the wall clock")]
    let now = SystemTime::now();
    nanos(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// What the wall clock, as it is now, showed when the kernel started: lines of PID 1 count from there.
pub fn boot_ns() -> u64 {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since = Duration::new(
        u64::try_from(boot.tv_sec).unwrap_or_default(),
        u32::try_from(boot.tv_nsec).unwrap_or_default(),
    );
    now_ns().saturating_sub(nanos(since))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Adds `2026-11-22T10:20:30.000000001Z`, with so many digits of the second's fraction (1 to 9).
pub fn push_rfc3339(out: &mut Vec<u8>, time_ns: u64, digits: usize) {
    // Years begin in March here, so that the day that comes and goes is the last of a year; 719468 days lie between the
    // first of March of the year 0 and 1970.
    let days = time_ns / DAY + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + later;
    let rest = time_ns % DAY;
    let second = rest / 1_000_000_000;
    push_number(out, year, 4);
    out.push(b'-');
    push_number(out, month, 2);
    out.push(b'-');
    push_number(out, day, 2);
    out.push(b'T');
    push_number(out, second / 3600, 2);
    out.push(b':');
    push_number(out, second / 60 % 60, 2);
    out.push(b':');
    push_number(out, second % 60, 2);
    out.push(b'.');
    let start = out.len();
    push_number(out, rest % 1_000_000_000, 9);
    out.truncate(start + digits.clamp(1, 9));
    out.push(b'Z');
}

fn push_number(out: &mut Vec<u8>, mut number: u64, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// The time of RFC 3339 text, with any number of digits behind the second and any offset; none when it is no time since 1970.
pub fn parse_rfc3339(text: &[u8]) -> Option<u64> {
    let (date, rest) = text.split_at_checked(19)?;
    for (place, expected) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if date[place] != expected && !(place == 10 && date[10] == b't') {
            return None;
        }
    }
    let year = number(&date[..4])?;
    let (month, day) = (number(&date[5..7])?, number(&date[8..10])?);
    let (hour, minute, second) = (number(&date[11..13])?, number(&date[14..16])?, number(&date[17..19])?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let east = offset(rest)?;
    let of_day = i64::try_from(hour * 3600 + minute * 60 + second).ok()?;
    let seconds = days(year, month, day)? * 86_400 + of_day - east;
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

fn number(text: &[u8]) -> Option<u64> {
    text.iter()
        .try_fold(0u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let used = number(&rest[..digits.min(9)])?;
    let missing = u32::try_from(9 - digits.min(9)).ok()?;
    (digits > 0).then(|| (used * 10u64.pow(missing), &rest[digits..]))
}

/// Seconds east of Greenwich.
fn offset(text: &[u8]) -> Option<i64> {
    if matches!(text, b"Z" | b"z") {
        return Some(0);
    }
    let (sign, rest) = text.split_first()?;
    if rest.len() != 5 || rest[2] != b':' {
        return None;
    }
    let seconds = i64::try_from(number(&rest[..2])? * 3600 + number(&rest[3..])? * 60).ok()?;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// Days since 1970, by the same years that begin in March. The year has four digits.
fn days(year: u64, month: u64, day: u64) -> Option<i64> {
    let year = if month > 2 { year } else { year.checked_sub(1)? };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + (153 * month + 2) / 5 + day - 1;
    Some(i64::try_from(year / 400 * 146_097 + day_of_era).ok()? - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400_000_000_007, "2000-02-29T00:00:00.000000007Z"),
            (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (1_767_225_600_000_000_000, "2026-01-01T00:00:00.000000000Z"),
            (4_107_542_400_001_000_000, "2100-03-01T00:00:00.001000000Z"),
        ] {
            let mut out = Vec::new();
            push_rfc3339(&mut out, ns, 9);
            assert_eq!(out, text.as_bytes());
            assert_eq!(parse_rfc3339(text.as_bytes()), Some(ns), "{text}");
        }
        let mut out = Vec::new();
        push_rfc3339(&mut out, 1_234_567, 6);
        assert_eq!(out, b"1970-01-01T00:00:00.001234Z");
    }

    #[test]
    fn other_writers() {
        for (text, ns) in [
            ("1970-01-01T00:00:01Z", Some(1_000_000_000)),
            ("1970-01-01T02:00:01.5+02:00", Some(1_500_000_000)),
            ("1969-12-31T23:00:01.25-01:00", Some(1_250_000_000)),
            ("1970-01-01T00:00:00.0000000019Z", Some(1)),
            ("1969-12-31T23:59:59Z", None),
            ("1970-13-01T00:00:01Z", None),
            ("1970-01-01 00:00:01Z", None),
            ("1970-01-01T00:00:01.Z", None),
            ("1970-01-01T00:00:01", None),
            ("9999-12-31T23:59:59Z", None),
            ("0000-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text.as_bytes()), ns, "{text}");
        }
    }
}
