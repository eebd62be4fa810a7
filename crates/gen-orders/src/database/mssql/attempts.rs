//! How long a failing request is repeated, which depends on what its failure points to.

use std::time::Duration;

use datagen_process::error::DestinationError;

use super::errors::Cause;
use crate::retry::Retries;

/// How long a firewall rule that lets this machine in is waited for. A deployment may create it after the process has
/// started, and then it takes up to 5 minutes to take effect:
/// <https://learn.microsoft.com/azure/azure-sql/database/firewall-configure>.
const FIREWALL_WAIT: Duration = Duration::from_secs(600);

/// The attempts at one request.
#[derive(Debug)]
pub(super) struct Attempts {
    retries: Retries,
    wrong_name: Retries,
    firewall: Retries,
    /// Whether the log says already that a firewall rule is waited for.
    awaits_firewall: bool,
}

impl Attempts {
    /// Attempts as often as `retries` allow, unless the cause of a failure is known better. `timeout` is that of
    /// one answer.
    pub(super) fn new(retries: Retries, timeout: Duration) -> Self {
        Self {
            retries,
            wrong_name: Retries::new(timeout / 2),
            firewall: Retries::new(FIREWALL_WAIT),
            awaits_firewall: false,
        }
    }

    /// Notes the failure of an attempt at `what`, and logs it if there is to be another. Returns how long to wait
    /// before the next attempt; `None` if there is to be none.
    pub(super) fn pause(&mut self, what: &str, cause: Cause, error: &DestinationError) -> Option<Duration> {
        let retries = match cause {
            Cause::Firewall => &mut self.firewall,
            Cause::WrongName => &mut self.wrong_name,
            Cause::Other => &mut self.retries,
        };
        let pause = retries.pause(error)?;
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
        let mut attempts = Attempts::new(Retries::new(timeout * 5), timeout);
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
        let mut attempts = Attempts::new(Retries::new(timeout), timeout);
        assert_eq!(attempts.pause("connecting", Cause::Other, &error), None);
    }
}
