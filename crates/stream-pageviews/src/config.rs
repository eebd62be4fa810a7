//! What stream-pageviews is told by its environment variables: whose sessions, how fast, and whereto.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use datagen_core::config::{Environment, FromSetting, Problems, Setting, Text, is_host, local_path};
use datagen_core::model::session::Pause;
use datagen_core::model::{MAX_ID, defaults};
use datagen_core::pace::MAX_RATE;
use datagen_core::secret::Secret;
use datagen_core::settings;

use crate::sink::kafka::connection_string::ConnectionString;
use crate::visit::Topic;

settings! {
    /// What stream-pageviews reads beside the common variables.
    pub struct StreamSettings {
        user_max_id: u64 = "USER_MAX_ID", default defaults::USER_MAX_ID_TEXT,
            "The highest existing user id; sessions are of users 0 to USER_MAX_ID. 0 to 2147483647.";
        product_max_id: u64 = "PRODUCT_MAX_ID", default defaults::PRODUCT_MAX_ID_TEXT,
            "The highest existing product id; pageviews are of products 0 to PRODUCT_MAX_ID. 0 to 2147483647.";
        sessions: u64 = "SESSIONS", default "without end",
            "How many sessions all shards make together. 0 to 18446744073709551615.";
        session_pause_mean: f64 = "SESSION_PAUSE_MEAN", default "10",
            "Mean of the normal distribution whose absolute value is the wait before a session, in seconds; 0 is no wait at all, for load tests. 0 to 86400.";
        session_pause_stddev: f64 = "SESSION_PAUSE_STDDEV", default "5",
            "Standard deviation of the wait before a session, in seconds. 0 to 86400.";
        concurrent_users: u32 = "CONCURRENT_USERS", default "1",
            "How many visitors are in the shop at once, each waiting and visiting by themselves. 1 to 100000.";
        rate: f64 = "RATE", default "0",
            "Messages a second at the most; 0 is no bound. 0 to 1000000000.";
        stream_url: Text = "STREAM_URL", default "",
            "A local directory: file:///dir, for pageviews.jsonl and stars.jsonl. Either this, EVENTHUB_NAMESPACE or KAFKA_BOOTSTRAP_SERVERS.";
        eventhub_namespace: Text = "EVENTHUB_NAMESPACE", default "",
            "Name of the Event Hubs namespace: NAME of NAME.servicebus.windows.net. Without connection strings Microsoft Entra ID signs in.";
        eventhub_connection_string_pageviews: Secret = "EVENTHUB_CONNECTION_STRING_PAGEVIEWS", default "",
            "Connection string that may send to the hub pageviews.";
        eventhub_connection_string_stars: Secret = "EVENTHUB_CONNECTION_STRING_STARS", default "",
            "Connection string that may send to the hub stars.";
        kafka_bootstrap_servers: Text = "KAFKA_BOOTSTRAP_SERVERS", default "",
            "Any other Kafka or emulator: HOST:PORT[,HOST:PORT…].";
        kafka_security_protocol: SecurityProtocol = "KAFKA_SECURITY_PROTOCOL", default "PLAINTEXT",
            "How to talk to KAFKA_BOOTSTRAP_SERVERS: PLAINTEXT, SASL_PLAINTEXT, SASL_SSL or SSL.";
        kafka_ca_file: Text = "KAFKA_CA_FILE", default "the system's authorities",
            "PEM file of the authorities that may sign the broker's certificate.";
        metrics_addr: Text = "METRICS_ADDR", default "",
            "Address on which metrics are served for Prometheus, under /metrics: 0.0.0.0:9464. Unset: nowhere.";
    }
}

/// The work of stream-pageviews.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// The highest user id.
    pub user_max_id: u64,
    /// The highest product id.
    pub product_max_id: u64,
    /// How many sessions all shards make; `None` is without end.
    pub sessions: Option<u64>,
    /// The waits before sessions.
    pub pause: Pause,
    /// How many loops of sessions run at once.
    pub concurrent_users: u32,
    /// Messages a second at the most.
    pub rate: Option<f64>,
    /// Where the messages go.
    pub target: Target,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
}

/// A destination of messages.
#[derive(Clone, Debug)]
pub enum Target {
    /// Two files in a directory of this machine.
    Directory(PathBuf),
    /// A Kafka endpoint.
    Kafka(KafkaConfig),
}

