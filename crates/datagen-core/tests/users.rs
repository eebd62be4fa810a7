//! Checks that users are people who could exist, on 200 000 users as consumers read them. The rules and the published
//! figures are stated here independently of the code and the lists that generate users.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use datagen_core::locale::person::REFERENCE_DATE;
use datagen_core::model::user::Users;
use datagen_core::text::TextBuf;
use serde::Deserialize;

const USERS: u64 = 200_000;

#[derive(Deserialize)]
struct Line {
    name: String,
    city: String,
    street_address: String,
    phone_number: String,
    birth_number: String,
    administrative_unit: String,
    description: String,
    jobs: [String; 3],
}

/// A user, and the facts that the fields imply.
struct UserJson {
    line: Line,
    woman: bool,
    born: i32,
    age: u32,
    given: String,
    surname: String,
    before: String,
    after: String,
    bytes: usize,
}

static PEOPLE: LazyLock<Vec<UserJson>> = LazyLock::new(|| {
    let users = Users::new(0, USERS);
    let mut buffer = TextBuf::default();
    let read = |id| {
        buffer.clear();
        users.get(id).write_json_line(&mut buffer);
        let line: Line = serde_json::from_slice(buffer.as_bytes()).unwrap();
        let (date, serial) = line.birth_number.split_once('/').unwrap();
        let part = |range: std::ops::Range<usize>| date[range].parse::<u32>().unwrap();
        let woman = part(2..4) > 50;
        let century = if serial.len() == 4 && part(0..2) < 54 {
            2000
        } else {
            1900
        };
        let born = century + part(0..2) as i32;
        let month = part(2..4) - if woman { 50 } else { 0 };
        let date = chrono::NaiveDate::from_ymd_opt(born, month, part(4..6)).unwrap();
        let (name, after) = line.name.split_once(", ").unwrap_or((&line.name, ""));
        let mut words: Vec<_> = name.split(' ').collect();
        let (surname, given) = (words.pop().unwrap(), words.pop().unwrap());
        UserJson {
            woman,
            born,
            age: REFERENCE_DATE.years_since(date).unwrap(),
            given: given.to_owned(),
            surname: surname.to_owned(),
            before: words.join(" "),
            after: after.to_owned(),
            bytes: buffer.len(),
            line,
        }
    };
    (0..USERS).map(read).collect()
});

/// The rows of a file without its comments.
fn rows(path: &str) -> Vec<Vec<String>> {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

fn share(of: usize, all: usize) -> f64 {
    of as f64 / all as f64
}

/// The ranks of values, from 0; equal values share their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |value: f64| values.iter().filter(|other| **other < value).count() as f64;
    let equal = |value: f64| values.iter().filter(|other| **other == value).count() as f64;
    values
        .iter()
        .map(|&value| below(value) + (equal(value) - 1.0) / 2.0)
        .collect()
}

/// Spearman's rank correlation.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

#[test]
fn regions_have_their_share_of_people_and_villages_theirs() {
    // ČSÚ, population of regions, 1 January 2022, in thousands.
    let population = [
        ("Hlavní město Praha", 1275.4),
        ("Středočeský kraj", 1386.8),
        ("Jihočeský kraj", 637.0),
        ("Plzeňský kraj", 578.7),
        ("Karlovarský kraj", 283.2),
        ("Ústecký kraj", 798.9),
        ("Liberecký kraj", 437.6),
        ("Královéhradecký kraj", 542.6),
        ("Pardubický kraj", 514.5),
        ("Kraj Vysočina", 504.0),
        ("Jihomoravský kraj", 1184.6),
        ("Olomoucký kraj", 622.9),
        ("Zlínský kraj", 572.4),
        ("Moravskoslezský kraj", 1178.0),
    ];
    let total: f64 = population.iter().map(|(_, population)| population).sum();
    for (region, population) in population {
        let expected = population / total;
        let found = PEOPLE
            .iter()
            .filter(|user| user.line.administrative_unit == region)
            .count();
        let error = 3.0 * (expected * (1.0 - expected) / USERS as f64).sqrt();
        let difference = (share(found, PEOPLE.len()) - expected).abs();
        assert!(difference < error.max(0.03 * expected), "{region}: {found}");
    }

    let regions: HashMap<_, _> = rows("data/regions.tsv")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    // If several places in a region have the same name, the largest one counts, so that the share of villages is not
    // overstated.
    let mut size = HashMap::new();
    for row in rows("data/municipalities.tsv") {
        let population: u32 = row[2].parse().unwrap();
        let entry = size
            .entry((row[0].clone(), regions[&row[1]].clone()))
            .or_insert(0);
        *entry = population.max(*entry);
    }
    let mut villagers = 0;
    for UserJson { line, .. } in PEOPLE.iter() {
        let size = size[&(line.city.clone(), line.administrative_unit.clone())];
        villagers += usize::from(size < 2_000);
        if size < 500 {
            assert!(
                line.street_address.starts_with("č.p. "),
                "{}",
                line.street_address
            );
        }
        if size >= 50_000 {
            assert!(!line.street_address.starts_with("č.p. "), "{}", line.city);
        }
    }
    let villagers = share(villagers, PEOPLE.len());
    assert!((0.20..0.30).contains(&villagers), "{villagers} live in villages");
}

