//! Occupations: one profession is drawn first, by age and gender and by its frequency in the country. The other two
//! jobs and the titles depend on it.

use fake::Dummy;
use rand::{Rng, RngExt};

use super::person::{Gender, LifeStage, index_of_age};
use super::tables::{self, Text};
use crate::rng::halves;
use crate::text::{Cursor, WriteText, text_value};

/// The number of actual occupations; the texts for students and pensioners follow theirs.
const COUNT: usize = tables::OCCUPATION_FIELDS.len();
const STUDENT: usize = COUNT;
const PENSIONER: usize = COUNT + 1;

/// The highest age at which pensioners held their profession.
const LAST_WORKING_AGE: u8 = 62;

/// An occupation, in the form for a gender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Occupation {
    gender: Gender,
    index: u16,
}
text_value!(Occupation);

impl WriteText for Occupation {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        self.text().write::<LONGEST_OCCUPATION>(out);
    }
}

/// The maximum length of an occupation, in bytes.
pub(super) const LONGEST_OCCUPATION: usize = 48;

impl Occupation {
    #[inline(always)]
    pub(super) fn text(self) -> Text {
        tables::OCCUPATIONS.text(2 * usize::from(self.index) + self.gender.index())
    }
}

/// A person's present and former jobs, and the education that they require.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Career {
    gender: Gender,
    age: u8,
    stage: LifeStage,
    /// The present occupation, or student or pensioner, first; then the profession of a pensioner, and other jobs,
    /// held earlier or at the same time.
    jobs: [u16; 3],
}

/// The career of a person of this gender, age in years and stage of life, which must be one that people of that age
/// have in `data/life_stages.tsv`.
#[derive(Clone, Copy, Debug)]
pub struct CareerOf(pub Gender, pub u8, pub LifeStage);

impl Dummy<CareerOf> for Career {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&CareerOf(gender, age, stage): &CareerOf, rng: &mut R) -> Self {
        let jobs = match stage {
            LifeStage::Worker => {
                let profession = profession(gender, age, rng);
                let second = other_job(gender, age..=age, profession, [profession, profession], rng);
                let third = other_job(gender, age..=age, profession, [profession, second], rng);
                [profession, second, third]
            }
            LifeStage::Student => {
                let second = simple_job(gender, age..=age, [STUDENT, STUDENT], rng);
                let third = simple_job(gender, age..=age, [STUDENT, second], rng);
                [STUDENT, second, third]
            }
            LifeStage::Pensioner => {
                let age = age.min(LAST_WORKING_AGE);
                let profession = profession(gender, age, rng);
                // An earlier job may be one that people of that age no longer have.
                let third = other_job(gender, 0..=age, profession, [profession, profession], rng);
                [PENSIONER, profession, third]
            }
        };
        Self {
            gender,
            age,
            stage,
            jobs: jobs.map(|job| job as u16),
        }
    }
}

/// The profession of a person of this gender and age.
#[inline]
fn profession<R: Rng + ?Sized>(gender: Gender, age: u8, rng: &mut R) -> usize {
    let group = usize::from(tables::PROFESSION_GROUP_OF_AGE[index_of_age(age)]);
    let list = gender.index() * GROUPS + group;
    loop {
        let job = tables::PROFESSIONS.pick(list, halves(rng).0);
        if fits_age(job, &(age..=age)) {
            return job;
        }
    }
}

/// The number of age groups with lists of professions. Each list contains the professions of all ages of its group.
const GROUPS: usize = tables::PROFESSION_GROUPS[0] as usize;

/// Whether people of any of these ages have this job.
#[inline]
fn fits_age(job: usize, ages: &std::ops::RangeInclusive<u8>) -> bool {
    tables::OCCUPATION_YOUNGEST[job] <= *ages.end() && *ages.start() <= tables::OCCUPATION_OLDEST[job]
}

/// The maximum number of draws for a job that suits the age and that the person does not already have.
const DRAWS: usize = 12;

