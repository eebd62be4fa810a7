//! Compares the answer key with the data: for each effect that a manifest lists, a query looks for it, and the report
//! says whether it was found.
//!
//! Counts alone would not be enough: any data has orders on Mondays. Where the count does not show the effect, a factor
//! is compared as well, so that data without the effect can be distinguished from data with it.

use anyhow::{Result, bail};
use datagen_core::model::planted::MAX_LISTED;
use serde_json::Value as Json;

use super::charts::grouped;
use super::facts::{Answer, Tables};
use super::figures::{INCIDENTS, MISSING_DAYS};

/// An effect of the answer key, and the result of looking for it.
pub(super) struct Finding {
    /// The kind of the manifest that lists the effect.
    pub(super) kind: String,
    pub(super) effect: String,
    /// How many occurrences were planted.
    pub(super) count: f64,
    /// The count with the name of what is counted.
    pub(super) planted: String,
    /// What the query found.
    pub(super) found: String,
    pub(super) verdict: Verdict,
    pub(super) sql: String,
    pub(super) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Found,
    NotFound,
    /// This part of the data contains no occurrences.
    NonePlanted,
}

/// How the answer of a query is compared with the answer key.
#[derive(Clone, Copy)]
enum Rule {
    /// The column `found` equals the count.
    Count,
    /// The column `found` is between these fractions of the count: not every occurrence is visible.
    Part(f64, f64),
    /// The column `factor` is within this range; the text says what the factor refers to.
    Factor(f64, f64, &'static str),
    /// Both `found` and `factor` are compared; the range of `factor` is widened by the statistical uncertainty of the
    /// number of records found.
    CountAndFactor(f64, f64, &'static str),
    /// The column `found` is at least half of the ids that this parameter lists.
    HalfOf(&'static str),
    /// The ids in the column `found`: at least the first fraction of them are in the parameter, and at least the second
    /// fraction of the parameter's ids are among them.
    Ids(&'static str, f64, f64),
    /// The days in the column `day` are those of the parameter `days`.
    Days,
    /// The prices are those of the parameter `prices`, for at least half of its products.
    Prices,
    /// There is a row for each incident, and the sum of this column is at least this fraction of the count.
    Incidents(&'static str, f64),
}

/// The manifest's kind, the effect, its query and its rule. In a query, `[KIND.EFFECT.PARAMETER]` stands for the ids
/// that a manifest lists.
type Effect = (&'static str, &'static str, &'static str, Rule);

const UNLIMITED: f64 = f64::INFINITY;

#[rustfmt::skip]
const EFFECTS: [Effect; 39] = [
    ("users", "best_customers", BEST_USERS, Rule::HalfOf("most_active")),
    ("vipusers", "vip", VIPS, Rule::Factor(3.0, UNLIMITED, "times the orders of another user")),
    ("products", "popularity", POPULAR, Rule::HalfOf("most_popular")),
    ("products", "shelf", SAME_SHELF, Rule::Factor(1.3, UNLIMITED, "times as often after one of the ten best sellers")),
    ("products", "price", PRICES, Rule::Prices),
    ("products", "lemon", LEMONS, Rule::Ids("products", 0.5, 0.4)),
    ("products", "pair", PAIR, Rule::Ids("products", 1.0, 1.0)),
    // If an order is late by less than the time to the previous one, this is not visible.
    ("orders", "late_order", LATE_ORDERS, Rule::Part(0.8, 1.0)),
    ("orders", "outage", MISSING_DAYS, Rule::Days),
    ("orders", "black_friday", BLACK_FRIDAY, Rule::CountAndFactor(2.0, 4.5, "times another Friday of November")),
    ("orders", "quiet_day", QUIET_DAYS, Rule::CountAndFactor(0.1, 0.5, "of a day of the week before")),
    ("orders", "payday", PAYDAYS, Rule::CountAndFactor(1.04, 1.2, "times another day")),
    ("orders", "fourth_quarter", FOURTH_QUARTER, Rule::CountAndFactor(1.15, 1.7, "times an average quarter")),
    ("orders", "monday", MONDAYS, Rule::CountAndFactor(1.2, 1.5, "times an average day")),
    ("orders", "saturday", SATURDAYS, Rule::CountAndFactor(0.45, 0.65, "of an average day")),
    ("orders", "best_customers", BEST_CUSTOMERS, Rule::Count),
    ("orders", "pair_first", PAIR_FIRST, Rule::Count),
    ("orders", "pair", PAIR_ORDERS, Rule::Count),
    ("orders", "same_shelf", SAME_SHELF, Rule::Factor(1.3, UNLIMITED, "times as often after one of the ten best sellers")),
    ("orders", "favourite_shelf", FAVOURITE_SHELF, Rule::Factor(1.3, UNLIMITED, "times as often if bought there before")),
    ("stream", "empty_address", EMPTY_ADDRESSES, Rule::Count),
    ("stream", "latency_outlier", OUTLIERS, Rule::Count),
    ("stream", "star_rating", STAR_RATINGS, Rule::Count),
    // The answer key also counts late star ratings, of which there are few.
    ("stream", "late", LATE_MESSAGES, Rule::Part(0.95, 1.0)),
    ("stream", "duplicate", DUPLICATES, Rule::Count),
    // Sessions with a single pageview do not show that they belong to an incident.
    ("stream", "incident", INCIDENTS, Rule::Incidents("sessions", 0.6)),
    ("stream", "incident_outlier", INCIDENTS, Rule::Incidents("outliers", 0.85)),
    ("stream", "robot", ROBOTS, Rule::Count),
    ("stream", "other_browser", OTHER_BROWSERS, Rule::Factor(0.08, 0.2, "of the sessions of frequent visitors")),
    ("stream", "other_address", OTHER_ADDRESSES, Rule::Factor(0.02, 0.08, "of the sessions of frequent visitors")),
    ("stream", "suspicious_method", SUSPICIOUS_METHODS, Rule::Count),
    ("stream", "basket", BASKETS, Rule::Count),
    ("stream", "checkout", CHECKOUTS, Rule::Count),
    ("stream", "product_latency", SLOWEST, Rule::Ids("slowest", 0.5, 0.5)),
    ("stream", "lemon", LEMON_VIEWS, Rule::Count),
    ("stream", "rating_after_lemon", AFTER_LEMONS, Rule::Count),
    ("stream", "bad_rating_after_lemon", BAD_AFTER_LEMONS, Rule::CountAndFactor(2.0, UNLIMITED, "times as often as otherwise")),
    ("stream", "rating_after_outliers", AFTER_OUTLIERS, Rule::Count),
    ("stream", "bad_rating_after_outliers", BAD_AFTER_OUTLIERS, Rule::CountAndFactor(1.5, UNLIMITED, "times as often as otherwise")),
];

const BEST_USERS: &str = "WITH buyer AS (
    SELECT userId, row_number() OVER (ORDER BY COUNT(*) DESC, userId) AS place FROM orders GROUP BY userId
)
SELECT COUNT(*) AS found FROM buyer
WHERE place <= (SELECT COUNT(*) / 100.0 FROM users) AND userId IN ([users.best_customers.most_active])";

const VIPS: &str = "SELECT round(1.0 * COUNT(orderId) FILTER (WHERE vipusers.id IS NOT NULL)
             / COUNT(DISTINCT users.id) FILTER (WHERE vipusers.id IS NOT NULL)
             / (1.0 * COUNT(orderId) FILTER (WHERE vipusers.id IS NULL)
                / COUNT(DISTINCT users.id) FILTER (WHERE vipusers.id IS NULL)), 2) AS factor
FROM users LEFT JOIN vipusers ON vipusers.id = users.id LEFT JOIN orders ON orders.userId = users.id";

const POPULAR: &str = "WITH sold AS (
    SELECT productId, row_number() OVER (ORDER BY COUNT(*) DESC, productId) AS place FROM items GROUP BY productId
)
SELECT COUNT(*) AS found FROM sold
WHERE place <= (SELECT COUNT(*) / 50.0 FROM products) AND productId IN ([products.popularity.most_popular])";

const SAME_SHELF: &str = "WITH best AS (
    SELECT productId FROM items GROUP BY productId ORDER BY COUNT(*) DESC, productId LIMIT 10
), item AS (
    SELECT orderId, rowId, CASE WHEN productId IN (SELECT productId FROM best) THEN 1.0 ELSE 0.0 END AS is_best FROM items
)
SELECT round(AVG(later.is_best) FILTER (WHERE opening.is_best = 1)
             / AVG(later.is_best) FILTER (WHERE opening.is_best = 0), 2) AS factor
FROM item AS opening JOIN item AS later ON later.orderId = opening.orderId AND opening.rowId = 1 AND later.rowId > 1";

const FAVOURITE_SHELF: &str = "WITH best AS (
    SELECT productId FROM items GROUP BY productId ORDER BY COUNT(*) DESC, productId LIMIT 10
), opening AS (
    SELECT userId, orders.orderId, CASE WHEN productId IN (SELECT productId FROM best) THEN 1.0 ELSE 0.0 END AS is_best
    FROM orders JOIN items ON items.orderId = orders.orderId AND items.rowId = 1
), following AS (
    SELECT is_best, lag(is_best) OVER (PARTITION BY userId ORDER BY orderId) AS previous FROM opening
)
SELECT round(AVG(is_best) FILTER (WHERE previous = 1) / AVG(is_best) FILTER (WHERE previous = 0), 2) AS factor
FROM following";

const PRICES: &str = "WITH single AS (
    SELECT orderId, MIN(productId) AS product FROM items GROUP BY orderId HAVING COUNT(*) = 1
)
SELECT product, MIN(orderValue) AS lowest, MAX(orderValue) AS highest
FROM single JOIN orders ON orders.orderId = single.orderId
WHERE product IN ([products.price.prices]) GROUP BY product ORDER BY product";

