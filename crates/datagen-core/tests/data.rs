//! Checks that the data make sense, on the records that consumers read. The rules are stated here independently of
//! the code that generates the data.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use datagen_core::locale::advertisement::Category;
use datagen_core::locale::person::REFERENCE_DATE;
use datagen_core::model::Profile;
use datagen_core::model::product::Products;
use datagen_core::model::session::{OTHER_PAGES, Sessions};
use datagen_core::model::user::Users;
use datagen_core::text::TextBuf;
use datagen_core::world::Catalogue;
use serde_json::Value;

const USERS: u64 = 120_000;

/// The rows of a list in `data/`.
fn list(name: &str) -> Vec<Vec<String>> {
    let path = format!("{}/data/{name}.tsv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

fn column(rows: &[Vec<String>], column: usize) -> HashSet<&str> {
    rows.iter().map(|row| row[column].as_str()).collect()
}

/// Users as consumers read them.
fn users() -> impl Iterator<Item = Value> {
    let users = Users::new(0, USERS);
    let mut line = TextBuf::default();
    (0..USERS).map(move |id| {
        line.clear();
        users.get(id).write_json_line(&mut line);
        serde_json::from_slice(line.as_bytes()).unwrap()
    })
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} of {record}"))
}

/// The text in lower case, without the diacritics of Czech and of neighbouring languages.
fn ascii(text: &str) -> String {
    let from = "áäčćďéěëíľĺňóôöřŕšťúůüýž";
    let to = "aaccdeeeillnooorrstuuuyz";
    let plain = |c: char| {
        from.chars()
            .position(|f| f == c)
            .map_or(c, |i| to.as_bytes()[i] as char)
    };
    text.to_lowercase().chars().map(plain).collect()
}

#[test]
fn the_encoder_and_serde_json_write_the_same_bytes() {
    let (users, products) = (Users::new(3, 5_000), Products::new(3, 5_000));
    let sessions = Profile::ALL.map(|profile| Sessions::new(profile, 3, 9, 9));
    for id in 0..5_000 {
        let mut out = TextBuf::default();
        let user = users.get(id);
        user.write_json_line(&mut out);
        assert_eq!(
            std::str::from_utf8(out.as_bytes()).unwrap(),
            serde_json::to_string(&user).unwrap() + "\n"
        );

        out.clear();
        let product = products.get(id);
        product.write_json_line(&mut out);
        assert_eq!(
            std::str::from_utf8(out.as_bytes()).unwrap(),
            serde_json::to_string(&product).unwrap() + "\n"
        );

        let session = sessions[(id % 2) as usize].get(id);
        for pageview in session.pageviews() {
            out.clear();
            session.write_pageview_json(&pageview, &mut out);
            let value: Value = serde_json::from_slice(out.as_bytes()).unwrap();
            assert_eq!(value["user_id"], session.user_id);
            assert_eq!(value["http_method"], pageview.http_method());
            assert_eq!(value["uri"], pageview.uri.to_string());
            assert_eq!(
                value["client_ip"],
                pageview.client_ip.map_or(String::new(), |ip| ip.to_string())
            );
            assert_eq!(value["user_agent"], session.user_agent.as_str());
            assert_eq!(value["latency"], serde_json::to_value(pageview.latency).unwrap());
        }
    }
}

#[test]
fn user_lines_have_the_fields_in_their_order() {
    let fields = [
        "id",
        "name",
        "city",
        "street_address",
        "phone_number",
        "birth_number",
        "user_name",
        "administrative_unit",
        "description",
        "jobs",
    ];
    let mut line = TextBuf::default();
    Users::new(0, 6).get(5).write_json_line(&mut line);
    let line = std::str::from_utf8(line.as_bytes()).unwrap();
    let places = fields.map(|field| line.find(&format!("\"{field}\":")).unwrap());
    assert!(places.is_sorted() && line.starts_with("{\"id\":5,"), "{line}");
    assert_eq!(
        serde_json::from_str::<Value>(line)
            .unwrap()
            .as_object()
            .unwrap()
            .len(),
        fields.len()
    );
    assert!(!line.contains('\\'), "UTF-8, not escapes: {line}");
}

#[test]
fn every_city_is_in_its_region_and_all_municipalities_of_the_list_occur() {
    let regions: HashMap<_, _> = list("regions")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let municipalities = list("municipalities");
    let places: HashSet<_> = municipalities
        .iter()
        .map(|row| (row[0].as_str(), regions[&row[1]].as_str()))
        .collect();
    let extended = municipalities.iter().filter(|row| row[3] == "orp").count();
    assert_eq!(extended, 205, "municipalities with extended powers");
    assert_eq!(regions.len(), 14);

    let mut seen = HashSet::new();
    for user in users() {
        let place = (text(&user, "city"), text(&user, "administrative_unit"));
        assert!(places.contains(&place), "{place:?}");
        seen.insert((place.0.to_owned(), place.1.to_owned()));
    }
    let towns = municipalities
        .iter()
        .filter(|row| row[2].parse::<u32>().unwrap() > 5_000);
    for town in towns {
        assert!(
            seen.contains(&(town[0].clone(), regions[&town[1]].clone())),
            "no inhabitants in {}",
            town[0]
        );
    }
}

#[test]
fn names_agree_in_gender_with_each_other_and_with_the_birth_number_and_the_jobs() {
    let (male, female) = (list("given_names_male"), list("given_names_female"));
    let (male, female) = (column(&male, 0), column(&female, 0));
    let (surnames, occupations) = (list("surnames"), list("occupations"));
    let (before_titles, after_titles) = (list("degrees"), list("titles_after"));
    let surnames = [column(&surnames, 0), column(&surnames, 1)];
    let mut occupations = [column(&occupations, 0), column(&occupations, 1)];
    occupations[0].extend(["student", "důchodce"]);
    occupations[1].extend(["studentka", "důchodkyně"]);
    let (before_titles, after_titles) = (column(&before_titles, 1), column(&after_titles, 0));
    for user in users() {
        let name = text(&user, "name");
        let (name, after) = name
            .split_once(", ")
            .map_or((name, None), |(name, title)| (name, Some(title)));
        assert!(after.is_none_or(|title| after_titles.contains(title)), "{user}");
        let mut words: Vec<_> = name.split(' ').collect();
        let (surname, given) = (words.pop().unwrap(), words.pop().unwrap());
        let before = words.join(" ");
        assert!(
            before.is_empty() || before_titles.contains(before.as_str()),
            "{user}"
        );

        let month: u32 = text(&user, "birth_number")[2..4].parse().unwrap();
        let is_woman = month > 50;
        let given_names = if is_woman { &female } else { &male };
        assert!(given_names.contains(given), "{user}");
        assert!(surnames[usize::from(is_woman)].contains(surname), "{user}");

        let jobs: HashSet<_> = user["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job.as_str().unwrap())
            .collect();
        assert_eq!(jobs.len(), 3, "{user}");
        assert!(
            jobs.iter()
                .all(|job| occupations[usize::from(is_woman)].contains(job)),
            "{user}"
        );

        let user_name = text(&user, "user_name");
        assert!(
            user_name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.'),
            "{user}"
        );
        let (given, surname) = (ascii(given), ascii(surname));
        let initial = &given[..1];
        let stem = user_name.trim_end_matches(|c: char| c.is_ascii_digit());
        let forms = [
            format!("{given}.{surname}"),
            format!("{surname}.{given}"),
            format!("{given}{surname}"),
            format!("{initial}{surname}"),
            format!("{surname}{initial}"),
        ];
        assert!(forms.iter().any(|form| form == stem), "{user}");
    }
}

#[test]
fn birth_numbers_are_valid_and_of_adults() {
    for user in users() {
        let number = text(&user, "birth_number");
        let (date, serial) = number.split_once('/').unwrap();
        let part = |range: std::ops::Range<usize>| date[range].parse::<u32>().unwrap();
        let month = part(2..4);
        let month = if month > 50 { month - 50 } else { month };
        // Nine digits mean a birth before 1954. Ten digits mean 1954 to 2053; years in the future do not occur.
        let year = match (serial.len(), part(0..2) as i32) {
            (3, year) => 1900 + year,
            (4, year @ 54..) => 1900 + year,
            (4, year) => 2000 + year,
            _ => panic!("{user}"),
        };
        assert!(serial.len() == 4 || year < 1954, "{user}");
        let date = NaiveDate::from_ymd_opt(year, month, part(4..6)).unwrap_or_else(|| panic!("{user}"));
        let age = REFERENCE_DATE
            .years_since(date)
            .unwrap_or_else(|| panic!("{user}"));
        assert!((18..=90).contains(&age), "{age}: {user}");
        if serial.len() == 4 {
            let number: u64 = number.replace('/', "").parse().unwrap();
            assert_eq!(number % 11, 0, "{user}");
        }
    }
}

#[test]
fn phone_numbers_are_valid_and_fixed_lines_are_of_the_region() {
    let regions: HashMap<_, _> = list("regions")
        .into_iter()
        .map(|row| (row[1].clone(), row[0].clone()))
        .collect();
    let landlines = list("landline_prefixes");
    let landlines: HashSet<_> = landlines
        .iter()
        .map(|row| (row[0].as_str(), row[1].as_str()))
        .collect();
    let mut fixed = 0;
    for user in users() {
        let phone = text(&user, "phone_number");
        let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
        let national = if phone.starts_with('+') {
            digits.strip_prefix("420").unwrap()
        } else {
            digits.strip_prefix("00420").unwrap_or(&digits)
        };
        assert_eq!(national.len(), 9, "{user}");
        let prefix: u32 = national[..3].parse().unwrap();
        if !matches!(prefix, 601..=608 | 702..=705 | 720..=739 | 770..=779 | 790..=799) {
            fixed += 1;
            let region = regions[text(&user, "administrative_unit")].as_str();
            assert!(landlines.contains(&(region, &national[..3])), "{user}");
        }
    }
    assert!(fixed > 2_000, "{fixed} fixed lines");
}

#[test]
fn products_are_described_by_an_article_of_their_shelf() {
    let count = 24 * 16 * 10;
    let catalogue = Catalogue::new(count);
    let products = Products::new(1, count);
    let shelves = list("shelves");
    let parts = |category: &str, part: &str| -> HashSet<&str> {
        let row = shelves.iter().find(|row| row[0] == category && row[2] == part);
        row.map_or(HashSet::new(), |row| row[3].split("; ").collect())
    };
    let adjectives: Vec<Vec<&str>> = parts("-", "a")
        .iter()
        .map(|forms| forms.split('/').collect())
        .collect();
    let mut by_shelf: HashMap<u64, HashSet<String>> = HashMap::new();
    let mut different = HashSet::new();
    for id in 0..count {
        let product = products.get(id);
        let text = product.description.to_string();
        let shelf = catalogue.shelf_of_product(id);
        let category = Category::of_shelf(shelf);
        // The parts are an adjective, an article of the same gender, a use in the category, and a service.
        let (rest, service) = text.strip_suffix('.').unwrap().rsplit_once(", ").unwrap();
        assert!(parts("-", "s").contains(service), "{text}");
        let article_with_use = adjectives.iter().find_map(|forms| {
            forms.iter().enumerate().find_map(|(gender, form)| {
                let rest = rest
                    .to_lowercase()
                    .strip_prefix(*form)
                    .and_then(|rest| rest.strip_prefix(' '))
                    .map(str::len)?;
                let tail = &text[text.find(", ").unwrap() - rest..text.find(", ").unwrap()];
                let fits = parts(category.slug(), ["m", "f", "n", "p"][gender])
                    .iter()
                    .any(|article| {
                        tail.strip_prefix(*article)
                            .is_some_and(|usage| parts(category.slug(), "t").contains(usage.trim()))
                    });
                fits.then_some(())
            })
        });
        assert!(
            article_with_use.is_some(),
            "{text} on a shelf of {}",
            category.name()
        );
        assert!(
            text.starts_with(char::is_uppercase) && !text.contains("  "),
            "{text}"
        );
        by_shelf
            .entry(shelf)
            .or_default()
            .insert(category.name().to_owned());
        different.insert(text);
    }
    assert_eq!(by_shelf.len() as u64, catalogue.shelf_count());
    assert!(by_shelf.values().all(|categories| categories.len() == 1));
    assert!(
        different.len() as u64 > count * 8 / 10,
        "{} different descriptions",
        different.len()
    );
}

/// Asserts that `found` is within five standard deviations of the expected binomial count.
fn assert_share(what: &str, found: u64, of: u64, expected: f64) {
    let mean = of as f64 * expected;
    let deviation = (mean * (1.0 - expected)).sqrt();
    assert!(
        (found as f64 - mean).abs() < 5.0 * deviation,
        "{what}: {found} of {of}, expected {mean}"
    );
}

#[test]
fn uniform_pageviews_join_products_and_their_anomalies_are_as_frequent_as_promised() {
    const SESSIONS: u64 = 100_000;
    let products = Products::new(77, 500);
    let pages: HashMap<u64, HashSet<String>> = (0..500)
        .map(|id| {
            let product = serde_json::to_value(products.get(id)).unwrap();
            let pages = product["pages"].as_array().unwrap();
            (
                id,
                pages
                    .iter()
                    .map(|page| page.as_str().unwrap().to_owned())
                    .collect(),
            )
        })
        .collect();
    let sessions = Sessions::new(Profile::Uniform, 0, 999, 499);
    let (mut pageviews, mut empty_ips, mut outliers, mut of_products, mut stars) = (0, 0, 0, 0, 0);
    let mut usual_micros = 0_u64;
    let mut methods: HashMap<&str, u64> = HashMap::new();
    let mut users = HashSet::new();
    let mut ratings = [0_u64; 6];
    for id in 0..SESSIONS {
        let session = sessions.get(id);
        assert!((1..=30).contains(&session.pageview_count) && session.user_id <= 999);
        users.insert(session.user_id);
        if let Some(rating) = session.stars {
            stars += 1;
            ratings[usize::from(rating.stars)] += 1;
        }
        for pageview in session.pageviews() {
            pageviews += 1;
            *methods.entry(pageview.http_method()).or_default() += 1;
            match pageview.client_ip {
                Some(ip) => assert_eq!(ip, session.client_ip, "one address a session"),
                None => empty_ips += 1,
            }
            if pageview.latency.is_outlier() {
                assert!(pageview.latency.micros <= 5_000_000);
                outliers += 1;
            } else {
                usual_micros += u64::from(pageview.latency.micros);
            }
            let uri = pageview.uri.to_string();
            let path = uri.strip_prefix("https://www.obchod.example").unwrap();
            if let Some(rest) = path.strip_prefix("/produkt/") {
                let product: u64 = rest.split('/').next().unwrap().parse().unwrap();
                assert!(pages[&product].contains(&uri), "{uri}");
                of_products += 1;
            } else {
                assert!(OTHER_PAGES.contains(&path), "{uri}");
            }
        }
    }
    assert_share("pageviews without an address", empty_ips, pageviews, 0.01);
    assert_share("latency outliers", outliers, pageviews, 0.01);
    assert_share("sessions with stars", stars, SESSIONS, 0.02);
    assert_share("pageviews of products", of_products, pageviews, 0.9);
    assert_share("GET", methods["GET"], pageviews, 34.0 / 64.0);
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ] {
        assert!(methods[method] > pageviews / 100, "{method}");
    }
    let mean = usual_micros as f64 / (pageviews - outliers) as f64;
    assert!((mean - 200_000.0).abs() < 500.0, "the mean latency is {mean} µs");
    assert_eq!(users.len(), 1_000, "user 0 and the highest, too");
    assert!(
        ratings[0] == 0 && ratings[1..].iter().all(|&count| count > 300),
        "{ratings:?}"
    );
}
