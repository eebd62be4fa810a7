//! What the environment variables ask of stream-pageviews: which sessions, when, how fast, and where to.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use chrono::Utc;
use datagen_core::model::Profile;
use datagen_core::model::session::Pause;
use datagen_settings::catalog::{
    CommonSettings, MessageSettings, SecurityProtocol, StreamSettings, WorldSettings,
};
use datagen_settings::value::Timestamp;
use datagen_settings::{Environment, Problems, Secret, Variable, is_host, local_path};

use crate::connection_string::ConnectionString;
use crate::message::Topic;

/// The work of stream-pageviews.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// The highest user id.
    pub user_max_id: u64,
    /// The highest product id.
    pub product_max_id: u64,
    /// What the sessions look like.
    pub profile: Profile,
    /// How many sessions all shards make; `None` is without end.
    pub sessions: Option<u64>,
    /// The pauses between the starts of sessions of one source.
    pub pause: Pause,
    /// How many sources of sessions all shards have together.
    pub concurrent_users: u32,
    /// When the stream begins, in milliseconds since 1970; `None` means at the start of the process.
    pub from_ms: Option<u64>,
    /// When the stream ends, in milliseconds since 1970; `None` means never.
    pub to_ms: Option<u64>,
    /// Whether messages have the fields of their events.
    pub event_fields: bool,
    /// One message in this many is late; 0 means none.
    pub late_one_in: u64,
    /// One message in this many is sent twice; 0 means none.
    pub duplicate_one_in: u64,
    /// Which data; `None` means a random seed.
    pub seed: Option<u64>,
    /// Maximum number of messages per second; 0 means no limit.
    pub rate: f64,
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
    #[cfg(feature = "kafka")]
    Kafka(KafkaConfig),
}

#[cfg(feature = "kafka")]
fn accept(endpoint: KafkaConfig, _problems: &mut Problems) -> Option<Target> {
    Some(Target::Kafka(endpoint))
}

