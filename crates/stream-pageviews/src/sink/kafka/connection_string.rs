//! Event Hubs connection strings: `Endpoint=sb://HOST/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=HUB`.
//!
//! <https://learn.microsoft.com/azure/event-hubs/event-hubs-get-connection-string>. The Kafka endpoint takes the
//! whole string as a password and says no more than "authentication failed", so what can be told beforehand is.

use std::fmt;

/// A connection string whose parts are there; its key is only in [`ConnectionString::secret`].
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    whole: String,
    host: String,
    entity_path: Option<String>,
}

/// What is wrong with a connection string, in words that never contain the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// The value carries the quotation marks of a shell or a file.
    #[error("must not be in quotation marks")]
    Quoted,
    /// A part without `=`, most often because the string was cut at a `;` by a shell.
    #[error(
        "has a part that is not NAME=VALUE; give the whole string, quoted in the shell because of its ';'"
    )]
    Malformed,
    /// A part is missing.
    #[error("has no {0}=; copy the whole connection string of the event hub's shared access policy")]
    Missing(&'static str),
    /// `Endpoint=` is not `sb://HOST/`.
    #[error("has an Endpoint that is not sb://NAMESPACE.servicebus.windows.net/")]
    Endpoint,
    /// The string belongs to another namespace.
    #[error("is for {found}, but the events go to {expected}")]
    OtherHost {
        /// The host in the string.
        found: String,
        /// The host that events are sent to.
        expected: String,
    },
    /// The string belongs to another event hub.
    #[error("is for the event hub '{found}' (EntityPath), but it must be for '{expected}'")]
    OtherHub {
        /// The event hub in the string.
        found: String,
        /// The event hub that it is used for.
        expected: String,
    },
}

