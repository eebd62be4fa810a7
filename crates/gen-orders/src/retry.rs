//! How often and how long something is tried again: pauses that double and differ from process to process,
//! within a bound of time.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use datagen_core::error::DestinationError;
use tokio::time::Instant;

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(20);

/// Counts the attempts at one thing.
#[derive(Debug)]
pub struct Retries {
    bound: Duration,
    failures: u32,
    first_failure: Option<Instant>,
}

impl Retries {
    /// Attempts are worth it until `bound` after the first failure, and a second one always.
    pub fn new(bound: Duration) -> Self {
        Self {
            bound,
            failures: 0,
            first_failure: None,
        }
    }

    /// Notes a failure. Returns how long to wait before the next attempt; `None` if there is to be none,
    /// because the failure is permanent or the time is over.
    pub fn pause(&mut self, error: &DestinationError) -> Option<Duration> {
        let first = *self.first_failure.get_or_insert_with(Instant::now);
        if !error.transient || (self.failures > 0 && first.elapsed() >= self.bound) {
            return None;
        }
        let longest = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        // Half of it is chance, so that the processes that failed together do not come back together.
        let chance = (RandomState::new().hash_one(()) >> 11) as f64 / (1u64 << 53) as f64;
        Some(longest.mul_f64(0.5 + chance / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end() {
        let error = DestinationError::transient("x", "y");
        let mut retries = Retries::new(Duration::from_secs(300));
        let start = Instant::now();
        let mut pauses = Vec::new();
        while let Some(pause) = retries.pause(&error) {
            pauses.push(pause);
            tokio::time::sleep(pause).await;
        }
        assert!((18..40).contains(&pauses.len()), "{}", pauses.len());
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!((300..325).contains(&start.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_failure_is_tried_once_more_and_a_permanent_one_never() {
        let mut retries = Retries::new(Duration::ZERO);
        let error = DestinationError::transient("x", "y");
        assert!(retries.pause(&error).is_some());
        assert!(retries.pause(&error).is_none());
        let permanent = DestinationError::permanent("x", "y");
        assert_eq!(Retries::new(Duration::from_secs(9)).pause(&permanent), None);
    }
}
