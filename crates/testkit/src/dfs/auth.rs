//! Authorization: shared access signatures, which are checked as the service does, and bearer tokens.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Duration, Utc};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::form_urlencoded;

use super::store::ServiceError;

/// The permissions that a request needs: letters of a SAS's permissions (`sp`), any one of which is sufficient.
/// <https://learn.microsoft.com/rest/api/storageservices/create-service-sas#specify-permissions>
pub type Needs = &'static [char];

/// The account whose signatures are accepted.
#[derive(Debug, Clone)]
pub struct SharedKeyAccount {
    /// The name of the account.
    pub name: String,
    /// The key of the account, in base64.
    pub key: String,
}

/// The resources that a SAS gives access to.
#[derive(Debug, Clone, Copy)]
pub enum SasScope<'a> {
    /// Everything in the account.
    Account,
    /// One filesystem.
    Filesystem(&'a str),
}

const DENIED: ServiceError = ServiceError(403, "AuthenticationFailed");
const NOT_PERMITTED: ServiceError = ServiceError(403, "AuthorizationPermissionMismatch");

impl SharedKeyAccount {
    /// Returns the emulators' well-known account.
    /// <https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key>
    pub fn emulator() -> Self {
        Self {
            name: "devstoreaccount1".to_owned(),
            key: "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
                .to_owned(),
        }
    }

    /// Returns a SAS with `permissions` (such as `rwdlacm`) that is valid for `lifetime` from now.
    pub fn sas(&self, scope: SasScope<'_>, permissions: &str, lifetime: Duration) -> String {
        let expiry = (Utc::now() + lifetime).format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut pairs = vec![("sv", "2021-12-02"), ("sp", permissions), ("se", &expiry)];
        match scope {
            SasScope::Account => pairs.extend([("ss", "b"), ("srt", "sco")]),
            SasScope::Filesystem(_) => pairs.push(("sr", "c")),
        }
        let filesystem = match scope {
            SasScope::Account => "",
            SasScope::Filesystem(name) => name,
        };
        let find = |name: &str| pairs.iter().find(|pair| pair.0 == name).map_or("", |pair| pair.1);
        let signature = self.sign(&self.string_to_sign(find, filesystem));
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&pairs)
            .append_pair("sig", &signature)
            .finish()
    }

    /// Checks the SAS in `query` for a request to `filesystem`.
    ///
    /// # Errors
    /// 403 with the service's codes: `AuthenticationFailed` for a signature that is wrong, expired or for a different
    /// filesystem, `AuthorizationPermissionMismatch` for one that lacks a permission.
    pub fn check_sas(&self, query: &str, filesystem: &str, needs: Needs) -> Result<(), ServiceError> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let find = |name: &str| {
            pairs
                .iter()
                .find(|pair| pair.0 == name)
                .map_or("", |pair| pair.1.as_str())
        };
        // Earlier versions are signed in other formats, which no current tool produces; Terraform produces this one.
        if find("sv") < "2018-11-09" || find("sig").is_empty() {
            return Err(DENIED);
        }
        if self.sign(&self.string_to_sign(find, filesystem)) != find("sig") {
            return Err(DENIED);
        }
        let now = Utc::now();
        // <https://learn.microsoft.com/rest/api/storageservices/formatting-datetime-values>
        let time = |text: &str| {
            let padded = match text.len() {
                10 => format!("{text}T00:00:00Z"),
                17 => format!("{}:00Z", &text[..16]),
                _ => text.to_owned(),
            };
            let time = DateTime::parse_from_rfc3339(&padded).ok()?;
            Some(time.with_timezone(&Utc))
        };
        if time(find("se")).is_none_or(|end| end <= now) || time(find("st")).is_some_and(|start| start > now)
        {
            return Err(DENIED);
        }
        if !needs.iter().any(|permission| find("sp").contains(*permission)) {
            return Err(NOT_PERMITTED);
        }
        Ok(())
    }

    /// <https://learn.microsoft.com/rest/api/storageservices/create-account-sas#construct-the-signature-string> and
    /// <https://learn.microsoft.com/rest/api/storageservices/create-service-sas#version-2020-12-06-and-later>; in
    /// versions from 2018-11-09 until the latter, there is no encryption scope, `ses`.
    fn string_to_sign<'p>(&self, find: impl Fn(&str) -> &'p str, filesystem: &str) -> String {
        let resource = format!("/blob/{}/{filesystem}", self.name);
        let value = |name: &str| match name {
            "=account" => self.name.clone(),
            "=resource" => resource.clone(),
            "=nothing" => String::new(),
            name => find(name).to_owned(),
        };
        let names: &[&str] = if find("ss").is_empty() {
            &[
                "sp",
                "st",
                "se",
                "=resource",
                "si",
                "sip",
                "spr",
                "sv",
                "sr",
                "=nothing",
                "ses",
                "rscc",
                "rscd",
                "rsce",
                "rscl",
                "rsct",
            ]
        } else {
            &[
                "=account", "sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses", "=nothing",
            ]
        };
        let has_scope = find("sv") >= "2020-12-06";
        let signed = names.iter().filter(|name| has_scope || **name != "ses");
        signed.map(|name| value(name)).collect::<Vec<_>>().join("\n")
    }

    fn sign(&self, text: &str) -> String {
        let key = STANDARD.decode(&self.key).expect("an account's key is base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_bound_to_scope_time_and_permissions() {
        let account = SharedKeyAccount::emulator();
        let hour = Duration::hours(1);
        let sas = account.sas(SasScope::Account, "rw", hour);
        assert_eq!(account.check_sas(&sas, "lake", &['w']), Ok(()));
        assert_eq!(account.check_sas(&sas, "lake", &['d']), Err(NOT_PERMITTED));
        assert_eq!(
            account.check_sas(&sas.replace("sp=rw", "sp=rwd"), "lake", &['d']),
            Err(DENIED)
        );
        let expired = account.sas(SasScope::Account, "rw", -hour);
        assert_eq!(account.check_sas(&expired, "lake", &['w']), Err(DENIED));
        let container = account.sas(SasScope::Filesystem("lake"), "rw", hour);
        assert_eq!(account.check_sas(&container, "lake", &['w']), Ok(()));
        assert_eq!(account.check_sas(&container, "other", &['w']), Err(DENIED));
        assert_eq!(account.check_sas("", "lake", &['w']), Err(DENIED));
    }

    /// A SAS as azurerm_storage_account_blob_container_sas makes it.
    #[test]
    fn a_signature_without_an_encryption_scope_counts() {
        let account = SharedKeyAccount::emulator();
        let text = "racwdl\n\n2999-01-01\n/blob/devstoreaccount1/lake\n\n\nhttps\n2018-11-09\nc\n\n\n\n\n\n";
        let sas = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("sp", "racwdl"), ("se", "2999-01-01"), ("spr", "https")])
            .extend_pairs([("sv", "2018-11-09"), ("sr", "c"), ("sig", &account.sign(text))])
            .finish();
        assert_eq!(account.check_sas(&sas, "lake", &['w']), Ok(()));
        assert_eq!(account.check_sas(&sas, "other", &['w']), Err(DENIED));
        let older = sas.replace("2018-11-09", "2018-03-28");
        assert_eq!(account.check_sas(&older, "lake", &['w']), Err(DENIED));
    }
}
