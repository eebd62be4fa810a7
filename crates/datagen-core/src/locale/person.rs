//! Gender, date of birth and stage of life: the facts that a person's other data must agree with.

use chrono::{Datelike, NaiveDate};
use fake::Dummy;
use rand::RngExt;

use super::tables;
use crate::rng::below;

/// The day for which the users' ages are computed. It is fixed, so that the data do not depend on the current date.
pub const REFERENCE_DATE: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");

/// The ages of the youngest and the oldest users, in years on [`REFERENCE_DATE`].
pub const AGES: std::ops::RangeInclusive<u8> = 18..=90;

/// A person's gender as recorded in the register of inhabitants.
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

/// The index of an age in the tables by age.
#[inline]
pub(super) fn index_of_age(age: u8) -> usize {
    usize::from(age - *AGES.start())
}

/// The number of ages in the tables by age.
pub(super) const AGE_COUNT: usize = (*AGES.end() - *AGES.start()) as usize + 1;

/// An adult's date of birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BirthDate {
    year: u16,
    /// The day of the year, from 1.
    day: u16,
    age: u8,
}

/// The date of birth of a person born in this year, on a random day.
#[derive(Clone, Copy, Debug)]
pub struct BornIn(pub u16);

impl Dummy<BornIn> for BirthDate {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&BornIn(year): &BornIn, rng: &mut R) -> Self {
        let day = 1 + below(rng, if is_leap(year) { 366 } else { 365 }) as u16;
        // Only those born on 1 January have had their birthday by the reference date.
        let age = REFERENCE_DATE.year() as u16 - year - u16::from(day > 1);
        Self {
            year,
            day,
            age: age as u8,
        }
    }
}

/// Whether a year of the twentieth or twenty-first century is a leap year; the rule holds for 1901 to 2099, and all
/// birth years are in this range.
#[inline]
fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4)
}

/// Month and day, as the number MMDD, of each day of a leap year.
static MONTH_DAYS: [u16; 366] = {
    let lengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut days = [0; 366];
    let (mut month, mut first) = (0, 0);
    while month < 12 {
        let mut day = 0;
        while day < lengths[month] {
            days[first + day] = (100 * (month + 1) + day + 1) as u16;
            day += 1;
        }
        first += lengths[month];
        month += 1;
    }
    days
};

/// The index of 1 March in a leap year, from 0.
const FIRST_OF_MARCH: usize = 31 + 29;

impl BirthDate {
    /// The date.
    pub fn date(self) -> NaiveDate {
        NaiveDate::from_yo_opt(i32::from(self.year), u32::from(self.day)).expect("a day of the year")
    }

    /// The year.
    #[inline]
    pub fn year(self) -> u16 {
        self.year
    }

    /// Month and day as the number MMDD.
    #[inline]
    pub(super) fn month_day(self) -> u32 {
        let day = usize::from(self.day) - 1;
        let skipped = !is_leap(self.year) && day + 1 >= FIRST_OF_MARCH;
        u32::from(MONTH_DAYS[day + usize::from(skipped)])
    }

    /// The age on [`REFERENCE_DATE`] in whole years.
    pub fn age(self) -> u8 {
        self.age
    }
}

/// A stage of life, which determines the present occupation.
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
        let pensioners = [
            tables::MALE_PENSIONERS_PER_MILLE,
            tables::FEMALE_PENSIONERS_PER_MILLE,
        ][gender.index()][age];
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
                assert_eq!(birth.month_day(), 100 * birth.date().month() + birth.date().day());
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
