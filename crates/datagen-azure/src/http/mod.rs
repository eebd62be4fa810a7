//! HTTP below Azure's SDKs: one TLS configuration, one rule for proxies, a limit for stalled requests, and errors that
//! never carry a URL (a SAS is part of the URL, and the SDKs print URLs in their errors).
//!
//! The SDKs bring their own clients. They are not used, because they have no timeout that fits an upload (a limit for
//! the whole request is wrong for a slow link, and without a limit a request may hang forever) and because `reqwest`
//! puts the URL into each of its errors.

mod certificate;
mod client;
mod proxy;

use std::{
    error::Error as StdError,
    future::Future,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};

pub use certificate::{describe_certificate_error, describe_certificate_reason};
pub use client::SdkHttpClient;
pub(crate) use client::{has_token, new_client};
pub use proxy::{is_loopback, may_be_plain, may_use_proxy};

use datagen_process::error::causes;

/// How long a request may make no progress (no part of its body taken, no response) before it is abandoned.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum size of a response's body that is read, in bytes. No response to this program's requests is longer: a
/// page of a listing has about half of it, a token a few kilobytes.
pub const BODY_LIMIT: usize = 1 << 20;

/// How long establishing a connection may take, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What went wrong with one HTTP request, free of URLs and of anything else that is secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HttpError {
    /// The host name does not exist (`EAI_NONAME`) or could not be looked up.
    #[error("the host name could not be resolved ({message})")]
    Dns {
        /// What the resolver reported.
        message: String,
    },
    /// No connection was established: refused, unreachable, no agreement on TLS. The request had no effect.
    #[error("could not connect ({message})")]
    Connect {
        /// The innermost cause.
        message: String,
    },
    /// The server's certificate was refused, which no retry can change. The request had no effect.
    #[error("{message}")]
    Certificate {
        /// The reason, in plain words.
        message: String,
    },
    /// The request was abandoned because it made no progress. It may have taken effect.
    #[error("no progress for {} s", .after.as_secs_f32())]
    Stalled {
        /// How long it made no progress.
        after: Duration,
    },
    /// The connection broke or the response was cut short. The request may have taken effect.
    #[error("the connection failed ({message})")]
    Io {
        /// The innermost cause.
        message: String,
    },
    /// The body of the response is longer than [`BODY_LIMIT`].
    #[error("the response is longer than {} KiB", BODY_LIMIT >> 10)]
    TooLong,
    /// The response is a success, but not the service's response to this request: its status is not the documented one,
    /// or the headers that the service always sends are missing. A proxy or a sign-in page responds like this, and has
    /// stored nothing.
    #[error("HTTP {status}, but not as Azure Storage answers this request")]
    Foreign {
        /// The HTTP status code.
        status: u16,
    },
    /// What the service stored has another checksum than what was sent.
    #[error("the checksum of what was stored differs from that of what was sent")]
    Corrupted,
    /// Azure Storage responded with a status that is not a success.
    #[error("HTTP {status}{}{}", if .code.is_some() { " " } else { "" }, .code.as_deref().unwrap_or_default())]
    Status {
        /// The HTTP status code.
        status: u16,
        /// The service's code for the error, from `x-ms-error-code` or the body.
        code: Option<String>,
        /// How long the server asks to wait: `x-ms-retry-after-ms`, `retry-after-ms` or `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// An identity service responded without a token, whatever the status.
    #[error("HTTP {status}{}{message}", if .message.is_empty() { "" } else { ": " })]
    NoToken {
        /// The HTTP status code.
        status: u16,
        /// The beginning of the service's explanation.
        message: String,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
}

impl HttpError {
    /// Finds an `HttpError` in an SDK's error, however deeply it is wrapped.
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        causes(error).find_map(|cause| cause.downcast_ref())
    }

    /// Returns how long the server asks to wait before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::NoToken { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Creates the error of a response that is not a success. The service's code is in a header, or only in the body:
    /// `{"error":{"code":"…"}}` of the Data Lake API, `<Error><Code>…</Code>` of the Blob API.
    pub fn from_answer<'h>(
        status: u16,
        header: impl Fn(&'static str) -> Option<&'h str>,
        body: &[u8],
    ) -> Self {
        let code = header("x-ms-error-code").and_then(service_code);
        Self::Status {
            status,
            code: code.or_else(|| code_in_body(body)),
            retry_after: retry_after(header),
        }
    }

    /// Creates the error of an identity service's response that carries no token. Services explain the error in
    /// `error_description` of a JSON object, or in plain text.
    pub(crate) fn no_token<'h>(
        status: u16,
        header: impl Fn(&'static str) -> Option<&'h str>,
        body: &[u8],
    ) -> Self {
        let text = String::from_utf8_lossy(body);
        let message = match serde_json::from_str::<serde_json::Value>(&text) {
            // Whatever a success carries may be a secret.
            _ if (200..300).contains(&status) => Some("no token in the response".to_owned()),
            Ok(json) => ["error_description", "error", "message"]
                .iter()
                .find_map(|member| json[member].as_str())
                .map(excerpt),
            // A proxy's HTML page is no useful explanation.
            Err(_) if text.trim_start().starts_with('<') => None,
            Err(_) => Some(excerpt(text.trim())),
        };
        Self::NoToken {
            status,
            message: message.unwrap_or_default(),
            retry_after: retry_after(header),
        }
    }

    /// Creates the error of a transport error. The result never prints a URL.
    pub fn from_transport(error: &(dyn StdError + 'static), connecting: bool) -> Self {
        let certificate = causes(error).find_map(|cause| match cause.downcast_ref()? {
            error @ rustls::Error::InvalidCertificate(_) => describe_certificate_error(&error.to_string()),
            _ => None,
        });
        if let Some(message) = certificate {
            return Self::Certificate { message };
        }
        let causes: Vec<_> = causes(error).map(ToString::to_string).collect();
        let message = causes.last().map(|cause| excerpt(cause)).unwrap_or_default();
        // hyper-util does not export the type of this error.
        if causes.iter().any(|cause| cause.contains("dns error")) {
            Self::Dns { message }
        } else if connecting {
            Self::Connect { message }
        } else {
            Self::Io { message }
        }
    }
}

fn code_in_body(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) => service_code(json["error"]["code"].as_str()?),
        Err(_) => service_code(text.split_once("<Code>")?.1.split_once("</Code>")?.0.trim()),
    }
}

