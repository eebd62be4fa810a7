//! The range of order dates, whose default depends on the current year.

use std::ops::Range;

use chrono::{Datelike, NaiveDate};
use datagen_settings::catalog::LAST_DATE;

/// How many full calendar years the default range has.
const DEFAULT_YEARS: i32 = 10;

/// DATE_FROM and DATE_TO as configured; `None` where the default applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// The first day.
    pub from: Option<NaiveDate>,
    /// The day after the last day.
    pub to: Option<NaiveDate>,
}

impl Dates {
    /// Returns the half-open range of days of a run that begins in `year` (1 to 9999). By default, it has the ten full
    /// calendar years before that year. If only the first day is given, and it is not before the end of these years,
    /// the range ends with the year of that day.
    pub fn in_year(self, year: i32) -> Range<NaiveDate> {
        let january = |year| NaiveDate::from_ymd_opt(year, 1, 1).expect("years have four digits");
        let from = self.from.unwrap_or_else(|| january(year - DEFAULT_YEARS));
        let to = self
            .to
            .unwrap_or_else(|| january(year.max(from.year() + 1)).min(LAST_DATE));
        from..to
    }

    /// Returns whether there is a year in which a run of this configuration has the dates of `range`.
    pub fn give_in_some_year(self, range: &Range<NaiveDate>) -> bool {
        [range.start.year().saturating_add(DEFAULT_YEARS), range.end.year()]
            .into_iter()
            .filter(|year| (1..=9_999).contains(year))
            .any(|year| self.in_year(year) == *range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_first_day_moves_the_default_end() {
        let range = |from: Option<&str>| {
            let from = from.map(|from| from.parse().expect("a date"));
            let range = Dates { from, to: None }.in_year(2026);
            format!("{} {}", range.start, range.end)
        };
        assert_eq!(range(None), "2016-01-01 2026-01-01");
        assert_eq!(range(Some("2025-12-31")), "2025-12-31 2026-01-01");
        assert_eq!(range(Some("2026-01-01")), "2026-01-01 2027-01-01");
        assert_eq!(range(Some("2030-06-01")), "2030-06-01 2031-01-01");
        assert_eq!(range(Some("9999-06-01")), "9999-06-01 9999-12-31");
    }
}
