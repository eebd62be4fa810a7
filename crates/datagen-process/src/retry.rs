//! How a failed operation is retried: after pauses that grow and differ between processes, until a limit.

use std::time::Duration;

use tokio::time::Instant;

/// The pauses between attempts, without a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The upper bound of the first pause.
    pub first: Duration,
    /// The upper bound of every pause.
    pub longest: Duration,
}

impl Backoff {
    /// Returns the pause after `failures` earlier failures: [`first`](Self::first), doubled with every failure up to
    /// [`longest`](Self::longest). Half of the pause is random, so that processes that failed together do not all retry
    /// together.
    pub fn pause(self, failures: u32) -> Duration {
        let ceiling = self.first.saturating_mul(1 << failures.min(16)).min(self.longest);
        ceiling.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

/// How an operation is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pauses between attempts.
    pub backoff: Backoff,
    /// How long after the first failure the last attempt may start.
    pub limit: Duration,
}

impl RetryPolicy {
    /// Starts to count the failures of one operation.
    pub fn start(self) -> Retries {
        Retries {
            policy: self,
            failures: 0,
            first_failure: None,
        }
    }
}

/// The failures of one operation so far.
#[derive(Debug)]
pub struct Retries {
    policy: RetryPolicy,
    failures: u32,
    first_failure: Option<Instant>,
}

impl Retries {
    /// Counts a transient failure, and returns the pause before the next attempt: at least `at_least`, and such that
    /// the last attempt is at the limit. The first failure is always followed by another attempt, unless `at_least`
    /// goes beyond the limit.
    ///
    /// `None` if the limit is reached, or if `at_least` goes beyond it.
    pub fn next_pause(&mut self, at_least: Duration) -> Option<Duration> {
        let first_failure = *self.first_failure.get_or_insert_with(Instant::now);
        let left = self.policy.limit.saturating_sub(first_failure.elapsed());
        if at_least > left || (left.is_zero() && self.failures > 0) {
            return None;
        }
        let pause = self.policy.backoff.pause(self.failures).min(left).max(at_least);
        self.failures += 1;
        Some(pause)
    }

    /// Returns the number of failures that were counted.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(10),
    };

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        for (failures, ceiling) in [(0, 100), (1, 200), (6, 6_400), (7, 10_000), (u32::MAX, 10_000)] {
            let ceiling = Duration::from_millis(ceiling);
            let pauses: Vec<_> = (0..20).map(|_| BACKOFF.pause(failures)).collect();
            assert!(
                pauses.iter().all(|pause| (ceiling / 2..=ceiling).contains(pause)),
                "{pauses:?}"
            );
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
        }
    }

    fn policy(limit: Duration) -> RetryPolicy {
        RetryPolicy {
            backoff: BACKOFF,
            limit,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_attempt_is_at_the_limit() {
        let mut retries = policy(Duration::from_secs(300)).start();
        let start = Instant::now();
        while let Some(pause) = retries.next_pause(Duration::ZERO) {
            assert!(pause <= BACKOFF.longest);
            tokio::time::sleep(pause).await;
        }
        assert_eq!(start.elapsed().as_secs(), 300);
        assert!((30..80).contains(&retries.failures()), "{}", retries.failures());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_attempt_is_always_allowed() {
        let mut retries = policy(Duration::ZERO).start();
        assert!(retries.next_pause(Duration::ZERO).is_some());
        assert_eq!(retries.next_pause(Duration::ZERO), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_requested_pause_is_kept_or_ends_the_retries() {
        let mut retries = policy(Duration::from_secs(60)).start();
        let requested = Duration::from_secs(40);
        assert_eq!(retries.next_pause(requested), Some(requested));
        tokio::time::sleep(requested).await;
        assert_eq!(retries.next_pause(requested), None);
    }
}
