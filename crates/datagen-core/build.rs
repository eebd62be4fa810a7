//! Turns the lists in `data/` into tables, so that a generator starts without parsing anything.
//!
//! Short lists become constants in `tables.rs`; the long ones become bytes that it includes (see `binary`). Weights become Walker
//! alias tables in exact integer arithmetic, and sentences become programs (see `grammar`). A list that the encoders could
//! not write verbatim into JSON fails the build.

#[path = "build/binary.rs"]
mod binary;
#[path = "build/grammar.rs"]
mod grammar;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::{env, fs};

use binary::{Choices, Texts};

/// All ages that users have.
const AGES: [u64; 73] = {
    let mut ages = [18; 73];
    let mut i = 0;
    while i < ages.len() {
        ages[i] += i as u64;
        i += 1;
    }
    ages
};

/// The list of streets of a municipality that names none.
const NO_STREETS: u64 = 255;

/// How many of the commonest surnames the locale of `fake` has, which draws them uniformly.
const COMMON_SURNAMES: usize = 1_000;

/// Educations that qualify for one profession only: none of these is a side job of another.
const OWN_DEGREE: [&str; 8] = ["d", "z", "V", "p", "j", "t", "x", "y"];

fn main() {
    println!("cargo::rerun-if-changed=data");
    let mut out = String::new();

    let regions = read("regions", 3);
    strings(&mut out, "REGION_NAMES", &regions, 1);
    places(&mut out, &regions);
    phones(&mut out, &regions);
    names(&mut out);

    let ages = read("age_groups", 4);
    numbers(&mut out, "AGE_GROUP_FIRST", "u8", column(&ages, 0));
    numbers(&mut out, "AGE_GROUP_LAST", "u8", column(&ages, 1));
    numbers(&mut out, "AGE_GROUP_INHABITANTS", "u32", column(&ages, 2));
    let (last, women) = (column(&ages, 1), column(&ages, 3));
    let of_age = AGES.map(|age| women[last.partition_point(|&last| last < age).min(women.len() - 1)]);
    numbers(&mut out, "WOMEN_PER_MILLE", "u16", of_age);

    let fields = read("fields", 4);
    occupations(&mut out, &fields);
    grammar::compile(&mut out, &regions, &fields);
    shelves(&mut out);
    strings(&mut out, "WORDS", &read("words", 2), 0);

    let agents = read("user_agents", 3);
    strings(&mut out, "USER_AGENTS", &agents, 1);
    alias(&mut out, "USER_AGENT_ALIAS", &column(&agents, 0));
    for (name, robots) in [("BROWSER_ALIAS", false), ("ROBOT_ALIAS", true)] {
        let weights = agents.iter().map(|row| match (row[2] == "-") != robots {
            true => row[0].parse().expect("a weight"),
            false => 0,
        });
        alias(&mut out, name, &weights.collect::<Vec<_>>());
    }
    let robots = agents.iter().map(|row| match row[2].as_str() {
        "-" => (0, 0),
        cidr => network(cidr),
    });
    networks(&mut out, "ROBOT_NETWORKS", robots);

    let homes = read("home_networks", 2);
    networks(
        &mut out,
        "HOME_NETWORKS",
        homes.iter().map(|row| network(&row[0])),
    );

    let turnovers = read("ecommerce_turnover", 2);
    let years = column(&turnovers, 0);
    assert!(
        years.is_sorted_by(|year, next| year + 1 == *next),
        "ecommerce_turnover: a year is missing"
    );
    numbers(&mut out, "TURNOVER_YEARS", "u16", years);
    numbers(&mut out, "TURNOVERS", "u16", column(&turnovers, 1));

    let target = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("tables.rs");
    fs::write(target, out).expect("OUT_DIR can be written");
}

