//! What was measured of ours and of somebody else's program on one machine, side by side.

use std::io::{self, Write};

use lepton_builder::times::{Figure, Unit};

use super::{ratio, with_unit};

/// One thing that was measured of both.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) ours: u64,
    pub(super) other: u64,
    pub(super) unit: Unit,
}

impl Pair {
    /// As they are remembered; `other` is the name of what ours is compared with.
    pub(super) fn figures(&self, other: &str) -> [Figure; 2] {
        let figure = |of: &str, value| Figure::new(format!("{}, {of}", self.name), value, self.unit);
        [figure("lepton", self.ours), figure(other, self.other)]
    }

    /// Reads `NAME<tab>OURS<tab>OTHER'S<tab>UNIT`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split('\t');
        let (name, ours, other, unit) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let unit = match unit {
            "KiB" => Unit::Kibibytes,
            "ms" => Unit::Milliseconds,
            "µs" => Unit::Microseconds,
            "a second" => Unit::PerSecond,
            "workloads" => Unit::Count,
            _ => return None,
        };
        Some(Self { name: name.to_owned(), ours: ours.parse().ok()?, other: other.parse().ok()?, unit })
    }
}

/// The table: ours, the other's, how many times the other's ours is, and how many times our last one.
pub(super) fn print(other: &str, pairs: &[Pair], before: &[Figure], out: &mut impl Write) -> io::Result<()> {
    let width = pairs.iter().map(|pair| pair.name.chars().count()).max().unwrap_or(0);
    writeln!(out, "{:width$}  {:>16}  {other:>16}  {:>6}  {:>6}", "", "lepton", "ratio", "last")?;
    for pair in pairs {
        let [ours, _] = pair.figures(other);
        let last = before.iter().find(|last| last.name == ours.name && last.unit == ours.unit);
        let last = last.and_then(|last| ratio(ours.value, last.value)).unwrap_or_else(|| "new".to_owned());
        // Nothing is so many times nothing.
        let times = ratio(pair.ours, pair.other).unwrap_or_else(|| "-".to_owned());
        let (ours, others) = (with_unit(pair.ours, pair.unit), with_unit(pair.other, pair.unit));
        writeln!(out, "{:width$}  {ours:>16}  {others:>16}  {times:>6}  {last:>6}", pair.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read() {
        let pair = Pair::parse("one fetch, median\t150\t600\tµs").unwrap();
        assert_eq!((pair.name.as_str(), pair.ours, pair.other), ("one fetch, median", 150, 600));
        let names = pair.figures("spire-agent").map(|figure| figure.name);
        assert_eq!(names, ["one fetch, median, lepton", "one fetch, median, spire-agent"]);
        for bad in ["cannot measure: no", "a\t1\tµs", "a\t1\tb\tµs", "a\t1\t2\tyears"] {
            assert_eq!(Pair::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_table_has_ratios() {
        let pairs =
            ["rate\t3000\t1000\ta second", "gaps\t0\t0\tworkloads"].map(|line| Pair::parse(line).unwrap());
        let before = [Figure::new("rate, lepton", 2000, Unit::PerSecond)];
        let mut out = Vec::new();
        print("spire-agent", &pairs, &before, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["lepton", "spire-agent", "ratio", "last"]);
        assert_eq!(lines[1], ["rate", "3000/s", "1000/s", "3.00", "1.50"]);
        assert_eq!(lines[2], ["gaps", "0", "0", "-", "new"]);
    }
}
