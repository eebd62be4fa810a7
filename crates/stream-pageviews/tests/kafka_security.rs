//! The Kafka sink through TLS and SASL: what is accepted, what is refused, and how a refusal is reported.
//!
//! The broker is librdkafka's mock cluster behind the test kit's front, which adds what Event Hubs has.

mod common;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use common::{Mock, address, assert_complete, config, limits, mock, read, send};
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
use testkit::kafka::{Front, TestCa};

const USER: &str = "$ConnectionString";
const PASSWORD: &str = "Endpoint=sb://localhost/;SharedAccessKeyName=send;SharedAccessKey=PLANTED";
const LIMIT: Duration = Duration::from_secs(30);

fn ca_file(ca: &TestCa) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(ca.pem().as_bytes()).expect("written");
    file
}

fn secure(front: &Front, security: SecurityProtocol, ca: Option<&NamedTempFile>) -> KafkaConfig {
    let ca_file = ca.map(|file| file.path().to_owned());
    KafkaConfig {
        security,
        ca_file,
        ..config(&front.bootstrap())
    }
}

/// A front before the mock that takes the connection string, without TLS.
async fn plain_front(mock: &Mock) -> Front {
    Front::builder()
        .plain(USER, PASSWORD)
        .start(address(mock))
        .await
        .unwrap()
}

/// A front before the mock that takes the connection string over TLS, as `name`, and the file of its authority.
async fn tls_front(mock: &Mock, name: &str) -> (Front, NamedTempFile) {
    let ca = TestCa::new();
    let front = Front::builder()
        .tls(ca.issue(name))
        .plain(USER, PASSWORD)
        .start(address(mock))
        .await
        .unwrap();
    (front, ca_file(&ca))
}

/// A front before the mock that takes this token for so long, without TLS.
async fn bearer_front(mock: &Mock, token: &str, lifetime: Duration) -> Front {
    Front::builder()
        .bearer(token, lifetime)
        .start(address(mock))
        .await
        .unwrap()
}

/// Both topics with their connection strings.
fn strings(pageviews: &str, stars: &str) -> [Login; 2] {
    let login = |topic: usize, string: &str| Login::ConnectionString {
        variable: CONNECTION_STRINGS[topic],
        string: ConnectionString::parse(string).expect("a connection string"),
    };
    [login(0, pageviews), login(1, stars)]
}

/// Both topics with one connection string.
fn string(string: &str) -> [Login; 2] {
    strings(string, string)
}

/// Both topics with tokens from one source.
fn tokens(source: &Arc<impl TokenSource + 'static>) -> [Login; 2] {
    [0, 1].map(|_| Login::EntraId(Arc::clone(source) as _))
}

async fn open(config: &KafkaConfig, logins: &[Login; 2]) -> Producers {
    Producers::open(config, logins, &limits()).await.expect("a sink")
}

async fn refused(config: &KafkaConfig, logins: &[Login; 2]) -> String {
    refused_within(config, logins, &limits()).await
}

