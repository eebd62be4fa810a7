//! HTTP under Azure's SDKs: one TLS configuration, a watch on stalled requests, and errors that never
//! carry a URL (a SAS is part of the URL, and the SDKs print URLs in their errors).
//!
//! The SDKs bring their own clients; they are not used, because they have no timeout that fits an upload
//! (a limit for the whole request is wrong for a slow link, none at all hangs for ever) and because
//! `reqwest` puts the URL into each of its errors.

mod client;

use std::{
    error::Error as StdError,
    fmt,
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

pub use client::{SdkHttpClient, Server};

use crate::error::causes;

/// How long a request may make no progress (no byte of its body taken, no answer) before it is given up.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that is read of a response's body, in bytes. No answer to the requests of this program is longer: a
/// page of a listing has about half of it, a token a few kilobytes.
pub const BODY_LIMIT: usize = 1 << 20;

/// How long a connection may take to be set up, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What went wrong with one HTTP request, free of URLs and of anything else that is secret.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The host name does not exist (`EAI_NONAME`) or could not be looked up.
    Dns {
        /// What the resolver said.
        message: String,
    },
    /// No connection was set up: refused, unreachable, TLS not agreed. The request had no effect.
    Connect {
        /// The innermost cause.
        message: String,
        /// True when the peer's certificate was not accepted, which no retry will mend.
        certificate: bool,
    },
    /// The request was given up because nothing moved. It may have taken effect.
    Stalled {
        /// How long nothing moved.
        after: Duration,
    },
    /// The connection broke or the response was cut short. The request may have taken effect.
    Io {
        /// The innermost cause.
        message: String,
    },
    /// The body of the response is longer than [`BODY_LIMIT`].
    TooLong,
    /// The response is a success, but not the service's answer to this request: its status is another one than
    /// the documentation gives, or the headers that the service always sends are missing. A proxy or a sign-in
    /// page answers like this, and has stored nothing.
    Foreign {
        /// The HTTP status code.
        status: u16,
    },
    /// What the service stored has another checksum than what was sent.
    Corrupted,
    /// The server answered with a status that is not a success.
    Status {
        /// The HTTP status code.
        status: u16,
        /// The service's own code, as `x-ms-error-code` gives it.
        code: Option<String>,
        /// How long the server asks to wait: `x-ms-retry-after-ms`, `retry-after-ms` or `Retry-After`.
        retry_after: Option<Duration>,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { message } => write!(f, "the host name could not be resolved ({message})"),
            Self::Connect { message, .. } => write!(f, "could not connect ({message})"),
            Self::Stalled { after } => write!(f, "no progress for {} s", after.as_secs_f32()),
            Self::Io { message } => write!(f, "the connection failed ({message})"),
            Self::TooLong => write!(f, "the response is longer than {} KiB", BODY_LIMIT >> 10),
            Self::Foreign { status } => {
                write!(f, "HTTP {status}, but not as Azure Storage answers this request")
            }
            Self::Corrupted => f.write_str("what was stored has another checksum than what was sent"),
            Self::Status {
                status,
                code: Some(code),
                ..
            } => write!(f, "HTTP {status} {code}"),
            Self::Status {
                status, code: None, ..
            } => write!(f, "HTTP {status}"),
        }
    }
}

impl StdError for Failure {}

