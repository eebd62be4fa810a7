//! librdkafka's callbacks for one producer. They run on the producer's polling thread.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rdkafka::Message as _;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::Statistics;
use tokio::runtime::Handle;

use super::error::{ErrorClass, KafkaSinkError, ProducerIdEvent, classify};
use super::health::{Health, lock};
use super::settings::{Login, REQUEST_BYTES};
use super::stall::{StallDetector, is_connected};

/// How long librdkafka waits for a token. The credential retries during this time.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(60);

/// Receives what librdkafka reports about one producer.
pub(super) struct ProducerCallbacks {
    health: Arc<Health>,
    login: Login,
    /// How long the broker may refuse the client before the stream ends.
    refusal_limit: Duration,
    runtime: Handle,
    /// The number of messages of this producer that were acknowledged.
    acknowledged: AtomicU64,
    /// Whether the last request for a token failed.
    token_failed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when the broker has refused the client, and why.
    refused: Option<(Instant, KafkaSinkError)>,
    has_producer_id: bool,
    producer_id_refusal: Option<String>,
    stall: StallDetector,
    is_stalled: bool,
    /// While messages wait: the number of acknowledged messages at the last sign of trouble.
    degraded_at: Option<u64>,
}

impl ProducerCallbacks {
    /// Creates callbacks that report to `health`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new(health: Arc<Health>, login: Login, refusal_limit: Duration) -> Self {
        Self {
            health,
            login,
            refusal_limit,
            runtime: Handle::current(),
            acknowledged: AtomicU64::new(0),
            token_failed: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Returns how this producer signs in.
    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// Returns why the broker has refused to assign an id to an idempotent producer, if it has.
    pub(super) fn producer_id_refusal(&self) -> Option<String> {
        lock(&self.state).producer_id_refusal.clone()
    }

    /// Ends the stream if the broker has refused the client for too long.
    fn check_refusal(&self, state: &mut State, statistics: &Statistics) {
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            state.refused = None;
        }
        if let Some((since, error)) = &state.refused
            && since.elapsed() >= self.refusal_limit
        {
            self.health.fail(error.clone());
        }
    }

    /// Logs when messages start to wait, and when they no longer wait.
    fn check_progress(&self, state: &mut State, statistics: &Statistics, acknowledged: u64) {
        let stall = state.stall.check(statistics, acknowledged, Instant::now());
        if let Some(reason) = stall {
            if !std::mem::replace(&mut state.is_stalled, true) {
                self.health.add_error();
            }
            self.degrade(state);
            self.health.warn(reason);
            return;
        }
        state.is_stalled = false;
        if let Some(before) = state.degraded_at
            && (statistics.msg_cnt == 0 || acknowledged > before)
            && is_connected(statistics)
        {
            state.degraded_at = None;
            self.health.remove_degraded();
        }
    }

    fn degrade(&self, state: &mut State) {
        let acknowledged = self.acknowledged.load(Relaxed);
        if state.degraded_at.replace(acknowledged).is_none() {
            self.health.add_degraded();
        }
    }

    /// Returns librdkafka's text without line breaks and without the password, which a broker might repeat.
    fn clean(&self, text: &str) -> String {
        let text = match self.login.secret() {
            Some(secret) if !secret.is_empty() => text.replace(secret, "***"),
            _ => text.to_owned(),
        };
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl ClientContext for ProducerCallbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.clean(message);
        match ProducerIdEvent::of_log(facility, &message) {
            Some(ProducerIdEvent::Assigned) => {
                let had_one = std::mem::replace(&mut lock(&self.state).has_producer_id, true);
                self.health.add_producer_ids(usize::from(!had_one));
            }
            Some(ProducerIdEvent::Refused(reason)) => {
                lock(&self.state).producer_id_refusal = Some(reason.to_owned());
            }
            None => {}
        }
        // Errors also arrive in `error`, where they are classified and rate-limited.
        if (level as i32) < RDKafkaLogLevel::Error as i32 && facility != "FATAL" {
            tracing::error!("librdkafka {facility}: {message}");
        } else {
            tracing::debug!("librdkafka {facility}: {message}");
        }
    }

