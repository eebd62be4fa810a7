//! RATE: a smooth limit of the number of records per second.

use std::time::Duration;

use tokio::time::Instant;

/// The longest time between two records, in seconds: a year, so that no clock overflows.
const LONGEST_INTERVAL: f64 = 365.0 * 86_400.0;

/// Limits the rate of records.
///
/// The schedule is counted from the start, so that rounded waits do not add up to a slower rate. After a stall, it catches
/// up a tenth of a second at most, so that a destination that was unavailable is not hit by a burst.
#[derive(Debug)]
pub struct Pace {
    /// Seconds per record; zero without a limit.
    interval: f64,
    /// When the next record is due.
    due: Instant,
}

/// How far the schedule may lag behind before it is moved.
const SLACK: Duration = Duration::from_millis(100);

impl Pace {
    /// Creates a limit of `rate` records per second; 0 means no limit.
    pub fn new(rate: f64) -> Self {
        let interval = if rate > 0.0 { rate.recip() } else { 0.0 };
        Self {
            interval: interval.min(LONGEST_INTERVAL),
            due: Instant::now(),
        }
    }

    /// Waits until `records` more records are due.
    pub async fn wait(&mut self, records: u64) {
        if self.interval == 0.0 {
            return;
        }
        let now = Instant::now();
        self.due = self.due.max(now.checked_sub(SLACK).unwrap_or(now));
        if self.due > now {
            tokio::time::sleep_until(self.due).await;
        }
        self.due += Duration::from_secs_f64(self.interval * records as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_and_a_stall_is_not_made_up() {
        let start = Instant::now();
        let mut pace = Pace::new(100.0);
        for _ in 0..201 {
            pace.wait(1).await;
        }
        assert_eq!(start.elapsed().as_millis().div_ceil(10), 200);

        tokio::time::advance(Duration::from_secs(60)).await;
        let resumed = Instant::now();
        for _ in 0..111 {
            pace.wait(1).await;
        }
        assert_eq!(resumed.elapsed().as_millis().div_ceil(10), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn the_lowest_rates_overflow_no_clock() {
        for rate in [1e-19, 1e-300, f64::from_bits(1)] {
            let mut pace = Pace::new(rate);
            pace.wait(100_000).await;
            let second = tokio::time::timeout(Duration::from_secs(86_400), pace.wait(1));
            assert!(second.await.is_err(), "{rate}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_rate_is_no_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(0.0);
        pace.wait(1_000_000_000).await;
        pace.wait(1).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
