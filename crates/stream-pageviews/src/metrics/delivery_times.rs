//! How long deliveries take, as a histogram.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts};

use super::NAMESPACE;

/// The upper bounds of the buckets, in seconds: from a broker in the same network to the limit after which a message is
/// lost.
const BUCKETS: [f64; 15] = [
    0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The times between handing messages over and their acknowledgement. Clones share the counts.
#[derive(Clone, Debug)]
pub struct DeliveryTimes(Histogram);

impl Default for DeliveryTimes {
    fn default() -> Self {
        let options = HistogramOpts::new(
            "delivery_seconds",
            "Time from handing over a message to its acknowledgement.",
        )
        .namespace(NAMESPACE)
        .buckets(BUCKETS.to_vec());
        Self(Histogram::with_opts(options).expect("the name and the buckets are valid"))
    }
}

impl DeliveryTimes {
    /// Counts one delivery, which took `time`.
    pub fn observe(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }

    /// Returns the counts so far.
    pub fn buckets(&self) -> Buckets {
        let mut buckets = Buckets::default();
        for family in self.0.collect() {
            for metric in family.get_metric() {
                let histogram = metric.get_histogram();
                let counts = histogram
                    .get_bucket()
                    .iter()
                    .map(|bucket| bucket.cumulative_count());
                for (place, count) in buckets
                    .0
                    .iter_mut()
                    .zip(counts.chain([histogram.get_sample_count()]))
                {
                    *place = count;
                }
            }
        }
        buckets
    }

    /// Returns the histogram for a registry.
    pub(super) fn collector(&self) -> Box<dyn Collector> {
        Box::new(self.0.clone())
    }
}

/// How many deliveries took at most as long as each bound, and how many deliveries there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets([u64; BUCKETS.len() + 1]);

impl Buckets {
    /// Returns the time within which `share` of the deliveries since `before` ended, estimated as Prometheus'
    /// `histogram_quantile` does: by linear interpolation within the bucket, and limited to the highest bound. Zero if
    /// there were no deliveries.
    pub fn quantile_since(&self, before: &Self, share: f64) -> Duration {
        let counts =
            std::array::from_fn::<_, { BUCKETS.len() + 1 }, _>(|place| self.0[place] - before.0[place]);
        let rank = counts[BUCKETS.len()] as f64 * share;
        let Some(place) = counts[..BUCKETS.len()]
            .iter()
            .position(|count| *count as f64 >= rank)
        else {
            return Duration::from_secs_f64(BUCKETS[BUCKETS.len() - 1]);
        };
        let (lower, below) = match place {
            0 => (0.0, 0),
            _ => (BUCKETS[place - 1], counts[place - 1]),
        };
        let inside = (counts[place] - below) as f64;
        let part = if inside > 0.0 {
            (rank - below as f64) / inside
        } else {
            0.0
        };
        Duration::from_secs_f64(lower + (BUCKETS[place] - lower) * part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_deliveries_in_between() {
        let times = DeliveryTimes::default();
        let ms = Duration::from_millis;
        (0..1_000).for_each(|_| times.observe(ms(200)));
        let before = times.buckets();
        assert_eq!(times.buckets().quantile_since(&before, 0.99), Duration::ZERO);
        (0..90).for_each(|_| times.observe(ms(3)));
        (0..10).for_each(|_| times.observe(ms(700)));
        let after = times.buckets();
        // Half of the 100 deliveries are 50 of the 90 between 2 and 5 ms; 99 are nine tenths of the 10 between 0.5 and
        // 1 s.
        let median = after.quantile_since(&before, 0.5).as_secs_f64();
        assert!((median - (0.002 + 0.003 * 50.0 / 90.0)).abs() < 1e-9, "{median}");
        let p99 = after.quantile_since(&before, 0.99).as_secs_f64();
        assert!((p99 - 0.95).abs() < 1e-9, "{p99}");
        (0..1_000).for_each(|_| times.observe(Duration::from_secs(900)));
        assert_eq!(
            times.buckets().quantile_since(&after, 0.5),
            Duration::from_secs(300)
        );
    }
}
