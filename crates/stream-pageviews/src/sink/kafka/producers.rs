//! Sending: one producer for each login, a bounded queue, and an orderly end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datagen_core::blocking::blocking;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig, ThreadedProducer};
use rdkafka::util::Timeout;
use tokio::runtime::Handle;

use super::health::{Context, Failure, Health};
use super::settings::{Broker, Login, client_config};

/// How long to wait before another try when librdkafka's queue is full: it holds far more than is sent meanwhile.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// How long to wait at the start before looking again whether all is ready.
const START_PAUSE: Duration = Duration::from_millis(100);

/// How long a topic may be unknown at the start: a broker that creates topics on demand needs a moment.
const TOPIC_CREATION: Duration = Duration::from_secs(4);

/// How long the end waits for messages on their way once it is known that not all will arrive.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// A topic and how to sign in for it.
#[derive(Clone, Debug)]
pub struct Route {
    /// The topic's (event hub's) name.
    pub topic: String,
    /// The login whose rule may send there.
    pub login: Login,
    /// What the login is called in messages, such as the variable it came from.
    pub login_name: String,
}

/// One message on its way.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Which of the sink's routes, by its place in the list given to [`Producers::open`].
    pub route: usize,
    /// Decides the partition.
    pub key: &'a [u8],
    /// The record.
    pub payload: &'a [u8],
    /// When it happened, milliseconds since 1970.
    pub timestamp: i64,
}

/// What became of everything sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Messages acknowledged by the broker.
    pub delivered: u64,
    /// Messages that were not.
    pub lost: u64,
}

type KafkaProducer = ThreadedProducer<Context>;

/// A connection to a broker that takes messages until it is [flushed](Producers::flush).
pub struct Producers {
    producers: Vec<Arc<KafkaProducer>>,
    /// Of each route: its topic and its producer's place.
    routes: Vec<(String, usize)>,
    health: Arc<Health>,
    idempotent: bool,
}

impl std::fmt::Debug for Producers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producers")
            .field("routes", &self.routes)
            .field("producers", &self.producers.len())
            .field("idempotent", &self.idempotent)
            .finish_non_exhaustive()
    }
}

