//! VIP users: a choice of distinct user ids, one `{"id": n}` a line in `vipusers/vipusers.json`.
//!
//! VIP number i is the image of i under a permutation of the users' ids that the seed keys: distinct by
//! construction, without a set of those already taken, and each computed by itself.

use crate::rng::{GOLDEN, Kind, RecordSeed};
use crate::text::TextBuf;

/// The VIPs among `users` users.
#[derive(Clone, Copy, Debug)]
pub struct Vips {
    key: u64,
    users: u64,
    /// Half the width of the permuted words: 4^half_bits is at least `users`, and less than 4 times as much.
    half_bits: u32,
}

/// Rounds of the Feistel network. Four make a pseudo-random permutation (Luby and Rackoff 1988); two more
/// cost little and make up for a round function that is only a mixer.
const ROUNDS: u64 = 6;

/// The multiplier of the rounds' mixer, degski's 64-bit one: multiply, fold the high half into the low, multiply.
const MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// About how many bytes a VIP user's line has, for buffers: `{"id": }`, a line feed and five digits.
pub const EXPECTED_BYTES: usize = 14;

impl Vips {
    /// The VIPs of `seed` among users 0..`users`.
    pub fn new(seed: u64, users: u64) -> Self {
        let bits = u64::BITS - users.saturating_sub(1).leading_zeros();
        Self {
            key: RecordSeed::new(seed, Kind::Vip).key(),
            users,
            half_bits: bits.div_ceil(2).max(1),
        }
    }

    /// The user id of VIP number `index`.
    ///
    /// # Panics
    /// If there are not so many users.
    pub fn get(&self, index: u64) -> u64 {
        assert!(index < self.users, "there are only {} users", self.users);
        // Cycle walking: apply the permutation of the larger power of four until the image is a user.
        let mut id = index;
        loop {
            id = self.permute(id);
            if id < self.users {
                return id;
            }
        }
    }

    /// A balanced Feistel network over `2 * half_bits` bits.
    fn permute(&self, word: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (word >> self.half_bits, word & mask);
        for round in 0..ROUNDS {
            let mixed = (right ^ self.key.rotate_left(11 * round as u32))
                .wrapping_add(round.wrapping_mul(GOLDEN))
                .wrapping_mul(MULTIPLIER);
            let folded = (mixed ^ (mixed >> 32)).wrapping_mul(MULTIPLIER) >> 32;
            (left, right) = (right, left ^ (folded & mask));
        }
        (left << self.half_bits) | right
    }

    /// Appends VIP number `index` as a line of JSON, with its line feed.
    pub fn write_json_line(&self, index: u64, out: &mut TextBuf) {
        let id = self.get(index);
        out.append(64, |out| {
            out.push_str("{\"id\":");
            out.push_number(id);
            out.push_str("}\n");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_can_be_a_vip_and_none_is_one_twice() {
        for users in [1, 2, 3, 4, 5, 16, 17, 100, 1_000, 4_097] {
            let vips = Vips::new(7, users);
            let mut ids: Vec<_> = (0..users).map(|index| vips.get(index)).collect();
            ids.sort_unstable();
            assert!(ids.iter().copied().eq(0..users), "{users}");
        }
    }

    #[test]
    fn the_choice_looks_random_and_depends_on_the_seed() {
        let ids = |seed| {
            (0..10_000)
                .map(|index| Vips::new(seed, 1_000_000).get(index))
                .collect::<Vec<_>>()
        };
        let (a, b) = (ids(0), ids(1));
        assert_ne!(a, b);
        let mean = a.iter().sum::<u64>() as f64 / 10_000.0;
        assert!((mean - 500_000.0).abs() < 5.0 * 2_887.0, "{mean}");
        // Each tenth of the users has about a tenth of the VIPs, in any part of the list.
        for part in a.chunks(2_000) {
            let low = part.iter().filter(|&&id| id < 100_000).count();
            assert!((133..267).contains(&low), "{low}");
        }
    }
}