const LEMONS: &str = "WITH seen AS (
    SELECT DISTINCT stars.event_id, product_id, CASE WHEN stars <= 2 THEN 1 ELSE 0 END AS is_bad
    FROM stars JOIN pageviews ON pageviews.session_id = stars.session_id JOIN pages ON pages.uri = pageviews.uri
), product AS (
    SELECT product_id, COUNT(*) AS ratings, SUM(is_bad) AS bad FROM seen GROUP BY product_id
), everything AS (
    SELECT AVG(CASE WHEN stars <= 2 THEN 1.0 ELSE 0.0 END) AS share FROM stars
)
SELECT product_id AS found, ratings, bad FROM product CROSS JOIN everything
WHERE ratings >= 5 AND bad - ratings * share > 3 * sqrt(ratings * share * (1 - share))
ORDER BY bad DESC, product_id";

const PAIR: &str = "WITH item AS (
    SELECT DISTINCT orderId, productId FROM items
), product AS (
    SELECT productId, COUNT(*) AS orders FROM item GROUP BY productId
), pair AS (
    SELECT a.productId AS one, b.productId AS other, COUNT(*) AS together
    FROM item AS a JOIN item AS b ON b.orderId = a.orderId AND b.productId > a.productId GROUP BY one, other
    HAVING COUNT(*) >= (SELECT COUNT(*) / 500.0 FROM orders)
), best AS (
    SELECT one, other, together * 1.0 * (SELECT COUNT(*) FROM orders) / f.orders / s.orders AS lift
    FROM pair JOIN product AS f ON f.productId = one JOIN product AS s ON s.productId = other
    ORDER BY lift DESC LIMIT 1
)
SELECT one AS found, round(lift, 1) AS lift FROM best UNION ALL SELECT other, round(lift, 1) FROM best";