    fn stats(&self, statistics: Statistics) {
        let acknowledged = self.acknowledged.load(Relaxed);
        let mut state = lock(&self.state);
        self.check_refusal(&mut state, &statistics);
        self.check_progress(&mut state, &statistics, acknowledged);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let reason = self.clean(reason);
        let class = match classify(code, &reason) {
            // If there is no token, the cause is the identity service and not the broker.
            ErrorClass::SignIn if self.token_failed.load(Relaxed) => ErrorClass::Transient,
            class => class,
        };
        tracing::debug!("librdkafka reports {code:?}, {class:?}: {reason}");
        let refusal = match class {
            ErrorClass::Fatal => {
                let fatal = KafkaSinkError::new(format!("the producer cannot go on: {reason}"));
                return self.health.fail(fatal.because(error));
            }
            ErrorClass::Transient => {
                let mut state = lock(&self.state);
                let sums_up = code == RDKafkaErrorCode::AllBrokersDown;
                if sums_up && state.refused.is_some() {
                    // The error is a consequence of the refusal, which is more specific.
                    return;
                }
                self.health.add_error();
                self.degrade(&mut state);
                return match sums_up {
                    true => self.health.warn_all_brokers_down(),
                    false => self.health.warn(reason),
                };
            }
            ErrorClass::SignIn => format!(
                "the broker refused {}: {reason}; check that it is whole and current and that its rule or role \
                 may send",
                self.login.name()
            ),
            ErrorClass::Tls => format!(
                "no TLS connection: {reason}; check the broker's name and port, and KAFKA_CA_FILE if its \
                 certificate is signed by an authority of your own"
            ),
        };
        let refusal = KafkaSinkError::new(refusal).because(error);
        self.health.add_error();
        if !self.health.fail_at_start(refusal.clone()) {
            let mut state = lock(&self.state);
            state.refused.get_or_insert_with(|| (Instant::now(), refusal));
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let Login::EntraId(source) = &self.login else {
            return Err("this producer does not sign in with a token".into());
        };
        // The polling thread is outside the runtime and waits for a task inside it.
        let (answer, waiting) = mpsc::sync_channel(1);
        let source = Arc::clone(source);
        let closing = self.health.closing();
        self.runtime.spawn(async move {
            let token = tokio::select! {
                biased;
                token = source.token() => token,
                () = closing.cancelled() => Err("the stream ends".into()),
            };
            answer.send(token)
        });
        let token = waiting
            .recv_timeout(TOKEN_TIMEOUT)
            .unwrap_or_else(|_| Err("no token within a minute".into()));
        self.token_failed.store(token.is_err(), Relaxed);
        let token = token.map_err(|error| -> Box<dyn Error> { error })?;
        let lifetime = token.expires_on().duration_since(UNIX_EPOCH)?;
        Ok(OAuthToken {
            token: token.secret().to_owned(),
            // Event Hubs takes the principal from the token, but librdkafka requires a value.
            principal_name: "stream-pageviews".to_owned(),
            lifetime_ms: i64::try_from(lifetime.as_millis())?,
        })
    }
}

impl ProducerContext for ProducerCallbacks {
    /// The [clock](Health::clock) at the time of sending.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: usize) {
        let (error, message) = match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Relaxed);
                return self.health.add_delivered(sent);
            }
            Err(failed) => failed,
        };
        let code = error.rdkafka_error_code();
        let advice = match code {
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                "; create the topic (the event hub) first"
            }
            Some(RDKafkaErrorCode::UnknownPartition) => {
                "; the topic is gone or has fewer partitions: was the broker restarted without its data?"
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "; give the rule or role the right to send",
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => &format!(
                "; set max.message.bytes of the topic, or message.max.bytes of the broker, to at least {REQUEST_BYTES}"
            ),
            // Kafka reports a timestamp outside of the limits as an invalid record.
            Some(RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp) => {
                "; the topic accepts no messages of this time: check its message.timestamp.before.max.ms and \
                 message.timestamp.after.max.ms"
            }
            _ => "",
        };
        let problem = match code {
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
                "not delivered before the end".to_owned()
            }
            Some(code) => self.clean(&code.to_string()),
            None => self.clean(&error.to_string()),
        };
        let last_error = self.health.last_error();
        let cause = last_error.map(|error| format!(" ({error})")).unwrap_or_default();
        let topic = message.topic();
        let lost = format!("a message for the topic {topic} was lost: {problem}{cause}{advice}");
        self.health
            .add_lost(KafkaSinkError::new(lost).because(error.clone()));
    }
}