/// Municipalities and streets.
fn places(out: &mut String, regions: &[Vec<String>]) {
    let municipalities = read("municipalities", 4);
    Texts::of(municipalities.iter().map(|row| row[0].as_str())).write(out, "MUNICIPALITIES", 40);
    let region_of: Vec<_> = municipalities
        .iter()
        .map(|row| index_of(regions, &row[1]))
        .collect();
    numbers(
        out,
        "MUNICIPALITY_REGIONS",
        "u8",
        region_of.iter().map(|&region| region as u64),
    );
    let populations = column(&municipalities, 2);
    numbers(
        out,
        "MUNICIPALITY_POPULATIONS",
        "u32",
        populations.iter().copied(),
    );
    let kind = |row: &Vec<String>| match row[3].as_str() {
        "village" => 0,
        "town" | "orp" => 1,
        "capital" => 2,
        kind => panic!("municipalities: {kind:?}"),
    };
    numbers(out, "MUNICIPALITY_KINDS", "u8", municipalities.iter().map(kind));
    // First the region by its population, then the municipality within it by its own: one draw with the product of both.
    let of_regions = column(regions, 2);
    let mut listed = vec![0; regions.len()];
    for (&region, population) in region_of.iter().zip(&populations) {
        listed[region] += population;
    }
    let mut choices = Choices::default();
    choices.push(
        region_of
            .iter()
            .zip(&populations)
            .enumerate()
            .map(|(place, (&region, &population))| {
                (place, ((population * of_regions[region]) << 16) / listed[region])
            }),
    );
    choices.write(out, "MUNICIPALITY_CHOICES");

    let streets = read("streets", 5);
    Texts::of(streets.iter().map(|row| row[0].as_str())).write(out, "STREETS", 32);
    let kinds = streets.iter().map(|row| match row[3].as_str() {
        "street" => 0,
        "short" => 1,
        "square" => 2,
        kind => panic!("streets: {kind:?}"),
    });
    numbers(out, "STREET_KINDS", "u8", kinds);
    let smallest = column(&streets, 2);
    let mut sizes = smallest.clone();
    sizes.sort_unstable();
    sizes.dedup();
    let mut choices = Choices::default();
    for size in &sizes {
        let weights = column(&streets, 1).into_iter().zip(&smallest);
        choices.push(
            weights
                .map(|(weight, least)| if least <= size { weight } else { 0 })
                .enumerate(),
        );
    }
    choices.write(out, "STREET_CHOICES");
    // Which list of streets a municipality has. Of villages only some name their streets, the larger the more.
    let lists = municipalities.iter().zip(&populations).map(|(row, &population)| {
        let draw = row[0].bytes().fold(population, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(byte))
        }) % 1_500;
        match population {
            0..500 => NO_STREETS,
            500..2_000 if draw >= population - 500 => NO_STREETS,
            _ => sizes.partition_point(|&size| size <= population) as u64 - 1,
        }
    });
    numbers(out, "MUNICIPALITY_STREETS", "u8", lists);
    // Pairs of a street and a municipality in which there is none of that name, because it leads there.
    let mut pairs = Vec::new();
    for (street, row) in streets.iter().enumerate() {
        for town in row[4].split('|').filter(|town| *town != "-") {
            let places = municipalities
                .iter()
                .enumerate()
                .filter(|(_, row)| row[0] == town);
            pairs.extend(places.map(|(place, _)| (street << 16 | place) as u64));
            assert!(
                pairs.last().is_some_and(|pair| *pair >> 16 == street as u64),
                "streets: no town {town:?}"
            );
        }
    }
    pairs.sort_unstable();
    numbers(out, "STREETS_ELSEWHERE", "u32", pairs);
}

/// Prefixes of telephone numbers.
fn phones(out: &mut String, regions: &[Vec<String>]) {
    let mut landlines = read("landline_prefixes", 2);
    landlines.sort_by_key(|row| index_of(regions, &row[0]));
    numbers(out, "LANDLINE_PREFIXES", "u16", column(&landlines, 1));
    // Where each region's prefixes begin; one more entry marks the end of the last.
    let starts = (0..=regions.len()).map(|region| {
        landlines
            .iter()
            .filter(|row| index_of(regions, &row[0]) < region)
            .count() as u64
    });
    numbers(out, "LANDLINE_STARTS", "u16", starts);
    let mobiles = read("mobile_prefixes", 2);
    numbers(out, "MOBILE_PREFIXES", "u16", column(&mobiles, 0));
    alias(out, "MOBILE_ALIAS", &column(&mobiles, 1));

    // As `fake` writes formats: `#` is any digit.
    let formats = |rows: &[Vec<String>], of: usize| -> Vec<_> {
        rows.iter().map(|row| format!("{} ### ###", row[of])).collect()
    };
    string_list(out, "LANDLINE_FORMATS", formats(&landlines, 1).into_iter());
    string_list(out, "MOBILE_FORMATS", formats(&mobiles, 0).into_iter());
}