#[test]
fn streets_suit_the_town() {
    let number = |address: &str| -> u32 {
        let digits = address
            .rsplit([' ', '/'])
            .next()
            .unwrap()
            .trim_end_matches(char::is_alphabetic);
        digits.parse().unwrap()
    };
    let mut streets: HashMap<&str, HashSet<&str>> = HashMap::new();
    for UserJson { line, .. } in PEOPLE.iter() {
        let (street, _) = line.street_address.rsplit_once(' ').unwrap();
        let number = number(&line.street_address);
        let short = ["Krátká", "Příčná", "Slepá", "Úzká", "Boční", "U Kostela"].contains(&street);
        assert!(!short || number <= 20, "{}", line.street_address);
        let square = street.contains("náměstí") || street == "Na Návsi" || street == "Náves";
        assert!(!square || number <= 30, "{}", line.street_address);
        streets.entry(&line.city).or_default().insert(street);
    }
    for (town, street) in [
        ("Praha", "Pražská"),
        ("Brno", "Brněnská"),
        ("Plzeň", "Plzeňská"),
        ("Ostrava", "Ostravská"),
        ("Olomouc", "Olomoucká"),
        ("Liberec", "Liberecká"),
        ("Hradec Králové", "Hradecká"),
        ("České Budějovice", "Budějovická"),
        ("Jihlava", "Jihlavská"),
        ("Pardubice", "Pardubická"),
        ("Kladno", "Kladenská"),
        ("Opava", "Opavská"),
        ("Teplice", "Teplická"),
        ("Karlovy Vary", "Karlovarská"),
    ] {
        assert!(!streets[town].contains(street), "{street} in {town}");
        assert!(
            streets.values().any(|streets| streets.contains(street)),
            "no {street}"
        );
        assert!(
            streets[town].len() > 200,
            "{town} has {} streets",
            streets[town].len()
        );
    }
    assert!(streets["Praha"].contains("Evropská") && streets["Brno"].contains("Bělehradská"));
    let large: HashSet<_> = ["Praha", "Brno", "Ostrava"]
        .iter()
        .flat_map(|town| &streets[town])
        .collect();
    let small: HashSet<_> = ["Dačice", "Telč", "Slaný", "Náchod", "Písek"]
        .iter()
        .flat_map(|town| &streets[town])
        .collect();
    assert!(small.is_subset(&large) || small.len() < large.len());
    assert!(
        !small.contains(&"Evropská") && !small.contains(&"Bělehradská"),
        "big cities' streets in small towns"
    );
}

#[test]
fn the_share_of_women_grows_with_age() {
    // ČSÚ, Statistika a my, 20 February 2024: women are 57.9 % of those over 65; age structure of 2022 for the others.
    for (ages, expected) in [
        (18..=39, 0.486),
        (40..=59, 0.491),
        (60..=64, 0.512),
        (65..=90, 0.579),
        (80..=90, 0.640),
    ] {
        let of_age: Vec<_> = PEOPLE.iter().filter(|user| ages.contains(&user.age)).collect();
        let women = share(of_age.iter().filter(|user| user.woman).count(), of_age.len());
        assert!((women - expected).abs() < 0.02, "{ages:?}: {women}");
    }
}