const LATE_ORDERS: &str = "SELECT COUNT(*) AS found
FROM (SELECT orderDate, MAX(orderDate) OVER (ORDER BY orderId) AS latest FROM orders) AS arrival
WHERE orderDate < latest";

const BLACK_FRIDAY: &str = "WITH friday AS (
    SELECT strftime('%Y-%m-%d', orderDate) AS day, COUNT(*) AS orders,
           CASE WHEN strftime('%d', orderDate) BETWEEN '23' AND '29' THEN 1 ELSE 0 END AS is_black
    FROM orders WHERE strftime('%m', orderDate) = '11' AND strftime('%w', orderDate) = '5' GROUP BY 1, 3
)
SELECT SUM(orders) FILTER (WHERE is_black = 1) AS found,
       round(AVG(1.0 * orders) FILTER (WHERE is_black = 1) / AVG(orders) FILTER (WHERE is_black = 0), 2) AS factor
FROM friday";

const QUIET_DAYS: &str = "SELECT SUM(CASE WHEN strftime('%d', orderDate) IN ('24', '25') THEN 1 ELSE 0 END) AS found,
       round(SUM(CASE WHEN strftime('%d', orderDate) IN ('24', '25') THEN 1 ELSE 0 END) / 2.0
             / (SUM(CASE WHEN strftime('%d', orderDate) BETWEEN '17' AND '23' THEN 1 ELSE 0 END) / 7.0), 2) AS factor
