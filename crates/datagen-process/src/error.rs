//! Why a run failed, in one line that says what to do.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::shutdown::Signal;
use datagen_settings::ConfigurationErrors;

/// Why a generator stopped before its work was done. Each has its exit code.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Exit code 1: the destination refused a request, or was unavailable for longer than the retries last.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// Exit code 2: the environment variables do not describe a run.
    #[error("{0}")]
    Configuration(ConfigurationErrors),
    /// Exit code 130 or 143: a signal requested the stop.
    #[error("interrupted by {0}; nothing half-written is visible")]
    Interrupted(Signal),
}

/// The error of a destination.
///
/// Its text is one line: the destination, what happened, what to do. The three parts must not contain secrets:
/// `destination` is a name or a URL without its query.
#[derive(Clone, Debug)]
pub struct DestinationError {
    /// The destination: a path, a URL without its query, `server/database`, a topic.
    pub destination: String,
    /// What the destination responded, or how it failed. It includes the text of the source as far as that is harmless.
    pub problem: String,
    /// What to check or do.
    pub advice: Option<String>,
    /// Whether another attempt may succeed.
    pub transient: bool,
    /// The error that caused this one. Its text may contain more than may be printed.
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl DestinationError {
    /// Creates an error that no retry can change.
    pub fn permanent(destination: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            destination: destination.into(),
            problem: problem.into(),
            advice: None,
            transient: false,
            source: None,
        }
    }

    /// Creates an error that may not occur again on another attempt.
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

    /// Adds the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Creates the error of the local file system at `path`.
    pub fn io(path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let advice = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "give a directory that this user may write"
            }
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                "a file stands where a directory is needed: move it, or give another directory"
            }
            ErrorKind::IsADirectory => {
                "a directory stands where a file is needed: move it, or give another directory"
            }
            ErrorKind::FileTooLarge => {
                "raise the limit of the file size (ulimit -f), or give another file system"
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space, or give another directory",
            _ => "check the path and its file system",
        };
        let source = match error.raw_os_error() {
            Some(code) => std::io::Error::from_raw_os_error(code),
            None => error.kind().into(),
        };
        Self::permanent(path.display().to_string(), error.to_string())
            .advise(advice)
            .caused_by(source)
    }
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text is a single line, whatever a server put into its message.
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{}: {}", line(&self.destination), line(&self.problem))?;
        match &self.advice {
            Some(advice) => write!(f, "; {}", line(advice)),
            None => Ok(()),
        }
    }
}

impl Error for DestinationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// Returns an error and its causes, the innermost last. An error inside an [`std::io::Error`] is one of them.
pub fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error = *error;
        // `source` of an I/O error skips the error that it wraps.
        let wrapped = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_error_keeps_its_cause() {
        let error = DestinationError::permanent("lake", "it failed").caused_by(std::fmt::Error);
        assert_eq!(error.to_string(), "lake: it failed");
        assert!(
            causes(&error)
                .last()
                .is_some_and(|cause| cause.is::<std::fmt::Error>())
        );
    }

    #[test]
    fn an_error_inside_of_an_io_error_is_a_cause() {
        let inner = std::fmt::Error;
        let outer = std::io::Error::other(std::io::Error::other(inner));
        assert_eq!(causes(&outer).count(), 3);
        assert!(
            causes(&outer)
                .last()
                .is_some_and(|cause| cause.is::<std::fmt::Error>())
        );
    }
}
