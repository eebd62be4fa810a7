//! Sign-in with Microsoft Entra ID: one credential for the Data Lake, Azure SQL and Event Hubs.
//!
//! `method` chooses how to sign in. [`EntraCredential`] requests tokens, keeps them, retries within [`LIMIT`], and
//! reports the wait and the cause of a failure. The SDK's own retries are off (see [`SdkHttpClient`]), so that the limit
//! holds for every destination.

mod metadata;
mod method;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use azure_core::{
    credentials::{AccessToken as SdkToken, Secret as SdkSecret, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{ClientOptions, Transport},
};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

pub use self::method::Method;
use crate::http::{HttpError, SdkHttpClient, excerpt};
use datagen_process::{
    error::causes,
    retry::{Backoff, RetryPolicy},
};
use datagen_settings::{ConfigurationErrors, Environment, Secret};

/// Azure Storage, both its Blob and its Data Lake API.
pub const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";

/// Azure SQL Database.
pub const SQL_SCOPE: &str = "https://database.windows.net/.default";

/// How long a new role assignment may take to become effective: «it can take up to 10 minutes for changes to take
/// effect», <https://learn.microsoft.com/azure/role-based-access-control/troubleshooting>. For this long, a missing
/// permission of an identity may be that of a role that a deployment assigned shortly before.
pub const ROLE_ASSIGNMENT_DELAY: Duration = Duration::from_secs(600);

/// How long a sign-in may take, retries included. Microsoft recommends to retry for at least 70 s while the metadata
/// service is updated:
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#retry-guidance>.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The pauses between attempts.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(10),
};

/// For a service that is busy or cannot be reached.
const UNAVAILABLE: RetryPolicy = RetryPolicy {
    backoff: BACKOFF,
    limit: LIMIT,
};

/// For a managed identity that is not found. In the first seconds of a container, the metadata service may not know the
/// container's identity yet.
const STARTING: RetryPolicy = RetryPolicy {
    backoff: BACKOFF,
    limit: Duration::from_secs(10),
};

/// How long a token may take before the log says that the process waits for it.
const ANNOUNCEMENT_DELAY: Duration = Duration::from_secs(3);

/// A token is renewed when it is valid for less than this, as the SDK does.
const RENEWAL: Duration = Duration::from_secs(300);

/// A token that is valid for less than this is not used any more.
const USABLE: Duration = Duration::from_secs(30);

/// How long after a failed renewal the next one starts.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);

/// A bearer token for one service.
#[derive(Clone, Debug)]
pub struct AccessToken {
    secret: Secret,
    expires_on: SystemTime,
}

impl AccessToken {
    /// Creates the bearer token `secret`, which is accepted until `expires_on`.
    pub fn new(secret: impl Into<String>, expires_on: SystemTime) -> Self {
        Self {
            secret: Secret::new(secret),
            expires_on,
        }
    }

    /// Returns the text of the token. It must not be logged.
    pub fn secret(&self) -> &str {
        self.secret.expose()
    }

    /// Returns when the service stops accepting it.
    pub fn expires_on(&self) -> SystemTime {
        self.expires_on
    }

    /// Returns how long it is still valid; zero if it has expired.
    pub fn time_left(&self) -> Duration {
        self.expires_on
            .duration_since(SystemTime::now())
            .unwrap_or_default()
    }
}

/// Why a sign-in failed: one line that says what to check. All retries have been made when it is returned.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct EntraError {
    message: String,
    #[source]
    source: Option<Arc<azure_core::Error>>,
}

/// Why one attempt to get a token failed.
#[derive(Debug)]
struct TokenAttemptError {
    /// What happened, in a few words without secrets.
    problem: String,
    /// Whether and how long to retry.
    retry: Retry,
    retry_after: Duration,
    source: Arc<azure_core::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    Never,
    /// Retry according to [`STARTING`].
    Starting,
    /// Retry according to [`UNAVAILABLE`].
    Unavailable,
}

/// Checks the variables that name a credential of Microsoft Entra ID, for a destination that needs one. Whatever is wrong
/// is reported to `problems`.
pub fn check(environment: &Environment, problems: &mut ConfigurationErrors) {
    method::read(environment, problems);
}

