//! Times as Kubernetes writes them (RFC 3339 in UTC). Pure.

/// Nanoseconds since 1970 of `2026-11-29T10:20:30Z`, with or without a fraction.
pub fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, between| -> Option<[i64; 3]> {
        let parts: Vec<i64> = text.split(between).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(time, ':')?);
    let is_date = (1970..2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
    if !is_date || !is_time || fraction.len() > 9 {
        return None;
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().ok()?;
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000_000 + nanoseconds)
}

/// Days since 1970, by Howard Hinnant's method: years begin in March, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lepton_runtime_shim::time::rfc3339;

    use super::*;

    #[test]
    fn times() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
        for seconds in [951_782_400, 1_795_343_999, 4_102_444_799, 68_169_600, 1_709_251_199] {
            let moment = Duration::new(seconds, 120_000_000);
            assert_eq!(parse(&rfc3339(moment)), i64::try_from(moment.as_nanos()).ok(), "{seconds}");
        }
        assert_eq!(parse("1970-01-01T00:00:01.5Z"), Some(1_500_000_000));
        for bad in ["", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z", "1970-01-01T24:00:00Z"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
