//! Pauses between attempts at what failed: they double, and differ from process to process.

use std::time::Duration;

/// The pauses of one kind of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause at the most.
    pub first: Duration,
    /// Any pause at the most.
    pub longest: Duration,
}

impl Backoff {
    /// The pause after `failures` earlier failures: [`first`](Self::first) doubled as often, up to
    /// [`longest`](Self::longest). Half of it is chance, so that the processes that failed together do not come
    /// back together.
    pub fn pause(self, failures: u32) -> Duration {
        let ceiling = self.first.saturating_mul(1 << failures.min(16)).min(self.longest);
        ceiling.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
        };
        for (failures, ceiling) in [(0, 100), (1, 200), (6, 6_400), (7, 10_000), (u32::MAX, 10_000)] {
            let ceiling = Duration::from_millis(ceiling);
            let pauses: Vec<_> = (0..20).map(|_| backoff.pause(failures)).collect();
            assert!(
                pauses.iter().all(|pause| (ceiling / 2..=ceiling).contains(pause)),
                "{pauses:?}"
            );
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
        }
    }
}
