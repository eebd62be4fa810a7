//! The Kafka sink against librdkafka's mock cluster: what is delivered, what is reported as lost, what the log says
//! while messages wait, and when the sink gives up.

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{Mock, PARTITIONS, assert_complete, limits, mock, open, open_with, read, send};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use stream_pageviews::message::Topic;
use stream_pageviews::sink::kafka::producers::{Producers, Record};
use testkit::process::GeneratorProcess;

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn every_message_arrives_once_in_order_with_key_and_time() {
    let mock = mock();
    let sink = open(&mock.bootstrap_servers()).await;
    assert!(sink.is_idempotent());
    send(&sink, 0, 5_000).await;
    let star = Record {
        topic: Topic::Stars,
        key: b"42",
        payload: b"{}",
        timestamp: 1_700_000_000_000,
        event_time: "2023-11-14T22:13:20.000Z",
        session_id: "session",
        event_id: "event",
    };
    sink.send(star).await.unwrap();
    let delivery = sink.flush(LIMIT).await;
    assert_eq!((delivery.delivered, delivery.lost), (5_001, 0));

    let messages = read(&mock.bootstrap_servers(), "pageviews", 5_000);
    assert_complete(&messages, 5_000);
    for message in &messages {
        let number: i64 = message.payload.parse().unwrap();
        assert_eq!(message.key, (number % 10).to_string());
        assert_eq!(message.timestamp, 1_700_000_000_000 + number);
    }
    // Each key is in one partition, and more than one partition is in use.
    let mut places: Vec<(String, i32)> = messages
        .iter()
        .map(|message| (message.key.clone(), message.partition))
        .collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 10);
    assert!(
        (0..PARTITIONS)
            .filter(|partition| places.iter().any(|(_, place)| place == partition))
            .count()
            > 1
    );

    let stars = read(&mock.bootstrap_servers(), "stars", 1);
    assert_eq!(stars.len(), 1);
    assert_eq!((stars[0].key.as_str(), stars[0].payload.as_str()), ("42", "{}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn retriable_answers_neither_lose_nor_double_a_message() {
    use RDKafkaRespErr::*;
    let mock = mock();
    let sink = open(&mock.bootstrap_servers()).await;
    for round in 0..3 {
        mock.request_errors(
            RDKafkaApiKey::Produce,
            &[
                RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                RD_KAFKA_RESP_ERR__TRANSPORT,
            ],
        );
        send(&sink, round * 1_000, (round + 1) * 1_000).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let delivery = sink.flush(Duration::from_secs(60)).await;
    assert_eq!((delivery.delivered, delivery.lost), (3_000, 0));
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 3_000), 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_and_comes_back_costs_nothing() {
    let mock = mock();
    let sink = open(&mock.bootstrap_servers()).await;
    send(&sink, 0, 1_000).await;
    mock.broker_down(1).unwrap();
    send(&sink, 1_000, 2_000).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(sink.health().error().is_none());
    assert!(sink.in_flight() >= 1_000);
    mock.broker_up(1).unwrap();
    send(&sink, 2_000, 3_000).await;
    let delivery = sink.flush(Duration::from_secs(60)).await;
    assert_eq!((delivery.delivered, delivery.lost), (3_000, 0));
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 3_000), 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stays_away_ends_in_a_failure_that_counts_the_loss() {
    let mock = mock();
    let mut limits = limits();
    limits.delivery = Duration::from_secs(3);
    let sink = open_with(&mock.bootstrap_servers(), &limits).await.unwrap();
    mock.broker_down(1).unwrap();
    send(&sink, 0, 100).await;
    let error = tokio::time::timeout(Duration::from_secs(30), sink.health().failed())
        .await
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("a message for the topic pageviews was lost: "),
        "{error}"
    );
    let delivery = sink.flush(Duration::from_secs(1)).await;
    assert_eq!(delivery.delivered, 0);
    assert!(delivery.lost >= 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_flushed_in_time_is_counted_as_lost() {
    let mock = mock();
    let sink = open(&mock.bootstrap_servers()).await;
    mock.broker_down(1).unwrap();
    send(&sink, 0, 77).await;
    let health = sink.health().clone();
    let delivery = sink.flush(Duration::from_secs(1)).await;
    assert_eq!((delivery.delivered, delivery.lost), (0, 77));
    assert!(
        health
            .error()
            .unwrap()
            .to_string()
            .contains("not delivered before the end")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_makes_the_sender_wait() {
    let mock = mock();
    let mut limits = limits();
    limits.queued_messages = 500;
    let sink = open_with(&mock.bootstrap_servers(), &limits).await.unwrap();
    mock.broker_round_trip_time(1, Duration::from_millis(200))
        .unwrap();
    for start in (0..5_000).step_by(100) {
        send(&sink, start, start + 100).await;
        // librdkafka also counts some internal events.
        assert!(sink.in_flight() <= 510, "{}", sink.in_flight());
    }
    assert_eq!(sink.flush(Duration::from_secs(60)).await.delivered, 5_000);
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 5_000), 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named() {
    let mock = mock();
    mock.topic_error("stars", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        .unwrap();
    let error = open_with(&mock.bootstrap_servers(), &limits())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("the topic stars does not exist: create it"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_we_may_not_use_is_named() {
    let mock = mock();
    mock.topic_error(
        "stars",
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    )
    .unwrap();
    let error = open_with(&mock.bootstrap_servers(), &limits())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("does not let us send to the topic stars"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_send_taken_away_ends_the_stream() {
    let mock = mock();
    let sink = open(&mock.bootstrap_servers()).await;
    mock.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 1],
    );
    send(&sink, 0, 1).await;
    let error = tokio::time::timeout(Duration::from_secs(30), sink.health().failed())
        .await
        .unwrap()
        .to_string();
    assert!(
        error.contains("give the rule or role the right to send"),
        "{error}"
    );
    assert_eq!(sink.flush(LIMIT).await.lost, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_reported() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut limits = limits();
    limits.connect = Duration::from_secs(3);
    let error = open_with(&free.to_string(), &limits)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("no connection within 3 s ("), "{error}");
    assert!(error.contains("Connection refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_gives_no_producer_id_gets_a_plain_producer() {
    use RDKafkaRespErr::*;
    for refusal in [
        RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_UNKNOWN,
        RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
        RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        // The broker closes the connection.
        RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        let mock = mock();
        mock.request_errors(RDKafkaApiKey::InitProducerId, &[refusal; 100]);
        assert_plain(&open(&mock.bootstrap_servers()).await, &mock).await;
    }
    // The broker has a version without the request.
    let mock = mock();
    mock.apiversion(RDKafkaApiKey::InitProducerId, None, None)
        .unwrap();
    assert_plain(&open(&mock.bootstrap_servers()).await, &mock).await;
}

/// Asserts that the sink is not idempotent, but delivers.
async fn assert_plain(sink: &Producers, mock: &Mock) {
    assert!(!sink.is_idempotent());
    send(sink, 0, 100).await;
    assert_eq!(sink.flush(LIMIT).await.delivered, 100);
    assert_complete(&read(&mock.bootstrap_servers(), "pageviews", 100), 100);
}

/// Runs a stream of forty minutes in the past with duplicates as a process. The mock cluster keeps only a few megabytes
/// per partition.
#[test]
fn events_have_their_time_and_ids_in_headers_and_users_keep_their_order() {
    let mock = mock();
    for fields in [true, false] {
        let finished = GeneratorProcess::new(env!("CARGO_BIN_EXE_stream-pageviews"))
            .env("KAFKA_BOOTSTRAP_SERVERS", mock.bootstrap_servers())
            .env("STREAM_FROM", "2026-02-01")
            .env(
                "STREAM_TO",
                if fields {
                    "2026-02-01T00:40:00Z"
                } else {
                    "2026-02-01T00:01:00Z"
                },
            )
            .env("CONCURRENT_USERS", "3")
            .env("USER_MAX_ID", "49")
            .env("DUPLICATE_ONE_IN", "20")
            .env("EVENT_FIELDS", fields.to_string())
            .env("SEED", "1")
            .env("LOG_FORMAT", "json")
            .succeed();
        let last: serde_json::Value = serde_json::from_str(finished.output.lines().last().unwrap()).unwrap();
        assert_eq!(last["message"], "manifest");
        let manifest: serde_json::Value = serde_json::from_str(last["manifest"].as_str().unwrap()).unwrap();
        let count = manifest["pageviews"].as_u64().unwrap() as usize;
        let all = read(&mock.bootstrap_servers(), "pageviews", count);
        // The topic also contains the messages of the first round.
        let all: Vec<_> = all
            .into_iter()
            .filter(|message| message.payload.contains("\"event_id\"") == fields)
            .collect();
        assert_eq!(all.len(), count);
        let effects = manifest["planted"].as_array().unwrap();
        let planted = effects
            .iter()
            .find(|effect| effect["effect"] == "duplicate")
            .unwrap();
        let duplicates = planted["count"].as_u64().unwrap() as usize;

        let mut bodies = HashMap::new();
        let mut newest = HashMap::new();
        let mut sent_again = 0;
        for message in &all {
            let names: Vec<_> = message.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["event_time", "session_id", "event_id"]);
            let [time, session, event] = [0, 1, 2].map(|index| message.headers[index].1.clone());
            let parsed = chrono::DateTime::parse_from_rfc3339(&time).unwrap();
            assert_eq!(parsed.timestamp_millis(), message.timestamp);
            assert!(event.len() <= 40 && event.starts_with(&session));
            let body: serde_json::Value = serde_json::from_str(&message.payload).unwrap();
            assert_eq!(message.key, body["user_id"].to_string());
            if fields {
                assert_eq!(
                    [&body["event_time"], &body["session_id"], &body["event_id"]],
                    [
                        &serde_json::Value::from(time.clone()),
                        &session.into(),
                        &event.clone().into()
                    ]
                );
            } else {
                assert_eq!(body.as_object().unwrap().len(), 6);
            }
            let whole = (message.key.clone(), message.payload.clone(), message.timestamp);
            if let Some(first) = bodies.insert(event, whole.clone()) {
                assert_eq!(first, whole, "a duplicate has the same key and bytes");
                sent_again += 1;
                continue;
            }
            let newest = newest.entry(message.key.clone()).or_insert_with(String::new);
            assert!(*newest <= time, "the messages of a user are in order");
            *newest = time;
        }
        // Some duplicates are of star ratings.
        assert!(
            (duplicates.saturating_sub(5)..=duplicates).contains(&sent_again),
            "{sent_again} of {duplicates}"
        );
        assert!(!fields || sent_again > 200);
    }
}

#[cfg(unix)]
mod processes {
    use super::*;

    /// A running stream-pageviews and its log.
    struct Stream {
        child: Child,
        lines: mpsc::Receiver<String>,
    }

    impl Stream {
        fn start(servers: &str) -> Self {
            let mut child = GeneratorProcess::new(env!("CARGO_BIN_EXE_stream-pageviews"))
                .env("KAFKA_BOOTSTRAP_SERVERS", servers)
                .env("SESSION_PAUSE_MEAN", "0.1")
                .env("SESSION_PAUSE_STDDEV", "0")
                .start_logging();
            let log = BufReader::new(child.stderr.take().unwrap());
            let (sender, lines) = mpsc::channel();
            std::thread::spawn(move || {
                log.lines()
                    .map_while(Result::ok)
                    .try_for_each(|line| sender.send(line))
            });
            Self { child, lines }
        }

        /// Returns the lines up to the first one that contains `text`.
        fn lines_until(&self, text: &str) -> Vec<String> {
            let mut lines = Vec::new();
            let deadline = Instant::now() + Duration::from_secs(45);
            while !lines.last().is_some_and(|line: &String| line.contains(text)) {
                match self.lines.recv_timeout(deadline - Instant::now()) {
                    Ok(line) => lines.push(line),
                    Err(error) => panic!("no {text:?} in {lines:#?}: {error}"),
                }
            }
            lines
        }

        fn stop(mut self) -> Option<i32> {
            testkit::process::send_signal(&self.child, "TERM");
            self.child.wait().unwrap().code()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_warning_says_that_there_is_no_producer_id() {
        let mock = mock();
        mock.request_errors(
            RDKafkaApiKey::InitProducerId,
            &[RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT; 100],
        );
        let stream = Stream::start(&mock.bootstrap_servers());
        let lines = stream.lines_until("connected");
        // Before this line, a slow machine may log warnings about the connections that the broker closes.
        let is_about_it = |line: &&String| line.contains("idempotent producer") || line.contains(" ERROR ");
        let warnings: Vec<_> = lines.iter().filter(is_about_it).collect();
        assert!(
            matches!(&warnings[..], [line] if line.contains(" WARN ") && line.contains("accepts no idempotent producer")),
            "{lines:#?}"
        );
        assert!(lines.last().unwrap().contains("idempotent=false"), "{lines:#?}");
        assert_eq!(stream.stop(), Some(0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_answers_but_acknowledges_nothing_is_reported() {
        let mock = mock();
        let stream = Stream::start(&mock.bootstrap_servers());
        stream.lines_until("streaming sessions=");
        // As from a broker that has returned without its data: the producer's batches are never accepted.
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
        mock.request_errors(RDKafkaApiKey::Produce, &[refusal; 100_000]);
        let wait = "messages wait: no message has been acknowledged for ";
        stream.lines_until(wait);
        stream.lines_until(wait);
        mock.clear_request_errors(RDKafkaApiKey::Produce);
        stream.lines_until("messages are delivered again");
        assert_eq!(stream.stop(), Some(0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_returns_without_its_topics_ends_the_stream() {
        let mock = mock();
        let stream = Stream::start(&mock.bootstrap_servers());
        stream.lines_until("streaming sessions=");
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        mock.broker_down(1).unwrap();
        mock.request_errors(RDKafkaApiKey::Produce, &[refusal; 10_000]);
        for topic in ["pageviews", "stars"] {
            mock.topic_error(topic, refusal).unwrap();
        }
        mock.broker_up(1).unwrap();
        let lines = stream.lines_until("the topic pageviews");
        // Either the topic is unknown or, if its partitions are forgotten first, the partition is.
        let advice = [
            "create the topic (the event hub) first",
            "was the broker restarted without its data?",
        ];
        let last = lines.last().unwrap();
        assert!(advice.iter().any(|advice| last.contains(advice)), "{last}");
        let mut child = stream.child;
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}

#[cfg(unix)]
#[test]
fn a_signal_while_connecting_ends_the_process_well() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut child = GeneratorProcess::new(env!("CARGO_BIN_EXE_stream-pageviews"))
        .env("KAFKA_BOOTSTRAP_SERVERS", &address)
        .start();
    // From here on, the process waits for an answer; after half a minute it would give up with exit code 1.
    let _connection = silent.accept().unwrap();
    testkit::process::send_signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
