//! Sign-in by Microsoft Entra ID: one credential for the Data Lake, Azure SQL and Event Hubs.
//!
//! Which credential signs in is decided once, by the environment, and said in the log:
//!
//! 1. `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_TENANT_ID` and `AZURE_CLIENT_ID` are all set: workload identity
//!    (Kubernetes sets them).
//! 2. `AZURE_CLIENT_ID` or a managed identity's endpoint (`IDENTITY_ENDPOINT`, `MSI_ENDPOINT`) is set:
//!    managed identity, the user-assigned one of that client id if there is one.
//! 3. The instance metadata service answers, or neither `az` nor `azd` is installed (it may be a container
//!    whose metadata service is still starting): the system-assigned managed identity.
//! 4. Otherwise whoever is signed in to `az` or `azd` on this machine.

use std::{
    collections::HashMap,
    env, fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use azure_core::{
    credentials::{AccessToken as SdkToken, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{ClientOptions, StatusCode},
};
use azure_identity::{
    ClientAssertionCredentialOptions, DeveloperToolsCredential, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use crate::http::{SdkHttpClient, Server};
use datagen_process::error::causes;
use datagen_settings::Secret;

/// Azure Storage, both its Blob and its Data Lake API.
pub const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";

/// Azure SQL Database.
pub const SQL_SCOPE: &str = "https://database.windows.net/.default";

/// How long a new role assignment may take to arrive: «it can take up to 10 minutes for changes to take effect»,
/// <https://learn.microsoft.com/azure/role-based-access-control/troubleshooting>. For so long a missing permission of an
/// identity may be that of a role that was assigned a moment ago, as deployments do.
pub const ROLE_ASSIGNMENT_DELAY: Duration = Duration::from_secs(600);

/// The address of the instance metadata service on every Azure machine and container group.
/// <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>
const IMDS: &str = "169.254.169.254:80";

/// Proof for one service that we are who we are, for as long as it says.
#[derive(Clone, Debug)]
pub struct AccessToken {
    secret: Secret,
    expires_on: SystemTime,
}

impl AccessToken {
    /// The bearer token `secret`, which is accepted until `expires_on`.
    pub fn new(secret: impl Into<String>, expires_on: SystemTime) -> Self {
        Self {
            secret: Secret::new(secret),
            expires_on,
        }
    }

    /// The bearer token itself. It must not be logged.
    pub fn secret(&self) -> &str {
        self.secret.expose()
    }

    /// When the service stops accepting it.
    pub fn expires_on(&self) -> SystemTime {
        self.expires_on
    }

    /// How long it is still good for; zero when it has expired.
    pub fn time_left(&self) -> Duration {
        self.expires_on
            .duration_since(SystemTime::now())
            .unwrap_or_default()
    }
}

/// Why nobody could be signed in: one line that says what to check.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct EntraError {
    message: String,
    permanent: bool,
}

impl EntraError {
    /// True when trying again cannot help: there is no such identity, nobody is signed in, the request was
    /// refused. False for an identity service that is busy, starting or out of reach.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }
}

/// How sign-in happens; see the module for how it is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// A token file that Kubernetes keeps fresh, exchanged for an access token.
    WorkloadIdentity,
    /// The identity given to this container or machine; a user-assigned one if a client id is there.
    ManagedIdentity {
        /// The client id of a user-assigned identity.
        client_id: Option<String>,
    },
    /// The person signed in to `az` or `azd`.
    DeveloperTools,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkloadIdentity => f.write_str("workload identity"),
            Self::ManagedIdentity { client_id: None } => f.write_str("the system-assigned managed identity"),
            Self::ManagedIdentity { client_id: Some(id) } if is_client_id(id) => {
                write!(f, "the user-assigned managed identity {id} (AZURE_CLIENT_ID)")
            }
            Self::ManagedIdentity { client_id: Some(_) } => {
                f.write_str("a user-assigned managed identity whose AZURE_CLIENT_ID is not a client id")
            }
            Self::DeveloperTools => f.write_str("the developer signed in to az or azd"),
        }
    }
}

