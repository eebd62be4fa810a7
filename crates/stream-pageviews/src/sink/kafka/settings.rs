//! How a producer connects: its login, the limits, and the librdkafka properties.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datagen_azure::entra::ROLE_ASSIGNMENT_DELAY;
use datagen_settings::Variable;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::token::TokenSource;
use crate::config::kafka::KafkaConfig;
use crate::connection_string::ConnectionString;

/// The user name that belongs to a connection string as the password.
/// <https://learn.microsoft.com/azure/event-hubs/azure-event-hubs-apache-kafka-overview>
const CONNECTION_STRING_USER: &str = "$ConnectionString";

/// How a producer signs in.
#[derive(Clone)]
pub enum Login {
    /// Not at all.
    None,
    /// With SASL PLAIN.
    ConnectionString {
        /// The setting that the string came from.
        variable: Variable,
        /// The password.
        string: ConnectionString,
    },
    /// With SASL OAUTHBEARER and tokens from this source.
    EntraId(Arc<dyn TokenSource>),
}

impl Login {
    /// Whether one producer can serve both logins.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::ConnectionString { string: a, .. }, Self::ConnectionString { string: b, .. }) => a == b,
            (Self::EntraId(a), Self::EntraId(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::None => "us",
            Self::ConnectionString { variable, .. } => variable.name,
            Self::EntraId(_) => "the Microsoft Entra ID sign-in",
        }
    }

    /// Whether roles decide what it may do. A new role assignment takes minutes to arrive everywhere.
    pub(super) fn has_roles(&self) -> bool {
        matches!(self, Self::EntraId(_))
    }

    /// What must never be printed, even if the text of an error contains it.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Self::ConnectionString { string, .. } => Some(string.secret().expose()),
            Self::None | Self::EntraId(_) => None,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long the sink waits before it gives up, and how much may wait in it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At the start, for a connection and for the topics.
    pub connect: Duration,
    /// At the start, when the topics are known, for the id of an idempotent producer. Afterwards the producer is not
    /// idempotent.
    pub producer_id: Duration,
    /// At the start, for the role that lets an identity of Microsoft Entra ID send.
    pub role: Duration,
    /// For one message, retries included; then it is lost.
    pub delivery: Duration,
    /// For a broker that refuses our sign-in, or whose certificate we refuse, in the middle of a run.
    pub refusal: Duration,
    /// Messages that wait for the broker. Each takes about 200 bytes of librdkafka's memory besides its own bytes.
    pub queued_messages: usize,
    /// Memory that these messages take, KiB.
    pub queued_kib: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            // Brokers that have one hand it out within milliseconds; some that have none do not answer.
            producer_id: Duration::from_secs(5),
            role: ROLE_ASSIGNMENT_DELAY,
            // Failovers and upgrades take a minute or two; librdkafka's own default is the same.
            delivery: Duration::from_secs(300),
            // Less than the 30 s in which a refusal must have ended the process.
            refusal: Duration::from_secs(10),
            // A broker has at most five requests of an idempotent producer in flight, which hold about 10 000 messages. More
            // of them would only leave the processor's cache before they are sent.
            queued_messages: 20_000,
            queued_kib: 32_768,
        }
    }
}

/// The size of a request, bytes, that a topic must accept. Event Hubs closes the connection above 1046528 bytes.
/// <https://learn.microsoft.com/azure/event-hubs/apache-kafka-configurations>
pub(super) const REQUEST_BYTES: u32 = 1_000_000;

/// How often librdkafka reports its statistics.
pub const STATISTICS_INTERVAL: Duration = Duration::from_millis(500);

