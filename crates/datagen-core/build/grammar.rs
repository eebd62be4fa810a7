//! Compiles the sentences of `data/sentences.tsv` into programs: for each sentence and gender a sequence of instructions that
//! write a piece of text, a fact about the user or a filler. Also the lists of sentences that suit a user.

use std::collections::HashMap;

use crate::binary::{Choices, Texts};
use crate::{index_of, numbers, read};

/// The longest piece of text of one instruction; longer ones are split.
const LONGEST: usize = 48;
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
const STATUSES: [&str; 3] = ["worker", "student", "pensioner"];
const PLACES: [&str; 3] = ["obec", "město", "Praha"];
const GENDERS: [&str; 2] = ["m", "f"];
/// The first and the last age of each group.
const AGES: [(u8, u8); 5] = [(18, 19), (20, 29), (30, 44), (45, 61), (62, 90)];
/// Slots that are no fillers, in the order of their numbers.
const FACTS: [&str; 5] = ["given", "job", "job2", "job3", "town"];
/// Slots whose fillers depend on the region.
const REGIONAL: [&str; 4] = ["region6", "region2", "trip", "place6"];
/// How much more often a sentence about the user's field is chosen than a general one.
const FIELD_WEIGHT: u64 = 3;

/// Codes of instructions, in the upper four bits; the lower twelve are the argument.
const TEXT: u64 = 0;
const FACT: u64 = 1;
const REGIONAL_FILLER: u64 = 2;
const FILLER: u64 = 3;

/// Who a sentence is about.
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

/// `{X|Y}` is X for a man and Y for a woman.
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

/// The instructions of a sentence for a gender.
fn program(text: &str, slots: &HashMap<String, usize>, pieces: &mut Texts) -> Vec<u64> {
    let mut program = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, slot) = match rest.split_once('<') {
            Some((literal, after)) => {
                let (slot, after) = after
                    .split_once('>')
                    .unwrap_or_else(|| panic!("no > in {text:?}"));
                rest = after;
                (literal, Some(slot))
            }
            None => (std::mem::take(&mut rest), None),
        };
        let mut literal = literal;
        while !literal.is_empty() {
            let mut end = literal.len().min(LONGEST);
            while !literal.is_char_boundary(end) {
                end -= 1;
            }
            program.push(TEXT << 12 | pieces.push(&literal[..end]) as u64);
            literal = &literal[end..];
        }
        if let Some(slot) = slot {
            let number = |list: &[&str]| {
                list.iter()
                    .position(|entry| *entry == slot)
                    .map(|number| number as u64)
            };
            program.push(if let Some(fact) = number(&FACTS) {
                FACT << 12 | fact
            } else if let Some(regional) = number(&REGIONAL) {
                REGIONAL_FILLER << 12 | regional
            } else {
                let slot = slots
                    .get(slot)
                    .unwrap_or_else(|| panic!("no fillers of {slot:?}"));
                FILLER << 12 | *slot as u64
            });
        }
    }
    // Each filler takes 16 bits of one random word.
    let drawn = program
        .iter()
        .filter(|code| **code >> 12 >= REGIONAL_FILLER)
        .count();
    assert!(drawn <= 4, "too many fillers in {text:?}");
    program
}

pub(crate) fn compile(out: &mut String, regions: &[Vec<String>], fields: &[Vec<String>]) {
    // Fillers: one list per slot and gender, and one per region and regional slot.
    let mut fillers = Texts::default();
    let mut lists = Vec::new();
    let mut list = |texts: &str, gender: usize, fillers: &mut Texts| {
        let start = fillers.len();
        texts.split("; ").for_each(|text| {
            fillers.push(&for_gender(text, gender));
        });
        lists.extend([start as u64, (fillers.len() - start) as u64]);
    };
    let slots = read("fillers", 2);
    for row in &slots {
        (0..GENDERS.len()).for_each(|gender| list(&row[1], gender, &mut fillers));
    }
    let texts = read("region_texts", 3);
    for region in regions {
        for slot in REGIONAL {
            let row = texts
                .iter()
                .find(|row| row[0] == region[0] && row[1] == slot)
                .unwrap_or_else(|| panic!("region_texts: no {slot} of {}", region[0]));
            list(&row[2], 0, &mut fillers);
        }
    }
    fillers.write(out, "FILLERS", 64);
    numbers(out, "FILLER_LISTS", "u16", lists);
    let slots: HashMap<_, _> = slots
        .into_iter()
        .enumerate()
        .map(|(slot, row)| (row[0].clone(), slot))
        .collect();
    numbers(out, "FILLER_SLOTS", "u16", [slots.len() as u64]);

    let sentences = read("sentences", 3);
    let mut pieces = Texts::default();
    let mut codes = Vec::new();
    let mut starts = vec![0];
    for row in &sentences {
        for gender in 0..GENDERS.len() {
            codes.extend(program(&for_gender(&row[2], gender), &slots, &mut pieces));
            starts.push(codes.len() as u64);
        }
    }
    assert!(pieces.len() < 1 << 12 && slots.len() < 1 << 12);
    pieces.write(out, "PIECES", LONGEST);
    numbers(out, "SENTENCE_CODES", "u16", codes);
    numbers(out, "SENTENCE_STARTS", "u16", starts);

    let conditions: Vec<_> = sentences
        .iter()
        .map(|row| Condition::parse(&row[1], fields))
        .collect();
    let suiting =
        |topic: &str, status: usize, field: Option<usize>, ages: usize, gender: usize, place: usize| {
            let suits = |(number, row): (usize, &Vec<String>)| {
                let condition = &conditions[number];
                let fits = row[0] == topic
                    && condition.statuses[status]
                    && condition.ages[ages]
                    && condition.genders[gender]
                    && condition.places[place]
                    && (condition.fields.is_empty()
                        || field.is_some_and(|field| condition.fields.contains(&field)));
                let weight = if condition.fields.is_empty() {
                    1
                } else {
                    FIELD_WEIGHT
                };
                (number, if fits { weight } else { 0 })
            };
            sentences.iter().enumerate().map(suits).collect::<Vec<_>>()
        };
    let mut choices = Choices::default();
    let mut push = |topic: &str, status: usize, field: Option<usize>| {
        for ages in 0..AGES.len() {
            for gender in 0..GENDERS.len() {
                for place in 0..PLACES.len() {
                    let list = suiting(topic, status, field, ages, gender, place);
                    // There are no students above 29 and no pensioners under 45.
                    let exists = status == 0 || (status == 1 && ages < 2) || (status == 2 && ages > 2);
                    let least = if exists { 3 } else { 0 };
                    let found = list.iter().filter(|(_, weight)| *weight > 0).count();
                    assert!(
                        found >= least,
                        "{found} sentences: {topic} {status} {ages} {gender} {place}"
                    );
                    choices.push(list);
                }
            }
        }
    };
    for topic in TOPICS {
        (0..STATUSES.len()).for_each(|status| push(topic, status, None));
    }
    (0..fields.len()).for_each(|field| push("work", 0, Some(field)));
    choices.write(out, "SENTENCES");
}