FROM orders WHERE strftime('%m', orderDate) = '12'";

const PAYDAYS: &str = "SELECT SUM(CASE WHEN strftime('%d', orderDate) BETWEEN '12' AND '16' THEN 1 ELSE 0 END) AS found,
       round(SUM(CASE WHEN strftime('%d', orderDate) BETWEEN '12' AND '16' THEN 1 ELSE 0 END) / 5.0
             / (SUM(CASE WHEN strftime('%d', orderDate) BETWEEN '05' AND '11'
                           OR strftime('%d', orderDate) BETWEEN '17' AND '23' THEN 1 ELSE 0 END) / 14.0), 3) AS factor
FROM orders";

const FOURTH_QUARTER: &str =
    "SELECT SUM(CASE WHEN strftime('%m', orderDate) >= '10' THEN 1 ELSE 0 END) AS found,
       round(4.0 * AVG(CASE WHEN strftime('%m', orderDate) >= '10' THEN 1.0 ELSE 0.0 END), 2) AS factor
FROM orders";

const MONDAYS: &str = "SELECT SUM(CASE WHEN strftime('%w', orderDate) = '1' THEN 1 ELSE 0 END) AS found,
       round(7.0 * AVG(CASE WHEN strftime('%w', orderDate) = '1' THEN 1.0 ELSE 0.0 END), 2) AS factor
FROM orders";

const SATURDAYS: &str = "SELECT SUM(CASE WHEN strftime('%w', orderDate) = '6' THEN 1 ELSE 0 END) AS found,
       round(7.0 * AVG(CASE WHEN strftime('%w', orderDate) = '6' THEN 1.0 ELSE 0.0 END), 2) AS factor
FROM orders";

const BEST_CUSTOMERS: &str = "SELECT COUNT(*) AS found FROM orders JOIN vipusers ON vipusers.id = userId
WHERE rank <= (SELECT floor(COUNT(*) / 100) FROM users)";

const PAIR_FIRST: &str =
    "SELECT COUNT(DISTINCT orderId) AS found FROM items WHERE productId IN ([orders.pair_first.product])";

const PAIR_ORDERS: &str = "SELECT COUNT(*) AS found FROM (
    SELECT orderId FROM items WHERE productId IN ([orders.pair.products])
    GROUP BY orderId HAVING COUNT(DISTINCT productId) = 2
) AS both_products";

const EMPTY_ADDRESSES: &str = "SELECT COUNT(*) AS found FROM pageviews WHERE client_ip = ''";

const OUTLIERS: &str = "SELECT COUNT(*) AS found FROM pageviews WHERE latency >= 500";

const STAR_RATINGS: &str = "SELECT COUNT(*) AS found FROM stars";

const LATE_MESSAGES: &str = "SELECT COUNT(DISTINCT event_id) AS found
FROM (SELECT event_id, epoch_ms(event_time) AS happened, MAX(epoch_ms(event_time)) OVER (ORDER BY arrival) AS latest
      FROM pageview_messages) AS message
WHERE happened < latest - 45000";

const DUPLICATES: &str = "SELECT (SELECT COUNT(*) - COUNT(DISTINCT event_id) FROM pageview_messages)
     + (SELECT COUNT(*) - COUNT(DISTINCT event_id) FROM star_messages) AS found";

const ROBOTS: &str = "SELECT COUNT(*) AS found
FROM (SELECT COUNT(*) AS views, MAX(epoch_ms(event_time)) - MIN(epoch_ms(event_time)) AS duration
      FROM pageviews GROUP BY session_id) AS visit
WHERE views >= 20 AND duration < (views - 1) * 2000";

const OTHER_BROWSERS: &str = "WITH visit AS (
    SELECT user_id, session_id, MAX(user_agent) AS browser FROM pageviews
    WHERE lower(user_agent) NOT LIKE '%bot%' GROUP BY user_id, session_id
), used AS (
    SELECT user_id, browser, COUNT(*) AS sessions FROM visit GROUP BY user_id, browser
), visitor AS (
    SELECT SUM(sessions) AS sessions, MAX(sessions) AS usual FROM used GROUP BY user_id HAVING SUM(sessions) >= 5
)
SELECT round(1 - 1.0 * SUM(usual) / SUM(sessions), 3) AS factor FROM visitor";

