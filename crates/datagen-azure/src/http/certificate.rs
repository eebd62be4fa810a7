//! Why a server's certificate was refused, in plain words. rustls prints most reasons as the names of its types:
//! `invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))`.

/// The text before the reason in what rustls prints about a certificate.
const PREFIX: &str = "invalid peer certificate: ";

/// The meanings of the reasons that users encounter.
const REASONS: &[(&str, &str)] = &[
    ("UnknownIssuer", "its issuer is not trusted on this machine"),
    (
        "CaUsedAsEndEntity",
        "it is self-signed or that of a certificate authority, and not trusted on this machine",
    ),
    ("Expired", "it has expired"),
    ("NotValidYet", "it is not valid yet"),
    ("NotValidForName", "it is for another host name"),
    ("BadEncoding", "it is malformed"),
    ("BadDer", "it is malformed"),
    ("BadSignature", "its signature is wrong"),
    ("Revoked", "it has been revoked"),
    ("InvalidPurpose", "it is not for servers"),
    ("UnsupportedCertVersion", "its version is not supported"),
];

/// Describes the refused certificate that `text`, a message of rustls, is about; `None` if `text` is about anything else.
pub fn describe_certificate_error(text: &str) -> Option<String> {
    text.split_once(PREFIX)
        .map(|(_, reason)| describe_certificate_reason(reason))
}

/// Describes a refused certificate in one sentence. `reason` is the text that rustls prints for a
/// [`CertificateError`](rustls::CertificateError).
pub fn describe_certificate_reason(reason: &str) -> String {
    // The expiry is followed by seconds of Unix time.
    let reason = reason.split(": verification time").next().unwrap_or(reason);
    // `Other(OtherError(CaUsedAsEndEntity))` and `Context { … }` are names of types; a sentence is readable as it is.
    let name = reason.split([' ', '{']).next().unwrap_or(reason);
    let name = name.trim_end_matches(')').rsplit('(').next().unwrap_or(name);
    let is_name =
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    let known = REASONS
        .iter()
        .find(|(known, _)| *known == name.trim_end_matches("Context"));
    let reason = match known {
        Some((_, meaning)) => (*meaning).to_owned(),
        None if is_name => words(name),
        None => reason.to_owned(),
    };
    format!("the server's certificate was refused: {reason}")
}

/// Returns `UnsupportedSignatureAlgorithm` as `unsupported signature algorithm`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, Error, OtherError};

    use super::*;

    fn described(error: CertificateError) -> String {
        describe_certificate_error(&Error::InvalidCertificate(error).to_string()).unwrap()
    }

    /// Pins the texts that rustls prints.
    #[test]
    fn reasons_are_plain_words() {
        #[derive(Debug, thiserror::Error)]
        #[error("unused")]
        struct CaUsedAsEndEntity;
        #[derive(Debug, thiserror::Error)]
        #[error("unused")]
        struct PathLenConstraintViolated;

        let other = |error: std::sync::Arc<dyn std::error::Error + Send + Sync>| {
            described(CertificateError::Other(OtherError(error)))
        };
        let refused = "the server's certificate was refused: ";
        for (found, reason) in [
            (
                other(std::sync::Arc::new(CaUsedAsEndEntity)),
                "it is self-signed or that of a certificate authority, and not trusted on this machine",
            ),
            (
                other(std::sync::Arc::new(PathLenConstraintViolated)),
                "path len constraint violated",
            ),
            (
                described(CertificateError::UnknownIssuer),
                "its issuer is not trusted on this machine",
            ),
            (described(CertificateError::Expired), "it has expired"),
            (
                described(CertificateError::UnhandledCriticalExtension),
                "unhandled critical extension",
            ),
            (
                described(CertificateError::ExpiredContext {
                    time: rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(20)),
                    not_after: rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                        10,
                    )),
                }),
                "certificate expired",
            ),
            (
                described(CertificateError::NotValidForNameContext {
                    expected: "a.example.com".try_into().unwrap(),
                    presented: vec!["b.example.com".to_owned()],
                }),
                "certificate not valid for name \"a.example.com\"; certificate is only valid for b.example.com",
            ),
        ] {
            assert_eq!(found, format!("{refused}{reason}"));
        }
        assert_eq!(describe_certificate_error("connection refused"), None);
    }
}
