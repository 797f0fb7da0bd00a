//! NTP packets (RFC 5905 section 7.3).

/// Length of a packet without extensions.
pub const LENGTH: usize = 48;
/// Seconds from 1900 to 1970.
const ERA: i128 = 2_208_988_800;
const NANOS: i128 = 1_000_000_000;
/// Seconds of one era of 32 bits.
const ERA_LENGTH: i128 = 1 << 32;
/// Times before this belong to the next era: 2020-01-01, before this program was written.
const PIVOT: i128 = 1_577_836_800;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
const VERSION: u8 = 4;

/// Nanoseconds since 1970.
pub type Time = i128;

/// An answer of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How far it is from a reference clock, 1 to 15.
    pub stratum: u8,
    /// Delay and dispersion to that clock in nanoseconds.
    pub root_distance: i128,
    /// When the request arrived.
    pub received: Time,
    /// When the answer left.
    pub sent: Time,
}

/// What a packet means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The time.
    Answer(Answer),
    /// Never ask again (kiss codes DENY and RSTR).
    Denied,
    /// Ask less often (kiss code RATE).
    TooOften,
}

/// A request. `nonce` stands where the time of sending would be: it tells answers from forgeries, and nobody learns
/// what time it is here.
pub fn request(nonce: u64) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = VERSION << 3 | CLIENT;
    packet[40..48].copy_from_slice(&nonce.to_be_bytes());
    packet
}

/// Reads the answer to the request with this nonce; nothing when it is not one, or its server has no time itself.
pub fn reply(packet: &[u8], nonce: u64) -> Option<Reply> {
    let packet: &[u8; LENGTH] = packet.get(..LENGTH)?.try_into().ok()?;
    let (leap, version, mode) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7);
    if mode != SERVER || !(3..=4).contains(&version) || packet[24..32] != nonce.to_be_bytes() {
        return None;
    }
    let stratum = packet[1];
    if stratum == 0 {
        return match &packet[12..16] {
            b"DENY" | b"RSTR" => Some(Reply::Denied),
            b"RATE" => Some(Reply::TooOften),
            _ => None,
        };
    }
    let short = |at: usize| {
        let four: [u8; 4] = packet[at..at + 4].try_into().expect("four bytes");
        (i128::from(u32::from_be_bytes(four)) * NANOS) >> 16
    };
    let root_distance = short(4) / 2 + short(8);
    let answer =
        Answer { stratum, root_distance, received: time(&packet[32..40])?, sent: time(&packet[40..48])? };
    // RFC 5905 section 11: not synchronized, too far from the reference clock, or going backwards.
    let is_sane =
        leap != 3 && stratum < 16 && root_distance < NANOS * 3 / 2 && answer.sent >= answer.received;
    is_sane.then_some(Reply::Answer(answer))
}

/// A timestamp of 32 bits of seconds and 32 bits of fraction; zero is none.
fn time(bytes: &[u8]) -> Option<Time> {
    let value = u64::from_be_bytes(bytes.try_into().ok()?);
    let (seconds, fraction) = (i128::from(value >> 32) - ERA, i128::from(value & 0xffff_ffff));
    let seconds = if seconds < PIVOT { seconds + ERA_LENGTH } else { seconds };
    (value != 0).then_some(seconds * NANOS + ((fraction * NANOS) >> 32))
}

/// As bytes, for tests that play a server.
#[cfg(test)]
pub fn timestamp(time: Time) -> [u8; 8] {
    let seconds = (time.div_euclid(NANOS) + ERA) % ERA_LENGTH;
    let fraction = (time.rem_euclid(NANOS) << 32) / NANOS;
    (u64::try_from(seconds).unwrap() << 32 | u64::try_from(fraction).unwrap()).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(nonce: u64) -> [u8; LENGTH] {
        let mut packet = [0; LENGTH];
        packet[..4].copy_from_slice(&[VERSION << 3 | SERVER, 2, 6, 0xe9]);
        packet[24..32].copy_from_slice(&nonce.to_be_bytes());
        packet[32..40].copy_from_slice(&timestamp(1_800_000_000 * NANOS));
        packet[40..48].copy_from_slice(&timestamp(1_800_000_000 * NANOS + NANOS / 2));
        packet
    }

    #[test]
    fn times_are_read() {
        let Some(Reply::Answer(read)) = reply(&answer(7), 7) else { panic!("it is an answer") };
        assert_eq!(
            (read.stratum, read.received, read.sent - read.received),
            (2, 1_800_000_000 * NANOS, NANOS / 2)
        );
        // The first second of the next era: 2036-02-07T06:28:16Z.
        assert_eq!(time(&[0, 0, 0, 0, 0x80, 0, 0, 0]), Some(2_085_978_496 * NANOS + NANOS / 2));
        assert_eq!(time(&[0; 8]), None);
    }

    #[test]
    fn forgeries_and_lost_servers_are_no_answers() {
        assert_eq!(reply(&answer(7), 8), None, "another request");
        assert_eq!(reply(&answer(7)[..47], 7), None, "cut short");
        let check = |change: fn(&mut [u8; LENGTH]), expected: Option<Reply>| {
            let mut packet = answer(7);
            change(&mut packet);
            assert_eq!(reply(&packet, 7), expected);
        };
        check(|packet| packet[0] = VERSION << 3 | CLIENT, None);
        check(|packet| packet[0] |= 0xc0, None);
        check(|packet| packet[1] = 16, None);
        check(|packet| packet[8..12].copy_from_slice(&[0, 2, 0, 0]), None);
        check(|packet| packet[40..48].fill(0), None);
        let kiss = |code: &[u8; 4]| {
            let mut packet = answer(7);
            packet[1] = 0;
            packet[12..16].copy_from_slice(code);
            reply(&packet, 7)
        };
        assert_eq!(kiss(b"DENY"), Some(Reply::Denied));
        assert_eq!(kiss(b"RATE"), Some(Reply::TooOften));
        assert_eq!(kiss(b"INIT"), None);
    }

    #[test]
    fn hostile_packets_are_survived() {
        let mut random = crate::random::Random::from_seed(11);
        for _ in 0..50_000 {
            let mut packet = answer(7);
            for _ in 0..4 {
                packet[random.next_u32() as usize % LENGTH] = random.next_u8();
            }
            let _ = reply(&packet[..random.next_u32() as usize % (LENGTH + 1)], 7);
        }
    }
}
