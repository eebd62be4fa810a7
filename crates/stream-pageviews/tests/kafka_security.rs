//! The Kafka sink through TLS and SASL: who gets in, who does not, and what is said then.
//!
//! The broker is librdkafka's mock cluster behind the test kit's front, which does for it what Event Hubs does.

mod common;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use common::{Mock, address, assert_complete, broker, mock, read, routes, send};
use datagen_azure::entra::AccessToken;
use datagen_settings::Secret;
use datagen_settings::catalog::SecurityProtocol;
use rdkafka::types::RDKafkaRespErr;
use stream_pageviews::sink::kafka::health::Undeliverable;
use stream_pageviews::sink::kafka::producers::Producers;
use stream_pageviews::sink::kafka::settings::{Broker, Login};
use stream_pageviews::sink::kafka::token::TokenSource;
use tempfile::NamedTempFile;
use testkit::kafka::{Front, TestCa};

const USER: &str = "$ConnectionString";
const PASSWORD: &str = "Endpoint=sb://localhost/;SharedAccessKeyName=send;SharedAccessKey=PLANTED";
const PATIENCE: Duration = Duration::from_secs(30);

fn ca_file(ca: &TestCa) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(ca.pem().as_bytes()).expect("written");
    file
}

fn secure(front: &Front, security: SecurityProtocol, ca: Option<&NamedTempFile>) -> Broker {
    let ca_file = ca.map(|file| file.path().to_owned());
    Broker {
        security,
        ca_file,
        ..broker(&front.bootstrap())
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

fn plain(password: &str) -> Login {
    Login::Plain {
        user: USER.to_owned(),
        password: Secret::new(password),
    }
}

async fn refused(broker: &Broker, login: Login) -> String {
    let started = std::time::Instant::now();
    let failure: Undeliverable = Producers::open(broker, &routes(login))
        .await
        .expect_err("a refusal");
    // Not a measurement: the bound within which a refusal has to end the process.
    assert!(started.elapsed() < Duration::from_secs(30));
    let text = format!("{failure} {failure:?}");
    assert!(!text.contains("PLANTED"), "{text}");
    failure.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_the_connection_string_open_the_hub() {
    let mock = mock();
    let (front, file) = tls_front(&mock, "localhost").await;
    let broker = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let sink = Producers::open(&broker, &routes(plain(PASSWORD))).await.unwrap();
    send(&sink, 0, 2_000).await;
    assert_eq!(sink.flush(PATIENCE).await.delivered, 2_000);
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 2_000), 2_000);
    let counts = front.counts();
    assert!(counts.authenticated > 0 && counts.produced > 0, "{counts:?}");
    assert_eq!(counts.refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hub_signs_in_with_its_own_string() {
    let (mock, ca) = (mock(), TestCa::new());
    let file = ca_file(&ca);
    let front = Front::builder()
        .tls(ca.issue("localhost"))
        .plain("views", "PLANTED-1")
        .plain("stars", "PLANTED-2")
        .start(address(&mock))
        .await
        .unwrap();
    let mut routes = routes(Login::None);
    routes[0].login = Login::Plain {
        user: "views".into(),
        password: Secret::new("PLANTED-1"),
    };
    routes[1].login = Login::Plain {
        user: "stars".into(),
        password: Secret::new("PLANTED-2"),
    };
    let broker = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let sink = Producers::open(&broker, &routes).await.unwrap();
    assert!(format!("{sink:?}").contains("producers: 2"), "{sink:?}");
    assert_eq!(sink.flush(PATIENCE).await.lost, 0);

    routes[1].login = Login::Plain {
        user: "stars".into(),
        password: Secret::new("PLANTED-1"),
    };
    let failure = Producers::open(&broker, &routes).await.unwrap_err().to_string();
    assert!(
        failure.contains("refused the connection string of stars"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_is_signed_in_to_without_tls() {
    let mock = mock();
    let front = plain_front(&mock).await;
    let broker = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let sink = Producers::open(&broker, &routes(plain(PASSWORD))).await.unwrap();
    send(&sink, 0, 100).await;
    assert_eq!(sink.flush(PATIENCE).await.delivered, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_at_once() {
    let mock = mock();
    let (front, file) = tls_front(&mock, "localhost").await;
    let broker = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let failure = refused(&broker, plain("PLANTED but wrong")).await;
    assert!(
        failure.starts_with("the broker refused the connection string of pageviews: "),
        "{failure}"
    );
    assert!(failure.contains("Invalid credentials"), "{failure}");
    assert!(front.counts().refused > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_not_accepted() {
    let mock = mock();
    let (front, _) = tls_front(&mock, "localhost").await;
    let file = ca_file(&TestCa::new());
    let failure = refused(
        &secure(&front, SecurityProtocol::SaslSsl, Some(&file)),
        plain(PASSWORD),
    )
    .await;
    assert!(
        failure.contains("certificate verify failed") && failure.contains("KAFKA_CA_FILE"),
        "{failure}"
    );
    // The machine's own authorities do not know it either, and no password has been sent.
    let failure = refused(&secure(&front, SecurityProtocol::SaslSsl, None), plain(PASSWORD)).await;
    assert!(failure.contains("certificate verify failed"), "{failure}");
    assert_eq!(front.counts().authenticated, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_not_accepted() {
    let mock = mock();
    let (front, file) = tls_front(&mock, "elsewhere.servicebus.windows.net").await;
    let failure = refused(
        &secure(&front, SecurityProtocol::SaslSsl, Some(&file)),
        plain(PASSWORD),
    )
    .await;
    assert!(failure.starts_with("no TLS connection: "), "{failure}");
    assert_eq!(front.counts().authenticated, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_tls_is_told_from_a_broken_one() {
    let mock = mock();
    let front = plain_front(&mock).await;
    let mut broker = secure(&front, SecurityProtocol::SaslSsl, None);
    broker.patience.connect = Duration::from_secs(5);
    let failure = refused(&broker, plain(PASSWORD)).await;
    // librdkafka says it in two ways, by what it notices first.
    assert!(failure.contains("SSL_HANDSHAKE"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_file_that_is_none_is_named() {
    let mock = mock();
    let front = Front::builder().start(address(&mock)).await.unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"not a certificate").unwrap();
    let failure = refused(
        &secure(&front, SecurityProtocol::SaslSsl, Some(&file)),
        plain(PASSWORD),
    )
    .await;
    assert!(failure.starts_with("KAFKA_CA_FILE cannot be used: "), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_changed_meanwhile_ends_the_stream() {
    let mock = mock();
    let front = plain_front(&mock).await;
    let broker = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let sink = Producers::open(&broker, &routes(plain(PASSWORD))).await.unwrap();
    send(&sink, 0, 10).await;
    front.set_password(USER, "another");
    front.drop_connections();
    let failure = tokio::time::timeout(Duration::from_secs(30), sink.health().failed())
        .await
        .unwrap()
        .to_string();
    assert!(
        failure.contains("refused the connection string of pageviews"),
        "{failure}"
    );
    assert!(!failure.contains("PLANTED"), "{failure}");
    sink.flush(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_again_and_again_costs_nothing() {
    let mock = mock();
    let (front, file) = tls_front(&mock, "localhost").await;
    let broker = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let sink = Producers::open(&broker, &routes(plain(PASSWORD))).await.unwrap();
    for round in 0..5 {
        send(&sink, round * 1_000, (round + 1) * 1_000).await;
        front.drop_connections();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Longer than the patience with a refusal: being away is not refusing.
    front.set_down(true);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(sink.health().failure(), None);
    front.set_down(false);
    let outcome = sink.flush(PATIENCE).await;
    assert_eq!((outcome.delivered, outcome.lost), (5_000, 0));
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 5_000), 5_000);
}

/// Hands out `token-1`, `token-2`, …, each good for so long, and lets the front know them.
struct Tokens {
    front: Option<Arc<Front>>,
    lifetime: Duration,
    issued: AtomicU32,
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<AccessToken, String> {
        let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
        let secret = format!("PLANTED-token-{number}");
        if let Some(front) = &self.front {
            front.allow_bearer(&secret, self.lifetime);
        }
        Ok(AccessToken::new(secret, SystemTime::now() + self.lifetime))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_hub_and_is_renewed_before_it_ends() {
    let (mock, ca) = (mock(), TestCa::new());
    let file = ca_file(&ca);
    let front = Front::builder()
        .tls(ca.issue("localhost"))
        .bearer("unused", Duration::from_secs(60))
        .start(address(&mock))
        .await
        .unwrap();
    let front = Arc::new(front);
    let tokens = Arc::new(Tokens {
        front: Some(Arc::clone(&front)),
        lifetime: Duration::from_secs(5),
        issued: AtomicU32::new(0),
    });
    let broker = secure(&front, SecurityProtocol::SaslSsl, Some(&file));
    let sink = Producers::open(&broker, &routes(Login::Bearer(Arc::clone(&tokens) as _)))
        .await
        .unwrap();
    for round in 0..20 {
        send(&sink, round * 100, (round + 1) * 100).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let outcome = sink.flush(PATIENCE).await;
    assert_eq!((outcome.delivered, outcome.lost), (2_000, 0));
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 2_000), 2_000);
    let issued = tokens.issued.load(Ordering::SeqCst);
    assert!(issued >= 3, "{issued} tokens in 12 s");
    let counts = front.counts();
    assert!(counts.authenticated >= 2 && counts.refused == 0, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_hub_does_not_take_is_refused() {
    let mock = mock();
    let front = bearer_front(&mock, "another", Duration::from_secs(60)).await;
    let tokens = Tokens {
        front: None,
        lifetime: Duration::from_secs(60),
        issued: AtomicU32::new(0),
    };
    let broker = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let failure = refused(&broker, Login::Bearer(Arc::new(tokens))).await;
    assert!(
        failure.starts_with("the broker refused the connection string of pageviews"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expired_on_the_way_is_refused() {
    let mock = mock();
    let front = bearer_front(&mock, "PLANTED-token-1", Duration::ZERO).await;
    let tokens = Tokens {
        front: None,
        lifetime: Duration::from_secs(60),
        issued: AtomicU32::new(0),
    };
    let broker = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let failure = refused(&broker, Login::Bearer(Arc::new(tokens))).await;
    assert!(
        failure.contains("invalid_token") || failure.contains("Invalid credentials"),
        "{failure}"
    );
}

/// An identity service that is away.
struct Nobody;

#[async_trait]
impl TokenSource for Nobody {
    async fn token(&self) -> Result<AccessToken, String> {
        Err("the identity service does not answer".to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_at_all_is_said_as_the_source_says_it() {
    let mock = mock();
    let front = bearer_front(&mock, "any", Duration::from_secs(60)).await;
    let mut broker = secure(&front, SecurityProtocol::SaslPlaintext, None);
    broker.patience.connect = Duration::from_secs(4);
    let failure = refused(&broker, Login::Bearer(Arc::new(Nobody))).await;
    assert!(
        failure.contains("the identity service does not answer"),
        "{failure}"
    );
}

/// The front and the login of an identity whose token is good, and a mock that lets it use `pageviews` only.
async fn without_role(mock: &Mock) -> (Front, Login) {
    mock.topic_error(
        "stars",
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    )
    .unwrap();
    let lifetime = Duration::from_secs(3_600);
    let front = bearer_front(mock, "PLANTED-token-1", lifetime).await;
    let tokens = Tokens {
        front: None,
        lifetime,
        issued: AtomicU32::new(0),
    };
    (front, Login::Bearer(Arc::new(tokens)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_assigned_a_moment_ago_is_waited_for() {
    let mock = mock();
    let (front, login) = without_role(&mock).await;
    let mut broker = secure(&front, SecurityProtocol::SaslPlaintext, None);
    broker.patience.connect = Duration::from_secs(2);
    // The wait for a role is not one for a connection.
    let longer = broker.patience.connect * 2;
    let routes = routes(login);
    let opening = tokio::spawn(async move { Producers::open(&broker, &routes).await });
    tokio::time::sleep(longer).await;
    assert!(!opening.is_finished(), "{:?}", opening.await.unwrap());
    mock.topic_error("stars", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)
        .unwrap();
    let sink = opening.await.unwrap().unwrap();
    send(&sink, 0, 100).await;
    assert_eq!(sink.flush(PATIENCE).await.delivered, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_come_is_named() {
    let mock = mock();
    let (front, login) = without_role(&mock).await;
    let mut broker = secure(&front, SecurityProtocol::SaslPlaintext, None);
    broker.patience.role = Duration::from_secs(1);
    let failure = refused(&broker, login).await;
    assert!(
        failure.starts_with("the broker does not let us send to the topic stars (tried for 1 s)"),
        "{failure}"
    );
    assert!(failure.contains("Azure Event Hubs Data Sender"), "{failure}");
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
    let broker = secure(&front, SecurityProtocol::SaslPlaintext, None);
    let failure = refused(&broker, plain(PASSWORD)).await;
    assert!(
        failure.ends_with("topic stars: give the rule or role the right to send"),
        "{failure}"
    );
}
