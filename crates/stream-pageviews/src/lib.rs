//! Streams pageviews and stars to Event Hubs or any Kafka broker.

pub mod kafka;
