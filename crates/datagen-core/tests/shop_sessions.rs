//! Measures the effects in the sessions of the profile `shop` on pageviews and star ratings as consumers see them,
//! with the amount of data of three days of one source. Each bound must fail on sessions of the profile `uniform`,
//! which must remain uniform.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::LazyLock;

use chrono::NaiveDate;
use datagen_core::model::Profile;
use datagen_core::model::order::{OrderRange, Orders};
use datagen_core::model::session::{HTTP_METHODS, Sessions};
use datagen_core::world::World;

const SESSIONS: u64 = 32_000;
const USERS: u64 = 20_000;
const PRODUCTS: u64 = 1_000;

/// A pageview as consumers see it.
struct PageviewJson {
    session: u64,
    user: u64,
    method: &'static str,
    path: String,
    /// The id of the product, if the page belongs to one.
    product: Option<u64>,
    address: Option<String>,
    agent: &'static str,
    latency: f64,
    offset_ms: u32,
}

struct Rating {
    session: u64,
    stars: u8,
    offset_ms: u32,
}

struct Data {
    pageviews: Vec<PageviewJson>,
    ratings: Vec<Rating>,
    sessions: u64,
}

fn make(profile: Profile, sessions: u64, users: u64, products: u64) -> Data {
    let all = Sessions::new(profile, 1, users - 1, products - 1);
    let mut data = Data {
        pageviews: vec![],
        ratings: vec![],
        sessions,
    };
    for id in 0..sessions {
        let session = all.get(id);
        for pageview in session.pageviews() {
            let uri = pageview.uri.to_string();
            let path = uri.strip_prefix("https://www.obchod.example").unwrap();
            let product = path
                .strip_prefix("/produkt/")
                .map(|rest| rest.split('/').next().unwrap().parse().unwrap());
            data.pageviews.push(PageviewJson {
                session: id,
                user: session.user_id,
                method: pageview.http_method(),
                path: path.to_owned(),
                product,
                address: pageview.client_ip.map(|ip| ip.to_string()),
                agent: session.user_agent.as_str(),
                latency: f64::from(pageview.latency.micros) / 1_000.0,
                offset_ms: pageview.offset_ms,
            });
        }
        if let Some(rating) = session.stars {
            data.ratings.push(Rating {
                session: id,
                stars: rating.stars,
                offset_ms: rating.offset_ms,
            });
        }
    }
    data
}

static SHOP: LazyLock<Data> = LazyLock::new(|| make(Profile::Shop, SESSIONS, USERS, PRODUCTS));
static UNIFORM: LazyLock<Data> = LazyLock::new(|| make(Profile::Uniform, SESSIONS, USERS, PRODUCTS));
static WORLD: LazyLock<World> = LazyLock::new(|| World::new(USERS, PRODUCTS));

/// Asserts that the result of `measure` is within the bounds for the profile `shop` and outside them for `uniform`.
fn differs<T: PartialOrd + Debug>(what: &str, bounds: Range<T>, measure: impl Fn(&Data) -> T) {
    let (shop, uniform) = (measure(&SHOP), measure(&UNIFORM));
    assert!(bounds.contains(&shop), "{what}: {shop:?}, not in {bounds:?}");
    assert!(
        !bounds.contains(&uniform),
        "{what} of uniform sessions: {uniform:?}, in {bounds:?}"
    );
}

fn share<'a, T: 'a>(of: impl IntoIterator<Item = &'a T>, which: impl Fn(&T) -> bool) -> f64 {
    let (mut all, mut found) = (0.0, 0.0);
    for item in of {
        all += 1.0;
        found += f64::from(u8::from(which(item)));
    }
    found / all
}

/// Asserts that `found` is within five standard deviations of the expected binomial count.
fn assert_share(what: &str, found: usize, of: usize, expected: f64) {
    let mean = of as f64 * expected;
    let deviation = (mean * (1.0 - expected)).sqrt();
    assert!(
        (found as f64 - mean).abs() < 5.0 * deviation,
        "{what}: {found} of {of}, expected {mean}"
    );
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    sum / count
}

/// The largest distance between the empirical distribution of the values and a cumulative distribution function.
fn kolmogorov_smirnov(mut values: Vec<f64>, cumulative: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let distances = (0..).zip(&values).map(|(index, &value)| {
        let expected = cumulative(value);
        (expected - f64::from(index) / count)
            .abs()
            .max((expected - f64::from(index + 1) / count).abs())
    });
    distances.fold(0.0, f64::max)
}

