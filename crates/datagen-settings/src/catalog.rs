//! The declaration of all settings, in groups, and the groups that each generator reads.

use std::net::SocketAddr;

use chrono::NaiveDate;
use datagen_core::model::{MAX_ID, Profile};

use crate::value::{Flag, Timestamp, choice};
use crate::{Secret, TextLine, Variable, settings};

/// The default number of users. The default USER_MAX_ID follows from it, so that the defaults of all generators join.
pub const DEFAULT_USERS: u64 = 1_000_000;
/// The default number of products. The default PRODUCT_MAX_ID follows from it.
pub const DEFAULT_PRODUCTS: u64 = 1_000;
/// The default number of VIP users, if there are at least as many users.
pub const DEFAULT_VIPS: u64 = 10_000;
/// The highest SHARD_COUNT: file names have five digits for the shard.
pub const MAX_SHARDS: u32 = 99_999;
/// The highest RATE: one record per nanosecond.
pub const MAX_RATE: f64 = 1e9;
/// The first day of SQL Server's `datetime`.
const FIRST_DATE: NaiveDate = NaiveDate::from_ymd_opt(1753, 1, 1).expect("a date");
/// The last day that may bound the orders: years have four digits.
pub const LAST_DATE: NaiveDate = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a date");
/// The first moment of a stream: Kafka's timestamps count from 1970.
const FIRST_MOMENT: Timestamp = Timestamp::of_date(NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date"));
/// The latest moment that bounds a stream: years have four digits.
const LAST_MOMENT: Timestamp = Timestamp::of_date(LAST_DATE);
/// The highest LATE_ONE_IN and DUPLICATE_ONE_IN.
const MAX_ONE_IN: u64 = 1_000_000_000;
/// The highest number of sources of sessions. Memory grows with it.
pub const MAX_SOURCES: u32 = 100_000;
/// The longest pause between sessions, in seconds: one day.
const MAX_PAUSE: f64 = 86_400.0;

/// A generator, as far as its settings are concerned.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorSettings {
    /// The name of its binary.
    pub name: &'static str,
    groups: &'static [&'static [Variable]],
}

impl GeneratorSettings {
    /// The variables that it reads, in the order of `--help`.
    pub fn variables(&self) -> impl Iterator<Item = &'static Variable> + Clone + use<> {
        self.groups.iter().copied().flatten()
    }
}

macro_rules! generators {
    ($( $NAME:ident = $name:literal reads $($Group:ident),+; )+) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $NAME: GeneratorSettings = GeneratorSettings {
                name: $name,
                groups: &[$(<$Group as $crate::Settings>::VARIABLES),+],
            };
        )+

        /// All generators.
        pub const GENERATORS: &[GeneratorSettings] = &[$($NAME),+];
    };
}

generators! {
    GEN_USERS = "gen-users" reads UserSettings, LakeSettings, EntraSettings, FiniteSettings, CommonSettings;
    GEN_PRODUCTS = "gen-products" reads ProductSettings, LakeSettings, EntraSettings, FiniteSettings, CommonSettings;
    GEN_ORDERS = "gen-orders" reads OrderSettings, WorldSettings, DatabaseSettings, EntraSettings, FiniteSettings,
        CommonSettings;
    STREAM_PAGEVIEWS = "stream-pageviews" reads StreamSettings, WorldSettings, MessageSettings, EntraSettings,
        CommonSettings;
}

choice! {
    /// The format of the log.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object per line, for log collectors.
        Json = "json",
    }
}

choice! {
    /// The two APIs of a storage account.
    pub enum LakeApi {
        /// The Data Lake API: create, append, flush, rename.
        Dfs = "dfs",
        /// The Blob API: blocks and their commit.
        Blob = "blob",
    }
}

choice! {
    /// Kafka's `security.protocol`.
    pub enum SecurityProtocol {
        /// Neither TLS nor sign-in.
        Plaintext = "PLAINTEXT",
        /// Sign-in without TLS: for emulators only.
        SaslPlaintext = "SASL_PLAINTEXT",
        /// Sign-in over TLS.
        SaslSsl = "SASL_SSL",
        /// TLS without sign-in.
        Ssl = "SSL",
    }
}

impl SecurityProtocol {
    /// Whether the connection is encrypted, and so the broker's certificate verified.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::SaslSsl | Self::Ssl)
    }

    /// Whether the client signs in.
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

