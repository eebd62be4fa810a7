//! Sending: one producer for each login, a bounded queue, and an orderly shutdown.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use datagen_process::blocking::blocking;
use datagen_process::retry::Backoff;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig, ThreadedProducer};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::callbacks::ProducerCallbacks;
use super::error::KafkaSinkError;
use super::health::{Health, Stage};
use super::settings::{Limits, Login, client_config};
use crate::config::kafka::KafkaConfig;
use crate::message::Topic;
use crate::sink::Delivery;

/// The pause between two attempts while librdkafka's queue is full. The queue holds far more than is sent during the
/// pause.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// The pause at the start before a topic is requested again.
const TOPIC_PAUSE: Duration = Duration::from_millis(100);

/// How long a broker may take to describe a topic before it is asked again.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a topic may be unknown at the start: a broker that creates topics on demand needs a moment.
const TOPIC_CREATION: Duration = Duration::from_secs(4);

/// The pauses between two checks at the start whether an identity has its role yet.
const ROLE_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(10),
};

/// The pause between two checks during the shutdown whether everything has been delivered.
const SETTLING_PAUSE: Duration = Duration::from_millis(10);

/// How long the shutdown waits for messages in flight once it is known that not all of them will arrive.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// How long the reports of messages that are given up may take. They come from this process.
const PURGE_LIMIT: Duration = Duration::from_millis(500);

/// How long disconnecting may delay the end of the process.
const DISCONNECT_LIMIT: Duration = Duration::from_millis(500);

/// One message, on its way to a topic.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The topic.
    pub topic: Topic,
    /// The key, which determines the partition.
    pub key: &'a [u8],
    /// The value.
    pub payload: &'a [u8],
    /// When the event happened, in milliseconds since 1970.
    pub timestamp: i64,
    /// The same time as text, for the header `event_time`.
    pub event_time: &'a str,
    /// The value of the header of the same name.
    pub session_id: &'a str,
    /// The value of the header of the same name.
    pub event_id: &'a str,
}

type KafkaProducer = ThreadedProducer<ProducerCallbacks>;

/// A connection to a broker that takes messages until it is [flushed](Producers::flush).
pub struct Producers {
    producers: Vec<Arc<KafkaProducer>>,
    /// The index of each topic's producer, in the order of [`Topic::ALL`].
    places: [usize; 2],
    health: Arc<Health>,
    idempotent: bool,
    /// Held by the one sender that polls a full queue for room.
    full: Mutex<()>,
}

impl std::fmt::Debug for Producers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producers")
            .field("producers", &self.producers.len())
            .field("idempotent", &self.idempotent)
            .finish_non_exhaustive()
    }
}

/// Why the producers could not start.
enum StartError {
    /// The topics are known, but there are no producer ids, for this reason. It may work without idempotence.
    NoProducerId(String),
    Final(KafkaSinkError),
}

impl From<KafkaSinkError> for StartError {
    fn from(error: KafkaSinkError) -> Self {
        Self::Final(error)
    }
}