/// Whether `text` is a client id, which is a GUID: any other text may be a secret in the wrong variable.
fn is_client_id(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(place, c)| match place {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// The one credential of a process. Clones share its cache of tokens.
#[derive(Clone)]
pub struct EntraCredential {
    sdk: Arc<dyn TokenCredential>,
    method: Method,
    /// The last good token of each scope, for the minutes in which a renewal fails but the old one holds.
    last_good: Arc<Mutex<HashMap<String, AccessToken>>>,
}

impl fmt::Debug for EntraCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntraCredential")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl EntraCredential {
    /// Chooses how to sign in by this process's environment. No token is asked for yet.
    ///
    /// # Errors
    /// A permanent [`EntraError`] when the chosen method is not set up right: an unreadable token file, a
    /// malformed tenant id, a managed identity endpoint of an unsupported kind.
    pub async fn from_env() -> Result<Self, EntraError> {
        let method = choose(|name| env::var(name).ok().filter(|value| !value.is_empty())).await;
        Self::new(method)
    }

    /// Signs in by `method`.
    ///
    /// # Errors
    /// As [`EntraCredential::from_env`].
    pub fn new(method: Method) -> Result<Self, EntraError> {
        let http = match method {
            Method::ManagedIdentity { .. } => SdkHttpClient::direct(Server::Identity),
            _ => SdkHttpClient::new(Server::Identity),
        };
        let client_options = ClientOptions {
            transport: Some(http.transport()),
            ..ClientOptions::default()
        };
        let sdk: azure_core::Result<Arc<dyn TokenCredential>> = match &method {
            Method::WorkloadIdentity => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    ..WorkloadIdentityCredentialOptions::default()
                }))
                .map(|credential| credential as _)
            }
            Method::ManagedIdentity { client_id } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                    client_options,
                }))
                .map(|credential| credential as _)
            }
            Method::DeveloperTools => DeveloperToolsCredential::new(None).map(|credential| credential as _),
        };
        let sdk = sdk.map_err(|error| describe(&method, &error))?;
        tracing::info!("signing in to Microsoft Entra ID as {method}");
        Ok(Self {
            sdk,
            method,
            last_good: Arc::default(),
        })
    }

    /// How this credential signs in.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// A token for `scope`, such as [`STORAGE_SCOPE`]: from the cache while it is good for five minutes or
    /// more, otherwise a new one. Managed identity retries by itself for up to 72 s.
    ///
    /// # Errors
    /// When no token could be had and no earlier one is good for another 30 s.
    pub async fn token(&self, scope: &str) -> Result<AccessToken, EntraError> {
        match self.sdk.get_token(&[scope], None).await {
            Ok(token) => {
                let token = AccessToken {
                    secret: Secret::new(token.token.secret()),
                    expires_on: token.expires_on.into(),
                };
                self.last_good
                    .lock()
                    .await
                    .insert(scope.to_owned(), token.clone());
                Ok(token)
            }
            Err(error) => {
                let error = describe(&self.method, &error);
                let held = self.last_good.lock().await.get(scope).cloned();
                match held.filter(|token| token.time_left() > Duration::from_secs(30)) {
                    Some(token) => {
                        tracing::warn!("the token for {scope} could not be renewed yet: {error}");
                        Ok(token)
                    }
                    None => Err(error),
                }
            }
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

async fn choose(var: impl Fn(&str) -> Option<String>) -> Method {
    let client_id = var("AZURE_CLIENT_ID");
    if client_id.is_some() && var("AZURE_FEDERATED_TOKEN_FILE").is_some() && var("AZURE_TENANT_ID").is_some()
    {
        return Method::WorkloadIdentity;
    }
    let endpoint = var("IDENTITY_ENDPOINT").or_else(|| var("MSI_ENDPOINT"));
    if client_id.is_some() || endpoint.is_some() || metadata_service_answers().await {
        return Method::ManagedIdentity { client_id };
    }
    let installed = |tool: &str| {
        let path = var("PATH").unwrap_or_default();
        path.split(':')
            .any(|directory| Path::new(directory).join(tool).is_file())
    };
    if installed("az") || installed("azd") {
        Method::DeveloperTools
    } else {
        Method::ManagedIdentity { client_id }
    }
}

async fn metadata_service_answers() -> bool {
    matches!(
        timeout(Duration::from_secs(1), TcpStream::connect(IMDS)).await,
        Ok(Ok(_))
    )
}

/// One line out of an SDK's error, which is several lines long and ends in a link.
fn describe(method: &Method, error: &azure_core::Error) -> EntraError {
    let check = match method {
        Method::WorkloadIdentity => {
            "check AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE and the federated credential"
        }
        Method::ManagedIdentity { client_id: None } => {
            "check that a managed identity is assigned to this container or machine, set AZURE_CLIENT_ID if it \
             is a user-assigned one, or sign in with az login on a laptop"
        }
        Method::ManagedIdentity { client_id: Some(_) } => {
            "check AZURE_CLIENT_ID and that this identity is assigned to this container or machine"
        }
        Method::DeveloperTools => "run az login or azd auth login",
    };
    let status = http_status(error);
    let permanent = match (method, status) {
        (Method::DeveloperTools, _) => true,
        (_, Some(status)) => status.is_client_error() && !matches!(u16::from(status), 404 | 408 | 410 | 429),
        // Not an answer: a transport error, which may pass, or a setting that will not.
        (_, None) => crate::http::Failure::find(error).is_none(),
    };
    let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
    let cause = crate::http::excerpt(&cause);
    let status = status
        .map(|status| format!("HTTP {}: ", u16::from(status)))
        .unwrap_or_default();
    EntraError {
        message: format!("could not sign in as {method} ({status}{cause}): {check}"),
        permanent,
    }
}

/// The status of the innermost HTTP answer in an SDK's error, which wraps it in a credential error.
fn http_status(error: &azure_core::Error) -> Option<StatusCode> {
    causes(error).find_map(|cause| match cause.downcast_ref::<azure_core::Error>()?.kind() {
        ErrorKind::HttpResponse { status, .. } => Some(*status),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)]) -> Method {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(choose(|name| {
                variables.get(name).map(|value| (*value).to_owned())
            }))
    }

    #[test]
    fn the_environment_decides_how_to_sign_in() {
        let workload = [
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
        ];
        assert_eq!(chosen(&workload), Method::WorkloadIdentity);
        assert_eq!(
            chosen(&[("AZURE_CLIENT_ID", "c")]),
            Method::ManagedIdentity {
                client_id: Some("c".into())
            }
        );
        let app_service = [
            ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/token"),
            ("IDENTITY_HEADER", "secret"),
        ];
        assert_eq!(chosen(&app_service), Method::ManagedIdentity { client_id: None });
    }

    #[test]
    fn a_client_id_is_shown_only_if_it_is_one() {
        let shown = |id: &str| {
            let client_id = Some(id.to_owned());
            Method::ManagedIdentity { client_id }.to_string()
        };
        let id = "00000000-1111-2222-3333-aaaaBBBBcccc";
        assert!(shown(id).contains(id));
        let secret = "PLANTED~secret.of.an.application-000";
        assert!(!shown(secret).contains(secret) && shown(secret).contains("AZURE_CLIENT_ID"));
    }

    /// Hands out what it was given, the last first.
    #[derive(Debug)]
    struct Scripted(std::sync::Mutex<Vec<azure_core::Result<SdkToken>>>);

    #[async_trait]
    impl TokenCredential for Scripted {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<SdkToken> {
            self.0.lock().unwrap().pop().expect("no more calls")
        }
    }

    fn answered(status: StatusCode) -> azure_core::Error {
        let kind = ErrorKind::HttpResponse {
            status,
            error_code: None,
            raw_response: None,
        };
        let error = azure_core::Error::with_message(kind, "the answer");
        azure_core::Error::with_error(ErrorKind::Credential, error, "no token")
    }

    #[tokio::test]
    async fn a_token_that_is_still_good_bridges_a_failed_renewal() {
        for (seconds, bridges) in [(600, true), (10, false)] {
            let good = SdkToken::new("good", (SystemTime::now() + Duration::from_secs(seconds)).into());
            let script = vec![Err(answered(StatusCode::TooManyRequests)), Ok(good)];
            let credential = EntraCredential {
                sdk: Arc::new(Scripted(script.into())),
                method: Method::ManagedIdentity { client_id: None },
                last_good: Arc::default(),
            };
            assert_eq!(credential.token(SQL_SCOPE).await.unwrap().secret(), "good");
            match credential.token(SQL_SCOPE).await {
                Ok(token) => assert!(bridges && token.secret() == "good"),
                Err(error) => assert!(!bridges && !error.is_permanent(), "{error}"),
            }
        }
    }

    #[test]
    fn a_refusal_is_permanent_and_a_service_that_is_away_is_not() {
        let identity = Method::ManagedIdentity { client_id: None };
        for (status, permanent) in [
            (StatusCode::BadRequest, true),
            (StatusCode::Forbidden, true),
            (StatusCode::NotFound, false),
            (StatusCode::Gone, false),
            (StatusCode::TooManyRequests, false),
            (StatusCode::InternalServerError, false),
        ] {
            let error = describe(&identity, &answered(status));
            assert_eq!(error.is_permanent(), permanent, "{error}");
            assert!(
                error
                    .to_string()
                    .contains(&format!("HTTP {}: the answer", u16::from(status))),
                "{error}"
            );
        }
        let refused = crate::http::Failure::Connect {
            message: "Connection refused".into(),
            certificate: false,
        };
        let away = azure_core::Error::with_error(ErrorKind::Io, refused, "no token");
        assert!(!describe(&identity, &away).is_permanent());
        let wrong = azure_core::Error::with_message(ErrorKind::Credential, "no such setting");
        assert!(describe(&identity, &wrong).is_permanent());
    }

    #[test]
    fn debug_prints_no_token() {
        let token = AccessToken {
            secret: Secret::new("PLANTED"),
            expires_on: SystemTime::now(),
        };
        assert!(!format!("{token:?}").contains("PLANTED"));
        let credential = EntraCredential::new(Method::DeveloperTools).unwrap();
        assert_eq!(
            format!("{credential:?}"),
            "EntraCredential { method: DeveloperTools, .. }"
        );
    }
}