/// A Kafka endpoint and how to sign in.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `HOST:PORT[,HOST:PORT…]`.
    pub bootstrap_servers: String,
    /// How to talk to them.
    pub security: SecurityProtocol,
    /// The Event Hubs namespace, if it is one.
    pub namespace: Option<String>,
    /// Connection strings for pageviews and stars, in this order; without them, and with SASL, Entra ID.
    pub connection_strings: Option<[Secret; 2]>,
    /// PEM file of authorities; without one the system's.
    pub ca_file: Option<PathBuf>,
}

/// Kafka's `security.protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither TLS nor sign-in.
    #[default]
    Plaintext,
    /// Sign-in without TLS: for emulators only.
    SaslPlaintext,
    /// Sign-in over TLS.
    SaslSsl,
    /// TLS without sign-in.
    Ssl,
}

impl SecurityProtocol {
    /// Whether the connection is encrypted, and so the broker's certificate verified.
    pub fn tls(self) -> bool {
        matches!(self, Self::SaslSsl | Self::Ssl)
    }

    /// Whether the client signs in.
    pub fn sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// As librdkafka spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
            Self::Ssl => "SSL",
        }
    }
}

impl FromSetting for SecurityProtocol {
    const EXPECTED: &'static str = "PLAINTEXT, SASL_PLAINTEXT, SASL_SSL or SSL";

    fn from_setting(text: &str) -> Result<Self, String> {
        let all = [Self::Plaintext, Self::SaslPlaintext, Self::SaslSsl, Self::Ssl];
        let found = all
            .into_iter()
            .find(|protocol| protocol.as_str() == text.to_ascii_uppercase());
        found.ok_or_else(|| format!("is not a security protocol: give {}", Self::EXPECTED))
    }
}

impl StreamConfig {
    /// Reads and judges the variables.
    pub fn read(environment: &Environment, problems: &mut Problems) -> Option<Self> {
        let mut settings: StreamSettings = environment.read();
        let take = std::mem::take::<Setting<u64>>;
        let user_max_id = take(&mut settings.user_max_id).within("USER_MAX_ID", 0..=MAX_ID, problems);
        let product_max_id =
            take(&mut settings.product_max_id).within("PRODUCT_MAX_ID", 0..=MAX_ID, problems);
        let sessions = take(&mut settings.sessions).value("SESSIONS", problems);
        let mut number = |setting: &mut Setting<f64>, name, most| {
            std::mem::take(setting).within(name, 0.0..=most, problems)
        };
        const DAY: f64 = 86_400.0;
        let mean = number(&mut settings.session_pause_mean, "SESSION_PAUSE_MEAN", DAY);
        let stddev = number(&mut settings.session_pause_stddev, "SESSION_PAUSE_STDDEV", DAY);
        let rate = number(&mut settings.rate, "RATE", MAX_RATE);
        let users = std::mem::take(&mut settings.concurrent_users);
        let concurrent_users = users
            .within("CONCURRENT_USERS", 1..=100_000, problems)
            .unwrap_or(1);
        let metrics = std::mem::take(&mut settings.metrics_addr).value("METRICS_ADDR", problems);
        let metrics = metrics.and_then(|Text(address)| match address.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                problems.report(
                    "METRICS_ADDR",
                    "is not an IP address with a port: give something like 0.0.0.0:9464",
                );
                None
            }
        });
        let target = read_target(settings, problems)?;
        Some(Self {
            user_max_id: user_max_id.unwrap_or(defaults::USER_MAX_ID),
            product_max_id: product_max_id.unwrap_or(defaults::PRODUCT_MAX_ID),
            sessions,
            pause: Pause {
                mean: mean.unwrap_or(10.0),
                stddev: stddev.unwrap_or(5.0),
            },
            concurrent_users,
            rate,
            target,
            metrics,
        })
    }
}

/// The variables that describe a Kafka endpoint, each good by itself.
struct KafkaVariables {
    namespace: Option<String>,
    security: Option<SecurityProtocol>,
    connection_strings: Option<[Secret; 2]>,
    ca_file: Option<PathBuf>,
}