impl ConnectionString {
    /// Takes a connection string apart.
    ///
    /// # Errors
    /// When a part that Event Hubs needs is missing or malformed.
    pub fn parse(value: &str) -> Result<Self, ConnectionStringError> {
        let whole = value.trim();
        if whole.starts_with(['"', '\'']) {
            return Err(ConnectionStringError::Quoted);
        }
        let (mut endpoint, mut entity_path) = (None, None);
        let (mut name, mut key, mut signature) = (false, false, false);
        for part in whole.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (field, value) = part.split_once('=').ok_or(ConnectionStringError::Malformed)?;
            let given = !value.trim().is_empty();
            match field.trim().to_ascii_lowercase().as_str() {
                "endpoint" => endpoint = Some(value.trim()),
                "sharedaccesskeyname" => name = given,
                "sharedaccesskey" => key = given,
                "sharedaccesssignature" => signature = given,
                "entitypath" => entity_path = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        let endpoint = endpoint.ok_or(ConnectionStringError::Missing("Endpoint"))?;
        if !signature {
            if !name {
                return Err(ConnectionStringError::Missing("SharedAccessKeyName"));
            }
            if !key {
                return Err(ConnectionStringError::Missing("SharedAccessKey"));
            }
        }
        let host = endpoint
            .strip_prefix("sb://")
            .map(|rest| rest.trim_end_matches('/'))
            .and_then(|rest| rest.split(':').next())
            .filter(|host| !host.is_empty() && !host.contains('/'))
            .ok_or(ConnectionStringError::Endpoint)?
            .to_ascii_lowercase();
        Ok(Self {
            whole: whole.to_owned(),
            host,
            entity_path,
        })
    }

    /// Checks that the string opens this event hub, and of this host if one is given.
    ///
    /// The emulator's strings (`UseDevelopmentEmulator=true`) and those of a whole namespace name no event hub;
    /// the former always name `localhost`, wherever the emulator is reached.
    ///
    /// # Errors
    /// [`ConnectionStringError::OtherHost`], [`ConnectionStringError::OtherHub`].
    pub fn check(&self, host: Option<&str>, hub: &str) -> Result<(), ConnectionStringError> {
        if let Some(host) = host
            && !self.host.eq_ignore_ascii_case(host)
            && !self.is_emulator()
        {
            return Err(ConnectionStringError::OtherHost {
                found: self.host.clone(),
                expected: host.to_owned(),
            });
        }
        match &self.entity_path {
            Some(found) if !found.eq_ignore_ascii_case(hub) => Err(ConnectionStringError::OtherHub {
                found: found.clone(),
                expected: hub.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The whole string, which is the SASL password. It must not be printed.
    pub fn secret(&self) -> &str {
        &self.whole
    }

    fn is_emulator(&self) -> bool {
        self.whole.split(';').any(|part| {
            part.trim().split_once('=').is_some_and(|(field, value)| {
                field.eq_ignore_ascii_case("UseDevelopmentEmulator") && value.eq_ignore_ascii_case("true")
            })
        })
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString")
            .field("host", &self.host)
            .field("entity_path", &self.entity_path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Endpoint=sb://Playground.servicebus.windows.net/;SharedAccessKeyName=send;\
                        SharedAccessKey=PLANTEDkey+/=;EntityPath=pageviews";

    #[test]
    fn a_hubs_own_string_opens_that_hub_only() {
        let string = ConnectionString::parse(GOOD).unwrap();
        assert_eq!(
            string.check(Some("playground.servicebus.windows.net"), "pageviews"),
            Ok(())
        );
        assert_eq!(
            string
                .check(Some("playground.servicebus.windows.net"), "stars")
                .unwrap_err()
                .to_string(),
            "is for the event hub 'pageviews' (EntityPath), but it must be for 'stars'"
        );
        assert_eq!(
            string
                .check(Some("other.servicebus.windows.net"), "pageviews")
                .unwrap_err()
                .to_string(),
            "is for playground.servicebus.windows.net, but the events go to other.servicebus.windows.net"
        );
        assert_eq!(string.secret(), GOOD);
    }

    #[test]
    fn a_namespaces_string_opens_every_hub() {
        let string = GOOD.replace(";EntityPath=pageviews", "");
        let string = ConnectionString::parse(&string).unwrap();
        assert_eq!(
            string.check(Some("playground.servicebus.windows.net"), "stars"),
            Ok(())
        );
    }

    #[test]
    fn the_emulators_string_works_under_any_host_name() {
        let string = ConnectionString::parse(
            "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;\
             SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;",
        )
        .unwrap();
        assert_eq!(string.check(Some("eventhubs-emulator"), "stars"), Ok(()));
    }

    #[test]
    fn what_is_missing_is_named_and_the_key_is_not() {
        for (value, expected) in [
            ("", "has no Endpoint="),
            (
                "SharedAccessKeyName=send;SharedAccessKey=PLANTED",
                "has no Endpoint=",
            ),
            (
                "Endpoint=sb://x/;SharedAccessKey=PLANTED",
                "has no SharedAccessKeyName=",
            ),
            (
                "Endpoint=sb://x/;SharedAccessKeyName=send",
                "has no SharedAccessKey=",
            ),
            (
                "Endpoint=sb://x/;SharedAccessKeyName=send;SharedAccessKey=",
                "has no SharedAccessKey=",
            ),
            (
                "Endpoint=https://x/;SharedAccessKeyName=send;SharedAccessKey=PLANTED",
                "an Endpoint that is not",
            ),
            (
                "Endpoint=sb:///;SharedAccessKeyName=send;SharedAccessKey=PLANTED",
                "an Endpoint that is not",
            ),
            ("Endpoint=sb://x/;PLANTED", "not NAME=VALUE"),
            ("'Endpoint=sb://x/;SharedAccessKey=PLANTED'", "quotation marks"),
        ] {
            let error = ConnectionString::parse(value).unwrap_err();
            assert!(error.to_string().contains(expected), "{value}: {error}");
            assert!(!format!("{error} {error:?}").contains("PLANTED"), "{error:?}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert!(!format!("{:?}", ConnectionString::parse(GOOD).unwrap()).contains("PLANTED"));
    }
}
