//! Descriptions of people: a few Czech sentences that agree with gender, age, occupation and region.
//!
//! The build script expands the sentences of `data/sentences.tsv` with all fillers of their slots. For each
//! description, a plan is drawn, which is a sequence of topics, and for each topic a sentence that suits the person
//! and one of its variants.

use fake::Dummy;
use rand::RngExt;

use super::name::{LONGEST_NAME, PersonName};
use super::occupation::{Career, LONGEST_OCCUPATION, Occupation};
use super::person::LifeStage;
use super::place::Municipality;
use super::tables::{self, Text};
use crate::rng::{GOLDEN, mix, scale32};
use crate::text::{Cursor, WriteText, text_value};

/// The topic of a sentence, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SentenceTopic {
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

/// The number of topics.
const TOPICS: usize = SentenceTopic::Shop as usize + 1;

/// A sequence of topics: the introduction, possibly the career, and others. No topic occurs twice, because sentences
/// of one topic may repeat or contradict each other.
#[derive(Debug)]
struct DescriptionPlan {
    career: bool,
    topics: &'static [SentenceTopic],
}

/// Plans of three to seven sentences, four of each length.
static PLANS: [DescriptionPlan; 20] = {
    use SentenceTopic::{Character, Family, Quiet, Shop, Sport, Trip, Work};
    const fn plan(career: bool, topics: &'static [SentenceTopic]) -> DescriptionPlan {
        DescriptionPlan { career, topics }
    }
    [
        plan(false, &[Work, Quiet]),
        plan(true, &[Sport]),
        plan(false, &[Work, Family]),
        plan(true, &[Character]),
        plan(false, &[Work, Quiet, Family]),
        plan(true, &[Sport, Shop]),
        plan(false, &[Work, Trip, Character]),
        plan(true, &[Family, Quiet]),
        plan(true, &[Work, Sport, Family]),
        plan(false, &[Work, Trip, Quiet, Shop]),
        plan(true, &[Sport, Quiet, Character]),
        plan(false, &[Work, Family, Trip, Shop]),
        plan(true, &[Work, Sport, Family, Quiet]),
        plan(false, &[Work, Trip, Quiet, Family, Shop]),
        plan(true, &[Work, Trip, Character, Shop]),
        plan(true, &[Sport, Family, Character, Quiet]),
        plan(true, &[Work, Sport, Trip, Family, Quiet]),
        plan(true, &[Work, Sport, Quiet, Character, Shop]),
        plan(true, &[Work, Trip, Family, Quiet, Shop]),
        plan(false, &[Work, Sport, Trip, Family, Character, Shop]),
    ]
};

/// The last ages of the groups that sentences distinguish.
const LAST_AGES: [u8; 4] = [19, 29, 44, 61];
const AGE_GROUPS: usize = LAST_AGES.len() + 1;
const GENDERS: usize = 2;
const PLACES: usize = 3;
const STAGES: usize = 3;
/// The number of lists of sentences per topic and stage of life.
const TRAITS: usize = AGE_GROUPS * GENDERS * PLACES;

/// The longest first part of a composed sentence and the longest other part of a sentence, in bytes.
const LONGEST_BEGINNING: usize = 80;
const LONGEST_PART: usize = 48;

/// A description. It contains the facts and the random word that determine its sentences, but not the sentences; the
/// same ones are drawn each time the description is written.
#[derive(Clone, Debug)]
pub struct Description {
    seed: u64,
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
            seed: rng.next_u64(),
            name,
            career,
            home,
        }
    }
}

impl WriteText for Description {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        let mut draws = Draws { state: self.seed };
        let plan = &PLANS[scale32(draws.next().0, PLANS.len() as u32) as usize];
        let lists = Lists::new(&self.career, self.home);
        self.name.given_text().write::<LONGEST_NAME>(out);
        self.write_composed(lists.of(SentenceTopic::Intro), draws.next(), out);
        if plan.career {
            self.write_composed(lists.of(SentenceTopic::Career), draws.next(), out);
        }
        let region = self.home.region().index();
        for &topic in plan.topics {
            let (of_sentence, of_filler) = draws.next();
            let sentence = draw_sentence(lists.of(topic), of_sentence);
            let parts = tables::long(tables::SIMPLE_SENTENCES, sentence);
            draw_part(parts as u32, region, of_filler << 16).write::<LONGEST_PART>(out);
            draw_part((parts >> 32) as u32, region, of_filler).write::<LONGEST_PART>(out);
        }
    }
}