async fn refused_within(config: &KafkaConfig, logins: &[Login; 2], limits: &Limits) -> String {
    let started = std::time::Instant::now();
    let error: KafkaSinkError = Producers::open(config, logins, limits)
        .await
        .expect_err("a refusal");
    // Not a measurement: the bound within which a refusal has to end the process.
    assert!(started.elapsed() < Duration::from_secs(30));
    let text = error.to_string();
    assert!(!text.contains("PLANTED"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_the_connection_string_are_accepted() {
    let mock = mock();
    let (front, file) = tls_front(&mock, "localhost").await;
    let config = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let sink = open(&config, &string(PASSWORD)).await;
    send(&sink, 0, 2_000).await;
    assert_eq!(sink.flush(LIMIT).await.delivered, 2_000);
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 2_000), 2_000);
    let counts = front.counts();
    assert!(counts.authenticated > 0 && counts.produced > 0, "{counts:?}");
    assert_eq!(counts.refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hub_signs_in_with_its_own_string() {
    let (mock, ca) = (mock(), TestCa::new());
    let file = ca_file(&ca);
    let [pageviews, stars] = ["pageviews", "stars"].map(|hub| format!("{PASSWORD};EntityPath={hub}"));
    let front = Front::builder()
        .tls(ca.issue("localhost"))
        .plain(USER, &pageviews)
        .plain(USER, &stars)
        .start(address(&mock))
        .await
        .unwrap();
    let config = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let sink = open(&config, &strings(&pageviews, &stars)).await;
    assert!(format!("{sink:?}").contains("producers: 2"), "{sink:?}");
    assert_eq!(sink.flush(LIMIT).await.lost, 0);

    let error = refused(&config, &strings(&pageviews, &format!("{stars}2"))).await;
    assert!(
        error.contains("refused EVENTHUB_CONNECTION_STRING_STARS"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_needs_no_tls() {
    let mock = mock();
    let front = plain_front(&mock).await;
    let config = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let sink = open(&config, &string(PASSWORD)).await;
    send(&sink, 0, 100).await;
    assert_eq!(sink.flush(LIMIT).await.delivered, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_at_once() {
    let mock = mock();
    let (front, file) = tls_front(&mock, "localhost").await;
    let config = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let error = refused(&config, &string(&format!("{PASSWORD}-but-wrong"))).await;
    assert!(
        error.starts_with("the broker refused EVENTHUB_CONNECTION_STRING_PAGEVIEWS: "),
        "{error}"
    );
    assert!(error.contains("Invalid credentials"), "{error}");
    assert!(front.counts().refused > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_not_accepted() {
    let mock = mock();
    let (front, _) = tls_front(&mock, "localhost").await;
    let file = ca_file(&TestCa::new());
    let error = refused(
        &secure(&front, SecurityProtocol::SaslSsl, Some(&file)),
        &string(PASSWORD),
    )
    .await;
    assert!(
        error.contains("certificate verify failed") && error.contains("KAFKA_CA_FILE"),
        "{error}"
    );
    // The machine's own authorities do not know it either, and no password has been sent.
    let error = refused(
        &secure(&front, SecurityProtocol::SaslSsl, None),
        &string(PASSWORD),
    )
    .await;
    assert!(error.contains("certificate verify failed"), "{error}");
    assert_eq!(front.counts().authenticated, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_not_accepted() {
    let mock = mock();
    let (front, file) = tls_front(&mock, "elsewhere.servicebus.windows.net").await;
    let error = refused(
        &secure(&front, SecurityProtocol::SaslSsl, Some(&file)),
        &string(PASSWORD),
    )
    .await;
    assert!(error.starts_with("no TLS connection: "), "{error}");
    assert_eq!(front.counts().authenticated, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_tls_is_reported_as_one() {
    let mock = mock();
    let front = plain_front(&mock).await;
    let config = secure(&front, SecurityProtocol::SaslSsl, None);
    let limits = Limits {
        connect: Duration::from_secs(5),
        ..limits()
    };
    let error = refused_within(&config, &string(PASSWORD), &limits).await;
    // librdkafka has two texts, depending on what it notices first.
    assert!(error.contains("SSL_HANDSHAKE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_file_without_certificates_is_named() {
    let mock = mock();
    let front = Front::builder().start(address(&mock)).await.unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"not a certificate").unwrap();
    let error = refused(
        &secure(&front, SecurityProtocol::SaslSsl, Some(&file)),
        &string(PASSWORD),
    )
    .await;
    assert!(error.starts_with("KAFKA_CA_FILE cannot be used: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_changed_meanwhile_ends_the_stream() {
    let mock = mock();
    let front = plain_front(&mock).await;
    let config = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let sink = open(&config, &string(PASSWORD)).await;
    send(&sink, 0, 10).await;
    front.set_password(USER, "another");
    front.drop_connections();
    let error = tokio::time::timeout(Duration::from_secs(30), sink.health().failed())
        .await
        .unwrap()
        .to_string();
    assert!(
        error.contains("refused EVENTHUB_CONNECTION_STRING_PAGEVIEWS"),
        "{error}"
    );
    assert!(!error.contains("PLANTED"), "{error}");
    sink.flush(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_again_and_again_costs_nothing() {
    let mock = mock();
    let (front, file) = tls_front(&mock, "localhost").await;
    let config = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let sink = open(&config, &string(PASSWORD)).await;
    for round in 0..5 {
        send(&sink, round * 1_000, (round + 1) * 1_000).await;
        front.drop_connections();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Longer than the limit for a refusal: being away is not refusing.
    front.set_down(true);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(sink.health().error().is_none());
    front.set_down(false);
    let delivery = sink.flush(LIMIT).await;
    assert_eq!((delivery.delivered, delivery.lost), (5_000, 0));
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 5_000), 5_000);
}

/// Hands out `token-1`, `token-2`, …, each good for so long, and lets the front know them.
struct Tokens {
    front: Option<Arc<Front>>,
    lifetime: Duration,
    issued: AtomicU32,
}

impl Tokens {
    /// Tokens that no front has to know.
    fn of_lifetime(lifetime: Duration) -> Arc<Self> {
        Arc::new(Self {
            front: None,
            lifetime,
            issued: AtomicU32::new(0),
        })
    }
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<AccessToken, TokenError> {
        let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
        let secret = format!("PLANTED-token-{number}");
        if let Some(front) = &self.front {
            front.allow_bearer(&secret, self.lifetime);
        }
        Ok(AccessToken::new(secret, SystemTime::now() + self.lifetime))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_accepted_and_renewed_before_it_expires() {
    let (mock, ca) = (mock(), TestCa::new());
    let file = ca_file(&ca);
    let front = Front::builder()
        .tls(ca.issue("localhost"))
        .bearer("unused", Duration::from_secs(60))
        .start(address(&mock))
        .await
        .unwrap();
    let front = Arc::new(front);
    let source = Arc::new(Tokens {
        front: Some(Arc::clone(&front)),
        lifetime: Duration::from_secs(5),
        issued: AtomicU32::new(0),
    });
    let config = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let sink = open(&config, &tokens(&source)).await;
    for round in 0..20 {
        send(&sink, round * 100, (round + 1) * 100).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let delivery = sink.flush(LIMIT).await;
    assert_eq!((delivery.delivered, delivery.lost), (2_000, 0));
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 2_000), 2_000);
    let issued = source.issued.load(Ordering::SeqCst);
    assert!(issued >= 3, "{issued} tokens in 12 s");
    let counts = front.counts();
    assert!(counts.authenticated >= 2 && counts.refused == 0, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_hub_does_not_take_is_refused() {
    let mock = mock();
    let front = bearer_front(&mock, "another", Duration::from_secs(60)).await;
    let source = Tokens::of_lifetime(Duration::from_secs(60));
    let config = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let error = refused(&config, &tokens(&source)).await;
    assert!(
        error.starts_with("the broker refused the Microsoft Entra ID sign-in"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expired_on_the_way_is_refused() {
    let mock = mock();
    let front = bearer_front(&mock, "PLANTED-token-1", Duration::ZERO).await;
    let source = Tokens::of_lifetime(Duration::from_secs(60));
    let config = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let error = refused(&config, &tokens(&source)).await;
    assert!(
        error.contains("invalid_token") || error.contains("Invalid credentials"),
        "{error}"
    );
}

/// An identity service that is away.
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
    let front = bearer_front(&mock, "any", Duration::from_secs(60)).await;
    let config = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let limits = Limits {
        connect: Duration::from_secs(4),
        ..limits()
    };
    let error = refused_within(&config, &tokens(&Arc::new(NoIdentityService)), &limits).await;
    assert!(error.contains("the identity service does not answer"), "{error}");
}

/// The front and the login of an identity whose token is good, and a mock that lets it use `pageviews` only.
async fn without_role(mock: &Mock) -> (Front, [Login; 2]) {
    mock.topic_error(
        "stars",
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    )
    .unwrap();
    let lifetime = Duration::from_secs(3_600);
    let front = bearer_front(mock, "PLANTED-token-1", lifetime).await;
    (front, tokens(&Tokens::of_lifetime(lifetime)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_assigned_a_moment_ago_is_waited_for() {
    let mock = mock();
    let (front, logins) = without_role(&mock).await;
    let config = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let limits = Limits {
        connect: Duration::from_secs(2),
        ..limits()
    };
    // The wait for a role is not one for a connection.
    let longer = limits.connect * 2;
    let opening = tokio::spawn(async move { Producers::open(&config, &logins, &limits).await });
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
    let mock = mock();
    let (front, logins) = without_role(&mock).await;
    let config = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let limits = Limits {
        role: Duration::from_secs(1),
        ..limits()
    };
    let error = refused_within(&config, &logins, &limits).await;
    assert!(
        error.starts_with("the broker does not let us send to the topic stars (tried for 1 s)"),
        "{error}"
    );
    assert!(error.contains("Azure Event Hubs Data Sender"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_string_without_the_right_to_send_is_refused_at_once() {
    let mock = mock();
    mock.topic_error(
        "stars",
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    )
    .unwrap();
    let front = plain_front(&mock).await;
    let config = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let error = refused(&config, &string(PASSWORD)).await;
    assert!(
        error.ends_with("topic stars: give the rule or role the right to send"),
        "{error}"
    );
}