#[test]
fn given_names_follow_the_year_of_birth() {
    let published = rows("tests/published/given_names.tsv");
    for (gender, woman) in [("m", false), ("f", true)] {
        let mut births: HashMap<&str, (f64, f64)> = HashMap::new();
        for user in PEOPLE.iter().filter(|user| user.woman == woman) {
            let entry = births.entry(&user.given).or_default();
            *entry = (entry.0 + 1.0, entry.1 + f64::from(user.born));
        }
        // Many bearers of names with a mean age below 25 are children.
        let adults: Vec<_> = published
            .iter()
            .filter(|row| row[1] == gender && row[3].parse::<f64>().unwrap() >= 25.0)
            .collect();
        let number = |row: &[String], of: usize| row[of].parse::<f64>().unwrap();
        let column = |of: usize| adults.iter().map(|row| number(row, of)).collect::<Vec<_>>();
        let counts: Vec<_> = adults.iter().map(|row| births[row[0].as_str()].0).collect();
        let correlation = rank_correlation(&column(2), &counts);
        assert!(correlation > 0.9, "{gender}: counts correlate by {correlation}");
        let means: Vec<_> = adults
            .iter()
            .map(|row| births[row[0].as_str()].1 / births[row[0].as_str()].0)
            .collect();
        let ages: Vec<_> = column(3).iter().map(|age| 2016.0 - age).collect();
        let correlation = rank_correlation(&ages, &means);
        assert!(
            correlation > 0.9,
            "{gender}: years of birth correlate by {correlation}"
        );
        for ((row, mean), expected) in adults.iter().zip(&means).zip(&ages) {
            assert!(
                (mean - expected).abs() < 9.0,
                "{}: {mean}, published {expected}",
                row[0]
            );
        }
    }
    for row in rows("tests/published/given_names_by_decade.tsv") {
        let decade: i32 = row[1].parse().unwrap();
        let mut counts: HashMap<&str, f64> = HashMap::new();
        for user in PEOPLE
            .iter()
            .filter(|user| user.woman == (row[0] == "f") && user.born / 10 * 10 == decade)
        {
            *counts.entry(&user.given).or_default() += 1.0;
        }
        let names: Vec<_> = row[2].split(' ').collect();
        assert_eq!(names.len(), 20);
        let ours: Vec<_> = names
            .iter()
            .map(|name| -counts.get(name).copied().unwrap_or_default())
            .collect();
        let places: Vec<_> = (0..20).map(f64::from).collect();
        let correlation = rank_correlation(&places, &ours);
        assert!(correlation > 0.8, "{} {decade}: {correlation}", row[0]);
    }
    let wrong = |names: &[&str], ages: std::ops::RangeInclusive<u32>| {
        PEOPLE
            .iter()
            .filter(|user| user.woman && ages.contains(&user.age) && names.contains(&user.given.as_str()))
            .count()
    };
    let old = wrong(&["Božena", "Jarmila", "Libuše", "Květoslava", "Růžena"], 18..=34);
    let young = wrong(&["Nela", "Natálie", "Nikola", "Aneta", "Denisa"], 66..=90);
    assert!(
        old < 60 && young < 60,
        "{old} young women have old names, {young} old women have new ones"
    );
}

#[test]
fn surnames_are_as_frequent_as_in_the_whole_country() {
    let men: Vec<_> = PEOPLE.iter().filter(|user| !user.woman).collect();
    let of_men = |surname: &str| {
        share(
            men.iter().filter(|user| user.surname == surname).count(),
            men.len(),
        )
    };
    assert!((0.005..0.008).contains(&of_men("Novák")), "{}", of_men("Novák"));
    assert!(
        (0.0035..0.006).contains(&of_men("Svoboda")),
        "{}",
        of_men("Svoboda")
    );
    assert!(
        (0.0015..0.004).contains(&of_men("Nguyen")),
        "{}",
        of_men("Nguyen")
    );
    let mut counts: HashMap<&str, usize> = HashMap::new();
    men.iter()
        .for_each(|user| *counts.entry(&user.surname).or_default() += 1);
    let mut sorted: Vec<_> = counts.values().copied().collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    // prijmeni.cz: 284 surnames have over 2 000 male bearers of five million.
    let frequent = sorted
        .iter()
        .filter(|&&count| share(count, men.len()) > 2_000.0 / 5_200_000.0)
        .count();
    assert!((230..340).contains(&frequent), "{frequent} frequent surnames");
    let head = share(sorted[..100].iter().sum(), men.len());
    assert!(
        (0.10..0.20).contains(&head),
        "the top hundred surnames have {head}"
    );
    assert!(counts.len() > 6_000, "{} different surnames", counts.len());
}

/// Whether the occupation is one of `words`.
fn is(job: &str, words: &[&str]) -> bool {
    words.contains(&job)
}

const PHYSICIANS: [&str; 34] = [
    "praktický lékař",
    "praktická lékařka",
    "dětský lékař",
    "dětská lékařka",
    "chirurg",
    "chirurgyně",
    "internista",
    "internistka",
    "kardiolog",
    "kardioložka",
    "neurolog",
    "neuroložka",
    "psychiatr",
    "psychiatryně",
    "gynekolog",
    "gynekoložka",
    "ortoped",
    "ortopedka",
    "dermatolog",
    "dermatoložka",
    "oftalmolog",
    "oftalmoložka",
    "radiolog",
    "radioložka",
    "anesteziolog",
    "anestezioložka",
    "urolog",
    "uroložka",
    "onkolog",
    "onkoložka",
    "epidemiolog",
    "epidemioložka",
    "primář",
    "primářka",
];
const DENTISTS: [&str; 2] = ["zubní lékař", "zubní lékařka"];

impl UserJson {
    /// The present profession, or the former one of a pensioner.
    fn profession(&self) -> &str {
        let pensioner = is(&self.line.jobs[0], &["důchodce", "důchodkyně"]);
        &self.line.jobs[usize::from(pensioner)]
    }

