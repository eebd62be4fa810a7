//! What the Kafka tests share: a broker in the test process, reading its messages back, and a sink with short limits.

// Each test binary uses only a part of this module.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use datagen_settings::catalog::SecurityProtocol;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use stream_pageviews::config::kafka::{KafkaConfig, SignIn};
use stream_pageviews::message::Topic;
use stream_pageviews::sink::kafka::error::KafkaSinkError;
use stream_pageviews::sink::kafka::producers::{Producers, Record};
use stream_pageviews::sink::kafka::settings::{Limits, Login};

/// Partitions of each topic: more than one, so that keys matter.
pub(crate) const PARTITIONS: i32 = 3;

/// librdkafka's mock cluster.
pub(crate) type Mock = MockCluster<'static, DefaultProducerContext>;

/// A message that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) payload: String,
    pub(crate) timestamp: i64,
    /// Names and values.
    pub(crate) headers: Vec<(String, String)>,
}

/// Starts a mock cluster of one broker with both topics.
pub(crate) fn mock() -> Mock {
    let mock = MockCluster::new(1).expect("a mock cluster");
    for topic in ["pageviews", "stars"] {
        mock.create_topic(topic, PARTITIONS, 1).expect("a topic");
    }
    mock
}

/// Returns the configuration of a connection without TLS and without sign-in.
pub(crate) fn config(bootstrap_servers: &str) -> KafkaConfig {
    KafkaConfig {
        bootstrap_servers: bootstrap_servers.to_owned(),
        security: SecurityProtocol::Plaintext,
        sign_in: SignIn::None,
        ca_file: None,
    }
}

/// Returns limits for tests.
pub(crate) fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(15),
        producer_id: Duration::from_secs(2),
        role: Duration::from_secs(60),
        delivery: Duration::from_secs(60),
        refusal: Duration::from_secs(2),
        ..Limits::default()
    }
}

/// No sign-in for either topic.
pub(crate) const NO_LOGINS: [Login; 2] = [Login::None, Login::None];

/// Opens a sink without sign-in.
pub(crate) async fn open(bootstrap_servers: &str) -> Producers {
    open_with(bootstrap_servers, &limits()).await.expect("a sink")
}

/// Opens a sink without sign-in and with these limits.
pub(crate) async fn open_with(bootstrap_servers: &str, limits: &Limits) -> Result<Producers, KafkaSinkError> {
    Producers::open(&config(bootstrap_servers), &NO_LOGINS, limits).await
}

/// Sends the pageviews `from..to`. The key of each is its number modulo 10.
pub(crate) async fn send(sink: &Producers, from: u32, to: u32) {
    for number in from..to {
        let (key, payload) = ((number % 10).to_string(), number.to_string());
        let message = Record {
            topic: Topic::Pageviews,
            key: key.as_bytes(),
            payload: payload.as_bytes(),
            timestamp: 1_700_000_000_000 + i64::from(number),
            event_time: "2023-11-14T22:13:20.000Z",
            session_id: "session",
            event_id: &payload,
        };
        sink.send(message).await.expect("the queue takes it");
    }
}

/// Reads a topic from its beginning until there are `count` messages, and a moment longer to detect duplicates.
pub(crate) fn read(bootstrap_servers: &str, topic: &str, count: usize) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions
            .add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a partition");
    }
    consumer.assign(&partitions).expect("an assignment");
    let mut messages = Vec::new();
    let mut quiet_since = Instant::now();
    let limit = |messages: usize| {
        if messages < count {
            Duration::from_secs(20)
        } else {
            Duration::from_millis(700)
        }
    };
    while quiet_since.elapsed() < limit(messages.len()) {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let text =
                |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("UTF-8");
            messages.push(Read {
                partition: message.partition(),
                key: text(message.key()),
                payload: text(message.payload()),
                timestamp: message.timestamp().to_millis().unwrap_or(-1),
                headers: message.headers().map_or(vec![], |headers| {
                    let pairs = headers.iter();
                    pairs
                        .map(|header| (header.key.to_owned(), text(header.value)))
                        .collect()
                }),
            });
            quiet_since = Instant::now();
        }
    }
    messages
}

/// Asserts that each number of `0..count` occurs once, and that the numbers of each key are in the order in which they
/// were sent.
pub(crate) fn assert_complete(messages: &[Read], count: u32) {
    let mut by_key: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for message in messages {
        by_key
            .entry(&message.key)
            .or_default()
            .push(message.payload.parse().expect("a number"));
    }
    for (key, numbers) in &by_key {
        assert!(numbers.is_sorted(), "key {key} is out of order");
    }
    let mut numbers: Vec<u32> = by_key.into_values().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}
