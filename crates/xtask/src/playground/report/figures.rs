//! The report's figures: for each, the query, what to look for in its answer, and the chart.

use anyhow::Result;
use chrono::{Datelike, Days, NaiveDate};
use datagen_core::world::calendar;
use maud::{Markup, html};

use super::charts::{self, Frame, Px, Scale, bar, dot, grouped, legend, line, short};
use super::facts::{Answer, Tables};
use super::map;

/// A section of the page.
pub(super) struct Section {
    /// The anchor.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) figures: Vec<Figure>,
}

/// A chart with its title, explanation and query.
pub(super) struct Figure {
    pub(super) title: String,
    /// One sentence.
    pub(super) look_for: String,
    pub(super) chart: Chart,
    pub(super) sql: String,
    pub(super) answer: Answer,
}

/// A chart, in one form for wide screens and one for phones.
pub(super) struct Chart {
    /// Whether it is as wide as the page instead of a column.
    pub(super) is_wide: bool,
    pub(super) broad: Markup,
    /// `None` if the broad form adapts itself.
    pub(super) narrow: Option<Markup>,
}

impl Chart {
    /// Creates a chart as wide as a column.
    fn column(draw: impl Fn(f64) -> Markup) -> Self {
        Self {
            is_wide: false,
            broad: draw(COLUMN),
            narrow: Some(draw(PHONE)),
        }
    }

    /// Creates a chart as wide as the page.
    fn page(draw: impl Fn(f64) -> Markup) -> Self {
        Self {
            is_wide: true,
            broad: draw(PAGE),
            narrow: Some(draw(PHONE)),
        }
    }

    /// Creates a chart that is a table.
    pub(super) fn table(is_wide: bool, table: Markup) -> Self {
        Self {
            is_wide,
            broad: table,
            narrow: None,
        }
    }
}

/// Widths in pixels.
const PAGE: f64 = 940.0;
const COLUMN: f64 = 440.0;
const PHONE: f64 = 330.0;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Returns all figures, except for what was written and the answer key.
pub(super) fn sections(tables: &Tables) -> Result<Vec<Section>> {
    Ok(vec![
        Section {
            id: "country",
            title: "The country",
            figures: vec![towns(tables)?, regions(tables)?, town_sizes(tables)?],
        },
        Section {
            id: "people",
            title: "The people",
            figures: vec![ages(tables)?, names(tables)?],
        },
        Section {
            id: "orders",
            title: "Orders over time",
            figures: vec![months(tables)?, days(tables)?, hours(tables)?],
        },
        Section {
            id: "baskets",
            title: "Products and baskets",
            figures: vec![ranks(tables)?, basket_sizes(tables)?, basket_values(tables)?],
        },
        Section {
            id: "sessions",
            title: "Sessions",
            figures: vec![funnel(tables)?, latency(tables)?],
        },
        Section {
            id: "incidents",
            title: "Incidents and star ratings",
            figures: vec![outliers(tables)?, ratings(tables)?, stars(tables)?],
        },
    ])
}

fn percent(share: f64) -> String {
    format!("{} %", grouped(100.0 * share, 1))
}

fn towns(tables: &Tables) -> Result<Figure> {
    let sql = "SELECT administrative_unit AS region, city, COUNT(*) AS users
FROM users GROUP BY region, city HAVING COUNT(*) >= (SELECT COUNT(*) / 2000.0 FROM users)
ORDER BY users DESC, region, city";
    let answer = tables.query(sql)?;
    let towns: Vec<_> = answer
        .texts("region")
        .into_iter()
        .zip(answer.texts("city"))
        .collect();
    let regions = tables.query(REGIONS)?;
    let regions = regions
        .texts("region")
        .into_iter()
        .zip(regions.numbers("users"))
        .collect();
    let towns: Vec<_> = towns.into_iter().zip(answer.numbers("users")).collect();
    let chart = Chart::column(|width| map::country(width, &regions, &towns));
    Ok(Figure {
        title: "Where users live".to_owned(),
        look_for:
            "Look for the real towns: Praha, Brno, Ostrava and Plzeň are the largest circles, and darker \
                   regions have more users."
                .to_owned(),
        chart,
        sql: sql.to_owned(),
        answer,
    })
}

const REGIONS: &str = "SELECT administrative_unit AS region, COUNT(*) AS users
FROM users GROUP BY region ORDER BY users DESC, region";

fn regions(tables: &Tables) -> Result<Figure> {
    let answer = tables.query(REGIONS)?;
    let users = answer.numbers("users");
    let all: f64 = users.iter().sum();
    let entries: Vec<_> = answer
        .texts("region")
        .into_iter()
        .zip(users)
        .map(|(region, users)| (region.to_owned(), users, percent(users / all)))
        .collect();
    Ok(Figure {
        title: "Users by region".to_owned(),
        look_for: "Look for the shares of the real population: Středočeský kraj has about 13 %, Karlovarský kraj not 3 %."
            .to_owned(),
        chart: Chart::column(|width| charts::bars(width, "Users by region", "a", &entries)),
        sql: REGIONS.to_owned(),
        answer,
    })
}

