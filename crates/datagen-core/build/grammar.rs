//! Expands the sentences of `data/sentences.tsv` with all fillers of their slots, and lists the sentences that suit
//! each kind of user, so that writing a description requires only table lookups.
//!
//! Most sentences have two parts: the text before the last slot, and that slot with the text after it. Both are
//! expanded with every filler. Equal parts of different sentences are stored once, so that the tables stay in the
//! processor's cache. Sentences of the first topics, which are about jobs and the town, consist of three parts, with
//! a fact about the user between each part and the next.

use std::collections::HashMap;

use crate::input::{index_of, read};
use crate::output::Output;

/// Topics in the order of their numbers. `work` sentences of workers depend on the field as well.
const TOPICS: [&str; 9] = [
    "intro",
    "career",
    "work",
    "sport",
    "trip",
    "quiet",
    "family",
    "character",
    "shop",
];
/// The number of topics with composed sentences; they are the first in the list. Sentences of the first topic begin
/// with the given name.
const COMPOSED_TOPICS: usize = 2;
const STATUSES: [&str; 3] = ["worker", "student", "pensioner"];
const PLACES: [&str; 3] = ["obec", "město", "Praha"];
const GENDERS: [&str; 2] = ["m", "f"];
/// The first and the last age of each group.
const AGES: [(u8, u8); 5] = [(18, 19), (20, 29), (30, 44), (45, 61), (62, 90)];
/// Facts in the order of their numbers. The last one stands for no fact.
const FACTS: [&str; 5] = ["job", "job2", "job3", "town", ""];
/// The slots whose fillers depend on the region.
const REGIONAL: [&str; 4] = ["region6", "region2", "trip", "place6"];
/// How much more often a sentence about the user's field is chosen than a general one.
const FIELD_WEIGHT: usize = 3;

/// The longest first part of a composed sentence and the longest other part of a sentence, in bytes.
const LONGEST_BEGINNING: usize = 80;
const LONGEST_PART: usize = 48;

/// Which users a sentence suits.
struct Condition {
    statuses: Vec<bool>,
    ages: Vec<bool>,
    genders: Vec<bool>,
    places: Vec<bool>,
    fields: Vec<usize>,
}

impl Condition {
    fn parse(text: &str, fields: &[Vec<String>]) -> Self {
        let any = |list: &[bool]| list.iter().any(|&word| word);
        let mut condition = Self {
            statuses: vec![false; STATUSES.len()],
            ages: vec![false; AGES.len()],
            genders: vec![false; GENDERS.len()],
            places: vec![false; PLACES.len()],
            fields: Vec::new(),
        };
        for word in text.split(' ').filter(|word| *word != "-") {
            let position = |list: &[&str]| list.iter().position(|entry| *entry == word);
            if let Some(status) = position(&STATUSES) {
                condition.statuses[status] = true;
            } else if let Some(place) = position(&PLACES) {
                condition.places[place] = true;
            } else if let Some(gender) = position(&GENDERS) {
                condition.genders[gender] = true;
            } else if let Some(codes) = word.strip_prefix('@') {
                condition.fields = codes.split(',').map(|code| index_of(fields, code)).collect();
                condition.statuses[0] = true;
            } else {
                let (first, last) = word
                    .split_once('-')
                    .unwrap_or_else(|| panic!("condition {word:?}"));
                let (first, last): (u8, u8) = (first.parse().expect("an age"), last.parse().expect("an age"));
                assert!(
                    AGES.iter().any(|ages| ages.0 == first) && AGES.iter().any(|ages| ages.1 == last),
                    "condition {word:?} is no union of age groups"
                );
                for (group, ages) in AGES.iter().enumerate() {
                    condition.ages[group] |= ages.0 >= first && ages.1 <= last;
                }
            }
        }
        for list in [
            &mut condition.statuses,
            &mut condition.ages,
            &mut condition.genders,
            &mut condition.places,
        ] {
            if !any(list) {
                list.fill(true);
            }
        }
        condition
    }
}

/// Replaces each `{X|Y}` by X for a man and by Y for a woman.
fn for_gender(text: &str, gender: usize) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (choice, after) = after
            .split_once('}')
            .unwrap_or_else(|| panic!("no }} in {text:?}"));
        let (man, woman) = choice
            .split_once('|')
            .unwrap_or_else(|| panic!("no | in {text:?}"));
        result.push_str(before);
        result.push_str([man, woman][gender]);
        rest = after;
    }
    result + rest
}

/// The fillers of the slots.
struct Fillers {
    slots: HashMap<String, String>,
    /// By region and slot.
    regional: Vec<HashMap<String, String>>,
}