impl Producers {
    /// Connects, signs in with the login of each topic, in the order of [`Topic::ALL`], and makes sure that the topics
    /// exist.
    ///
    /// Topics with the same login share a producer. If the broker assigns no ids to idempotent producers, the producers
    /// are not idempotent.
    ///
    /// # Errors
    /// If librdkafka does not accept the properties (for example, if a CA file cannot be read), if the broker refuses
    /// the sign-in or the topic, and after [`Limits::connect`]. If an identity may not send, this waits up to
    /// [`Limits::role`], since its role assignment may be new.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(
        config: &KafkaConfig,
        logins: &[Login; 2],
        limits: &Limits,
    ) -> Result<Self, KafkaSinkError> {
        match Self::start(config, logins, limits, true).await {
            Ok(producers) => return Ok(producers),
            Err(StartError::Final(error)) => return Err(error),
            Err(StartError::NoProducerId(reason)) => tracing::warn!(
                "the broker accepts no idempotent producer ({reason}): a retry may deliver a message twice"
            ),
        }
        let started = Self::start(config, logins, limits, false).await;
        started.map_err(|error| match error {
            StartError::NoProducerId(reason) => KafkaSinkError::new(reason),
            StartError::Final(error) => error,
        })
    }

    async fn start(
        config: &KafkaConfig,
        logins: &[Login; 2],
        limits: &Limits,
        idempotent: bool,
    ) -> Result<Self, StartError> {
        let health = Arc::new(Health::new());
        let is_shared = logins[0].is_same(&logins[1]);
        let logins = if is_shared { &logins[..1] } else { &logins[..] };
        let mut producers = Vec::new();
        for login in logins {
            let callbacks = ProducerCallbacks::new(Arc::clone(&health), login.clone(), limits.refusal);
            let producer = client_config(config, login, limits, idempotent, logins.len())
                .create_with_context(callbacks)
                .map_err(KafkaSinkError::properties)?;
            producers.push(Arc::new(producer));
        }
        let sink = Self {
            places: [0, producers.len() - 1],
            producers,
            health,
            idempotent,
            full: Mutex::default(),
        };
        tokio::select! {
            biased;
            // The only fatal error of a producer that has sent nothing yet is a missing id.
            error = sink.health.failed() => Err(match error.code() {
                Some(RDKafkaErrorCode::Fatal) => StartError::NoProducerId(error.to_string()),
                _ => StartError::Final(error),
            }),
            ready = sink.wait_until_ready(limits) => ready,
        }?;
        sink.health.enter(Stage::Sending);
        Ok(sink)
    }

    async fn wait_until_ready(&self, limits: &Limits) -> Result<(), StartError> {
        // Both topics at the same time: a broker that closes the connection when an id is requested has then answered
        // for both.
        tokio::try_join!(
            self.wait_for_topic(Topic::Pageviews, limits),
            self.wait_for_topic(Topic::Stars, limits),
        )?;
        if !self.idempotent {
            return Ok(());
        }
        self.health.enter(Stage::AwaitingProducerIds);
        let ids = self.health.has_producer_ids(self.producers.len());
        timeout(limits.producer_id, ids).await.map_err(|_| {
            let mut producers = self.producers.iter();
            let refusal = producers.find_map(|producer| producer.context().producer_id_refusal());
            let seconds = limits.producer_id.as_secs();
            StartError::NoProducerId(refusal.unwrap_or_else(|| format!("no producer id within {seconds} s")))
        })
    }

    async fn wait_for_topic(&self, topic: Topic, limits: &Limits) -> Result<(), KafkaSinkError> {
        let mut started = Instant::now();
        let mut unknown_since = None;
        let mut role = RoleWait::default();
        loop {
            let left = limits.connect.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(self.no_connection(limits));
            }
            match self.find_topic(topic, left.min(TOPIC_TIMEOUT)).await? {
                TopicState::Ready => return Ok(()),
                TopicState::Unknown => {
                    let since: Instant = *unknown_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= TOPIC_CREATION {
                        return Err(KafkaSinkError::new(format!(
                            "the topic {} does not exist: create it (the event hub) first",
                            topic.name()
                        )));
                    }
                }
                TopicState::Forbidden => {
                    let pause = self.wait_for_role(topic, limits, &mut role)?;
                    tokio::time::sleep(pause).await;
                    // The broker answers, so that the time limit for a connection starts again.
                    started = Instant::now();
                    continue;
                }
                TopicState::NotYet => {}
            }
            tokio::time::sleep(TOPIC_PAUSE).await;
        }
    }

    /// Records that the broker does not let the client send to a topic. Returns how long to wait before asking again.
    fn wait_for_role(
        &self,
        topic: Topic,
        limits: &Limits,
        wait: &mut RoleWait,
    ) -> Result<Duration, KafkaSinkError> {
        let refusal = format!("the broker does not let us send to the topic {}", topic.name());
        if !self.producer(topic).context().login().has_roles() {
            return Err(KafkaSinkError::new(format!(
                "{refusal}: give the rule or role the right to send"
            )));
        }
        let since = *wait.since.get_or_insert_with(Instant::now);
        let left = limits.role.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(KafkaSinkError::new(format!(
                "{refusal} (tried for {} s): give this identity the role Azure Event Hubs Data Sender on the namespace",
                since.elapsed().as_secs()
            )));
        }
        if wait.failures == 0 {
            tracing::warn!(
                "{refusal}: a new role assignment takes minutes to arrive; waiting up to {} minutes for it",
                limits.role.as_secs() / 60
            );
        }
        let pause = ROLE_BACKOFF.pause(wait.failures).min(left);
        wait.failures += 1;
        Ok(pause)
    }

    fn no_connection(&self, limits: &Limits) -> KafkaSinkError {
        let reason = self.health.last_error();
        KafkaSinkError::new(format!(
            "no connection within {} s ({}): check the name, the port, KAFKA_SECURITY_PROTOCOL and the firewall",
            limits.connect.as_secs(),
            reason.as_deref().unwrap_or("no answer")
        ))
    }

    /// Asks the broker for a topic.
    async fn find_topic(&self, topic: Topic, limit: Duration) -> Result<TopicState, KafkaSinkError> {
        let producer = Arc::clone(self.producer(topic));
        let name = topic.name();
        let answer = blocking(move || {
            let answer = producer.client().fetch_metadata(Some(name), limit)?;
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
            Ok(Some((None, partitions))) if partitions > 0 => Ok(TopicState::Ready),
            Ok(
                Some((Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic), _))
                | None,
            ) => Ok(TopicState::Unknown),
            Ok(Some((Some(RDKafkaErrorCode::TopicAuthorizationFailed), _))) => Ok(TopicState::Forbidden),
            Ok(Some((Some(RDKafkaErrorCode::InvalidTopic), _))) => Err(KafkaSinkError::new(format!(
                "the broker does not accept {name} as the name of a topic"
            ))),
            Ok(Some(_)) | Err(KafkaError::MetadataFetch(_)) => Ok(TopicState::NotYet),
            Err(error) => {
                let problem = format!("the topic {name} could not be looked up: {error}");
                Err(KafkaSinkError::new(problem).because(error))
            }
        }
    }

    fn producer(&self, topic: Topic) -> &Arc<KafkaProducer> {
        &self.producers[self.places[topic as usize]]
    }

    /// Returns what the producers report.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Returns whether the producers are idempotent, so that a retry never delivers twice.
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Returns the number of messages that were sent and are not acknowledged yet.
    pub fn in_flight(&self) -> u64 {
        self.producers
            .iter()
            .map(|producer| u64::try_from(producer.in_flight_count()).unwrap_or(0))
            .sum()
    }

    /// Adds a message to the queue; waits while the queue is full.
    ///
    /// # Errors
    /// If nothing can be delivered any more; see [`Health::error`]. The message was not taken.
    pub async fn send(&self, record: Record<'_>) -> Result<(), KafkaSinkError> {
        if self.try_send(record)? {
            return Ok(());
        }
        // Only one of the waiting senders tries again repeatedly; the others wait behind it.
        let _turn = self.full.lock().await;
        while !self.try_send(record)? {
            if let Some(error) = self.health.error() {
                return Err(error);
            }
            tokio::time::sleep(FULL_QUEUE_PAUSE).await;
        }
        Ok(())
    }

    /// Adds a message to the queue, or returns `false` if the queue is full.
    fn try_send(&self, record: Record<'_>) -> Result<bool, KafkaSinkError> {
        let topic = record.topic.name();
        let headers = [
            ("event_time", record.event_time),
            ("session_id", record.session_id),
            ("event_id", record.event_id),
        ];
        let headers = headers.iter().fold(
            OwnedHeaders::new_with_capacity(headers.len()),
            |headers, &(key, value)| {
                let value = Some(value);
                headers.insert(Header { key, value })
            },
        );
        let message = BaseRecord::with_opaque_to(topic, self.health.clock())
            .key(record.key)
            .payload(record.payload)
            .timestamp(record.timestamp)
            .headers(headers);
        match self.producer(record.topic).send(message) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(self.health.error().unwrap_or_else(|| {
                KafkaSinkError::new(format!("the topic {topic} takes no messages: {error}")).because(error)
            })),
        }
    }

    /// Delivers what is queued. What is not delivered within `limit` is given up, which takes at most half a second
    /// more. Nothing is sent afterwards. May be called again with a shorter limit. Returns what has become of all
    /// messages.
    pub async fn flush(&self, limit: Duration) -> Delivery {
        // After an error most messages will not be delivered, but those in flight may still arrive.
        let given_up = async {
            self.health.failed().await;
            tokio::time::sleep(AFTER_FAILURE).await;
        };
        tokio::select! {
            () = self.settled() => {}
            () = tokio::time::sleep(limit) => {}
            () = given_up => {}
        }
        if self.in_flight() > 0 {
            self.health.close();
            for producer in &self.producers {
                producer.purge(PurgeConfig::default().queue().inflight().non_blocking());
            }
            // Purged messages are reported as lost, after the reports of deliveries.
            let _ = timeout(PURGE_LIMIT, self.settled()).await;
        }
        self.health.delivery()
    }

    /// Waits until everything that was sent has been delivered or lost.
    async fn settled(&self) {
        while self.in_flight() > 0 {
            tokio::time::sleep(SETTLING_PAUSE).await;
        }
    }
}

impl Drop for Producers {
    /// Disconnects. librdkafka waits for its threads, which a name server may block for longer than the process may
    /// take to end: in that case the threads are left behind.
    fn drop(&mut self) {
        self.health.close();
        let producers = std::mem::take(&mut self.producers);
        let (disconnected, waiting) = mpsc::sync_channel(1);
        let disconnect = move || {
            drop(producers);
            let _ = disconnected.send(());
        };
        // If no thread can be started, the closure is dropped here, and disconnecting takes as long as it takes.
        if std::thread::Builder::new().spawn(disconnect).is_ok() {
            let _ = waiting.recv_timeout(DISCONNECT_LIMIT);
        }
    }
}

/// The wait for a role at the start.
#[derive(Debug, Default)]
struct RoleWait {
    /// Since when the broker has answered that an operation is not allowed.
    since: Option<Instant>,
    /// How often the broker has given this answer.
    failures: u32,
}

/// What the broker reports about a topic.
enum TopicState {
    Ready,
    Unknown,
    Forbidden,
    NotYet,
}
