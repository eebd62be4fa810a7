//! What to do about a request that Azure Storage refused, by the service's error code.
//!
//! The codes are those that the documentation gives for the requests of this crate (create, put, append, flush, rename,
//! list, read and delete) and for a SAS:
//! <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>,
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>,
//! <https://learn.microsoft.com/rest/api/storageservices/sas-error-codes>,
//! <https://learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path/create>

use chrono::{DateTime, Utc};

use crate::config::{Account, Api};
use crate::request::AttemptError;
use crate::sas::Sas;
use datagen_azure::http::HttpError;

/// The codes whose advice depends on nothing but the code.
const BY_CODE: &[(&[&str], &str)] = &[
    (
        &["EndpointUnsupportedAccountFeatures"],
        "the account has a feature that the Data Lake API does not support, such as soft delete: set LAKE_API=blob",
    ),
    (
        &["AccountIsDisabled"],
        "the account is disabled: check its state and that of its subscription in the Azure portal",
    ),
    (
        &["AccountBeingCreated"],
        "the account is still being created: run again in a minute",
    ),
    (
        &["AccountRequiresHttps"],
        "the account accepts https only: give an https:// URL",
    ),
    (
        &[
            "AuthorizationFailure",
            "NetworkAclsViolation",
            "PublicAccessNotPermitted",
        ],
        "the account's network rules refuse this address: check its firewall",
    ),
    (
        &["ContainerNotFound", "FilesystemNotFound"],
        "the filesystem does not exist: create it, or give credentials that may",
    ),
    (
        &["ContainerBeingDeleted", "FilesystemBeingDeleted"],
        "the filesystem is being deleted: run again when it is gone, or give another name",
    ),
    (
        &["DestinationPathIsBeingDeleted", "SourcePathIsBeingDeleted"],
        "the file's directory is being deleted: run again when it is gone",
    ),
    (
        &["ContainerDisabled"],
        "an administrator has disabled the filesystem: give another one",
    ),
    (
        &["ResourceNotFound", "AccountNotFound"],
        "there is nothing at this URL: check the account's name",
    ),
    (
        &[
            "InvalidUri",
            "InvalidResourceName",
            "RequestUrlFailedToParse",
            "OutOfRangeInput",
            "InvalidSourceUri",
        ],
        "the service does not accept a name in the URL: check the filesystem and the directories",
    ),
    (
        &[
            "DirectoryNotEmpty",
            "InvalidDestinationPath",
            "InvalidRenameSourcePath",
            "InvalidSourceOrDestinationResourceType",
            "PathAlreadyExists",
            "PathConflict",
            "ResourceAlreadyExists",
            "ResourceTypeMismatch",
        ],
        "a directory is where a file belongs, or a file where a directory belongs: move it, or give another directory",
    ),
    (
        &["RenameDestinationParentPathNotFound"],
        "the file's directory was removed during the run: run again",
    ),
    (
        &[
            "InvalidBlobType",
            "BlobOperationNotSupported",
            "InvalidFlushOperation",
        ],
        "the file was written by a program of another kind and cannot be replaced: remove it, and run again",
    ),
    (
        &["InvalidBlobOrBlock", "InvalidBlockId"],
        "another program has staged blocks for this file in another way: remove the file, and run again",
    ),
    (
        &["BlobImmutableDueToPolicy"],
        "an immutability policy or a legal hold protects the file: give another filesystem or directory",
    ),
    (
        &["BlobArchived", "BlobBeingRehydrated"],
        "the file is in the archive tier: move it to another tier, or remove it",
    ),
    (
        &["BlobUsesCustomerSpecifiedEncryption"],
        "the file is encrypted with a key that its writer provided: remove it, and run again",
    ),
    (
        &["SnapshotsPresent"],
        "the file has snapshots: remove them, and run again",
    ),
    (
        &["PendingCopyOperation", "SystemInUse"],
        "the service is copying or using the file: run again when it is done",
    ),
    (
        &[
            "ConditionNotMet",
            "SourceConditionNotMet",
            "TargetConditionNotMet",
        ],
        "another program changed the file at the same time: make sure that only one runs, and run again",
    ),
    (
        &[
            "BlockCountExceedsLimit",
            "BlockListTooLong",
            "RequestBodyTooLarge",
        ],
        "the file is too large for the service: give a smaller COUNT or a larger SHARD_COUNT",
    ),
    (
        &["Md5Mismatch"],
        "the data was damaged in transit: check the network and proxies, and run again",
    ),
    (
        &[
            "FeatureVersionMismatch",
            "MissingRequiredHeader",
            "MissingRequiredQueryParameter",
            "UnsupportedHeader",
            "UnsupportedHttpVerb",
            "UnsupportedQueryParameter",
            "UnsupportedRestVersion",
        ],
        "this server does not know a request of this API: check LAKE_API, and the version if it is an emulator",
    ),
    (
        &["AuthorizationResourceTypeMismatch"],
        "the SAS must allow containers and objects: srt=sco",
    ),
    (
        &["AuthorizationServiceMismatch"],
        "the SAS must be for the Blob service: ss=b",
    ),
    (
        &["AuthorizationProtocolMismatch"],
        "the SAS is for https only (spr=https): give an https:// URL",
    ),
    (
        &["AuthorizationSourceIPMismatch"],
        "the SAS is bound to another IP address (sip=)",
    ),
    (
        &["UnauthorizedBlobOverwrite"],
        "the SAS may create files but not replace them: it needs the permission to write (w in sp=)",
    ),
];

