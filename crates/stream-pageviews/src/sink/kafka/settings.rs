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

/// The user name to use with a connection string as the password.
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
    /// Returns whether one producer can serve both logins.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::ConnectionString { string: a, .. }, Self::ConnectionString { string: b, .. }) => a == b,
            (Self::EntraId(a), Self::EntraId(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Returns the name of the login for log and error messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::None => "us",
            Self::ConnectionString { variable, .. } => variable.name,
            Self::EntraId(_) => "the Microsoft Entra ID sign-in",
        }
    }

    /// Returns whether roles decide what the login is allowed to do. A new role assignment takes minutes to take effect
    /// everywhere.
    pub(super) fn has_roles(&self) -> bool {
        matches!(self, Self::EntraId(_))
    }

    /// Returns what must never be printed, even if the text of an error contains it.
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
    /// At the start, the limit for connecting and for finding the topics.
    pub connect: Duration,
    /// At the start, when the topics are known, the limit for the id of an idempotent producer. When it is exceeded,
    /// the producer is not idempotent.
    pub producer_id: Duration,
    /// At the start, the limit for the role that allows a Microsoft Entra ID identity to send.
    pub role: Duration,
    /// The limit for one message, retries included. When it is exceeded, the message is lost.
    pub delivery: Duration,
    /// The limit during a run for a broker that refuses the client's sign-in, or whose certificate the client refuses.
    pub refusal: Duration,
    /// The maximum number of messages that wait for the broker. Each takes about 200 bytes of librdkafka's memory in
    /// addition to the message itself.
    pub queued_messages: usize,
    /// The maximum memory of the waiting messages, in KiB.
    pub queued_kib: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            // Brokers that support producer ids assign one within milliseconds; some that do not support them never
            // answer.
            producer_id: Duration::from_secs(5),
            role: ROLE_ASSIGNMENT_DELAY,
            // Failovers and upgrades take a minute or two; librdkafka's default is the same.
            delivery: Duration::from_secs(300),
            // Less than the 30 s in which a refusal must have ended the process.
            refusal: Duration::from_secs(10),
            // A broker has at most five requests of an idempotent producer in flight, which hold about 10 000 messages.
            // With a longer queue, messages would only drop out of the processor's cache before they are sent.
            queued_messages: 20_000,
            queued_kib: 32_768,
        }
    }
}

/// The size of a request, in bytes, that a topic must accept. Event Hubs closes the connection above 1046528 bytes.
/// <https://learn.microsoft.com/azure/event-hubs/apache-kafka-configurations>
pub(super) const REQUEST_BYTES: u32 = 1_000_000;

/// How often librdkafka reports its statistics.
pub const STATISTICS_INTERVAL: Duration = Duration::from_millis(500);

/// Returns the properties of one of `producers` producers, which share the memory.
///
/// Without `idempotent` the producer still keeps the order, with one request in flight, but a retry may deliver twice.
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
            // The vendored OpenSSL looks where it was built, not where this machine keeps its certificate authorities.
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

    // Delivery: acknowledged by all replicas, and retried until the message's time limit is over.
    set("acks", "all");
    set("message.timeout.ms", &limits.delivery.as_millis().to_string());
    if idempotent {
        set("enable.idempotence", "true");
        // Makes librdkafka log when the broker has assigned the producer's id.
        set("debug", "eos");
    } else {
        set("max.in.flight.requests.per.connection", "1");
    }
    // If a topic that existed disappears, its messages are lost after this time, and not only after
    // `message.timeout.ms`.
    set("topic.metadata.propagation.max.ms", "10000");

    // Event Hubs closes an idle connection after 240 s,
    // https://learn.microsoft.com/azure/event-hubs/apache-kafka-configurations. Hence keep-alive, a lower limit in the
    // client, and a timely refresh of the metadata.
    set("socket.keepalive.enable", "true");
    set("connections.max.idle.ms", "180000");
    set("topic.metadata.refresh.interval.ms", "180000");
    set("metadata.max.age.ms", "180000");
    // Same page: at least 60 s for the service to acknowledge. The limit of the connection is a little higher, so that
    // the service's answer still arrives.
    set("request.timeout.ms", "60000");
    set("socket.timeout.ms", "65000");
    set("message.max.bytes", &REQUEST_BYTES.to_string());
    set("batch.size", "900000");
    // While the service throttles (ServerBusy) or fails over, the wait gets longer each time.
    set("retry.backoff.ms", "100");
    set("retry.backoff.max.ms", "5000");
    // A broker that comes back is noticed within seconds.
    set("reconnect.backoff.ms", "100");
    set("reconnect.backoff.max.ms", "3000");
    // Under load, requests are few and large; otherwise a single pageview still arrives quickly.
    set("linger.ms", "20");
    // When this limit is reached, the generator waits.
    set(
        "queue.buffering.max.messages",
        &(limits.queued_messages / producers).to_string(),
    );
    set(
        "queue.buffering.max.kbytes",
        &(limits.queued_kib / producers).to_string(),
    );
    // Messages with the same key go to the same partition as from any Java client.
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
