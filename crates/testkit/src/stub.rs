//! An HTTP server with answers that a test defines, for anything that answers in place of a service, such as a proxy, a
//! sign-in page or an attacker.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::net::TcpListener;

/// The parts of a request on which answers depend.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method, such as `PUT`.
    pub method: String,
    /// The path with the query.
    pub uri: String,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
    /// Whether an endless body is sent instead of `body`.
    pub endless: bool,
}

impl Answer {
    /// Returns an empty answer without headers.
    pub fn of(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Returns this answer with the headers that Azure Storage adds to every answer.
    #[must_use]
    pub fn as_storage(mut self) -> Self {
        let date = "Mon, 02 Mar 2026 00:00:00 GMT".to_owned();
        self.headers.extend([
            (
                "x-ms-request-id",
                "00000000-0000-4000-8000-000000000000".to_owned(),
            ),
            ("x-ms-version", "2023-11-03".to_owned()),
            ("Last-Modified", date),
            ("ETag", "\"0x1\"".to_owned()),
        ]);
        self
    }
}

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Stub {
    /// Starts a server at `address` (port 0 picks a free one) that reads each request completely and answers with the
    /// result of `answer`.
    ///
    /// # Errors
    /// If the address is in use.
    pub async fn start(
        address: SocketAddr,
        answer: impl Fn(&Asked) -> Answer + Clone + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let app = Router::new().fallback(move |request: Request| {
            let (answer, sent) = (answer.clone(), Arc::clone(&counter));
            async move {
                let asked = Asked {
                    method: request.method().to_string(),
                    uri: request.uri().to_string(),
                };
                let mut body = request.into_body();
                while let Some(Ok(_)) = body.frame().await {}
                response(answer(&asked), sent)
            }
        });
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the stub stopped: {error}");
            }
        });
        Ok(Self { address, sent, task })
    }

    /// Returns the address at which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many bytes of endless bodies have been handed to connections so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn response(answer: Answer, sent: Arc<AtomicU64>) -> Response<Body> {
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        builder = builder.header(name, value);
    }
    let body = if answer.endless {
        Body::new(Endless { sent })
    } else {
        Body::from(answer.body)
    };
    builder
        .body(body)
        .expect("tests give headers that HTTP can carry")
}

/// A body without end.
#[derive(Debug)]
struct Endless {
    sent: Arc<AtomicU64>,
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        const PIECE: &[u8] = &[b' '; 64 << 10];
        self.sent.fetch_add(PIECE.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE)))))
    }
}
