//! What librdkafka reports, and when that means the end.
//!
//! librdkafka retries for ever by itself and tells of everything: most of it passes. [`Health`] counts what
//! was delivered and what was lost, says at most every few seconds that a broker is away, and declares a
//! [failure](Health::failure) when going on makes no sense: a message was lost, the producer is broken, or
//! the broker keeps refusing us.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::{Statistics, Window};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::settings::{Login, Patience};

/// How often a lasting trouble is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// What "all brokers are down" amounts to where no error says more: a broker that closes the connection tells
/// nothing.
const NO_ANSWER: &str = "it closes the connection or does not answer";

/// How long librdkafka waits for a token; the sources retry by themselves meanwhile.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the sink can no longer deliver: one line, with what to check, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undeliverable {
    message: Arc<str>,
    /// The broker will not have our producer id; without idempotence it may work.
    pub(super) idempotence_refused: bool,
}

impl Undeliverable {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into().into(),
            idempotence_refused: false,
        }
    }
}

impl fmt::Display for Undeliverable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Undeliverable {}

/// Counters since the start, readable at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Messages that the broker has acknowledged.
    pub delivered: u64,
    /// Messages given up, each reported as lost.
    pub lost: u64,
    /// Errors that librdkafka reported and went on from: connections lost, tokens not renewed.
    pub errors: u64,
}

/// What the producers of one sink have in common.
#[derive(Debug)]
pub struct Health {
    delivered: AtomicU64,
    lost: AtomicU64,
    errors: AtomicU64,
    /// Microseconds; see [`Health::latest_p99`].
    p99: AtomicU64,
    failure: watch::Sender<Option<Undeliverable>>,
    /// Whether all was ready to send once.
    opened: AtomicBool,
    /// Cancelled when the time to deliver is over.
    closing: CancellationToken,
    trouble: Mutex<Trouble>,
}

/// Troubles not yet logged.
#[derive(Debug, Default)]
struct Trouble {
    last: Option<String>,
    logged_at: Option<Instant>,
    unlogged: u64,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            delivered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            p99: AtomicU64::new(0),
            failure: watch::Sender::new(None),
            opened: AtomicBool::new(false),
            closing: CancellationToken::new(),
            trouble: Mutex::default(),
        }
    }

    /// The counters.
    pub fn counts(&self) -> DeliveryCounts {
        DeliveryCounts {
            delivered: self.delivered.load(Relaxed),
            lost: self.lost.load(Relaxed),
            errors: self.errors.load(Relaxed),
        }
    }

    /// The 99th percentile of the time from sending to acknowledgement in the last window of librdkafka's
    /// statistics in which a producer sent messages, at its slowest broker: waiting in the queue, in the
    /// socket, and for the broker.
    pub fn latest_p99(&self) -> Duration {
        Duration::from_micros(self.p99.load(Relaxed))
    }

    /// Why nothing can be delivered any more, once that is so.
    pub fn failure(&self) -> Option<Undeliverable> {
        self.failure.borrow().clone()
    }

    /// Waits until nothing can be delivered any more; never ends while all is well.
    pub async fn failed(&self) -> Undeliverable {
        let mut failure = self.failure.subscribe();
        let failed = failure
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|failure| failure.clone());
        match failed {
            Some(failure) => failure,
            // The sender is ours, so it cannot be gone.
            None => std::future::pending().await,
        }
    }

    /// All is ready to send: what goes wrong from now on makes messages wait.
    pub(super) fn open(&self) {
        self.opened.store(true, Relaxed);
    }

    /// The time to deliver is over: nobody waits for an identity service any more, least of all the reports,
    /// which come by the thread that asks for tokens.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    pub(super) fn last_trouble(&self) -> Option<String> {
        lock(&self.trouble).last.clone()
    }

    /// The first failure counts: what follows are its consequences.
    fn fail(&self, failure: Undeliverable) {
        self.failure.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(failure);
            }
            first
        });
    }

    fn note_trouble(&self, code: RDKafkaErrorCode, reason: &str) {
        self.errors.fetch_add(1, Relaxed);
        let mut trouble = lock(&self.trouble);
        let reason = match code {
            // It sums up; the error before it says why.
            RDKafkaErrorCode::AllBrokersDown => trouble.last.take().unwrap_or_else(|| NO_ANSWER.to_owned()),
            _ => reason.to_owned(),
        };
        trouble.unlogged += 1;
        if trouble.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            let what = match self.opened.load(Relaxed) {
                true => "messages wait",
                false => "not connected yet",
            };
            tracing::warn!(errors = trouble.unlogged, "{what}: {reason}");
            trouble.logged_at = Some(Instant::now());
            trouble.unlogged = 0;
        }
        trouble.last = Some(reason);
    }
}

