//! Destinations of messages. A sink knows nothing of sessions beyond the [`Visit`]'s topics, keys and
//! payloads.
//!
//! - [`mod@file`]: two files of this machine;
//! - [`kafka`]: Event Hubs, Kafka and what speaks like them.

pub mod file;
pub mod kafka;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datagen_core::error::DestinationError;

use crate::config::Target;
use crate::visit::Visit;

/// A destination of messages, shared by all visitors.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes the messages of a session. Returns when there is room for more, which may be before these are
    /// delivered; waits while there is none.
    async fn send(&self, visit: &Visit) -> Result<(), DestinationError>;

    /// Delivers what was taken, within `limit`; afterwards nothing is sent any more.
    ///
    /// # Errors
    /// If some of it could not be delivered: how many messages, and why.
    async fn flush(&self, limit: Duration) -> Result<(), DestinationError>;

    /// Waits until it is known that nothing can be delivered any more, even while nothing is sent. A sink that
    /// knows at once, by the error of [`send`](Sink::send), never ends here.
    async fn failed(&self) -> DestinationError {
        std::future::pending().await
    }

    /// What became of the messages so far; `None` where taken is delivered.
    fn delivery(&self) -> Option<Delivery> {
        None
    }
}

/// What became of the messages that a sink took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Messages that the destination has acknowledged.
    pub delivered: u64,
    /// Messages given up.
    pub lost: u64,
    /// Messages taken and not yet acknowledged.
    pub in_flight: u64,
    /// Errors that passed by themselves: connections lost, requests retried.
    pub errors: u64,
    /// 99th percentile of the time from taking a message to its acknowledgement, lately.
    pub p99: Duration,
}

/// Opens the destination that the configuration names.
///
/// # Errors
/// If it cannot be reached or written, with what to check.
pub async fn open(target: &Target) -> Result<Arc<dyn Sink>, DestinationError> {
    Ok(match target {
        Target::Directory(directory) => Arc::new(file::Files::open(directory)?),
        Target::Kafka(config) => Arc::new(kafka::Kafka::open(config).await?),
    })
}