const OTHER_ADDRESSES: &str = "WITH visit AS (
    SELECT user_id, session_id, MAX(client_ip) AS address FROM pageviews
    WHERE lower(user_agent) NOT LIKE '%bot%' AND client_ip <> '' GROUP BY user_id, session_id
), used AS (
    SELECT user_id, address, COUNT(*) AS sessions FROM visit GROUP BY user_id, address
), visitor AS (
    SELECT SUM(sessions) AS sessions, MAX(sessions) AS usual FROM used GROUP BY user_id HAVING SUM(sessions) >= 5
)
SELECT round(1 - 1.0 * SUM(usual) / SUM(sessions), 3) AS factor FROM visitor";

const SUSPICIOUS_METHODS: &str =
    "SELECT COUNT(*) AS found FROM pageviews WHERE http_method IN ('DELETE', 'TRACE', 'CONNECT')";

const BASKETS: &str = "SELECT COUNT(*) AS found FROM pageviews WHERE uri LIKE '%/kosik'";

const CHECKOUTS: &str = "SELECT COUNT(*) AS found FROM pageviews WHERE uri LIKE '%/pokladna'";

const SLOWEST: &str = "WITH view AS (
    SELECT product_id, latency FROM pageviews JOIN pages ON pages.uri = pageviews.uri WHERE latency < 500
), product AS (
    SELECT product_id, AVG(latency) AS mean,
           sqrt((AVG(latency * latency) - AVG(latency) * AVG(latency)) / (COUNT(*) - 1)) AS standard_error
    FROM view GROUP BY product_id HAVING COUNT(*) > 1
)
SELECT product_id AS found, round(mean - (SELECT AVG(latency) FROM view), 1) AS slower_by_ms
FROM product ORDER BY mean - standard_error DESC LIMIT 10";

const LEMON_VIEWS: &str = "SELECT COUNT(*) AS found FROM pageviews JOIN pages ON pages.uri = pageviews.uri
WHERE product_id IN ([stream.lemon.products])";

/// The rated sessions, with whether they included a lemon, how many outliers they had, and whether the rating is bad.
macro_rules! rated {
    ($select:literal) => {
        concat!(
            "WITH rated AS (
    SELECT MAX(CASE WHEN product_id IN ([stream.lemon.products]) THEN 1 ELSE 0 END) AS lemon,
           SUM(CASE WHEN latency >= 500 THEN 1 ELSE 0 END) AS outliers,
           MAX(CASE WHEN stars <= 2 THEN 1.0 ELSE 0.0 END) AS is_bad
    FROM stars JOIN pageviews ON pageviews.session_id = stars.session_id
    LEFT JOIN pages ON pages.uri = pageviews.uri GROUP BY stars.event_id
)
",
            $select
        )
    };
}

const AFTER_LEMONS: &str = rated!("SELECT COUNT(*) AS found FROM rated WHERE lemon = 1");

const BAD_AFTER_LEMONS: &str = rated!(
    "SELECT CAST(SUM(is_bad) FILTER (WHERE lemon = 1) AS integer) AS found,
       round(AVG(is_bad) FILTER (WHERE lemon = 1) / AVG(is_bad) FILTER (WHERE lemon = 0 AND outliers < 2), 1) AS factor
FROM rated"
);

const AFTER_OUTLIERS: &str = rated!("SELECT COUNT(*) AS found FROM rated WHERE lemon = 0 AND outliers >= 2");

const BAD_AFTER_OUTLIERS: &str = rated!(
    "SELECT CAST(SUM(is_bad) FILTER (WHERE lemon = 0 AND outliers >= 2) AS integer) AS found,
       round(AVG(is_bad) FILTER (WHERE lemon = 0 AND outliers >= 2)
             / AVG(is_bad) FILTER (WHERE lemon = 0 AND outliers < 2), 1) AS factor
FROM rated"
);

