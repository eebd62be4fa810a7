//! Sending: one producer for each login, a bounded queue, and an orderly end.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use datagen_process::blocking::blocking;
use datagen_process::retry::Backoff;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, PurgeConfig, ThreadedProducer};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::health::{Context, Health, Undeliverable};
use super::settings::{Broker, Login, client_config};

/// How long to wait before another try when librdkafka's queue is full: it holds far more than is sent
/// meanwhile.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// How long to wait at the start before looking again whether all is ready.
const START_PAUSE: Duration = Duration::from_millis(100);

/// How long a broker may take to say what it knows of a topic before it is asked again.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a topic may be unknown at the start: a broker that creates topics on demand needs a moment.
const TOPIC_CREATION: Duration = Duration::from_secs(4);

/// The pauses between questions whether an identity has its role yet.
const ROLE_BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(10),
};

/// How often the end looks whether all is delivered.
const SETTLING_PAUSE: Duration = Duration::from_millis(10);

/// How long the end waits for messages on their way once it is known that not all will arrive.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// How long the reports of messages given up may take: they come from this process.
const PURGE_LIMIT: Duration = Duration::from_millis(500);

/// How long disconnecting may hold up the process.
const DISCONNECT_LIMIT: Duration = Duration::from_millis(500);

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

/// One message, on its way to a topic.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Which of the sink's routes, by its place in the list given to [`Producers::open`].
    pub route: usize,
    /// Decides the partition.
    pub key: &'a [u8],
    /// The value.
    pub payload: &'a [u8],
    /// When it happened, milliseconds since 1970.
    pub timestamp: i64,
    /// The same time as text, for the header `event_time`.
    pub event_time: &'a str,
    /// For the header of the same name.
    pub session_id: &'a str,
    /// For the header of the same name.
    pub event_id: &'a str,
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
    /// Whose turn it is to ask a full queue for room.
    full: Mutex<()>,
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
    /// Routes with the same login share a producer. A broker that refuses idempotent producers gets a plain
    /// one.
    ///
    /// # Errors
    /// When librdkafka refuses the settings (a CA file that cannot be read), when the broker refuses the
    /// certificate, the login or the topic, and when [`connect`](super::settings::Patience::connect) has
    /// passed. An identity that may not send gets [`role`](super::settings::Patience::role), since its role may have
    /// been assigned a moment ago.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(broker: &Broker, routes: &[Route]) -> Result<Self, Undeliverable> {
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

    async fn open_as(broker: &Broker, routes: &[Route], idempotent: bool) -> Result<Self, Undeliverable> {
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
        let share = logins.len();
        for route in logins {
            let context = Context::new(
                Arc::clone(&health),
                route.login.clone(),
                route.login_name.clone(),
                broker.patience,
                Handle::current(),
            );
            let producer = client_config(broker, &route.login, idempotent, share)
                .create_with_context(context)
                .map_err(|error| bad_settings(&error))?;
            producers.push(Arc::new(producer));
        }
        let sink = Self {
            producers,
            routes: placed,
            health,
            idempotent,
            full: Mutex::default(),
        };
        sink.wait_until_ready(broker).await?;
        sink.health.open();
        Ok(sink)
    }

    async fn wait_until_ready(&self, broker: &Broker) -> Result<(), Undeliverable> {
        let mut started = Instant::now();
        let mut unknown_since = None;
        let mut role_wait = RoleWait::default();
        let mut waiting = (0..self.routes.len()).collect::<Vec<_>>();
        loop {
            if let Some(failure) = self.health.failure() {
                return Err(failure);
            }
            let left = broker.patience.connect.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(self.no_connection(broker));
            }
            // At the start a refusal is final: nothing is in flight that could be saved by waiting.
            if let Some(refusal) = self
                .producers
                .iter()
                .find_map(|producer| producer.context().refusal())
            {
                return Err(Undeliverable::new(refusal));
            }
            match waiting.last() {
                Some(&route) => match self.find_topic(route, left.min(ANSWER)).await? {
                    TopicState::Ready => {
                        waiting.pop();
                        unknown_since = None;
                        continue;
                    }
                    TopicState::Unknown => {
                        let since: Instant = *unknown_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= TOPIC_CREATION {
                            return Err(Undeliverable::new(format!(
                                "the topic {} does not exist: create it (the event hub) first",
                                self.routes[route].0
                            )));
                        }
                    }
                    TopicState::Forbidden => {
                        let pause = self.wait_for_role(route, broker, &mut role_wait)?;
                        tokio::time::sleep(pause).await;
                        // The broker answers: whatever else is waited for begins now.
                        started = Instant::now();
                        continue;
                    }
                    TopicState::NotYet => {}
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
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    /// Notes that the broker does not let us send to a route's topic. Returns how long to wait before asking again.
    fn wait_for_role(
        &self,
        route: usize,
        broker: &Broker,
        wait: &mut RoleWait,
    ) -> Result<Duration, Undeliverable> {
        let (topic, place) = &self.routes[route];
        let refusal = format!("the broker does not let us send to the topic {topic}");
        if !self.producers[*place].context().login().has_roles() {
            return Err(Undeliverable::new(format!(
                "{refusal}: give the rule or role the right to send"
            )));
        }
        let since = *wait.since.get_or_insert_with(Instant::now);
        let left = broker.patience.role.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(Undeliverable::new(format!(
                "{refusal} (tried for {} s): give this identity the role Azure Event Hubs Data Sender on the namespace",
                since.elapsed().as_secs()
            )));
        }
        if wait.failures == 0 {
            tracing::warn!(
                "{refusal}: a new role assignment takes minutes to arrive; waiting up to {} minutes for it",
                broker.patience.role.as_secs() / 60
            );
        }
        let pause = ROLE_BACKOFF.pause(wait.failures).min(left);
        wait.failures += 1;
        Ok(pause)
    }

    fn no_connection(&self, broker: &Broker) -> Undeliverable {
        let reason = self.health.last_trouble();
        Undeliverable::new(format!(
            "no connection within {} s ({}): check the name, the port, KAFKA_SECURITY_PROTOCOL and the firewall",
            broker.patience.connect.as_secs(),
            reason.as_deref().unwrap_or("no answer")
        ))
    }

    /// Asks the broker for a route's topic.
    async fn find_topic(&self, route: usize, limit: Duration) -> Result<TopicState, Undeliverable> {
        let (topic, place) = self.routes[route].clone();
        let producer = Arc::clone(&self.producers[place]);
        let name = topic.clone();
        let answer = blocking(move || {
            let answer = producer.client().fetch_metadata(Some(&name), limit)?;
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
            Ok(Some((Some(RDKafkaErrorCode::InvalidTopic), _))) => Err(Undeliverable::new(format!(
                "the broker does not accept {topic} as the name of a topic"
            ))),
            Ok(Some(_)) => Ok(TopicState::NotYet),
            Err(KafkaError::MetadataFetch(_)) => Ok(TopicState::NotYet),
            Err(error) => Err(Undeliverable::new(format!(
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
    pub async fn send(&self, record: Record<'_>) -> Result<(), Undeliverable> {
        if self.try_send(record)? {
            return Ok(());
        }
        // One of those who wait asks again and again; the others wait behind it.
        let _turn = self.full.lock().await;
        while !self.try_send(record)? {
            if let Some(failure) = self.health.failure() {
                return Err(failure);
            }
            tokio::time::sleep(FULL_QUEUE_PAUSE).await;
        }
        Ok(())
    }

    /// Hands a message to the queue, or answers `false` when the queue is full.
    fn try_send(&self, record: Record<'_>) -> Result<bool, Undeliverable> {
        let (topic, place) = &self.routes[record.route];
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
        let message = BaseRecord::to(topic)
            .key(record.key)
            .payload(record.payload)
            .timestamp(record.timestamp)
            .headers(headers);
        match self.producers[*place].send(message) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(self.health.failure().unwrap_or_else(|| {
                Undeliverable::new(format!("the topic {topic} takes no messages: {error}"))
            })),
        }
    }

    /// Delivers what is queued and gives up what is not delivered within `patience`, half a second later at
    /// the most: the end, after which nothing is sent. May be called again with less patience.
    pub async fn flush(&self, patience: Duration) -> Outcome {
        // After a failure most will not be delivered, but what is on its way may still arrive.
        let given_up = async {
            self.health.failed().await;
            tokio::time::sleep(AFTER_FAILURE).await;
        };
        tokio::select! {
            () = self.settled() => {}
            () = tokio::time::sleep(patience) => {}
            () = given_up => {}
        }
        if self.in_flight() > 0 {
            self.health.close();
            for producer in &self.producers {
                producer.purge(PurgeConfig::default().queue().inflight().non_blocking());
            }
            // Purged messages come back as reports of their loss, behind those of deliveries.
            let _ = tokio::time::timeout(PURGE_LIMIT, self.settled()).await;
        }
        let counts = self.health.counts();
        Outcome {
            delivered: counts.delivered,
            lost: counts.lost,
        }
    }

    /// Waits until all that was sent is delivered or lost.
    async fn settled(&self) {
        while self.in_flight() > 0 {
            tokio::time::sleep(SETTLING_PAUSE).await;
        }
    }
}

impl Drop for Producers {
    /// Disconnects. librdkafka waits for its threads, which a name server may hold up for longer than a
    /// process may take to end: they are left behind then.
    fn drop(&mut self) {
        self.health.close();
        let producers = std::mem::take(&mut self.producers);
        let (disconnected, waiting) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            drop(producers);
            let _ = disconnected.send(());
        });
        let _ = waiting.recv_timeout(DISCONNECT_LIMIT);
    }
}

/// The wait for a role at the start.
#[derive(Debug, Default)]
struct RoleWait {
    /// Since when the broker has answered that something is not allowed.
    since: Option<Instant>,
    /// How often it has.
    failures: u32,
}

/// What the broker says of a topic.
enum TopicState {
    Ready,
    Unknown,
    Forbidden,
    NotYet,
}

/// librdkafka names the property and quotes its value, which may be a password.
fn bad_settings(error: &KafkaError) -> Undeliverable {
    Undeliverable::new(match error {
        KafkaError::ClientConfig(_, description, name, _) => {
            format!("the setting {name} is not accepted: {description}")
        }
        KafkaError::ClientCreation(reason) if reason.contains("ssl.ca.location") => {
            format!("KAFKA_CA_FILE cannot be used: {reason}; it must be a file of PEM certificates")
        }
        other => format!("no producer could be made: {other}"),
    })
}