/// The credential of a process. Clones share its tokens.
#[derive(Clone)]
pub struct EntraCredential {
    sdk: Arc<dyn TokenCredential>,
    method: Method,
    /// The tokens by scope. The lock is held during a request, so that tasks that need the same token share one.
    tokens: Arc<Mutex<HashMap<String, CachedToken>>>,
}

#[derive(Clone)]
struct CachedToken {
    token: AccessToken,
    /// When the next renewal may start, after one that failed.
    next_renewal: Instant,
}

impl fmt::Debug for EntraCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntraCredential")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl EntraCredential {
    /// Chooses how to sign in, as `docs/sign-in.md` describes. No token is requested yet.
    ///
    /// # Errors
    /// If the variables of a credential are incomplete or cannot be used: an unreadable token file, a malformed tenant
    /// id, a managed identity endpoint of an unsupported kind.
    pub async fn from_env() -> Result<Self, EntraError> {
        let mut problems = ConfigurationErrors::default();
        let method = method::read(&Environment::of_process(), &mut problems);
        if !problems.is_empty() {
            return Err(EntraError {
                message: problems.lines().collect::<Vec<_>>().join("; "),
                source: None,
            });
        }
        let method = match method {
            Some(method) => method,
            None => method::of_this_machine(std::env::var_os("PATH").as_deref(), metadata::ADDRESS).await,
        };
        let http = match method {
            Method::ManagedIdentity { .. } => SdkHttpClient::for_managed_identity(),
            _ => SdkHttpClient::for_entra(),
        };
        let credential = Self::new(method, http.transport())?;
        tracing::info!("signing in to Microsoft Entra ID as {}", credential.method);
        Ok(credential)
    }

    fn new(method: Method, transport: Transport) -> Result<Self, EntraError> {
        let client_options = ClientOptions {
            transport: Some(transport),
            ..ClientOptions::default()
        };
        let sdk: azure_core::Result<Arc<dyn TokenCredential>> = match &method {
            Method::ServicePrincipal {
                tenant_id,
                client_id,
                secret,
            } => ClientSecretCredential::new(
                tenant_id,
                client_id.clone(),
                SdkSecret::new(secret.expose().to_owned()),
                Some(ClientSecretCredentialOptions { client_options }),
            )
            .map(|credential| credential as _),
            Method::WorkloadIdentity {
                tenant_id,
                client_id,
                token_file,
            } => WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                credential_options: ClientAssertionCredentialOptions { client_options },
                tenant_id: Some(tenant_id.clone()),
                client_id: Some(client_id.clone()),
                token_file_path: Some(token_file.into()),
            }))
            .map(|credential| credential as _),
            Method::ManagedIdentity { client_id } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                    client_options,
                }))
                .map(|credential| credential as _)
            }
            Method::DeveloperTools => DeveloperToolsCredential::new(None).map(|credential| credential as _),
        };
        match sdk {
            Ok(sdk) => Ok(Self::with_sdk(method, sdk)),
            Err(error) => {
                let error = TokenAttemptError::new(&method, error);
                Err(error.give_up(&method, None))
            }
        }
    }

    fn with_sdk(method: Method, sdk: Arc<dyn TokenCredential>) -> Self {
        Self {
            sdk,
            method,
            tokens: Arc::default(),
        }
    }

    /// Returns a token for `scope`, such as [`STORAGE_SCOPE`]: the cached one, if it is valid for another five minutes,
    /// otherwise a new one. While a renewal fails, the old token is used as long as it is valid.
    ///
    /// # Errors
    /// If there is no token within [`LIMIT`], or if trying again cannot help.
    pub async fn token(&self, scope: &str) -> Result<AccessToken, EntraError> {
        let mut tokens = self.tokens.lock().await;
        if let Some(cached) = tokens.get_mut(scope) {
            let left = cached.token.time_left();
            if left > RENEWAL || (left > USABLE && Instant::now() < cached.next_renewal) {
                return Ok(cached.token.clone());
            }
            if left > USABLE {
                match self.request(scope).await {
                    Ok(token) => cached.token = token,
                    Err(error) => {
                        cached.next_renewal = Instant::now() + RENEWAL_PAUSE;
                        tracing::warn!(
                            "the token for {scope} could not be renewed yet: {}",
                            error.problem
                        );
                    }
                }
                return Ok(cached.token.clone());
            }
        }
        let token = self.wait_for_token(scope).await?;
        let cached = CachedToken {
            token: token.clone(),
            next_renewal: Instant::now(),
        };
        tokens.insert(scope.to_owned(), cached);
        Ok(token)
    }

    /// Requests a token until one is issued, within [`LIMIT`]. Logs one line if that takes longer than
    /// [`ANNOUNCEMENT_DELAY`].
    async fn wait_for_token(&self, scope: &str) -> Result<AccessToken, EntraError> {
        let start = Instant::now();
        let latest = std::sync::Mutex::<Option<TokenAttemptError>>::default();
        let latest = || latest.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = async {
            let (mut starting, mut unavailable) = (STARTING.start(), UNAVAILABLE.start());
            loop {
                let error = match self.request(scope).await {
                    Ok(token) => return Some(token),
                    Err(error) => error,
                };
                let pause = match error.retry {
                    Retry::Never => None,
                    Retry::Starting => starting.next_pause(error.retry_after),
                    Retry::Unavailable => unavailable.next_pause(error.retry_after),
                };
                *latest() = Some(error);
                sleep(pause?).await;
            }
        };
        let announce = async {
            sleep(ANNOUNCEMENT_DELAY).await;
            let cause = latest().as_ref().map(|error| format!(": {}", error.problem));
            tracing::warn!(
                "waiting for a token of Microsoft Entra ID for {}, for up to {} s{}",
                self.method,
                LIMIT.as_secs(),
                cause.unwrap_or_default()
            );
            std::future::pending::<()>().await;
        };
        let token = tokio::select! {
            token = timeout(LIMIT, requests) => token.ok().flatten(),
            () = announce => None,
        };
        match token {
            Some(token) => Ok(token),
            None => {
                let error = latest().take();
                let error = error.unwrap_or_else(|| {
                    let silent = azure_core::Error::with_message(ErrorKind::Credential, "no response");
                    TokenAttemptError::new(&self.method, silent)
                });
                Err(error.give_up(&self.method, Some(start.elapsed())))
            }
        }
    }

    async fn request(&self, scope: &str) -> Result<AccessToken, TokenAttemptError> {
        match self.sdk.get_token(&[scope], None).await {
            Ok(token) => Ok(AccessToken {
                secret: Secret::new(token.token.secret()),
                expires_on: token.expires_on.into(),
            }),
            Err(error) => Err(TokenAttemptError::new(&self.method, error)),
        }
    }
}

