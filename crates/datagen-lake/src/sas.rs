//! The shared access signature (SAS) in a URL: what can be wrong with its text, and what it allows.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/create-service-sas>,
//! <https://learn.microsoft.com/rest/api/storageservices/create-account-sas>,
//! <https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas>

/// Checks the query of a URL for damage that the service would report only as «authentication failed». The returned
/// problem repeats nothing of the query.
pub(crate) fn check(query: &str) -> Result<(), &'static str> {
    if query.starts_with('?') {
        return Err("has ?? before its SAS: remove one of them");
    }
    if query.contains("&amp;") {
        return Err("has &amp; in its SAS: write & in its place");
    }
    let signature = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("sig="))
        .unwrap_or_default();
    if signature.is_empty() {
        return Err(
            "has no SAS in it (no sig= in its query): give it with its SAS, or use LAKE_URL to sign in with Entra ID",
        );
    }
    // In a query, a plus sign means a space.
    if signature.contains(['+', ' ']) || signature.contains("%20") {
        return Err("has a + in the signature of its SAS (sig=): write it as %2B");
    }
    if signature.contains("%25") {
        return Err("has a SAS whose signature (sig=) is percent-encoded twice: replace %25 by %");
    }
    Ok(())
}

#[cfg(feature = "azure")]
pub(crate) use facts::Sas;

#[cfg(feature = "azure")]
mod facts {
    use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

    /// The fields of a SAS, without its signature.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Sas {
        /// `st`: when it becomes valid.
        pub(crate) start: Option<DateTime<Utc>>,
        /// `se`: when it expires.
        pub(crate) expiry: Option<DateTime<Utc>>,
        /// `ske`: when the user delegation key that signed it expires.
        pub(crate) key_expiry: Option<DateTime<Utc>>,
        /// `sp`: one letter per permission.
        pub(crate) permissions: Option<String>,
        /// `sr`: `c` for a filesystem, `d` for a directory, `b`, `bs` or `bv` for one file.
        pub(crate) resource: Option<String>,
        /// Whether it refers to a stored access policy (`si`), which holds the rest.
        pub(crate) has_policy: bool,
        /// Whether an identity signed it (`skoid`), rather than an account key.
        pub(crate) is_delegated: bool,
    }

    impl Sas {
        /// Parses the query of a URL.
        pub(crate) fn parse(query: &str) -> Self {
            let mut sas = Self::default();
            for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
                match &*name {
                    "st" => sas.start = time(&value),
                    "se" => sas.expiry = time(&value),
                    "ske" => sas.key_expiry = time(&value),
                    "sp" => sas.permissions = Some(value.into_owned()),
                    "sr" => sas.resource = Some(value.into_owned()),
                    "si" => sas.has_policy = true,
                    "skoid" => sas.is_delegated = true,
                    _ => {}
                }
            }
            sas
        }

        /// Returns whether it is for a single file.
        pub(crate) fn is_for_one_file(&self) -> bool {
            matches!(self.resource.as_deref(), Some("b" | "bs" | "bv"))
        }
    }

    /// Parses a time in one of the forms that Azure accepts: to the day, to the minute, to the second or finer.
    /// <https://learn.microsoft.com/rest/api/storageservices/formatting-datetime-values>
    fn time(text: &str) -> Option<DateTime<Utc>> {
        let to_the_minute = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ").ok();
        let to_the_day = || {
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            Some(day.and_time(NaiveTime::MIN))
        };
        match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Some(time.with_timezone(&Utc)),
            Err(_) => to_the_minute().or_else(to_the_day).map(|time| time.and_utc()),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_parameters_are_read() {
            let sas = Sas::parse(
                "sv=2024-11-04&st=2026-01-02T03%3A04%3A05Z&se=2026-02-03T04:05Z&ske=2026-03-04&sp=rl&sr=b&si=p&\
                 skoid=1&sig=PLANTED",
            );
            let at = |text: &str| text.parse::<DateTime<Utc>>().ok();
            assert_eq!(
                sas,
                Sas {
                    start: at("2026-01-02T03:04:05Z"),
                    expiry: at("2026-02-03T04:05:00Z"),
                    key_expiry: at("2026-03-04T00:00:00Z"),
                    permissions: Some("rl".to_owned()),
                    resource: Some("b".to_owned()),
                    has_policy: true,
                    is_delegated: true,
                }
            );
            assert!(sas.is_for_one_file());
            assert_eq!(Sas::parse("sv=1&se=soon&sig=x"), Sas::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_texts_are_noticed() {
        for (query, expected) in [
            ("sv=1&sig=a%2Bb%3D", None),
            ("sv=1&sig=ab/c=", None),
            ("?sv=1&sig=a", Some("??")),
            ("sv=1&amp;sig=a", Some("&amp;")),
            ("sv=1&sig=a+b", Some("%2B")),
            ("sv=1&sig=a%20b", Some("%2B")),
            ("sv=1&sig=a%252Bb", Some("twice")),
            ("sv=1&sig=", Some("has no SAS")),
            ("sv=1", Some("has no SAS")),
            ("", Some("has no SAS")),
        ] {
            match (check(query), expected) {
                (Ok(()), None) => {}
                (Err(problem), Some(expected)) => assert!(problem.contains(expected), "{query}: {problem}"),
                (result, _) => panic!("{query}: {result:?}"),
            }
        }
    }
}