/// A job in the field of the profession or in a related one, and not in `taken`.
#[inline]
fn other_job<R: Rng + ?Sized>(
    gender: Gender,
    ages: std::ops::RangeInclusive<u8>,
    profession: usize,
    taken: [usize; 2],
    rng: &mut R,
) -> usize {
    let list = 2 * profession + gender.index();
    if !tables::RELATED_OCCUPATIONS.is_empty(list) {
        for _ in 0..DRAWS {
            let job = tables::RELATED_OCCUPATIONS.pick(list, halves(rng).0);
            if !taken.contains(&job) && fits_age(job, &ages) {
                return job;
            }
        }
    }
    simple_job(gender, ages, taken, rng)
}

/// A job that requires no training and is not in `taken`. The oldest workers do not have such jobs; they get any job
/// that people of their age have and that does not require a degree for that profession only.
fn simple_job<R: Rng + ?Sized>(
    gender: Gender,
    ages: std::ops::RangeInclusive<u8>,
    taken: [usize; 2],
    rng: &mut R,
) -> usize {
    for _ in 0..DRAWS {
        let job = tables::SIMPLE_OCCUPATIONS.pick(gender.index(), halves(rng).0);
        if !taken.contains(&job) && fits_age(job, &ages) {
            return job;
        }
    }
    loop {
        let job = profession(gender, *ages.end(), rng);
        if !taken.contains(&job) && tables::OCCUPATION_OWN_DEGREE[job] == 0 {
            return job;
        }
    }
}

impl Career {
    /// The three jobs: the present one, or student or pensioner; then others that the person had earlier or has at
    /// the same time. A pensioner's second job is the former profession.
    #[inline]
    pub fn jobs(&self) -> [Occupation; 3] {
        self.jobs.map(|index| Occupation {
            gender: self.gender,
            index,
        })
    }

    /// The stage of life.
    pub fn stage(&self) -> LifeStage {
        self.stage
    }

    /// The gender.
    pub fn gender(&self) -> Gender {
        self.gender
    }

    /// The age in years.
    pub fn age(&self) -> u8 {
        self.age
    }

    /// The field that a worker works in, as a number; 0 for others.
    #[inline]
    pub(super) fn field(&self) -> usize {
        match self.stage {
            LifeStage::Worker => usize::from(tables::OCCUPATION_FIELDS[usize::from(self.jobs[0])]),
            LifeStage::Student | LifeStage::Pensioner => 0,
        }
    }

    /// The education on which the titles depend, as a number.
    #[inline]
    pub(super) fn education(&self) -> usize {
        usize::from(match self.stage {
            LifeStage::Worker => tables::OCCUPATION_EDUCATIONS[usize::from(self.jobs[0])],
            LifeStage::Student => tables::STUDENT_EDUCATION[0],
            LifeStage::Pensioner => tables::OCCUPATION_EDUCATIONS[usize::from(self.jobs[1])],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fake::Fake;

    use super::*;
    use crate::locale::test_rng;

    #[test]
    fn jobs_are_three_different_ones_at_every_age_and_stage() {
        let stages = [
            (LifeStage::Worker, 18..=79),
            (LifeStage::Student, 18..=26),
            (LifeStage::Pensioner, 58..=90),
        ];
        for (stage, ages) in stages {
            for age in ages {
                for id in 0..300 {
                    let gender = [Gender::Male, Gender::Female][id as usize % 2];
                    let career: Career = CareerOf(gender, age, stage).fake_with_rng(&mut test_rng(id));
                    assert_eq!(HashSet::from(career.jobs()).len(), 3, "{career:?}");
                }
            }
        }
    }

    #[test]
    fn workers_have_jobs_of_their_age() {
        for (age, is_surgeon, is_ballerina, is_bricklayer) in [
            (18, false, true, true),
            (40, true, true, true),
            (66, true, false, true),
            (79, false, false, false),
        ] {
            let mut seen = HashSet::new();
            for id in 0..100_000 {
                let career: Career =
                    CareerOf(Gender::Male, age, LifeStage::Worker).fake_with_rng(&mut test_rng(id));
                seen.extend(career.jobs().map(|job| job.to_string()));
            }
            assert_eq!(seen.contains("chirurg"), is_surgeon, "at {age}");
            assert_eq!(seen.contains("tanečník"), is_ballerina, "at {age}");
            assert_eq!(seen.contains("zedník"), is_bricklayer, "at {age}");
        }
    }
}
