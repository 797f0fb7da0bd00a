//! One line and its encoding in a frame of a buffer: flags, time, length, text. Pure.

/// Bytes of a record besides its text.
pub const HEAD: usize = 13;

/// Which of its streams a source wrote a line to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The one log of a service or of the kernel, which PID 1 makes of both.
    Log,
    /// The shipper's own word about the source: lines are missing here.
    Lepton,
}

impl Stream {
    /// Its name in what is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log => "log",
            Self::Lepton => "lepton",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
            Self::Log => 2,
            Self::Lepton => 3,
        }
    }

    fn of_number(number: u8) -> Self {
        match number & 3 {
            0 => Self::Stdout,
            1 => Self::Stderr,
            2 => Self::Log,
            _ => Self::Lepton,
        }
    }
}

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Nanoseconds since 1970, when it was written.
    pub time_ns: u64,
    /// Where to.
    pub stream: Stream,
    /// Whether the line goes on in the stream's next record.
    pub is_part: bool,
    /// What was written, without the line feed.
    pub text: &'a [u8],
}

const PART: u8 = 4;

impl<'a> Record<'a> {
    /// Adds it to the end.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let flags = self.stream.number() | if self.is_part { PART } else { 0 };
        // No line is longer than a frame, whose length has 32 bits.
        let len = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        bytes.push(flags);
        bytes.extend_from_slice(&self.time_ns.to_le_bytes());
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&self.text[..len as usize]);
    }

    /// Takes one from the beginning.
    pub fn decode(bytes: &mut &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let time_ns = u64::from_le_bytes(head[1..9].try_into().ok()?);
        let len = u32::from_le_bytes(head[9..13].try_into().ok()?);
        let (text, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        *bytes = rest;
        Some(Self { time_ns, stream: Stream::of_number(head[0]), is_part: head[0] & PART != 0, text })
    }
}

/// The records of a frame, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a>(pub &'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        Record::decode(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let records = [
            Record { time_ns: 1, stream: Stream::Stdout, is_part: false, text: b"one" },
            Record { time_ns: u64::MAX, stream: Stream::Stderr, is_part: true, text: b"" },
            Record { time_ns: 0, stream: Stream::Log, is_part: false, text: b"\xff\0\n" },
            Record { time_ns: 7, stream: Stream::Lepton, is_part: true, text: b"x" },
        ];
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.encode(&mut bytes));
        assert_eq!(Records(&bytes).collect::<Vec<_>>(), records);
        for end in 0..bytes.len() {
            assert!(Records(&bytes[..end]).count() < records.len());
        }
    }
}