/// Codes with a common prefix.
const BY_PREFIX: &[(&str, &str)] = &[
    // The service responds with 409, Azurite with 412.
    (
        "Lease",
        "another program holds a lease on the file: break the lease",
    ),
    (
        "KeyVault",
        "the account is encrypted with a key in a key vault that it cannot use: check the key and its permissions",
    ),
];

const FIREWALL: &str = "check that the host can be reached from here (network, firewall, private endpoint)";
const FALLBACK: &str = "check the URL and the account's settings";

/// What advice depends on besides the error.
#[derive(Debug)]
pub(crate) struct Advisor {
    api: Api,
    is_emulator: bool,
    /// `None` when signing in with Microsoft Entra ID.
    sas: Option<Sas>,
}

impl Advisor {
    pub(crate) fn new(account: &Account) -> Self {
        Self {
            api: account.api,
            // Only emulators have the account in the path.
            is_emulator: account.service.path() != "/",
            sas: account.sas.as_ref().map(|sas| Sas::parse(sas.expose())),
        }
    }

    /// Returns what to do about `error`; `None` if the text of the error says it already.
    pub(crate) fn advise(&self, error: &AttemptError) -> Option<String> {
        let advice = match error {
            AttemptError::SignIn(_) => return None,
            AttemptError::Http(HttpError::Dns { .. }) => {
                "there is no such account: check the account's name in the URL"
            }
            AttemptError::Http(HttpError::Certificate { .. }) => {
                "check the host, or set SSL_CERT_FILE to the certificates of the authority that issued it"
            }
            AttemptError::Http(HttpError::TooLong | HttpError::Foreign { .. } | HttpError::Corrupted)
            | AttemptError::Sdk => {
                "a proxy or a sign-in page may answer in place of the service: check the URL, LAKE_API and HTTPS_PROXY"
            }
            AttemptError::Http(HttpError::Status { status, code, .. }) => {
                let code = code.as_deref().unwrap_or_default();
                return Some(self.advise_by_status(*status, code, Utc::now(), error));
            }
            AttemptError::Http(_) => FIREWALL,
        };
        Some(advice.to_owned())
    }

    fn advise_by_status(&self, status: u16, code: &str, now: DateTime<Utc>, error: &AttemptError) -> String {
        if let (401 | 403, Some(sas)) = (status, &self.sas)
            && let Some(advice) = not_valid_now(sas, now)
        {
            return advice;
        }
        // Azurite responds with this code to every SAS that it refuses.
        let is_any_refusal = self.is_emulator && code == "AuthorizationFailure";
        let by_code = BY_CODE
            .iter()
            .find(|(codes, _)| codes.contains(&code) && !is_any_refusal)
            .map(|(_, advice)| *advice);
        let by_prefix = || {
            BY_PREFIX
                .iter()
                .find(|(prefix, _)| code.starts_with(prefix))
                .map(|(_, advice)| *advice)
        };
        let advice = match (status, code) {
            (_, "AuthorizationPermissionMismatch" | "InsufficientAccountPermissions") => {
                return self.permissions();
            }
            (_, "KeyBasedAuthenticationNotPermitted") => {
                "the account accepts neither its keys nor a SAS that was signed with one: put the URL without its SAS \
                 into LAKE_URL, to sign in with Microsoft Entra ID"
            }
            (400, "InvalidHeaderValue") if self.is_emulator => {
                "an emulator that is older than this program refuses its x-ms-version: start Azurite with \
                 --skipApiVersionCheck"
            }
            (400, "InvalidQueryParameterValue" | "OutOfRangeQueryParameterValue") if self.sas.is_some() => {
                "a parameter of the SAS is not valid: create a new SAS and copy it whole"
            }
            // Of two runs, the one that ends first commits its blocks only, or removes the temporary files of both.
            _ if error.is_upload_lost() => {
                "the service lost a part of the file, or another run wrote the same file at the same time: run again, \
                 alone"
            }
            _ => match (by_code.or_else(by_prefix), status, &self.sas) {
                (Some(advice), _, _) => advice,
                (None, 401, None) => {
                    "the token was refused: check that the account is in the identity's tenant"
                }
                (None, 403, None) => {
                    "check the identity's role (Storage Blob Data Contributor) and the account's firewall"
                }
                (None, 401 | 403, Some(sas)) if sas.is_for_one_file() => {
                    "the SAS is for a single file (sr=b): create one for the filesystem (sr=c) or for the account"
                }
                (None, 401 | 403, Some(_)) => {
                    "the SAS was refused: check that it was copied whole, was made for this account and filesystem, is \
                     valid now (st=, se=, and its stored access policy if it has si=), and that the account's firewall \
                     admits this address"
                }
                (None, 429 | 500..=599, _) => {
                    "the service is busy or unavailable: try again later, or lower RATE"
                }
                (None, _, _) => FALLBACK,
            },
        };
        advice.to_owned()
    }