/// Returns the service's code for an error, if `text` has the form of one. The form is checked because the code is
/// printed, and a server may send anything there, even the URL of the request with its SAS.
fn service_code(text: &str) -> Option<String> {
    /// The longest code of the service has 49 characters.
    /// <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>
    const LONGEST: usize = 64;
    let is_a_code = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_a_code.then(|| text.to_owned())
}

/// Returns the first line of a text from outside, up to 300 characters, without control characters.
pub fn excerpt(text: &str) -> String {
    /// In characters.
    const LONGEST: usize = 300;
    let line = text.lines().next().unwrap_or_default();
    let mut excerpt: String = line.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if line.chars().nth(LONGEST).is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// Reads a response's body up to [`BODY_LIMIT`], which the last piece may exceed. The rest of a longer body is abandoned
/// together with its connection.
pub async fn read_body<E>(body: impl Stream<Item = Result<Bytes, E>>) -> Result<LimitedBody, E> {
    let mut body = std::pin::pin!(body);
    let mut read = BytesMut::new();
    while let Some(piece) = body.next().await {
        read.extend_from_slice(&piece?);
        if read.len() > BODY_LIMIT {
            return Ok(LimitedBody {
                bytes: read.freeze(),
                is_whole: false,
            });
        }
    }
    Ok(LimitedBody {
        bytes: read.freeze(),
        is_whole: true,
    })
}

/// A body, or the beginning of a longer one.
#[derive(Debug)]
pub struct LimitedBody {
    /// The bytes that were read.
    pub bytes: Bytes,
    /// Whether it ended within the limit.
    pub is_whole: bool,
}

/// Returns whether a response has the headers that Azure Storage sends with every one.
/// <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-response-headers>
pub fn is_from_storage<'h>(header: impl Fn(&'static str) -> Option<&'h str>) -> bool {
    ["x-ms-request-id", "x-ms-version"]
        .into_iter()
        .all(|name| header(name).is_some_and(|value| !value.is_empty()))
}