impl Fillers {
    fn read(regions: &[Vec<String>]) -> Self {
        let texts = read("region_texts", 3);
        let of_region = |region: &Vec<String>| {
            let rows = texts.iter().filter(|row| row[0] == region[0]);
            rows.map(|row| (row[1].clone(), row[2].clone())).collect()
        };
        Self {
            slots: read("fillers", 2)
                .into_iter()
                .map(|row| (row[0].clone(), row[1].clone()))
                .collect(),
            regional: regions.iter().map(of_region).collect(),
        }
    }

    /// The fillers of a slot in a region.
    fn of(&self, slot: &str, region: usize) -> Vec<&str> {
        let list = self.regional[region].get(slot).or(self.slots.get(slot));
        list.unwrap_or_else(|| panic!("no fillers of {slot:?}"))
            .split("; ")
            .collect()
    }

    /// The text with its slots filled in all possible ways.
    fn fill(&self, text: &str, region: usize) -> Vec<String> {
        let Some((before, rest)) = text.split_once('<') else {
            return vec![text.to_owned()];
        };
        let (slot, after) = rest.split_once('>').unwrap_or_else(|| panic!("no > in {text:?}"));
        let endings = self.fill(after, region);
        let fillers = self.of(slot, region);
        let combine = |filler: &&str| {
            let beginning = format!("{before}{filler}");
            let combined = endings.iter().map(move |ending| format!("{beginning}{ending}"));
            combined.collect::<Vec<_>>()
        };
        fillers.iter().flat_map(combine).collect()
    }
}

/// The variants of parts of sentences; one variant per part is drawn. Parts with regional slots have the same number
/// of variants in every region. Equal lists are stored once.
#[derive(Default)]
struct Variants {
    texts: Vec<String>,
    known: HashMap<Vec<String>, usize>,
}

impl Variants {
    /// Appends the variants of a text and returns their entry: the number of the first variant in the upper 16 bits,
    /// the number of variants in the next 8 bits, and the distance from the variants of one region to those of the
    /// next in the lowest 8 bits.
    fn push(&mut self, text: &str, longest: usize, gender: usize, fillers: &Fillers) -> u32 {
        let regional = REGIONAL.iter().any(|slot| text.contains(&format!("<{slot}>")));
        let regions = if regional { fillers.regional.len() } else { 1 };
        let filled: Vec<Vec<_>> = (0..regions)
            .map(|region| {
                let filled = fillers.fill(text, region);
                filled.iter().map(|text| for_gender(text, gender)).collect()
            })
            .collect();
        // Regions with fewer variants than others repeat some, because all regions need the same number.
        let count = filled.iter().map(Vec::len).max().expect("a region");
        let variants: Vec<_> = filled
            .iter()
            .flat_map(|list| list.iter().cycle().take(count).cloned())
            .collect();
        for variant in &variants {
            assert!(
                variant.len() <= longest,
                "{variant:?} has {} bytes",
                variant.len()
            );
        }
        let first = *self.known.entry(variants).or_insert_with_key(|variants| {
            self.texts.extend_from_slice(variants);
            self.texts.len() - variants.len()
        });
        assert!(first < 1 << 16 && count < 1 << 8, "{count} variants of {text:?}");
        let step = if regional { count } else { 0 };
        (first << 16 | count << 8 | step) as u32
    }
}

/// The entries of the parts of a composed sentence, and its facts: the first in the lowest 8 bits, the second above it.
fn compose(text: &str, gender: usize, fillers: &Fillers, parts: &mut Variants) -> [u32; 4] {
    let (mut texts, mut facts) = (vec![String::new()], Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let (slot, after) = after
            .split_once('>')
            .unwrap_or_else(|| panic!("no > in {text:?}"));
        let part = texts.last_mut().expect("a part");
        part.push_str(before);
        match FACTS.iter().position(|fact| *fact == slot) {
            Some(fact) => {
                facts.push(fact as u32);
                texts.push(String::new());
            }
            None => part.push_str(&format!("<{slot}>")),
        }
        rest = after;
    }
    texts.last_mut().expect("a part").push_str(rest);
    assert!(facts.len() <= 2, "too many facts in {text:?}");
    facts.resize(2, FACTS.len() as u32 - 1);
    texts.resize(3, String::new());
    let entries: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(part, text)| {
            let longest = if part == 0 {
                LONGEST_BEGINNING
            } else {
                LONGEST_PART
            };
            parts.push(text, longest, gender, fillers)
        })
        .collect();
    [entries[0], entries[1], entries[2], facts[0] | facts[1] << 8]
}

