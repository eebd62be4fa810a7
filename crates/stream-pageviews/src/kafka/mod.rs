//! The Kafka destination: Event Hubs by its Kafka endpoint, its emulator, Kafka, Redpanda.
//!
//! [`connection_string`] reads and checks what Azure hands out, [`settings`] turns a connection into librdkafka's
//! properties, [`health`] listens to what librdkafka reports and decides when to give up, [`sink`] sends.

pub mod connection_string;
pub mod health;
pub mod settings;
pub mod sink;
pub mod token;