/// The properties of one of `producers` producers, which share the memory.
///
/// Without `idempotent` it still keeps the order, with one request in flight, but a retry may deliver twice.
pub(super) fn client_config(
    config: &KafkaConfig,
    login: &Login,
    limits: &Limits,
    idempotent: bool,
    producers: usize,
) -> ClientConfig {
    let mut properties = ClientConfig::new();
    let mut set = |name: &str, value: &str| {
        properties.set(name, value);
    };
    set("bootstrap.servers", &config.bootstrap_servers);
    set(
        "client.id",
        concat!("stream-pageviews/", env!("CARGO_PKG_VERSION")),
    );
    set("security.protocol", config.security.as_str());

    if config.security.has_tls() {
        set("enable.ssl.certificate.verification", "true");
        set("ssl.endpoint.identification.algorithm", "https");
        match &config.ca_file {
            Some(file) => set("ssl.ca.location", &file.to_string_lossy()),
            // The vendored OpenSSL looks where it was built, not where this machine keeps its authorities.
            None => set("ssl.ca.location", "probe"),
        }
    }
    match login {
        Login::None => {}
        Login::ConnectionString { string, .. } => {
            set("sasl.mechanism", "PLAIN");
            set("sasl.username", CONNECTION_STRING_USER);
            set("sasl.password", string.secret().expose());
        }
        Login::EntraId(_) => set("sasl.mechanism", "OAUTHBEARER"),
    }

    // Delivery: acknowledged by all replicas, retried until the message's own time is over.
    set("acks", "all");
    set("message.timeout.ms", &limits.delivery.as_millis().to_string());
    if idempotent {
        set("enable.idempotence", "true");
        // Logs when the broker has handed out the producer's id.
        set("debug", "eos");
    } else {
        set("max.in.flight.requests.per.connection", "1");
    }
    // A topic that was there and is gone is a loss now, not after `message.timeout.ms`.
    set("topic.metadata.propagation.max.ms", "10000");

    // Event Hubs, https://learn.microsoft.com/azure/event-hubs/apache-kafka-configurations: an idle connection is closed
    // after 240 s. Hence keep-alive, a limit of our own below that, and a refresh of the metadata in time.
    set("socket.keepalive.enable", "true");
    set("connections.max.idle.ms", "180000");
    set("topic.metadata.refresh.interval.ms", "180000");
    set("metadata.max.age.ms", "180000");
    // Same page: at least 60 s for the service to acknowledge. The connection gets a little more, so that the service's
    // own answer arrives.
    set("request.timeout.ms", "60000");
    set("socket.timeout.ms", "65000");
    set("message.max.bytes", &REQUEST_BYTES.to_string());
    set("batch.size", "900000");
    // While the service throttles (ServerBusy) or fails over, wait longer each time.
    set("retry.backoff.ms", "100");
    set("retry.backoff.max.ms", "5000");
    // A broker that comes back is noticed within seconds.
    set("reconnect.backoff.ms", "100");
    set("reconnect.backoff.max.ms", "3000");
    // Requests are few and large under load, and a single pageview still arrives quickly.
    set("linger.ms", "20");
    // Above this the generator waits.
    set(
        "queue.buffering.max.messages",
        &(limits.queued_messages / producers).to_string(),
    );
    set(
        "queue.buffering.max.kbytes",
        &(limits.queued_kib / producers).to_string(),
    );
    // The same key goes to the same partition as from any Java client.
    set("partitioner", "murmur2_random");

    set(
        "statistics.interval.ms",
        &STATISTICS_INTERVAL.as_millis().to_string(),
    );
    // This program reports lost connections itself, and less often.
    set("log.connection.close", "false");
    set("log.thread.name", "false");
    properties.set_log_level(RDKafkaLogLevel::Debug);
    properties
}

#[cfg(test)]
mod tests {
    use datagen_settings::catalog::MessageSettings;

    use super::*;

    #[test]
    fn a_login_prints_no_password() {
        let string = "Endpoint=sb://x/;SharedAccessKeyName=send;SharedAccessKey=PLANTED";
        let login = Login::ConnectionString {
            variable: MessageSettings::EVENTHUB_CONNECTION_STRING_STARS,
            string: ConnectionString::parse(string).unwrap(),
        };
        assert_eq!(format!("{login:?}"), "EVENTHUB_CONNECTION_STRING_STARS");
    }
}
