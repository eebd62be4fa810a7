//! Occupations, in the form of the person's gender, and such as one can have at the person's age.

use fake::Dummy;
use rand::RngExt;

use super::person::Gender;
use super::tables;
use crate::rng::below;
use crate::text::{Cursor, Piece, WriteText, text_value};

const COUNT: usize = tables::MALE_OCCUPATIONS.len();

static MALE: [Piece<48>; COUNT] = Piece::list(tables::MALE_OCCUPATIONS);
static FEMALE: [Piece<48>; COUNT] = Piece::list(tables::FEMALE_OCCUPATIONS);

/// An occupation, in the form of a gender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Occupation {
    gender: Gender,
    index: u16,
}
text_value!(Occupation);

/// Occupations of a person of this gender and age in years.
#[derive(Clone, Copy, Debug)]
pub struct OccupationsOf(pub Gender, pub u8);

/// Three different ones.
impl Dummy<OccupationsOf> for [Occupation; 3] {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&OccupationsOf(gender, age): &OccupationsOf, rng: &mut R) -> Self {
        // The tables are in the order of the minimum age.
        let count = u64::from(tables::OCCUPATIONS_OPEN_AT_AGE[usize::from(age)]);
        // One draw decides all three: an index among all, one among the rest, one among the rest of those.
        let draw = below(rng, count * (count - 1) * (count - 2));
        let first = draw % count;
        let mut second = draw / count % (count - 1);
        let mut third = draw / (count * (count - 1));
        second += u64::from(second >= first);
        let (low, high) = (first.min(second), first.max(second));
        third += u64::from(third >= low);
        third += u64::from(third >= high);
        [first, second, third].map(|index| Occupation {
            gender,
            index: index as u16,
        })
    }
}

impl WriteText for Occupation {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        let index = usize::from(self.index);
        out.push_piece(match self.gender {
            Gender::Male => &MALE[index],
            Gender::Female => &FEMALE[index],
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fake::Fake;

    use super::*;
    use crate::locale::test_rng;

    #[test]
    fn three_different_ones_and_all_that_the_age_allows_in_each_place() {
        for (age, is_surgeon, is_bricklayer) in [(18, false, true), (29, false, true), (60, true, true)] {
            let mut seen: [HashSet<String>; 3] = Default::default();
            for id in 0..20_000 {
                let jobs: [Occupation; 3] = OccupationsOf(Gender::Male, age).fake_with_rng(&mut test_rng(id));
                assert_eq!(HashSet::from(jobs).len(), 3);
                for (place, job) in jobs.iter().enumerate() {
                    seen[place].insert(job.to_string());
                }
            }
            let open = usize::from(tables::OCCUPATIONS_OPEN_AT_AGE[usize::from(age)]);
            assert!(open < COUNT || age == 60);
            for occupations in seen {
                assert_eq!(occupations.len(), open);
                assert_eq!(occupations.contains("chirurg"), is_surgeon, "at {age}");
                assert_eq!(occupations.contains("zedník"), is_bricklayer, "at {age}");
            }
        }
    }
}
