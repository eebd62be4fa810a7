//! The metrics as a page for Prometheus, and its server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use datagen_process::error::DestinationError;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{Error, Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Metrics, NAMESPACE};
use crate::message::Topic;

/// How long a scraper may take to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a scraper may take to send its request and to read the answer. Each connection serves one request, so this
/// also limits how long a connection is open.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);

/// How many scrapers are served at the same time; others wait to be accepted.
const CONNECTIONS: usize = 64;

/// The port of the page.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Opens the port. Requests are not answered before [`Listener::serve`] is called.
    ///
    /// # Errors
    /// If the port cannot be opened.
    pub async fn bind(address: SocketAddr) -> Result<Self, DestinationError> {
        TcpListener::bind(address).await.map(Self).map_err(|error| {
            DestinationError::permanent(format!("METRICS_ADDR {address}"), error.to_string())
                .advise("give an address of this machine and a free port")
                .caused_by(error)
        })
    }

    /// Serves the page under `/metrics`, forever.
    pub async fn serve(self, metrics: Arc<Metrics>) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        // The semaphore is never closed.
        while let Ok(connection) = Arc::clone(&connections).acquire_owned().await {
            let Ok((socket, _)) = self.0.accept().await else {
                // Out of file descriptors: the next attempt may succeed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let metrics = Arc::clone(&metrics);
            tokio::spawn(async move {
                let answer = service_fn(|request| {
                    let response = answer(&metrics, &request);
                    async { Ok::<_, Infallible>(response) }
                });
                let mut server = http1::Builder::new();
                server
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .keep_alive(false);
                let served = server.serve_connection(TokioIo::new(socket), answer);
                // A scraper that disconnects or does not read must not affect others.
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, served).await;
                drop(connection);
            });
        }
    }
}