pub(crate) fn compile(out: &mut Output, regions: &[Vec<String>], fields: &[Vec<String>]) {
    let fillers = Fillers::read(regions);
    let sentences = read("sentences", 3);
    let mut parts = Variants::default();
    let (mut composed, mut simple) = (Vec::new(), Vec::new());
    // The numbers of the sentences in their table, for men; those for women follow.
    let mut numbers = Vec::new();
    for row in &sentences {
        let topic = TOPICS.iter().position(|topic| *topic == row[0]);
        let topic = topic.unwrap_or_else(|| panic!("no topic {:?}", row[0]));
        numbers.push(if topic < COMPOSED_TOPICS {
            composed.len() / 4
        } else {
            simple.len() / 2
        });
        // Each sentence includes the space before it, except the first one, which begins with the given name.
        let text = match row[2].strip_prefix("<given>") {
            Some(text) if topic == 0 => text.to_owned(),
            None if topic > 0 => format!(" {}", row[2]),
            _ => panic!("where does the given name stand in {row:?}"),
        };
        for gender in 0..GENDERS.len() {
            if topic < COMPOSED_TOPICS {
                composed.extend(compose(&text, gender, &fillers, &mut parts));
            } else {
                // A sentence without a slot is split at a space, because it may be longer than a part.
                let spaces = text.match_indices(' ').map(|(at, _)| at);
                let end = text
                    .rfind('<')
                    .or(spaces.take_while(|&at| at <= LONGEST_PART).last());
                let end = end.expect("every sentence begins with a space");
                simple.push(parts.push(&text[..end], LONGEST_PART, gender, &fillers));
                simple.push(parts.push(&text[end..], LONGEST_PART, gender, &fillers));
            }
        }
    }
    out.texts("SENTENCE_PARTS", LONGEST_BEGINNING, parts.texts);
    out.word_list("COMPOSED_SENTENCES", composed);
    out.word_list("SIMPLE_SENTENCES", simple);
    lists(out, &sentences, &numbers, fields);
}

/// Lists the sentences per topic and status, or per field for the work of workers, and then per age group, gender and
/// place. Sentences are drawn uniformly from a list, so those about the field occur in it several times.
fn lists(out: &mut Output, sentences: &[Vec<String>], numbers: &[usize], fields: &[Vec<String>]) {
    let conditions: Vec<_> = sentences
        .iter()
        .map(|row| Condition::parse(&row[1], fields))
        .collect();
    let suiting =
        |topic: &str, status: usize, field: Option<usize>, ages: usize, gender: usize, place: usize| {
            let suits = |&number: &usize| {
                let condition: &Condition = &conditions[number];
                sentences[number][0] == topic
                    && condition.statuses[status]
                    && condition.ages[ages]
                    && condition.genders[gender]
                    && condition.places[place]
                    && (condition.fields.is_empty()
                        || field.is_some_and(|field| condition.fields.contains(&field)))
            };
            (0..sentences.len()).filter(suits).collect::<Vec<_>>()
        };
    let mut known: HashMap<Vec<u64>, u32> = HashMap::new();
    let (mut slots, mut lists) = (Vec::new(), Vec::new());
    let mut push = |topic: &str, status: usize, field: Option<usize>| {
        for ages in 0..AGES.len() {
            for gender in 0..GENDERS.len() {
                for place in 0..PLACES.len() {
                    let list = suiting(topic, status, field, ages, gender, place);
                    // There are no students over 29 and no pensioners under 45.
                    let exists = status == 0 || (status == 1 && ages < 2) || (status == 2 && ages > 2);
                    let least = if exists { 3 } else { 0 };
                    let found = list.len();
                    assert!(
                        found >= least,
                        "{found} sentences: {topic} {status} {ages} {gender} {place}"
                    );
                    let weighted = list.iter().flat_map(|&number| {
                        let general = conditions[number].fields.is_empty();
                        let number = (numbers[number] + gender) as u64;
                        std::iter::repeat_n(number, if general { 1 } else { FIELD_WEIGHT })
                    });
                    let weighted: Vec<_> = weighted.collect();
                    let entry = *known.entry(weighted.clone()).or_insert_with(|| {
                        let entry = (slots.len() << 8 | weighted.len()) as u32;
                        assert!(weighted.len() < 1 << 8);
                        slots.extend(weighted);
                        entry
                    });
                    lists.push(entry);
                }
            }
        }
    };
    for topic in TOPICS {
        (0..STATUSES.len()).for_each(|status| push(topic, status, None));
    }
    (0..fields.len()).for_each(|field| push("work", 0, Some(field)));
    out.word_list("SENTENCE_LISTS", lists);
    out.numbers("SENTENCE_NUMBERS", "u16", slots);
}
