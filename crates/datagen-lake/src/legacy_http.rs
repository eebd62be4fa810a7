//! The HTTP client under azure_core 0.21, which azure_storage_datalake is built on: `reqwest` 0.12.
//!
//! It also corrects requests and responses that the crate handles wrongly:
//! - `x-ms-rename-source` is form-encoded, begins with the account on path-style hosts, and lacks the SAS
//!   that the service requires for the source;
//! - two parameters of listings have the names that they have in the Blob API, `marker` and `maxresults`;
//! - a response with missing headers, or with headers in another form than the crate expects, counts as an error
//!   although the request succeeded.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use azure_core_legacy::error::{Error, ErrorKind};
use azure_core_legacy::headers::{HeaderName, HeaderValue, Headers};
use azure_core_legacy::{Body, BytesStream, HttpClient, Method, Request, Response, Result, StatusCode};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use url::Url;

use super::config::Account;
use datagen_azure::http::{
    CONNECT_TIMEOUT, HttpError, STALL_TIMEOUT, StallWatch, is_from_storage, may_use_proxy, read_body,
    tls_config,
};
use datagen_settings::Secret;

const RENAME_SOURCE: &str = "x-ms-rename-source";

/// The headers of a response that are used here.
const KEPT_HEADERS: [&str; 2] = ["content-length", "x-ms-continuation"];

/// Values for the headers that azure_storage_datalake parses in every response and this program does not use. They
/// replace the headers of a response that is known to come from the service.
const STAND_INS: [(&str, &str); 7] = [
    ("x-ms-request-id", "00000000-0000-0000-0000-000000000000"),
    ("x-ms-version", "unknown"),
    ("x-ms-namespace-enabled", "true"),
    ("server", "unknown"),
    ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("etag", "unknown"),
];

/// Sends the requests of azure_core 0.21's clients.
pub(crate) struct LegacyHttpClient {
    http: reqwest_legacy::Client,
    stall: Duration,
    /// The account in the path of an emulator's URL: `/devstoreaccount1/`; otherwise `/`.
    base_path: String,
    sas: Option<Secret>,
}

impl fmt::Debug for LegacyHttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacyHttpClient").finish_non_exhaustive()
    }
}

impl LegacyHttpClient {
    pub(crate) fn new(account: &Account) -> Self {
        let builder = reqwest_legacy::Client::builder();
        let builder = if may_use_proxy(&account.service) {
            builder
        } else {
            builder.no_proxy()
        };
        let http = builder
            .use_preconfigured_tls(tls_config().as_ref().clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest_legacy::redirect::Policy::none())
            .build()
            .expect("the client has nothing left to find at run time: its TLS configuration is given");
        Self {
            http,
            stall: account.stall_timeout.unwrap_or(STALL_TIMEOUT),
            base_path: account.service.path().to_owned(),
            sas: account.sas.clone(),
        }
    }

    async fn send(&self, request: &Request) -> std::result::Result<Response, HttpError> {
        let watch = StallWatch::default();
        let method = reqwest_legacy::Method::from_bytes(request.method().as_ref().as_bytes())
            .expect("the SDK's methods are HTTP methods");
        let mut outgoing = self.http.request(method, with_data_lake_names(request.url()));
        for (name, value) in request.headers().iter() {
            outgoing = if name.as_str() == RENAME_SOURCE {
                outgoing.header(RENAME_SOURCE, self.rename_source(value.as_str()))
            } else {
                outgoing.header(name.as_str(), value.as_str())
            };
        }
        outgoing = match request.body().clone() {
            Body::Bytes(bytes) if bytes.is_empty() => outgoing,
            Body::Bytes(bytes) => outgoing.body(reqwest_legacy::Body::wrap_stream(watch.body(bytes))),
            Body::SeekableStream(stream) => outgoing.body(reqwest_legacy::Body::wrap_stream(stream)),
        };
        let exchange = async {
            let response = outgoing.send().await?;
            watch.step();
            let (status, headers) = (response.status(), response.headers().clone());
            // The body is read here, so that a truncated response is an error and the connection is free again.
            let body = read_body(response.bytes_stream()).await?;
            Ok((status.as_u16(), headers, body))
        };
        let answer: reqwest_legacy::Result<_> = watch.run(self.stall, exchange).await?;
        let (status, headers, body) = answer.map_err(|error| {
            let connecting = error.is_connect();
            HttpError::from_transport(&error.without_url(), connecting)
        })?;
        let header = |name: &'static str| headers.get(name).and_then(|value| value.to_str().ok());
        if !(200..300).contains(&status) {
            return Err(HttpError::from_answer(status, header, &body.bytes));
        }
        if !documented_statuses(request).contains(&status) || !is_from_storage(header) {
            return Err(HttpError::Foreign { status });
        }
        if !body.is_whole {
            return Err(HttpError::TooLong);
        }
        Ok(response(status, &headers, body.bytes))
    }

