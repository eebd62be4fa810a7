//! Requests to a storage account: which errors are retried and for how long, and what is reported in the end. Both APIs
//! use this module; the retries of their SDKs are off.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::advice::Advisor;
use super::config::Account;
use super::upload::PUTS_IN_FLIGHT;
use super::{Total, UploadError};
use datagen_azure::entra::{EntraError, ROLE_ASSIGNMENT_DELAY};
use datagen_azure::http::HttpError;
use datagen_process::error::{DestinationError, causes};
use datagen_process::retry::{Backoff, RetryPolicy};

/// For transient errors: longer than a storage partition takes to move or a gateway to restart.
const TRANSIENT: RetryPolicy = RetryPolicy {
    backoff: Backoff {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(10),
    },
    limit: Duration::from_secs(120),
};

/// For a missing role, which may have been assigned to the identity shortly before.
const NEW_ROLE: RetryPolicy = RetryPolicy {
    backoff: Backoff {
        first: Duration::from_secs(10),
        longest: Duration::from_secs(10),
    },
    limit: ROLE_ASSIGNMENT_DELAY,
};

/// The upper bound of a pause that a server requests with Retry-After.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why one attempt at a request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    /// The request itself failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The sign-in before the request failed. It has separate retries.
    #[error(transparent)]
    SignIn(EntraError),
    /// The SDK could not make the request or read the answer.
    #[error("the request could not be made, or its answer could not be read")]
    Sdk,
}

impl From<azure_core::Error> for AttemptError {
    fn from(error: azure_core::Error) -> Self {
        // The client makes an error of every response that is not a success, so the SDK reports a status only for a
        // success that is not the documented one.
        let undocumented = error.http_status().map(|status| HttpError::Foreign {
            status: status.into(),
        });
        Self::find(&error).unwrap_or_else(|| undocumented.map_or(Self::Sdk, Self::Http))
    }
}

impl From<azure_core_legacy::Error> for AttemptError {
    fn from(error: azure_core_legacy::Error) -> Self {
        Self::find(&error).unwrap_or(Self::Sdk)
    }
}

