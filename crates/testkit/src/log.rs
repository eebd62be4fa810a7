//! Captures the log of code that runs in the test process.

use std::sync::Mutex;

use tempfile::NamedTempFile;
use tracing::Subscriber;

/// Records what is logged while its subscriber is the current one, without times, targets and colours.
#[derive(Debug)]
pub struct LogCapture {
    file: NamedTempFile,
}

impl Default for LogCapture {
    fn default() -> Self {
        Self {
            file: NamedTempFile::new().expect("a temporary file can be created"),
        }
    }
}

impl LogCapture {
    /// Returns what `log` logs on this thread.
    pub fn of(log: impl FnOnce()) -> String {
        let capture = Self::default();
        tracing::subscriber::with_default(capture.subscriber(), log);
        capture.text()
    }

    /// Returns a subscriber that appends to the log.
    pub fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        let writer = Mutex::new(self.file.reopen().expect("the file is there"));
        tracing_subscriber::fmt()
            .with_writer(writer)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish()
    }

    /// Returns the log so far.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.file.path()).expect("the log is UTF-8")
    }
}