/// Returns the TLS configuration of all our HTTP clients: the machine's certificate authorities (`SSL_CERT_FILE`,
/// `SSL_CERT_DIR` or the system's store), or the compiled-in list of Mozilla if the machine has none, as in an image
/// built from scratch.
pub fn tls_config() -> Arc<rustls::ClientConfig> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let mut roots = rustls::RootCertStore::empty();
            let native = rustls_native_certs::load_native_certs();
            for error in &native.errors {
                tracing::warn!("a certificate authority could not be read: {error}");
            }
            let (_, ignored) = roots.add_parsable_certificates(native.certs);
            if ignored > 0 && std::env::var_os("SSL_CERT_FILE").is_some() {
                tracing::warn!(
                    "SSL_CERT_FILE has {ignored} certificates that cannot be trusted because they are malformed, for \
                     instance because of a negative serial number"
                );
            }
            if roots.is_empty() {
                tracing::info!("this machine has no store of certificate authorities: using Mozilla's list");
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring supports the default TLS versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            Arc::new(config)
        })
        .clone()
}

/// Counts the steps of one request, so that [`StallWatch::run`] can distinguish a slow request from a stalled one.
#[derive(Debug, Default, Clone)]
pub struct StallWatch(Arc<AtomicU64>);

impl StallWatch {
    /// Counts a step.
    pub fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns a request body that counts each piece the connection takes as a step. The pieces share `body`'s memory.
    pub fn body(&self, body: Bytes) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + Sync + use<> {
        /// Small enough that a link of 10 kB/s still takes one within the stall timeout.
        const PIECE: usize = 128 * 1024;
        let watch = self.clone();
        stream::iter((0..body.len()).step_by(PIECE).map(move |start| {
            watch.step();
            Ok(body.slice(start..body.len().min(start + PIECE)))
        }))
    }

    /// Runs `request` to its end, or abandons it after `limit` without a step.
    ///
    /// # Errors
    /// [`HttpError::Stalled`], and then `request` was dropped.
    pub async fn run<T>(&self, limit: Duration, request: impl Future<Output = T>) -> Result<T, HttpError> {
        let mut request = std::pin::pin!(request);
        loop {
            let seen = self.0.load(Ordering::Relaxed);
            match tokio::time::timeout(limit, request.as_mut()).await {
                Ok(done) => return Ok(done),
                Err(_) if self.0.load(Ordering::Relaxed) == seen => {
                    return Err(HttpError::Stalled { after: limit });
                }
                Err(_) => {}
            }
        }
    }
}

