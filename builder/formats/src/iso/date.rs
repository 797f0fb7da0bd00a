//! Time stamps of ECMA-119 from seconds since 1970, in UTC; there is no clock here.

/// Last second that the one-byte year of a directory record can say: 2155-12-31T23:59:59Z.
const LATEST: u64 = 5_869_583_999;

/// A point in time in the calendar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Date {
    /// From seconds since 1970, clamped to the year 2155.
    pub(super) fn new(epoch: u64) -> Self {
        let seconds = epoch.min(LATEST);
        let (days, second) = (seconds / 86400, seconds % 86400);
        // Years begin in March here, so that the leap day is the last of its year; eras have 400 years.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = era * 400 + year + next;
        Self { year, month, day, hour: second / 3600, minute: second / 60 % 60, second: second % 60 }
    }

    /// Seven bytes of a directory record (ECMA-119 9.1.5): years since 1900, ..., offset from UTC.
    pub(super) fn record(&self) -> [u8; 7] {
        let fields = [self.year - 1900, self.month, self.day, self.hour, self.minute, self.second, 0];
        fields.map(|field| u8::try_from(field).expect("clamped to 2155"))
    }

    /// Seventeen bytes of a volume descriptor (ECMA-119 8.4.26.1): digits, then the offset from UTC as a number.
    pub(super) fn volume(&self) -> [u8; 17] {
        let Self { year, month, day, hour, minute, second } = self;
        let digits = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00\0");
        digits.into_bytes().try_into().expect("the format gives 17 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::Date;

    #[test]
    fn follows_the_calendar() {
        let check = |epoch, digits: &str| assert_eq!(&Date::new(epoch).volume()[..14], digits.as_bytes());
        check(0, "19700101000000");
        check(951_782_399, "20000228235959");
        check(951_782_400, "20000229000000");
        check(1_767_225_599, "20251231235959");
        check(4_107_542_400, "21000301000000");
        check(u64::MAX, "21551231235959");
        assert_eq!(Date::new(951_782_399).record(), [100, 2, 28, 23, 59, 59, 0]);
    }
}