fn town_sizes(tables: &Tables) -> Result<Figure> {
    let sql = "WITH town AS (
    SELECT COUNT(*) AS users, COUNT(*) * 10500000.0 / (SELECT COUNT(*) FROM users) AS people
    FROM users GROUP BY administrative_unit, city
)
SELECT CASE WHEN people >= 100000 THEN 'over 100 000' WHEN people >= 20000 THEN '20 000 to 100 000'
            WHEN people >= 5000 THEN '5 000 to 20 000' WHEN people >= 2000 THEN '2 000 to 5 000'
            ELSE 'under 2 000' END AS inhabitants,
       COUNT(*) AS towns, SUM(users) AS users
FROM town GROUP BY inhabitants ORDER BY MIN(people) DESC";
    let answer = tables.query(sql)?;
    let users = answer.numbers("users");
    let all: f64 = users.iter().sum();
    let entries: Vec<_> = answer
        .texts("inhabitants")
        .into_iter()
        .zip(users.iter().zip(answer.numbers("towns")))
        .map(|(size, (&users, towns))| {
            (
                size.replace(' ', "\u{a0}"),
                users,
                format!("{} in {}", percent(users / all), grouped(towns, 0)),
            )
        })
        .collect();
    Ok(Figure {
        title: "Users by size of the town".to_owned(),
        look_for: "Look for the country's villages: more than a fifth of users live in one of thousands of small places \
                   (a town's inhabitants are estimated by its share of the users)."
            .to_owned(),
        chart: Chart::column(|width| charts::bars(width, "Share of users by inhabitants, and number of towns", "c", &entries)),
        sql: sql.to_owned(),
        answer,
    })
}

/// The year of birth and the gender of each user.
const BORN: &str = "person AS (
    SELECT name, CAST(substr(birth_number, 1, 2) AS integer) AS yy, CAST(substr(birth_number, 3, 2) AS integer) AS mm
    FROM users
), born AS (
    SELECT name, CASE WHEN yy < 30 THEN 2000 + yy ELSE 1900 + yy END AS year,
           CASE WHEN mm > 50 THEN 'woman' ELSE 'man' END AS gender
    FROM person
)";

fn ages(tables: &Tables) -> Result<Figure> {
    let sql = format!(
        "WITH {BORN}
SELECT CAST(floor((2025 - year) / 5) AS integer) * 5 AS age, gender, COUNT(*) AS users
FROM born GROUP BY age, gender ORDER BY age, gender"
    );
    let answer = tables.query(&sql)?;
    let (ages, users) = (answer.numbers("age"), answer.numbers("users"));
    let most = users.iter().copied().fold(0.0, f64::max);
    let (oldest, youngest) = (
        ages.iter().copied().fold(15.0, f64::max),
        ages.iter().copied().fold(90.0, f64::min),
    );
    const ROW: f64 = 16.0;
    let rows = ((oldest - youngest) / 5.0).max(0.0) + 1.0;
    let draw = |width: f64| {
        let mut frame = Frame::new(width, rows * ROW + 62.0);
        frame.top = 22.0;
        let middle = width / 2.0;
        let (men, women) = (
            Scale::linear(0.0, most, (middle - 26.0, 8.0)),
            Scale::linear(0.0, most, (middle + 26.0, width - 8.0)),
        );
        let y = |age: f64| frame.top + (oldest - age) / 5.0 * ROW;
        let bottom = frame.top + rows * ROW + 4.0;
        frame.svg(
        "Users by age and gender",
        &html! {
            text.name x=(Px(middle - 30.0)) y="14" text-anchor="end" { "men" }
            text.name x=(Px(middle + 30.0)) y="14" { "women" }
            text.tick x=(Px(middle)) y="14" text-anchor="middle" { "age" }
            @for ((age, users), gender) in ages.iter().zip(&users).zip(answer.texts("gender")) {
                @let (class, scale) = if gender == "man" { ("a", men) } else { ("b", women) };
                @let tip = format!("{} of {} to {}: {}", if gender == "man" { "men" } else { "women" }, age, age + 4.0, grouped(*users, 0));
                (bar(class, (scale.at(0.0), scale.at(*users)), (y(*age), y(*age) + ROW - 2.0), &tip))
            }
            @for row in 0..rows as usize {
                @let age = youngest + row as f64 * 5.0;
                text.tick x=(Px(middle)) y=(Px(y(age) + 12.0)) text-anchor="middle" { (format!("{age}–{}", age + 4.0)) }
            }
            @for scale in [men, women] {
                line.base x1=(Px(scale.at(0.0))) x2=(Px(scale.at(most))) y1=(Px(bottom)) y2=(Px(bottom)) {}
                @for value in scale.ticks(3) {
                    text.tick x=(Px(scale.at(value).clamp(16.0, width - 16.0))) y=(Px(bottom + 15.0)) text-anchor="middle" { (short(value)) }
                }
            }
            text.axis x=(Px(middle)) y=(Px(bottom + 31.0)) text-anchor="middle" { "users" }
        },
    )
    };
    Ok(Figure {
        title: "Age and gender".to_owned(),
        look_for: "Look for the large cohorts of the 1970s, the small ones of the late 1990s, and more women than men from 65 on \
                   (15 to 19 holds adults only)."
            .to_owned(),
        chart: Chart::column(draw),
        sql,
        answer,
    })
}

