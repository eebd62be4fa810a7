//! Destinations of messages. A sink knows nothing of sessions beyond their messages' topics, keys and
//! payloads.
//!
//! - [`mod@file`]: two files of this machine;
//! - [`kafka`]: Event Hubs, Kafka and what speaks like them.

pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use datagen_process::error::DestinationError;

use crate::config::Target;
use crate::metrics::delivery_times::DeliveryTimes;
use crate::visit::{Batch, Message};

/// A destination of messages, shared by all visitors.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes messages. Returns when there is room for more, which may be before these are delivered; waits
    /// while there is none. Whoever stops waiting has sent those messages that [`delivery`](Sink::delivery)
    /// counts.
    async fn send(&self, batch: Batch<'_>) -> Result<(), DestinationError>;

    /// Whether messages of one session have to be sent together.
    fn wants_sessions_whole(&self) -> bool {
        false
    }

    /// Delivers what was taken, and gives up what is not delivered within `limit`; returns at most a second
    /// later. Afterwards nothing is sent any more. Whoever stops waiting may call it again with another
    /// limit.
    ///
    /// # Errors
    /// If some of it could not be delivered: how many messages, and why.
    async fn flush(&self, limit: Duration) -> Result<(), DestinationError>;

    /// Waits until it is known that nothing can be delivered any more, even while nothing is sent. A sink
    /// that knows at once, by the error of [`send`](Sink::send), never ends here.
    async fn failed(&self) -> DestinationError {
        std::future::pending().await
    }

    /// What became of the messages so far.
    fn delivery(&self) -> Delivery;

    /// How long deliveries took, if they take time.
    fn delivery_times(&self) -> Option<&DeliveryTimes> {
        None
    }
}

/// What a sink took, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Messages taken, by [`Topic`](crate::visit::Topic).
    pub taken: [u64; 2],
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Messages that the destination has acknowledged.
    pub delivered: u64,
    /// Messages given up.
    pub lost: u64,
    /// Messages taken and not yet acknowledged.
    pub in_flight: u64,
    /// Errors that passed by themselves: connections lost, requests retried.
    pub errors: u64,
}

/// Counts the messages that a sink takes.
#[derive(Debug, Default)]
struct Taken {
    messages: [AtomicU64; 2],
    bytes: AtomicU64,
}

impl Taken {
    fn add(&self, message: &Message<'_>) {
        self.messages[message.topic as usize].fetch_add(1, Relaxed);
        self.bytes.fetch_add(message.payload.len() as u64, Relaxed);
    }

    /// The counts of a sink with which taken is delivered.
    fn delivered(&self) -> Delivery {
        let taken = self.messages.each_ref().map(|count| count.load(Relaxed));
        Delivery {
            taken,
            bytes: self.bytes.load(Relaxed),
            delivered: taken.iter().sum(),
            ..Delivery::default()
        }
    }
}

/// Opens the destination that the configuration names.
///
/// # Errors
/// If it cannot be reached or written, with what to check.
pub async fn open(target: &Target) -> Result<Arc<dyn Sink>, DestinationError> {
    Ok(match target {
        Target::Directory(directory) => Arc::new(file::Files::open(directory)?),
        #[cfg(feature = "kafka")]
        Target::Kafka(config) => Arc::new(kafka::Kafka::open(config).await?),
    })
}
