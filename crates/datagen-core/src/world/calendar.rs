//! Order dates. They follow the growth of Czech online shopping, the seasons, the weekdays and the hours, and some
//! days stand out.
//!
//! Every day has a weight, which is a product of integers, and so does every hour of a day. A position in the
//! cumulative weight corresponds to a second of the calendar, so dates increase with the position.

use std::ops::RangeInclusive;

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::Fact;
use crate::locale::tables;

/// Seconds per day of local time. The days on which summer time begins or ends are treated like all others.
pub const SECONDS_PER_DAY: i64 = 86_400;

/// The relative number of orders on a day of each month, January first. Source: quarterly turnovers that APEK
/// publishes (a third of the year in the last quarter: 65 of 196 billion CZK in 2020, 45 of 135 in 2018); the months
/// within the quarters are our estimate.
const MONTHS: [u64; 12] = [98, 86, 92, 90, 90, 86, 80, 82, 92, 105, 145, 155];

/// The relative number of orders on each weekday, Monday first. Source: shop platforms report most orders on Mondays
/// and fewest on Saturdays; the numbers are our estimate.
pub const WEEKDAYS: [u64; 7] = [135, 120, 112, 108, 95, 55, 85];

/// The relative number of orders in each hour of a day from Monday to Friday, from midnight, with peaks during
/// working hours and in the evening. Source: our estimate.
const WEEKDAY_HOURS: [u64; 24] = [
    12, 6, 4, 3, 4, 8, 18, 34, 60, 82, 96, 78, 66, 64, 66, 64, 60, 58, 62, 74, 92, 98, 66, 30,
];

/// The same for Saturdays and Sundays, when the day begins later.
const WEEKEND_HOURS: [u64; 24] = [
    16, 9, 5, 4, 4, 5, 9, 18, 34, 58, 84, 82, 76, 72, 62, 60, 60, 64, 70, 78, 86, 90, 62, 32,
];

/// The days of the month shortly after wages are paid. Source: § 141 of the Czech Labour Code (wages are paid in the
/// following month) and common practice.
pub const PAYDAYS: RangeInclusive<u32> = 12..=16;

/// The number of orders per day on [`PAYDAYS`], as a percentage of that on other days. Source: our choice.
pub const PAYDAY_PERCENT: u64 = 110;

/// The number of orders on Black Friday as a multiple of that on another Friday in November. Source: our choice; shops
/// report two to five times as many.
pub const BLACK_FRIDAY_FACTOR: u64 = 3;

/// The number of orders is divided by this on 24 and 25 December. Source: our choice.
pub const QUIET_DAY_DIVISOR: u64 = 4;

/// The number of orders is divided by this on the day of an outage. Source: our choice.
pub const OUTAGE_DIVISOR: u64 = 50;

/// There is one outage every three years; 2017 is one of these years.
const OUTAGE_EVERY_YEARS: i32 = 3;
const OUTAGE_YEAR: i32 = 2017;

/// The number of days from 1 January 1970 to 1 January of `year`.
pub(crate) const fn first_day_of(year: i32) -> i64 {
    NaiveDate::from_ymd_opt(year, 1, 1)
        .expect("years are within the range of chrono")
        .to_epoch_days() as i64
}

/// The turnover of Czech online shops in `year`, in billions of CZK. Years before the table have the turnover of its
/// first year, and years after it that of its last year.
fn turnover(year: i32) -> u64 {
    let last = tables::TURNOVERS.len() as i32 - 1;
    let index = (year - i32::from(tables::TURNOVER_YEARS[0])).clamp(0, last);
    u64::from(tables::TURNOVERS[index as usize])
}

/// Black Friday of `year`: the day after the fourth Thursday of November.
pub fn black_friday(year: i32) -> NaiveDate {
    NaiveDate::from_weekday_of_month_opt(year, 11, Weekday::Thu, 4)
        .and_then(|thanksgiving| thanksgiving.succ_opt())
        .expect("every November has a fourth Thursday")
}

/// Whether `day` is one of the quiet days at Christmas.
pub fn is_quiet_day(day: NaiveDate) -> bool {
    day.month() == 12 && (day.day() == 24 || day.day() == 25)
}

/// The day of the outage in `year`, if there is one: a Tuesday in March of every third year (2017, 2020, 2023, …).
pub fn outage(year: i32) -> Option<NaiveDate> {
    if (year - OUTAGE_YEAR).rem_euclid(OUTAGE_EVERY_YEARS) != 0 {
        return None;
    }
    let nth = 1 + super::scale(Fact::Outage.word(year as u64), 4) as u8;
    NaiveDate::from_weekday_of_month_opt(year, 3, Weekday::Tue, nth)
}

/// The relative number of orders on `day`.
fn weight(day: NaiveDate) -> u64 {
    let mut weight = turnover(day.year())
        * MONTHS[day.month0() as usize]
        * WEEKDAYS[day.weekday().num_days_from_monday() as usize];
    if PAYDAYS.contains(&day.day()) {
        weight = weight * PAYDAY_PERCENT / 100;
    }
    if day.month() == 11 && day == black_friday(day.year()) {
        weight *= BLACK_FRIDAY_FACTOR;
    }
    if is_quiet_day(day) {
        weight /= QUIET_DAY_DIVISOR;
    }
    if day.month() == 3 && outage(day.year()) == Some(day) {
        weight /= OUTAGE_DIVISOR;
    }
    weight
}

/// Cumulative weights of the hours of a day: entry h is the weight before hour h.
const fn cumulative(hours: &[u64; 24]) -> [u64; 25] {
    let mut sums = [0; 25];
    let mut hour = 0;
    while hour < 24 {
        sums[hour + 1] = sums[hour] + hours[hour];
        hour += 1;
    }
    sums
}

