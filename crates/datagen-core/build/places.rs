//! Tables of municipalities, streets and telephone prefixes.

use std::collections::HashMap;

use crate::input::{Rows, column, index_of, read, texts};
use crate::output::{ChoicesBuilder, Output, alias};

/// The list of streets of a municipality whose streets have no names.
const NO_STREETS: u64 = 15;

/// The bit of `STREET_KINDS`, above the kind, of streets that do not exist in some municipality.
const ELSEWHERE: u64 = 4;

/// Regions, and municipalities with the facts that addresses depend on. Returns the municipalities in the order of
/// their numbers.
pub(crate) fn municipalities(out: &mut Output, regions: &[Vec<String>]) -> Rows {
    out.strings("REGION_NAMES", texts(regions, 1));
    out.texts("REGIONS", 32, texts(regions, 1));
    let municipalities = by_population();
    let populations = column(&municipalities, 2);
    out.numbers("MUNICIPALITY_POPULATIONS", "u32", populations.iter().copied());
    let codes: HashMap<_, _> = texts(regions, 0).zip(0..).collect();
    let region_of: Vec<usize> = texts(&municipalities, 1).map(|code| codes[code]).collect();

    let sizes = street_sizes(&read("streets", 5));
    assert!(sizes.len() < NO_STREETS as usize);
    let facts = municipalities
        .iter()
        .enumerate()
        .map(|(place, row)| {
            let population = populations[place];
            // Only some villages have street names; the larger a village is, the more likely it has them.
            let draw = row[0].bytes().fold(population, |hash, byte| {
                hash.wrapping_mul(31).wrapping_add(u64::from(byte))
            }) % 1_500;
            let streets = match population {
                0..500 => NO_STREETS,
                500..2_000 if draw >= population - 500 => NO_STREETS,
                _ => sizes.partition_point(|&size| size <= population) as u64 - 1,
            };
            let kind = match row[3].as_str() {
                "village" => 0,
                "town" | "orp" => 1,
                "capital" => 2,
                kind => panic!("municipalities: {kind:?}"),
            };
            // One house per three people, up to the four-digit numbers in districts of large cities.
            let houses = (population / 3).clamp(12, 3_000);
            let region = region_of[place] as u64;
            // From this population on, most houses have orientation numbers.
            let town = u64::from(population >= 8_000);
            let name = u64::from(out.text(&row[0]));
            name << 32 | houses << 16 | town << 12 | streets << 8 | kind << 4 | region
        })
        .collect::<Vec<_>>();
    out.long_list("MUNICIPALITIES", facts);

    // A single draw chooses both: a municipality is weighted by the population of its region times its share of the
    // population that the list has in that region.
    let of_regions = column(regions, 2);
    let mut listed = vec![0; regions.len()];
    for (&region, population) in region_of.iter().zip(&populations) {
        listed[region] += population;
    }
    let weights = region_of
        .iter()
        .zip(&populations)
        .map(|(&region, &population)| ((population * of_regions[region]) << 16) / listed[region]);
    out.choice("MUNICIPALITY_CHOICE", &weights.collect::<Vec<_>>());
    municipalities
}

/// Reads the municipalities, the largest first, so that the ones that are drawn often are close together in memory.
fn by_population() -> Rows {
    let mut municipalities = read("municipalities", 4);
    municipalities.sort_by_cached_key(|row| std::cmp::Reverse(row[2].parse::<u64>().expect("a population")));
    municipalities
}

/// The population thresholds above which municipalities have more streets, in ascending order.
fn street_sizes(streets: &[Vec<String>]) -> Vec<u64> {
    let mut sizes = column(streets, 2);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Streets, and lists of streets by the size of the municipality.
pub(crate) fn streets(out: &mut Output, municipalities: &[Vec<String>]) {
    let streets = read("streets", 5);
    let mut places: HashMap<_, Vec<_>> = HashMap::new();
    for (place, name) in texts(municipalities, 0).enumerate() {
        places.entry(name).or_default().push(place);
    }
    // The text after the streets precedes house numbers in places whose streets have no names.
    out.texts("STREETS", 32, texts(&streets, 0).chain(["č.p."]));
    let kinds = streets.iter().map(|row| {
        let kind = match row[3].as_str() {
            "street" => 0,
            "short" => 1,
            "square" => 2,
            kind => panic!("streets: {kind:?}"),
        };
        kind + if row[4] == "-" { 0 } else { ELSEWHERE }
    });
    out.numbers("STREET_KINDS", "u8", kinds);
    let smallest = column(&streets, 2);
    let mut choices = ChoicesBuilder::default();
    for size in street_sizes(&streets) {
        let weights = column(&streets, 1).into_iter().zip(&smallest);
        choices.push(
            weights
                .map(|(weight, least)| if *least <= size { weight } else { 0 })
                .enumerate(),
        );
    }
    out.choices("STREET_CHOICES", choices);
    // Pairs of a street and a municipality that has no street of that name, because such a street would lead to the
    // municipality itself.
    let mut pairs = Vec::new();
    for (street, row) in streets.iter().enumerate() {
        for town in row[4].split('|').filter(|town| *town != "-") {
            let places = places
                .get(town)
                .unwrap_or_else(|| panic!("streets: no town {town:?}"));
            pairs.extend(places.iter().map(|place| (street << 16 | place) as u64));
        }
    }
    pairs.sort_unstable();
    out.numbers("STREETS_ELSEWHERE", "u32", pairs);
}

/// Prefixes of telephone numbers.
pub(crate) fn phones(out: &mut Output, regions: &[Vec<String>]) {
    let mut landlines = read("landline_prefixes", 2);
    landlines.sort_by_key(|row| index_of(regions, &row[0]));
    out.numbers("LANDLINE_PREFIXES", "u16", column(&landlines, 1));
    // Where the prefixes of each region begin. An additional entry marks the end of the last region's.
    let starts = (0..=regions.len()).map(|region| {
        landlines
            .iter()
            .filter(|row| index_of(regions, &row[0]) < region)
            .count() as u64
    });
    out.numbers("LANDLINE_STARTS", "u16", starts);
    let mobiles = read("mobile_prefixes", 2);
    out.numbers("MOBILE_PREFIXES", "u16", column(&mobiles, 0));
    out.list("MOBILE_ALIAS", "(u32, u16)", &alias(&column(&mobiles, 1)));

    // In the formats of `fake`, `#` stands for any digit.
    let formats = |rows: &[Vec<String>], of: usize| -> Vec<String> {
        rows.iter().map(|row| format!("{} ### ###", row[of])).collect()
    };
    out.strings("LANDLINE_FORMATS", formats(&landlines, 1));
    out.strings("MOBILE_FORMATS", formats(&mobiles, 0));
}
