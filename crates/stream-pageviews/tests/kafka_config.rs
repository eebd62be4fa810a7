//! Which Kafka endpoints a configuration may describe, and which errors invalid ones cause.

use datagen_settings::catalog::SecurityProtocol;
use datagen_settings::{ConfigurationErrors, Environment};
use stream_pageviews::config::kafka::{KafkaConfig, SignIn};
use stream_pageviews::config::{SinkConfig, StreamConfig};

const VIEWS: &str = "Endpoint=sb://playground.servicebus.windows.net/;SharedAccessKeyName=send;\
                     SharedAccessKey=PLANTED;EntityPath=pageviews";
const STARS: &str = "Endpoint=sb://playground.servicebus.windows.net/;SharedAccessKeyName=send;\
                     SharedAccessKey=PLANTED;EntityPath=stars";
const EMULATOR: &str = "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;\
                        SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;";
const VIEWS_NAME: &str = "EVENTHUB_CONNECTION_STRING_PAGEVIEWS";
const STARS_NAME: &str = "EVENTHUB_CONNECTION_STRING_STARS";

fn read(variables: &[(&str, &str)]) -> Result<StreamConfig, String> {
    let environment: Environment = variables.iter().copied().collect();
    let mut problems = ConfigurationErrors::default();
    let config = StreamConfig::read(&environment, &mut problems);
    assert!(!format!("{problems} {config:?}").contains("PLANTED"));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.to_string()),
    }
}

fn kafka(variables: &[(&str, &str)]) -> KafkaConfig {
    match read(variables).expect("a good configuration").sink {
        SinkConfig::Kafka(kafka) => kafka,
        SinkConfig::Directory(directory) => panic!("{}", directory.display()),
    }
}

#[test]
fn the_articles_variables_are_event_hubs() {
    let config = kafka(&[
        ("EVENTHUB_NAMESPACE", "playground"),
        (VIEWS_NAME, VIEWS),
        (STARS_NAME, STARS),
    ]);
    assert_eq!(config.bootstrap_servers, "playground.servicebus.windows.net:9093");
    assert_eq!(config.security, SecurityProtocol::SaslSsl);
    assert!(matches!(config.sign_in, SignIn::ConnectionStrings(_)));
    let config = kafka(&[("EVENTHUB_NAMESPACE", "playground")]);
    assert!(matches!(config.sign_in, SignIn::EntraId { namespace } if namespace == "playground"));
}