fn answer(metrics: &Metrics, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => match metrics.page() {
            Ok(page) => (StatusCode::OK, page),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        ("/metrics", _) => (
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are allowed\n".to_owned(),
        ),
        _ => (StatusCode::NOT_FOUND, "see /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

impl Metrics {
    /// Returns the page in the format <https://prometheus.io/docs/instrumenting/exposition_formats/>.
    fn page(&self) -> Result<String, Error> {
        let page = MetricsPage(Registry::new());
        let delivery = self.sink.delivery();
        let version = options("build_info", "The version of this program.");
        let build = IntGauge::with_opts(version.const_label("version", env!("CARGO_PKG_VERSION")))?;
        build.set(1);
        page.0.register(Box::new(build))?;
        page.count(
            "sessions_total",
            "Sessions handed to the destination.",
            self.sessions.load(Relaxed),
        )?;
        page.count_by(
            "messages_total",
            "Messages handed to the destination.",
            "topic",
            Topic::ALL.map(|topic| (topic.name(), delivery.taken[topic as usize])),
        )?;
        page.count(
            "bytes_total",
            "Bytes of the messages handed to the destination, without keys.",
            delivery.bytes,
        )?;
        page.count("delivered_total", "Messages acknowledged.", delivery.delivered)?;
        page.count("lost_total", "Messages given up.", delivery.lost)?;
        page.count(
            "errors_total",
            "Errors that were resolved by a retry or a new connection.",
            delivery.errors,
        )?;
        page.count_by(
            "planted_total",
            "Occurrences of each planted effect, as in the answer key.",
            "effect",
            (self.planted)(),
        )?;
        page.gauge(
            "in_flight",
            "Messages not yet acknowledged.",
            delivery.in_flight as f64,
        )?;
        page.gauge(
            "waiting",
            "Late messages and duplicates that are not due yet.",
            self.waiting() as f64,
        )?;
        page.gauge(
            "lag_seconds",
            "How far the stream is behind the clock.",
            self.lag_seconds(),
        )?;
        if let Some(times) = self.sink.delivery_times() {
            page.0.register(times.collector())?;
        }
        #[cfg(target_os = "linux")]
        page.0.register(Box::new(ProcessCollector::for_self()))?;
        TextEncoder::new().encode_to_string(&page.0.gather())
    }
}

/// The metrics of one page.
struct MetricsPage(Registry);

impl MetricsPage {
    fn gauge(&self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let gauge = Gauge::with_opts(options(name, help))?;
        gauge.set(value);
        self.0.register(Box::new(gauge))
    }

    fn count(&self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let counter = IntCounter::with_opts(options(name, help))?;
        counter.inc_by(value);
        self.0.register(Box::new(counter))
    }

    fn count_by(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Result<(), Error> {
        let counters = IntCounterVec::new(options(name, help), &[label])?;
        for (name, value) in values {
            counters.with_label_values(&[name]).inc_by(value);
        }
        self.0.register(Box::new(counters))
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::clock::Clock;
    use crate::metrics::delivery_times::DeliveryTimes;
    use crate::sink::Delivery;
    use crate::sink::file::FileSink;
    use crate::sink::testing::FixedSink;

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[test]
    fn every_metric_has_a_help_text_and_a_type_and_its_value() {
        let times = DeliveryTimes::default();
        times.observe(Duration::from_millis(30));
        times.observe(Duration::from_secs(400));
        let planted = Box::new(|| vec![("late", 7), ("robot", 0)]);
        let delivery = Delivery {
            taken: [5, 2],
            in_flight: 3,
            ..Delivery::default()
        };
        let sink = Arc::new(FixedSink::new(delivery, Some(times)));
        let metrics = Metrics::new(sink, Clock::system()).with_planted(planted);
        metrics.change_waiting(0, 4);
        let page = metrics.page().unwrap();
        for line in [
            concat!(
                "stream_pageviews_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "stream_pageviews_messages_total{topic=\"pageviews\"} 5",
            "stream_pageviews_messages_total{topic=\"stars\"} 2",
            "stream_pageviews_planted_total{effect=\"late\"} 7",
            "stream_pageviews_planted_total{effect=\"robot\"} 0",
            "stream_pageviews_in_flight 3",
            "stream_pageviews_waiting 4",
            "stream_pageviews_lag_seconds 0",
            "# TYPE stream_pageviews_delivery_seconds histogram",
            "stream_pageviews_delivery_seconds_bucket{le=\"0.025\"} 0",
            "stream_pageviews_delivery_seconds_bucket{le=\"0.05\"} 1",
            "stream_pageviews_delivery_seconds_bucket{le=\"300\"} 1",
            "stream_pageviews_delivery_seconds_bucket{le=\"+Inf\"} 2",
        ] {
            assert!(page.lines().any(|found| found == line), "no {line} in\n{page}");
        }
        if cfg!(target_os = "linux") {
            let memory = page
                .lines()
                .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
            assert!(memory.unwrap().parse::<f64>().unwrap() > 1e6, "{page}");
        }
    }

    #[tokio::test]
    async fn the_page_is_read_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(
            Arc::new(FileSink::open(directory.path()).unwrap()),
            Clock::system(),
        );
        metrics.add_sessions(1);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.0.local_addr().unwrap();
        tokio::spawn(listener.serve(Arc::new(metrics)));

        // More silent connections than are served at the same time: none of them occupies a slot once it is gone.
        for _ in 0..2 * CONNECTIONS {
            drop(TcpStream::connect(address).await.unwrap());
        }
        let page = ask(address, "GET /metrics").await;
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.contains("\nstream_pageviews_sessions_total 1\n"), "{page}");
        let head = ask(address, "HEAD /metrics").await;
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("sessions"),
            "{head}"
        );
        for method in ["POST", "DELETE"] {
            let refused = ask(address, &format!("{method} /metrics")).await;
            assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
            assert!(refused.contains("allow: GET, HEAD\r\n"), "{refused}");
        }
        assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404 "));
    }

    #[tokio::test]
    async fn scrapers_that_never_read_do_not_keep_others_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(
            Arc::new(FileSink::open(directory.path()).unwrap()),
            Clock::system(),
        );
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.0.local_addr().unwrap();
        tokio::spawn(listener.serve(Arc::new(metrics)));

        // More requests than there is room for answers in the buffers of a connection.
        let requests = "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n".repeat(10_000);
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = TcpStream::connect(address).await.unwrap();
            let requests = requests.clone();
            silent.push(tokio::spawn(async move {
                // The server may close the connection before it has read all requests.
                let _ = connection.write_all(requests.as_bytes()).await;
                std::future::pending::<()>().await;
                drop(connection);
            }));
        }
        // If a connection did not end after its answer, this would wait forever.
        let page = tokio::time::timeout(Duration::from_secs(60), ask(address, "GET /metrics"));
        let page = page.await.expect("a place becomes free");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        silent.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
