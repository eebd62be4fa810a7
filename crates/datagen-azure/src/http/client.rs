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

use super::{CONNECT_TIMEOUT, Failure, Progress, STALL_TIMEOUT, tls_config};

/// What the client makes of a response whose status is not a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnErrorStatus {
    /// Hands it to the SDK, whose own policies judge and retry it.
    Return,
    /// Turns it into an error that carries [`Failure::Status`]: for callers that judge and retry themselves.
    Fail,
}

/// Sends the requests of azure_core 1.x's clients.
#[derive(Clone)]
pub struct SdkHttpClient {
    http: reqwest::Client,
    stall: Duration,
    on_error_status: OnErrorStatus,
}

impl fmt::Debug for SdkHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkHttpClient")
            .field("on_error_status", &self.on_error_status)
            .finish_non_exhaustive()
    }
}

impl SdkHttpClient {
    /// A client with its own pool of connections, through the proxy of the environment if there is one.
    pub fn new(on_error_status: OnErrorStatus) -> Self {
        Self::build(reqwest::Client::builder(), on_error_status)
    }

    /// A client that uses no proxy: for the identity endpoints of this machine, which none can reach.
    pub fn direct(on_error_status: OnErrorStatus) -> Self {
        Self::build(reqwest::Client::builder().no_proxy(), on_error_status)
    }

    fn build(builder: reqwest::ClientBuilder, on_error_status: OnErrorStatus) -> Self {
        let http = builder
            .tls_backend_preconfigured(tls_config().as_ref().clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the client has nothing left to find at run time: its TLS configuration is given");
        Self {
            http,
            stall: STALL_TIMEOUT,
            on_error_status,
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
            let body = response.bytes().await?;
            Ok((status.as_u16(), headers, body))
        };
        let answer: reqwest::Result<_> = progress.watch(self.stall, exchange).await?;
        let (status, headers, body) = answer.map_err(|error| {
            let connecting = error.is_connect();
            Failure::from_transport(&error.without_url(), connecting)
        })?;
        if self.on_error_status == OnErrorStatus::Fail && !(200..300).contains(&status) {
            let header = |name: &'static str| headers.get_optional_str(&HeaderName::from_static(name));
            return Err(Failure::from_answer(status, header, &body));
        }
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
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
                Failure::Status { .. } => ErrorKind::Other,
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