/// Looks for every effect that a manifest lists, in the order of the manifests.
///
/// # Errors
/// If a manifest lists an effect that is unknown here, or if a query fails.
pub(super) fn findings(tables: &Tables, manifests: &[Json]) -> Result<Vec<Finding>> {
    let mut findings = vec![];
    for manifest in manifests {
        let kind = manifest["kind"].as_str().unwrap_or_default();
        for planted in manifest["planted"].as_array().into_iter().flatten() {
            let effect = planted["effect"].as_str().unwrap_or_default();
            let known = EFFECTS.iter().find(|known| (known.0, known.1) == (kind, effect));
            let Some(&(_, _, template, rule)) = known else {
                bail!("the manifest of {kind} lists the effect {effect}, for which the report has no query");
            };
            let (sql, is_capped) = fill(template, manifests);
            let answer = tables.query(&sql)?;
            let (found, is_found) = judge(rule, planted, is_capped, &answer);
            let count = planted["count"].as_f64().unwrap_or(0.0);
            let counted = planted["parameters"]["counted"].as_str().unwrap_or("of them");
            let is_nothing = count == 0.0 && !matches!(rule, Rule::Days);
            findings.push(Finding {
                kind: kind.to_owned(),
                effect: effect.to_owned(),
                count,
                planted: format!("{} {counted}", grouped(count, 0)),
                found,
                verdict: match (is_nothing, is_found) {
                    (true, _) => Verdict::NonePlanted,
                    (_, true) => Verdict::Found,
                    (_, false) => Verdict::NotFound,
                },
                sql,
                answer,
            });
        }
    }
    Ok(findings)
}

/// Replaces the names of parameters by their ids, and returns whether one of these lists may be only the first part of
/// a longer one.
fn fill(template: &str, manifests: &[Json]) -> (String, bool) {
    let (mut sql, mut is_capped) = (String::new(), false);
    let mut rest = template;
    while let Some((before, name, after)) = rest
        .split_once('[')
        .and_then(|(before, rest)| rest.split_once(']').map(|(name, after)| (before, name, after)))
    {
        let mut parts = name.split('.');
        let mut part = || parts.next().unwrap_or_default();
        let (kind, effect, parameter) = (part(), part(), part());
        let planted = manifests.iter().filter(|manifest| manifest["kind"] == kind);
        let mut planted = planted.flat_map(|manifest| manifest["planted"].as_array().into_iter().flatten());
        let listed = planted.find(|planted| planted["effect"] == effect);
        let ids = listed.map_or(vec![], |planted| ids(&planted["parameters"][parameter]));
        is_capped |= ids.len() >= MAX_LISTED;
        sql += before;
        // In SQL, a list must not be empty.
        sql += &if ids.is_empty() {
            "NULL".to_owned()
        } else {
            ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
        };
        rest = after;
    }
    (sql + rest, is_capped)
}

/// Returns the ids in a parameter: a number, a list of numbers, or a list of objects that have a `product`.
fn ids(parameter: &Json) -> Vec<i64> {
    match parameter {
        Json::Array(list) => list.iter().flat_map(ids).collect(),
        Json::Object(entry) => entry.get("product").map_or(vec![], ids),
        number => number.as_i64().into_iter().collect(),
    }
}

