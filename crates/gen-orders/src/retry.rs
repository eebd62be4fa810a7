//! How long something is tried again: within a bound of time.

use std::time::Duration;

use datagen_process::error::DestinationError;
use datagen_process::retry::Backoff;
use tokio::time::Instant;

/// The pauses between attempts.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(20),
};

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
        // The last attempt is at the bound, not after it.
        let left = self.bound.saturating_sub(first.elapsed());
        let pause = BACKOFF.pause(self.failures).min(left);
        self.failures += 1;
        Some(pause)
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
        assert!(pauses[0] <= BACKOFF.first && pauses[0] >= BACKOFF.first / 2);
        assert!(pauses.iter().all(|pause| *pause <= BACKOFF.longest));
        assert_eq!(start.elapsed().as_secs(), 300);
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
