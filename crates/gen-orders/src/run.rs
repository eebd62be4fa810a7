//! What a run loads, and which earlier run it continues.

use std::ops::Range;

use chrono::NaiveDate;
use datagen_core::model::Profile;
use serde::{Deserialize, Serialize};

use crate::config::Dates;

/// Everything that the rows depend on: runs with equal parameters load equal rows. Databases store them as JSON beside
/// the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The version of the data.
    pub data_version: u32,
    /// The seed of the data.
    pub seed: u64,
    /// What the orders look like.
    pub profile: Profile,
    /// How many orders all shards load together.
    pub count: u64,
    /// The highest user id.
    pub user_max_id: u64,
    /// The highest product id.
    pub product_max_id: u64,
    /// The first day of orders.
    pub date_from: NaiveDate,
    /// The day after the last day of orders.
    pub date_to: NaiveDate,
}

impl Parameters {
    /// Returns the range of order dates.
    pub fn dates(&self) -> Range<NaiveDate> {
        self.date_from..self.date_to
    }

    /// Returns JSON with a fixed order of keys.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("the keys are text")
    }
}

/// What a run loads.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the rows depend on if the tables are created now.
    pub parameters: Parameters,
    /// The range of order dates as configured.
    pub dates: Dates,
    /// Orders per chunk if the tables are created now.
    pub chunk_orders: u32,
}

impl Run {
    /// Returns the parameters of an earlier run, if this run continues it. `stored` is their JSON.
    ///
    /// All parameters must be equal, except for a default of the date range: it depends on the year in which the
    /// earlier run created the tables, and does not change after that.
    pub fn continued(&self, stored: &str) -> Option<Parameters> {
        let stored: Parameters = serde_json::from_str(stored).ok()?;
        let dates = stored.dates();
        let expected = Parameters {
            date_from: dates.start,
            date_to: dates.end,
            ..self.parameters
        };
        (stored == expected && self.dates.give_in_some_year(&dates)).then_some(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn run(dates: Dates) -> Run {
        let range = dates.in_year(2027);
        Run {
            parameters: Parameters {
                data_version: 2,
                seed: 0,
                profile: Profile::Shop,
                count: 10,
                user_max_id: 9,
                product_max_id: 9,
                date_from: range.start,
                date_to: range.end,
            },
            dates,
            chunk_orders: 5,
        }
    }

    #[test]
    fn only_default_dates_may_be_those_of_another_year() {
        let stored = |from: &str, to: &str| {
            let parameters = run(Dates::default()).parameters;
            Parameters {
                date_from: day(from),
                date_to: day(to),
                ..parameters
            }
        };
        let dates = |from: Option<&str>, to: Option<&str>| Dates {
            from: from.map(day),
            to: to.map(day),
        };
        let cases = [
            (dates(None, None), "2017-01-01", "2027-01-01", true),
            (dates(None, None), "2016-01-01", "2026-01-01", true),
            // Clocks of several machines differ around midnight.
            (dates(None, None), "2018-01-01", "2028-01-01", true),
            // Not a default of any year.
            (dates(None, None), "2016-01-01", "2027-01-01", false),
            (dates(None, None), "2016-02-01", "2026-02-01", false),
            (dates(Some("2020-05-05"), None), "2020-05-05", "2026-01-01", true),
            (dates(Some("2020-05-05"), None), "2020-05-06", "2026-01-01", false),
            (dates(Some("2020-05-05"), None), "2020-05-05", "2026-02-01", false),
            (dates(None, Some("2026-03-01")), "2016-01-01", "2026-03-01", true),
            (dates(None, Some("2026-03-01")), "2016-01-01", "2026-03-02", false),
            (
                dates(Some("2016-01-01"), Some("2026-01-01")),
                "2016-01-01",
                "2026-01-01",
                true,
            ),
            (
                dates(Some("2017-01-01"), Some("2027-01-01")),
                "2016-01-01",
                "2026-01-01",
                false,
            ),
        ];
        for (dates, from, to, continues) in cases {
            let stored = stored(from, to);
            let expected = continues.then(|| stored.clone());
            assert_eq!(
                run(dates).continued(&stored.to_json()),
                expected,
                "{dates:?} {from} {to}"
            );
        }
    }

    #[test]
    fn any_other_difference_makes_another_run() {
        let run = run(Dates::default());
        let same = run.parameters.to_json();
        assert_eq!(run.continued(&same), Some(run.parameters.clone()));
        for (key, other) in [
            ("\"data_version\":2", "\"data_version\":1"),
            ("\"seed\":0", "\"seed\":1"),
            ("\"profile\":\"shop\"", "\"profile\":\"uniform\""),
            ("\"count\":10", "\"count\":11"),
            ("\"user_max_id\":9", "\"user_max_id\":8"),
            ("\"product_max_id\":9", "\"product_max_id\":8"),
            ("\"seed\":0", "\"seed\":0,\"added_later\":1"),
            ("{", "not JSON{"),
        ] {
            assert!(same.contains(key), "{same}");
            assert_eq!(run.continued(&same.replacen(key, other, 1)), None, "{other}");
        }
    }
}
