//! Durations as Go, and so Kubernetes, writes them: `1m30s`.

use std::time::Duration;

/// Reads one: numbers, each with a unit. Negative ones are none here.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum = Duration::ZERO;
    loop {
        let (figure, after) = rest.split_at(rest.find(|it: char| !is_figure(it))?);
        let (unit, after) = after.split_at(after.find(is_figure).unwrap_or(after.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let figure: f64 = figure.parse().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(figure * seconds).ok()?)?;
        if after.is_empty() {
            return Some(sum);
        }
        rest = after;
    }
}

fn is_figure(it: char) -> bool {
    it.is_ascii_digit() || it == '.'
}

/// Writes one in seconds when it is a whole number of them, else in milliseconds.
pub(crate) fn text(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("1.5s", 1500),
            ("1h2m3s4ms", 3_723_004),
            (".5m", 30_000),
            ("+7us", 0),
            ("0h5m", 300_000),
        ] {
            assert_eq!(parse(text).map(|it| it.as_millis()), Some(ms), "{text}");
        }
        for bad in ["", "+", "5", "s", "1s5", "1 s", "1d", "-1s", "1..2s", "1e3s", "99999999999999999999h"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(text(Duration::from_millis(1500)), "1500ms");
    }
}
