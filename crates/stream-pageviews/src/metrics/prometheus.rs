//! The metrics as a page for Prometheus, and its server.

use std::convert::Infallible;
use std::fmt::Write;
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
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Metrics;
use crate::message::Topic;

/// How long a scraper may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a scraper may take for its request and to read the answer. Each connection serves one request, so that
/// this also bounds how long it is open.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);

/// How many scrapers are served at once; the others wait to be accepted.
const CONNECTIONS: usize = 64;

/// The page's port.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Opens the port, on which nobody is answered yet.
    ///
    /// # Errors
    /// If it cannot be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, DestinationError> {
        TcpListener::bind(address).await.map(Self).map_err(|error| {
            DestinationError::permanent(format!("METRICS_ADDR {address}"), error.to_string())
                .advise("give an address of this machine and a free port")
        })
    }

    /// Serves the page under `/metrics`, for ever.
    pub async fn serve(self, metrics: Arc<Metrics>) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        // The semaphore is never closed.
        while let Ok(connection) = Arc::clone(&connections).acquire_owned().await {
            let Ok((socket, _)) = self.0.accept().await else {
                // Out of file descriptors: the next one may fare better.
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
                // Nothing is to be done about a scraper that goes away or does not read.
                let _ = tokio::time::timeout(CONNECTION_TIMEOUT, served).await;
                drop(connection);
            });
        }
    }
}

fn answer(metrics: &Metrics, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => (StatusCode::OK, metrics.page()),
        ("/metrics", _) => (
            StatusCode::METHOD_NOT_ALLOWED,
            "this page is only read\n".to_owned(),
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
    /// The page, <https://prometheus.io/docs/instrumenting/exposition_formats/>.
    fn page(&self) -> String {
        let delivery = self.sink.delivery();
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
            (label, count(delivery.taken[topic as usize]))
        });
        metric(
            "messages_total",
            "counter",
            "Messages handed to the destination.",
            &messages,
        );
        let bytes = count(delivery.bytes);
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
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::clock::Clock;
    use crate::sink::file::Files;

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_page_is_read_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(Arc::new(Files::open(directory.path()).unwrap()), Clock::system());
        metrics.add_sessions(1);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.0.local_addr().unwrap();
        tokio::spawn(listener.serve(Arc::new(metrics)));

        // More than are served at once, and silent: none of them keeps its place once it is gone.
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
        let metrics = Metrics::new(Arc::new(Files::open(directory.path()).unwrap()), Clock::system());
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.0.local_addr().unwrap();
        tokio::spawn(listener.serve(Arc::new(metrics)));

        // More requests than the buffers of a connection have room for the answers to.
        let requests = "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n".repeat(10_000);
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = TcpStream::connect(address).await.unwrap();
            let requests = requests.clone();
            silent.push(tokio::spawn(async move {
                // The server may close the connection before it has read them all.
                let _ = connection.write_all(requests.as_bytes()).await;
                std::future::pending::<()>().await;
                drop(connection);
            }));
        }
        // Without the end of a connection after its answer this waits for ever.
        let page = tokio::time::timeout(Duration::from_secs(60), ask(address, "GET /metrics"));
        let page = page.await.expect("a place becomes free");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        silent.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
