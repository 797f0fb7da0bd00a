//! Lines of a log that PID 1 keeps in memory alone. Its ring numbers no lines, so the place of one is its time and how many
//! lines of that millisecond came before it. Pure.

use std::time::Instant;

use lepton_control::LogLine;

use super::limit::Limit;
use super::tail::{Bench, Sink, missing};
use crate::frame::{Batch, Position};
use crate::record::{Record, Records, Stream};

/// What PID 1 says of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A connection was made: the lines that are kept come again.
    Again,
    /// A line.
    Line(LogLine),
}

/// A log.
#[derive(Debug)]
pub struct Ring {
    key: String,
    /// Which boot, as a number.
    boot: u64,
    /// Milliseconds of the last line, and how many had these.
    last: (u64, u32),
    /// Where each destination is while lines come again.
    takers: Vec<(usize, Option<(u64, u32)>)>,
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
        let place =
            |position: &Position| (position.file == boot).then_some((position.offset, position.head_len));
        let takers = positions.iter().map(|(to, at)| (*to, at.as_ref().and_then(place))).collect();
        let limit = Limit::new(bench.per_second, now);
        Self { key, boot, last: (0, 0), takers, only, limit, unsaid: 0 }
    }

    /// Takes what was said since the last time.
    pub fn take(&mut self, said: Vec<Said>, boot_ns: u64, now: Instant, sink: &mut impl Sink) {
        self.limit.earn(now);
        for what in said {
            match what {
                Said::Again => {
                    for (_, place) in &mut self.takers {
                        *place = (*place).max((self.last.1 > 0).then_some(self.last));
                    }
                    self.last = (0, 0);
                }
                Said::Line(line) => self.line(&line, boot_ns, now, sink),
            }
        }
    }

    fn line(&mut self, line: &LogLine, boot_ns: u64, now: Instant, sink: &mut impl Sink) {
        self.last = if line.ms == self.last.0 { (line.ms, self.last.1 + 1) } else { (line.ms, 1) };
        let mut destinations = Vec::new();
        for (destination, place) in &mut self.takers {
            // Behind the first new line all are new, whatever their times: the kernel's are not quite in order.
            if place.is_none_or(|place| place < self.last) {
                *place = None;
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
        let position = Position {
            file: self.boot,
            offset: line.ms,
            head_len: self.last.1,
            head_crc: 0,
            unsaid: self.unsaid,
        };
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

    fn line(ms: u64, text: &str) -> Said {
        Said::Line(LogLine { ms, text: text.into() })
    }

    fn bench(per_second: u32) -> Bench {
        Bench::new("boot".into(), per_second)
    }

    #[test]
    fn a_limit_is_told() {
        let (mut taken, now) = (Taken::default(), Instant::now());
        let mut ring = Ring::new("kernel".into(), &bench(2), &[(0, None)], None, now);
        ring.take((0..5).map(|ms| line(ms, "a")).collect(), 0, now, &mut taken);
        ring.take(vec![line(9, "b")], 0, now + std::time::Duration::from_secs(1), &mut taken);
        let texts: Vec<_> = taken.0.iter().map(|(_, text, _)| text.as_str()).collect();
        assert_eq!(texts, ["a", "a", "lepton: 3 lines are missing here: too many came at once", "b"]);
    }

    #[test]
    fn nothing_comes_twice() {
        let kept = [line(1, "a"), line(1, "b"), line(3, "c"), line(2, "d")];
        let (mut taken, now) = (Taken::default(), Instant::now());
        let mut ring = Ring::new("kernel".into(), &bench(0), &[(0, None)], None, now);
        ring.take([vec![Said::Again], kept.to_vec()].concat(), 0, now, &mut taken);
        assert_eq!(
            taken.0.iter().map(|(_, text, _)| text.as_str()).collect::<Vec<_>>(),
            ["a", "b", "c", "d"]
        );
        let after_b = taken.0[1].2;
        // PID 1 is asked again; one line more is there.
        let mut again = Taken::default();
        ring.take(
            vec![Said::Again, line(1, "a"), line(1, "b"), line(2, "d"), line(4, "e")],
            0,
            now,
            &mut again,
        );
        assert_eq!(again.0.len(), 1);
        assert_eq!(again.0[0].1, "e");
        // The shipper is started again: one destination has two of them, another none, a third of another boot.
        let other = Position { file: 1, offset: 9, ..Position::default() };
        let positions = [(0, Some(after_b)), (1, None), (2, Some(other))];
        let mut ring = Ring::new("kernel".into(), &bench(0), &positions, None, now);
        let mut again = Taken::default();
        ring.take([vec![Said::Again], kept.to_vec()].concat(), 0, now, &mut again);
        let told: Vec<_> = again.0.iter().map(|(to, text, _)| (to.as_slice(), text.as_str())).collect();
        assert_eq!(
            told,
            [(&[1, 2][..], "a"), (&[1, 2][..], "b"), (&[0, 1, 2][..], "c"), (&[0, 1, 2][..], "d")]
        );
    }

    #[test]
    fn lines_of_others_are_left_to_them() {
        let (mut taken, now) = (Taken::default(), Instant::now());
        let mut ring = Ring::new("services/web".into(), &bench(0), &[(0, None)], Some("lepton-ctr: "), now);
        ring.take(vec![line(5, "hello"), line(6, "lepton-ctr: it ended")], 1000, now, &mut taken);
        assert_eq!(taken.0.len(), 1);
        assert_eq!(taken.0[0].1, "lepton-ctr: it ended");
    }
}
