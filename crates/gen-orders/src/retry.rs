//! How requests to a database are retried.

use std::time::Duration;

use datagen_process::error::DestinationError;
use datagen_process::retry::{Backoff, Retries, RetryPolicy};

/// Returns the policy that retries until `limit` after the first failure.
pub fn policy(limit: Duration) -> RetryPolicy {
    RetryPolicy {
        backoff: Backoff {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(20),
        },
        limit,
    }
}

/// Counts a failure. Returns the pause before the next attempt; `None` if there is no next attempt, because the error
/// is permanent or the limit is reached.
pub fn next_pause(retries: &mut Retries, error: &DestinationError) -> Option<Duration> {
    if !error.transient {
        return None;
    }
    retries.next_pause(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_transient_errors_are_retried() {
        let mut retries = policy(Duration::from_secs(9)).start();
        assert!(next_pause(&mut retries, &DestinationError::transient("x", "y")).is_some());
        assert_eq!(
            next_pause(&mut retries, &DestinationError::permanent("x", "y")),
            None
        );
    }
}
