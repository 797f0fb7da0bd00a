//! Random numbers for transaction ids and delays; not for keys.

use rustix::rand::{GetRandomFlags, getrandom};

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by the kernel.
    pub fn from_kernel() -> Self {
        let mut seed = [0; 8];
        // Early in boot the kernel may have too little entropy; the time since the start differs between boots too.
        if getrandom(&mut seed, GetRandomFlags::NONBLOCK).is_err() {
            let now = crate::time::now();
            seed = (now.as_secs() << 30 | u64::from(now.subsec_nanos())).to_ne_bytes();
        }
        Self(u64::from_ne_bytes(seed))
    }

    /// Seeded by the caller, for tests.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// The next 8 bits.
    pub fn next_u8(&mut self) -> u8 {
        self.next_u64().to_be_bytes()[0]
    }

    /// A number of at least `low` and less than `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        // 53 bits are what a double holds.
        let unit = (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        low + unit * (high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_between_their_bounds() {
        let mut random = Random::from_seed(1);
        let numbers: Vec<f64> = (0..1000).map(|_| random.between(-0.1, 0.1)).collect();
        assert!(numbers.iter().all(|number| (-0.1..0.1).contains(number)));
        assert!(numbers.iter().any(|number| *number < -0.05) && numbers.iter().any(|number| *number > 0.05));
    }
}