/// Given names by decade of birth, and surnames.
fn names(out: &mut String) {
    for (file, name) in [
        ("given_names_male", "MALE_GIVEN"),
        ("given_names_female", "FEMALE_GIVEN"),
    ] {
        let names = read(file, 9);
        if name == "MALE_GIVEN" {
            // The locale of `fake` has one list.
            strings(out, "MALE_GIVEN_NAMES", &names, 0);
        }
        Texts::of(names.iter().map(|row| row[0].as_str())).write(out, name, 32);
        ascii_texts(&names, 0).write(out, &format!("{name}_ASCII"), 32);
        let mut choices = Choices::default();
        for decade in 1..9 {
            choices.push(column(&names, decade).into_iter().enumerate());
        }
        choices.write(out, &format!("{name}_CHOICES"));
    }

    let surnames = read("surnames", 3);
    strings(out, "COMMON_SURNAMES", &surnames[..COMMON_SURNAMES], 0);
    for (name, of) in [("MALE_SURNAMES", 0), ("FEMALE_SURNAMES", 1)] {
        Texts::of(surnames.iter().map(|row| row[of].as_str())).write(out, name, 32);
        ascii_texts(&surnames, of).write(out, &format!("{name}_ASCII"), 32);
    }
    let mut choices = Choices::default();
    choices.push(column(&surnames, 2).into_iter().enumerate());
    choices.write(out, "SURNAME_CHOICES");
}

/// Occupations, who has them, and the titles that go with them.
fn occupations(out: &mut String, fields: &[Vec<String>]) {
    let rows = read("occupations", 9);
    strings(out, "MALE_OCCUPATION_NAMES", &rows, 0);
    for (name, of, stages) in [
        ("MALE_OCCUPATIONS", 0, ["student", "důchodce"]),
        ("FEMALE_OCCUPATIONS", 1, ["studentka", "důchodkyně"]),
    ] {
        // The numbers after those of the occupations are the student and the pensioner.
        Texts::of(rows.iter().map(|row| row[of].as_str()).chain(stages)).write(out, name, 48);
    }
    let field_of: Vec<_> = rows.iter().map(|row| index_of(fields, &row[2])).collect();
    let (levels, workers, women) = (column(&rows, 3), column(&rows, 4), column(&rows, 5));
    let (youngest, oldest) = (column(&rows, 6), column(&rows, 7));
    numbers(
        out,
        "OCCUPATION_FIELDS",
        "u8",
        field_of.iter().map(|&field| field as u64),
    );
    numbers(out, "OCCUPATION_YOUNGEST", "u8", youngest.iter().copied());
    numbers(out, "OCCUPATION_OLDEST", "u8", oldest.iter().copied());
    let weight = |row: usize, gender: usize| workers[row] * [100 - women[row], women[row]][gender];

    let mut professions = Choices::default();
    for gender in 0..2 {
        for age in AGES {
            professions.push((0..rows.len()).map(|row| {
                let fits = (youngest[row]..=oldest[row]).contains(&age);
                (row, if fits { weight(row, gender) } else { 0 })
            }));
        }
    }
    professions.write(out, "PROFESSIONS");

    // What else people of an occupation do or did: jobs of their field and of related ones, not above their level, and
    // no second profession of those that take a degree of their own.
    let own_degree = |row: usize| OWN_DEGREE.contains(&rows[row][8].as_str());
    let of_all = (0..rows.len()).map(|row| u64::from(own_degree(row)));
    numbers(out, "OCCUPATION_OWN_DEGREE", "u8", of_all);
    let mut related = Choices::default();
    for row in 0..rows.len() {
        let near: Vec<_> = fields[field_of[row]][2].split(',').collect();
        for gender in 0..2 {
            related.push((0..rows.len()).map(|other| {
                let same = field_of[other] == field_of[row];
                let fits = (same || near.contains(&rows[other][2].as_str()))
                    && levels[other] <= levels[row]
                    && (!own_degree(other) || rows[other][8] == rows[row][8]);
                let factor = if same { 4 } else { 1 };
                (other, if fits { factor * weight(other, gender) } else { 0 })
            }));
        }
    }
    related.write(out, "RELATED_OCCUPATIONS");
    let mut simple = Choices::default();
    for gender in 0..2 {
        simple.push((0..rows.len()).map(|row| {
            let fits = levels[row] == 1 && fields[field_of[row]][3] == "yes";
            (row, if fits { weight(row, gender) } else { 0 })
        }));
    }
    simple.write(out, "SIMPLE_OCCUPATIONS");

    let stages = read("life_stages", 4);
    assert_eq!(stages[0][0], AGES[0].to_string());
    for (name, of) in [
        ("STUDENTS_PER_MILLE", 1),
        ("MALE_PENSIONERS_PER_MILLE", 2),
        ("FEMALE_PENSIONERS_PER_MILLE", 3),
    ] {
        let shares = column(&stages, of);
        numbers(
            out,
            name,
            "u16",
            AGES.map(|age| shares[((age - AGES[0]) as usize).min(shares.len() - 1)]),
        );
    }
    titles(out, &rows);
}

