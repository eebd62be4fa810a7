//! What a person's other data must agree with: gender and date of birth.

use chrono::{Datelike, NaiveDate};
use fake::{Dummy, Faker};
use rand::RngExt;

use super::tables;
use crate::rng::{Alias, below};

/// The day on which the users' ages are counted. Fixed, so that the data do not change with the calendar.
pub const REFERENCE_DATE: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");

static AGE_GROUPS: Alias = Alias::new(tables::AGE_GROUP_ALIAS);

/// A person's gender, as the register of inhabitants has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gender {
    /// Male.
    Male,
    /// Female.
    Female,
}

/// Women are 51 % of the inhabitants (ČSÚ).
impl Dummy<Faker> for Gender {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(_: &Faker, rng: &mut R) -> Self {
        if below(rng, 100) < 51 {
            Self::Female
        } else {
            Self::Male
        }
    }
}

/// An adult's date of birth: 18 to 89 years old on [`REFERENCE_DATE`], so that nobody is over 90 in that year; by
/// the age structure of Czechia.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BirthDate {
    date: NaiveDate,
    age: u8,
}

impl Dummy<Faker> for BirthDate {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(_: &Faker, rng: &mut R) -> Self {
        let group = AGE_GROUPS.pick(rng);
        let (first, last) = (tables::AGE_GROUP_FIRST[group], tables::AGE_GROUP_LAST[group]);
        // Day 0 is the last birthday being today.
        let days = below(rng, u64::from(last - first + 1) * 365);
        let (age, day) = (first + (days / 365) as u8, days % 365);
        // 1 January `age` years ago, and up to 364 days before it: the age stays as drawn.
        let year = REFERENCE_DATE.year() - i32::from(age);
        let days_before = if NaiveDate::from_yo_opt(year - 1, 366).is_some() {
            366
        } else {
            365
        };
        let date = match day as u32 {
            0 => NaiveDate::from_yo_opt(year, 1),
            day => NaiveDate::from_yo_opt(year - 1, days_before + 1 - day),
        };
        let date = date.expect("a day of the year");
        Self { date, age }
    }
}

impl BirthDate {
    /// The date.
    pub fn date(self) -> NaiveDate {
        self.date
    }

    /// The age on [`REFERENCE_DATE`] in whole years.
    pub fn age(self) -> u8 {
        self.age
    }
}

#[cfg(test)]
mod tests {
    use fake::Fake;

    use super::*;
    use crate::locale::test_rng;

    #[test]
    fn people_are_18_to_89_and_the_age_is_right() {
        let mut seen = std::collections::BTreeSet::new();
        for id in 0..50_000 {
            let birth: BirthDate = Faker.fake_with_rng(&mut test_rng(id));
            let age = REFERENCE_DATE.years_since(birth.date()).unwrap();
            assert_eq!(age, u32::from(birth.age()), "{birth:?}");
            seen.insert(age);
        }
        assert_eq!(
            (seen.first(), seen.last(), seen.len()),
            (Some(&18), Some(&89), 72)
        );
    }
}
