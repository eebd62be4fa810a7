//! The Kafka destination: Event Hubs through its Kafka endpoint, the Event Hubs emulator, Kafka, and Redpanda.
//!
//! - [`settings`] turns a configuration into librdkafka's properties, and gives the reason for each;
//! - [`token`] provides bearer tokens;
//! - [`producers`] connects and sends;
//! - `callbacks` receives librdkafka's reports, `stall` detects what it does not report, [`error`] classifies errors;
//! - [`health`] counts, logs, and decides when the stream must end.

mod callbacks;
pub mod error;
pub mod health;
pub mod producers;
pub mod settings;
mod stall;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datagen_azure::entra::EntraCredential;
use datagen_core::model::session::ClockText;
use datagen_process::error::DestinationError;

use self::error::KafkaSinkError;
use self::producers::{Producers, Record};
use self::settings::{Limits, Login};
use self::token::{EntraTokens, TokenSource};
use super::{Delivery, MessageCounter, Sink};
use crate::config::kafka::{CONNECTION_STRINGS, KafkaConfig, SignIn};
use crate::message::{Message, Topic};
use crate::metrics::delivery_times::DeliveryTimes;

/// A Kafka endpoint that takes messages.
#[derive(Debug)]
pub struct KafkaSink {
    bootstrap_servers: String,
    producers: Producers,
    taken: MessageCounter,
}

impl KafkaSink {
    /// Connects, signs in, and makes sure that both topics exist.
    ///
    /// # Errors
    /// If no sign-in is possible, if the broker refuses the client or does not answer, or if a topic is missing.
    pub async fn open(config: &KafkaConfig) -> Result<Self, DestinationError> {
        let failed = |error| destination_error(&config.bootstrap_servers, error);
        let logins = logins(&config.sign_in).await.map_err(failed)?;
        let producers = Producers::open(config, &logins, &Limits::default())
            .await
            .map_err(failed)?;
        tracing::info!(
            servers = config.bootstrap_servers,
            security = config.security.as_str(),
            idempotent = producers.is_idempotent(),
            "connected"
        );
        Ok(Self {
            bootstrap_servers: config.bootstrap_servers.clone(),
            producers,
            taken: MessageCounter::default(),
        })
    }

    fn error(&self, error: KafkaSinkError) -> DestinationError {
        destination_error(&self.bootstrap_servers, error)
    }
}

fn destination_error(bootstrap_servers: &str, error: KafkaSinkError) -> DestinationError {
    DestinationError::permanent(bootstrap_servers, error.to_string()).caused_by(error)
}

/// Returns the logins of the topics, in the order of [`Topic::ALL`].
async fn logins(sign_in: &SignIn) -> Result<[Login; 2], KafkaSinkError> {
    let namespace = match sign_in {
        SignIn::None => return Ok([Login::None, Login::None]),
        SignIn::ConnectionStrings(strings) => {
            return Ok(Topic::ALL.map(|topic| Login::ConnectionString {
                variable: CONNECTION_STRINGS[topic as usize],
                string: strings[topic as usize].clone(),
            }));
        }
        SignIn::EntraId { namespace } => namespace,
    };
    let credential = EntraCredential::from_env()
        .await
        .map_err(|error| KafkaSinkError::new(error.to_string()).because(error))?;
    // https://learn.microsoft.com/azure/event-hubs/authenticate-application: the resource is the namespace itself.
    let tokens = EntraTokens::new(
        credential,
        format!("https://{namespace}.servicebus.windows.net/.default"),
    );
    // Request a token before connecting to the broker: if this fails, the sign-in is the problem to report.
    tokens
        .token()
        .await
        .map_err(|error| KafkaSinkError::new(error.to_string()).because(error))?;
    let login = Login::EntraId(Arc::new(tokens));
    Ok([login.clone(), login])
}

#[async_trait]
impl Sink for KafkaSink {
    async fn send(&self, messages: &[Message<'_>]) -> Result<(), DestinationError> {
        let mut taking = self.taken.start();
        let (mut key, mut clock) = (itoa::Buffer::new(), ClockText::default());
        for message in messages {
            let id = message.id();
            let time = clock.text(message.event.time_ms);
            let record = Record {
                topic: message.topic,
                key: key.format(message.user_id).as_bytes(),
                payload: message.payload,
                // Events are before the year 10000.
                timestamp: message.event.time_ms as i64,
                event_time: std::str::from_utf8(&time).expect("times are ASCII"),
                session_id: id.session_id(),
                event_id: id.event_id(),
            };
            self.producers
                .send(record)
                .await
                .map_err(|error| self.error(error))?;
            taking.add(message);
        }
        Ok(())
    }

    async fn flush(&self, limit: Duration) -> Result<(), DestinationError> {
        if self.producers.flush(limit).await.lost == 0 {
            return Ok(());
        }
        // Each lost message is an error, and the first one says why.
        Err(self.failed().await)
    }

    async fn failed(&self) -> DestinationError {
        self.error(self.producers.health().failed().await)
    }

    fn delivery(&self) -> Delivery {
        let health = self.producers.health().delivery();
        Delivery {
            delivered: health.delivered,
            lost: health.lost,
            errors: health.errors,
            in_flight: self.producers.in_flight(),
            ..self.taken.delivered()
        }
    }

    fn delivery_times(&self) -> Option<&DeliveryTimes> {
        Some(self.producers.health().delivery_times())
    }
}