    fn has_before(&self, titles: &[&str]) -> bool {
        let last = self.before.split(' ').next_back().unwrap_or_default();
        titles.contains(&last)
    }
}

#[test]
fn titles_go_with_professions() {
    let mut physicians = 0;
    for user in PEOPLE.iter() {
        let profession = user.profession();
        let text = format!("{} {} {:?}", user.line.name, user.age, user.line.jobs);
        let physician = is(profession, &PHYSICIANS);
        let dentist = is(profession, &DENTISTS);
        physicians += usize::from(physician);
        if physician {
            assert!(user.has_before(&["MUDr."]), "{text}");
        }
        if user.has_before(&["MUDr."]) {
            assert!(physician || dentist, "{text}");
        }
        if dentist {
            assert!(user.has_before(&["MDDr.", "MUDr."]), "{text}");
        }
        if user.has_before(&["MDDr."]) {
            assert!(dentist && user.born >= 1983, "{text}");
        }
        let vet = is(profession, &["veterinární lékař", "veterinární lékařka"]);
        assert_eq!(vet, user.has_before(&["MVDr."]), "{text}");
        if is(
            profession,
            &[
                "advokát",
                "advokátka",
                "soudce",
                "soudkyně",
                "státní zástupce",
                "státní zástupkyně",
                "notář",
                "notářka",
                "právník",
                "právnička",
            ],
        ) {
            assert!(user.has_before(&["Mgr.", "JUDr."]), "{text}");
        }
        if is(profession, &["lékárník", "lékárnice"]) {
            assert!(user.has_before(&["Mgr.", "PharmDr.", "RNDr."]), "{text}");
        }
        if is(
            profession,
            &[
                "strojní inženýr",
                "strojní inženýrka",
                "stavební inženýr",
                "stavební inženýrka",
                "elektroinženýr",
                "statik",
            ],
        ) {
            assert!(user.has_before(&["Ing."]), "{text}");
        }
        if is(profession, &["kněz", "farář", "farářka"]) {
            assert!(
                user.has_before(&["Mgr.", "ThDr.", "ThLic.", "PhDr.", "Bc."]),
                "{text}"
            );
        }
        // All titles after the name except DiS. require a title before the name; doctorates require a master's
        // degree.
        match user.after.as_str() {
            "" => {}
            "DiS." => assert!(user.before.is_empty(), "{text}"),
            "Ph.D." | "Th.D." | "CSc." | "DrSc." | "DSc." => {
                assert!(!["", "Bc.", "BcA."].contains(&user.before.as_str()), "{text}");
            }
            _ => assert!(!user.before.is_empty(), "{text}"),
        }
        // The minimum age follows from the duration of studies.
        let youngest = match user.before.as_str() {
            "" => 18,
            "Bc." | "BcA." => 21,
            "Mgr." | "Ing." | "MgA." | "MVDr." | "MDDr." => 23,
            _ => 24,
        };
        assert!(user.age >= youngest, "{text}");
        assert!(user.age >= 50 || user.after != "CSc.", "{text}");
        assert!(user.age <= 62 || user.after != "Ph.D.", "{text}");
        // The other jobs do not require a second doctorate.
        for job in &user.line.jobs[1..] {
            assert!(physician || !is(job, &PHYSICIANS), "{text}");
            assert!(dentist || !is(job, &DENTISTS), "{text}");
        }
    }
    assert!((900..2_500).contains(&physicians), "{physicians} physicians");
    // The shares of titles after the name that the list gives, per 10 000 adults.
    for (title, expected) in [
        ("DiS.", 110.0),
        ("Ph.D.", 68.0),
        ("MBA", 30.0),
        ("CSc.", 20.0),
        ("LL.M.", 5.0),
        ("MSc.", 5.0),
    ] {
        let found = PEOPLE.iter().filter(|user| user.after == title).count() as f64;
        let mean = expected * USERS as f64 / 10_000.0;
        assert!(
            (found - mean).abs() < 0.08 * mean + 3.0 * mean.sqrt(),
            "{title}: {found}, expected {mean}"
        );
    }
}