    /// Returns `/FILESYSTEM/PATH`, percent-encoded, with the SAS as its query.
    fn rename_source(&self, form_encoded: &str) -> String {
        let path = percent_decode_str(form_encoded).decode_utf8_lossy().into_owned();
        let path = path
            .strip_prefix(&self.base_path)
            .unwrap_or(path.trim_start_matches('/'));
        match &self.sas {
            Some(sas) => format!("/{path}?{}", sas.expose()),
            None => format!("/{path}"),
        }
    }
}

#[async_trait]
impl HttpClient for LegacyHttpClient {
    async fn execute_request(&self, request: &Request) -> Result<Response> {
        // The kind is not `Io`, because the SDK would retry that itself.
        self.send(request).await.map_err(|error| {
            let message = error.to_string();
            Error::full(ErrorKind::Other, error, message)
        })
    }
}

/// Returns the success statuses that the service's documentation gives for a request.
/// <https://learn.microsoft.com/rest/api/storageservices/data-lake-storage-gen2>
fn documented_statuses(request: &Request) -> &'static [u16] {
    match request.method() {
        // Filesystem - Create and Path - Create, which also renames.
        Method::Put => &[201],
        // Path - Update: 202 for an append, 200 for a flush.
        Method::Patch
            if request
                .url()
                .query_pairs()
                .any(|pair| pair == ("action".into(), "append".into())) =>
        {
            &[202]
        }
        // Path - Read: the whole file, or the requested range.
        Method::Get => &[200, 206],
        // Path - Delete: done, or under way.
        Method::Delete => &[200, 202],
        _ => &[200],
    }
}

/// Returns the URL of a request with the Data Lake API's names for the parameters of a listing.
/// <https://learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path/list>
fn with_data_lake_names(url: &Url) -> Url {
    let rename = |pair: &str| match pair.split_once('=') {
        Some(("marker", value)) => format!("continuation={value}"),
        Some(("maxresults", value)) => format!("maxResults={value}"),
        _ => pair.to_owned(),
    };
    let mut renamed = url.clone();
    let query = url
        .query()
        .map(|query| query.split('&').map(rename).collect::<Vec<_>>().join("&"));
    renamed.set_query(query.as_deref());
    renamed
}

fn response(status: u16, headers: &reqwest_legacy::header::HeaderMap, body: Bytes) -> Response {
    let mut kept = Headers::new();
    for name in KEPT_HEADERS {
        if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
            let value = HeaderValue::from(value.to_owned());
            kept.insert(HeaderName::from_static(name), value);
        }
    }
    for (name, stand_in) in STAND_INS {
        kept.insert(HeaderName::from_static(name), HeaderValue::from_static(stand_in));
    }
    let status = StatusCode::try_from(status).unwrap_or(StatusCode::Ok);
    Response::new(status, kept, Box::pin(BytesStream::new(body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Api;

    fn client(service: &str, sas: Option<&str>) -> LegacyHttpClient {
        LegacyHttpClient::new(&Account {
            service: service.parse().unwrap(),
            filesystem: None,
            directory: vec![],
            sas: sas.map(Secret::new),
            api: Api::Dfs,
            stall_timeout: None,
        })
    }

    #[test]
    fn rename_sources_are_written_as_the_service_reads_them() {
        let cloud = client("https://acc.dfs.core.windows.net/", Some("sv=1&sig=a%2Bb"));
        assert_eq!(
            cloud.rename_source("%2Flake%2Fa%2520b.json"),
            "/lake/a%20b.json?sv=1&sig=a%2Bb"
        );
        let emulator = client("http://127.0.0.1:10010/devstoreaccount1/", None);
        assert_eq!(
            emulator.rename_source("%2Fdevstoreaccount1%2Flake%2Fa.json"),
            "/lake/a.json"
        );
    }

    #[test]
    fn debug_prints_no_sas() {
        let client = client("https://acc.dfs.core.windows.net/", Some("sig=PLANTED"));
        assert!(!format!("{client:?}").contains("PLANTED"));
    }
}
