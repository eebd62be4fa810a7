//! One request to a storage account, seen through: what is tried again and for how long, and what is said
//! when it fails for good. Both doors share it; their SDKs' own retries are off.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use tokio::time::{Instant, sleep};

use super::Total;
use super::config::{Account, Api};
use super::upload::PUTS_IN_FLIGHT;
use datagen_azure::entra::{EntraError, ROLE_ASSIGNMENT_DELAY};
use datagen_azure::http::Failure;
use datagen_process::error::{DestinationError, causes};
use datagen_process::retry::Backoff;

/// How long a request is tried again before the run is given up: longer than a storage partition takes to
/// move or a gateway to restart.
const PATIENCE: Duration = Duration::from_secs(120);

/// The pauses between attempts.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(10),
};

/// The longest pause that a server's Retry-After is granted.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a request failed.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The request itself.
    Http(Failure),
    /// Signing in, before the request.
    SignIn(EntraError),
    /// The SDK could not make the request or read the answer.
    Sdk,
}

impl Fault {
    /// Finds the reason in an SDK's error.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Self {
        for cause in causes(error) {
            if let Some(error) = cause.downcast_ref::<EntraError>() {
                return Self::SignIn(error.clone());
            }
            if let Some(failure) = cause.downcast_ref::<Failure>() {
                return Self::Http(failure.clone());
            }
        }
        // The client turns what is not a success into a failure; the SDK checks that it is the documented one.
        let undocumented = error
            .downcast_ref::<azure_core::Error>()
            .and_then(|error| error.http_status());
        match undocumented {
            Some(status) => Self::Http(Failure::Foreign {
                status: status.into(),
            }),
            // Its text may repeat the URL, and with it the SAS, or what the server sent.
            None => Self::Sdk,
        }
    }

    /// The answer's status and the service's code for it.
    pub(crate) fn status(&self) -> Option<(u16, &str)> {
        match self {
            Self::Http(Failure::Status { status, code, .. }) => {
                Some((*status, code.as_deref().unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// Whether the service no longer has what was sent to it for an unfinished file, because it lost it or another
    /// run removed it. Sending the file again from its beginning can help.
    fn has_lost_parts(&self) -> bool {
        matches!(
            self.status(),
            Some(
                (400, "InvalidBlockList" | "InvalidFlushPosition")
                    | (404, "PathNotFound" | "SourcePathNotFound")
            )
        )
    }

    /// Whether the filesystem (container) does not exist. The two doors have a code each.
    pub(crate) fn is_missing_filesystem(&self) -> bool {
        matches!(
            self.status(),
            Some((404, "ContainerNotFound" | "FilesystemNotFound"))
        )
    }

    fn is_transient(&self, answered: bool) -> bool {
        match self {
            // Before the account has ever answered, its name is taken to be wrong, unless the resolver itself
            // says that it is in trouble (EAI_AGAIN, as glibc and musl print it).
            Self::Http(Failure::Dns { message }) => {
                answered || message.contains("Temporary failure") || message.contains("Try again")
            }
            Self::Http(Failure::Connect { certificate, .. }) => !certificate,
            Self::Http(Failure::Stalled { .. } | Failure::Io { .. } | Failure::Corrupted) => true,
            Self::Http(Failure::TooLong | Failure::Foreign { .. }) | Self::Sdk => false,
            Self::Http(Failure::Status { status, code, .. }) => {
                matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
                    || code.as_deref().is_some_and(|code| code.ends_with("BeingDeleted"))
            }
            Self::SignIn(error) => !error.is_permanent(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http(Failure::Status { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Http(failure) => failure.to_string(),
            Self::SignIn(error) => error.to_string(),
            Self::Sdk => "the request could not be made, or its answer not be read".to_owned(),
        }
    }
}

/// A fault that was not tried again, or was for as long as it may be.
#[derive(Clone, Debug)]
pub(crate) struct GaveUp {
    pub(crate) fault: Fault,
    /// How long it was tried; `None` if the fault was permanent.
    tried: Option<Duration>,
    /// What to do, where that does not follow from the fault.
    advice: Option<String>,
}

impl GaveUp {
    /// Whether the service refused the request, rather than was out of order or out of reach.
    pub(crate) fn is_answer(&self) -> bool {
        self.tried.is_none() && self.fault.status().is_some()
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

/// Sends requests to one account until they succeed or cannot.
#[derive(Debug)]
pub(crate) struct Requests {
    /// The URL without its query.
    destination: String,
    is_emulator: bool,
    api: Api,
    signs_in: bool,
    /// When the SAS expires, as it says itself.
    expiry: Option<DateTime<Utc>>,
    /// Whether the account has answered at all.
    answered: AtomicBool,
    /// The filesystems that were made, or found when they were to be made.
    made: std::sync::Mutex<HashSet<String>>,
    /// Held while one is being made.
    making: tokio::sync::Mutex<()>,
}

impl Requests {
    pub(crate) fn new(account: &Account) -> Self {
        let expiry = account.sas.as_ref().and_then(|sas| {
            let mut parameters = url::form_urlencoded::parse(sas.expose().as_bytes());
            let (_, se) = parameters.find(|(name, _)| name == "se")?;
            sas_time(&se)
        });
        Self {
            destination: account.to_string(),
            // Only emulators have the account in the path.
            is_emulator: account.service.path() != "/",
            api: account.api,
            signs_in: account.sas.is_none(),
            expiry,
            answered: AtomicBool::new(false),
            made: std::sync::Mutex::default(),
            making: tokio::sync::Mutex::default(),
        }
    }

    fn made(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        lock(&self.made)
    }

    /// As [`run`](Self::run), for the first requests to a filesystem: if it is missing, it is made by `create`.
    pub(crate) async fn run_or_create<T, F, C>(
        &self,
        subject: &Subject,
        mut attempt: impl FnMut(u32) -> F,
        create: impl FnMut(u32) -> C,
    ) -> Result<T, GaveUp>
    where
        F: Future<Output = Result<T, Fault>>,
        C: Future<Output = Result<(), Fault>>,
    {
        match self.run(subject, &mut attempt).await {
            Err(missing) if missing.fault.is_missing_filesystem() && missing.tried.is_none() => {
                self.create(subject, missing, create).await?;
                self.run(subject, attempt).await
            }
            result => result,
        }
    }

    async fn create<C>(
        &self,
        subject: &Subject,
        missing: GaveUp,
        create: impl FnMut(u32) -> C,
    ) -> Result<(), GaveUp>
    where
        C: Future<Output = Result<(), Fault>>,
    {
        let filesystem = &subject.filesystem;
        let _making = self.making.lock().await;
        if self.made().contains(filesystem) {
            return Ok(());
        }
        match self.run(subject, create).await {
            Ok(()) => tracing::info!("created the filesystem {filesystem}"),
            // Somebody else has made it.
            Err(GaveUp {
                fault, tried: None, ..
            }) if matches!(fault.status(), Some((409, _))) => {}
            Err(GaveUp { fault, .. }) if matches!(fault.status(), Some((401 | 403, _))) => {
                return Err(GaveUp {
                    advice: Some(format!(
                        "the filesystem {filesystem} does not exist and these credentials may not create it: create it first"
                    )),
                    ..missing
                });
            }
            Err(gave_up) => return Err(gave_up),
        }
        self.made().insert(filesystem.clone());
        Ok(())
    }

    fn is_worth_another_attempt(&self, subject: &Subject, fault: &Fault) -> bool {
        // A new filesystem takes a while to be known everywhere.
        let is_new = || fault.is_missing_filesystem() && self.made().contains(&subject.filesystem);
        fault.is_transient(self.answered.load(Ordering::Relaxed)) || is_new()
    }

    /// Makes attempts, numbered from 0, until one succeeds or there is no use in more.
    pub(crate) async fn run<T, F>(
        &self,
        subject: &Subject,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T, GaveUp>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let what = &subject.file;
        let start = Instant::now();
        let mut attempts = 0;
        loop {
            let fault = match attempt(attempts).await {
                Ok(value) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(fault) => fault,
            };
            if fault.status().is_some() {
                self.answered.store(true, Ordering::Relaxed);
            }
            let waits_for_role =
                self.signs_in && matches!(fault.status(), Some((403, "AuthorizationPermissionMismatch")));
            if !waits_for_role && !self.is_worth_another_attempt(subject, &fault) {
                return Err(GaveUp {
                    fault,
                    tried: None,
                    advice: None,
                });
            }
            let (patience, pause) = if waits_for_role {
                (ROLE_ASSIGNMENT_DELAY, Duration::from_secs(10))
            } else {
                (
                    PATIENCE,
                    BACKOFF
                        .pause(attempts)
                        .max(fault.retry_after().unwrap_or_default().min(LONGEST_PAUSE)),
                )
            };
            if start.elapsed() + pause > patience {
                return Err(GaveUp {
                    fault,
                    tried: Some(start.elapsed()),
                    advice: None,
                });
            }
            if waits_for_role {
                tracing::warn!(
                    "{what}: {}: a new role assignment takes minutes to arrive; waiting up to 10 minutes for it",
                    fault.text()
                );
            } else if attempts >= 3 {
                tracing::warn!(
                    "{what}: {}; trying again in {} ms",
                    fault.text(),
                    pause.as_millis()
                );
            } else {
                tracing::debug!(
                    "{what}: {}; trying again in {} ms",
                    fault.text(),
                    pause.as_millis()
                );
            }
            sleep(pause).await;
            attempts += 1;
        }
    }

    /// How a file is named in messages.
    pub(crate) fn describe(&self, file: &str) -> String {
        format!("{}{file}", self.destination)
    }

    /// What a question about published files found: nothing where there is no file or filesystem, `None` where
    /// the credentials may not ask.
    pub(crate) fn found(
        &self,
        subject: &Subject,
        answer: Result<Total, GaveUp>,
    ) -> Result<Option<Total>, DestinationError> {
        match answer {
            Ok(total) => Ok(Some(total)),
            Err(gave_up) => match gave_up.fault.status() {
                Some((404, _)) => Ok(Some(Total::default())),
                Some((403, "AuthorizationPermissionMismatch" | "InsufficientAccountPermissions")) => Ok(None),
                _ => Err(self.error(subject, &gave_up)),
            },
        }
    }

    /// The one line for a person.
    pub(crate) fn error(&self, subject: &Subject, gave_up: &GaveUp) -> DestinationError {
        let destination = self.describe(&subject.file);
        let problem = match gave_up.tried {
            Some(tried) => format!("{} (tried for {} s)", gave_up.fault.text(), tried.as_secs()),
            None => gave_up.fault.text(),
        };
        let error = DestinationError {
            transient: gave_up.fault.has_lost_parts(),
            ..DestinationError::permanent(destination, problem)
        };
        match gave_up.advice.clone().or_else(|| self.advice(&gave_up.fault)) {
            Some(advice) => error.advise(advice),
            None => error,
        }
    }

    fn advice(&self, fault: &Fault) -> Option<String> {
        if let Fault::Http(Failure::Dns { .. }) = fault {
            return Some("there is no such account: check the account's name in the URL".to_owned());
        }
        if let Fault::Http(Failure::Connect {
            certificate: true, ..
        }) = fault
        {
            return Some(
                "the certificate is not trusted here: check the host, or set SSL_CERT_FILE".to_owned(),
            );
        }
        if let Fault::Http(Failure::TooLong | Failure::Foreign { .. } | Failure::Corrupted) | Fault::Sdk =
            fault
        {
            return Some(
                "a proxy or a sign-in page may answer in place of the service: check the URL, LAKE_API and \
                 HTTPS_PROXY"
                    .to_owned(),
            );
        }
        let Some((status, code)) = fault.status() else {
            return matches!(fault, Fault::Http(_)).then(|| {
                "check that the host can be reached from here (network, firewall, private endpoint)"
                    .to_owned()
            });
        };
        let advice = match (status, code) {
            (401 | 403, _) if self.expiry.is_some_and(|expiry| expiry <= Utc::now()) => {
                let expiry = self.expiry.unwrap_or_default().format("%Y-%m-%d %H:%M UTC");
                return Some(format!(
                    "the SAS expired at {expiry}: make a new one and put it into STORAGE_SAS"
                ));
            }
            (403, "AuthorizationPermissionMismatch" | "InsufficientAccountPermissions") if self.signs_in => {
                "give this identity the role Storage Blob Data Contributor on the account or the filesystem"
            }
            (403, "AuthorizationPermissionMismatch" | "InsufficientAccountPermissions") => match self.api {
                Api::Blob => {
                    "the SAS lacks a permission: it needs sp=rcwdl (read, create, write, delete, list)"
                }
                Api::Dfs => {
                    "the SAS lacks a permission: it needs sp=rcwdlm (read, create, write, delete, list, move)"
                }
            },
            (403, "AuthorizationResourceTypeMismatch") => {
                "the SAS must allow containers and objects: srt=sco"
            }
            (403, "AuthorizationServiceMismatch") => "the SAS must be for the Blob service: ss=b",
            (403, "AuthorizationProtocolMismatch") => "the SAS is for https only (spr=https)",
            (403, "AuthorizationSourceIPMismatch") => "the SAS is bound to another IP address (sip=)",
            (403, "PublicAccessNotPermitted" | "NetworkAclsViolation") => {
                "the account's network rules refuse this address: check its firewall"
            }
            (401, _) if self.signs_in => {
                "the token was refused: check that the account is in the identity's tenant"
            }
            (403, _) if self.signs_in => {
                "check the identity's role (Storage Blob Data Contributor) and the account's firewall"
            }
            (401 | 403, _) => {
                "the SAS was refused: check that it was copied whole, is valid now (st=, se=), was made for this \
                 account and filesystem, and that the account's firewall lets this address in"
            }
            (400, "InvalidHeaderValue") if self.is_emulator => {
                "an emulator that is older than this program refuses its x-ms-version: start Azurite with \
                 --skipApiVersionCheck"
            }
            (404, "ContainerNotFound" | "FilesystemNotFound") => {
                "the filesystem does not exist: create it, or give credentials that may"
            }
            (400, "InvalidBlobOrBlock") => {
                "another program has staged blocks for this file in another way: remove the file, and run again"
            }
            // The service says 409, Azurite 412.
            (409 | 412, code) if code.starts_with("Lease") => "somebody holds a lease on the file: break it",
            // The run that ends first commits its own blocks, or removes the temporary files of both.
            _ if fault.has_lost_parts() => {
                "the service lost a part of the file, or another run wrote the same file at the same time: run \
                 again, alone"
            }
            (429 | 500..=599, _) => "the service is busy or out of order: try again later, or lower RATE",
            _ => "check the URL and the account's settings",
        };
        Some(advice.to_owned())
    }
}

/// What `mutex` guards, which no panic leaves half changed here.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A time of a SAS, in one of the forms that Azure takes: to the day, to the minute, to the second or finer.
/// <https://learn.microsoft.com/rest/api/storageservices/formatting-datetime-values>
fn sas_time(text: &str) -> Option<DateTime<Utc>> {
    let to_the_minute = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").ok();
    let to_the_day = || {
        Some(
            NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()?
                .and_time(NaiveTime::MIN),
        )
    };
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Some(time.with_timezone(&Utc)),
        Err(_) => to_the_minute().or_else(to_the_day).map(|time| time.and_utc()),
    }
}

/// Whether it is worth asking what is already in the lake before writing a small file.
///
/// A restart finds the files that the killed run wrote, at the beginning of its work; a first run finds
/// none. So it asks, one cheap read each, until as many answers were no as there are puts under way at once,
/// and then only writes:
/// a first run pays for that many questions, and a restart does not pay again for what is right. Nothing is
/// remembered about single files, so memory does not grow with their number.
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

    fn status(status: u16, code: &str) -> Fault {
        Fault::Http(Failure::Status {
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

    async fn fails(requests: &Requests, fault: Fault) -> (u32, Duration, String) {
        let (start, mut attempts) = (Instant::now(), 0);
        let gave_up = requests
            .run(&users(), |_| {
                attempts += 1;
                let fault = fault.clone();
                async { Err::<(), _>(fault) }
            })
            .await
            .unwrap_err();
        (
            attempts,
            start.elapsed(),
            requests.error(&users(), &gave_up).to_string(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_server_is_given_up_within_two_minutes() {
        let requests = Requests::new(&account(Some("sig=PLANTED")));
        let refused = Fault::Http(Failure::Connect {
            message: "Connection refused".into(),
            certificate: false,
        });
        let (attempts, elapsed, line) = fails(&requests, refused).await;
        assert!(
            attempts > 10 && elapsed <= PATIENCE,
            "{attempts} attempts in {elapsed:?}"
        );
        assert!(
            line.contains("Connection refused") && line.contains("tried for"),
            "{line}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_mend_fails_at_once_and_says_what_to_check() {
        let expired = "se=2020-01-01T00%3A00%3A00Z&sig=PLANTED";
        let expired_to_the_minute = "sv=2022-11-02&se=2020-01-01T00:00Z&sig=PLANTED";
        let expired_to_the_day = "se=2020-01-01&sig=PLANTED";
        let valid = "se=2999-01-01T00%3A00%3A00Z&sig=PLANTED";
        let dns = || {
            Fault::Http(Failure::Dns {
                message: "Name or service not known".into(),
            })
        };
        for (sas, fault, advice) in [
            (Some(valid), status(403, "AuthenticationFailed"), "copied whole"),
            (
                Some(expired),
                status(403, "AuthenticationFailed"),
                "expired at 2020-01-01 00:00 UTC",
            ),
            (
                Some(expired_to_the_minute),
                status(403, "AuthenticationFailed"),
                "expired at 2020-01-01 00:00 UTC",
            ),
            (
                Some(expired_to_the_day),
                status(401, "AuthenticationFailed"),
                "expired at 2020-01-01 00:00 UTC",
            ),
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
            let (attempts, elapsed, line) = fails(&Requests::new(&account(sas)), fault).await;
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
    async fn an_old_emulator_is_told_how_to_start() {
        let cloud = account(Some("sig=x"));
        let emulator = Account {
            service: "http://127.0.0.1:10000/devstoreaccount1/".parse().unwrap(),
            ..cloud.clone()
        };
        for (account, expected) in [(cloud, false), (emulator, true)] {
            let refused = status(400, "InvalidHeaderValue");
            let (_, _, line) = fails(&Requests::new(&account), refused).await;
            assert_eq!(line.contains("--skipApiVersionCheck"), expected, "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_role_is_waited_for_under_entra_id() {
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
        let busy = Fault::Http(Failure::Status {
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
    async fn a_filesystem_that_was_made_and_stays_missing_is_given_up() {
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
            let gave_up = requests.run_or_create(&users(), missing, create).await;
            let line = requests.error(&users(), &gave_up.unwrap_err()).to_string();
            assert!(line.contains("tried for"), "{line}");
            assert!(start.elapsed() <= PATIENCE, "{:?}", start.elapsed());
            assert!((10..100).contains(&attempts), "{attempts}");
            assert_eq!(creations, 1);
        }
    }
}