#[test]
fn titles_depend_on_age_and_gender() {
    let titled = |woman: bool, ages: std::ops::RangeInclusive<u32>| {
        let people: Vec<_> = PEOPLE
            .iter()
            .filter(|user| user.woman == woman && ages.contains(&user.age))
            .collect();
        share(
            people.iter().filter(|user| !user.before.is_empty()).count(),
            people.len(),
        )
    };
    // Census of 2021: 18.7 % of those over 15 have a degree; of the young, more women than men; of the old, more men.
    let all = share(
        PEOPLE.iter().filter(|user| !user.before.is_empty()).count(),
        PEOPLE.len(),
    );
    assert!((0.16..0.21).contains(&all), "{all}");
    let (young_women, young_men) = (titled(true, 27..=44), titled(false, 27..=44));
    assert!(young_women > young_men + 0.03, "{young_women} {young_men}");
    assert!(young_women > titled(true, 65..=90) + 0.05 && titled(true, 18..=20) < 0.01);
    let engineers = |woman: bool| {
        PEOPLE
            .iter()
            .filter(|user| user.woman == woman && user.has_before(&["Ing."]))
            .count()
    };
    assert!(engineers(false) > engineers(true));
    let bachelors = |ages: std::ops::RangeInclusive<u32>| {
        let people: Vec<_> = PEOPLE.iter().filter(|user| ages.contains(&user.age)).collect();
        share(
            people.iter().filter(|user| user.before == "Bc.").count(),
            people.len(),
        )
    };
    assert!(bachelors(24..=40) > 4.0 * bachelors(62..=90));
}

#[test]
fn people_work_study_and_retire_at_plausible_ages() {
    let mut stages: BTreeMap<u32, [usize; 3]> = BTreeMap::new();
    for user in PEOPLE.iter() {
        let jobs = &user.line.jobs;
        assert_eq!(jobs.iter().collect::<HashSet<_>>().len(), 3, "{jobs:?}");
        let student = is(&jobs[0], &["student", "studentka"]);
        let pensioner = is(&jobs[0], &["důchodce", "důchodkyně"]);
        stages.entry(user.age).or_default()[if student { 1 } else { 2 * usize::from(pensioner) }] += 1;
        assert!(!student || user.age <= 26, "{jobs:?} {}", user.age);
        assert!(!pensioner || user.age >= 58, "{jobs:?} {}", user.age);
        for job in &jobs[1..] {
            assert!(
                !is(job, &["student", "studentka", "důchodce", "důchodkyně"]),
                "{jobs:?}"
            );
        }
        if !pensioner {
            for (names, ages) in [
                (&["hasič", "hasička"][..], 19..=58),
                (&["profesionální voják", "profesionální vojákyně"], 18..=58),
                (&["policista", "policistka"], 19..=60),
                (&["soudce", "soudkyně"], 30..=70),
                (&["horník"], 18..=56),
                (&["pilot", "pilotka"], 20..=65),
                (&["letuška", "stevard"], 18..=58),
                (&["profesionální sportovec", "profesionální sportovkyně"], 18..=40),
                (&["strojvedoucí"], 20..=65),
                (&["řidič autobusu", "řidička autobusu"], 21..=70),
                (&["chirurg", "chirurgyně"], 30..=73),
                (&["primář", "primářka"], 35..=73),
                (&["ředitel školy", "ředitelka školy"], 30..=70),
                (&["zedník"], 18..=68),
                (&["učitel základní školy", "učitelka základní školy"], 23..=70),
                (&["advokát", "advokátka"], 27..=77),
            ] {
                for job in jobs {
                    assert!(
                        !is(job, names) || ages.contains(&user.age),
                        "{jobs:?} at {}",
                        user.age
                    );
                }
            }
        }
    }
    let of = |ages: std::ops::RangeInclusive<u32>, stage: usize| {
        let counts: Vec<_> = stages.range(ages).map(|(_, counts)| counts).collect();
        share(
            counts.iter().map(|counts| counts[stage]).sum(),
            counts.iter().map(|counts| counts.iter().sum::<usize>()).sum(),
        )
    };
    assert!(of(18..=19, 1) > 0.7 && of(20..=22, 1) > 0.4 && of(24..=26, 1) < 0.15);
    assert!(of(18..=57, 2) == 0.0 && (0.75..0.9).contains(&of(65..=69, 2)) && of(75..=90, 2) > 0.97);
}