/// Returns what was found, in words, and whether it matches what was planted.
fn judge(rule: Rule, planted: &Json, is_capped: bool, answer: &Answer) -> (String, bool) {
    let count = planted["count"].as_f64().unwrap_or(0.0);
    let parameters = &planted["parameters"];
    let within = |number: f64, from: f64, to: f64| from <= number && number <= to;
    let found = |column: &str| {
        let number = answer.number(column);
        if number.is_nan() { 0.0 } else { number }
    };
    let is_count = |found: f64| {
        if is_capped {
            within(found, 0.4 * count, count)
        } else {
            found == count
        }
    };
    let factor = |from, to, text| {
        let factor = answer.number("factor");
        (format!("{} {text}", grouped(factor, 2)), within(factor, from, to))
    };
    match rule {
        Rule::Count => (grouped(found("found"), 0), is_count(found("found"))),
        Rule::Part(from, to) => {
            let found = found("found");
            (grouped(found, 0), within(found, from * count, to * count))
        }
        Rule::Factor(from, to, text) => factor(from, to, text),
        Rule::CountAndFactor(from, to, text) => {
            let found = found("found");
            // Three standard deviations of a count.
            let chance = 3.0 / found.max(1.0).sqrt();
            let (factor, is_factor) = factor(from * (1.0 - chance), to * (1.0 + chance), text);
            (
                format!("{}: {factor}", grouped(found, 0)),
                is_count(found) && is_factor,
            )
        }
        Rule::HalfOf(parameter) => {
            let (found, listed) = (found("found"), ids(&parameters[parameter]).len() as f64);
            (
                format!("{found} of the first {listed}"),
                found * 2.0 >= listed && found > 0.0,
            )
        }
        Rule::Ids(parameter, precision, recall) => {
            let listed = ids(&parameters[parameter]);
            let found = answer.numbers("found");
            let right = found.iter().filter(|id| listed.contains(&(**id as i64))).count() as f64;
            let is_found = right >= precision * found.len() as f64 && right >= recall * listed.len() as f64;
            let mut text = format!("{right} of {}", listed.len());
            if found.len() as f64 > right {
                text += &format!(", and {} that were not", found.len() as f64 - right);
            }
            (text, is_found && right > 0.0)
        }
        Rule::Days => {
            let days: Vec<_> = parameters["days"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
                .collect();
            let found = answer.texts("day");
            let text = if found.is_empty() {
                "no missing day".to_owned()
            } else {
                found.join(", ")
            };
            (text, found == days)
        }
        Rule::Prices => {
            let listed: Vec<_> = parameters["prices"].as_array().into_iter().flatten().collect();
            let prices = answer
                .numbers("lowest")
                .into_iter()
                .zip(answer.numbers("highest"));
            let products = answer.numbers("product");
            let right = prices.zip(&products).filter(|&((lowest, highest), &product)| {
                let listed = listed
                    .iter()
                    .find(|listed| listed["product"].as_f64() == Some(product));
                lowest == highest && listed.is_some_and(|listed| listed["price"].as_f64() == Some(lowest))
            });
            let right = right.count();
            let text = format!("{right} of {} prices", listed.len());
            (
                text,
                right == products.len() && right * 2 >= listed.len() && right > 0,
            )
        }
        Rule::Incidents(column, part) => {
            let sum: f64 = answer.numbers(column).iter().sum();
            let text = format!("{} in {} incidents", grouped(sum, 0), answer.rows.len());
            (text, within(sum, part * count, count) && sum > 0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_parameters_are_replaced_by_their_ids() {
        let manifest = json!({"kind": "stream", "planted": [
            {"effect": "lemon", "parameters": {"products": [7, 9]}, "count": 3},
            {"effect": "product_latency", "parameters": {"slowest": [{"product": 5, "page": "p"}]}, "count": 3},
        ]});
        let fill = |template| fill(template, std::slice::from_ref(&manifest)).0;
        assert_eq!(fill("IN ([stream.lemon.products]) OR"), "IN (7, 9) OR");
        assert_eq!(fill("IN ([stream.product_latency.slowest])"), "IN (5)");
        assert_eq!(fill("IN ([orders.lemon.products])"), "IN (NULL)");
    }

    #[test]
    fn an_answer_must_agree_with_the_key() {
        use rusqlite::types::Value;

        let answer = |column: &str, value: Value| Answer {
            columns: vec![column.to_owned()],
            rows: vec![vec![value]],
        };
        let planted = json!({"count": 10, "parameters": {"products": [1, 2], "days": ["2023-03-21"]}});
        let is_found = |rule, answer: &Answer| judge(rule, &planted, false, answer).1;
        assert!(is_found(Rule::Count, &answer("found", Value::Integer(10))));
        assert!(!is_found(Rule::Count, &answer("found", Value::Integer(9))));
        assert!(is_found(
            Rule::Part(0.9, 1.0),
            &answer("found", Value::Integer(9))
        ));
        assert!(!is_found(
            Rule::Part(0.9, 1.0),
            &answer("found", Value::Integer(11))
        ));
        let factor = Rule::Factor(2.0, 3.0, "times");
        assert!(is_found(factor, &answer("factor", Value::Real(2.5))));
        assert!(!is_found(factor, &answer("factor", Value::Real(1.0))));
        assert!(!is_found(factor, &answer("factor", Value::Null)));
        let half = Rule::Ids("products", 1.0, 0.5);
        assert!(is_found(half, &answer("found", Value::Integer(2))));
        assert!(!is_found(half, &answer("found", Value::Integer(3))));
        assert!(is_found(
            Rule::Days,
            &answer("day", Value::Text("2023-03-21".to_owned()))
        ));
        assert!(!is_found(
            Rule::Days,
            &answer("day", Value::Text("2023-03-22".to_owned()))
        ));
    }
}
