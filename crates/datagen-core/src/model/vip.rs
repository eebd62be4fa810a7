//! VIP users: the best customers, one `{"id": n}` per line in `vipusers/vipusers.json`, the most active first.
//!
//! Orders and sessions draw users by their activity rank; the VIP users are the first VIP_COUNT ranks. No other
//! generator needs to know VIP_COUNT, and the VIP users do not depend on any seed.

use crate::text::TextBuf;
use crate::world::Population;

/// The VIP users of a population.
#[derive(Clone, Debug)]
pub struct Vips {
    population: Population,
}

/// The approximate length of a VIP user's line in bytes, for the size of buffers: `{"id": }`, a line feed and five
/// digits.
pub const EXPECTED_BYTES: usize = 14;

impl Vips {
    /// The VIPs among users 0..`users`.
    pub fn new(users: u64) -> Self {
        Self {
            population: Population::new(users),
        }
    }

    /// The user id of VIP number `index`, from 0: the user with this activity rank.
    ///
    /// # Panics
    /// If `index` is not below the number of users.
    pub fn get(&self, index: u64) -> u64 {
        self.population.user_at_rank(index)
    }

    /// Appends VIP number `index` as a line of JSON, including the line feed.
    ///
    /// # Panics
    /// If `index` is not below the number of users.
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
    fn vips_are_different_users_and_shops_of_any_size_have_them() {
        for users in [1, 2, 3, 100, 1_000] {
            let vips = Vips::new(users);
            let mut ids: Vec<_> = (0..users).map(|index| vips.get(index)).collect();
            assert!((0..users).all(|index| vips.population.rank_of_user(ids[index as usize]) == index));
            ids.sort_unstable();
            assert!(ids.into_iter().eq(0..users), "{users}");
        }
        let mut line = TextBuf::default();
        Vips::new(1).write_json_line(0, &mut line);
        assert_eq!(line.as_bytes(), b"{\"id\":0}\n");
    }
}