#[test]
fn professions_have_the_gender_that_statistics_say() {
    // Shares of women. Physicians, dentists and nurses: ČSÚ, Statistika a my, 20 February 2024 (54, 62 and 98 %). The
    // others: bounds that hold in the ČSÚ's labour force survey by CZ-ISCO groups and the yearbooks of the
    // ministries, from general knowledge.
    let bounds = [
        ("praktický lékař", "praktická lékařka", 0.50, 0.80),
        ("zubní lékař", "zubní lékařka", 0.52, 0.72),
        ("všeobecný ošetřovatel", "všeobecná zdravotní sestra", 0.93, 1.0),
        ("učitel mateřské školy", "učitelka mateřské školy", 0.96, 1.0),
        ("učitel základní školy", "učitelka základní školy", 0.78, 0.90),
        ("učitel střední školy", "učitelka střední školy", 0.52, 0.68),
        ("zedník", "zednice", 0.0, 0.02),
        ("tesař", "tesařka", 0.0, 0.02),
        ("instalatér", "instalatérka", 0.0, 0.03),
        ("elektrikář", "elektrikářka", 0.0, 0.04),
        ("automechanik", "automechanička", 0.0, 0.03),
        ("zámečník", "zámečnice", 0.0, 0.04),
        ("svářeč", "svářečka", 0.0, 0.06),
        ("truhlář", "truhlářka", 0.0, 0.06),
        (
            "řidič nákladního automobilu",
            "řidička nákladního automobilu",
            0.0,
            0.05,
        ),
        ("řidič autobusu", "řidička autobusu", 0.02, 0.14),
        ("hasič", "hasička", 0.0, 0.08),
        ("policista", "policistka", 0.12, 0.24),
        ("profesionální voják", "profesionální vojákyně", 0.08, 0.18),
        ("programátor", "programátorka", 0.04, 0.14),
        ("účetní", "účetní", 0.85, 0.97),
        ("prodavač", "prodavačka", 0.74, 0.88),
        ("uklízeč", "uklízečka", 0.80, 0.94),
        ("kuchař", "kuchařka", 0.50, 0.68),
        ("číšník", "servírka", 0.50, 0.70),
        ("kadeřník", "kadeřnice", 0.88, 0.99),
        ("kosmetik", "kosmetička", 0.95, 1.0),
        ("sekretář", "sekretářka", 0.93, 1.0),
        (
            "administrativní pracovník",
            "administrativní pracovnice",
            0.76,
            0.92,
        ),
        ("sociální pracovník", "sociální pracovnice", 0.80, 0.94),
        ("skladník", "skladnice", 0.18, 0.38),
        ("šič", "šička", 0.93, 1.0),
        ("lékárník", "lékárnice", 0.74, 0.90),
        ("advokát", "advokátka", 0.32, 0.48),
        ("soudce", "soudkyně", 0.50, 0.72),
        ("stavební inženýr", "stavební inženýrka", 0.06, 0.24),
        ("bankovní úředník", "bankovní úřednice", 0.68, 0.88),
        ("knihovník", "knihovnice", 0.80, 0.95),
    ];
    let mut counts: HashMap<&str, [usize; 2]> = HashMap::new();
    for user in PEOPLE.iter() {
        counts.entry(&user.line.jobs[0]).or_default()[usize::from(user.woman)] += 1;
    }
    for (male, female, least, most) in bounds {
        let of = |job: &str| counts.get(job).copied().unwrap_or_default();
        let (men, women) = (of(male)[0], of(female)[1]);
        assert!(men + women >= 30, "{male}: only {men} and {women}");
        let women = share(women, men + women);
        // Three standard errors of the smaller samples.
        let error = 3.0 * (women * (1.0 - women) / (men as f64 + 1.0)).sqrt().min(0.08);
        assert!(
            (least - error..=most + error).contains(&women),
            "{male}: {women} are women"
        );
        if male != female {
            assert_eq!((of(male)[1], of(female)[0]), (0, 0), "{male}, {female}");
        }
    }
}

#[test]
fn fixed_lines_are_rare_and_belong_to_older_people() {
    let fixed = |user: &UserJson| {
        let digits: String = user
            .line
            .phone_number
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        matches!(&digits[digits.len() - 9..digits.len() - 8], "2" | "3" | "4" | "5")
    };
    let of = |ages: std::ops::RangeInclusive<u32>| {
        let people: Vec<_> = PEOPLE.iter().filter(|user| ages.contains(&user.age)).collect();
        share(people.iter().filter(|user| fixed(user)).count(), people.len())
    };
    assert!((0.02..0.05).contains(&of(18..=90)), "{}", of(18..=90));
    assert!(
        of(18..=39) < 0.01 && of(70..=90) > 0.08,
        "{} {}",
        of(18..=39),
        of(70..=90)
    );
}

#[test]
fn a_user_has_a_few_hundred_bytes() {
    let bytes: usize = PEOPLE.iter().map(|user| user.bytes).sum();
    let mean = share(bytes, PEOPLE.len());
    assert!((450.0..650.0).contains(&mean), "{mean} bytes");
    let expected = datagen_core::model::user::EXPECTED_BYTES as f64;
    assert!(
        (mean - expected).abs() < 0.05 * expected,
        "{mean} bytes, not {expected}"
    );
}

/// The sentences of a description.
fn sentences(description: &str) -> impl Iterator<Item = &str> {
    description
        .strip_suffix('.')
        .unwrap_or_else(|| panic!("{description}"))
        .split(". ")
}

