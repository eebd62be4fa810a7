//! A sink for tests of code that reads the counts of a sink.

use std::time::Duration;

use async_trait::async_trait;
use datagen_process::error::DestinationError;

use super::{Delivery, Sink};
use crate::message::Message;
use crate::metrics::delivery_times::DeliveryTimes;

/// A sink with fixed counts, which takes all messages and discards them.
pub(crate) struct FixedSink {
    delivery: Delivery,
    times: Option<DeliveryTimes>,
}

impl FixedSink {
    /// Creates a sink that reports these counts and times.
    pub(crate) fn new(delivery: Delivery, times: Option<DeliveryTimes>) -> Self {
        Self { delivery, times }
    }
}

#[async_trait]
impl Sink for FixedSink {
    async fn send(&self, _: &[Message<'_>]) -> Result<(), DestinationError> {
        Ok(())
    }

    async fn flush(&self, _: Duration) -> Result<(), DestinationError> {
        Ok(())
    }

    fn delivery(&self) -> Delivery {
        self.delivery
    }

    fn delivery_times(&self) -> Option<&DeliveryTimes> {
        self.times.as_ref()
    }
}
