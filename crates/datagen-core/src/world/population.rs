//! Facts about users: activity, year of birth, sign-up date and the date on which they become inactive.

use rand::Rng;

use super::{Fact, Permutation, ZipfMandelbrot};
use crate::locale::network::{ClientIp, UserAgent};
use crate::locale::tables;
use crate::rng::{below, chance};
use crate::world::calendar::{SECONDS_PER_DAY, first_day_of};

/// The law of activity has the shift (number of users) / `ACTIVITY_SHIFT`.
///
/// Source: our choice. The first fifth of the ranks then has 58 % of the activity, and the first rank has 13.7 times
/// the mean. Since users are customers for part of the time only, orders are more concentrated, as in real shops (the
/// Pareto rule).
const ACTIVITY_SHIFT: u64 = 80;

/// The maximum number of draws by activity until an eligible customer is found. If few users are eligible, each of
/// them receives the orders of many others. In that case, there are fewer attempts by activity before customers are
/// drawn uniformly. No user therefore places more than 100 times the mean number of orders: 13.7 · 6 times by
/// activity if at least a sixth of the users is eligible; otherwise, 13.7 · 5 times by activity and 24 times
/// uniformly.
const ATTEMPTS_BY_ACTIVITY: u32 = 40;
const FEW_ATTEMPTS_BY_ACTIVITY: u32 = 5;
const UNIFORM_ATTEMPTS: u32 = 24;

/// If fewer than one in this many users are eligible, there are only [`FEW_ATTEMPTS_BY_ACTIVITY`] attempts by
/// activity.
const FEW_ELIGIBLE_ONE_IN: u64 = 6;

/// The minimum age of customers, computed as the year of the order minus the year of birth. Their 15th birthday has
/// then always passed, regardless of the dates within the years. Source: § 31 of the Czech Civil Code lets minors act
/// according to their maturity; shops ask for 15.
pub const MIN_AGE: i32 = 16;

/// The years in which users sign up, the second exclusive. Source: our choice, to cover the default order dates with
/// some margin before them.
pub const SIGN_UP_YEARS: (i32, i32) = (2012, 2026);

/// How long users remain customers, in seconds: uniform from half a year to eight years. About 70 % of users have
/// then left by the end of [`SIGN_UP_YEARS`]. Source: our choice.
const LIFETIME_SECONDS: (i64, i64) = (180 * SECONDS_PER_DAY, 8 * 365 * SECONDS_PER_DAY);

/// A user who has left is still accepted as a customer in one of this many draws. Source: our choice.
const LEFT_ONE_IN: u64 = 8;

/// The day on which ages are counted is 1 January of this year (see [`crate::locale::person`]).
const AGE_YEAR: u16 = 2026;

/// The youngest and the oldest age, from the first and the last age group of `data/age_groups.tsv`.
const YOUNGEST_AGE: u8 = tables::AGE_GROUP_FIRST[0];
const OLDEST_AGE: u8 = tables::AGE_GROUP_LAST[tables::AGE_GROUP_LAST.len() - 1];

/// The number of years of birth.
const BIRTH_YEARS: usize = (OLDEST_AGE - YOUNGEST_AGE) as usize + 1;

/// One session in this many uses the user's other browser. Source: our choice.
pub const OTHER_BROWSER_ONE_IN: u64 = 7;

/// One session in this many comes from another address than the user's home. Source: our choice.
pub const OTHER_ADDRESS_ONE_IN: u64 = 20;

/// The facts about the users `0..users`.
#[derive(Clone, Debug)]
pub struct Population {
    users: u64,
    /// Activity rank to user id.
    by_rank: Permutation,
    /// Age position to user id: position 0 is the oldest user.
    by_age: Permutation,
    activity: ZipfMandelbrot,
    /// Cumulative numbers of users by year of birth: entry i counts those born in year `FIRST_BIRTH_YEAR` + i or
    /// before.
    born_by: [u64; BIRTH_YEARS],
    /// For each cell of `1 << cell_shift` age positions, the index in `born_by` of its first position. It is almost
    /// always the index of the other positions as well.
    first_of_cell: [u8; CELLS],
    cell_shift: u32,
}

/// The maximum number of cells of age positions.
const CELLS: usize = 2_048;

impl Population {
    /// The facts about the users `0..users`, at most 2^31.
    pub fn new(users: u64) -> Self {
        let born_by = born_by(users);
        let mut cell_shift = 0;
        while users >> cell_shift >= CELLS as u64 {
            cell_shift += 1;
        }
        let index_of = |position: u64| born_by.partition_point(|&born| born <= position) as u8;
        Self {
            first_of_cell: std::array::from_fn(|cell| index_of((cell as u64) << cell_shift)),
            cell_shift,
            users,
            by_rank: Permutation::new(users, Fact::ActivityRank.key()),
            by_age: Permutation::new(users, Fact::AgePosition.key()),
            activity: ZipfMandelbrot::new(users, (users << 32) / ACTIVITY_SHIFT),
            born_by,
        }
    }