/// librdkafka's callbacks for one producer. They run on its polling thread.
pub(super) struct Context {
    health: Arc<Health>,
    login: Login,
    /// What the login is called in messages, such as the variable it came from.
    login_name: String,
    patience: Patience,
    runtime: Handle,
    state: Mutex<BrokerState>,
}

#[derive(Debug, Default)]
struct BrokerState {
    /// Since when the broker refuses us, and how it says so.
    refused: Option<(Instant, String)>,
    producer_id: bool,
    /// Messages delivered by all producers, and producer ids taken by this one, when there was last progress.
    progress: (u64, i64),
    /// Messages sent when there were last statistics.
    sent: i64,
}

/// How many producer ids an idempotent producer may take without anything delivered in between. It takes a
/// new one when the broker does not know the last; a broker restarted without its data never will, and
/// librdkafka would ask it again for as long as messages may wait.
const FORGOTTEN: i64 = 10;

impl Context {
    pub(super) fn new(
        health: Arc<Health>,
        login: Login,
        login_name: String,
        patience: Patience,
        runtime: Handle,
    ) -> Self {
        Self {
            health,
            login,
            login_name,
            patience,
            runtime,
            state: Mutex::default(),
        }
    }

    /// How this producer signs in.
    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// How the broker refuses us at the moment.
    pub(super) fn refusal(&self) -> Option<String> {
        lock(&self.state)
            .refused
            .as_ref()
            .map(|(_, reason)| reason.clone())
    }

    /// Whether the broker has given this producer its id, without which an idempotent one sends nothing.
    pub(super) fn has_producer_id(&self) -> bool {
        lock(&self.state).producer_id
    }

    /// Gives up where the broker has refused us for too long, or has forgotten us.
    fn judge(&self, statistics: &Statistics) {
        let mut state = lock(&self.state);
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            state.refused = None;
        }
        if let Some(eos) = &statistics.eos {
            state.producer_id = eos.idemp_state == "Assigned";
            let delivered = self.health.delivered.load(Relaxed);
            if statistics.msg_cnt == 0 || delivered > state.progress.0 {
                state.progress = (delivered, eos.epoch_cnt);
            } else if eos.epoch_cnt >= state.progress.1 + FORGOTTEN {
                self.health.fail(Undeliverable::new(
                    "the broker does not know this producer any more and takes nothing from it: was it restarted \
                     without its data?",
                ));
            }
        }
        if let Some((since, reason)) = &state.refused
            && since.elapsed() >= self.patience.refusal
        {
            self.health.fail(Undeliverable::new(reason.as_str()));
        }
    }

    /// Keeps the latency of a window in which messages were sent; what else a broker is asked is no delivery.
    fn measure(&self, statistics: &Statistics) {
        let sent = std::mem::replace(&mut lock(&self.state).sent, statistics.txmsgs);
        if statistics.txmsgs == sent {
            return;
        }
        let p99 = |window: &Option<Window>| {
            window
                .as_ref()
                .map_or(0, |window| window.p99.max(0).unsigned_abs())
        };
        let latencies = statistics
            .brokers
            .values()
            .map(|broker| p99(&broker.int_latency) + p99(&broker.outbuf_latency) + p99(&broker.rtt));
        if let Some(slowest) = latencies.max() {
            self.health.p99.store(slowest, Relaxed);
        }
    }

    /// librdkafka's text without our password, should a broker have put it there, and without line breaks.
    fn clean(&self, text: &str) -> String {
        let text = match self.login.secret() {
            Some(secret) if !secret.is_empty() => text.replace(secret, "***"),
            _ => text.to_owned(),
        };
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What an error reported by librdkafka amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// librdkafka goes on by itself.
    Passing,
    /// The broker does not accept our sign-in.
    Login,
    /// We do not accept the broker's certificate, or it does not speak TLS.
    Tls,
    /// The broker will not have an idempotent producer.
    Idempotence,
    /// The producer cannot go on.
    Fatal,
}

