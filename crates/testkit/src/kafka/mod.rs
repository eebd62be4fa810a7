//! What a plain Kafka broker lacks to stand in for Event Hubs: TLS, SASL, and failing on request.
//!
//! [`Front`] listens before a broker that speaks plain Kafka (librdkafka's mock cluster, tansu), answers the
//! SASL exchange itself, and passes everything else through. [`TestCa`] makes the certificates for it.

mod frame;
mod front;
mod tls;

pub use front::{Front, FrontBuilder, FrontCounts};
pub use kafka_protocol::messages::ApiKey;
pub use tls::{ServerIdentity, TestCa};
