//! Which of several servers tell the truth: the intersection algorithm (RFC 5905 section 11.2.1), simplified. Pure.

use super::discipline::whole;

/// What one server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// Nanoseconds to add to our clock.
    pub offset: i128,
    /// How wrong it may be, in nanoseconds: half the round trip and the server's distance to its reference.
    pub error: i128,
}

/// Offset that a majority agrees on, weighted by how sure its members are; nothing without a majority.
pub fn agreed(opinions: &[Opinion]) -> Option<i128> {
    let truthful = truthful(opinions)?;
    let (mut sum, mut weights) = (0.0, 0.0);
    let first = opinions[truthful[0]].offset;
    for index in truthful {
        let Opinion { offset, error } = opinions[index];
        let weight = 1.0 / (error.max(1) as f64);
        // Relative to the first, so that a double holds it exactly enough.
        sum += (offset - first) as f64 * weight;
        weights += weight;
    }
    Some(first + whole(sum / weights))
}

/// Indices of the opinions that overlap in one point, when these are more than half of all.
pub fn truthful(opinions: &[Opinion]) -> Option<Vec<usize>> {
    let holds = |point: i128| {
        let holds = |(_, opinion): &(usize, &Opinion)| (opinion.offset - point).abs() <= opinion.error;
        opinions.iter().enumerate().filter(holds).map(|(index, _)| index).collect::<Vec<_>>()
    };
    // The largest overlap begins where one of the intervals begins.
    let starts = opinions.iter().map(|opinion| opinion.offset - opinion.error);
    let best = starts.map(holds).max_by_key(Vec::len)?;
    (best.len() * 2 > opinions.len()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(opinions: &[(i128, i128)], expected: Option<i128>) {
        let opinions: Vec<Opinion> =
            opinions.iter().map(|&(offset, error)| Opinion { offset, error }).collect();
        assert_eq!(agreed(&opinions), expected, "{opinions:?}");
    }

    #[test]
    fn a_majority_decides() {
        check(&[], None);
        check(&[(100, 10)], Some(100));
        check(&[(100, 10), (110, 10)], Some(105));
        check(&[(100, 10), (200, 10)], None);
        check(&[(100, 10), (110, 10), (9_000_000, 10)], Some(105));
        check(&[(100, 10), (-500, 10), (9_000_000, 10)], None);
        // The surer one counts more.
        check(&[(100, 10), (140, 30)], Some(110));
    }
}
