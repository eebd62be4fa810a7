//! A connection to a broker, and the librdkafka properties it is made of.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datagen_azure::entra::ROLE_ASSIGNMENT_DELAY;
use datagen_settings::Secret;
use rdkafka::ClientConfig;

use super::token::TokenSource;
use datagen_settings::catalog::SecurityProtocol;

/// How a producer signs in.
#[derive(Clone)]
pub enum Login {
    /// Not at all.
    None,
    /// SASL PLAIN; Event Hubs: `$ConnectionString` and the connection string.
    Plain {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// SASL OAUTHBEARER with tokens from this source.
    Bearer(Arc<dyn TokenSource>),
}

impl Login {
    /// Two producers that sign in alike can be one.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (
                Self::Plain { user, password },
                Self::Plain {
                    user: other_user,
                    password: other_password,
                },
            ) => user == other_user && password == other_password,
            (Self::Bearer(source), Self::Bearer(other)) => Arc::ptr_eq(source, other),
            _ => false,
        }
    }

    /// Whether roles decide what it may do. A role that was assigned a moment ago is not known everywhere yet.
    pub fn has_roles(&self) -> bool {
        matches!(self, Self::Bearer(_))
    }

    /// What must never be printed, if the text of an error should contain it.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Plain { password, .. } => Some(password.expose()),
            Self::None | Self::Bearer(_) => None,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Plain { user, password } => f
                .debug_struct("Plain")
                .field("user", user)
                .field("password", password)
                .finish(),
            Self::Bearer(_) => f.debug_tuple("Bearer").finish_non_exhaustive(),
        }
    }
}

/// A broker and the limits of patience with it.
#[derive(Clone, Debug)]
pub struct Broker {
    /// `HOST:PORT[,HOST:PORT…]`.
    pub bootstrap_servers: String,
    /// Encryption and sign-in.
    pub security: SecurityProtocol,
    /// A PEM file with the certificate authorities to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// What else librdkafka should know; these win over our own settings.
    pub extra: Vec<(String, String)>,
    /// The limits.
    pub patience: Patience,
}

/// How long the sink waits for a broker before it gives up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// At the start, for a connection and for the topics.
    pub connect: Duration,
    /// For one message, retries included; then it is lost.
    pub delivery: Duration,
    /// At the start, for the role that lets an identity of Microsoft Entra ID send.
    pub role: Duration,
    /// For a broker that refuses our certificate, our name or our topic to change its mind.
    pub refusal: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            role: ROLE_ASSIGNMENT_DELAY,
            // librdkafka's and Kafka's own default neighbourhood: failovers and upgrades take a minute or
            // two.
            delivery: Duration::from_secs(300),
            // Less than the 30 s in which a refusal must have ended the process.
            refusal: Duration::from_secs(10),
        }
    }
}

/// How often librdkafka reports its statistics.
pub const STATISTICS_INTERVAL: Duration = Duration::from_millis(500);

/// Memory that messages may take while they wait for the broker, KiB, and how many there may be (each costs
/// librdkafka some 200 bytes more). All producers together.
const QUEUE: (usize, usize) = (32_768, 100_000);

/// The properties of one producer of `producers`, which share the memory.
///
/// Without `idempotent` it still keeps the order, at one request in flight, but a retry may deliver twice.
pub fn client_config(broker: &Broker, login: &Login, idempotent: bool, producers: usize) -> ClientConfig {
    let mut config = ClientConfig::new();
    let mut set = |name: &str, value: &str| {
        config.set(name, value);
    };
    set("bootstrap.servers", &broker.bootstrap_servers);
    set(
        "client.id",
        concat!("stream-pageviews/", env!("CARGO_PKG_VERSION")),
    );
    set("security.protocol", broker.security.as_str());

    if broker.security.has_tls() {
        set("enable.ssl.certificate.verification", "true");
        set("ssl.endpoint.identification.algorithm", "https");
        match &broker.ca_file {
            Some(file) => set("ssl.ca.location", &file.to_string_lossy()),
            // The OpenSSL inside looks where it was built, not where this machine keeps its authorities.
            None => set("ssl.ca.location", "probe"),
        }
    }
    if broker.security.has_sasl() {
        match login {
            Login::None => {}
            Login::Plain { user, password } => {
                set("sasl.mechanism", "PLAIN");
                set("sasl.username", user);
                set("sasl.password", password.expose());
            }
            Login::Bearer(_) => set("sasl.mechanism", "OAUTHBEARER"),
        }
    }

    // Delivery: acknowledged by all replicas, retried until the message's own time is over.
    set("acks", "all");
    set(
        "message.timeout.ms",
        &broker.patience.delivery.as_millis().to_string(),
    );
    if idempotent {
        set("enable.idempotence", "true");
    } else {
        set("max.in.flight.requests.per.connection", "1");
    }
    // A topic that was there and is gone is a loss now, not after `message.timeout.ms`.
    set("topic.metadata.propagation.max.ms", "10000");

    // Event Hubs, https://learn.microsoft.com/azure/event-hubs/apache-kafka-configurations: a connection
    // without a word for 240 s is cut, so keep-alive, an own limit below that, and metadata (of the topics,
    // and how long what is known of them holds) asked for in time.
    set("socket.keepalive.enable", "true");
    set("connections.max.idle.ms", "180000");
    set("topic.metadata.refresh.interval.ms", "180000");
    set("metadata.max.age.ms", "180000");
    // Same page: at least 60 s for the service to acknowledge; and the connection is given a little more, so
    // that the service's own answer arrives.
    set("request.timeout.ms", "60000");
    set("socket.timeout.ms", "65000");
    // Same page: a request above 1046528 bytes closes the connection.
    set("message.max.bytes", "1000000");
    set("batch.size", "900000");
    // Throttled (ServerBusy) or failing over: wait longer each time instead of hammering.
    set("retry.backoff.ms", "100");
    set("retry.backoff.max.ms", "5000");
    // A broker that comes back is noticed within seconds.
    set("reconnect.backoff.ms", "100");
    set("reconnect.backoff.max.ms", "3000");
    // Requests are few and large under load, and a lone pageview waits no longer than anyone would notice.
    set("linger.ms", "20");
    // Above this the generator waits.
    let (kbytes, messages) = QUEUE;
    set(
        "queue.buffering.max.messages",
        &(messages / producers).to_string(),
    );
    set("queue.buffering.max.kbytes", &(kbytes / producers).to_string());
    // The same key goes to the same partition as from any Java client.
    set("partitioner", "murmur2_random");

    set(
        "statistics.interval.ms",
        &STATISTICS_INTERVAL.as_millis().to_string(),
    );
    // We say ourselves, and less often, that a broker is gone.
    set("log.connection.close", "false");
    for (name, value) in &broker.extra {
        set(name, value);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_prints_no_password() {
        let login = Login::Plain {
            user: "$ConnectionString".into(),
            password: Secret::new("PLANTED"),
        };
        assert_eq!(
            format!("{login:?}"),
            r#"Plain { user: "$ConnectionString", password: Secret(…) }"#
        );
    }
}
