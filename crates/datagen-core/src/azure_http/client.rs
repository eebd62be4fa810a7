//! The HTTP client under azure_core 1.x: `reqwest` 0.13.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{
        AsyncRawResponse, Body, HttpClient, Method, Request, Transport,
        headers::{HeaderName, HeaderValue, Headers},
    },
};

use super::{CONNECT_TIMEOUT, Failure, Progress, STALL_TIMEOUT, is_from_storage, read_body, tls_config};

/// Which service the requests go to, which decides what becomes of its responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// A service that issues tokens. Responses of every status go to the SDK, whose own policies evaluate them and
    /// repeat requests.
    Identity,
    /// Azure Storage. A status that is not a success becomes an error that carries [`Failure::Status`], for callers
    /// that repeat requests themselves, and a success without the headers of Azure Storage one that carries
    /// [`Failure::Foreign`].
    Storage,
}

/// Sends the requests of azure_core 1.x's clients.
#[derive(Clone)]
pub struct SdkHttpClient {
    http: reqwest::Client,
    stall: Duration,
    server: Server,
}

impl fmt::Debug for SdkHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkHttpClient")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl SdkHttpClient {
    /// A client with its own pool of connections, through the proxy of the environment if there is one.
    pub fn new(server: Server) -> Self {
        Self::build(reqwest::Client::builder(), server)
    }

    /// A client that uses no proxy: for the identity endpoints of this machine, which none can reach.
    pub fn direct(server: Server) -> Self {
        Self::build(reqwest::Client::builder().no_proxy(), server)
    }

    fn build(builder: reqwest::ClientBuilder, server: Server) -> Self {
        let http = builder
            .tls_backend_preconfigured(tls_config().as_ref().clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the client has nothing left to find at run time: its TLS configuration is given");
        Self {
            http,
            stall: STALL_TIMEOUT,
            server,
        }
    }

    /// This client, which gives a request up after `limit` without progress, instead of [`STALL_TIMEOUT`].
    #[must_use]
    pub fn stalling_after(self, limit: Duration) -> Self {
        Self { stall: limit, ..self }
    }

    /// This client as the `transport` of an SDK client's options.
    pub fn transport(&self) -> Transport {
        Transport::new(Arc::new(self.clone()))
    }

    async fn send(&self, request: &Request) -> std::result::Result<AsyncRawResponse, Failure> {
        let progress = Progress::default();
        let method = reqwest::Method::from_bytes(request.method().as_ref().as_bytes())
            .expect("the SDK's methods are HTTP methods");
        let mut outgoing = self.http.request(method, request.url().clone());
        let mut has_length = false;
        for (name, value) in request.headers().iter() {
            has_length |= name.as_str().eq_ignore_ascii_case("content-length");
            outgoing = outgoing.header(name.as_str(), value.as_str());
        }
        outgoing = match request.body().clone() {
            Body::Bytes(bytes) => {
                // The length is given, so that the body is not sent in chunked encoding, which Azure refuses.
                let asked_for = !bytes.is_empty() || matches!(request.method(), Method::Put | Method::Post);
                if asked_for && !has_length {
                    outgoing = outgoing.header("content-length", bytes.len());
                }
                if bytes.is_empty() {
                    outgoing
                } else {
                    outgoing.body(reqwest::Body::wrap_stream(progress.body(bytes)))
                }
            }
            Body::SeekableStream(stream) => outgoing.body(reqwest::Body::wrap_stream(stream)),
        };
        let exchange = async {
            let response = outgoing.send().await?;
            progress.step();
            let (status, headers) = (response.status(), headers(response.headers()));
            // Read to its end here: a response cut short is a failure, and the connection is free again.
            let body = read_body(response.bytes_stream()).await?;
            Ok((status.as_u16(), headers, body))
        };
        let answer: reqwest::Result<_> = progress.watch(self.stall, exchange).await?;
        let (status, headers, body) = answer.map_err(|error| {
            let connecting = error.is_connect();
            Failure::from_transport(&error.without_url(), connecting)
        })?;
        let header = |name: &'static str| headers.get_optional_str(&HeaderName::from_static(name));
        let is_success = (200..300).contains(&status);
        if self.server == Server::Storage && !is_success {
            return Err(Failure::from_answer(status, header, &body.bytes));
        }
        if self.server == Server::Storage && !is_from_storage(header) {
            return Err(Failure::Foreign { status });
        }
        if !body.is_whole {
            return Err(Failure::TooLong);
        }
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body.bytes))
    }
}

#[async_trait]
impl HttpClient for SdkHttpClient {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        self.send(request).await.map_err(|failure| {
            // The kind decides what the SDK's own retry policy does: it retries these two.
            let kind = match failure {
                Failure::Dns { .. } | Failure::Connect { .. } => ErrorKind::Connection,
                Failure::Stalled { .. } | Failure::Io { .. } => ErrorKind::Io,
                Failure::TooLong | Failure::Foreign { .. } | Failure::Corrupted | Failure::Status { .. } => {
                    ErrorKind::Other
                }
            };
            let message = failure.to_string();
            Error::with_error(kind, failure, message)
        })
    }
}

fn headers(headers: &reqwest::header::HeaderMap) -> Headers {
    let mut out = Headers::new();
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            out.insert(
                HeaderName::from(name.as_str().to_owned()),
                HeaderValue::from(value.to_owned()),
            );
        }
    }
    out
}
