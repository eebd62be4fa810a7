//! How long a request is retried, which depends on the cause of its failure.

use std::time::Duration;

use datagen_process::error::DestinationError;
use datagen_process::retry::{Retries, RetryPolicy};

use super::errors::Cause;
use crate::retry;

/// How long to wait for a firewall rule that admits this machine. A deployment may create the rule after the process has
/// started, and then it takes up to 5 minutes to become effective:
/// <https://learn.microsoft.com/azure/azure-sql/database/firewall-configure>.
const FIREWALL_WAIT: Duration = Duration::from_secs(600);

/// The attempts at one request.
#[derive(Debug)]
pub(super) struct Attempts {
    retries: Retries,
    wrong_name: Retries,
    firewall: Retries,
    /// Whether the wait for a firewall rule was logged.
    awaits_firewall: bool,
}

impl Attempts {
    /// Creates the attempts at a request, which follow `policy` unless a failure has a more specific cause. `timeout`
    /// is that of one response.
    pub(super) fn new(policy: RetryPolicy, timeout: Duration) -> Self {
        Self {
            retries: policy.start(),
            wrong_name: retry::policy(timeout / 2).start(),
            firewall: retry::policy(FIREWALL_WAIT).start(),
            awaits_firewall: false,
        }
    }

    /// Counts the failure of an attempt at `what`, and logs it if there will be another attempt. Returns the pause
    /// before that attempt; `None` if there will be none.
    pub(super) fn pause(&mut self, what: &str, cause: Cause, error: &DestinationError) -> Option<Duration> {
        let retries = match cause {
            Cause::Firewall => &mut self.firewall,
            Cause::WrongName => &mut self.wrong_name,
            Cause::Other => &mut self.retries,
        };
        let pause = retry::next_pause(retries, error)?;
        if cause != Cause::Firewall {
            tracing::warn!("{what} again in {pause:.1?}: {error}");
        } else if !self.awaits_firewall {
            self.awaits_firewall = true;
            tracing::warn!(
                "a new firewall rule takes minutes to take effect; waiting up to {} minutes for it: {error}",
                FIREWALL_WAIT.as_secs() / 60
            );
        }
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    async fn waits(cause: impl Fn(u32) -> Cause) -> Duration {
        let error = DestinationError::transient("x", "y");
        let timeout = Duration::from_secs(60);
        let mut attempts = Attempts::new(retry::policy(timeout * 5), timeout);
        let start = Instant::now();
        let mut failures = 0;
        while let Some(pause) = attempts.pause("connecting", cause(failures), &error) {
            tokio::time::sleep(pause).await;
            failures += 1;
        }
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_depends_on_the_cause() {
        for (cause, seconds) in [
            (Cause::Firewall, 600),
            (Cause::WrongName, 30),
            (Cause::Other, 300),
        ] {
            assert_eq!(waits(|_| cause).await, Duration::from_secs(seconds), "{cause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_the_firewall_does_not_use_up_that_for_other_failures() {
        let waited = waits(|failures| match failures {
            0..20 => Cause::Firewall,
            _ => Cause::Other,
        });
        assert!(waited.await > Duration::from_secs(300 + 100));
    }

    #[test]
    fn a_permanent_failure_is_not_repeated() {
        let error = DestinationError::permanent("x", "y");
        let timeout = Duration::from_secs(60);
        let mut attempts = Attempts::new(retry::policy(timeout), timeout);
        assert_eq!(attempts.pause("connecting", Cause::Other, &error), None);
    }
}
