//! Tables of occupations: who has them, which other jobs are related, and which titles go with them.

use crate::AGES;
use crate::input::{Rows, column, index_of, read, texts};
use crate::output::{ChoicesBuilder, Output};

/// Educations that qualify for a single profession. People of other professions do not have such a profession as a
/// second job.
const OWN_DEGREE: [&str; 8] = ["d", "z", "V", "p", "j", "t", "x", "y"];

/// The last ages of the age groups. Each group has one list, with all professions of its ages; a draw that does not
/// suit the age is repeated. The groups are narrow where many professions begin or end, so that few draws are
/// repeated.
const LAST_AGES: [u64; 11] = [18, 19, 21, 23, 26, 29, 57, 62, 65, 70, 90];

/// Occupations and the lists from which careers are drawn.
pub(crate) fn occupations(out: &mut Output, fields: &[Vec<String>]) -> Rows {
    let rows = read("occupations", 9);
    out.strings("MALE_OCCUPATION_NAMES", texts(&rows, 0));
    // For each occupation, the form for men and that for women. The forms for students and pensioners follow.
    let forms = rows.iter().flat_map(|row| [&*row[0], &*row[1]]);
    let stages = ["student", "studentka", "důchodce", "důchodkyně"];
    out.texts("OCCUPATIONS", 48, forms.chain(stages));
    let field_of: Vec<_> = rows.iter().map(|row| index_of(fields, &row[2])).collect();
    let (levels, workers, women) = (column(&rows, 3), column(&rows, 4), column(&rows, 5));
    let (youngest, oldest) = (column(&rows, 6), column(&rows, 7));
    let numbers = field_of.iter().map(|&field| field as u64);
    out.numbers("OCCUPATION_FIELDS", "u8", numbers);
    out.numbers("OCCUPATION_YOUNGEST", "u8", youngest.iter().copied());
    out.numbers("OCCUPATION_OLDEST", "u8", oldest.iter().copied());
    let weight = |row: usize, gender: usize| workers[row] * [100 - women[row], women[row]][gender];

    let mut professions = ChoicesBuilder::default();
    for gender in 0..2 {
        let mut first = *AGES.start();
        for last in LAST_AGES {
            professions.push((0..rows.len()).map(|row| {
                let fits = youngest[row] <= last && first <= oldest[row];
                (row, if fits { weight(row, gender) } else { 0 })
            }));
            first = last + 1;
        }
    }
    out.choices("PROFESSIONS", professions);
    out.numbers("PROFESSION_GROUPS", "u64", [LAST_AGES.len() as u64]);
    let group = |age: u64| LAST_AGES.partition_point(|&last| last < age) as u64;
    out.numbers("PROFESSION_GROUP_OF_AGE", "u8", AGES.map(group));

    // The other jobs of people of an occupation belong to the same or a related field, are not above their level, and
    // do not require a degree that qualifies for that profession only, unless both require the same one.
    let own_degree = |row: usize| OWN_DEGREE.contains(&rows[row][8].as_str());
    let of_all = (0..rows.len()).map(|row| u64::from(own_degree(row)));
    out.numbers("OCCUPATION_OWN_DEGREE", "u8", of_all);
    let own_degree: Vec<_> = (0..rows.len()).map(own_degree).collect();
    let mut related = ChoicesBuilder::default();
    for row in 0..rows.len() {
        let near: Vec<_> = fields[field_of[row]][2].split(',').collect();
        let near: Vec<_> = texts(fields, 0).map(|field| near.contains(&field)).collect();
        for gender in 0..2 {
            related.push((0..rows.len()).map(|other| {
                let same = field_of[other] == field_of[row];
                let fits = (same || near[field_of[other]])
                    && levels[other] <= levels[row]
                    && (!own_degree[other] || rows[other][8] == rows[row][8]);
                let factor = if same { 4 } else { 1 };
                (other, if fits { factor * weight(other, gender) } else { 0 })
            }));
        }
    }
    out.choices("RELATED_OCCUPATIONS", related);
    let mut simple = ChoicesBuilder::default();
    for gender in 0..2 {
        simple.push((0..rows.len()).map(|row| {
            let fits = levels[row] == 1 && fields[field_of[row]][3] == "yes";
            (row, if fits { weight(row, gender) } else { 0 })
        }));
    }
    out.choices("SIMPLE_OCCUPATIONS", simple);
    rows
}