    fn permissions(&self) -> String {
        let Some(sas) = &self.sas else {
            return "give this identity the role Storage Blob Data Contributor on the account or the filesystem".to_owned();
        };
        let (needed, names) = match self.api {
            Api::Blob => ("rcwdl", "read, create, write, delete, list"),
            Api::Dfs => ("rcwdlm", "read, create, write, delete, list, move"),
        };
        let has_all = |permissions: &str| needed.chars().all(|letter| permissions.contains(letter));
        match &sas.permissions {
            Some(permissions) if has_all(permissions) && sas.is_delegated => {
                "the identity that signed the SAS lacks the role Storage Blob Data Contributor".to_owned()
            }
            None if sas.has_policy => {
                format!(
                    "the stored access policy of the SAS (si=) lacks a permission: it needs {needed} ({names})"
                )
            }
            _ => format!("the SAS lacks a permission: it needs sp={needed} ({names})"),
        }
    }
}

/// Returns why `sas` is not valid at the time `now`, if that is the case.
fn not_valid_now(sas: &Sas, now: DateTime<Utc>) -> Option<String> {
    let shown = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M UTC");
    if let Some(expiry) = sas.expiry.filter(|expiry| *expiry <= now) {
        return Some(format!(
            "the SAS expired at {}: make a new one and put it into STORAGE_SAS",
            shown(expiry)
        ));
    }
    if let Some(expiry) = sas.key_expiry.filter(|expiry| *expiry <= now) {
        return Some(format!(
            "the key that signed the SAS expired at {} (ske=): make a new SAS and put it into STORAGE_SAS",
            shown(expiry)
        ));
    }
    let start = sas.start.filter(|start| *start > now)?;
    Some(format!(
        "the SAS is not valid before {} (st=): run later, or check this machine's clock",
        shown(start)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datagen_settings::Secret;

    fn advisor(service: &str, api: Api, sas: Option<&str>) -> Advisor {
        Advisor::new(&Account {
            service: service.parse().unwrap(),
            filesystem: None,
            directory: vec![],
            sas: sas.map(Secret::new),
            api,
            stall_timeout: None,
        })
    }

    const CLOUD: &str = "https://acc.dfs.core.windows.net/";

    fn advice(advisor: &Advisor, status: u16, code: &str) -> String {
        let error = AttemptError::Http(HttpError::Status {
            status,
            code: Some(code.to_owned()),
            retry_after: None,
        });
        advisor.advise(&error).unwrap()
    }

    #[test]
    fn the_advice_depends_on_what_the_sas_says() {
        for (sas, status, code, expected) in [
            (
                "se=2020-01-01&sig=x",
                403,
                "AuthenticationFailed",
                "expired at 2020-01-01 00:00 UTC",
            ),
            (
                "se=2020-01-01T00:00Z&sig=x",
                401,
                "NoAuthenticationInformation",
                "expired at 2020-01-01",
            ),
            (
                "se=2999-01-01&ske=2020-01-01&sig=x",
                403,
                "AuthenticationFailed",
                "the key that signed the SAS expired",
            ),
            (
                "st=2999-01-01&sig=x",
                403,
                "AuthenticationFailed",
                "not valid before 2999-01-01",
            ),
            ("sr=b&sig=x", 403, "AuthenticationFailed", "sr=c"),
            ("sig=x", 403, "AuthenticationFailed", "copied whole"),
            (
                "sp=rl&sig=x",
                403,
                "AuthorizationPermissionMismatch",
                "needs sp=rcwdlm ",
            ),
            (
                "si=p&sig=x",
                403,
                "AuthorizationPermissionMismatch",
                "stored access policy",
            ),
            (
                "sp=racwdlme&skoid=1&sig=x",
                403,
                "AuthorizationPermissionMismatch",
                "identity that signed",
            ),
            (
                "sig=x",
                400,
                "InvalidQueryParameterValue",
                "a parameter of the SAS",
            ),
            ("sig=x", 403, "KeyBasedAuthenticationNotPermitted", "LAKE_URL"),
        ] {
            let advice = advice(&advisor(CLOUD, Api::Dfs, Some(sas)), status, code);
            assert!(advice.contains(expected), "{sas} {code}: {advice}");
        }
        let blob = advisor(CLOUD, Api::Blob, Some("sp=rl&sig=x"));
        assert!(advice(&blob, 403, "AuthorizationPermissionMismatch").contains("needs sp=rcwdl "));
        let entra = advisor(CLOUD, Api::Blob, None);
        assert!(
            advice(&entra, 403, "AuthorizationPermissionMismatch").contains("Storage Blob Data Contributor")
        );
        assert!(advice(&entra, 401, "InvalidAuthenticationInfo").contains("tenant"));
        assert!(advice(&entra, 403, "AuthorizationFailure").contains("network rules"));
        let azurite = advisor(
            "http://127.0.0.1:10000/devstoreaccount1/",
            Api::Blob,
            Some("sig=x"),
        );
        assert!(advice(&azurite, 403, "AuthorizationFailure").contains("the SAS was refused"));
    }

    #[test]
    fn only_an_emulator_is_told_to_skip_the_check_of_versions() {
        for (service, expected) in [(CLOUD, false), ("http://127.0.0.1:10000/devstoreaccount1/", true)] {
            let advice = advice(
                &advisor(service, Api::Blob, Some("sig=x")),
                400,
                "InvalidHeaderValue",
            );
            assert_eq!(advice.contains("--skipApiVersionCheck"), expected, "{advice}");
        }
    }

    /// The codes are those of the documentation, without those about requests that this crate never makes.
    #[test]
    fn every_documented_code_has_advice_of_its_own() {
        let advisor = advisor(CLOUD, Api::Dfs, Some("sig=x"));
        for (status, codes) in [
            (
                400,
                "AccountRequiresHttps InvalidBlobOrBlock InvalidBlockId InvalidBlockList InvalidFlushPosition InvalidUri InvalidResourceName InvalidSourceUri MissingRequiredHeader MissingRequiredQueryParameter UnsupportedHeader UnsupportedQueryParameter UnsupportedRestVersion OutOfRangeInput RequestUrlFailedToParse InvalidQueryParameterValue OutOfRangeQueryParameterValue Md5Mismatch BlockListTooLong",
            ),
            (401, "NoAuthenticationInformation InvalidAuthenticationInfo"),
            (
                403,
                "AccountIsDisabled AuthenticationFailed AuthorizationFailure AuthorizationPermissionMismatch AuthorizationProtocolMismatch AuthorizationResourceTypeMismatch AuthorizationServiceMismatch AuthorizationSourceIPMismatch InsufficientAccountPermissions KeyBasedAuthenticationNotPermitted UnauthorizedBlobOverwrite KeyVaultEncryptionKeyNotFound",
            ),
            (
                404,
                "ContainerNotFound FilesystemNotFound PathNotFound SourcePathNotFound RenameDestinationParentPathNotFound ResourceNotFound",
            ),
            (405, "UnsupportedHttpVerb"),
            (
                409,
                "AccountBeingCreated BlobArchived BlobBeingRehydrated BlobImmutableDueToPolicy BlobUsesCustomerSpecifiedEncryption BlockCountExceedsLimit ContainerBeingDeleted ContainerDisabled DestinationPathIsBeingDeleted DirectoryNotEmpty EndpointUnsupportedAccountFeatures FeatureVersionMismatch FilesystemBeingDeleted InvalidBlobType InvalidDestinationPath InvalidFlushOperation InvalidRenameSourcePath InvalidSourceOrDestinationResourceType LeaseAlreadyPresent PathAlreadyExists PathConflict PendingCopyOperation PublicAccessNotPermitted ResourceTypeMismatch SnapshotsPresent SourcePathIsBeingDeleted SystemInUse",
            ),
            (
                412,
                "ConditionNotMet LeaseIdMissing LeaseLost SourceConditionNotMet TargetConditionNotMet",
            ),
            (413, "RequestBodyTooLarge"),
            (500, "InternalError OperationTimedOut"),
            (503, "ServerBusy"),
        ] {
            for code in codes.split(' ') {
                let advice = advice(&advisor, status, code);
                assert_ne!(advice, FALLBACK, "{status} {code}");
            }
        }
        assert_eq!(advice(&advisor, 400, "SomethingNew"), FALLBACK);
    }

    #[test]
    fn no_code_is_declared_twice() {
        let mut codes: Vec<_> = BY_CODE.iter().flat_map(|(codes, _)| *codes).collect();
        let all = codes.len();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
