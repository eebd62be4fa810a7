//! What a person's other data must agree with: gender, date of birth and stage of life.

use chrono::{Datelike, NaiveDate};
use fake::Dummy;
use rand::RngExt;

use super::tables;
use crate::rng::below;

/// The day on which the users' ages are counted. Fixed, so that the data do not change with the calendar.
pub const REFERENCE_DATE: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");

/// The ages of the youngest and the oldest users, in years on [`REFERENCE_DATE`].
pub const AGES: std::ops::RangeInclusive<u8> = 18..=90;

/// A person's gender, as the register of inhabitants has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gender {
    /// Male.
    Male,
    /// Female.
    Female,
}

impl Gender {
    /// 0 for men, 1 for women: the order of the columns in `data/`.
    #[inline]
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// The gender of a person of this age in years: the share of women grows with age.
#[derive(Clone, Copy, Debug)]
pub struct GenderAt(pub u8);

impl Dummy<GenderAt> for Gender {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&GenderAt(age): &GenderAt, rng: &mut R) -> Self {
        if below(rng, 1_000) < u64::from(tables::WOMEN_PER_MILLE[index_of_age(age)]) {
            Self::Female
        } else {
            Self::Male
        }
    }
}

/// The place of an age in the tables by age.
#[inline]
pub(super) fn index_of_age(age: u8) -> usize {
    usize::from(age - *AGES.start())
}

/// How many ages there are in the tables by age.
pub(super) const AGE_COUNT: usize = (*AGES.end() - *AGES.start()) as usize + 1;

/// An adult's date of birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BirthDate {
    date: NaiveDate,
    age: u8,
}

/// The birth date of a person born in this year, on any day of it.
#[derive(Clone, Copy, Debug)]
pub struct BornIn(pub u16);

impl Dummy<BornIn> for BirthDate {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&BornIn(year): &BornIn, rng: &mut R) -> Self {
        let year = i32::from(year);
        let leap = NaiveDate::from_yo_opt(year, 366).is_some();
        let day = 1 + below(rng, if leap { 366 } else { 365 }) as u32;
        let date = NaiveDate::from_yo_opt(year, day).expect("a day of the year");
        // Only those born on 1 January have had their birthday by the reference date.
        let age = REFERENCE_DATE.year() - year - i32::from(day > 1);
        Self {
            date,
            age: u8::try_from(age).expect("an age below 256"),
        }
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

/// What fills a person's days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifeStage {
    /// Has a profession.
    Worker,
    /// Is at school or university.
    Student,
    /// Draws a pension.
    Pensioner,
}

/// The stage of life of a person of this gender and age in years.
#[derive(Clone, Copy, Debug)]
pub struct StageOf(pub Gender, pub u8);

impl Dummy<StageOf> for LifeStage {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&StageOf(gender, age): &StageOf, rng: &mut R) -> Self {
        let age = index_of_age(age);
        let students = tables::STUDENTS_PER_MILLE[age];
        let pensioners = match gender {
            Gender::Male => tables::MALE_PENSIONERS_PER_MILLE[age],
            Gender::Female => tables::FEMALE_PENSIONERS_PER_MILLE[age],
        };
        let draw = below(rng, 1_000) as u16;
        if draw < students {
            Self::Student
        } else if draw < students + pensioners {
            Self::Pensioner
        } else {
            Self::Worker
        }
    }
}

#[cfg(test)]
mod tests {
    use fake::Fake;

    use super::*;
    use crate::locale::test_rng;

    #[test]
    fn the_age_is_right_and_every_day_of_the_year_occurs() {
        for year in [1936, 1999, 2000, 2007] {
            let mut days = std::collections::BTreeSet::new();
            for id in 0..10_000 {
                let birth: BirthDate = BornIn(year).fake_with_rng(&mut test_rng(id));
                let age = REFERENCE_DATE.years_since(birth.date()).unwrap();
                assert_eq!(age, u32::from(birth.age()), "{birth:?}");
                assert_eq!(birth.date().year(), i32::from(year));
                days.insert(birth.date().ordinal());
            }
            assert_eq!(days.len(), if year % 4 == 0 { 366 } else { 365 });
        }
    }

    #[test]
    fn the_tables_cover_all_ages() {
        assert_eq!(tables::WOMEN_PER_MILLE.len(), AGE_COUNT);
        assert_eq!(tables::STUDENTS_PER_MILLE.len(), AGE_COUNT);
    }
}