impl Failure {
    /// Reads a [`Failure`] out of an SDK's error, however deep it was wrapped.
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        causes(error).find_map(|cause| cause.downcast_ref())
    }

    /// Makes the failure out of an answer that is not a success. The service's code is in a header, or only in
    /// the body: `{"error":{"code":"…"}}` of the Data Lake API, `<Error><Code>…</Code>` of the Blob API.
    pub(crate) fn from_answer<'h>(
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

    /// Makes the failure out of a transport error; `error` must not print a URL any more.
    pub(crate) fn from_transport(error: &(dyn StdError + 'static), connecting: bool) -> Self {
        let causes: Vec<_> = causes(error).map(ToString::to_string).collect();
        let message = causes.last().map(|cause| excerpt(cause)).unwrap_or_default();
        // What rustls calls `InvalidCertificate`, however deep other crates wrapped it.
        let certificate = message.starts_with("invalid peer certificate");
        if causes.iter().any(|cause| cause.contains("dns error")) {
            Self::Dns { message }
        } else if connecting {
            Self::Connect { message, certificate }
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

/// The service's code for an error, if `text` has the form of one. It is printed, and a server may put anything
/// there, even the URL of the request with its SAS.
fn service_code(text: &str) -> Option<String> {
    /// The longest code of the service has 49 characters.
    /// <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>
    const LONGEST: usize = 64;
    let is_a_code = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_a_code.then(|| text.to_owned())
}

/// The beginning of a text from outside, in one line that does no harm to a terminal.
pub(crate) fn excerpt(text: &str) -> String {
    /// Characters.
    const LONGEST: usize = 300;
    let line = text.lines().next().unwrap_or_default();
    let mut excerpt: String = line.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if line.chars().nth(LONGEST).is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// Reads a response's body up to [`BODY_LIMIT`]; what it returns may be longer by less than one piece of the
/// network's. A longer one is abandoned, and its connection with it.
pub(crate) async fn read_body<E>(body: impl Stream<Item = Result<Bytes, E>>) -> Result<LimitedBody, E> {
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

/// As much of a body as is read.
#[derive(Debug)]
pub(crate) struct LimitedBody {
    pub(crate) bytes: Bytes,
    /// Whether it ended within the limit.
    pub(crate) is_whole: bool,
}

/// Whether a response has the headers that Azure Storage sends with every one.
/// <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-response-headers>
pub(crate) fn is_from_storage<'h>(header: impl Fn(&'static str) -> Option<&'h str>) -> bool {
    ["x-ms-request-id", "x-ms-version"]
        .into_iter()
        .all(|name| header(name).is_some_and(|value| !value.is_empty()))
}

/// The TLS configuration of all our HTTP clients: the machine's certificate authorities (`SSL_CERT_FILE`,
/// `SSL_CERT_DIR` or the system's store), or Mozilla's list, compiled in, where the machine has none, as in
/// an image built from nothing.
pub fn tls_config() -> Arc<rustls::ClientConfig> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let mut roots = rustls::RootCertStore::empty();
            let native = rustls_native_certs::load_native_certs();
            for error in &native.errors {
                tracing::warn!("a certificate authority could not be read: {error}");
            }
            roots.add_parsable_certificates(native.certs);
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

/// Counts the steps of one request, so that [`Progress::watch`] can tell a slow one from a stalled one.
#[derive(Debug, Default, Clone)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Notes that something moved.
    pub fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A request body that notes each piece the connection takes. The pieces share `body`'s memory.
    pub fn body(&self, body: Bytes) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + Sync + use<> {
        /// Small enough that a link of 10 kB/s still takes one within the stall timeout.
        const PIECE: usize = 128 * 1024;
        let progress = self.clone();
        stream::iter((0..body.len()).step_by(PIECE).map(move |start| {
            progress.step();
            Ok(body.slice(start..body.len().min(start + PIECE)))
        }))
    }

    /// Runs `request` to its end, or gives it up when nothing moved for `limit`.
    ///
    /// # Errors
    /// [`Failure::Stalled`], and then `request` was dropped.
    pub async fn watch<T>(&self, limit: Duration, request: impl Future<Output = T>) -> Result<T, Failure> {
        let mut request = std::pin::pin!(request);
        loop {
            let seen = self.0.load(Ordering::Relaxed);
            match tokio::time::timeout(limit, request.as_mut()).await {
                Ok(done) => return Ok(done),
                Err(_) if self.0.load(Ordering::Relaxed) == seen => {
                    return Err(Failure::Stalled { after: limit });
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
            match Failure::from_answer(404, header, body.as_bytes()) {
                Failure::Status { code, .. } => code,
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
        let failure = Failure::from_answer(400, |name| (name == "x-ms-error-code").then_some(long), b"");
        assert_eq!(failure.to_string(), "HTTP 400");
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
    async fn a_slow_request_lives_and_a_stalled_one_is_given_up() {
        let progress = Progress::default();
        let limit = Duration::from_secs(30);
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                progress.step();
            }
            "done"
        };
        assert_eq!(progress.watch(limit, slow).await.unwrap(), "done");
        let stalled = progress.watch(limit, std::future::pending::<()>()).await;
        assert!(matches!(stalled, Err(Failure::Stalled { after }) if after == limit));
    }

    #[test]
    fn a_failure_is_found_inside_an_sdk_error() {
        let failure = Failure::Status {
            status: 503,
            code: Some("ServerBusy".into()),
            retry_after: None,
        };
        let wrapped = azure_core::Error::with_error(azure_core::error::ErrorKind::Other, failure, "context");
        assert_eq!(
            Failure::find(&wrapped).unwrap().to_string(),
            "HTTP 503 ServerBusy"
        );
    }
}