fn read_target(settings: StreamSettings, problems: &mut Problems) -> Option<Target> {
    let before = problems.len();
    check_destination(&settings, problems);
    let url = settings.stream_url.value("STREAM_URL", problems);
    let servers = settings
        .kafka_bootstrap_servers
        .value("KAFKA_BOOTSTRAP_SERVERS", problems);
    let namespace = settings.eventhub_namespace.value("EVENTHUB_NAMESPACE", problems);
    let ca_file = settings.kafka_ca_file.value("KAFKA_CA_FILE", problems);
    let pageviews = settings.eventhub_connection_string_pageviews;
    let stars = settings.eventhub_connection_string_stars;
    let pageviews = pageviews.value("EVENTHUB_CONNECTION_STRING_PAGEVIEWS", problems);
    let stars = stars.value("EVENTHUB_CONNECTION_STRING_STARS", problems);
    let variables = KafkaVariables {
        namespace: namespace.map(|Text(name)| name),
        security: settings
            .kafka_security_protocol
            .value("KAFKA_SECURITY_PROTOCOL", problems),
        connection_strings: pageviews.zip(stars).map(|(pageviews, stars)| [pageviews, stars]),
        ca_file: ca_file.map(|Text(path)| PathBuf::from(path)),
    };
    if let Some(name) = &variables.namespace
        && !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        problems.report(
            "EVENTHUB_NAMESPACE",
            "is not the name of a namespace: give NAME of NAME.servicebus.windows.net, letters, digits and hyphens",
        );
    }
    if problems.len() > before {
        return None;
    }
    let target = match (url, servers) {
        (Some(Text(url)), _) => Target::Directory(directory(&url, &variables, problems)?),
        (None, Some(Text(servers))) => Target::Kafka(other_broker(servers, variables, problems)),
        (None, None) => Target::Kafka(event_hubs(variables, problems)?),
    };
    if let Target::Kafka(kafka) = &target {
        check_connection_strings(kafka, problems);
        if kafka.ca_file.as_ref().is_some_and(|file| !file.is_file()) {
            problems.report("KAFKA_CA_FILE", "is not a file: give the path of a PEM file");
        }
    }
    (problems.len() == before).then_some(target)
}

/// Judges whether the variables name one destination, and all of it.
fn check_destination(settings: &StreamSettings, problems: &mut Problems) {
    let by_url = settings.stream_url.is_set();
    let by_servers = settings.kafka_bootstrap_servers.is_set();
    // The namespace goes with other servers, too, for the sign-in, and is no second destination then.
    let by_namespace = settings.eventhub_namespace.is_set() && !by_servers;
    match [by_url, by_namespace, by_servers].into_iter().filter(|is_set| *is_set).count() {
        0 => problems.report(
            "EVENTHUB_NAMESPACE",
            "is not set, and neither is KAFKA_BOOTSTRAP_SERVERS nor STREAM_URL: name a destination, a namespace, HOST:PORT or file:///dir",
        ),
        1 => {}
        _ => problems.report(
            "STREAM_URL",
            "and EVENTHUB_NAMESPACE or KAFKA_BOOTSTRAP_SERVERS name two destinations: unset all but one",
        ),
    }
    let pageviews = settings.eventhub_connection_string_pageviews.is_set();
    let stars = settings.eventhub_connection_string_stars.is_set();
    if pageviews != stars {
        problems.report(
            "EVENTHUB_CONNECTION_STRING_PAGEVIEWS",
            "and EVENTHUB_CONNECTION_STRING_STARS belong together: set both, or neither to sign in with Entra ID",
        );
    }
    if by_url && pageviews && stars {
        problems.report(
            "STREAM_URL",
            "and the EVENTHUB_CONNECTION_STRINGs name two destinations: unset one of them",
        );
    }
}

/// The directory that STREAM_URL names, with which the variables of Kafka make no sense.
fn directory(url: &str, variables: &KafkaVariables, problems: &mut Problems) -> Option<PathBuf> {
    for (name, is_set) in [
        ("KAFKA_SECURITY_PROTOCOL", variables.security.is_some()),
        ("KAFKA_CA_FILE", variables.ca_file.is_some()),
    ] {
        if is_set {
            problems.report(name, "is for Kafka, but STREAM_URL names a directory: unset it");
        }
    }
    local_path(url, "file")
        .map_err(|fault| problems.report("STREAM_URL", fault))
        .ok()
}

