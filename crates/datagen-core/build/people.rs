//! Tables of age groups, given names by decade of birth, and surnames.

use crate::AGES;
use crate::input::{column, read, texts};
use crate::output::{ChoicesBuilder, Output};

/// The number of surnames in the locale of `fake`. `fake` draws them uniformly, so only the most common ones are
/// included.
const COMMON_SURNAMES: usize = 1_000;

/// The size of the header of a surname's block, in bytes. Blocks are aligned to this size.
const HEADER: usize = 8;

/// Age groups, their sizes, and the share of women by age.
pub(crate) fn ages(out: &mut Output) {
    let ages = read("age_groups", 4);
    out.numbers("AGE_GROUP_FIRST", "u8", column(&ages, 0));
    out.numbers("AGE_GROUP_LAST", "u8", column(&ages, 1));
    out.numbers("AGE_GROUP_INHABITANTS", "u32", column(&ages, 2));
    let (last, women) = (column(&ages, 1), column(&ages, 3));
    let of_age = AGES.map(|age| women[last.partition_point(|&last| last < age).min(women.len() - 1)]);
    out.numbers("WOMEN_PER_MILLE", "u16", of_age);

    let stages = read("life_stages", 4);
    assert_eq!(stages[0][0], AGES.start().to_string());
    for (name, of) in [
        ("STUDENTS_PER_MILLE", 1),
        ("MALE_PENSIONERS_PER_MILLE", 2),
        ("FEMALE_PENSIONERS_PER_MILLE", 3),
    ] {
        let shares = column(&stages, of);
        let of_age = AGES.map(|age| shares[((age - AGES.start()) as usize).min(shares.len() - 1)]);
        out.numbers(name, "u16", of_age);
    }
}

/// Given names of men, then of women, each with its form in ASCII; lists by gender and decade of birth.
pub(crate) fn given_names(out: &mut Output) {
    let (men, women) = (read("given_names_male", 9), read("given_names_female", 9));
    out.strings("MALE_GIVEN_NAMES", texts(&men, 0));
    let mut choices = ChoicesBuilder::default();
    for (names, first) in [(&men, 0), (&women, men.len())] {
        for decade in 1..9 {
            let weights = column(names, decade).into_iter().enumerate();
            choices.push(weights.map(|(name, weight)| (first + name, weight)));
        }
    }
    out.choices("GIVEN_CHOICES", choices);
    let names: Vec<_> = texts(&men, 0).chain(texts(&women, 0)).collect();
    let with_ascii = names
        .into_iter()
        .flat_map(|name| [name.to_owned(), to_ascii(name)]);
    out.texts("GIVEN_NAMES", 32, with_ascii);
}

/// Surnames, at the beginning of the pool: one block per surname, with the forms for men and for women and the ASCII
/// forms of both. A form that is contained in another one is not stored separately. The list contains the position of
/// each block, divided by eight.
///
/// A block begins with a header of eight bytes, so that reading the position of a form also loads the form itself
/// into the processor's cache. The header has 24 bits per gender, men first: the position in the block (7 bits) and
/// the length (5 bits) of the form, and then those of its ASCII form.
pub(crate) fn surnames(out: &mut Output) {
    let surnames = read("surnames", 3);
    out.strings("COMMON_SURNAMES", texts(&surnames[..COMMON_SURNAMES], 0));
    out.choice("SURNAME_CHOICE", &column(&surnames, 2));
    let starts = surnames.iter().map(|row| {
        let mut block = " ".repeat(HEADER);
        let mut place = |text: &str| {
            let start = block.find(text).unwrap_or_else(|| {
                block.push_str(text);
                block.len() - text.len()
            });
            assert!(start < 1 << 7 && text.len() < 1 << 5, "{row:?}");
            (text.len() << 7 | start) as u64
        };
        // Most forms for men are contained in the forms for women.
        let [woman, man] = [&row[1], &row[0]].map(|form| place(form) | place(&to_ascii(form)) << 12);
        let mut block = block.into_bytes();
        block[..HEADER].copy_from_slice(&(woman << 24 | man).to_le_bytes());
        let start = out.block(&block, HEADER) / HEADER;
        assert!(start < 1 << 16, "too many surnames");
        start as u64
    });
    let starts: Vec<_> = starts.collect();
    out.numbers("SURNAMES", "u16", starts);
}

/// Converts a name to lower case without diacritics. Supports the letters of Czech, Slovak, German, Polish and
/// Vietnamese names.
fn to_ascii(name: &str) -> String {
    if name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return name.to_ascii_lowercase();
    }
    let plain = |c: char| match c {
        'á' | 'ä' | 'ă' | 'â' | 'ą' => 'a',
        'č' | 'ć' => 'c',
        'ď' | 'đ' => 'd',
        'é' | 'ě' | 'ë' | 'ę' => 'e',
        'í' => 'i',
        'ľ' | 'ĺ' | 'ł' => 'l',
        'ň' | 'ń' => 'n',
        'ó' | 'ô' | 'ö' | 'ő' => 'o',
        'ř' | 'ŕ' => 'r',
        'š' | 'ś' => 's',
        'ť' => 't',
        'ú' | 'ů' | 'ü' | 'ű' => 'u',
        'ý' => 'y',
        'ž' | 'ź' | 'ż' => 'z',
        _ if c.is_ascii_lowercase() => c,
        _ => panic!("no ASCII form of {c:?} in {name:?}"),
    };
    name.chars()
        .filter(|c| *c != ' ')
        .flat_map(char::to_lowercase)
        .map(plain)
        .collect()
}