settings! {
    /// Settings of all generators.
    pub struct CommonSettings {
        /// Which part of the work this process does: 0 to SHARD_COUNT - 1.
        SHARD_INDEX => shard_index: u32 = 0, in 0..=MAX_SHARDS - 1;
        /// Number of processes that share the work.
        SHARD_COUNT => shard_count: u32 = 1, in 1..=MAX_SHARDS;
        /// Format of the log on standard error.
        LOG_FORMAT => log_format: LogFormat = LogFormat::Text;
        /// Which log lines are written: error, warn, info, debug, trace or off, or directives such as
        /// info,gen_users=debug.
        RUST_LOG => rust_log: TextLine = TextLine("info".to_owned());
        /// Set to any text to turn off the colours of the log on a terminal.
        NO_COLOR => no_color: Option<Flag>;
    }
}

settings! {
    /// Settings of the generators whose work has an end.
    pub struct FiniteSettings {
        /// Seed of the random data. The same seed produces the same bytes.
        SEED => seed: u64 = 0, in 0..=u64::MAX;
    }
}

settings! {
    /// Settings of gen-users.
    pub struct UserSettings {
        /// Number of users; their ids are 0 to COUNT - 1.
        COUNT => count: u64 = DEFAULT_USERS, in 0..=MAX_ID + 1;
        /// Number of VIP users, at most COUNT.
        VIP_COUNT => vip_count: Option<u64>, in 0..=MAX_ID + 1, otherwise "10000, or COUNT if that is less";
        /// Maximum number of threads that make users. The data do not depend on it.
        THREADS => threads: Option<u32>, in 1..=256, otherwise "all processors";
    }
}

settings! {
    /// Settings of gen-products.
    pub struct ProductSettings {
        /// Number of products; their ids are 0 to COUNT - 1.
        COUNT => count: u64 = DEFAULT_PRODUCTS, in 0..=MAX_ID + 1;
        /// Maximum number of products per second; 0 means as fast as the destination accepts them.
        RATE => rate: f64 = 0.0, in 0.0..=MAX_RATE;
    }
}

settings! {
    /// Settings that name a data lake.
    pub struct LakeSettings {
        /// Where the files go: file:///dir, or https://ACCOUNT.dfs.core.windows.net/[FILESYSTEM/[DIR/]] (or .blob.) to
        /// sign in with Microsoft Entra ID. Set either this or STORAGE_SAS.
        LAKE_URL => lake_url: Option<TextLine>;
        /// The same https:// URL with a SAS: https://ACCOUNT.dfs.core.windows.net/[FILESYSTEM/[DIR/]]?sv=…&sig=….
        /// If the path is empty, each kind of record has a separate filesystem: users, vipusers, products.
        STORAGE_SAS => storage_sas: Option<Secret>;
        /// Which API of the storage account is used: the Data Lake API (dfs) or the Blob API (blob).
        LAKE_API => lake_api: Option<LakeApi>, otherwise "derived from the host name";
    }
}

settings! {
    /// Settings that name a credential of Microsoft Entra ID. They are the variables of all Azure SDKs.
    pub struct EntraSettings {
        /// Client ID of a user-assigned managed identity, of a workload identity, or of a service principal.
        AZURE_CLIENT_ID => azure_client_id: Option<TextLine>, otherwise "the system-assigned identity, or az login";
        /// Tenant of the workload identity or service principal.
        AZURE_TENANT_ID => azure_tenant_id: Option<TextLine>;
        /// Secret of the service principal.
        AZURE_CLIENT_SECRET => azure_client_secret: Option<Secret>;
        /// Token file of the workload identity, which Kubernetes sets.
        AZURE_FEDERATED_TOKEN_FILE => azure_federated_token_file: Option<TextLine>;
    }
}

settings! {
    /// Settings of the generators that refer to users and products.
    pub struct WorldSettings {
        /// Highest existing user id: COUNT of gen-users minus 1.
        USER_MAX_ID => user_max_id: u64 = DEFAULT_USERS - 1, in 0..=MAX_ID;
        /// Highest existing product id: COUNT of gen-products minus 1.
        PRODUCT_MAX_ID => product_max_id: u64 = DEFAULT_PRODUCTS - 1, in 0..=MAX_ID;
        /// What the orders and sessions look like: with effects to discover, or with uniform and independent draws.
        PROFILE => profile: Profile = Profile::Shop;
    }
}