fn classify(code: RDKafkaErrorCode, reason: &str) -> Kind {
    match code {
        // Too old a broker, or (Kafka before 2.8) no permission to be idempotent.
        RDKafkaErrorCode::Fatal | RDKafkaErrorCode::UnsupportedFeature
            if reason.contains("Idempotent producer not supported") =>
        {
            Kind::Idempotence
        }
        RDKafkaErrorCode::Fatal | RDKafkaErrorCode::ClusterAuthorizationFailed
            if reason.contains("Failed to acquire idempotence PID") =>
        {
            Kind::Idempotence
        }
        RDKafkaErrorCode::Fatal => Kind::Fatal,
        // No token is our side's trouble (the identity service is away), not the broker's refusal.
        RDKafkaErrorCode::Authentication if reason.contains("Failed to acquire SASL OAUTHBEARER token") => {
            Kind::Passing
        }
        RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::UnsupportedSASLMechanism
        | RDKafkaErrorCode::IllegalSASLState => Kind::Login,
        // OpenSSL's reasons; a connection that breaks during the handshake is not among them.
        RDKafkaErrorCode::SSL
            if [
                "certificate",
                "hostname mismatch",
                "IP address mismatch",
                "wrong version number",
            ]
            .iter()
            .any(|sign| reason.contains(sign)) =>
        {
            Kind::Tls
        }
        _ => Kind::Passing,
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Errors come by `error` too, where they are judged and rationed.
        if (level as i32) < RDKafkaLogLevel::Error as i32 {
            tracing::error!("librdkafka {facility}: {}", self.clean(message));
        } else {
            tracing::debug!("librdkafka {facility}: {}", self.clean(message));
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.judge(&statistics);
        self.measure(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let cleaned = self.clean(reason);
        let kind = classify(code, reason);
        tracing::debug!("librdkafka reports {code:?}, {kind:?}: {cleaned}");
        let refused = match kind {
            // It follows from the refusal, which says more.
            _ if code == RDKafkaErrorCode::AllBrokersDown && self.refusal().is_some() => return,
            Kind::Passing => return self.health.note_trouble(code, &cleaned),
            Kind::Fatal => {
                return self.health.fail(Undeliverable::new(format!(
                    "the producer cannot go on: {cleaned}"
                )));
            }
            Kind::Idempotence => {
                return self.health.fail(Undeliverable {
                    idempotence_refused: true,
                    ..Undeliverable::new(cleaned)
                });
            }
            Kind::Login => format!(
                "the broker refused {}: {cleaned}; check that it is whole and current and that its rule or role \
                 may send",
                self.login_name
            ),
            Kind::Tls => format!(
                "no TLS connection: {cleaned}; check the broker's name and port, and KAFKA_CA_FILE if its \
                 certificate is signed by an authority of your own"
            ),
        };
        self.health.errors.fetch_add(1, Relaxed);
        lock(&self.state)
            .refused
            .get_or_insert_with(|| (Instant::now(), refused));
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let Login::Bearer(source) = &self.login else {
            return Err("this producer does not sign in by token".into());
        };
        // We are on the polling thread, outside the runtime, and wait for a task inside it.
        let (answer, waiting) = mpsc::sync_channel(1);
        let source = Arc::clone(source);
        let closing = self.health.closing.clone();
        self.runtime.spawn(async move {
            let token = tokio::select! {
                biased;
                token = source.token() => token,
                () = closing.cancelled() => Err("the stream ends".to_owned()),
            };
            answer.send(token)
        });
        let token = waiting
            .recv_timeout(TOKEN_TIMEOUT)
            .map_err(|_| "no token within a minute")??;
        let lifetime = token.expires_on().duration_since(UNIX_EPOCH)?;
        Ok(OAuthToken {
            token: token.secret().to_owned(),
            // Event Hubs takes the principal from the token; librdkafka wants the field filled.
            principal_name: "stream-pageviews".to_owned(),
            lifetime_ms: i64::try_from(lifetime.as_millis())?,
        })
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.health.delivered.fetch_add(1, Relaxed);
            }
            Err((error, message)) => {
                self.health.lost.fetch_add(1, Relaxed);
                let topic = rdkafka::Message::topic(message);
                let check = match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                        "; create the topic (the event hub) first"
                    }
                    Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                        "; give the rule or role the right to send"
                    }
                    _ => "",
                };
                let last = self
                    .health
                    .last_trouble()
                    .map(|last| format!(" ({last})"))
                    .unwrap_or_default();
                let code = match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
                        "not delivered before the end".to_owned()
                    }
                    Some(code) => code.to_string(),
                    None => error.to_string(),
                };
                self.health.fail(Undeliverable::new(format!(
                    "a message for the topic {topic} was lost: {}{last}{check}",
                    self.clean(&code)
                )));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_what_passes() {
        for (code, reason, expected) in [
            (
                RDKafkaErrorCode::BrokerTransportFailure,
                "Connect failed: Connection refused",
                Kind::Passing,
            ),
            (
                RDKafkaErrorCode::AllBrokersDown,
                "1/1 brokers are down",
                Kind::Passing,
            ),
            (
                RDKafkaErrorCode::SSL,
                "SSL handshake failed: connection reset",
                Kind::Passing,
            ),
            (
                RDKafkaErrorCode::SSL,
                "error:0A000086:SSL routines::certificate verify failed",
                Kind::Tls,
            ),
            (
                RDKafkaErrorCode::SSL,
                "error:0A00010B:SSL routines::wrong version number",
                Kind::Tls,
            ),
            (
                RDKafkaErrorCode::Authentication,
                "SASL authentication error: no",
                Kind::Login,
            ),
            (
                RDKafkaErrorCode::Authentication,
                "Failed to acquire SASL OAUTHBEARER token: identity service away",
                Kind::Passing,
            ),
            (RDKafkaErrorCode::Fatal, "Fatal error: fenced", Kind::Fatal),
            (
                RDKafkaErrorCode::ClusterAuthorizationFailed,
                "Failed to acquire idempotence PID from broker b:1/1: Broker: Cluster authorization failed",
                Kind::Idempotence,
            ),
        ] {
            assert_eq!(classify(code, reason), expected, "{code:?} {reason}");
        }
    }

    #[test]
    fn what_sums_up_never_hides_what_went_wrong() {
        let health = Health::new();
        let down = || health.note_trouble(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        down();
        assert_eq!(health.last_trouble().unwrap(), NO_ANSWER);
        health.note_trouble(RDKafkaErrorCode::Resolve, "no such host");
        down();
        assert_eq!(health.last_trouble().unwrap(), "no such host");
    }

    #[test]
    fn the_first_failure_is_the_one_reported() {
        let health = Health::new();
        health.fail(Undeliverable::new("cause"));
        health.fail(Undeliverable::new("consequence"));
        assert_eq!(health.failure().unwrap().to_string(), "cause");
    }
}