/// Titles before and after the name by education, gender and age.
pub(crate) fn titles(out: &mut Output, occupations: &[Vec<String>]) {
    let (before, after) = (read("degrees", 6), read("titles_after", 6));
    let distinct = |rows: &[Vec<String>], of: usize| {
        let mut titles: Vec<String> = vec!["-".to_owned()];
        for row in rows {
            if !titles.contains(&row[of]) {
                titles.push(row[of].clone());
            }
        }
        titles
    };
    let (before_names, after_names) = (distinct(&before, 1), distinct(&after, 0));
    out.strings("TITLES_BEFORE", &before_names[1..]);
    out.strings("TITLES_AFTER", &after_names[1..]);
    // The same titles, with the characters that separate them from the name.
    let spaced = before_names[1..].iter().map(|title| format!("{title} "));
    out.texts("NAME_PREFIXES", 16, [String::new()].into_iter().chain(spaced));
    let spaced = after_names[1..].iter().map(|title| format!(", {title}"));
    out.texts("NAME_SUFFIXES", 16, [String::new()].into_iter().chain(spaced));
    let educations: Vec<_> = {
        let mut codes: Vec<_> = texts(&before, 0).collect();
        codes.dedup();
        codes
    };
    let education = |code: &str| {
        let position = educations.iter().position(|known| *known == code);
        position.unwrap_or_else(|| panic!("no education {code:?}")) as u64
    };
    out.numbers(
        "OCCUPATION_EDUCATIONS",
        "u8",
        texts(occupations, 8).map(education),
    );
    out.numbers("STUDENT_EDUCATION", "u8", [education("S")]);

    let applies = |row: &[String], of: usize, code: &str, age: u64| {
        let bound = |column: usize| row[column].parse::<u64>().expect("an age");
        row[of] == code && (bound(of + 2)..=bound(of + 3)).contains(&age)
    };
    // The pairs of a title before and a title after the name. The lists contain the numbers of these pairs.
    let mut pairs = Vec::new();
    let mut titles = ChoicesBuilder::default();
    for code in &educations {
        for gender in 0..2 {
            for age in AGES {
                let mut list = Vec::new();
                for row in before.iter().filter(|row| applies(row, 0, code, age)) {
                    let mut left = row[4 + gender].parse::<u64>().expect("a weight") * 1_000_000;
                    for row_after in after.iter().filter(|row| applies(row, 1, code, age)) {
                        let fits = match row_after[2].as_str() {
                            "none" => row[1] == "-",
                            "any" => row[1] != "-",
                            "master" => !["-", "Bc.", "BcA."].contains(&row[1].as_str()),
                            other => panic!("titles_after: {other:?}"),
                        };
                        if fits {
                            let holders = left * row_after[5].parse::<u64>().expect("a share") / 100_000;
                            list.push((row, Some(row_after), holders));
                            left -= holders;
                        }
                    }
                    list.push((row, None, left));
                }
                let number = |names: &[String], title: &str| {
                    names.iter().position(|name| name == title).expect("a title") as u64
                };
                let mut pair = |row: &[String], row_after: Option<&Vec<String>>| {
                    let after = row_after.map_or(0, |row| number(&after_names, &row[0]));
                    let pair = number(&before_names, &row[1]) << 8 | after;
                    pairs.iter().position(|known| *known == pair).unwrap_or_else(|| {
                        pairs.push(pair);
                        pairs.len() - 1
                    })
                };
                let list: Vec<_> = list
                    .into_iter()
                    .map(|(row, row_after, weight)| (pair(row, row_after), weight))
                    .collect();
                titles.push(list);
            }
        }
    }
    for row in occupations {
        let (youngest, oldest): (u64, u64) =
            (row[6].parse().expect("an age"), row[7].parse().expect("an age"));
        for age in youngest..=oldest {
            assert!(
                before.iter().any(|degree| applies(degree, 0, &row[8], age)),
                "degrees: no row for {:?} at {age}",
                row[0]
            );
        }
    }
    out.choices("TITLES", titles);
    out.numbers("TITLE_PAIRS", "u16", pairs);
}
