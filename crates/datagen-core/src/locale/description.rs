//! Descriptions of people: a few Czech sentences that agree with gender, age, occupation and region.
//!
//! The sentences are those of `data/sentences.tsv`, which the build script compiles into programs. A description chooses a
//! plan, a sequence of topics; for each topic a sentence that suits the person; and fillers for its slots.

use fake::Dummy;
use rand::{Rng, RngExt};

use super::name::PersonName;
use super::occupation::{Career, Occupation};
use super::person::LifeStage;
use super::place::Municipality;
use super::tables;
use crate::rng::{RecordRng, below, start};
use crate::text::{Cursor, WriteText, text_value};

/// What a sentence is about, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    Intro,
    Career,
    Work,
    Sport,
    Trip,
    Quiet,
    Family,
    Character,
    Shop,
}

/// How many topics there are.
const TOPICS: usize = Topic::Shop as usize + 1;

use Topic::{Career as Past, Character, Family, Intro, Quiet, Shop, Sport, Trip, Work};

/// Sequences of topics by their number, from three to seven. Each begins with the introduction and has no topic twice, so that
/// no sentence repeats or contradicts another.
const PLANS: [[&[Topic]; 4]; 5] = [
    [
        &[Intro, Work, Quiet],
        &[Intro, Past, Sport],
        &[Intro, Work, Family],
        &[Intro, Past, Character],
    ],
    [
        &[Intro, Work, Quiet, Family],
        &[Intro, Past, Sport, Shop],
        &[Intro, Work, Trip, Character],
        &[Intro, Past, Family, Quiet],
    ],
    [
        &[Intro, Past, Work, Sport, Family],
        &[Intro, Work, Trip, Quiet, Shop],
        &[Intro, Past, Sport, Quiet, Character],
        &[Intro, Work, Family, Trip, Shop],
    ],
    [
        &[Intro, Past, Work, Sport, Family, Quiet],
        &[Intro, Work, Trip, Quiet, Family, Shop],
        &[Intro, Past, Work, Trip, Character, Shop],
        &[Intro, Past, Sport, Family, Character, Quiet],
    ],
    [
        &[Intro, Past, Work, Sport, Trip, Family, Quiet],
        &[Intro, Past, Work, Sport, Quiet, Character, Shop],
        &[Intro, Past, Work, Trip, Family, Quiet, Shop],
        &[Intro, Work, Sport, Trip, Family, Character, Shop],
    ],
];

/// The last ages of the groups that sentences distinguish.
const LAST_AGES: [u8; 4] = [19, 29, 44, 61];
const AGE_GROUPS: usize = LAST_AGES.len() + 1;
const GENDERS: usize = 2;
const PLACES: usize = 3;
const STAGES: usize = 3;
/// How many slots have fillers by region, and how many by gender.
const REGIONAL_SLOTS: usize = 4;
const SLOTS: usize = tables::FILLER_SLOTS[0] as usize;

/// A description. It holds the facts and the generator that its sentences are drawn from, not the sentences: they are
/// drawn as they are written, always the same.
#[derive(Clone, Debug)]
pub struct Description {
    rng: RecordRng,
    name: PersonName,
    career: Career,
    home: Municipality,
}
text_value!(Description);

/// The description of a person with this name, career and home.
#[derive(Clone, Copy, Debug)]
pub struct DescriptionOf(pub PersonName, pub Career, pub Municipality);

impl Dummy<DescriptionOf> for Description {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(
        &DescriptionOf(name, career, home): &DescriptionOf,
        rng: &mut R,
    ) -> Self {
        Self {
            rng: start(rng.next_u64()),
            name,
            career,
            home,
        }
    }
}

impl WriteText for Description {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        let mut rng = self.rng.clone();
        let draw = below(&mut rng, (PLANS.len() * PLANS[0].len()) as u64) as usize;
        let plan = PLANS[draw / PLANS[0].len()][draw % PLANS[0].len()];
        let gender = self.career.gender().index();
        let ages = LAST_AGES.iter().filter(|&&last| last < self.career.age()).count();
        let traits = (ages * GENDERS + gender) * PLACES + self.home.kind() as usize;
        let stage = match self.career.stage() {
            LifeStage::Worker => 0,
            LifeStage::Student => 1,
            LifeStage::Pensioner => 2,
        };
        let jobs = self.career.jobs();
        for (number, &topic) in plan.iter().enumerate() {
            if number > 0 {
                out.push_ascii(b' ');
            }
            // The lists about work for each field come after those for each topic and stage of life.
            let list = if topic == Work && self.career.stage() == LifeStage::Worker {
                TOPICS * STAGES + self.career.field()
            } else {
                topic as usize * STAGES + stage
            };
            let list = list * AGE_GROUPS * GENDERS * PLACES + traits;
            let sentence = tables::SENTENCES.pick(list, rng.next_u64());
            self.write_sentence(sentence * GENDERS + gender, &jobs, rng.next_u64(), out);
        }
    }
}

impl Description {
    /// Runs the program of a sentence; 16 bits of `random` draw each filler.
    #[inline]
    fn write_sentence(&self, program: usize, jobs: &[Occupation; 3], mut random: u64, out: &mut Cursor<'_>) {
        let starts = &tables::SENTENCE_STARTS[program..program + 2];
        for &code in &tables::SENTENCE_CODES[usize::from(starts[0])..usize::from(starts[1])] {
            let argument = usize::from(code & 0x0fff);
            let list = match code >> 12 {
                0 => {
                    tables::PIECES.write(argument, out);
                    continue;
                }
                1 => {
                    match argument {
                        0 => self.name.write_given(out),
                        4 => self.home.write_text(out),
                        job => jobs[job - 1].write_text(out),
                    }
                    continue;
                }
                2 => SLOTS * GENDERS + self.home.region().index() * REGIONAL_SLOTS + argument,
                _ => argument * GENDERS + self.career.gender().index(),
            };
            let (first, len) = (tables::FILLER_LISTS[2 * list], tables::FILLER_LISTS[2 * list + 1]);
            let filler = usize::from(first) + (((random & 0xffff) * u64::from(len)) >> 16) as usize;
            random >>= 16;
            tables::FILLERS.write(filler, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_begin_with_the_introduction_and_have_no_topic_twice() {
        for (index, plans) in PLANS.iter().enumerate() {
            for plan in plans {
                assert_eq!(plan.len(), index + 3);
                assert_eq!(plan[0], Intro);
                for (number, topic) in plan.iter().enumerate() {
                    assert!(!plan[..number].contains(topic), "{plan:?}");
                }
            }
        }
    }
}