#[cfg(not(feature = "kafka"))]
fn accept(endpoint: KafkaConfig, problems: &mut Problems) -> Option<Target> {
    let variable = match endpoint.namespace {
        Some(_) => MessageSettings::EVENTHUB_NAMESPACE,
        None => MessageSettings::KAFKA_BOOTSTRAP_SERVERS,
    };
    problems.report(
        &variable,
        "names a Kafka endpoint, which this build leaves out: build stream-pageviews with the feature `kafka`",
    );
    None
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

impl StreamConfig {
    /// Whether nothing waits: without pauses, and without a time from which sessions follow each other.
    pub fn is_load_test(&self) -> bool {
        self.pause.mean == 0.0 && self.from_ms.is_none()
    }

    /// Reads and validates the settings.
    pub fn read(environment: &Environment, problems: &mut Problems) -> Option<Self> {
        let WorldSettings {
            user_max_id,
            product_max_id,
            profile,
        } = environment.read(problems);
        let settings: StreamSettings = environment.read(problems);
        let now = Timestamp::of_millis(Utc::now().timestamp_millis().unsigned_abs());
        check_times(&settings, now, problems);
        let concurrent_users = concurrent_users(&settings, environment, problems);
        let target = read_target(environment, problems)?;
        Some(Self {
            user_max_id,
            product_max_id,
            profile,
            sessions: settings.sessions,
            pause: Pause {
                mean: settings.session_pause_mean,
                stddev: settings.session_pause_stddev,
            },
            concurrent_users,
            from_ms: settings.stream_from.map(|time| time.as_millis().unsigned_abs()),
            to_ms: settings.stream_to.map(|time| time.as_millis().unsigned_abs()),
            event_fields: settings.event_fields,
            late_one_in: settings.late_one_in,
            duplicate_one_in: settings.duplicate_one_in,
            seed: settings.seed,
            rate: settings.rate,
            target,
            metrics: settings.metrics_addr,
        })
    }
}

/// Checks when the stream begins and ends, if it is configured at `now`, and what that rules out.
fn check_times(settings: &StreamSettings, now: Timestamp, problems: &mut Problems) {
    match (settings.stream_from, settings.stream_to) {
        (Some(from), Some(to)) if to <= from => problems.report(
            &StreamSettings::STREAM_TO,
            format_args!("is {to}, but the stream begins at STREAM_FROM={from}: give a later time"),
        ),
        (None, Some(to)) if to <= now => problems.report(
            &StreamSettings::STREAM_TO,
            format_args!("is {to}, which has passed: give a time in the future, or set STREAM_FROM"),
        ),
        (Some(from), None) if from > now && settings.sessions.is_none() => problems.report(
            &StreamSettings::STREAM_FROM,
            format_args!(
                "is {from}, which is in the future, and the stream has no end: give a time in the past, or set \
                 STREAM_TO"
            ),
        ),
        _ => {}
    }
    if settings.session_pause_mean == 0.0 && settings.stream_from.is_none() {
        for (variable, one_in) in [
            (StreamSettings::LATE_ONE_IN, settings.late_one_in),
            (StreamSettings::DUPLICATE_ONE_IN, settings.duplicate_one_in),
        ] {
            if one_in > 0 {
                problems.report(
                    &variable,
                    "needs time to pass, but SESSION_PAUSE_MEAN=0 is a load test, in which nothing waits: set \
                     STREAM_FROM or a longer pause, or unset it",
                );
            }
        }
    }
}

/// The number of sources of all shards together, of which each shard needs one.
fn concurrent_users(settings: &StreamSettings, environment: &Environment, problems: &mut Problems) -> u32 {
    // What is wrong with these settings is reported where they are read.
    let CommonSettings { shard_count, .. } = environment.read(&mut Problems::default());
    match settings.concurrent_users {
        None => shard_count,
        Some(sources) => {
            if sources < shard_count {
                problems.report(
                    &StreamSettings::CONCURRENT_USERS,
                    format_args!(
                        "is {sources}, the number of sources of all shards together, but SHARD_COUNT is {shard_count}: \
                         give at least {shard_count}"
                    ),
                );
            }
            sources
        }
    }
}

/// The variables that describe a Kafka endpoint, each valid by itself.
struct KafkaVariables {
    namespace: Option<String>,
    security: Option<SecurityProtocol>,
    connection_strings: Option<[Secret; 2]>,
    ca_file: Option<PathBuf>,
}

/// The variables with the connection strings, in the order of [`Topic::ALL`].
const CONNECTION_STRINGS: [Variable; 2] = [
    MessageSettings::EVENTHUB_CONNECTION_STRING_PAGEVIEWS,
    MessageSettings::EVENTHUB_CONNECTION_STRING_STARS,
];

fn read_target(environment: &Environment, problems: &mut Problems) -> Option<Target> {
    let before = problems.len();
    let settings: MessageSettings = environment.read(problems);
    check_destination(environment, problems);
    let connection_strings = settings
        .eventhub_connection_string_pageviews
        .zip(settings.eventhub_connection_string_stars)
        .map(|(pageviews, stars)| [pageviews, stars]);
    let variables = KafkaVariables {
        namespace: settings.eventhub_namespace.map(|text| text.0),
        security: settings.kafka_security_protocol,
        connection_strings,
        ca_file: settings.kafka_ca_file.map(|text| PathBuf::from(text.0)),
    };
    if let Some(name) = &variables.namespace
        && !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        problems.report(
            &MessageSettings::EVENTHUB_NAMESPACE,
            "is not the name of a namespace: give NAME of NAME.servicebus.windows.net, letters, digits and hyphens",
        );
    }
    if problems.len() > before {
        return None;
    }
    let endpoint = match (settings.stream_url, settings.kafka_bootstrap_servers) {
        (Some(url), _) => return directory(&url.0, &variables, problems).map(Target::Directory),
        (None, Some(servers)) => other_broker(servers.0, variables, problems),
        (None, None) => event_hubs(variables, problems)?,
    };
    check_connection_strings(&endpoint, problems);
    if endpoint.ca_file.as_ref().is_some_and(|file| !file.is_file()) {
        problems.report(
            &MessageSettings::KAFKA_CA_FILE,
            "is not a file: give the path of a PEM file",
        );
    }
    if problems.len() > before {
        return None;
    }
    accept(endpoint, problems)
}

/// Checks that the variables name one destination, and all of it.
fn check_destination(environment: &Environment, problems: &mut Problems) {
    let is_set = |variable: &Variable| environment.is_set(variable);
    let by_url = is_set(&MessageSettings::STREAM_URL);
    let by_servers = is_set(&MessageSettings::KAFKA_BOOTSTRAP_SERVERS);
    // With other servers, the namespace is needed for signing in and does not name a second destination.
    let by_namespace = is_set(&MessageSettings::EVENTHUB_NAMESPACE) && !by_servers;
    match [by_url, by_namespace, by_servers].into_iter().filter(|by| *by).count() {
        0 => problems.report(
            &MessageSettings::EVENTHUB_NAMESPACE,
            "is not set, and neither is KAFKA_BOOTSTRAP_SERVERS nor STREAM_URL: name a destination, a namespace, HOST:PORT or file:///dir",
        ),
        1 => {}
        _ => problems.report(
            &MessageSettings::STREAM_URL,
            "and EVENTHUB_NAMESPACE or KAFKA_BOOTSTRAP_SERVERS name two destinations: unset all but one",
        ),
    }
    let [pageviews, stars] = CONNECTION_STRINGS.each_ref().map(is_set);
    if pageviews != stars {
        problems.report(
            &MessageSettings::EVENTHUB_CONNECTION_STRING_PAGEVIEWS,
            "and EVENTHUB_CONNECTION_STRING_STARS belong together: set both, or neither to sign in with Entra ID",
        );
    }
    if by_url && pageviews && stars {
        problems.report(
            &MessageSettings::STREAM_URL,
            "and the EVENTHUB_CONNECTION_STRINGs name two destinations: unset one of them",
        );
    }
}

