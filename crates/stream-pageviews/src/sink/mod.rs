//! Destinations of messages. A sink knows nothing of the schedule that makes them.
//!
//! - [`mod@file`]: two files of this machine;
//! - [`kafka`]: Event Hubs, Kafka and what is compatible with it.

pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(test)]
pub(crate) mod testing;

use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datagen_core::model::planted::SessionCounts;
use datagen_process::error::DestinationError;

use crate::config::SinkConfig;
use crate::message::Message;
use crate::metrics::delivery_times::DeliveryTimes;

/// A destination of messages, shared by all workers.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes messages, in their order. Returns when there is room for more, which may be before these are delivered; waits
    /// while there is none. If the caller stops waiting, those messages are sent that [`delivery`](Sink::delivery) counts.
    async fn send(&self, messages: &[Message<'_>]) -> Result<(), DestinationError>;

    /// Delivers what was taken, and gives up what is not delivered within `limit`; returns at most a second
    /// later. Afterwards nothing is sent any more. A caller that stops waiting may call it again with another
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
    /// Messages taken, by [`Topic`](crate::message::Topic).
    pub taken: [u64; 2],
    /// Bytes of their payloads.
    pub bytes: u64,
    /// What was planted in them.
    pub planted: SessionCounts,
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
struct MessageCounter(Mutex<MessageCounts>);

/// Counts of messages.
#[derive(Clone, Copy, Debug, Default)]
struct MessageCounts {
    messages: [u64; 2],
    bytes: u64,
    planted: SessionCounts,
}

impl AddAssign for MessageCounts {
    fn add_assign(&mut self, other: Self) {
        for (count, other) in self.messages.iter_mut().zip(other.messages) {
            *count += other;
        }
        self.bytes += other.bytes;
        self.planted += other.planted;
    }
}

/// Messages that are being taken, one by one. They are counted when this is dropped, so that they are also counted if the
/// sink stops in the middle.
#[derive(Debug)]
struct PendingCounts<'a> {
    counts: MessageCounts,
    taken: &'a MessageCounter,
}

impl PendingCounts<'_> {
    #[inline]
    fn add(&mut self, message: &Message<'_>) {
        self.counts.messages[message.topic as usize] += 1;
        self.counts.bytes += message.payload.len() as u64;
        self.counts.planted.add(message.effects);
    }
}

impl Drop for PendingCounts<'_> {
    fn drop(&mut self) {
        *self.taken.lock() += self.counts;
    }
}

impl MessageCounter {
    fn lock(&self) -> MutexGuard<'_, MessageCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> PendingCounts<'_> {
        PendingCounts {
            counts: MessageCounts::default(),
            taken: self,
        }
    }

    /// The counts of a sink that delivers messages by taking them.
    fn delivered(&self) -> Delivery {
        let MessageCounts {
            messages,
            bytes,
            planted,
        } = *self.lock();
        Delivery {
            taken: messages,
            bytes,
            planted,
            delivered: messages.iter().sum(),
            ..Delivery::default()
        }
    }
}

/// Opens the destination that the configuration names.
///
/// # Errors
/// If it cannot be reached or written, with what to check.
pub async fn open(config: &SinkConfig) -> Result<Arc<dyn Sink>, DestinationError> {
    Ok(match config {
        SinkConfig::Directory(directory) => Arc::new(file::FileSink::open(directory)?),
        #[cfg(feature = "kafka")]
        SinkConfig::Kafka(config) => Arc::new(kafka::KafkaSink::open(config).await?),
    })
}
