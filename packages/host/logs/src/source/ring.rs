//! Lines of a log that PID 1 keeps in memory alone. The place of one is the number that PID 1 gave it, which is of one start of
//! the host. Pure.

use std::time::Instant;

use lepton_control::LogLine;

use super::limit::Limit;
use super::tail::{Bench, Sink, missing};
use crate::frame::{Batch, Position};
use crate::record::{Record, Records, Stream};

/// A log.
#[derive(Debug)]
pub struct Ring {
    key: String,
    /// Which boot, as a number.
    boot: u64,
    /// The number of the last line that each destination has.
    takers: Vec<(usize, Option<u64>)>,
    only: Option<&'static str>,
    limit: Limit,
    unsaid: u64,
}

impl Ring {
    /// Goes on where each destination is.
    pub fn new(
        key: String,
        bench: &Bench,
        positions: &[(usize, Option<Position>)],
        only: Option<&'static str>,
        now: Instant,
    ) -> Self {
        let boot = u64::from(crc32fast::hash(bench.boot.as_bytes()));
        let place = |position: &Position| (position.file == boot).then_some(position.offset);
        let takers = positions.iter().map(|(to, at)| (*to, at.as_ref().and_then(place))).collect();
        let limit = Limit::new(bench.per_second, now);
        Self { key, boot, takers, only, limit, unsaid: 0 }
    }

    /// Takes a line; those that a destination has are not for it.
    pub fn take(&mut self, line: &LogLine, boot_ns: u64, now: Instant, sink: &mut impl Sink) {
        self.limit.earn(now);
        let mut destinations = Vec::new();
        for (destination, place) in &mut self.takers {
            if place.is_none_or(|place| place < line.number) {
                *place = Some(line.number);
                destinations.push(*destination);
            }
        }
        if destinations.is_empty() || self.only.is_some_and(|only| !line.text.starts_with(only)) {
            return;
        }
        let time_ns = boot_ns.saturating_add(line.ms.saturating_mul(1_000_000));
        let mut records = Vec::new();
        let may_pass = self.limit.pass();
        if may_pass {
            if self.unsaid > 0 && self.limit.may_say(now) {
                missing(std::mem::take(&mut self.unsaid), &mut records);
            }
            let text = line.text.as_bytes();
            Record { time_ns, stream: Stream::Log, is_part: false, text }.encode(&mut records);
        } else {
            self.unsaid += 1;
        }
        let position =
            Position { file: self.boot, offset: line.number, head_len: 0, head_crc: 0, unsaid: self.unsaid };
        let (lines, left_out) = if may_pass { (1, 0) } else { (0, 1) };
        let batch = Batch { key: &self.key, position, left_out, lines, records: Records(&records) };
        sink.take(&batch, &destinations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Taken(Vec<(Vec<usize>, String, Position)>);

    impl Sink for Taken {
        fn take(&mut self, batch: &Batch<'_>, destinations: &[usize]) {
            for record in batch.records {
                let text = String::from_utf8(record.text.to_vec()).unwrap();
                self.0.push((destinations.to_vec(), text, batch.position));
            }
        }
    }

    /// Lines of that log, numbered from `first` on.
    fn lines(first: u64, lines: &[(u64, &str)]) -> Vec<LogLine> {
        let numbered = lines.iter().zip(first..);
        numbered.map(|((ms, text), number)| LogLine { number, ..LogLine::new(*ms, *text) }).collect()
    }

    fn bench(per_second: u32) -> Bench {
        Bench::new("boot".into(), per_second)
    }

    #[test]
    fn a_limit_is_told() {
        let (mut taken, now) = (Taken::default(), Instant::now());
        let mut ring = Ring::new("kernel".into(), &bench(2), &[(0, None)], None, now);
        lines(0, &[(0, "a"); 5]).iter().for_each(|line| ring.take(line, 0, now, &mut taken));
        let later = now + std::time::Duration::from_secs(1);
        lines(5, &[(9, "b")]).iter().for_each(|line| ring.take(line, 0, later, &mut taken));
        let texts: Vec<_> = taken.0.iter().map(|(_, text, _)| text.as_str()).collect();
        assert_eq!(texts, ["a", "a", "lepton: 3 lines are missing here: too many came at once", "b"]);
    }

    #[test]
    fn nothing_comes_twice_and_nothing_is_left_out() {
        // The same milliseconds and the same texts, and times that are not in order, as the kernel's are.
        let kept = lines(7, &[(1, "a"), (1, "a"), (3, "c"), (2, "d")]);
        let (mut taken, now) = (Taken::default(), Instant::now());
        let mut ring = Ring::new("kernel".into(), &bench(0), &[(0, None)], None, now);
        kept.iter().for_each(|line| ring.take(line, 0, now, &mut taken));
        let texts = |taken: &Taken| taken.0.iter().map(|(_, text, _)| text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&taken), ["a", "a", "c", "d"]);
        let after_first = taken.0[0].2;
        // PID 1 is asked again. Its oldest lines have gone, and one more is there, of a time that others have, too.
        let mut again = Taken::default();
        let kept_now = lines(9, &[(3, "c"), (2, "d"), (2, "d")]);
        kept_now.iter().for_each(|line| ring.take(line, 0, now, &mut again));
        assert_eq!(texts(&again), ["d"]);
        // The shipper is started again: one destination has one of them, another none, a third of another boot.
        let other = Position { file: 1, offset: 9, ..Position::default() };
        let positions = [(0, Some(after_first)), (1, None), (2, Some(other))];
        let mut ring = Ring::new("kernel".into(), &bench(0), &positions, None, now);
        let mut again = Taken::default();
        kept.iter().for_each(|line| ring.take(line, 0, now, &mut again));
        let told: Vec<_> = again.0.iter().map(|(to, text, _)| (to.as_slice(), text.as_str())).collect();
        assert_eq!(
            told,
            [(&[1, 2][..], "a"), (&[0, 1, 2][..], "a"), (&[0, 1, 2][..], "c"), (&[0, 1, 2][..], "d")]
        );
    }

    #[test]
    fn lines_of_others_are_left_to_them() {
        let (mut taken, now) = (Taken::default(), Instant::now());
        let mut ring = Ring::new("services/web".into(), &bench(0), &[(0, None)], Some("lepton-ctr: "), now);
        let lines = lines(0, &[(5, "hello"), (6, "lepton-ctr: it ended")]);
        lines.iter().for_each(|line| ring.take(line, 1000, now, &mut taken));
        assert_eq!(taken.0.len(), 1);
        assert_eq!(taken.0[0].1, "lepton-ctr: it ended");
    }
}