settings! {
    /// Settings of gen-orders.
    pub struct OrderSettings {
        /// Number of orders; their ids are 1 to COUNT.
        COUNT => count: u64 = 10_000_000, in 0..=MAX_ID;
        /// First day of the orders.
        DATE_FROM => date_from: Option<NaiveDate>, in FIRST_DATE..=LAST_DATE,
            otherwise "1 January ten years before the current year";
        /// The day after the last day of the orders.
        DATE_TO => date_to: Option<NaiveDate>, in FIRST_DATE..=LAST_DATE,
            otherwise "1 January of the current year, or of the year after DATE_FROM if that is later";
        /// Maximum number of orders per second; 0 means as fast as the destination accepts them.
        RATE => rate: f64 = 0.0, in 0.0..=MAX_RATE;
        /// Number of orders per transaction. A run that continues an earlier one keeps the earlier number.
        SQL_CHUNK => sql_chunk: u32 = 5_000, in 1..=100_000;
    }
}

settings! {
    /// Settings that name a SQL database.
    pub struct DatabaseSettings {
        /// A local database file: sqlite:///path. Set either this or SQL_SERVER.
        SQL_URL => sql_url: Option<TextLine>;
        /// Host name of an Azure SQL server or SQL Server: NAME.database.windows.net. Set either this or SQL_URL.
        SQL_SERVER => sql_server: Option<TextLine>;
        /// Name of the database on SQL_SERVER.
        SQL_DATABASE => sql_database: Option<TextLine>;
        /// SQL login. Without SQL_USER and SQL_PASSWORD, the program signs in with Microsoft Entra ID.
        SQL_USER => sql_user: Option<TextLine>;
        /// Password of SQL_USER.
        SQL_PASSWORD => sql_password: Option<Secret>;
        /// TCP port of SQL_SERVER.
        SQL_PORT => sql_port: u16 = 1433, in 1..=u16::MAX;
        /// Number of connections to SQL_SERVER that load in parallel.
        SQL_CONNECTIONS => sql_connections: u32 = 4, in 1..=64;
        /// Accept any certificate of SQL_SERVER: for local servers only.
        SQL_TRUST_SERVER_CERTIFICATE => sql_trust_server_certificate: bool = false;
        /// Seconds that SQL_SERVER may take to answer. Transient errors are retried for five times as long.
        SQL_TIMEOUT => sql_timeout: u32 = 60, in 1..=3600;
        /// Microsoft Entra identities that may read the tables: entries KIND:ID:NAME, separated by semicolons. KIND is
        /// user, group or application. ID is the object ID of a user or group, or the client ID of an application, such
        /// as a managed identity. NAME is the name of the database user that is created for it.
        SQL_READERS => sql_readers: Option<TextLine>;
    }
}

settings! {
    /// Settings of stream-pageviews.
    pub struct StreamSettings {
        /// Number of sessions of all shards together.
        SESSIONS => sessions: Option<u64>, in 0..=u64::MAX, otherwise "without end";
        /// Mean, in seconds, of the normal distribution whose absolute value is the pause between the starts of two
        /// sessions of a source. 0 means that a source starts its next session when the previous one has ended and,
        /// without STREAM_FROM, that nothing waits: a load test.
        SESSION_PAUSE_MEAN => session_pause_mean: f64 = 10.0, in 0.0..=MAX_PAUSE;
        /// Standard deviation, in seconds, of that normal distribution.
        SESSION_PAUSE_STDDEV => session_pause_stddev: f64 = 5.0, in 0.0..=MAX_PAUSE;
        /// Number of independent sources of sessions of all shards together, at least SHARD_COUNT.
        CONCURRENT_USERS => concurrent_users: Option<u32>, in 1..=MAX_SOURCES,
            otherwise "1, or SHARD_COUNT if that is larger";
        /// Time at which the stream begins: a date (midnight UTC) or RFC 3339. The time from then until now is sent as
        /// fast as the destination accepts it; the stream then continues live.
        STREAM_FROM => stream_from: Option<Timestamp>, in FIRST_MOMENT..=LAST_MOMENT, otherwise "now";
        /// Time at which the stream ends: a date (midnight UTC) or RFC 3339. No event at or after it is sent.
        STREAM_TO => stream_to: Option<Timestamp>, in FIRST_MOMENT..=LAST_MOMENT, otherwise "without end";
        /// Whether messages have the fields event_time, session_id and event_id. In Kafka they are headers in any case.
        EVENT_FIELDS => event_fields: bool = true;
        /// One message in this many is sent one to ten minutes after its event time; 0 means none.
        LATE_ONE_IN => late_one_in: u64 = 0, in 0..=MAX_ONE_IN;
        /// One message in this many is sent again after 2 to 30 seconds, with the same event_id; 0 means none.
        DUPLICATE_ONE_IN => duplicate_one_in: u64 = 0, in 0..=MAX_ONE_IN;
        /// Maximum number of messages per second; 0 means no limit. It should exceed what the sources produce, since
        /// a live stream falls behind otherwise.
        RATE => rate: f64 = 0.0, in 0.0..=MAX_RATE;
        /// Seed of the random data. The same seed produces the same sessions.
        SEED => seed: Option<u64>, in 0..=u64::MAX, otherwise "random, and logged";
        /// Address on which metrics are served for Prometheus under /metrics, such as 0.0.0.0:9464.
        METRICS_ADDR => metrics_addr: Option<SocketAddr>, otherwise "not served";
    }
}

