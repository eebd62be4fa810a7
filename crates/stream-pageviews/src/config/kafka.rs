//! The configuration of a Kafka endpoint: its servers, encryption and sign-in.

use std::net::IpAddr;
use std::path::PathBuf;

use datagen_settings::catalog::{MessageSettings, SecurityProtocol};
use datagen_settings::{ConfigurationErrors, Secret, Variable, is_host};

use crate::connection_string::ConnectionString;
use crate::message::Topic;

/// The variables with the connection strings, in the order of [`Topic::ALL`].
pub const CONNECTION_STRINGS: [Variable; 2] = [
    MessageSettings::EVENTHUB_CONNECTION_STRING_PAGEVIEWS,
    MessageSettings::EVENTHUB_CONNECTION_STRING_STARS,
];

/// A Kafka endpoint and how to sign in.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `HOST:PORT[,HOST:PORT…]`.
    pub bootstrap_servers: String,
    /// Encryption, and whether the client signs in.
    pub security: SecurityProtocol,
    /// How the client signs in.
    pub sign_in: SignIn,
    /// A PEM file with the certificate authorities to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// How a client signs in to a Kafka endpoint.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// Not at all.
    None,
    /// With the connection string of each topic, in the order of [`Topic::ALL`].
    ConnectionStrings([ConnectionString; 2]),
    /// With Microsoft Entra ID.
    EntraId {
        /// The Event Hubs namespace.
        namespace: String,
    },
}

impl KafkaConfig {
    /// Validates the settings of a Kafka endpoint. The settings must name one.
    pub(super) fn read(settings: MessageSettings, problems: &mut ConfigurationErrors) -> Option<Self> {
        let before = problems.len();
        let namespace = settings.eventhub_namespace.map(|text| text.0);
        if let Some(name) = &namespace
            && !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            problems.report(
                &MessageSettings::EVENTHUB_NAMESPACE,
                "is not the name of a namespace: give NAME of NAME.servicebus.windows.net, letters, digits and hyphens",
            );
            return None;
        }
        let security = settings.kafka_security_protocol;
        let (bootstrap_servers, security) = match (settings.kafka_bootstrap_servers, &namespace) {
            (Some(servers), _) => {
                check_servers(&servers.0, problems);
                let security = security.unwrap_or(SecurityProtocol::Plaintext);
                (servers.0, security)
            }
            (None, namespace) => {
                if security.is_some_and(|security| security != SecurityProtocol::SaslSsl) {
                    problems.report(
                        &MessageSettings::KAFKA_SECURITY_PROTOCOL,
                        "is for KAFKA_BOOTSTRAP_SERVERS; Event Hubs speaks SASL_SSL only: unset it",
                    );
                }
                let servers = format!("{}.servicebus.windows.net:9093", namespace.as_ref()?);
                (servers, SecurityProtocol::SaslSsl)
            }
        };
        let strings = settings
            .eventhub_connection_string_pageviews
            .zip(settings.eventhub_connection_string_stars);
        let is_exposed = security == SecurityProtocol::SaslPlaintext && !is_loopback(&bootstrap_servers);
        check_sign_in(
            security,
            strings.is_some(),
            namespace.is_some(),
            is_exposed,
            problems,
        );
        let strings = strings.map(|(pageviews, stars)| {
            parse_connection_strings([pageviews, stars], &bootstrap_servers, is_exposed, problems)
        });
        let ca_file = settings.kafka_ca_file.map(|text| PathBuf::from(text.0));
        if ca_file.as_ref().is_some_and(|file| !file.is_file()) {
            problems.report(
                &MessageSettings::KAFKA_CA_FILE,
                "is not a file: give the path of a PEM file",
            );
        }
        if problems.len() > before {
            return None;
        }
        let sign_in = match (strings, namespace) {
            _ if !security.has_sasl() => SignIn::None,
            (Some(strings), _) => SignIn::ConnectionStrings(strings?),
            (None, Some(namespace)) => SignIn::EntraId { namespace },
            (None, None) => SignIn::None,
        };
        Some(Self {
            bootstrap_servers,
            security,
            sign_in,
            ca_file,
        })
    }
}

fn check_servers(servers: &str, problems: &mut ConfigurationErrors) {
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
}

/// Returns whether all of these servers are on this machine.
fn is_loopback(servers: &str) -> bool {
    servers.split(',').all(|server| {
        let (host, _) = server.trim().rsplit_once(':').unwrap_or((server, ""));
        let address = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    })
}

/// Checks whether the security protocol and the credentials go together. `is_exposed` says whether the credentials
/// would cross a network unencrypted.
fn check_sign_in(
    security: SecurityProtocol,
    has_strings: bool,
    has_namespace: bool,
    is_exposed: bool,
    problems: &mut ConfigurationErrors,
) {
    let problem = if has_strings && !security.has_sasl() {
        "does not sign in, but connection strings are set: give SASL_SSL, SASL_PLAINTEXT for the emulator, or unset \
         EVENTHUB_CONNECTION_STRING_PAGEVIEWS and EVENTHUB_CONNECTION_STRING_STARS"
    } else if !has_strings && !has_namespace && security.has_sasl() {
        "signs in, but there is nothing to sign in with: give EVENTHUB_CONNECTION_STRING_PAGEVIEWS and \
         EVENTHUB_CONNECTION_STRING_STARS, or EVENTHUB_NAMESPACE for Microsoft Entra ID"
    } else if !has_strings && has_namespace && is_exposed {
        "would send the token of Microsoft Entra ID unencrypted: give SASL_SSL"
    } else {
        return;
    };
    problems.report(
        &MessageSettings::KAFKA_SECURITY_PROTOCOL,
        format_args!("is {}, which {problem}", security.as_str()),
    );
}

/// Parses each connection string, and checks it against the event hub and the servers: a host in Azure must be the one
/// in the strings, while other servers may be reached under any name. A key that is not public may only cross a network
/// encrypted.
fn parse_connection_strings(
    secrets: [Secret; 2],
    servers: &str,
    is_exposed: bool,
    problems: &mut ConfigurationErrors,
) -> Option<[ConnectionString; 2]> {
    let azure = servers
        .split(',')
        .filter_map(|server| server.trim().rsplit_once(':'))
        .map(|(host, _)| host)
        .find(|host| host.to_ascii_lowercase().contains(".servicebus."));
    let mut parse = |topic: Topic| {
        let variable = &CONNECTION_STRINGS[topic as usize];
        let parsed = ConnectionString::parse(secrets[topic as usize].expose());
        let string = parsed
            .map_err(|problem| problems.report(variable, problem))
            .ok()?;
        if is_exposed && !string.is_emulator() {
            problems.report(
                variable,
                "would be sent unencrypted by SASL_PLAINTEXT, which is for the emulator's strings \
                 (UseDevelopmentEmulator=true): give KAFKA_SECURITY_PROTOCOL=SASL_SSL",
            );
        } else if let Err(problem) = string.check(azure, topic.name()) {
            problems.report(variable, problem);
        }
        Some(string)
    };
    let strings = Topic::ALL.map(&mut parse);
    match strings {
        [Some(pageviews), Some(stars)] => Some([pageviews, stars]),
        _ => None,
    }
}