/// The random words of a description: splitmix64, which needs no initialization and computes each word independently
/// of the previous one.
struct Draws {
    state: u64,
}

impl Draws {
    /// The halves of the next word.
    #[inline(always)]
    fn next(&mut self) -> (u32, u32) {
        self.state = self.state.wrapping_add(GOLDEN);
        let word = mix(self.state);
        ((word >> 32) as u32, word as u32)
    }
}

/// Where the lists of sentences that suit a person begin.
struct Lists {
    stage: usize,
    traits: usize,
    /// The list about work. For a worker, it depends on the field.
    work: usize,
}

impl Lists {
    #[inline(always)]
    fn new(career: &Career, home: Municipality) -> Self {
        let ages = LAST_AGES.iter().filter(|&&last| last < career.age()).count();
        let stage = match career.stage() {
            LifeStage::Worker => 0,
            LifeStage::Student => 1,
            LifeStage::Pensioner => 2,
        };
        // The lists about work per field follow those per topic and stage of life.
        let work = if career.stage() == LifeStage::Worker {
            TOPICS * STAGES + career.field()
        } else {
            SentenceTopic::Work as usize * STAGES + stage
        };
        Self {
            stage,
            traits: (ages * GENDERS + career.gender().index()) * PLACES + home.kind() as usize,
            work,
        }
    }

    /// The list of a topic.
    #[inline(always)]
    fn of(&self, topic: SentenceTopic) -> usize {
        let list = if topic == SentenceTopic::Work {
            self.work
        } else {
            topic as usize * STAGES + self.stage
        };
        list * TRAITS + self.traits
    }
}

/// Draws a sentence from a list.
#[inline(always)]
fn draw_sentence(list: usize, random: u32) -> usize {
    let entry = tables::word(tables::SENTENCE_LISTS, list);
    let slot = (entry >> 8) + scale32(random, entry & 0xff);
    usize::from(tables::SENTENCE_NUMBERS[slot as usize])
}

/// Draws one of the variants of a part of a sentence. `entry` contains the number of the first variant, the number of
/// variants, and the distance from the variants of one region to those of the next.
#[inline(always)]
fn draw_part(entry: u32, region: usize, random: u32) -> Text {
    let (first, count, step) = (entry >> 16, entry >> 8 & 0xff, entry & 0xff);
    let variant = first + scale32(random, count);
    tables::SENTENCE_PARTS.text(variant as usize + region * step as usize)
}

impl Description {
    /// Writes a sentence that is composed of parts and facts.
    #[inline(always)]
    fn write_composed(&self, list: usize, (of_sentence, of_filler): (u32, u32), out: &mut Cursor<'_>) {
        let sentence = draw_sentence(list, of_sentence);
        let word = |number| tables::word(tables::COMPOSED_SENTENCES, 4 * sentence + number);
        let region = self.home.region().index();
        let [job, job2, job3] = self.career.jobs().map(Occupation::text);
        let facts = [job, job2, job3, self.home.text(), Text::EMPTY];
        let numbers = word(3);
        // One random number is enough for all parts, because no sentence has more than one part with several
        // variants.
        let part = |number| draw_part(word(number), region, of_filler);
        part(0).write::<LONGEST_BEGINNING>(out);
        facts[(numbers & 0xff) as usize].write::<LONGEST_OCCUPATION>(out);
        part(1).write::<LONGEST_PART>(out);
        facts[(numbers >> 8) as usize].write::<LONGEST_OCCUPATION>(out);
        part(2).write::<LONGEST_PART>(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_of_all_lengths_and_have_no_topic_twice() {
        let mut lengths = [0; 8];
        for plan in &PLANS {
            lengths[1 + usize::from(plan.career) + plan.topics.len()] += 1;
            for (number, topic) in plan.topics.iter().enumerate() {
                assert!(!matches!(topic, SentenceTopic::Intro | SentenceTopic::Career));
                assert!(!plan.topics[..number].contains(topic), "{plan:?}");
            }
        }
        assert_eq!(lengths, [0, 0, 0, 4, 4, 4, 4, 4]);
    }
}
