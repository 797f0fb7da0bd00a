//! Dates as texts: the one format that archive indexes use. Nothing here reads a clock.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 of a date such as `Sat, 21 Nov 2026 02:10:46 UTC` (RFC 2822 with a UTC zone).
pub fn parse_rfc2822(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "UTC" | "GMT" | "+0000"] = words[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let numbers: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hour, minute, second] = numbers[..] else {
        return None;
    };
    let days = days_since_1970(year.parse().ok()?, month, day.parse().ok()?)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days of the proleptic Gregorian calendar; years count from March so that leap days come last.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days.checked_sub(719_468)
}

/// The UTC date of `seconds` since 1970, as `2026-11-21`.
pub fn format_date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let era_day = days % 146_097;
    let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
    let day_of_year = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era_year + days / 146_097 * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The UTC time of `seconds` since 1970, as `2026-11-21T02:10:46Z` (RFC 3339).
pub fn format_time(seconds: u64) -> String {
    let (date, second) = (format_date(seconds), seconds % 86_400);
    format!("{date}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", Some(0)),
            ("Sat, 21 Nov 2026 02:10:46 UTC", Some(1_795_227_046)),
            ("Tue, 29 Feb 2000 12:00:01 +0000", Some(951_825_601)),
            ("Sat, 21 Foo 2026 02:10:46 UTC", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse_rfc2822(text), seconds, "{text}");
        }
    }

    #[test]
    fn writes_dates() {
        for (seconds, text) in [(0, "1970-01-01"), (951_825_601, "2000-02-29"), (1_795_227_046, "2026-11-21")]
        {
            assert_eq!(format_date(seconds), text);
        }
        assert_eq!(format_time(1_795_227_046), "2026-11-21T02:10:46Z");
    }
}