/// Parses what a server says about when to try again, given its headers by name.
///
/// `x-ms-retry-after-ms` and `retry-after-ms` are milliseconds, `Retry-After` is seconds; a date in
/// `Retry-After`, which Azure Storage does not send, counts as absent.
pub fn retry_after<'h>(header: impl Fn(&'static str) -> Option<&'h str>) -> Option<Duration> {
    let millis = ["x-ms-retry-after-ms", "retry-after-ms"]
        .into_iter()
        .find_map(|name| header(name)?.trim().parse().ok())
        .map(Duration::from_millis);
    millis.or_else(|| {
        header("retry-after")?
            .trim()
            .parse()
            .ok()
            .map(Duration::from_secs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_reads_all_three_headers() {
        let only = |name: &'static str, value: &'static str| {
            retry_after(move |asked| (asked == name).then_some(value))
        };
        assert_eq!(only("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(
            only("x-ms-retry-after-ms", "250"),
            Some(Duration::from_millis(250))
        );
        assert_eq!(only("retry-after-ms", " 9 "), Some(Duration::from_millis(9)));
        assert_eq!(only("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(only("x-unrelated", "7"), None);
    }

    #[test]
    fn the_code_is_read_from_the_header_or_the_body() {
        let code = |in_header: Option<&'static str>, body: &str| {
            let header = |name| (name == "x-ms-error-code").then_some(in_header).flatten();
            match HttpError::from_answer(404, header, body.as_bytes()) {
                HttpError::Status { code, .. } => code,
                other => panic!("{other:?}"),
            }
        };
        let json = r#"{"error":{"code":"FilesystemNotFound","message":"…"}}"#;
        let xml = "\u{feff}<?xml version=\"1.0\"?><Error><Code>ContainerNotFound</Code><Message/></Error>";
        assert_eq!(code(None, json).as_deref(), Some("FilesystemNotFound"));
        assert_eq!(code(None, xml).as_deref(), Some("ContainerNotFound"));
        assert_eq!(code(Some("PathNotFound"), json).as_deref(), Some("PathNotFound"));
        for other in ["", "<html>502</html>", "<Code>a b</Code>", "{}", "[1]"] {
            assert_eq!(code(None, other), None, "{other}");
        }
        for reflected in [
            "https://acc.blob.core.windows.net/b?sv=1&sig=PLANTED",
            "PLANTED\u{1b}[2J",
            "",
        ] {
            assert_eq!(code(Some(reflected), "{}"), None, "{reflected}");
            assert_eq!(code(Some(reflected), json).as_deref(), Some("FilesystemNotFound"));
        }
    }

    #[test]
    fn text_from_outside_is_one_short_line() {
        assert_eq!(excerpt("a\u{1b}[31mb\u{7}c\nd"), "a[31mbc");
        assert_eq!(excerpt(&"č".repeat(300)), "č".repeat(300));
        assert_eq!(excerpt(&"č".repeat(60_000)), format!("{}…", "č".repeat(300)));
        let long: &'static str = Box::leak("A".repeat(60_000).into_boxed_str());
        let error = HttpError::from_answer(400, |name| (name == "x-ms-error-code").then_some(long), b"");
        assert_eq!(error.to_string(), "HTTP 400");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit() {
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        let endless = || stream::repeat(Ok::<_, std::convert::Infallible>(piece.clone()));
        let Ok(whole) = read_body(endless().take(16)).await;
        assert_eq!((whole.bytes.len(), whole.is_whole), (BODY_LIMIT, true));
        let Ok(cut) = read_body(endless()).await;
        assert_eq!((cut.bytes.len(), cut.is_whole), (BODY_LIMIT + piece.len(), false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_request_succeeds_and_a_stalled_one_is_abandoned() {
        let watch = StallWatch::default();
        let limit = Duration::from_secs(30);
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                watch.step();
            }
            "done"
        };
        assert_eq!(watch.run(limit, slow).await.unwrap(), "done");
        let stalled = watch.run(limit, std::future::pending::<()>()).await;
        assert!(matches!(stalled, Err(HttpError::Stalled { after }) if after == limit));
    }

    #[test]
    fn an_http_error_is_found_inside_an_sdk_error() {
        let error = HttpError::Status {
            status: 503,
            code: Some("ServerBusy".into()),
            retry_after: None,
        };
        let wrapped = azure_core::Error::with_error(azure_core::error::ErrorKind::Other, error, "context");
        assert_eq!(
            HttpError::find(&wrapped).unwrap().to_string(),
            "HTTP 503 ServerBusy"
        );
    }
}