/// The endpoint of the Event Hubs namespace.
fn event_hubs(variables: KafkaVariables, problems: &mut Problems) -> Option<KafkaConfig> {
    let namespace = variables.namespace?;
    let speaks = SecurityProtocol::SaslSsl;
    if variables.security.is_some_and(|security| security != speaks) {
        problems.report(
            "KAFKA_SECURITY_PROTOCOL",
            "is for KAFKA_BOOTSTRAP_SERVERS; Event Hubs speaks SASL_SSL only: unset it",
        );
    }
    Some(KafkaConfig {
        bootstrap_servers: format!("{namespace}.servicebus.windows.net:9093"),
        security: speaks,
        namespace: Some(namespace),
        connection_strings: variables.connection_strings,
        ca_file: variables.ca_file,
    })
}

/// The endpoint at KAFKA_BOOTSTRAP_SERVERS.
fn other_broker(servers: String, variables: KafkaVariables, problems: &mut Problems) -> KafkaConfig {
    let is_server = |server: &str| {
        let parts = server.trim().rsplit_once(':');
        parts.is_some_and(|(host, port)| {
            let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            is_host(address.unwrap_or(host)) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    if !servers.split(',').all(is_server) {
        problems.report(
            "KAFKA_BOOTSTRAP_SERVERS",
            "is not a list of servers: give HOST:PORT[,HOST:PORT…], without a scheme, a user or a password",
        );
    }
    let kafka = KafkaConfig {
        bootstrap_servers: servers,
        security: variables.security.unwrap_or_default(),
        namespace: variables.namespace,
        connection_strings: variables.connection_strings,
        ca_file: variables.ca_file,
    };
    check_sign_in(&kafka, problems);
    kafka
}

/// Judges whether the security protocol and what there is to sign in with go together.
fn check_sign_in(kafka: &KafkaConfig, problems: &mut Problems) {
    let security = kafka.security;
    let fault = match (&kafka.connection_strings, &kafka.namespace) {
        (Some(_), _) if !security.sasl() => {
            "does not sign in, but connection strings are set: give SASL_SSL, SASL_PLAINTEXT for the emulator, or \
             unset EVENTHUB_CONNECTION_STRING_PAGEVIEWS and EVENTHUB_CONNECTION_STRING_STARS"
        }
        (None, None) if security.sasl() => {
            "signs in, but there is nothing to sign in with: give EVENTHUB_CONNECTION_STRING_PAGEVIEWS and \
             EVENTHUB_CONNECTION_STRING_STARS, or EVENTHUB_NAMESPACE for Microsoft Entra ID"
        }
        (None, Some(_)) if can_be_overheard(kafka) => {
            "would send the token of Microsoft Entra ID unencrypted: give SASL_SSL"
        }
        _ => return,
    };
    problems.report(
        "KAFKA_SECURITY_PROTOCOL",
        format_args!("is {}, which {fault}", security.as_str()),
    );
}

/// Whether what signs in crosses a network without TLS.
fn can_be_overheard(kafka: &KafkaConfig) -> bool {
    let is_here = |server: &str| {
        let (host, _) = server.trim().rsplit_once(':').unwrap_or((server, ""));
        let address = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    };
    kafka.security == SecurityProtocol::SaslPlaintext && !kafka.bootstrap_servers.split(',').all(is_here)
}

/// Judges each connection string by itself, against its hub, and against the endpoint: one in Azure must be
/// the one in the strings, while other servers may be reached by any name. A key that is not public crosses a
/// network by TLS only.
fn check_connection_strings(kafka: &KafkaConfig, problems: &mut Problems) {
    let names = [
        "EVENTHUB_CONNECTION_STRING_PAGEVIEWS",
        "EVENTHUB_CONNECTION_STRING_STARS",
    ];
    let azure = kafka
        .bootstrap_servers
        .split(',')
        .filter_map(|server| server.trim().rsplit_once(':'))
        .map(|(host, _)| host)
        .find(|host| host.to_ascii_lowercase().contains(".servicebus."));
    for (name, (topic, secret)) in names
        .iter()
        .zip(Topic::ALL.iter().zip(kafka.connection_strings.iter().flatten()))
    {
        let string = ConnectionString::parse(secret.expose());
        if let Ok(string) = &string
            && can_be_overheard(kafka)
            && !string.is_emulator()
        {
            problems.report(
                name,
                "would be sent unencrypted by SASL_PLAINTEXT, which is for the emulator's strings \
                 (UseDevelopmentEmulator=true): give KAFKA_SECURITY_PROTOCOL=SASL_SSL",
            );
        } else if let Err(fault) = string.and_then(|string| string.check(azure, topic.name())) {
            problems.report(name, fault);
        }
    }
}
