//! Destinations of messages. Sinks do not depend on the schedule that makes the messages.
//!
//! - [`mod@file`]: two local files;
//! - [`kafka`]: Event Hubs, Kafka and compatible systems.

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
    /// Takes messages, in their order. Returns when there is room for more, which may be before these messages are
    /// delivered; waits while there is no room. If the caller stops waiting, only those messages are sent that
    /// [`delivery`](Sink::delivery) counts as taken.
    async fn send(&self, messages: &[Message<'_>]) -> Result<(), DestinationError>;

    /// Delivers what was taken. What is not delivered within `limit` is given up; the method returns at most a second
    /// later. Nothing is sent afterwards. A caller that stops waiting may call this again with another limit.
    ///
    /// # Errors
    /// If some messages could not be delivered: how many, and why.
    async fn flush(&self, limit: Duration) -> Result<(), DestinationError>;

    /// Waits until it is known that nothing can be delivered any more, even while nothing is being sent. For a sink
    /// that reports this immediately, as an error of [`send`](Sink::send), this never completes.
    async fn failed(&self) -> DestinationError {
        std::future::pending().await
    }

    /// Returns what has become of the messages so far.
    fn delivery(&self) -> Delivery;

    /// Returns how long deliveries took, unless the sink delivers immediately.
    fn delivery_times(&self) -> Option<&DeliveryTimes> {
        None
    }
}

/// The messages that a sink has taken, and what has become of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Messages taken, by [`Topic`](crate::message::Topic).
    pub taken: [u64; 2],
    /// Bytes of the payloads of the messages taken.
    pub bytes: u64,
    /// The effects planted in the messages taken.
    pub planted: SessionCounts,
    /// Messages that the destination has acknowledged.
    pub delivered: u64,
    /// Messages that were given up.
    pub lost: u64,
    /// Messages taken and not yet acknowledged.
    pub in_flight: u64,
    /// Transient errors: lost connections and retried requests.
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

/// Messages that are being taken, one by one. They are counted when this value is dropped, so that they are also
/// counted if the sink stops in the middle.
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

    /// Returns the counts of a sink for which taking a message means delivering it.
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
/// If the destination cannot be reached or written. The error says what to check.
pub async fn open(config: &SinkConfig) -> Result<Arc<dyn Sink>, DestinationError> {
    Ok(match config {
        SinkConfig::Directory(directory) => Arc::new(file::FileSink::open(directory)?),
        #[cfg(feature = "kafka")]
        SinkConfig::Kafka(config) => Arc::new(kafka::KafkaSink::open(config).await?),
    })
}