impl AttemptError {
    /// Finds the reason in an SDK's error. The text of that error is not used, because it may repeat the URL, and with
    /// it the SAS, or what the server sent.
    fn find(error: &(dyn StdError + 'static)) -> Option<Self> {
        causes(error).find_map(|cause| {
            let sign_in = || cause.downcast_ref().cloned().map(Self::SignIn);
            cause.downcast_ref().cloned().map(Self::Http).or_else(sign_in)
        })
    }

    /// Returns the response's status and the service's code for it.
    pub(crate) fn status(&self) -> Option<(u16, &str)> {
        match self {
            Self::Http(HttpError::Status { status, code, .. }) => {
                Some((*status, code.as_deref().unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// Returns whether the service no longer has what was sent to it for an unpublished file, because it lost it or
    /// another run removed it. Sending the file again from its beginning can help.
    pub(crate) fn is_upload_lost(&self) -> bool {
        matches!(
            self.status(),
            Some(
                (400, "InvalidBlockList" | "InvalidFlushPosition")
                    | (404, "PathNotFound" | "SourcePathNotFound")
            )
        )
    }

    /// Returns whether the filesystem (container) does not exist. Each API has a different code for that.
    pub(crate) fn is_missing_filesystem(&self) -> bool {
        matches!(
            self.status(),
            Some((404, "ContainerNotFound" | "FilesystemNotFound"))
        )
    }

    /// Returns whether another attempt may succeed. `answered` is whether the account has responded to any request.
    fn is_transient(&self, answered: bool) -> bool {
        match self {
            // Until the account has responded for the first time, its name is assumed to be wrong, unless the resolver
            // reports a temporary failure (EAI_AGAIN, as glibc and musl print it).
            Self::Http(HttpError::Dns { message }) => {
                answered || message.contains("Temporary failure") || message.contains("Try again")
            }
            Self::Http(
                HttpError::Connect { .. }
                | HttpError::Stalled { .. }
                | HttpError::Io { .. }
                | HttpError::Corrupted,
            ) => true,
            Self::Http(HttpError::Status { status, code, .. }) => {
                matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
                    || code.as_deref().is_some_and(|code| code.ends_with("BeingDeleted"))
            }
            Self::Http(
                HttpError::Certificate { .. }
                | HttpError::TooLong
                | HttpError::Foreign { .. }
                | HttpError::NoToken { .. },
            )
            | Self::SignIn(_)
            | Self::Sdk => false,
        }
    }

    fn retry_after(&self) -> Duration {
        match self {
            Self::Http(error) => error.retry_after().unwrap_or_default().min(LONGEST_PAUSE),
            _ => Duration::ZERO,
        }
    }
}

/// Why a request failed, retries included.
#[derive(Clone, Debug)]
pub(crate) struct RequestError {
    /// The error of the last attempt.
    pub(crate) last: AttemptError,
    /// How long the request was retried; `None` if the error is permanent.
    tried: Option<Duration>,
    /// What to do, if that does not follow from the error.
    advice: Option<String>,
}

impl RequestError {
    fn permanent(error: AttemptError) -> Self {
        Self {
            last: error,
            tried: None,
            advice: None,
        }
    }

    /// Returns whether the service refused the request. False if it was out of order or unreachable.
    pub(crate) fn is_refusal(&self) -> bool {
        self.tried.is_none() && self.last.status().is_some()
    }

    /// Returns the status of the last response; 0 if there was none.
    pub(crate) fn status(&self) -> u16 {
        self.last.status().map_or(0, |(status, _)| status)
    }
}

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The filesystem (container) that it goes to.
    pub(crate) filesystem: String,
    /// The file's path in the lake, for messages.
    pub(crate) file: String,
}

/// Sends requests to one account until they succeed or fail for good.
#[derive(Debug)]
pub(crate) struct Requests {
    /// The URL without its query.
    destination: String,
    advisor: Advisor,
    signs_in: bool,
    /// Whether the account has responded to any request.
    answered: AtomicBool,
    /// Whether the log says already that the process waits for a role assignment.
    awaits_role: AtomicBool,
    /// The filesystems that this process created, or that existed when it was about to create them.
    created: std::sync::Mutex<HashSet<String>>,
    /// Held while a filesystem is being created.
    creating: tokio::sync::Mutex<()>,
}

impl Requests {
    pub(crate) fn new(account: &Account) -> Self {
        Self {
            destination: account.to_string(),
            advisor: Advisor::new(account),
            signs_in: account.sas.is_none(),
            answered: AtomicBool::new(false),
            awaits_role: AtomicBool::new(false),
            created: std::sync::Mutex::default(),
            creating: tokio::sync::Mutex::default(),
        }
    }

    fn created(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        lock(&self.created)
    }

    /// Does the same as [`run`](Self::run), for the first requests to a filesystem: if it is missing, `create` creates
    /// it.
    pub(crate) async fn run_or_create<T, F, C>(
        &self,
        subject: &Subject,
        mut attempt: impl FnMut(u32) -> F,
        create: impl FnMut(u32) -> C,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, AttemptError>>,
        C: Future<Output = Result<(), AttemptError>>,
    {
        match self.run(subject, &mut attempt).await {
            Err(missing) if missing.last.is_missing_filesystem() && missing.tried.is_none() => {
                self.create(subject, missing, create).await?;
                self.run(subject, attempt).await
            }
            result => result,
        }
    }

    async fn create<C>(
        &self,
        subject: &Subject,
        missing: RequestError,
        create: impl FnMut(u32) -> C,
    ) -> Result<(), RequestError>
    where
        C: Future<Output = Result<(), AttemptError>>,
    {
        let filesystem = &subject.filesystem;
        let _creating = self.creating.lock().await;
        if self.created().contains(filesystem) {
            return Ok(());
        }
        match self.run(subject, create).await {
            Ok(()) => tracing::info!("created the filesystem {filesystem}"),
            // Another process has created it.
            Err(error) if error.is_refusal() && error.status() == 409 => {}
            Err(error) if matches!(error.status(), 401 | 403) => {
                return Err(RequestError {
                    advice: Some(format!(
                        "the filesystem {filesystem} does not exist and these credentials may not create it: create it first"
                    )),
                    ..missing
                });
            }
            Err(error) => return Err(error),
        }
        self.created().insert(filesystem.clone());
        Ok(())
    }

    fn is_transient(&self, subject: &Subject, error: &AttemptError) -> bool {
        // It takes a while until all servers know a new filesystem.
        let is_new = || error.is_missing_filesystem() && self.created().contains(&subject.filesystem);
        error.is_transient(self.answered.load(Ordering::Relaxed)) || is_new()
    }

    /// Makes attempts, numbered from 0, until one succeeds or another one would not help.
    pub(crate) async fn run<T, F>(
        &self,
        subject: &Subject,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let what = &subject.file;
        let start = Instant::now();
        let (mut transient, mut new_role) = (TRANSIENT.start(), NEW_ROLE.start());
        loop {
            let error = match attempt(transient.failures() + new_role.failures()).await {
                Ok(value) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(error) => error,
            };
            if error.status().is_some() {
                self.answered.store(true, Ordering::Relaxed);
            }
            let lacks_role =
                self.signs_in && matches!(error.status(), Some((403, "AuthorizationPermissionMismatch")));
            let pause = if lacks_role {
                new_role.next_pause(Duration::ZERO)
            } else if self.is_transient(subject, &error) {
                transient.next_pause(error.retry_after())
            } else {
                return Err(RequestError::permanent(error));
            };
            let Some(pause) = pause else {
                return Err(RequestError {
                    tried: Some(start.elapsed()),
                    ..RequestError::permanent(error)
                });
            };
            if lacks_role {
                if !self.awaits_role.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "{what}: {error}: a new role assignment takes minutes to become effective; waiting for it, for \
                         up to {} minutes",
                        NEW_ROLE.limit.as_secs() / 60
                    );
                }
            } else if transient.failures() > 3 {
                tracing::warn!("{what}: {error}; trying again in {} ms", pause.as_millis());
            } else {
                tracing::debug!("{what}: {error}; trying again in {} ms", pause.as_millis());
            }
            sleep(pause).await;
        }
    }

    /// Returns the form in which messages name a file.
    pub(crate) fn describe(&self, file: &str) -> String {
        format!("{}{file}", self.destination)
    }

    /// Returns the result of a request for published files: a total of zero if there is no file or filesystem, `None`
    /// if the credentials do not allow the request.
    pub(crate) fn found(
        &self,
        subject: &Subject,
        answer: Result<Total, RequestError>,
    ) -> Result<Option<Total>, DestinationError> {
        match answer {
            Ok(total) => Ok(Some(total)),
            Err(error) => match error.last.status() {
                Some((404, _)) => Ok(Some(Total::default())),
                Some((403, "AuthorizationPermissionMismatch" | "InsufficientAccountPermissions")) => Ok(None),
                _ => Err(self.error(subject, error)),
            },
        }
    }

    /// Returns the error that is reported: one line with what to do.
    pub(crate) fn error(&self, subject: &Subject, error: RequestError) -> DestinationError {
        let problem = match error.tried {
            Some(tried) => format!("{} (tried for {} s)", error.last, tried.as_secs()),
            None => error.last.to_string(),
        };
        let advice = error.advice.or_else(|| self.advisor.advise(&error.last));
        let reported = DestinationError::permanent(self.describe(&subject.file), problem);
        let reported = match advice {
            Some(advice) => reported.advise(advice),
            None => reported,
        };
        reported.caused_by(error.last)
    }

    /// Returns the error of a request that sends a part of an unpublished file.
    pub(crate) fn upload_error(&self, subject: &Subject, error: RequestError) -> UploadError {
        let is_lost = error.last.is_upload_lost();
        let error = self.error(subject, error);
        if is_lost {
            UploadError::Lost(error)
        } else {
            UploadError::Failed(error)
        }
    }
}

/// Locks `mutex`. A poisoned one is used as well, because no panic leaves its contents half changed.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Decides whether a small file is read before it is written, because it may exist already.
///
/// A restart finds the files that the killed run wrote, at the beginning of its work; a first run finds none. Files are
/// therefore read, which is cheap, until as many were missing as there are writes in flight; from then on they are only
/// written. A first run pays for that many reads, and a restart does not write correct files again. Nothing is kept
/// about single files, so memory does not grow with their number.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    misses: AtomicUsize,
}

impl Resume {
    pub(crate) fn is_worth_asking(&self) -> bool {
        self.misses.load(Ordering::Relaxed) < PUTS_IN_FLIGHT
    }

    pub(crate) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Api;
    use datagen_settings::Secret;

    fn account(sas: Option<&str>) -> Account {
        Account {
            service: "https://acc.dfs.core.windows.net/".parse().unwrap(),
            filesystem: Some("bronze".into()),
            directory: vec![],
            sas: sas.map(Secret::new),
            api: Api::Dfs,
            stall_timeout: None,
        }
    }

    fn status(status: u16, code: &str) -> AttemptError {
        AttemptError::Http(HttpError::Status {
            status,
            code: Some(code.into()),
            retry_after: None,
        })
    }

    fn users() -> Subject {
        Subject {
            filesystem: "bronze".into(),
            file: "users.json".into(),
        }
    }

    async fn fails(requests: &Requests, error: AttemptError) -> (u32, Duration, String) {
        let (start, mut attempts) = (Instant::now(), 0);
        let failed = requests
            .run(&users(), |_| {
                attempts += 1;
                let error = error.clone();
                async { Err::<(), _>(error) }
            })
            .await
            .unwrap_err();
        (
            attempts,
            start.elapsed(),
            requests.error(&users(), failed).to_string(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_down_fails_the_request_after_two_minutes() {
        let requests = Requests::new(&account(Some("sig=PLANTED")));
        let refused = AttemptError::Http(HttpError::Connect {
            message: "Connection refused".into(),
        });
        let (attempts, elapsed, line) = fails(&requests, refused).await;
        assert!(
            attempts > 10 && elapsed <= TRANSIENT.limit,
            "{attempts} attempts in {elapsed:?}"
        );
        assert!(
            line.contains("Connection refused") && line.contains("tried for"),
            "{line}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_error_fails_at_once_and_says_what_to_check() {
        let valid = "se=2999-01-01T00%3A00%3A00Z&sig=PLANTED";
        let dns = || {
            AttemptError::Http(HttpError::Dns {
                message: "Name or service not known".into(),
            })
        };
        for (sas, error, advice) in [
            (Some(valid), status(403, "AuthenticationFailed"), "copied whole"),
            (
                Some(valid),
                status(403, "AuthorizationPermissionMismatch"),
                "sp=rcwdlm",
            ),
            (Some(valid), status(404, "FilesystemNotFound"), "does not exist"),
            (Some(valid), dns(), "check the account's name"),
            (None, status(401, "InvalidAuthenticationInfo"), "tenant"),
            (Some(valid), status(409, "LeaseIdMissing"), "lease"),
            (Some(valid), status(412, "LeaseIdMissing"), "lease"),
        ] {
            let (attempts, elapsed, line) = fails(&Requests::new(&account(sas)), error).await;
            assert_eq!((attempts, elapsed), (1, Duration::ZERO), "{line}");
            assert!(line.contains(advice), "{line}");
            assert!(
                line.starts_with("https://acc.dfs.core.windows.net/bronze/users.json: "),
                "{line}"
            );
            assert!(!line.contains("PLANTED"), "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_role_is_waited_for_with_entra_id() {
        let requests = Requests::new(&account(None));
        let (_, elapsed, line) = fails(&requests, status(403, "AuthorizationPermissionMismatch")).await;
        assert!(
            elapsed > Duration::from_secs(580) && elapsed <= ROLE_ASSIGNMENT_DELAY,
            "{elapsed:?}"
        );
        assert!(line.contains("Storage Blob Data Contributor"), "{line}");
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honoured() {
        let requests = Requests::new(&account(Some("sig=x")));
        let busy = AttemptError::Http(HttpError::Status {
            status: 503,
            code: None,
            retry_after: Some(Duration::from_secs(30)),
        });
        let start = Instant::now();
        let done = requests
            .run(&users(), |attempt| {
                let busy = busy.clone();
                async move { if attempt == 0 { Err(busy) } else { Ok(attempt) } }
            })
            .await;
        assert_eq!(done.unwrap(), 1);
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_filesystem_that_was_created_and_stays_missing_fails_the_request() {
        for created in [Ok(()), Err(status(409, "ContainerAlreadyExists"))] {
            let requests = Requests::new(&account(Some("sig=x")));
            let (start, mut attempts, mut creations) = (Instant::now(), 0, 0);
            let missing = |_| {
                attempts += 1;
                async { Err::<(), _>(status(404, "ContainerNotFound")) }
            };
            let create = |_| {
                creations += 1;
                let created = created.clone();
                async { created }
            };
            let failed = requests.run_or_create(&users(), missing, create).await;
            let line = requests.error(&users(), failed.unwrap_err()).to_string();
            assert!(line.contains("tried for"), "{line}");
            assert!(start.elapsed() <= TRANSIENT.limit, "{:?}", start.elapsed());
            assert!((10..100).contains(&attempts), "{attempts}");
            assert_eq!(creations, 1);
        }
    }
}