#[test]
fn other_brokers_are_reached_as_they_want_it() {
    let config = kafka(&[("KAFKA_BOOTSTRAP_SERVERS", "a:9092,b:9092")]);
    assert_eq!(config.security, SecurityProtocol::Plaintext);
    let config = kafka(&[
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext"),
        (VIEWS_NAME, EMULATOR),
        (STARS_NAME, EMULATOR),
    ]);
    assert_eq!(config.security, SecurityProtocol::SaslPlaintext);
    kafka(&[
        (
            "KAFKA_BOOTSTRAP_SERVERS",
            "Playground.servicebus.windows.net:9093",
        ),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        (VIEWS_NAME, VIEWS),
        (STARS_NAME, STARS),
    ]);
    // Traffic within this machine cannot be intercepted.
    for servers in ["localhost:9092", "127.0.0.1:9092,[::1]:9093"] {
        let here = [
            ("KAFKA_BOOTSTRAP_SERVERS", servers),
            ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ];
        kafka(&[here[0], here[1], (VIEWS_NAME, VIEWS), (STARS_NAME, STARS)]);
        kafka(&[here[0], here[1], ("EVENTHUB_NAMESPACE", "playground")]);
    }
    // An endpoint with a custom host name need not match the host name in the string.
    kafka(&[
        ("KAFKA_BOOTSTRAP_SERVERS", "gateway.example:9093"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        (VIEWS_NAME, VIEWS),
        (STARS_NAME, STARS),
    ]);
}

#[test]
fn what_makes_no_sense_is_said_under_its_name() {
    let namespace = ("EVENTHUB_NAMESPACE", "playground");
    let servers = ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092");
    let elsewhere = ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092,broker:9092");
    let sasl_ssl = ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL");
    let sasl_plaintext = ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT");
    let cut = VIEWS.split(';').next().unwrap_or_default();
    let other = VIEWS.replace("playground", "elsewhere");
    for (variables, expected) in [
        (
            vec![namespace, (VIEWS_NAME, other.as_str()), (STARS_NAME, STARS)],
            "EVENTHUB_CONNECTION_STRING_PAGEVIEWS is for elsewhere.servicebus.windows.net",
        ),
        (
            vec![namespace, (VIEWS_NAME, STARS), (STARS_NAME, STARS)],
            "EVENTHUB_CONNECTION_STRING_PAGEVIEWS is for the event hub 'stars'",
        ),
        (
            vec![namespace, (VIEWS_NAME, cut), (STARS_NAME, STARS)],
            "EVENTHUB_CONNECTION_STRING_PAGEVIEWS has no SharedAccessKeyName=",
        ),
        (
            vec![namespace, (VIEWS_NAME, VIEWS), (STARS_NAME, "PLANTED")],
            "EVENTHUB_CONNECTION_STRING_STARS has a part that is not NAME=VALUE",
        ),
        (
            vec![namespace, (VIEWS_NAME, VIEWS)],
            "EVENTHUB_CONNECTION_STRING_PAGEVIEWS and EVENTHUB_CONNECTION_STRING_STARS belong together",
        ),
        (
            vec![namespace, ("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")],
            "KAFKA_SECURITY_PROTOCOL is for KAFKA_BOOTSTRAP",
        ),
        (
            vec![namespace, ("KAFKA_CA_FILE", "/no/such/file")],
            "KAFKA_CA_FILE is not a file",
        ),
        (
            vec![("KAFKA_BOOTSTRAP_SERVERS", "localhost")],
            "KAFKA_BOOTSTRAP_SERVERS is not a list of servers",
        ),
        (
            vec![("KAFKA_BOOTSTRAP_SERVERS", "kafka://a:9092")],
            "KAFKA_BOOTSTRAP_SERVERS is not a list of servers",
        ),
        (
            vec![("KAFKA_BOOTSTRAP_SERVERS", "a:9092,b:99999")],
            "KAFKA_BOOTSTRAP_SERVERS is not a list of servers",
        ),
        (
            vec![("KAFKA_BOOTSTRAP_SERVERS", "a:9092,user:PLANTED@b:9092")],
            "KAFKA_BOOTSTRAP_SERVERS is not a list of servers",
        ),
        (
            vec![("EVENTHUB_NAMESPACE", "playground;SharedAccessKey=PLANTED")],
            "EVENTHUB_NAMESPACE is not the name of a namespace",
        ),
        (
            vec![("STREAM_URL", "file://user:PLANTED@host/dir")],
            "STREAM_URL is not an absolute path",
        ),
        (
            vec![servers, ("METRICS_ADDR", "user:PLANTED@0.0.0.0:9464")],
            "METRICS_ADDR is not an IP address with a port",
        ),
        (vec![servers, sasl_ssl], "there is nothing to sign in with"),
        (
            vec![servers, ("KAFKA_SECURITY_PROTOCOL", "TLS")],
            "KAFKA_SECURITY_PROTOCOL is not an allowed value",
        ),
        (
            vec![servers, (VIEWS_NAME, VIEWS), (STARS_NAME, STARS)],
            "which does not sign in",
        ),
        (
            vec![
                ("KAFKA_BOOTSTRAP_SERVERS", "elsewhere.servicebus.windows.net:9093"),
                sasl_ssl,
                (VIEWS_NAME, VIEWS),
                (STARS_NAME, STARS),
            ],
            "is for playground.servicebus.windows.net, but the events go to elsewhere.servicebus.windows.net",
        ),
        (
            vec![namespace, (VIEWS_NAME, EMULATOR), (STARS_NAME, EMULATOR)],
            "EVENTHUB_CONNECTION_STRING_STARS is the emulator's (UseDevelopmentEmulator=true)",
        ),
        (
            vec![elsewhere, sasl_plaintext, namespace],
            "SASL_PLAINTEXT, which would send the token of Microsoft Entra ID unencrypted",
        ),
        (
            vec![
                elsewhere,
                sasl_plaintext,
                (VIEWS_NAME, EMULATOR),
                (STARS_NAME, STARS),
            ],
            "EVENTHUB_CONNECTION_STRING_STARS would be sent unencrypted by SASL_PLAINTEXT",
        ),
        (
            vec![("STREAM_URL", "file:///tmp"), sasl_ssl],
            "KAFKA_SECURITY_PROTOCOL is for Kafka, but STREAM_URL names a directory",
        ),
        (
            vec![("STREAM_URL", "file:///tmp"), ("KAFKA_CA_FILE", "/dev/null")],
            "KAFKA_CA_FILE is for Kafka, but STREAM_URL names a directory",
        ),
        (
            vec![servers, ("METRICS_ADDR", "9464")],
            "METRICS_ADDR is 9464, not an IP address with a port",
        ),
        (
            vec![servers, ("CONCURRENT_USERS", "0")],
            "CONCURRENT_USERS is 0, out of range",
        ),
    ] {
        let problems = read(&variables).expect_err(expected);
        assert!(
            problems.contains(expected),
            "{problems:?} does not say {expected:?}"
        );
    }
}