/// For clients of azure_core 1.x. The error carries the [`EntraError`].
#[async_trait]
impl TokenCredential for EntraCredential {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<SdkToken> {
        let token = self
            .token(scopes.first().copied().unwrap_or_default())
            .await
            .map_err(|error| {
                let message = error.to_string();
                azure_core::Error::with_error(ErrorKind::Credential, error, message)
            })?;
        Ok(SdkToken::new(
            token.secret.expose().to_owned(),
            token.expires_on.into(),
        ))
    }
}

impl TokenAttemptError {
    fn new(method: &Method, error: azure_core::Error) -> Self {
        let http = HttpError::find(&error);
        let retry = match (method, http) {
            (
                Method::ManagedIdentity { .. },
                Some(HttpError::NoToken {
                    status: 200 | 400, ..
                }),
            ) => Retry::Starting,
            // 404 and 410: the metadata service is being updated.
            (
                Method::ManagedIdentity { .. },
                Some(HttpError::NoToken {
                    status: 404 | 410, ..
                }),
            )
            | (
                _,
                Some(
                    HttpError::NoToken {
                        status: 408 | 429 | 500..=599,
                        ..
                    }
                    | HttpError::Dns { .. }
                    | HttpError::Connect { .. }
                    | HttpError::Stalled { .. }
                    | HttpError::Io { .. },
                ),
            ) => Retry::Unavailable,
            // A refusal, or a problem on this machine that another attempt will not change.
            _ => Retry::Never,
        };
        let problem = match http {
            Some(http) => http.to_string(),
            None => sdk_problem(&causes(&error).last().map(ToString::to_string).unwrap_or_default()),
        };
        let problem = match method {
            // A service may quote the request.
            Method::ServicePrincipal { secret, .. } => problem.replace(secret.expose(), "…"),
            _ => problem,
        };
        Self {
            problem,
            retry,
            retry_after: http.and_then(HttpError::retry_after).unwrap_or_default(),
            source: Arc::new(error),
        }
    }

