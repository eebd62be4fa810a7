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
use url::Url;

use super::{
    CONNECT_TIMEOUT, HttpError, STALL_TIMEOUT, StallWatch, is_from_storage, may_use_proxy, read_body,
    tls_config,
};

/// The kind of service that requests go to, which decides what a valid response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// A service that issues tokens. Every response without a token becomes an error that carries
    /// [`HttpError::NoToken`].
    Identity,
    /// Azure Storage. A status that is not a success becomes an error that carries [`HttpError::Status`], and a success
    /// without the headers of Azure Storage one that carries [`HttpError::Foreign`].
    Storage,
}

/// Sends the requests of azure_core 1.x's clients. The SDKs' retry policies do not retry its errors, so that callers
/// decide about retries.
#[derive(Clone)]
pub struct SdkHttpClient {
    http: reqwest::Client,
    stall: Duration,
    service: Service,
}

impl fmt::Debug for SdkHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkHttpClient")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// Creates a client with a separate connection pool, and without a proxy unless `proxy` allows that of the environment.
pub(crate) fn new_client(proxy: bool) -> reqwest::Client {
    let builder = reqwest::Client::builder();
    let builder = if proxy { builder } else { builder.no_proxy() };
    builder
        .tls_backend_preconfigured(tls_config().as_ref().clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("the client has nothing left to find at run time: its TLS configuration is given")
}

impl SdkHttpClient {
    /// Creates a client for the storage account at `url`.
    pub fn for_storage(url: &Url) -> Self {
        Self {
            http: new_client(may_use_proxy(url)),
            stall: STALL_TIMEOUT,
            service: Service::Storage,
        }
    }

    /// Creates a client for Microsoft Entra ID.
    pub fn for_entra() -> Self {
        Self::for_identity(true)
    }

    /// Creates a client for the endpoints of managed identities, which are on this machine or at a link-local address.
    /// No proxy can reach them.
    pub fn for_managed_identity() -> Self {
        Self::for_identity(false)
    }

    fn for_identity(proxy: bool) -> Self {
        /// How long an identity service may make no progress. It is short, so that several attempts fit into the limit
        /// of a sign-in.
        const STALL: Duration = Duration::from_secs(10);
        Self {
            http: new_client(proxy),
            stall: STALL,
            service: Service::Identity,
        }
    }

    /// Returns this client with another limit for requests that make no progress.
    #[must_use]
    pub fn stalling_after(self, limit: Duration) -> Self {
        Self { stall: limit, ..self }
    }

    /// Returns this client as the `transport` of an SDK client's options.
    pub fn transport(&self) -> Transport {
        Transport::new(Arc::new(self.clone()))
    }

    async fn send(&self, request: &Request) -> std::result::Result<AsyncRawResponse, HttpError> {
        let watch = StallWatch::default();
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
                // The length is sent, because Azure refuses a body in chunked encoding.
                let needs_length =
                    !bytes.is_empty() || matches!(request.method(), Method::Put | Method::Post);
                if needs_length && !has_length {
                    outgoing = outgoing.header("content-length", bytes.len());
                }
                if bytes.is_empty() {
                    outgoing
                } else {
                    outgoing.body(reqwest::Body::wrap_stream(watch.body(bytes)))
                }
            }
            Body::SeekableStream(stream) => outgoing.body(reqwest::Body::wrap_stream(stream)),
        };
        let exchange = async {
            let response = outgoing.send().await?;
            watch.step();
            let (status, headers) = (response.status(), headers(response.headers()));
            // The body is read here, so that a truncated response is an error and the connection is free again.
            let body = read_body(response.bytes_stream()).await?;
            Ok((status.as_u16(), headers, body))
        };
        let answer: reqwest::Result<_> = watch.run(self.stall, exchange).await?;
        let (status, headers, body) = answer.map_err(|error| {
            let connecting = error.is_connect();
            HttpError::from_transport(&error.without_url(), connecting)
        })?;
        let header = |name: &'static str| headers.get_optional_str(&HeaderName::from_static(name));
        let is_success = (200..300).contains(&status);
        match self.service {
            Service::Storage if !is_success => {
                return Err(HttpError::from_answer(status, header, &body.bytes));
            }
            Service::Storage if !is_from_storage(header) => return Err(HttpError::Foreign { status }),
            Service::Identity if !is_success || !has_token(&body.bytes) => {
                return Err(HttpError::no_token(status, header, &body.bytes));
            }
            _ => {}
        }
        if !body.is_whole {
            return Err(HttpError::TooLong);
        }
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body.bytes))
    }
}

/// Returns whether `body` is a response of an identity service that carries a token.
pub(crate) fn has_token(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|json| json["access_token"].is_string())
}

#[async_trait]
impl HttpClient for SdkHttpClient {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        self.send(request).await.map_err(|error| {
            let message = error.to_string();
            // The SDK's retry policy does not retry errors of this kind.
            Error::with_error(ErrorKind::Other, error, message)
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

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    use super::*;

    /// Returns the error of a request to a server with this certificate, which is self-signed.
    async fn refused(certificate: CertificateParams) -> HttpError {
        let key = KeyPair::generate().unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let server = tokio::spawn(async move {
            let (connection, _) = listener.accept().await.unwrap();
            let _ = TlsAcceptor::from(Arc::new(config)).accept(connection).await;
        });
        let client = SdkHttpClient::for_storage(&url);
        let error = client
            .execute_request(&Request::new(url, Method::Get))
            .await
            .unwrap_err();
        server.await.unwrap();
        HttpError::find(&error).unwrap().clone()
    }

    #[tokio::test]
    async fn an_untrusted_certificate_is_explained_in_plain_words() {
        let for_here = || CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let mut authority = for_here();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        for (certificate, reason) in [
            (for_here(), "its issuer is not trusted on this machine"),
            (authority, "it is self-signed or that of a certificate authority"),
        ] {
            let error = refused(certificate).await;
            assert!(matches!(error, HttpError::Certificate { .. }), "{error:?}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
