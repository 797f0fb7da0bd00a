//! Short directory entries and the time stamps in them.
//!
//! FAT spec, "FAT Directory Structure". FAT means local time; this always writes UTC.

use super::name::ShortName;

/// What an entry is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attributes {
    Label = 0x08,
    Directory = 0x10,
    /// Archive: changed since the last backup, as every new file is.
    File = 0x20,
}

/// A point in time as FAT writes it, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    date: u16,
    time: u16,
    /// Hundredths of a second that `time`, in steps of two seconds, cannot say.
    hundredths: u8,
}

impl Stamp {
    /// From unix time, clamped to what FAT can say.
    pub(super) fn new(epoch: u64) -> Self {
        const FROM: u64 = 315_532_800; // 1980-01-01T00:00:00Z
        const TO: u64 = 4_354_819_199; // 2107-12-31T23:59:59Z
        let seconds = epoch.clamp(FROM, TO) - FROM;
        let (mut days, second) = (seconds / 86400, seconds % 86400);
        let is_leap = |year: u64| year.is_multiple_of(4) && year != 2100;
        let mut year = 1980;
        while days >= 365 + u64::from(is_leap(year)) {
            days -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let mut month = 0;
        let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        while days >= lengths[month] {
            days -= lengths[month];
            month += 1;
        }
        let date = (year - 1980) << 9 | (month as u64 + 1) << 5 | (days + 1);
        let time = ((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2);
        Self {
            date: u16::try_from(date).expect("clamped to seven bits of years"),
            time: u16::try_from(time).expect("less than a day"),
            hundredths: if second % 2 == 1 { 100 } else { 0 },
        }
    }

    /// A short directory entry.
    pub(super) fn entry(self, short: &ShortName, attributes: Attributes, start: u32, len: u32) -> [u8; 32] {
        let mut entry = [0; 32];
        let mut set = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
        let start = start.to_le_bytes();
        set(0, short);
        set(11, &[attributes as u8]);
        set(13, &[self.hundredths]);
        set(14, &self.time.to_le_bytes());
        set(16, &self.date.to_le_bytes());
        set(18, &self.date.to_le_bytes());
        set(20, &start[2..]);
        set(22, &self.time.to_le_bytes());
        set(24, &self.date.to_le_bytes());
        set(26, &start[..2]);
        set(28, &len.to_le_bytes());
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(epoch: u64) -> (u16, u16, u16, u16, u16, u16, u8) {
        let Stamp { date, time, hundredths } = Stamp::new(epoch);
        (
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            (time & 31) * 2,
            hundredths,
        )
    }

    #[test]
    fn stamps_are_utc_and_clamped() {
        assert_eq!(fields(0), (1980, 1, 1, 0, 0, 0, 0));
        assert_eq!(fields(951_782_399), (2000, 2, 28, 23, 59, 58, 100));
        assert_eq!(fields(951_868_800), (2000, 3, 1, 0, 0, 0, 0));
        assert_eq!(fields(1_767_225_599), (2025, 12, 31, 23, 59, 58, 100));
        assert_eq!(fields(4_107_542_400), (2100, 3, 1, 0, 0, 0, 0));
        assert_eq!(fields(u64::MAX), (2107, 12, 31, 23, 59, 58, 100));
    }
}