impl Producers {
    /// Connects, signs in, and makes sure that the topics are there.
    ///
    /// Routes with the same login share a producer. A broker that refuses idempotent producers gets a plain one.
    ///
    /// # Errors
    /// When librdkafka refuses the settings (a CA file that cannot be read), when the broker refuses the
    /// certificate, the login or the topic, and when [`connect`](super::settings::Patience::connect) has passed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(broker: &Broker, routes: &[Route]) -> Result<Self, Failure> {
        match Self::open_as(broker, routes, true).await {
            Err(failure) if failure.idempotence_refused => {
                tracing::warn!(
                    "the broker takes no idempotent producer ({failure}): a retry may deliver a message twice"
                );
                Self::open_as(broker, routes, false).await
            }
            opened => opened,
        }
    }

    async fn open_as(broker: &Broker, routes: &[Route], idempotent: bool) -> Result<Self, Failure> {
        let health = Arc::new(Health::new());
        let mut logins: Vec<&Route> = Vec::new();
        let mut placed = Vec::new();
        for route in routes {
            let place = logins.iter().position(|known| known.login.same_as(&route.login));
            placed.push((route.topic.clone(), place.unwrap_or(logins.len())));
            if place.is_none() {
                logins.push(route);
            }
        }
        let mut producers = Vec::new();
        for route in logins {
            let context = Context::new(
                Arc::clone(&health),
                route.login.clone(),
                route.login_name.clone(),
                broker.patience,
                Handle::current(),
            );
            let producer = client_config(broker, &route.login, idempotent)
                .create_with_context(context)
                .map_err(|error| bad_settings(&error))?;
            producers.push(Arc::new(producer));
        }
        let sink = Self {
            producers,
            routes: placed,
            health,
            idempotent,
        };
        match sink.wait_until_ready(broker).await {
            Ok(()) => Ok(sink),
            Err(failure) => {
                // Its threads end outside the runtime: dropping a producer waits for them.
                sink.close(Duration::ZERO).await;
                Err(failure)
            }
        }
    }

    async fn wait_until_ready(&self, broker: &Broker) -> Result<(), Failure> {
        let started = Instant::now();
        let mut unknown_since = None;
        let mut waiting = (0..self.routes.len()).collect::<Vec<_>>();
        loop {
            if let Some(failure) = self.health.failure() {
                return Err(failure);
            }
            // At the start a refusal is final: nothing is in flight that could be saved by waiting.
            if let Some(refusal) = self
                .producers
                .iter()
                .find_map(|producer| producer.context().refusal())
            {
                return Err(Failure::new(refusal));
            }
            match waiting.last() {
                Some(&route) => match self.find_topic(route).await? {
                    Topic::Ready => {
                        waiting.pop();
                        unknown_since = None;
                        continue;
                    }
                    Topic::Unknown => {
                        let since: Instant = *unknown_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= TOPIC_CREATION {
                            return Err(Failure::new(format!(
                                "the topic {} does not exist at {}: create it (the event hub) first",
                                self.routes[route].0, broker.bootstrap_servers
                            )));
                        }
                    }
                    Topic::NotYet => {}
                },
                None if !self.idempotent => return Ok(()),
                None if self
                    .producers
                    .iter()
                    .all(|producer| producer.context().has_producer_id()) =>
                {
                    return Ok(());
                }
                None => {}
            }
            if started.elapsed() >= broker.patience.connect {
                let last = self
                    .health
                    .last_trouble()
                    .unwrap_or_else(|| "no answer".to_owned());
                return Err(Failure::new(format!(
                    "no connection to {} within {} s ({last}): check the name, the port, the security protocol \
                     and the firewall",
                    broker.bootstrap_servers,
                    broker.patience.connect.as_secs()
                )));
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    /// Asks the broker for a route's topic.
    async fn find_topic(&self, route: usize) -> Result<Topic, Failure> {
        let (topic, place) = self.routes[route].clone();
        let producer = Arc::clone(&self.producers[place]);
        let name = topic.clone();
        let answer = blocking(move || {
            let answer = producer
                .client()
                .fetch_metadata(Some(&name), Duration::from_secs(2))?;
            let found = answer.topics().iter().find(|topic| topic.name() == name);
            Ok(found.map(|found| {
                (
                    found.error().map(RDKafkaErrorCode::from),
                    found.partitions().len(),
                )
            }))
        })
        .await;
        match answer {
            Ok(Some((None, partitions))) if partitions > 0 => Ok(Topic::Ready),
            Ok(
                Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic), _))
                | None,
            ) => Ok(Topic::Unknown),
            Ok(Some((Some(RDKafkaErrorCode::TopicAuthorizationFailed), _))) => Err(Failure::new(format!(
                "the broker does not let us send to the topic {topic}: give the rule or role the right to send"
            ))),
            Ok(Some((Some(RDKafkaErrorCode::InvalidTopic), _))) => Err(Failure::new(format!(
                "the broker does not accept {topic} as the name of a topic"
            ))),
            Ok(Some(_)) => Ok(Topic::NotYet),
            Err(KafkaError::MetadataFetch(_)) => Ok(Topic::NotYet),
            Err(error) => Err(Failure::new(format!(
                "the topic {topic} could not be looked up: {error}"
            ))),
        }
    }

    /// What the producers report.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Whether the broker took an idempotent producer, with which a retry never delivers twice.
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Messages sent and not yet acknowledged.
    pub fn in_flight(&self) -> u64 {
        self.producers
            .iter()
            .map(|producer| u64::try_from(producer.in_flight_count()).unwrap_or(0))
            .sum()
    }

    /// Hands a message to the queue; waits while the queue is full.
    ///
    /// # Errors
    /// When nothing can be delivered any more; see [`Health::failure`]. The message was not taken.
    pub async fn send(&self, message: Message<'_>) -> Result<(), Failure> {
        while !self.try_send(message)? {
            if let Some(failure) = self.health.failure() {
                return Err(failure);
            }
            tokio::time::sleep(FULL_QUEUE_PAUSE).await;
        }
        Ok(())
    }

    /// Hands a message to the queue, or answers `false` when the queue is full.
    fn try_send(&self, message: Message<'_>) -> Result<bool, Failure> {
        let (topic, place) = &self.routes[message.route];
        let record = BaseRecord::to(topic)
            .key(message.key)
            .payload(message.payload)
            .timestamp(message.timestamp);
        match self.producers[*place].send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(self
                .health
                .failure()
                .unwrap_or_else(|| Failure::new(format!("the topic {topic} takes no messages: {error}")))),
        }
    }

    /// Delivers what is queued and gives up what is not delivered in time: the end, after which nothing is sent.
    pub async fn flush(&self, patience: Duration) -> Outcome {
        let producers = self.producers.clone();
        let health = Arc::clone(&self.health);
        blocking(move || {
            let started = Instant::now();
            for producer in &producers {
                while producer.in_flight_count() > 0 {
                    // After a failure most will not be delivered, but what is on its way may still arrive.
                    let limit = if health.failure().is_some() {
                        patience.min(AFTER_FAILURE)
                    } else {
                        patience
                    };
                    let left = limit.saturating_sub(started.elapsed());
                    if left.is_zero() {
                        break;
                    }
                    // Its error says only that something is left, which the loop sees too.
                    let _ = producer.flush(Timeout::After(left.min(Duration::from_millis(200))));
                }
                if producer.in_flight_count() > 0 {
                    producer.purge(PurgeConfig::default().queue().inflight());
                    // Purged messages come back as reports of their loss.
                    let _ = producer.flush(Timeout::After(Duration::from_secs(1)));
                }
            }
            let counts = health.counts();
            Outcome {
                delivered: counts.delivered,
                lost: counts.lost,
            }
        })
        .await
    }

    /// [Flushes](Producers::flush) and disconnects, waiting for librdkafka's threads on a thread of its own.
    pub async fn close(self, patience: Duration) -> Outcome {
        let outcome = self.flush(patience).await;
        blocking(move || drop(self)).await;
        outcome
    }
}

/// What the broker says of a topic.
enum Topic {
    Ready,
    Unknown,
    NotYet,
}

/// librdkafka names the property and quotes its value, which may be a password.
fn bad_settings(error: &KafkaError) -> Failure {
    Failure::new(match error {
        KafkaError::ClientConfig(_, description, name, _) => {
            format!("the setting {name} is not accepted: {description}")
        }
        KafkaError::ClientCreation(reason) if reason.contains("ssl.ca.location") => {
            format!("KAFKA_CA_FILE cannot be used: {reason}; it must be a file of PEM certificates")
        }
        other => format!("no producer could be made: {other}"),
    })
}