/// Titles before and after the name by education, gender and age.
fn titles(out: &mut String, occupations: &[Vec<String>]) {
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
    string_list(out, "TITLES_BEFORE", before_names[1..].iter().cloned());
    string_list(out, "TITLES_AFTER", after_names[1..].iter().cloned());
    let educations: Vec<_> = {
        let mut codes: Vec<_> = before.iter().map(|row| row[0].clone()).collect();
        codes.dedup();
        codes
    };
    let education = |code: &str| {
        educations
            .iter()
            .position(|known| known == code)
            .expect("an education") as u64
    };
    numbers(
        out,
        "OCCUPATION_EDUCATIONS",
        "u8",
        occupations.iter().map(|row| education(&row[8])),
    );
    numbers(out, "STUDENT_EDUCATION", "u8", [education("S")]);

    let applies = |row: &[String], of: usize, code: &str, age: u64| {
        let bound = |column: usize| row[column].parse::<u64>().expect("an age");
        row[of] == code && (bound(of + 2)..=bound(of + 3)).contains(&age)
    };
    let mut titles = Choices::default();
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
                    names.iter().position(|name| name == title).expect("a title")
                };
                titles.push(list.into_iter().map(|(row, row_after, weight)| {
                    let after = row_after.map_or(0, |row| number(&after_names, &row[0]));
                    (number(&before_names, &row[1]) << 8 | after, weight)
                }));
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
    titles.write(out, "TITLES");
}

/// What the shelves of the shop hold.
fn shelves(out: &mut String) {
    let rows = read("shelves", 4);
    let mut categories: Vec<_> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    categories.dedup();
    assert_eq!(categories.pop().expect("what suits all").0, "-");
    string_list(
        out,
        "CATEGORY_SLUGS",
        categories.iter().map(|category| category.0.clone()),
    );
    string_list(
        out,
        "CATEGORY_NAMES",
        categories.iter().map(|category| category.1.clone()),
    );
    let part = |slug: &str, part: &str| -> Vec<String> {
        let row = rows.iter().find(|row| row[0] == slug && row[2] == part);
        row.map_or(Vec::new(), |row| row[3].split("; ").map(str::to_owned).collect())
    };
    // Articles of all categories, their genders, and where those of each category begin; likewise the uses.
    let (mut articles, mut genders, mut article_starts) = (Texts::default(), Vec::new(), vec![0]);
    let (mut uses, mut use_starts) = (Texts::default(), vec![0]);
    for (slug, _) in &categories {
        for (gender, code) in ["m", "f", "n", "p"].into_iter().enumerate() {
            for text in part(slug, code) {
                articles.push(&text);
                genders.push(gender as u64);
            }
        }
        for text in part(slug, "t") {
            uses.push(&text);
        }
        article_starts.push(articles.len() as u64);
        use_starts.push(uses.len() as u64);
    }
    articles.write(out, "ARTICLES", 48);
    numbers(out, "ARTICLE_GENDERS", "u8", genders);
    numbers(out, "ARTICLE_STARTS", "u16", article_starts);
    uses.write(out, "ARTICLE_USES", 48);
    numbers(out, "ARTICLE_USE_STARTS", "u16", use_starts);
    let mut adjectives = Texts::default();
    for forms in part("-", "a") {
        assert_eq!(forms.split('/').count(), 4, "shelves: {forms:?}");
        forms.split('/').for_each(|form| {
            adjectives.push(&capitalize(form));
        });
    }
    adjectives.write(out, "ARTICLE_ADJECTIVES", 32);
    Texts::of(part("-", "s").iter().map(String::as_str)).write(out, "ARTICLE_SERVICES", 48);
}