fn names(tables: &Tables) -> Result<Figure> {
    let sql = format!(
        "WITH {BORN}, named AS (
    -- Titles before the name end with a full stop.
    SELECT year - year % 10 AS decade, gender,
           CASE WHEN split_part(name, ' ', 1) NOT LIKE '%.' THEN split_part(name, ' ', 1)
                WHEN split_part(name, ' ', 2) NOT LIKE '%.' THEN split_part(name, ' ', 2)
                WHEN split_part(name, ' ', 3) NOT LIKE '%.' THEN split_part(name, ' ', 3)
                ELSE split_part(name, ' ', 4) END AS first_name
    FROM born
), counted AS (
    SELECT decade, gender, first_name, COUNT(*) AS users,
           row_number() OVER (PARTITION BY decade, gender ORDER BY COUNT(*) DESC, first_name) AS rank
    FROM named GROUP BY decade, gender, first_name
)
SELECT decade, gender, rank, first_name, users FROM counted WHERE rank <= 4 ORDER BY decade, gender DESC, rank"
    );
    let answer = tables.query(&sql)?;
    let (decades, genders) = (answer.numbers("decade"), answer.texts("gender"));
    let (first_names, users) = (answer.texts("first_name"), answer.numbers("users"));
    let mut all_decades = decades.clone();
    all_decades.dedup();
    let of = |decade: f64, gender: &str| -> Vec<(&str, f64)> {
        (0..users.len())
            .filter(|&index| decades[index] == decade && genders[index] == gender)
            .map(|index| (first_names[index], users[index]))
            .collect()
    };
    let chart = html! {
        table.names {
            thead { tr { th { "born" } th { "women" } th { "men" } } }
            tbody {
                @for decade in all_decades {
                    tr {
                        th { (decade) "s" }
                        @for (gender, class) in [("woman", "b"), ("man", "a")] {
                            td {
                                @for (name, users) in of(decade, gender) {
                                    span.(class) data-tip=(format!("{name}, born in the {decade}s: {} users", grouped(users, 0))) { (name) }
                                    " "
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(Figure {
        title: "Most frequent first names by decade of birth".to_owned(),
        look_for:
            "Look for generations: Marie gives way to Jana and Jana to Tereza, Josef to Jiří and Jiří to Jan."
                .to_owned(),
        chart: Chart::table(false, chart),
        sql,
        answer,
    })
}

/// The days on which the shop had hardly any orders, although it was not a quiet season.
pub(super) const MISSING_DAYS: &str = "WITH RECURSIVE daily AS (
    SELECT CAST(floor(epoch_ms(orderDate) / 86400000) AS bigint) AS number, COUNT(*) AS orders
    FROM orders GROUP BY number
), calendar(number) AS (
    SELECT MIN(number) FROM daily
    UNION ALL SELECT number + 1 FROM calendar WHERE number < (SELECT MAX(number) FROM daily)
), complete AS (
    SELECT calendar.number, COALESCE(orders, 0) AS orders FROM calendar LEFT JOIN daily ON daily.number = calendar.number
), compared AS (
    SELECT number, orders, (lag(orders, 7) OVER days + lag(orders, 14) OVER days + lag(orders, 21) OVER days
        + lead(orders, 7) OVER days + lead(orders, 14) OVER days + lead(orders, 21) OVER days) / 6.0 AS usual
    FROM complete WINDOW days AS (ORDER BY number)
)
SELECT strftime('%Y-%m-%d', epoch_ms(number * 86400000)) AS day, orders, round(usual, 1) AS usual
FROM compared WHERE orders < usual / 10 AND usual > 8 ORDER BY day";

/// Returns the missing days.
fn missing_days(tables: &Tables) -> Result<Vec<NaiveDate>> {
    let answer = tables.query(MISSING_DAYS)?;
    Ok(answer
        .texts("day")
        .into_iter()
        .filter_map(|day| day.parse().ok())
        .collect())
}

fn months(tables: &Tables) -> Result<Figure> {
    let sql = "SELECT strftime('%Y-%m', orderDate) AS month, COUNT(*) AS orders
FROM orders GROUP BY month ORDER BY month";
    let answer = tables.query(sql)?;
    let missing = missing_days(tables)?;
    let months: Vec<NaiveDate> = answer
        .texts("month")
        .into_iter()
        .filter_map(|month| format!("{month}-01").parse().ok())
        .collect();
    let orders = answer.numbers("orders");
    let most = orders.iter().copied().fold(0.0, f64::max);
    let position = |day: &NaiveDate| f64::from(day.year()) * 12.0 + f64::from(day.month0());
    let first = months.first().map_or(0.0, position);
    let count = months.last().map_or(1.0, |last| position(last) - first + 1.0);
    let draw = |width| {
        let mut frame = Frame::new(width, 250.0);
        frame.bottom = 26.0;
        let x = Scale::linear(0.0, count, frame.x());
        let y = Scale::linear(0.0, most * 1.08, frame.y());
        let years: Vec<_> = months
            .iter()
            .filter(|day| day.month() == 1)
            .map(|day| (x.at(position(day) - first + 6.0), day.year()))
            .filter(|(_, year)| width > 600.0 || year % 2 == 0)
            .map(|(x, year)| (x, year.to_string()))
            .collect();
        let chart = frame.svg(
            "Orders by month",
            &html! {
                (frame.y_axis(&y, "orders"))
                @for (day, orders) in months.iter().zip(&orders) {
                    @let at = position(day) - first;
                    @let class = match day.month() { 11 => "b", 12 => "c", _ => "a" };
                    @let tip = format!("{} {}: {} orders", MONTHS[day.month0() as usize], day.year(), grouped(*orders, 0));
                    (bar(class, (x.at(at) + 0.5, x.at(at + 1.0) - 0.5), (y.at(0.0), y.at(*orders)), &tip))
                }
                @for day in &missing {
                    @let at = x.at(position(day) - first + f64::from(day.day0()) / 31.0);
                    line.mark x1=(Px(at)) x2=(Px(at)) y1=(Px(frame.top)) y2=(Px(y.at(0.0))) {}
                    (dot("bad", (at, frame.top), 4.0, &format!("{day}: the shop was down")))
                }
                (frame.x_labels(&years, ""))
            },
        );
        html! {
            (chart)
            (legend(&[
                ("b", "November, with Black Friday"),
                ("c", "December, with Advent"),
                ("a", "other months"),
                ("bad", "a missing day"),
            ]))
        }
    };
    Ok(Figure {
        title: "Orders by month".to_owned(),
        look_for: "Look for a third of the orders in each fourth quarter, for growth until 2021, and for the days on which \
                   the shop was down."
            .to_owned(),
        chart: Chart::page(draw),
        sql: sql.to_owned(),
        answer,
    })
}

fn days(tables: &Tables) -> Result<Figure> {
    let last = tables.query("SELECT strftime('%Y', MAX(orderDate)) AS year FROM orders")?;
    let missing = missing_days(tables)?;
    let year = missing.last().map(Datelike::year);
    let year = year
        .or_else(|| last.texts("year").first()?.parse().ok())
        .unwrap_or(2025);
    let sql = format!(
        "SELECT strftime('%Y-%m-%d', orderDate) AS day, COUNT(*) AS orders
FROM orders WHERE strftime('%Y', orderDate) = '{year}' GROUP BY day ORDER BY day"
    );
    let answer = tables.query(&sql)?;
    let counted: std::collections::BTreeMap<&str, f64> = answer
        .texts("day")
        .into_iter()
        .zip(answer.numbers("orders"))
        .collect();
    let date = |month, day| NaiveDate::from_ymd_opt(year, month, day).expect("a day of every year");
    let all: Vec<_> = date(1, 1)
        .iter_days()
        .take_while(|day| day.year() == year)
        .collect();
    let orders = |day: &NaiveDate| counted.get(day.to_string().as_str()).copied().unwrap_or(0.0);
    let most = all.iter().map(&orders).fold(0.0, f64::max);
    let black_friday = calendar::black_friday(year);
    // The fourth Sunday before Christmas.
    let christmas = date(12, 25);
    let advent = christmas - Days::new(u64::from(christmas.weekday().num_days_from_monday()) + 22);
    let draw = |width: f64| {
        let mut frame = Frame::new(width, 250.0);
        (frame.top, frame.bottom) = (36.0, 26.0);
        let x = Scale::linear(0.0, all.len() as f64, frame.x());
        let y = Scale::linear(0.0, most * 1.05, frame.y());
        let at = |day: &NaiveDate| x.at(f64::from(day.ordinal0()) + 0.5);
        let labels: Vec<_> = (1..=12)
            .filter(|month| width > 600.0 || month % 2 == 1)
            .map(|month| (at(&date(month, 15)), MONTHS[month as usize - 1].to_owned()))
            .collect();
        let note = |day: &NaiveDate, class: &str, anchor: &str, level: f64, text: &str| {
            html! {
                line.mark x1=(Px(at(day))) x2=(Px(at(day))) y1=(Px(level + 3.0)) y2=(Px(y.at(0.0))) {}
                text.note x=(Px(at(day))) y=(Px(level)) text-anchor=(anchor) { (text) }
                (dot(class, (at(day), y.at(orders(day))), 3.5, &format!("{text}: {} orders", grouped(orders(day), 0))))
            }
        };
        frame.svg(
            &format!("Orders by day in {year}"),
            &html! {
                (bar("season", (at(&advent), at(&christmas)), frame.y(), "Advent"))
                (frame.y_axis(&y, "orders per day"))
                (line("line a", &all.iter().map(|day| (at(day), y.at(orders(day)))).collect::<Vec<_>>()))
                @for day in missing.iter().filter(|day| day.year() == year) {
                    (note(day, "bad", "start", 14.0, &format!("missing: {} {}", day.day(), MONTHS[day.month0() as usize])))
                }
                (note(&black_friday, "b", "end", 14.0, "Black Friday"))
                (note(&date(12, 24), "c", "end", 30.0, "24 Dec"))
                (frame.x_labels(&labels, ""))
            },
        )
    };
    Ok(Figure {
        title: format!("Orders by day in {year}"),
        look_for: "Look for the weeks (Monday has 2.5 times the orders of Saturday), the peak of Black Friday, the shaded \
                   weeks of Advent, quiet Christmas days, and the missing day."
            .to_owned(),
        chart: Chart::page(draw),
        sql,
        answer,
    })
}

fn hours(tables: &Tables) -> Result<Figure> {
    let sql = "SELECT CAST(strftime('%w', orderDate) AS integer) AS weekday, CAST(strftime('%H', orderDate) AS integer) AS hour,
       COUNT(*) AS orders
FROM orders GROUP BY 1, 2 ORDER BY 1, 2";
    let answer = tables.query(sql)?;
    let orders = answer.numbers("orders");
    let most = orders.iter().copied().fold(1.0, f64::max);
    let cells: Vec<_> = answer
        .numbers("weekday")
        .into_iter()
        .zip(answer.numbers("hour"))
        .zip(orders)
        .map(|((weekday, hour), orders)| ((weekday as usize + 6) % 7, hour, orders))
        .collect();
    let draw = |width: f64| {
        let row = if width > 600.0 { 26.0 } else { 22.0 };
        let mut frame = Frame::new(width, 7.0 * row + 44.0);
        (frame.top, frame.left) = (4.0, 34.0);
        let x = Scale::linear(0.0, 24.0, frame.x());
        let labels: Vec<_> = (0..24)
            .step_by(3)
            .map(|hour| (x.at(f64::from(hour) + 0.5), hour.to_string()))
            .collect();
        frame.svg(
            "Orders by weekday and hour",
            &html! {
                @for (index, name) in WEEKDAYS.iter().enumerate() {
                    text.tick x="2" y=(Px(frame.top + index as f64 * row + row / 2.0 + 4.0)) { (name) }
                }
                @for (weekday, hour, orders) in &cells {
                    @let y = frame.top + *weekday as f64 * row;
                    rect.a x=(Px(x.at(*hour) + 0.5)) y=(Px(y + 0.5)) width=(Px(x.at(1.0) - x.at(0.0) - 1.0)) height=(Px(row - 1.0))
                        fill-opacity=(format!("{:.2}", 0.04 + 0.96 * orders / most))
                        data-tip=(format!("{}, {hour}:00 to {hour}:59: {} orders", WEEKDAYS[*weekday], grouped(*orders, 0))) {}
                }
                (frame.x_labels(&labels, "hour of the day (Prague)"))
            },
        )
    };
    Ok(Figure {
        title: "Orders by weekday and hour".to_owned(),
        look_for:
            "Look for two peaks, at 10 and at 21 o'clock, a busy Monday, and weekends that begin later."
                .to_owned(),
        chart: Chart::page(draw),
        sql: sql.to_owned(),
        answer,
    })
}

fn ranks(tables: &Tables) -> Result<Figure> {
    let sql = "WITH counted AS (
    SELECT 'items' AS what, productId AS product, COUNT(*) AS number FROM items GROUP BY productId
    UNION ALL
    SELECT 'pageviews', product_id, COUNT(*) FROM pageviews JOIN pages ON pages.uri = pageviews.uri GROUP BY product_id
), ranked AS (
    SELECT what, number, row_number() OVER (PARTITION BY what ORDER BY number DESC) AS place FROM counted
)
SELECT what, MIN(place) AS first_rank, MAX(place) AS last_rank, round(AVG(number), 2) AS mean
FROM ranked GROUP BY what, floor(10 * log10(place)) ORDER BY what, first_rank";
    let answer = tables.query(sql)?;
    let (what, means) = (answer.texts("what"), answer.numbers("mean"));
    let (first, last) = (answer.numbers("first_rank"), answer.numbers("last_rank"));
    let most = |numbers: &[f64]| numbers.iter().copied().fold(1.0, f64::max);
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let draw = |width| {
        let frame = Frame::new(width, 280.0);
        let x = Scale::log(1.0, most(&last) * 1.2, frame.x());
        let y = Scale::log(least, most(&means) * 1.5, frame.y());
        let series =
            |name: &str| -> Vec<usize> { (0..what.len()).filter(|&index| what[index] == name).collect() };
        let middle = |index: usize| (first[index] * last[index]).sqrt();
        let chart = frame.svg(
        "Items and pageviews by rank",
        &html! {
            (frame.y_axis(&y, "per product"))
            @for (name, class) in [("items", "a"), ("pageviews", "b")] {
                @let points: Vec<_> = series(name).into_iter().map(|index| (x.at(middle(index)), y.at(means[index]))).collect();
                (line(&format!("line {class}"), &points))
                @for (index, point) in series(name).into_iter().zip(&points) {
                    @let tip = format!("ranks {} to {}: {} {name} each", first[index], last[index], grouped(means[index], 1));
                    (dot(class, *point, 3.0, &tip))
                }
            }
            (frame.x_axis(&x, "rank of the product"))
        },
    );
        html! { (chart) (legend(&[("a", "items sold"), ("b", "pageviews")])) }
    };
    Ok(Figure {
        title: "Products by rank".to_owned(),
        look_for: "Look for a line that bends: both axes are logarithmic, and a Zipf–Mandelbrot law is flat among the best \
                   sellers and straight after them."
            .to_owned(),
        chart: Chart::column(draw),
        sql: sql.to_owned(),
        answer,
    })
}

fn basket_sizes(tables: &Tables) -> Result<Figure> {
    let sql = "SELECT pieces, COUNT(*) AS orders
FROM (SELECT COUNT(*) AS pieces FROM items GROUP BY orderId) AS basket GROUP BY pieces ORDER BY pieces";
    let answer = tables.query(sql)?;
    let (sizes, orders) = (answer.numbers("pieces"), answer.numbers("orders"));
    let all: f64 = orders.iter().sum();
    let entries: Vec<_> = sizes
        .iter()
        .zip(&orders)
        .map(|(size, &orders)| {
            let name = if *size == 1.0 {
                "1 item".to_owned()
            } else {
                format!("{size} items")
            };
            (name, orders, percent(orders / all))
        })
        .collect();
    Ok(Figure {
        title: "Basket sizes".to_owned(),
        look_for: "Look for a mean of three items, with a long tail up to ten.".to_owned(),
        chart: Chart::column(|width| charts::bars(width, "Orders by number of items", "a", &entries)),
        sql: sql.to_owned(),
        answer,
    })
}

/// Draws the bars of a histogram with a logarithmic axis. Each decade has `bins` bins.
fn log_histogram(
    frame: &Frame,
    (x, y): (&Scale, &Scale),
    bins: f64,
    (bin, count): (f64, f64),
    class: &str,
    unit: &str,
) -> Markup {
    let (from, to) = (10f64.powf(bin / bins), 10f64.powf((bin + 1.0) / bins));
    let tip = format!(
        "{} to {} {unit}: {}",
        grouped(from, 0),
        grouped(to, 0),
        grouped(count, 0)
    );
    let base = frame.y().0;
    bar(
        class,
        (x.at(from) + 0.4, x.at(to) - 0.4),
        (base, y.at(count)),
        &tip,
    )
}

fn basket_values(tables: &Tables) -> Result<Figure> {
    let sql = "SELECT CAST(floor(10 * log10(orderValue)) AS integer) AS tenth_of_a_decade, COUNT(*) AS orders
FROM orders GROUP BY tenth_of_a_decade ORDER BY tenth_of_a_decade";
    let answer = tables.query(sql)?;
    let (bins, orders) = (answer.numbers("tenth_of_a_decade"), answer.numbers("orders"));
    let draw = |width| {
        let frame = Frame::new(width, 260.0);
        let x = Scale::log(10.0, 100_000.0, frame.x());
        let y = Scale::linear(0.0, orders.iter().copied().fold(1.0, f64::max) * 1.05, frame.y());
        frame.svg(
            "Orders by value",
            &html! {
                (frame.y_axis(&y, "orders"))
                @for bin in bins.iter().copied().zip(orders.iter().copied()) {
                    (log_histogram(&frame, (&x, &y), 10.0, bin, "a", "CZK"))
                }
                (frame.x_axis(&x, "value in CZK"))
            },
        )
    };
    Ok(Figure {
        title: "Basket values".to_owned(),
        look_for: "Look for a bell on a logarithmic axis: sums of log-normal prices, mostly between 500 and 5 000 CZK."
            .to_owned(),
        chart: Chart::column(draw),
        sql: sql.to_owned(),
        answer,
    })
}

fn funnel(tables: &Tables) -> Result<Figure> {
    let sql = "WITH visit AS (
    SELECT session_id, MAX(CASE WHEN product_id IS NOT NULL THEN 1 ELSE 0 END) AS product,
           MAX(CASE WHEN pageviews.uri LIKE '%/kosik' THEN 1 ELSE 0 END) AS basket,
           MAX(CASE WHEN pageviews.uri LIKE '%/pokladna' THEN 1 ELSE 0 END) AS checkout
    FROM pageviews LEFT JOIN pages ON pages.uri = pageviews.uri GROUP BY session_id
)
SELECT COUNT(*) AS sessions, SUM(product) AS product, SUM(basket) AS basket, SUM(checkout) AS checkout FROM visit";
    let answer = tables.query(sql)?;
    let all = answer.number("sessions");
    let entries: Vec<_> = ["sessions", "product", "basket", "checkout"]
        .into_iter()
        .map(|step| {
            let sessions = answer.number(step);
            let sessions = if sessions.is_nan() { 0.0 } else { sessions };
            (
                step.to_owned(),
                sessions,
                format!("{}  {}", grouped(sessions, 0), percent(sessions / all)),
            )
        })
        .collect();
    Ok(Figure {
        title: "The funnel".to_owned(),
        look_for: "Look for the step that loses most visitors: nearly all see a product, and one session in eight reaches \
                   the checkout."
            .to_owned(),
        chart: Chart::column(|width| charts::bars(width, "Sessions by the steps that they reach", "a", &entries)),
        sql: sql.to_owned(),
        answer,
    })
}

fn latency(tables: &Tables) -> Result<Figure> {
    let sql = "SELECT CAST(floor(20 * log10(CASE WHEN latency < 1 THEN 1 ELSE latency END)) AS integer) AS twentieth_of_a_decade,
       COUNT(*) AS pageviews
FROM pageviews GROUP BY twentieth_of_a_decade ORDER BY twentieth_of_a_decade";
    let answer = tables.query(sql)?;
    let (bins, views) = (
        answer.numbers("twentieth_of_a_decade"),
        answer.numbers("pageviews"),
    );
    let all: f64 = views.iter().sum();
    // Bins that begin at 500 ms or later; the next lower one ends there.
    let first_outlier = (20.0 * 500f64.log10()).floor();
    let slow: f64 = bins
        .iter()
        .zip(&views)
        .filter(|(bin, _)| **bin >= first_outlier)
        .map(|(_, views)| views)
        .sum();
    let draw = |width| {
        let mut frame = Frame::new(width, 260.0);
        frame.left = 56.0;
        let x = Scale::log(10.0, 10_000.0, frame.x());
        let y = Scale::log(1.0, views.iter().copied().fold(10.0, f64::max) * 1.5, frame.y());
        let chart = frame.svg(
        "Pageviews by latency",
        &html! {
            (frame.y_axis(&y, "pageviews"))
            @for bin in bins.iter().copied().zip(views.iter().copied()) {
                (log_histogram(&frame, (&x, &y), 20.0, bin, if bin.0 >= first_outlier { "b" } else { "a" }, "ms"))
            }
            (frame.x_axis(&x, "latency in ms"))
        },
    );
        html! { (chart) (legend(&[("a", "normal"), ("b", "outliers")])) }
    };
    Ok(Figure {
        title: "Latency".to_owned(),
        look_for: format!(
            "Look for two populations: a normal one around 200 ms, and outliers from 500 to 5 000 ms ({} of all pageviews); \
             both axes are logarithmic.",
            percent(slow / all)
        ),
        chart: Chart::column(draw),
        sql: sql.to_owned(),
        answer,
    })
}

/// Incidents: sessions with many outliers that follow each other closely.
pub(super) const INCIDENTS: &str = "WITH visit AS (
    SELECT session_id, MIN(epoch_ms(event_time)) AS started, COUNT(*) AS views,
           SUM(CASE WHEN latency >= 500 THEN 1 ELSE 0 END) AS outliers
    FROM pageviews GROUP BY session_id
), suspicious AS (
    SELECT started, outliers, lag(started) OVER (ORDER BY started) AS previous
    FROM visit WHERE outliers >= 2 AND outliers * 4 >= views
), island AS (
    SELECT started, outliers,
           SUM(CASE WHEN started > previous + 300000 THEN 1 ELSE 0 END) OVER (ORDER BY started) AS number
    FROM suspicious
)
SELECT MIN(started) AS began, COUNT(*) AS sessions, SUM(outliers) AS outliers
FROM island GROUP BY number HAVING COUNT(*) >= 3 ORDER BY began";

/// Returns the range of the stream's event times in milliseconds, and a number of hours that divides it into about 80
/// parts.
fn stream_span(tables: &Tables) -> Result<(f64, f64, u32)> {
    let span = tables.query(
        "SELECT MIN(epoch_ms(event_time)) AS began, MAX(epoch_ms(event_time)) AS ended FROM pageviews",
    )?;
    let (began, ended) = (span.number("began"), span.number("ended"));
    let (began, ended) = if began.is_nan() {
        (0.0, 0.0)
    } else {
        (began, ended)
    };
    let hours = (ended - began) / HOUR_MILLIS / 80.0;
    let step = [1, 2, 3, 4, 6, 12, 24, 48, 168]
        .into_iter()
        .find(|&step| f64::from(step) >= hours);
    Ok((began, ended, step.unwrap_or(720)))
}

const HOUR_MILLIS: f64 = 3_600_000.0;

/// Returns the labels of a time axis, one for every few days.
fn time_labels(x: &Scale, began: f64, ended: f64, most: usize) -> Vec<(f64, String)> {
    const DAY: f64 = 24.0 * HOUR_MILLIS;
    let days = ((ended - began) / DAY).ceil().max(1.0) as usize;
    let first = (began / DAY).floor() as i64;
    (0..days)
        .step_by(days.div_ceil(most).max(1))
        .filter_map(|day| {
            let noon = (first + day as i64) as f64 * DAY + DAY / 2.0;
            let date = chrono::DateTime::from_timestamp_millis(noon as i64)?;
            (noon <= ended).then(|| {
                (
                    x.at(noon),
                    format!("{} {}", date.day(), MONTHS[date.month0() as usize]),
                )
            })
        })
        .collect()
}

fn time_of(millis: f64) -> String {
    chrono::DateTime::from_timestamp_millis(millis as i64)
        .map_or_else(String::new, |time| time.format("%-d %b %H:%M UTC").to_string())
}

fn outliers(tables: &Tables) -> Result<Figure> {
    let answer = tables.query(INCIDENTS)?;
    let (began, ended, hours) = stream_span(tables)?;
    let step = f64::from(hours) * HOUR_MILLIS;
    let background = tables.query(&format!(
        "SELECT floor(epoch_ms(event_time) / {step}) AS part, AVG(CASE WHEN latency >= 500 THEN 1.0 ELSE 0.0 END) AS share
         FROM pageviews GROUP BY part ORDER BY part"
    ))?;
    let (parts, shares) = (background.numbers("part"), background.numbers("share"));
    let (starts, counts) = (answer.numbers("began"), answer.numbers("outliers"));
    let sessions = answer.numbers("sessions");
    let draw = |width: f64| {
        let frame = Frame::new(width, 240.0);
        let x = Scale::linear(began, ended, frame.x());
        let y = Scale::linear(
            0.0,
            shares.iter().copied().fold(0.01, f64::max) * 125.0,
            frame.y(),
        );
        let labels = time_labels(&x, began, ended, if width > 600.0 { 10 } else { 5 });
        let chart = frame.svg(
            "Share of outliers over time, with incidents",
            &html! {
                (frame.y_axis(&y, "% outliers"))
                @for (part, share) in parts.iter().zip(&shares) {
                    @let tip = format!("from {}: {} outliers", time_of(part * step), percent(*share));
                    (bar("a", (x.at(part * step), x.at((part + 1.0) * step) - 0.6), (y.at(0.0), y.at(100.0 * share)), &tip))
                }
                @for ((start, outliers), sessions) in starts.iter().zip(&counts).zip(&sessions) {
                    (dot("bad", (x.at(*start), frame.top + 5.0), 4.0,
                         &format!("incident at {}: {outliers} outliers in {sessions} sessions", time_of(*start))))
                }
                (frame.x_labels(&labels, "event time (UTC)"))
            },
        );
        html! { (chart) (legend(&[("a", "outliers among the pageviews"), ("bad", "an incident")])) }
    };
    Ok(Figure {
        title: "Incidents".to_owned(),
        look_for: "Look for the hours with twice as many outliers: each point is an incident, a few sessions in which every \
                   second page was slow (the query finds the incidents)."
            .to_owned(),
        chart: Chart::page(draw),
        sql: INCIDENTS.to_owned(),
        answer,
    })
}

fn ratings(tables: &Tables) -> Result<Figure> {
    let (began, ended, hours) = stream_span(tables)?;
    // Ratings are rarer than pageviews.
    let hours = hours * 3;
    let step = f64::from(hours) * HOUR_MILLIS;
    let sql = format!(
        "SELECT CAST(floor(epoch_ms(event_time) / {step}) AS bigint) AS part_of_{hours}_hours, COUNT(*) AS ratings,
       SUM(CASE WHEN stars <= 2 THEN 1 ELSE 0 END) AS bad, round(AVG(stars), 2) AS mean
FROM stars GROUP BY 1 ORDER BY 1"
    );
    let answer = tables.query(&sql)?;
    let parts = answer.numbers(&format!("part_of_{hours}_hours"));
    let (ratings, bad, means) = (
        answer.numbers("ratings"),
        answer.numbers("bad"),
        answer.numbers("mean"),
    );
    let draw = |width: f64| {
        let frame = Frame::new(width, 240.0);
        let x = Scale::linear(began, ended, frame.x());
        let y = Scale::linear(0.0, ratings.iter().copied().fold(1.0, f64::max) * 1.1, frame.y());
        let labels = time_labels(&x, began, ended, if width > 600.0 { 10 } else { 5 });
        let chart = frame.svg(
            "Star ratings over time",
            &html! {
                (frame.y_axis(&y, "ratings"))
                @for index in 0..parts.len() {
                    @let x = (x.at(parts[index] * step), x.at((parts[index] + 1.0) * step) - 0.8);
                    @let tip = format!("from {}: {} ratings, {} bad, {} stars on average", time_of(parts[index] * step),
                        ratings[index], bad[index], means[index]);
                    (bar("b", x, (y.at(0.0), y.at(bad[index])), &tip))
                    (bar("a", x, (y.at(bad[index]), y.at(ratings[index])), &tip))
                }
                (frame.x_labels(&labels, "event time (UTC)"))
            },
        );
        html! { (chart) (legend(&[("b", "1 or 2 stars"), ("a", "3 to 5 stars")])) }
    };
    Ok(Figure {
        title: "Star ratings over time".to_owned(),
        look_for: "Look for bad ratings at all times: they follow lemons and outliers in the visitor's own session rather than \
                   the hour."
            .to_owned(),
        chart: Chart::page(draw),
        sql,
        answer,
    })
}

fn stars(tables: &Tables) -> Result<Figure> {
    let sql = "SELECT stars, COUNT(*) AS ratings FROM stars GROUP BY stars ORDER BY stars";
    let answer = tables.query(sql)?;
    let ratings = answer.numbers("ratings");
    let all: f64 = ratings.iter().sum();
    let entries: Vec<_> = answer
        .numbers("stars")
        .into_iter()
        .zip(ratings)
        .map(|(stars, ratings)| {
            let value = format!("{}  {}", grouped(ratings, 0), percent(ratings / all));
            (format!("{stars} ★"), ratings, value)
        })
        .collect();
    Ok(Figure {
        title: "Star ratings".to_owned(),
        look_for: "Look for the shape of a J: most ratings are 5 stars, and 1 star is more frequent than 2."
            .to_owned(),
        chart: Chart::column(|width| charts::bars(width, "Ratings by number of stars", "a", &entries)),
        sql: sql.to_owned(),
        answer,
    })
}