settings! {
    /// Settings that name a destination of messages.
    pub struct MessageSettings {
        /// A local directory for pageviews.jsonl and stars.jsonl: file:///dir. Set either this, EVENTHUB_NAMESPACE or
        /// KAFKA_BOOTSTRAP_SERVERS.
        STREAM_URL => stream_url: Option<TextLine>;
        /// Name of an Event Hubs namespace: NAME of NAME.servicebus.windows.net. Without connection strings, the
        /// program signs in with Microsoft Entra ID.
        EVENTHUB_NAMESPACE => eventhub_namespace: Option<TextLine>;
        /// Connection string with the right to send to the event hub pageviews.
        EVENTHUB_CONNECTION_STRING_PAGEVIEWS => eventhub_connection_string_pageviews: Option<Secret>;
        /// Connection string with the right to send to the event hub stars.
        EVENTHUB_CONNECTION_STRING_STARS => eventhub_connection_string_stars: Option<Secret>;
        /// Brokers of any other Kafka, or of an emulator: HOST:PORT[,HOST:PORT…].
        KAFKA_BOOTSTRAP_SERVERS => kafka_bootstrap_servers: Option<TextLine>;
        /// Security protocol of KAFKA_BOOTSTRAP_SERVERS. Event Hubs always uses SASL_SSL.
        KAFKA_SECURITY_PROTOCOL => kafka_security_protocol: Option<SecurityProtocol>, otherwise "PLAINTEXT";
        /// PEM file of the certificate authorities that are trusted to sign the broker's certificate.
        KAFKA_CA_FILE => kafka_ca_file: Option<TextLine>, otherwise "the system's certificate authorities";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfigurationErrors, Environment, Settings};

    #[test]
    fn no_generator_reads_a_variable_twice() {
        for generator in GENERATORS {
            let mut names: Vec<_> = generator.variables().map(|variable| variable.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{}", generator.name);
        }
    }

    #[test]
    fn meanings_are_sentences() {
        for variable in GENERATORS.iter().flat_map(GeneratorSettings::variables) {
            let meaning = variable.meaning();
            assert!(
                meaning.ends_with('.') && !meaning.contains("  "),
                "{}: {meaning}",
                variable.name
            );
        }
    }

    /// Reading an empty environment evaluates all defaults, which must be allowed values.
    #[test]
    fn defaults_are_allowed_values() {
        fn check<S: Settings>() {
            let defaults: Vec<(&str, String)> = S::VARIABLES
                .iter()
                .filter(|variable| matches!(variable.default, crate::DefaultValue::Value(_)))
                .map(|variable| (variable.name, variable.default.to_string()))
                .collect();
            let environment: Environment = defaults
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let mut problems = ConfigurationErrors::default();
            let _: S = environment.read(&mut problems);
            let _: S = Environment::default().read(&mut problems);
            assert!(problems.is_empty(), "{problems}");
        }
        check::<CommonSettings>();
        check::<FiniteSettings>();
        check::<UserSettings>();
        check::<ProductSettings>();
        check::<LakeSettings>();
        check::<EntraSettings>();
        check::<WorldSettings>();
        check::<OrderSettings>();
        check::<DatabaseSettings>();
        check::<StreamSettings>();
        check::<MessageSettings>();
    }
}
