//! The configuration of stream-pageviews from environment variables: which sessions, when, how fast, and where to.

pub mod kafka;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::Utc;
use datagen_core::model::Profile;
use datagen_core::model::session::Pause;
use datagen_settings::catalog::{CommonSettings, MessageSettings, StreamSettings, WorldSettings};
use datagen_settings::value::Timestamp;
use datagen_settings::{ConfigurationErrors, Environment, Variable, local_path};

use self::kafka::KafkaConfig;
#[cfg(feature = "kafka")]
use self::kafka::SignIn;

/// The work of stream-pageviews.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// What is streamed.
    pub events: EventConfig,
    /// Maximum number of messages per second; 0 means no limit.
    pub rate: f64,
    /// Where the messages go.
    pub sink: SinkConfig,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
}

/// Which sessions are streamed, and when.
#[derive(Clone, Debug)]
pub struct EventConfig {
    /// The highest user id.
    pub user_max_id: u64,
    /// The highest product id.
    pub product_max_id: u64,
    /// What the sessions look like.
    pub profile: Profile,
    /// How many sessions all shards make together; `None` means no limit.
    pub sessions: Option<u64>,
    /// The pauses between the starts of sessions of one source.
    pub pause: Pause,
    /// How many sources of sessions all shards have together.
    pub concurrent_users: u32,
    /// When the stream begins, in milliseconds since 1970; `None` means at the start of the process.
    pub from_ms: Option<u64>,
    /// When the stream ends, in milliseconds since 1970; `None` means never.
    pub to_ms: Option<u64>,
    /// Whether messages include the fields of their events.
    pub event_fields: bool,
    /// One message in this many is late; 0 means none.
    pub late_one_in: u64,
    /// One message in this many is sent twice; 0 means none.
    pub duplicate_one_in: u64,
    /// The seed of the data; `None` means a random seed.
    pub seed: Option<u64>,
}

/// A destination of messages.
#[derive(Clone, Debug)]
pub enum SinkConfig {
    /// Two files in a local directory.
    Directory(PathBuf),
    /// A Kafka endpoint.
    #[cfg(feature = "kafka")]
    Kafka(KafkaConfig),
}

/// Shows the destination as log and error messages name it, without secrets.
impl fmt::Display for SinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "{}", directory.display()),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => f.write_str(&config.bootstrap_servers),
        }
    }
}

#[cfg(feature = "kafka")]
fn accept(
    config: KafkaConfig,
    environment: &Environment,
    _variable: &Variable,
    problems: &mut ConfigurationErrors,
) -> Option<SinkConfig> {
    if matches!(config.sign_in, SignIn::EntraId { .. }) {
        datagen_azure::entra::check(environment, problems);
    }
    Some(SinkConfig::Kafka(config))
}

#[cfg(not(feature = "kafka"))]
fn accept(
    _config: KafkaConfig,
    _environment: &Environment,
    variable: &Variable,
    problems: &mut ConfigurationErrors,
) -> Option<SinkConfig> {
    problems.report(
        variable,
        "names a Kafka endpoint, which this build leaves out: build stream-pageviews with the feature `kafka`",
    );
    None
}

impl EventConfig {
    /// Returns whether this is a load test, in which nothing waits: there are no pauses and no STREAM_FROM.
    pub fn is_load_test(&self) -> bool {
        self.pause.mean == 0.0 && self.from_ms.is_none()
    }

    /// Validates the settings that determine the messages.
    pub fn new(
        settings: &StreamSettings,
        environment: &Environment,
        problems: &mut ConfigurationErrors,
    ) -> Self {
        let WorldSettings {
            user_max_id,
            product_max_id,
            profile,
        } = environment.read(problems);
        let now = Timestamp::of_millis(Utc::now().timestamp_millis().unsigned_abs());
        check_times(settings, now, problems);
        let concurrent_users = concurrent_users(settings, environment, problems);
        Self {
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
        }
    }
}

impl StreamConfig {
    /// Reads and validates the settings.
    pub fn read(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Self> {
        let settings: StreamSettings = environment.read(problems);
        let events = EventConfig::new(&settings, environment, problems);
        Some(Self {
            events,
            rate: settings.rate,
            sink: read_sink(environment, problems)?,
            metrics: settings.metrics_addr,
        })
    }
}

/// Checks at the time `now` when the stream begins and ends, and rejects settings that need time to pass in a load
/// test.
fn check_times(settings: &StreamSettings, now: Timestamp, problems: &mut ConfigurationErrors) {
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

/// Returns the number of sources of all shards together. Each shard needs at least one.
fn concurrent_users(
    settings: &StreamSettings,
    environment: &Environment,
    problems: &mut ConfigurationErrors,
) -> u32 {
    // Errors in these settings are reported where they are read.
    let CommonSettings { shard_count, .. } = environment.read(&mut ConfigurationErrors::default());
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

fn read_sink(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<SinkConfig> {
    let before = problems.len();
    let settings: MessageSettings = environment.read(problems);
    check_destination(environment, problems);
    if problems.len() > before {
        return None;
    }
    if let Some(url) = &settings.stream_url {
        return directory(&url.0, &settings, problems).map(SinkConfig::Directory);
    }
    let variable = match settings.kafka_bootstrap_servers {
        Some(_) => MessageSettings::KAFKA_BOOTSTRAP_SERVERS,
        None => MessageSettings::EVENTHUB_NAMESPACE,
    };
    let config = KafkaConfig::read(settings, problems)?;
    accept(config, environment, &variable, problems)
}

/// Checks that the variables name exactly one destination, and name it completely.
fn check_destination(environment: &Environment, problems: &mut ConfigurationErrors) {
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
    let [pageviews, stars] = kafka::CONNECTION_STRINGS.each_ref().map(is_set);
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

/// Returns the directory that STREAM_URL names. The Kafka variables must not be set together with it.
fn directory(url: &str, settings: &MessageSettings, problems: &mut ConfigurationErrors) -> Option<PathBuf> {
    for (variable, is_set) in [
        (
            MessageSettings::KAFKA_SECURITY_PROTOCOL,
            settings.kafka_security_protocol.is_some(),
        ),
        (MessageSettings::KAFKA_CA_FILE, settings.kafka_ca_file.is_some()),
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
