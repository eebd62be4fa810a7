//! What the stream is doing: a log line every few seconds, and a page for Prometheus.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use datagen_core::progress::LOG_PERIOD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::sink::{Delivery, Sink};
use crate::visit::{Topic, Visit};

/// How long a scraper may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The counts of one run.
pub struct Metrics {
    sink: Arc<dyn Sink>,
    sessions: AtomicU64,
    /// Messages handed to the sink, by [`Topic`].
    messages: [AtomicU64; 2],
    bytes: AtomicU64,
    started: Instant,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics")
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

impl Metrics {
    /// Counts from now on what goes to `sink`.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self {
            sink,
            sessions: AtomicU64::new(0),
            messages: Default::default(),
            bytes: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// Counts a session that the sink has taken.
    pub fn add(&self, visit: &Visit) {
        self.sessions.fetch_add(1, Relaxed);
        for topic in Topic::ALL {
            self.messages[topic as usize].fetch_add(visit.count(topic), Relaxed);
        }
        self.bytes.fetch_add(visit.bytes(), Relaxed);
    }

    fn of(&self, topic: Topic) -> u64 {
        self.messages[topic as usize].load(Relaxed)
    }

    /// What became of the messages; where the sink does not say, taken is delivered.
    fn delivery(&self) -> Delivery {
        let taken = Topic::ALL.iter().map(|topic| self.of(*topic)).sum();
        self.sink.delivery().unwrap_or(Delivery {
            delivered: taken,
            ..Delivery::default()
        })
    }

    /// Writes a log line every [`LOG_PERIOD`], for ever.
    pub async fn log_periodically(&self) {
        let mut interval = tokio::time::interval(LOG_PERIOD);
        interval.tick().await;
        let (mut before, mut at) = (self.delivery().delivered, Instant::now());
        loop {
            interval.tick().await;
            let now = self.delivery();
            let rate = now.delivered.saturating_sub(before) as f64 / at.elapsed().as_secs_f64();
            (before, at) = (now.delivered, Instant::now());
            tracing::info!(
                sessions = self.sessions.load(Relaxed),
                pageviews = self.of(Topic::Pageviews),
                stars = self.of(Topic::Stars),
                delivered = now.delivered,
                in_flight = now.in_flight,
                lost = now.lost,
                errors = now.errors,
                rate = rate.round(),
                p99_ms = (now.p99.as_secs_f64() * 1e3).round(),
                "streaming"
            );
        }
    }

    /// Logs the one line that sums up the run.
    pub fn summarize(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let delivery = self.delivery();
        tracing::info!(
            sessions = self.sessions.load(Relaxed),
            pageviews = self.of(Topic::Pageviews),
            stars = self.of(Topic::Stars),
            bytes = self.bytes.load(Relaxed),
            delivered = delivery.delivered,
            lost = delivery.lost,
            errors = delivery.errors,
            seconds = (seconds * 1e3).round() / 1e3,
            messages_per_second = (delivery.delivered as f64 / seconds.max(1e-9)).round(),
            "done"
        );
    }

    /// The page for Prometheus, <https://prometheus.io/docs/instrumenting/exposition_formats/>.
    pub fn page(&self) -> String {
        let delivery = self.delivery();
        let mut page = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, samples: &[(&str, f64)]| {
            // Writing to a string does not fail.
            let _ = writeln!(
                page,
                "# HELP stream_pageviews_{name} {help}\n# TYPE stream_pageviews_{name} {kind}"
            );
            for (labels, value) in samples {
                let _ = writeln!(page, "stream_pageviews_{name}{labels} {value}");
            }
        };
        let count = |value: u64| value as f64;
        let sessions = count(self.sessions.load(Relaxed));
        metric(
            "sessions_total",
            "counter",
            "Sessions handed to the destination.",
            &[("", sessions)],
        );
        let messages = Topic::ALL.map(|topic| {
            let label = match topic {
                Topic::Pageviews => "{topic=\"pageviews\"}",
                Topic::Stars => "{topic=\"stars\"}",
            };
            (label, count(self.of(topic)))
        });
        metric(
            "messages_total",
            "counter",
            "Messages handed to the destination.",
            &messages,
        );
        let bytes = count(self.bytes.load(Relaxed));
        metric(
            "bytes_total",
            "counter",
            "Bytes of these messages, without keys.",
            &[("", bytes)],
        );
        let delivered = count(delivery.delivered);
        metric(
            "delivered_total",
            "counter",
            "Messages that were acknowledged.",
            &[("", delivered)],
        );
        metric(
            "lost_total",
            "counter",
            "Messages given up.",
            &[("", count(delivery.lost))],
        );
        metric(
            "errors_total",
            "counter",
            "Errors that passed by themselves.",
            &[("", count(delivery.errors))],
        );
        metric(
            "in_flight",
            "gauge",
            "Messages not yet acknowledged.",
            &[("", count(delivery.in_flight))],
        );
        let p99 = delivery.p99.as_secs_f64();
        metric(
            "delivery_seconds_p99",
            "gauge",
            "99th percentile of the time to acknowledgement.",
            &[("", p99)],
        );
        page
    }

    /// Opens the page's port.
    ///
    /// # Errors
    /// If it cannot be had.
    pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    /// Serves the page under `/metrics`, for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                // Out of file descriptors: the next one may fare better.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let metrics = Arc::clone(&self);
            tokio::spawn(async move {
                let answer = service_fn(|request: Request<Incoming>| {
                    let (status, body) = match request.uri().path() {
                        "/metrics" => (StatusCode::OK, metrics.page()),
                        _ => (StatusCode::NOT_FOUND, "see /metrics\n".to_owned()),
                    };
                    let mut response = Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status;
                    let text =
                        hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                    response.headers_mut().insert(hyper::header::CONTENT_TYPE, text);
                    async { Ok::<_, Infallible>(response) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                // A scraper that goes away in the middle is its own business.
                let _ = server.serve_connection(TokioIo::new(socket), answer).await;
            });
        }
    }
}