/// Reads `data/NAME.tsv`: rows of `columns` fields, comments left out.
fn read(name: &str, columns: usize) -> Vec<Vec<String>> {
    let path = format!("data/{name}.tsv");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let rows = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let row: Vec<_> = line.split('\t').map(str::to_owned).collect();
        assert_eq!(row.len(), columns, "{path}: {line:?}");
        let plain = |field: &String| {
            !field.is_empty()
                && field.trim() == field
                && !field.contains(['"', '\\'])
                && !field.contains(char::is_control)
        };
        assert!(
            row.iter().all(plain),
            "{path}: {line:?} would need escaping in JSON"
        );
        row
    });
    rows.collect()
}

fn column(rows: &[Vec<String>], column: usize) -> Vec<u64> {
    rows.iter()
        .map(|row| {
            row[column]
                .parse()
                .unwrap_or_else(|_| panic!("not a number: {row:?}"))
        })
        .collect()
}

fn index_of(regions: &[Vec<String>], code: &str) -> usize {
    regions
        .iter()
        .position(|row| row[0] == code)
        .unwrap_or_else(|| panic!("no region {code}"))
}

fn strings(out: &mut String, name: &str, rows: &[Vec<String>], column: usize) {
    string_list(out, name, rows.iter().map(|row| row[column].clone()));
}

fn ascii_texts(rows: &[Vec<String>], column: usize) -> Texts {
    let texts: Vec<_> = rows.iter().map(|row| to_ascii(&row[column])).collect();
    Texts::of(texts.iter().map(String::as_str))
}

fn string_list(out: &mut String, name: &str, texts: impl Iterator<Item = String>) {
    let texts: Vec<_> = texts.collect();
    writeln!(out, "pub(crate) const {name}: &[&str] = &{texts:?};").expect("writing to a String");
}

fn numbers(out: &mut String, name: &str, integer: &str, values: impl IntoIterator<Item = u64>) {
    let values: Vec<_> = values.into_iter().collect();
    writeln!(out, "pub(crate) const {name}: &[{integer}] = &{values:?};").expect("writing to a String");
}

/// The first address of a network in CIDR notation, and how many addresses it has.
fn network(cidr: &str) -> (u32, u32) {
    let parsed = cidr.split_once('/').and_then(|(address, bits)| {
        let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
        let size = 1_u32.checked_shl(32 - bits.parse::<u32>().ok()?)?;
        (address % size == 0).then_some((address, size))
    });
    parsed.unwrap_or_else(|| panic!("not a network: {cidr}"))
}

fn networks(out: &mut String, name: &str, networks: impl Iterator<Item = (u32, u32)>) {
    let networks: Vec<_> = networks.collect();
    writeln!(out, "pub(crate) const {name}: &[(u32, u32)] = &{networks:?};").expect("writing to a String");
}

/// Vose's construction of Walker's alias table. Each slot holds the threshold below which the low half of
/// the random word keeps the slot, and the index that is taken otherwise.
fn alias(out: &mut String, name: &str, weights: &[u64]) {
    let count = weights.len() as u128;
    let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    // Scaled so that the average slot holds `total`.
    let mut left: Vec<u128> = weights.iter().map(|&weight| u128::from(weight) * count).collect();
    let (mut small, mut large): (VecDeque<_>, VecDeque<_>) =
        (0..weights.len()).partition(|&i| left[i] < total);
    let mut table: Vec<(u32, usize)> = (0..weights.len()).map(|i| (u32::MAX, i)).collect();
    while let (Some(poor), Some(&rich)) = (small.pop_front(), large.front()) {
        table[poor] = (((left[poor] << 32) / total) as u32, rich);
        left[rich] -= total - left[poor];
        if left[rich] < total {
            small.extend(large.pop_front());
        }
    }
    writeln!(out, "pub(crate) const {name}: &[(u32, u16)] = &{table:?};").expect("writing to a String");
}

fn capitalize(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(chars)
        .collect()
}

/// Lower case without diacritics, the letters of Czech, Slovak, German, Polish and Vietnamese names.
fn to_ascii(name: &str) -> String {
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
