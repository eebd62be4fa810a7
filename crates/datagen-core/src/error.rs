//! Why a run did not end well, in words for the person who must mend it.

use std::fmt;

use crate::config::Problems;
use crate::shutdown::Signal;

/// Why a generator stopped before its work was done. Each has its exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Exit code 1: the destination refused, or stayed away longer than the retries last.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// Exit code 2: the environment variables do not describe a run.
    #[error("{0}")]
    Configuration(Problems),
    /// Exit code 130 or 143: a signal asked for it.
    #[error("interrupted by {0}; nothing half-written is visible")]
    Interrupted(Signal),
}

/// A destination that could not do what was asked.
///
/// Prints as one line: the destination, what happened, what to do. Whoever makes one keeps secrets out of
/// all three parts: `destination` is a name or a URL without its query.
#[derive(Clone, Debug)]
pub struct DestinationError {
    /// Which destination: a path, a URL without its query, `server/database`, a topic.
    pub destination: String,
    /// What it answered, or how it failed.
    pub problem: String,
    /// What to check or do.
    pub advice: Option<String>,
    /// Whether the same attempt may succeed later. What is permanent is not retried.
    pub transient: bool,
}

impl DestinationError {
    /// A failure that no retry mends.
    pub fn permanent(destination: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            destination: destination.into(),
            problem: problem.into(),
            advice: None,
            transient: false,
        }
    }

    /// A failure that a later attempt may not meet.
    pub fn transient(destination: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            transient: true,
            ..Self::permanent(destination, problem)
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// A failure of the local file system at `path`.
    pub fn io(path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let advice = match error.kind() {
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => "give a directory that this user may write",
            Kind::NotADirectory | Kind::AlreadyExists => {
                "a file stands where a directory is needed: move it, or give another directory"
            }
            Kind::IsADirectory => {
                "a directory stands where a file is needed: move it, or give another directory"
            }
            Kind::FileTooLarge => "raise the limit of the file size (ulimit -f), or give another file system",
            Kind::StorageFull | Kind::QuotaExceeded => "make room, or give another directory",
            _ => "check the path and its file system",
        };
        Self::permanent(path.display().to_string(), error.to_string()).advise(advice)
    }
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever a server put into its message.
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{}: {}", line(&self.destination), line(&self.problem))?;
        match &self.advice {
            Some(advice) => write!(f, "; {}", line(advice)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DestinationError {}

/// An error and its causes, the innermost last.
#[cfg(feature = "entra")]
pub(crate) fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}