#[test]
fn descriptions_are_different_and_made_of_many_sentences() {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    PEOPLE
        .iter()
        .for_each(|user| *seen.entry(&user.line.description).or_default() += 1);
    let shared: usize = seen.values().filter(|&&count| count > 1).sum();
    assert!(
        share(shared, PEOPLE.len()) <= 0.001,
        "{shared} share their description"
    );
    let some: Vec<_> = PEOPLE
        .iter()
        .flat_map(|user| sentences(&user.line.description))
        .take(10_000)
        .collect();
    let different: HashSet<_> = some.iter().collect();
    assert!(
        different.len() >= 1_500,
        "{} different sentences",
        different.len()
    );
    let counts: Vec<_> = PEOPLE
        .iter()
        .map(|user| sentences(&user.line.description).count())
        .collect();
    assert!(counts.iter().all(|count| (3..=7).contains(count)));
    let mean = share(counts.iter().sum(), counts.len());
    assert!((4.9..5.1).contains(&mean), "{mean} sentences per description");
    // Most templates differ in the text before the first slot.
    let templates = rows("data/sentences.tsv");
    let openings: HashSet<_> = templates
        .iter()
        .map(|row| row[2].split(['<', '{']).next().unwrap())
        .collect();
    assert!(
        templates.len() >= 60 && openings.len() >= 60,
        "{} {}",
        templates.len(),
        openings.len()
    );
}

/// The error in a Czech sentence, if one can be recognized from its letters.
fn fault(sentence: &str, woman: bool) -> Option<String> {
    let words: Vec<_> = sentence
        .split(' ')
        .map(|word| word.trim_matches([',', ':']))
        .collect();
    let report = |what: &str, at: usize| Some(format!("{what} at {:?} in {sentence:?}", words[at]));
    if !sentence.starts_with(char::is_uppercase) || words.iter().any(|word| word.is_empty()) {
        return report("beginning or spaces", 0);
    }
    if sentence.contains(['{', '}', '<', '>', '|', '_']) {
        return report("a rest of a template", 0);
    }
    let last = words[words.len() - 1].to_lowercase();
    let never_last = [
        "a", "i", "v", "ve", "s", "z", "ze", "k", "ke", "na", "do", "o", "u", "po", "za", "pro", "při",
        "bez", "od", "nad", "pod", "jako", "že", "ale", "nebo", "který", "která",
    ];
    if never_last.contains(&last.as_str()) {
        return report("a sentence must not end", words.len() - 1);
    }
    for at in 0..words.len() {
        let word = words[at].to_lowercase();
        if let Some(next) = words.get(at + 1) {
            let next = next.to_lowercase();
            if word == next {
                return report("a doubled word", at);
            }
            let mut letters = next.chars();
            let (first, second) = (letters.next().unwrap(), letters.next().unwrap_or('a'));
            let vowel = |letter: char| "aáeéěiíoóuúůyý".contains(letter);
            let cluster = !vowel(first) && !vowel(second) && !"lrř".contains(second);
            // Vocalisation.
            let wrong = match word.as_str() {
                "v" => "vf".contains(first) || ("szšž".contains(first) && cluster),
                "ve" => {
                    !"vf".contains(first)
                        && !cluster
                        && !["zl", "sl", "měst"].iter().any(|start| next.starts_with(start))
                }
                "s" => "szšž".contains(first),
                "z" => "szšž".contains(first),
                "ze" => !"szšž".contains(first) && !cluster,
                "k" => "kg".contains(first),
                "ke" => !"kg".contains(first) && !cluster,
                _ => false,
            };
            if wrong {
                return report("a preposition before the wrong sound", at);
            }
            // Endings that do not occur in the case that the preposition requires.
            let not: &[&str] = match word.as_str() {
                // Genitive, also after «z» and «ze».
                "do" | "z" | "ze" | "bez" | "od" | "u" | "kolem" => {
                    &["ou", "ami", "emi", "ách", "ému", "ým", "ům", "ovi", "ami"]
                }
                // Dative.
                "k" | "ke" => &["ého", "ých", "ách", "ou", "ami"],
                // Locative; «o» and «po» as well in these texts.
                "v" | "ve" | "při" => &["ého", "ému", "ým", "ům", "ami", "ovi"],
                // Instrumental.
                "s" | "nad" => &["ého", "ému", "ých", "ách", "ům", "ovi", "ek", "á"],
                // Accusative.
                "pro" => &["ého", "ému", "ých", "ách", "ům", "ovi", "ým", "ami"],
                _ => &[],
            };
            if not.iter().any(|ending| next.ends_with(ending)) {
                return report("the wrong case after a preposition", at);
            }
        }
        // Past participles. The subject is always the user, except in clauses such as «jak se rodina sejde», which
        // contain none.
        let nouns_in_l = [
            "fotbal",
            "hokejbal",
            "volejbal",
            "nohejbal",
            "basketbal",
            "futsal",
            "florbal",
            "skal",
            "metal",
            "za",
            "kotel",
            "bedel",
            "přátel",
            "vozidel",
            "pochvala",
            "díl",
        ];
        if !nouns_in_l.contains(&word.as_str()) {
            let man = ["al", "il", "el", "ěl", "yl", "šel"]
                .iter()
                .any(|ending| word.ends_with(ending));
            let lady = ["ala", "ila", "ěla", "yla", "šla"]
                .iter()
                .any(|ending| word.ends_with(ending));
            let subject = at == 0 || words[at].starts_with(char::is_lowercase);
            if subject && ((man && woman) || (lady && !woman)) {
                return report("a participle of the other gender", at);
            }
        }
        let other = if woman {
            [
                "rád",
                "ho",
                "mu",
                "něm",
                "něj",
                "němu",
                "ním",
                "manželkou",
                "přítelkyní",
                "student",
                "důchodce",
            ]
        } else {
            [
                "ráda",
                "ji",
                "jí",
                "ní",
                "ni",
                "manželem",
                "přítelem",
                "studentka",
                "důchodkyně",
                "sama",
                "spokojená",
            ]
        };
        if other.contains(&word.as_str()) {
            return report("a word of the other gender", at);
        }
        // Adjectives after «je»: the last word, or two words that are joined by «a».
        let after_je = at > 0
            && words[at - 1].to_lowercase() == "je"
            && words.get(at + 1).is_none_or(|next| *next == "a");
        let after_and =
            at > 2 && words[at - 3].to_lowercase() == "je" && words[at - 1] == "a" && at + 1 == words.len();
        if (after_je || after_and) && word.ends_with(if woman { 'ý' } else { 'á' }) {
            return report("an adjective of the other gender", at);
        }
    }
    None
}

