//! Destinations of messages. A sink knows nothing of sessions beyond the [`Visit`]'s topics, keys and
//! payloads.
//!
//! - [`file`]: two files of this machine.

pub mod file;

use std::time::Duration;

use async_trait::async_trait;
use datagen_core::error::DestinationError;

use crate::config::Target;
use crate::visit::Visit;

/// A destination of messages.
#[async_trait]
pub trait Sink: Send {
    /// Takes the messages of a session. Returns when there is room for more, which may be before these are
    /// delivered; waits while there is none.
    async fn send(&mut self, visit: &Visit) -> Result<(), DestinationError>;

    /// Delivers what was taken, within `limit`.
    ///
    /// # Errors
    /// If some of it could not be delivered: how many messages, and why.
    async fn flush(&mut self, limit: Duration) -> Result<(), DestinationError>;
}

/// Opens the destination that the configuration names.
///
/// # Errors
/// If it cannot be reached or written, with what to check.
pub async fn open(target: &Target) -> Result<Box<dyn Sink>, DestinationError> {
    match target {
        Target::Directory(directory) => Ok(Box::new(file::Files::open(directory)?)),
        Target::Kafka(kafka) => Err(DestinationError::permanent(
            kafka.bootstrap_servers.as_str(),
            "this destination is not built yet",
        )
        .advise("give STREAM_URL=file:///dir")),
    }
}