    /// Returns the error that is reported when there are no more attempts.
    fn give_up(self, method: &Method, elapsed: Option<Duration>) -> EntraError {
        let elapsed = elapsed.filter(|elapsed| *elapsed >= Duration::from_secs(1));
        let elapsed = elapsed.map(|elapsed| format!(", tried for {} s", elapsed.as_secs()));
        EntraError {
            message: format!(
                "could not sign in as {method} ({}{}): {}",
                self.problem,
                elapsed.unwrap_or_default(),
                method.advice()
            ),
            source: Some(self.source),
        }
    }
}

/// Returns one line of an error of the SDK, which joins the errors of several tools and ends them with links.
fn sdk_problem(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("To troubleshoot, visit"))
        .collect();
    let lines = match &lines[..] {
        [heading, rest @ ..] if heading.ends_with(':') && !rest.is_empty() => rest,
        lines => lines,
    };
    excerpt(&lines.join(" "))
}

#[cfg(test)]
mod tests {
    use azure_core::http::{AsyncRawResponse, HttpClient, Request, headers::Headers};
    use testkit::stub::{Answer, Stub};

    use super::*;

    /// Returns the results that it was given, the last first, and then repeats the error.
    #[derive(Debug)]
    struct Scripted {
        script: std::sync::Mutex<Vec<azure_core::Result<SdkToken>>>,
        then: Option<HttpError>,
    }

    #[async_trait]
    impl TokenCredential for Scripted {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<SdkToken> {
            if let Some(next) = self.script.lock().unwrap().pop() {
                return next;
            }
            match &self.then {
                Some(error) => Err(wrapped(error.clone())),
                None => std::future::pending().await,
            }
        }
    }

    /// Returns the error as the SDK wraps it.
    fn wrapped(error: HttpError) -> azure_core::Error {
        let message = error.to_string();
        let error = azure_core::Error::with_error(ErrorKind::Other, error, message);
        azure_core::Error::with_error(
            ErrorKind::Credential,
            error,
            "ManagedIdentityCredential authentication failed.\nTo troubleshoot, visit https://aka.ms/x",
        )
    }

    fn no_token(status: u16, message: &str) -> HttpError {
        HttpError::NoToken {
            status,
            message: message.to_owned(),
            retry_after: None,
        }
    }

    fn token(seconds: u64) -> SdkToken {
        SdkToken::new("good", (SystemTime::now() + Duration::from_secs(seconds)).into())
    }

    const SYSTEM_ASSIGNED: Method = Method::ManagedIdentity { client_id: None };

    fn scripted(script: Vec<azure_core::Result<SdkToken>>, then: Option<HttpError>) -> EntraCredential {
        let script = script.into();
        EntraCredential::with_sdk(SYSTEM_ASSIGNED, Arc::new(Scripted { script, then }))
    }

    #[tokio::test]
    async fn a_token_that_is_still_valid_bridges_a_failed_renewal() {
        for (seconds, bridges) in [(200, true), (10, false)] {
            let script = vec![Err(wrapped(no_token(403, ""))), Ok(token(seconds))];
            let credential = scripted(script, None);
            assert_eq!(credential.token(SQL_SCOPE).await.unwrap().secret(), "good");
            match credential.token(SQL_SCOPE).await {
                Ok(token) => assert!(bridges && token.secret() == "good"),
                Err(error) => assert!(!bridges, "{error}"),
            }
            // The next renewal does not start at once: the script has no more results.
            assert!(!bridges || credential.token(SQL_SCOPE).await.is_ok());
        }
    }