/// The cumulative normal distribution: Marsaglia's series (2004).
fn normal(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return f64::from(u8::from(x > 0.0));
    }
    let (mut sum, mut term, mut k) = (x, x, 1.0);
    while sum + term != sum {
        k += 2.0;
        term *= x * x / k;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

fn by_session(data: &Data) -> Vec<Vec<&PageviewJson>> {
    let mut sessions: Vec<Vec<&PageviewJson>> = (0..data.sessions).map(|_| vec![]).collect();
    for pageview in &data.pageviews {
        sessions[pageview.session as usize].push(pageview);
    }
    sessions
}

fn is_robot(pageview: &PageviewJson) -> bool {
    pageview.agent.contains("bot")
}

#[test]
fn the_marginal_distributions_are_those_of_both_profiles() {
    for data in [&*SHOP, &*UNIFORM] {
        let pageviews = &data.pageviews;
        let count = |of: &dyn Fn(&&PageviewJson) -> bool| pageviews.iter().filter(of).count();
        let empty = count(&|pageview| pageview.address.is_none());
        assert_share("empty addresses", empty, pageviews.len(), 0.01);
        assert_share("star ratings", data.ratings.len(), SESSIONS as usize, 0.02);

        let outliers: Vec<_> = pageviews
            .iter()
            .map(|p| p.latency)
            .filter(|&ms| ms >= 500.0)
            .collect();
        // Outliers are concentrated in incidents, so their number varies more than that of independent ones.
        let share = outliers.len() as f64 / pageviews.len() as f64;
        assert!((0.0085..0.0115).contains(&share), "{share} are outliers");
        let distance = kolmogorov_smirnov(outliers.clone(), |ms| (ms - 500.0) / 4_500.0);
        assert!(
            distance < 1.95 / (outliers.len() as f64).sqrt(),
            "outliers: {distance}"
        );

        let usual: Vec<_> = pageviews
            .iter()
            .map(|p| p.latency)
            .filter(|&ms| ms < 500.0)
            .collect();
        assert!(usual.len() >= 300_000, "{}", usual.len());
        let distance = kolmogorov_smirnov(usual, |ms| normal((ms - 200.0) / 50.0));
        assert!(distance < 0.01, "latencies: {distance}");

        let lengths: HashSet<_> = by_session(data).iter().map(Vec::len).collect();
        assert_eq!(lengths, (1..=30).collect());
        let methods: HashSet<_> = pageviews.iter().map(|pageview| pageview.method).collect();
        assert_eq!(methods.len(), HTTP_METHODS.len());
        let of_products = count(&|pageview| pageview.product.is_some());
        assert!(of_products > pageviews.len() / 2, "most pages are of products");
    }
}

#[test]
fn latencies_stay_normal_in_shops_of_any_size() {
    for products in [1, 2, 3, 16, 17, 100] {
        let data = make(Profile::Shop, 30_000, 100, products);
        let usual: Vec<_> = data
            .pageviews
            .iter()
            .map(|p| p.latency)
            .filter(|&ms| ms < 500.0)
            .collect();
        let distance = kolmogorov_smirnov(usual, |ms| normal((ms - 200.0) / 50.0));
        assert!(distance < 0.01, "{products} products: {distance}");
    }
}

#[test]
fn sessions_are_shorter_and_take_their_time() {
    differs("pageviews per session", 9.5..11.5, |data| {
        data.pageviews.len() as f64 / data.sessions as f64
    });
    differs("the median time on a page in seconds", 12.0..18.0, |data| {
        let mut times: Vec<_> = by_session(data)
            .iter()
            .filter(|session| !is_robot(session[0]))
            .flat_map(|session| {
                session
                    .windows(2)
                    .map(|pair| pair[1].offset_ms - pair[0].offset_ms)
            })
            .collect();
        times.sort_unstable();
        f64::from(times[times.len() / 2]) / 1_000.0
    });
    differs("the least delay of a rating in seconds", 5.0..30.0, |data| {
        let sessions = by_session(data);
        let delays = data
            .ratings
            .iter()
            .map(|rating| rating.offset_ms - sessions[rating.session as usize].last().unwrap().offset_ms);
        f64::from(delays.min().unwrap()) / 1_000.0
    });
    for session in by_session(&SHOP) {
        assert_eq!(session[0].offset_ms, 0);
        assert!(session.is_sorted_by_key(|pageview| pageview.offset_ms));
    }
}

#[test]
fn pages_and_methods_follow_the_way_of_a_buyer() {
    differs("product pages that are requested by GET", 0.94..0.99, |data| {
        share(
            data.pageviews.iter().filter(|p| p.product.is_some()),
            |pageview| pageview.method == "GET",
        )
    });
    differs("baskets that are sent by POST", 0.75..0.85, |data| {
        share(data.pageviews.iter().filter(|p| p.path == "/kosik"), |pageview| {
            pageview.method == "POST"
        })
    });
    differs("suspicious methods", 0.0015..0.0045, |data| {
        share(&data.pageviews, |pageview| {
            ["DELETE", "TRACE", "CONNECT"].contains(&pageview.method)
        })
    });
    differs("checkouts right after a basket", 1.0..1.1, |data| {
        let (mut checkouts, mut after_basket) = (0.0, 0.0);
        for session in by_session(data) {
            for index in 0..session.len() {
                if session[index].path == "/pokladna" {
                    checkouts += 1.0;
                    let before = index.checked_sub(1).map(|index| session[index].path.as_str());
                    after_basket += f64::from(u8::from(before == Some("/kosik")));
                }
            }
        }
        after_basket / checkouts
    });
    differs("sessions of people with a checkout", 0.10..0.15, |data| {
        let sessions = by_session(data);
        let people: Vec<_> = sessions.iter().filter(|session| !is_robot(session[0])).collect();
        share(people.iter().copied(), |session| {
            session.iter().any(|pageview| pageview.path == "/pokladna")
        })
    });
}

#[test]
fn robots_crawl_and_never_check_out() {
    let sessions = by_session(&SHOP);
    let (robots, people): (Vec<_>, Vec<_>) = sessions.iter().partition(|session| is_robot(session[0]));
    assert_share("robots", robots.len(), sessions.len(), 0.01);
    assert!(robots.iter().all(|session| session.len() >= 20));
    let paths = |paths: &[&str]| {
        robots
            .iter()
            .flat_map(|session| session.iter())
            .any(|p| paths.contains(&p.path.as_str()))
    };
    assert!(!paths(&["/pokladna", "/kosik", "/ucet"]));
    differs("robots that check out", 0.0..1e-9, |data| {
        let sessions = by_session(data);
        let robots: Vec<_> = sessions.iter().filter(|session| is_robot(session[0])).collect();
        share(robots.iter().copied(), |session| {
            session.iter().any(|p| p.path == "/pokladna")
        })
    });
    // Robots are faster than any person and view different products.
    let pace = |sessions: &[&Vec<&PageviewJson>]| {
        mean(
            sessions
                .iter()
                .filter(|s| s.len() > 1)
                .map(|s| f64::from(s[s.len() - 1].offset_ms) / (s.len() - 1) as f64),
        )
    };
    assert!(pace(&robots) * 10.0 < pace(&people));
    assert!(
        SHOP.ratings
            .iter()
            .all(|rating| !is_robot(sessions[rating.session as usize][0]))
    );
}

#[test]
fn users_keep_their_browser_and_address() {
    let distinct = |data: &Data, of: &dyn Fn(&PageviewJson) -> Option<String>| {
        let mut users: HashMap<u64, (HashSet<u64>, Vec<String>)> = HashMap::new();
        for session in by_session(data) {
            let Some(first) = session.iter().find(|p| !is_robot(p) && p.address.is_some()) else {
                continue;
            };
            let user = users.entry(first.user).or_default();
            user.0.insert(first.session);
            user.1.extend(of(first));
        }
        let frequent = users.values().filter(|(sessions, _)| sessions.len() >= 3);
        mean(frequent.map(|(_, values)| {
            // The share of sessions that have the user's most frequent value.
            let mut counts: HashMap<&String, f64> = HashMap::new();
            values
                .iter()
                .for_each(|value| *counts.entry(value).or_default() += 1.0);
            counts.values().fold(0.0, |a: f64, b| a.max(*b)) / values.len() as f64
        }))
    };
    differs("sessions with a user's usual browser", 0.80..0.95, |data| {
        distinct(data, &|pageview| Some(pageview.agent.to_owned()))
    });
    differs("sessions from a user's usual address", 0.90..0.98, |data| {
        distinct(data, &|pageview| pageview.address.clone())
    });
}

#[test]
fn people_buy_what_they_look_at() {
    // Because of the favourite shelves, this holds even when the activity of each user and the popularity of each
    // product are taken into account.
    differs(
        "bought pairs of user and product, in those by chance",
        1.3..10.0,
        |data| {
            let profile = if std::ptr::eq(data, &*SHOP) {
                Profile::Shop
            } else {
                Profile::Uniform
            };
            let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
            let range = OrderRange {
                user_max_id: USERS - 1,
                product_max_id: PRODUCTS - 1,
                dates: day(2016)..day(2026),
            };
            let orders = Orders::new(profile, 7, 100_000, &range);
            let mut bought: HashSet<(u64, u64)> = HashSet::new();
            let mut buyers: HashMap<u64, f64> = HashMap::new();
            let mut buys: HashMap<u64, f64> = HashMap::new();
            for id in 1..=100_000 {
                let order = orders.get(id);
                for &product in order.items() {
                    if bought.insert((order.user_id as u64, product as u64)) {
                        *buyers.entry(order.user_id as u64).or_default() += 1.0;
                        *buys.entry(product as u64).or_default() += 1.0;
                    }
                }
            }
            let seen: HashSet<(u64, u64)> = data
                .pageviews
                .iter()
                .filter_map(|pageview| Some((pageview.user, pageview.product?)))
                .collect();
            let matches = seen.intersection(&bought).count() as f64;
            // The number of matches if the products that a user buys did not depend on those that the user views.
            let expected: f64 = seen
                .iter()
                .map(|(user, product)| {
                    let of_user = buyers.get(user).copied().unwrap_or(0.0);
                    let of_product = buys.get(product).copied().unwrap_or(0.0);
                    of_user * of_product / bought.len() as f64
                })
                .sum();
            matches / expected
        },
    );
}

#[test]
fn latency_depends_on_the_product() {
    differs("the intraclass correlation of latency", 0.20..0.30, |data| {
        let mut products: HashMap<u64, Vec<f64>> = HashMap::new();
        for pageview in &data.pageviews {
            if let Some(product) = pageview.product.filter(|_| pageview.latency < 500.0) {
                products.entry(product).or_default().push(pageview.latency);
            }
        }
        let groups: Vec<_> = products.into_values().filter(|group| group.len() >= 10).collect();
        let count: f64 = groups.iter().map(|group| group.len() as f64).sum();
        let all = mean(groups.iter().flatten().copied());
        let (mut between, mut within) = (0.0, 0.0);
        for group in &groups {
            let of_group = mean(group.iter().copied());
            between += group.len() as f64 * (of_group - all).powi(2);
            within += group.iter().map(|value| (value - of_group).powi(2)).sum::<f64>();
        }
        let classes = groups.len() as f64;
        let (between, within) = (between / (classes - 1.0), within / (count - classes));
        let squares: f64 = groups.iter().map(|group| (group.len() as f64).powi(2)).sum();
        let size = (count - squares / count) / (classes - 1.0);
        (between - within) / (between + (size - 1.0) * within)
    });
    // The mean latencies of the products show the planted effects.
    let mut products: HashMap<u64, Vec<f64>> = HashMap::new();
    for pageview in SHOP.pageviews.iter().filter(|p| p.latency < 500.0) {
        if let Some(product) = pageview.product {
            products.entry(product).or_default().push(pageview.latency);
        }
    }
    for (product, latencies) in products.iter().filter(|(_, latencies)| latencies.len() >= 500) {
        let effect = WORLD.catalogue.latency_effect_millis(*product);
        let found = mean(latencies.iter().copied()) - 200.0;
        assert!(
            (found - effect).abs() < 10.0,
            "{product}: {found}, planted {effect}"
        );
    }
}

#[test]
fn half_of_the_outliers_come_in_incidents() {
    let outliers =
        |session: &Vec<&PageviewJson>| session.iter().filter(|p| p.latency >= 500.0).count() as f64;
    differs(
        "the variance of outliers per session, in their mean",
        2.0..6.0,
        |data| {
            let counts: Vec<_> = by_session(data).iter().map(outliers).collect();
            let mean_count = mean(counts.iter().copied());
            mean(counts.iter().map(|count| (count - mean_count).powi(2))) / mean_count
        },
    );
    differs("the outliers in the worst 8 sessions of 800", 0.4..0.7, |data| {
        let sessions = by_session(data);
        let (mut all, mut worst) = (0.0, 0.0);
        for run in sessions.chunks(800) {
            let counts: Vec<_> = run.iter().map(outliers).collect();
            all += counts.iter().sum::<f64>();
            worst += counts
                .windows(8)
                .map(|run| run.iter().sum::<f64>())
                .fold(0.0, f64::max);
        }
        worst / all
    });
}

#[test]
fn ratings_are_j_shaped_and_bad_after_lemons_and_outliers() {
    differs("ratings of 5", 0.40..0.60, |data| {
        share(&data.ratings, |rating| rating.stars == 5)
    });
    differs("ratings of 1, in those of 2", 1.5..4.0, |data| {
        share(&data.ratings, |rating| rating.stars == 1) / share(&data.ratings, |rating| rating.stars == 2)
    });
    let is_bad = |rating: &&Rating| rating.stars <= 2;
    let bad_share = |data: &Data, which: &dyn Fn(&Vec<&PageviewJson>) -> bool| {
        let sessions = by_session(data);
        let ratings: Vec<_> = data
            .ratings
            .iter()
            .filter(|r| which(&sessions[r.session as usize]))
            .collect();
        share(&ratings, is_bad)
    };
    let lemon = |session: &Vec<&PageviewJson>| {
        session
            .iter()
            .any(|pageview| pageview.product.is_some_and(|id| WORLD.catalogue.is_lemon(id)))
    };
    let slow = |session: &Vec<&PageviewJson>| session.iter().filter(|p| p.latency >= 500.0).count() >= 2;
    differs("bad ratings after a lemon", 0.50..0.80, |data| {
        bad_share(data, &lemon)
    });
    differs("bad ratings after any other session", 0.05..0.20, |data| {
        bad_share(data, &|session| !lemon(session) && !slow(session))
    });
    // Rated sessions with several outliers are rare, so a larger run is needed.
    let data = make(Profile::Shop, 200_000, USERS, PRODUCTS);
    let after_outliers = bad_share(&data, &|session| slow(session) && !lemon(session));
    assert!((0.25..0.65).contains(&after_outliers), "{after_outliers}");
    let lemons = by_session(&SHOP).iter().filter(|session| lemon(session)).count() as f64;
    let share = lemons / SESSIONS as f64;
    assert!(
        (0.05..0.30).contains(&share),
        "{share} of the sessions include a lemon"
    );
}

#[test]
fn lemons_can_be_found_in_the_ratings() {
    // Products whose sessions received many more bad ratings than others: more than 3 standard deviations above the
    // mean.
    let suspects = |data: &Data| -> HashSet<u64> {
        let sessions = by_session(data);
        let mut products: HashMap<u64, (f64, f64)> = HashMap::new();
        let bad = share(&data.ratings, |rating| rating.stars <= 2);
        for rating in &data.ratings {
            let seen = &sessions[rating.session as usize];
            let seen: HashSet<_> = seen.iter().filter_map(|pageview| pageview.product).collect();
            for product in seen {
                let (all, of_bad) = products.entry(product).or_default();
                *all += 1.0;
                *of_bad += f64::from(u8::from(rating.stars <= 2));
            }
        }
        let found = products.into_iter().filter(|(_, (all, of_bad))| {
            *all >= 8.0 && (of_bad - all * bad) / (all * bad * (1.0 - bad)).sqrt() > 3.0
        });
        found.map(|(product, _)| product).collect()
    };
    let lemons: HashSet<_> = WORLD.catalogue.lemons().collect();
    let found = |data: &Data| suspects(data).intersection(&lemons).count();
    let all = suspects(&SHOP).len();
    assert!(
        found(&SHOP) >= 3 && found(&SHOP) * 2 >= all,
        "{} of {all} suspects",
        found(&SHOP)
    );
    assert!(found(&UNIFORM) <= 1);
}

#[test]
fn any_numbers_of_users_and_products_work() {
    for (users, products) in [(1, 1), (1, 2), (2, 16), (100, 17), (1 << 31, 1 << 31)] {
        let data = make(Profile::Shop, 2_000, users, products);
        assert!(data.pageviews.iter().all(|pageview| pageview.user < users));
        assert!(
            data.pageviews
                .iter()
                .filter_map(|pageview| pageview.product)
                .all(|id| id < products)
        );
    }
}
