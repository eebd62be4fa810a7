//! The time of day in milliseconds since 1970.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock. Clones show the same time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now_ms()).finish()
    }
}

impl Clock {
    /// Returns the system's clock.
    pub fn system() -> Self {
        Self(Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_millis() as u64
        }))
    }

    /// Returns the current time in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }

    /// Returns a clock that starts at `start_ms` and follows the runtime's time, which tests can pause.
    #[cfg(test)]
    pub(crate) fn of_runtime(start_ms: u64) -> Self {
        let start = tokio::time::Instant::now();
        Self(Arc::new(move || start_ms + start.elapsed().as_millis() as u64))
    }
}
