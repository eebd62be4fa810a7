//! Turns the lists in `data/` into constant tables, so that a generator starts without parsing anything.
//!
//! Each `data/NAME.tsv` becomes constants in `tables.rs`: the columns as arrays, the weights as Walker alias
//! tables in exact integer arithmetic (see `rng::Alias`), and ASCII forms of the names for user names. A
//! list that the encoders could not write verbatim into JSON fails the build.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::{env, fs};

/// The age of the oldest users: the last of `data/age_groups.tsv`.
const MAX_AGE: usize = 89;

fn main() {
    println!("cargo::rerun-if-changed=data");
    let mut out = String::new();

    let regions = read("regions", 3);
    strings(&mut out, "REGION_NAMES", &regions, 1);

    let municipalities = read("municipalities", 4);
    strings(&mut out, "MUNICIPALITY_NAMES", &municipalities, 0);
    let region_of = municipalities
        .iter()
        .map(|row| index_of(&regions, &row[1]) as u64);
    numbers(&mut out, "MUNICIPALITY_REGIONS", "u8", region_of);
    numbers(
        &mut out,
        "MUNICIPALITY_POPULATIONS",
        "u32",
        column(&municipalities, 2),
    );
    alias(&mut out, "MUNICIPALITY_ALIAS", &column(&municipalities, 2));

    let streets = read("streets", 2);
    strings(&mut out, "STREET_NAMES", &streets, 0);
    alias(&mut out, "STREET_ALIAS", &column(&streets, 1));

    let mut landlines = read("landline_prefixes", 2);
    landlines.sort_by_key(|row| index_of(&regions, &row[0]));
    numbers(&mut out, "LANDLINE_PREFIXES", "u16", column(&landlines, 1));
    // Where each region's prefixes begin; one more entry marks the end of the last.
    let starts = (0..=regions.len()).map(|region| {
        landlines
            .iter()
            .filter(|row| index_of(&regions, &row[0]) < region)
            .count() as u64
    });
    numbers(&mut out, "LANDLINE_STARTS", "u16", starts);

    let mobiles = read("mobile_prefixes", 2);
    numbers(&mut out, "MOBILE_PREFIXES", "u16", column(&mobiles, 0));
    alias(&mut out, "MOBILE_ALIAS", &column(&mobiles, 1));

    // As `fake` writes formats: `#` is any digit.
    let formats = |rows: &[Vec<String>], of: usize| -> Vec<_> {
        rows.iter().map(|row| format!("{} ### ###", row[of])).collect()
    };
    string_list(&mut out, "LANDLINE_FORMATS", formats(&landlines, 1).into_iter());
    string_list(&mut out, "MOBILE_FORMATS", formats(&mobiles, 0).into_iter());

    for (file, name) in [
        ("given_names_male", "MALE_GIVEN_NAME"),
        ("given_names_female", "FEMALE_GIVEN_NAME"),
    ] {
        let names = read(file, 2);
        strings(&mut out, &format!("{name}S"), &names, 0);
        ascii_strings(&mut out, &format!("{name}S_ASCII"), &names, 0);
        alias(&mut out, &format!("{name}_ALIAS"), &column(&names, 1));
    }

    let surnames = read("surnames", 3);
    strings(&mut out, "MALE_SURNAMES", &surnames, 0);
    ascii_strings(&mut out, "MALE_SURNAMES_ASCII", &surnames, 0);
    strings(&mut out, "FEMALE_SURNAMES", &surnames, 1);
    ascii_strings(&mut out, "FEMALE_SURNAMES_ASCII", &surnames, 1);
    alias(&mut out, "SURNAME_ALIAS", &column(&surnames, 2));

    let titles = read("titles", 4);
    for (position, name) in [("before", "BEFORE"), ("after", "AFTER")] {
        let titles: Vec<_> = titles.iter().filter(|row| row[1] == position).cloned().collect();
        strings(&mut out, &format!("TITLES_{name}"), &titles, 0);
        numbers(
            &mut out,
            &format!("TITLES_{name}_MIN_AGE"),
            "u8",
            column(&titles, 3),
        );
        // The weights are shares of 10 000 adults; the rest, the last index, have no title.
        let mut weights = column(&titles, 2);
        weights.push(10_000 - weights.iter().sum::<u64>());
        alias(&mut out, &format!("TITLES_{name}_ALIAS"), &weights);
    }

    let ages = read("age_groups", 3);
    numbers(&mut out, "AGE_GROUP_FIRST", "u8", column(&ages, 0));
    numbers(&mut out, "AGE_GROUP_LAST", "u8", column(&ages, 1));
    numbers(&mut out, "AGE_GROUP_INHABITANTS", "u32", column(&ages, 2));
    alias(&mut out, "AGE_GROUP_ALIAS", &column(&ages, 2));

    let mut occupations = read("occupations", 3);
    // By minimum age, so that those open to an age are the first so many.
    let min_age = |row: &Vec<String>| row[2].parse::<usize>().expect("an age");
    occupations.sort_by_key(min_age);
    strings(&mut out, "MALE_OCCUPATIONS", &occupations, 0);
    strings(&mut out, "FEMALE_OCCUPATIONS", &occupations, 1);
    let open = (0..=MAX_AGE).map(|age| occupations.partition_point(|row| min_age(row) <= age) as u64);
    numbers(&mut out, "OCCUPATIONS_OPEN_AT_AGE", "u16", open);

    let words = read("words", 2);
    strings(&mut out, "WORDS", &words, 0);
    let spaced = words.iter().map(|row| format!("{} ", row[0]));
    string_list(&mut out, "WORDS_SPACED", spaced);
    let capitalized = words.iter().map(|row| format!("{} ", capitalize(&row[0])));
    string_list(&mut out, "WORDS_CAPITALIZED_SPACED", capitalized);
    numbers(&mut out, "WORD_SLOTS", "u16", slots(&column(&words, 1), 4096));

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

fn ascii_strings(out: &mut String, name: &str, rows: &[Vec<String>], column: usize) {
    string_list(out, name, rows.iter().map(|row| to_ascii(&row[column])));
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

/// A table of `count` slots in which each index stands about as often as its weight says, and at least once:
/// a coarser choice than an alias table, but five of them come out of one random word.
fn slots(weights: &[u64], count: u64) -> Vec<u64> {
    let total: u64 = weights.iter().sum();
    let spare = count - weights.len() as u64;
    // Cumulative rounding: the slots beyond the first of each index sum up to exactly `spare`.
    let mut cumulative = 0;
    let mut table = Vec::new();
    for (index, weight) in weights.iter().enumerate() {
        let before = cumulative * spare / total;
        cumulative += weight;
        let extra = cumulative * spare / total - before;
        table.extend((0..=extra).map(|_| index as u64));
    }
    assert_eq!(table.len() as u64, count);
    table
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