    /// The number of users.
    pub fn len(&self) -> u64 {
        self.users
    }

    /// Whether there are no users.
    pub fn is_empty(&self) -> bool {
        self.users == 0
    }

    /// The number of best customers: the most active hundredth of the users, at least one.
    pub fn best_customers(&self) -> u64 {
        self.users.div_ceil(100)
    }

    /// The user with this activity rank; rank 0 is the most active. The first VIP_COUNT ranks are the VIP users.
    ///
    /// # Panics
    /// If `rank` is not below the number of users.
    #[inline]
    pub fn user_at_rank(&self, rank: u64) -> u64 {
        self.by_rank.get(rank)
    }

    /// The activity rank of user `id`.
    ///
    /// # Panics
    /// If there is no such user.
    #[inline]
    pub fn rank_of_user(&self, id: u64) -> u64 {
        self.by_rank.invert(id)
    }

    /// The year in which user `id` was born: 1936 to 2007, by the age structure of Czechia.
    ///
    /// # Panics
    /// If there is no such user.
    #[inline]
    pub fn birth_year(&self, id: u64) -> u16 {
        let position = self.by_age.invert(id);
        let mut index = usize::from(self.first_of_cell[(position >> self.cell_shift) as usize]);
        while self.born_by[index] <= position {
            index += 1;
        }
        FIRST_BIRTH_YEAR + index as u16
    }

    /// The number of users born in `year` or before. They have the age positions below that number.
    fn born_by(&self, year: i32) -> u64 {
        match usize::try_from(year - i32::from(FIRST_BIRTH_YEAR)) {
            Ok(index) => self.born_by[index.min(BIRTH_YEARS - 1)],
            Err(_) => 0,
        }
    }

    /// When user `id` signed up, in seconds since 1970 of local time.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn sign_up(&self, id: u64) -> i64 {
        self.membership(self.rank_of_user(id)).0
    }

    /// When the user with this activity rank signed up, in seconds since 1970 of local time, and how many seconds
    /// later the user left. Both depend on the rank, which is already known when customers are drawn, and not on the
    /// id.
    #[inline]
    fn membership(&self, rank: u64) -> (i64, i64) {
        let word = Fact::Membership.word(rank);
        let (from, to) = SIGN_UP_SECONDS;
        let (shortest, longest) = LIFETIME_SECONDS;
        let within = |half: u64, seconds: i64| ((half * seconds as u64) >> 32) as i64;
        (
            from + within(word >> 32, to - from),
            shortest + within(word & 0xffff_ffff, longest - shortest),
        )
    }

    /// Draws the customer of an order placed at `time`, in seconds since 1970 of local time, in `year`: by
    /// activity among the users who are of age, have signed up, and have not left.
    ///
    /// Outside [`SIGN_UP_YEARS`] all users of age are eligible, and if no user is of age, all users are.
    #[inline]
    pub fn draw_customer<R: Rng + ?Sized>(&self, time: i64, year: i32, rng: &mut R) -> u64 {
        let of_age = self.born_by(year - MIN_AGE);
        if of_age == 0 {
            return below(rng, self.users);
        }
        let (from, to) = SIGN_UP_SECONDS;
        let within = (from..to).contains(&time);
        let eligible = if within {
            of_age * eligible_permille(time - from) / 1_000
        } else {
            of_age
        };
        let by_activity = if eligible * FEW_ELIGIBLE_ONE_IN < self.users {
            FEW_ATTEMPTS_BY_ACTIVITY
        } else {
            ATTEMPTS_BY_ACTIVITY
        };
        for attempt in 0..by_activity + UNIFORM_ATTEMPTS {
            let rank = if attempt < by_activity {
                self.activity.draw(rng)
            } else {
                below(rng, self.users)
            };
            if within {
                let (sign_up, lifetime) = self.membership(rank);
                let since = time - sign_up;
                if since < 0 || (since > lifetime && !chance(rng, 1, LEFT_ONE_IN)) {
                    continue;
                }
            }
            let id = self.by_rank.get(rank);
            if of_age == self.users || self.by_age.invert(id) < of_age {
                return id;
            }
        }
        self.by_age.get(below(rng, of_age))
    }

    /// Draws the visitor of a session, by activity.
    #[inline]
    pub fn draw_visitor<R: Rng + ?Sized>(&self, rng: &mut R) -> u64 {
        self.by_rank.get(self.activity.draw(rng))
    }

    /// A random word that selects the favourite shelf of user `id`; see
    /// [`Catalogue::shelf_of_word`](super::Catalogue::shelf_of_word).
    #[inline]
    pub fn favourite_shelf_word(&self, id: u64) -> u64 {
        Fact::FavouriteShelf.word(id)
    }

    /// The browser that user `id` usually uses.
    #[inline]
    pub fn browser(&self, id: u64) -> UserAgent {
        UserAgent::browser(Fact::Browser.word(id))
    }

    /// The other browser that user `id` sometimes uses.
    #[inline]
    pub fn other_browser(&self, id: u64) -> UserAgent {
        UserAgent::browser(Fact::OtherBrowser.word(id))
    }

    /// The address of the home of user `id`, in the network of a Czech provider.
    #[inline]
    pub fn home_address(&self, id: u64) -> ClientIp {
        ClientIp::czech_home(Fact::HomeAddress.word(id))
    }
}