    /// `az` takes seconds, and the SDK runs it for every token.
    #[tokio::test]
    async fn a_valid_token_is_not_requested_again() {
        let credential = scripted(vec![Ok(token(3600))], None);
        for _ in 0..3 {
            assert_eq!(credential.token(SQL_SCOPE).await.unwrap().secret(), "good");
        }
    }

    /// Returns how long a sign-in that always fails with `error` (or never ends) is tried, and the line that is
    /// reported.
    async fn failing(error: Option<HttpError>) -> (u64, String) {
        let credential = scripted(vec![], error);
        let start = Instant::now();
        let line = credential.token(STORAGE_SCOPE).await.unwrap_err().to_string();
        (start.elapsed().as_secs(), line)
    }

    #[tokio::test(start_paused = true)]
    async fn the_cause_is_reported_and_decides_how_long_a_sign_in_is_tried() {
        let connect = HttpError::Connect {
            message: "Connection refused".to_owned(),
        };
        let dns = HttpError::Dns {
            message: "Name or service not known".to_owned(),
        };
        let certificate = HttpError::Certificate {
            message: "it has expired".to_owned(),
        };
        for (error, seconds, cause) in [
            (no_token(403, "forbidden"), 0, "HTTP 403: forbidden"),
            (no_token(401, ""), 0, "HTTP 401"),
            (
                no_token(400, "Identity not found"),
                10,
                "HTTP 400: Identity not found, tried for 10 s",
            ),
            (
                no_token(200, "no token in the response"),
                10,
                "HTTP 200: no token in the response",
            ),
            (no_token(404, ""), 120, "HTTP 404, tried for 120 s"),
            (no_token(410, ""), 120, "HTTP 410"),
            (no_token(429, ""), 120, "HTTP 429"),
            (
                no_token(500, "pod list is empty"),
                120,
                "HTTP 500: pod list is empty",
            ),
            (connect, 120, "could not connect (Connection refused)"),
            (dns, 120, "Name or service not known"),
            (certificate, 0, "it has expired"),
        ] {
            let (elapsed, line) = failing(Some(error)).await;
            assert_eq!(elapsed, seconds, "{line}");
            assert!(
                line.contains(cause) && line.contains("check that a managed identity"),
                "{line}"
            );
            assert!(!line.contains("aka.ms"), "{line}");
        }
        let (elapsed, line) = failing(None).await;
        assert!(
            elapsed == LIMIT.as_secs() && line.contains("no response, tried for 120 s"),
            "{line}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_identity_that_appears_after_a_few_seconds_signs_in() {
        let not_found = || Err(wrapped(no_token(400, "Identity not found")));
        let plain_text = Err(wrapped(no_token(200, "no token in the response")));
        let script = vec![Ok(token(3600)), not_found(), plain_text, not_found()];
        let start = Instant::now();
        assert!(scripted(script, None).token(STORAGE_SCOPE).await.is_ok());
        assert!(start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
    }

    /// Returns what is logged while `work` runs.
    async fn logged<T>(work: impl Future<Output = T>) -> String {
        use tracing::instrument::WithSubscriber;
        let capture = testkit::log::LogCapture::default();
        work.with_subscriber(capture.subscriber()).await;
        capture.text()
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_announced_once() {
        let log = logged(scripted(vec![], Some(no_token(503, "starting"))).token(STORAGE_SCOPE)).await;
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(
            log.contains("waiting for a token of Microsoft Entra ID for the system-assigned managed identity, for up to 120 s: HTTP 503: starting"),
            "{log}"
        );
        let log = logged(scripted(vec![Ok(token(9999))], None).token(STORAGE_SCOPE)).await;
        assert_eq!(log, "");
    }

    /// Records the requests and responds to them with one status and body.
    #[derive(Debug)]
    struct FakeEntra {
        requests: std::sync::Mutex<Vec<(String, String)>>,
        answer: (u16, String),
    }

    #[async_trait]
    impl HttpClient for FakeEntra {
        async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
            let body = match request.body() {
                azure_core::http::Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                _ => String::new(),
            };
            self.requests
                .lock()
                .unwrap()
                .push((request.url().to_string(), body));
            let (status, body) = &self.answer;
            if *status != 200 {
                let error = HttpError::no_token(*status, |_| None, body.as_bytes());
                return Err(azure_core::Error::with_error(ErrorKind::Other, error, "refused"));
            }
            Ok(AsyncRawResponse::from_bytes(
                (*status).into(),
                Headers::new(),
                body.clone(),
            ))
        }
    }

    fn service_principal() -> Method {
        Method::ServicePrincipal {
            tenant_id: "a-tenant".to_owned(),
            client_id: "00000000-1111-2222-3333-aaaaBBBBcccc".to_owned(),
            secret: Secret::new("PLANTED~"),
        }
    }

    async fn sign_in(answer: (u16, &str)) -> (Arc<FakeEntra>, Result<AccessToken, EntraError>) {
        let entra = Arc::new(FakeEntra {
            requests: std::sync::Mutex::default(),
            answer: (answer.0, answer.1.to_owned()),
        });
        let credential = EntraCredential::new(service_principal(), Transport::new(entra.clone())).unwrap();
        assert!(!format!("{credential:?}").contains("PLANTED"));
        let token = credential.token(STORAGE_SCOPE).await;
        (entra, token)
    }

    #[tokio::test]
    async fn a_service_principal_signs_in_with_its_secret() {
        let answer =
            r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"issued"}"#;
        let (entra, token) = sign_in((200, answer)).await;
        assert_eq!(token.unwrap().secret(), "issued");
        let requests = entra.requests.lock().unwrap();
        let [(url, body)] = &requests[..] else {
            panic!("{requests:?}");
        };
        assert!(url.ends_with("/a-tenant/oauth2/v2.0/token"), "{url}");
        assert!(
            body.contains("client_secret=PLANTED%7E") && body.contains("client_credentials"),
            "{body}"
        );
    }

    #[tokio::test]
    async fn a_refused_service_principal_is_explained_without_its_secret() {
        let answer = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret PLANTED~ provided.\r\nTrace ID: 1","error_codes":[7000215]}"#;
        let (entra, token) = sign_in((401, answer)).await;
        let line = token.unwrap_err().to_string();
        assert!(
            line.contains("AADSTS7000215: Invalid client secret") && line.contains("AZURE_CLIENT_SECRET"),
            "{line}"
        );
        assert!(!line.contains("PLANTED") && !line.contains("Trace"), "{line}");
        assert_eq!(entra.requests.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_errors_of_several_tools_are_one_line() {
        let text = "Multiple errors were encountered while attempting to authenticate:\nAzureCliCredential \
                    authentication failed. ERROR: Please run 'az login'\n\nTo troubleshoot, visit https://aka.ms/x \nazd \
                    not found on PATH";
        assert_eq!(
            sdk_problem(text),
            "AzureCliCredential authentication failed. ERROR: Please run 'az login' azd not found on PATH"
        );
        assert_eq!(sdk_problem("one:"), "one:");
    }

    /// The SDK's retries would multiply the limit.
    #[tokio::test]
    async fn the_client_does_not_make_the_sdk_retry() {
        let free = ([127, 0, 0, 1], 0).into();
        for status in [200, 400, 429, 503] {
            let stub = Stub::start(free, move |_| Answer::of(status)).await.unwrap();
            let mut request = Request::new(
                format!("http://{}/token", stub.address()).parse().unwrap(),
                azure_core::http::Method::Get,
            );
            request.set_body("x");
            let error = SdkHttpClient::for_managed_identity()
                .execute_request(&request)
                .await
                .unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Other), "{error:?}");
            assert!(
                matches!(HttpError::find(&error), Some(HttpError::NoToken { .. })),
                "{error:?}"
            );
        }
    }

    #[test]
    fn debug_prints_no_token() {
        let token = AccessToken::new("PLANTED", SystemTime::now());
        assert!(!format!("{token:?}").contains("PLANTED"));
    }
}