static WEEKDAY_HOURS_BEFORE: [u64; 25] = cumulative(&WEEKDAY_HOURS);
static WEEKEND_HOURS_BEFORE: [u64; 25] = cumulative(&WEEKEND_HOURS);

/// The cumulative weights of the hours of day `day`, counted from 1 January 1970.
#[inline]
fn hours_before(day: i64) -> &'static [u64; 25] {
    // 1 January 1970 was a Thursday.
    if (day + 3).rem_euclid(7) < 5 {
        &WEEKDAY_HOURS_BEFORE
    } else {
        &WEEKEND_HOURS_BEFORE
    }
}

/// The days of the orders, with their weights.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Days since 1970.
    first_day: i64,
    /// The total weight of the days before each day, and of all days. The weight of a day is a multiple of the sum of
    /// the weights of its hours.
    weight_before: Box<[u64]>,
    /// The total weight is divided into as many equal parts as there are days. For each part, the index of the day in
    /// which it begins.
    day_of_part: Box<[u32]>,
}

impl Calendar {
    /// The calendar of the days from `from` to `to`, exclusive.
    ///
    /// It takes 12 bytes of memory per day.
    ///
    /// # Panics
    /// If there is no day.
    pub fn new(from: NaiveDate, to: NaiveDate) -> Self {
        let first_day = i64::from(from.to_epoch_days());
        let days = i64::from(to.to_epoch_days()) - first_day;
        assert!(days > 0, "no day from {from} to {to}");
        let mut weight_before = Vec::with_capacity(days as usize + 1);
        let mut sum = 0;
        for days_later in 0..days {
            weight_before.push(sum);
            let day = from + Days::new(days_later as u64);
            sum += weight(day) * hours_before(first_day + days_later)[24];
        }
        weight_before.push(sum);
        let mut day = 0;
        let day_of_part = (0..days as u128).map(|part| {
            let part_start = (u128::from(sum) * part / days as u128) as u64;
            while weight_before[day as usize + 1] <= part_start {
                day += 1;
            }
            day
        });
        Self {
            first_day,
            day_of_part: day_of_part.collect(),
            weight_before: weight_before.into(),
        }
    }

    /// The first second, in seconds since 1970 of local time.
    pub fn first_second(&self) -> i64 {
        self.first_day * SECONDS_PER_DAY
    }

    /// The second at the fraction `position` / 2^64 of the total weight, in seconds since 1970 of local time. It
    /// never decreases as the position increases.
    #[inline]
    pub fn second_at(&self, position: u64) -> i64 {
        let days = self.day_of_part.len();
        let weight = super::scale(position, self.weight_before[days]);
        let mut day = self.day_of_part[super::scale(position, days as u64) as usize] as usize;
        while self.weight_before[day + 1] <= weight {
            day += 1;
        }
        let (passed, of_day) = (
            weight - self.weight_before[day],
            self.weight_before[day + 1] - self.weight_before[day],
        );
        let day = self.first_day + day as i64;
        let hours_before = hours_before(day);
        // The part of the day's weight that corresponds to one unit of the hours' weights.
        let unit = of_day / hours_before[24];
        let hour = hours_before.partition_point(|&before| before * unit <= passed) - 1;
        let of_hour = (hours_before[hour + 1] - hours_before[hour]) * unit;
        let second = (passed - hours_before[hour] * unit) * 3_600 / of_hour;
        day * SECONDS_PER_DAY + hour as i64 * 3_600 + second as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    #[test]
    fn positions_cover_the_calendar_in_order() {
        for (from, to) in [
            (day(2024, 2, 29), day(2024, 3, 1)),
            (day(2016, 1, 1), day(2026, 1, 1)),
            (day(1753, 1, 1), day(1953, 1, 1)),
            (day(9900, 1, 1), day(9999, 12, 31)),
            (day(2023, 3, 1), day(2023, 3, 31)),
        ] {
            let calendar = Calendar::new(from, to);
            let seconds = |date: NaiveDate| i64::from(date.to_epoch_days()) * SECONDS_PER_DAY;
            assert_eq!(calendar.first_second(), seconds(from));
            assert_eq!(calendar.second_at(0), seconds(from));
            let last = calendar.second_at(u64::MAX);
            assert!((seconds(to) - 60..seconds(to)).contains(&last), "{last} {to}");
            let mut before = i64::MIN;
            for part in 0..100_000_u64 {
                let second = calendar.second_at(part * (u64::MAX / 100_000));
                assert!(second >= before && second < seconds(to));
                before = second;
            }
        }
    }

    #[test]
    fn outages_are_tuesdays_in_march_of_every_third_year() {
        let outages: Vec<_> = (2016..=2027).filter_map(outage).collect();
        let years: Vec<_> = outages.iter().map(Datelike::year).collect();
        assert_eq!(years, [2017, 2020, 2023, 2026]);
        assert!(
            outages
                .iter()
                .all(|day| day.month() == 3 && day.weekday() == Weekday::Tue)
        );
    }

    #[test]
    fn black_friday_is_the_fourth_or_fifth_friday_of_november() {
        let days = [2019, 2021, 2024].map(black_friday);
        assert_eq!(days, [day(2019, 11, 29), day(2021, 11, 26), day(2024, 11, 29)]);
    }

    #[test]
    fn every_day_has_orders() {
        for years in [(1, 3), (2011, 2030), (9998, 9999)] {
            let mut date = day(years.0, 1, 1);
            while date.year() <= years.1 && date < NaiveDate::MAX {
                assert!(weight(date) > 0, "{date}");
                date = date + Days::new(1);
            }
        }
    }
}
