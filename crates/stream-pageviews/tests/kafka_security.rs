//! The Kafka sink's sign-in and TLS, as far as they can be tested with librdkafka's mock cluster, which supports
//! neither: what is known before a sign-in, and what happens if the topics may not be used. `tests/e2e` has a broker
//! that supports both.

mod common;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use common::{Mock, config, limits, mock, send};
use datagen_azure::entra::AccessToken;
use datagen_settings::catalog::SecurityProtocol;
use rdkafka::types::RDKafkaRespErr;
use stream_pageviews::config::kafka::{CONNECTION_STRINGS, KafkaConfig};
use stream_pageviews::connection_string::ConnectionString;
use stream_pageviews::sink::kafka::error::KafkaSinkError;
use stream_pageviews::sink::kafka::producers::Producers;
use stream_pageviews::sink::kafka::settings::{Limits, Login};
use stream_pageviews::sink::kafka::token::{TokenError, TokenSource};
use tempfile::NamedTempFile;

const PASSWORD: &str = "Endpoint=sb://localhost/;SharedAccessKeyName=send;SharedAccessKey=PLANTED";
const LIMIT: Duration = Duration::from_secs(30);

/// Returns the configuration of the mock cluster with this protocol.
fn with_security(mock: &Mock, security: SecurityProtocol) -> KafkaConfig {
    KafkaConfig {
        security,
        ..config(&mock.bootstrap_servers())
    }
}

/// Returns logins with the connection strings of both topics.
fn strings(pageviews: &str, stars: &str) -> [Login; 2] {
    let login = |topic: usize, string: &str| Login::ConnectionString {
        variable: CONNECTION_STRINGS[topic],
        string: ConnectionString::parse(string).expect("a connection string"),
    };
    [login(0, pageviews), login(1, stars)]
}

/// Returns logins for both topics with tokens from one source.
fn tokens(source: impl TokenSource + 'static) -> [Login; 2] {
    let source: Arc<dyn TokenSource> = Arc::new(source);
    [0, 1].map(|_| Login::EntraId(Arc::clone(&source)))
}

async fn refused(config: &KafkaConfig, logins: &[Login; 2], limits: &Limits) -> String {
    let started = std::time::Instant::now();
    let error: KafkaSinkError = Producers::open(config, logins, limits)
        .await
        .expect_err("a refusal");
    // Not a measurement, but the limit within which a refusal must end the process.
    assert!(started.elapsed() < Duration::from_secs(30));
    let text = error.to_string();
    assert!(!text.contains("PLANTED"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hub_signs_in_with_its_own_string() {
    let mock = mock();
    let config = config(&mock.bootstrap_servers());
    for (stars, producers) in [("stars", 2), ("pageviews", 1)] {
        let [pageviews, stars] = ["pageviews", stars].map(|hub| format!("{PASSWORD};EntityPath={hub}"));
        let sink = Producers::open(&config, &strings(&pageviews, &stars), &limits())
            .await
            .expect("a sink");
        assert!(
            format!("{sink:?}").contains(&format!("producers: {producers}")),
            "{sink:?}"
        );
        send(&sink, 0, 10).await;
        assert_eq!(sink.flush(LIMIT).await.delivered, 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_tls_is_reported_as_one() {
    let mock = mock();
    let config = with_security(&mock, SecurityProtocol::SaslSsl);
    let limits = Limits {
        connect: Duration::from_secs(5),
        ..limits()
    };
    let error = refused(&config, &strings(PASSWORD, PASSWORD), &limits).await;
    // librdkafka has two texts, depending on what it detects first.
    assert!(error.contains("SSL_HANDSHAKE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_file_without_certificates_is_named() {
    let mock = mock();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"not a certificate").unwrap();
    let config = KafkaConfig {
        ca_file: Some(file.path().to_owned()),
        ..with_security(&mock, SecurityProtocol::SaslSsl)
    };
    let error = refused(&config, &strings(PASSWORD, PASSWORD), &limits()).await;
    assert!(error.starts_with("KAFKA_CA_FILE cannot be used: "), "{error}");
}

/// A source of tokens that are valid for an hour.
struct OneToken;

#[async_trait]
impl TokenSource for OneToken {
    async fn token(&self) -> Result<AccessToken, TokenError> {
        let end = SystemTime::now() + Duration::from_secs(3_600);
        Ok(AccessToken::new("PLANTED-token", end))
    }
}

/// An identity service that is unavailable.
struct NoIdentityService;

#[async_trait]
impl TokenSource for NoIdentityService {
    async fn token(&self) -> Result<AccessToken, TokenError> {
        Err("the identity service does not answer".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_token_is_reported_with_the_cause() {
    let mock = mock();
    let config = with_security(&mock, SecurityProtocol::SaslPlaintext);
    let limits = Limits {
        connect: Duration::from_secs(4),
        ..limits()
    };
    let error = refused(&config, &tokens(NoIdentityService), &limits).await;
    assert!(error.contains("the identity service does not answer"), "{error}");
}

/// A mock cluster that lets an identity use only `pageviews`. It has no sign-in, so it needs no token.
fn without_role() -> (Mock, KafkaConfig) {
    let mock = mock();
    mock.topic_error(
        "stars",
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    )
    .unwrap();
    let config = config(&mock.bootstrap_servers());
    (mock, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_assigned_a_moment_ago_is_waited_for() {
    let (mock, config) = without_role();
    let limits = Limits {
        connect: Duration::from_secs(2),
        ..limits()
    };
    // The wait for a role may be longer than the limit for a connection.
    let longer = limits.connect * 2;
    let opening = tokio::spawn(async move { Producers::open(&config, &tokens(OneToken), &limits).await });
    tokio::time::sleep(longer).await;
    assert!(!opening.is_finished(), "{:?}", opening.await.unwrap());
    mock.topic_error("stars", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
        .unwrap();
    let sink = opening.await.unwrap().unwrap();
    send(&sink, 0, 100).await;
    assert_eq!(sink.flush(LIMIT).await.delivered, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_come_is_named() {
    let (_mock, config) = without_role();
    let limits = Limits {
        role: Duration::from_secs(1),
        ..limits()
    };
    let error = refused(&config, &tokens(OneToken), &limits).await;
    assert!(
        error.starts_with("the broker does not let us send to the topic stars (tried for 1 s)"),
        "{error}"
    );
    assert!(error.contains("Azure Event Hubs Data Sender"), "{error}");
}