/// The directory that STREAM_URL names, with which the variables of Kafka make no sense.
fn directory(url: &str, variables: &KafkaVariables, problems: &mut Problems) -> Option<PathBuf> {
    for (variable, is_set) in [
        (
            MessageSettings::KAFKA_SECURITY_PROTOCOL,
            variables.security.is_some(),
        ),
        (MessageSettings::KAFKA_CA_FILE, variables.ca_file.is_some()),
    ] {
        if is_set {
            problems.report(
                &variable,
                "is for Kafka, but STREAM_URL names a directory: unset it",
            );
        }
    }
    local_path(url, "file")
        .map_err(|problem| problems.report(&MessageSettings::STREAM_URL, problem))
        .ok()
}

/// The endpoint of the Event Hubs namespace.
fn event_hubs(variables: KafkaVariables, problems: &mut Problems) -> Option<KafkaConfig> {
    let namespace = variables.namespace?;
    let speaks = SecurityProtocol::SaslSsl;
    if variables.security.is_some_and(|security| security != speaks) {
        problems.report(
            &MessageSettings::KAFKA_SECURITY_PROTOCOL,
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
            &MessageSettings::KAFKA_BOOTSTRAP_SERVERS,
            "is not a list of servers: give HOST:PORT[,HOST:PORT…], without a scheme, a user or a password",
        );
    }
    let kafka = KafkaConfig {
        bootstrap_servers: servers,
        security: variables.security.unwrap_or(SecurityProtocol::Plaintext),
        namespace: variables.namespace,
        connection_strings: variables.connection_strings,
        ca_file: variables.ca_file,
    };
    check_sign_in(&kafka, problems);
    kafka
}

/// Checks whether the security protocol and what there is to sign in with go together.
fn check_sign_in(kafka: &KafkaConfig, problems: &mut Problems) {
    let security = kafka.security;
    let fault = match (&kafka.connection_strings, &kafka.namespace) {
        (Some(_), _) if !security.has_sasl() => {
            "does not sign in, but connection strings are set: give SASL_SSL, SASL_PLAINTEXT for the emulator, or \
             unset EVENTHUB_CONNECTION_STRING_PAGEVIEWS and EVENTHUB_CONNECTION_STRING_STARS"
        }
        (None, None) if security.has_sasl() => {
            "signs in, but there is nothing to sign in with: give EVENTHUB_CONNECTION_STRING_PAGEVIEWS and \
             EVENTHUB_CONNECTION_STRING_STARS, or EVENTHUB_NAMESPACE for Microsoft Entra ID"
        }
        (None, Some(_)) if can_be_overheard(kafka) => {
            "would send the token of Microsoft Entra ID unencrypted: give SASL_SSL"
        }
        _ => return,
    };
    problems.report(
        &MessageSettings::KAFKA_SECURITY_PROTOCOL,
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

/// Checks each connection string by itself, against its hub, and against the endpoint: one in Azure must be
/// the one in the strings, while other servers may be reached by any name. A key that is not public crosses a
/// network by TLS only.
fn check_connection_strings(kafka: &KafkaConfig, problems: &mut Problems) {
    let azure = kafka
        .bootstrap_servers
        .split(',')
        .filter_map(|server| server.trim().rsplit_once(':'))
        .map(|(host, _)| host)
        .find(|host| host.to_ascii_lowercase().contains(".servicebus."));
    for (variable, (topic, secret)) in CONNECTION_STRINGS
        .iter()
        .zip(Topic::ALL.iter().zip(kafka.connection_strings.iter().flatten()))
    {
        let string = ConnectionString::parse(secret.expose());
        if let Ok(string) = &string
            && can_be_overheard(kafka)
            && !string.is_emulator()
        {
            problems.report(
                variable,
                "would be sent unencrypted by SASL_PLAINTEXT, which is for the emulator's strings \
                 (UseDevelopmentEmulator=true): give KAFKA_SECURITY_PROTOCOL=SASL_SSL",
            );
        } else if let Err(problem) = string.and_then(|string| string.check(azure, topic.name())) {
            problems.report(variable, problem);
        }
    }
}