#[test]
fn sentences_are_correct_czech_and_agree_with_the_user() {
    let mut checked = 0;
    let mut participles = 0;
    'people: for user in PEOPLE.iter() {
        let agrees = |sentence: &str| {
            // The given name, the town and the region of the text are those of the user.
            sentence
                .split("v obci ")
                .nth(1)
                .is_none_or(|rest| rest.starts_with(user.line.city.as_str()))
                && sentence
                    .split("ve městě ")
                    .nth(1)
                    .is_none_or(|rest| rest.starts_with(user.line.city.as_str()))
        };
        let description = &user.line.description;
        assert!(
            sentences(description)
                .next()
                .unwrap()
                .split(' ')
                .any(|word| word == user.given),
            "{description}"
        );
        for sentence in sentences(description) {
            // Names of towns do not follow the rules for words.
            let text = sentence.replace(user.line.city.as_str(), "Lhota");
            if let Some(fault) = fault(&text, user.woman) {
                panic!("{fault}");
            }
            assert!(agrees(sentence), "{sentence}: {}", user.line.city);
            participles += usize::from(text.contains("pracoval"));
            checked += 1;
            if checked == 100_000 {
                break 'people;
            }
        }
        for (forms, region) in [
            (
                &[
                    "v Jihočeském kraji",
                    "v jižních Čechách",
                    "z Jihočeského kraje",
                    "z jižních Čech",
                ],
                "Jihočeský kraj",
            ),
            (
                &[
                    "na Vysočině",
                    "z Vysočiny",
                    "v Kraji Vysočina",
                    "z Kraje Vysočina",
                ],
                "Kraj Vysočina",
            ),
            (
                &[
                    "ve Zlínském kraji",
                    "na Zlínsku",
                    "ze Zlínského kraje",
                    "ze Zlínska",
                ],
                "Zlínský kraj",
            ),
        ] {
            let named = forms.iter().any(|form| description.contains(form));
            assert!(!named || user.line.administrative_unit == region, "{description}");
        }
        let pensioner = is(&user.line.jobs[0], &["důchodce", "důchodkyně"]);
        assert!(!description.contains("v důchodu") || pensioner, "{description}");
        assert!(!description.contains("vnouč") || user.age >= 58, "{description}");
        for job in ["pracuje jako ", "živí se jako ", "povoláním je "] {
            if let Some((_, rest)) = description.split_once(job) {
                assert!(
                    rest.starts_with(user.line.jobs[0].as_str()),
                    "{description} {:?}",
                    user.line.jobs
                );
            }
        }
    }
    assert!(participles > 5_000, "{participles} participles were checked");
    for (sentence, woman) in [
        ("Bydlí v Varech", false),
        ("Bydlí ve Praze", false),
        ("Jede s synem", false),
        ("Žije do vodou", false),
        ("Pracoval jako účetní", true),
        ("Ráda čte čte knihy", true),
        ("Ráda čte", false),
        ("Bydlí u", true),
        ("Je veselý a milá", true),
        ("Mluví s hezkého domu", false),
        ("Sedí v starém domě", false),
    ] {
        assert!(
            fault(sentence, woman).is_some(),
            "the checker misses {sentence:?}"
        );
    }
}