/// [`SIGN_UP_YEARS`] in seconds since 1970.
const SIGN_UP_SECONDS: (i64, i64) = (
    first_day_of(SIGN_UP_YEARS.0) * SECONDS_PER_DAY,
    first_day_of(SIGN_UP_YEARS.1) * SECONDS_PER_DAY,
);

/// The approximate number of users per 1 000 who have signed up and have not left, `seconds` after the beginning of
/// [`SIGN_UP_YEARS`]. The number of users who have signed up grows evenly. At the end, 390 in 1 000 of them count as
/// customers; users who have left count in proportion to the orders that they still place.
const fn eligible_permille(seconds: i64) -> u64 {
    let (from, to) = SIGN_UP_SECONDS;
    let passed = seconds as u64 * 1_000 / (to - from) as u64;
    passed * (1_000 - passed * 610 / 1_000) / 1_000
}

/// The earliest year of birth: on 1 January of [`AGE_YEAR`], people born in year y have the age `AGE_YEAR - 1 - y`,
/// except those born on 1 January.
const FIRST_BIRTH_YEAR: u16 = AGE_YEAR - 1 - OLDEST_AGE as u16;

/// The number of users born by the end of each year of birth: the inhabitants of an age group are distributed evenly
/// over its years.
fn born_by(users: u64) -> [u64; BIRTH_YEARS] {
    let mut cumulative = [0; BIRTH_YEARS];
    let mut total = 0;
    for (index, sum) in cumulative.iter_mut().enumerate() {
        let age = OLDEST_AGE - index as u8;
        let group = tables::AGE_GROUP_LAST.partition_point(|&last| last < age);
        let years = tables::AGE_GROUP_LAST[group] - tables::AGE_GROUP_FIRST[group] + 1;
        // Groups have two or five years; a thousandth of an inhabitant is precise enough for any.
        total += u128::from(tables::AGE_GROUP_INHABITANTS[group]) * 1_000 / u128::from(years);
        *sum = total;
    }
    cumulative.map(|sum| ((u128::from(users) * sum + total / 2) / total) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: u64 = 100_000;

    #[test]
    fn ranks_and_years_of_birth_belong_to_all_users() {
        for users in [1, 2, 3, 100, 1_000] {
            let population = Population::new(users);
            let mut years = Vec::new();
            for id in 0..users {
                assert_eq!(population.user_at_rank(population.rank_of_user(id)), id);
                let year = population.birth_year(id);
                assert!((1936..=2007).contains(&year), "{year}");
                years.push(year);
            }
            for year in [1935, 1936, 1960, 2006, 2007, 2030] {
                let born = years.iter().filter(|&&born| i32::from(born) <= year).count() as u64;
                assert_eq!(population.born_by(year), born, "{users} users, {year}");
            }
        }
    }

    #[test]
    fn ages_follow_the_age_groups() {
        let population = Population::new(USERS);
        let total: u32 = tables::AGE_GROUP_INHABITANTS.iter().sum();
        for group in 0..tables::AGE_GROUP_FIRST.len() {
            let ages = tables::AGE_GROUP_FIRST[group]..=tables::AGE_GROUP_LAST[group];
            let found = (0..USERS)
                .filter(|&id| ages.contains(&((AGE_YEAR - 1 - population.birth_year(id)) as u8)))
                .count() as f64;
            let share = f64::from(tables::AGE_GROUP_INHABITANTS[group]) / f64::from(total);
            assert!((found - share * USERS as f64).abs() <= 2.0, "{ages:?}: {found}");
        }
    }
}
