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
}
