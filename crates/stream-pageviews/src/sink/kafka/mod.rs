//! The Kafka destination: Event Hubs by its Kafka endpoint, its emulator, Kafka, Redpanda.
//!
//! - [`settings`] turns a connection into librdkafka's properties, each with its reason;
//! - [`token`] is where bearer tokens come from;
//! - [`health`] listens to what librdkafka reports and decides when to give up;
//! - [`producers`] sends.

pub mod health;
pub mod producers;
pub mod settings;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datagen_azure::entra::EntraCredential;
use datagen_core::model::session::ClockText;
use datagen_process::error::DestinationError;

use self::health::Undeliverable;
use self::producers::{Producers, Record, Route};
use self::settings::{Broker, Login, Patience};
use self::token::EntraTokens;
use super::{Delivery, Sink, Taken};
use crate::config::KafkaConfig;
use crate::connection_string::ConnectionString;
use crate::message::{Message, Topic};

/// The user name that goes with a connection string as password.
/// <https://learn.microsoft.com/azure/event-hubs/azure-event-hubs-apache-kafka-overview>
const CONNECTION_STRING_USER: &str = "$ConnectionString";

/// A Kafka endpoint that takes messages.
#[derive(Debug)]
pub struct Kafka {
    bootstrap_servers: String,
    producers: Producers,
    taken: Taken,
}

impl Kafka {
    /// Connects, signs in, and makes sure that both topics are there.
    ///
    /// # Errors
    /// If nobody can be signed in, the broker refuses us or stays away, or a topic is missing.
    pub async fn open(config: &KafkaConfig) -> Result<Self, DestinationError> {
        let failed = |failure: Undeliverable| {
            DestinationError::permanent(config.bootstrap_servers.as_str(), failure.to_string())
        };
        let routes = routes(config).await.map_err(failed)?;
        let broker = Broker {
            bootstrap_servers: config.bootstrap_servers.clone(),
            security: config.security,
            ca_file: config.ca_file.clone(),
            extra: Vec::new(),
            patience: Patience::default(),
        };
        let producers = Producers::open(&broker, &routes).await.map_err(failed)?;
        tracing::info!(
            servers = config.bootstrap_servers,
            security = config.security.as_str(),
            idempotent = producers.is_idempotent(),
            "connected"
        );
        Ok(Self {
            bootstrap_servers: config.bootstrap_servers.clone(),
            producers,
            taken: Taken::default(),
        })
    }

    fn error(&self, problem: impl Into<String>) -> DestinationError {
        DestinationError::permanent(self.bootstrap_servers.as_str(), problem)
    }
}

/// The two topics, each with the login that may send there, by [`Topic`].
async fn routes(config: &KafkaConfig) -> Result<Vec<Route>, Undeliverable> {
    let route = |topic: Topic, login: Login, login_name: &str| Route {
        topic: topic.name().to_owned(),
        login,
        login_name: login_name.to_owned(),
    };
    if !config.security.has_sasl() {
        return Ok(Topic::ALL.map(|topic| route(topic, Login::None, "us")).to_vec());
    }
    if let Some(strings) = &config.connection_strings {
        let login = |topic: Topic, name: &str| {
            let string = ConnectionString::parse(strings[topic as usize].expose())
                .map_err(|error| Undeliverable::new(format!("{name} {error}")))?;
            let login = Login::Plain {
                user: CONNECTION_STRING_USER.to_owned(),
                password: string.secret().clone(),
            };
            Ok(route(topic, login, name))
        };
        return Ok(vec![
            login(Topic::Pageviews, "EVENTHUB_CONNECTION_STRING_PAGEVIEWS")?,
            login(Topic::Stars, "EVENTHUB_CONNECTION_STRING_STARS")?,
        ]);
    }
    let Some(namespace) = &config.namespace else {
        return Err(Undeliverable::new(
            "there is nothing to sign in with: give connection strings or EVENTHUB_NAMESPACE",
        ));
    };
    let credential = EntraCredential::from_env()
        .await
        .map_err(|error| Undeliverable::new(error.to_string()))?;
    // https://learn.microsoft.com/azure/event-hubs/authenticate-application: the resource is the namespace
    // itself.
    let tokens = EntraTokens::new(
        credential,
        format!("https://{namespace}.servicebus.windows.net/.default"),
    );
    // Asked for once before the broker is: if nobody can be signed in, that is the thing to say.
    token::TokenSource::token(&tokens)
        .await
        .map_err(Undeliverable::new)?;
    let login = Login::Bearer(Arc::new(tokens));
    Ok(Topic::ALL
        .map(|topic| route(topic, login.clone(), "the Microsoft Entra ID sign-in"))
        .to_vec())
}

#[async_trait]
impl Sink for Kafka {
    async fn send(&self, messages: &[Message<'_>]) -> Result<(), DestinationError> {
        let mut taking = self.taken.start();
        let (mut key, mut clock) = (itoa::Buffer::new(), ClockText::default());
        for message in messages {
            let id = message.id();
            let time = clock.text(message.event.time_ms);
            let record = Record {
                route: message.topic as usize,
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
                .map_err(|failure| self.error(failure.to_string()))?;
            taking.add(message);
        }
        Ok(())
    }

    async fn flush(&self, limit: Duration) -> Result<(), DestinationError> {
        let outcome = self.producers.flush(limit).await;
        if outcome.lost == 0 {
            return Ok(());
        }
        // Each message lost is a failure, and the first one says why.
        let failure = self.producers.health().failed().await;
        Err(self.error(failure.to_string()))
    }

    async fn failed(&self) -> DestinationError {
        let failure = self.producers.health().failed().await;
        self.error(failure.to_string())
    }

    fn delivery(&self) -> Delivery {
        let health = self.producers.health();
        let counts = health.counts();
        Delivery {
            delivered: counts.delivered,
            lost: counts.lost,
            in_flight: self.producers.in_flight(),
            errors: counts.errors,
            p99: health.latest_p99(),
            ..self.taken.delivered()
        }
    }
}
