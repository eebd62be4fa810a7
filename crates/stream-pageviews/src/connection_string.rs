//! Event Hubs connection strings:
//! `Endpoint=sb://HOST/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=HUB`.
//!
//! <https://learn.microsoft.com/azure/event-hubs/event-hubs-get-connection-string>. The Kafka endpoint takes the whole
//! string as a password and answers only "authentication failed", so strings are checked before they are sent.

use datagen_settings::Secret;

/// A connection string with all its parts. Only [`ConnectionString::secret`] contains its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionString {
    whole: Secret,
    host: String,
    entity_path: Option<String>,
    emulator: bool,
}

/// The problem with a connection string. The text never contains the key: no malformed part is quoted, since the key
/// may be in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// The value includes the quotation marks of a shell or a file.
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
    /// The value of `Endpoint=` is not `sb://HOST/`.
    #[error("has an Endpoint that is not sb://NAMESPACE.servicebus.windows.net/ with a ';' behind it")]
    Endpoint,
    /// The value of `EntityPath=` is not the name of an event hub.
    #[error("has an EntityPath that is not the name of an event hub, alone or with a ';' behind it")]
    EntityPath,
    /// The emulator's string is not valid for an event hub in Azure.
    #[error(
        "is the emulator's (UseDevelopmentEmulator=true), but the events go to {0}: name the emulator in \
             KAFKA_BOOTSTRAP_SERVERS"
    )]
    Emulator(String),
    /// The string belongs to a different namespace.
    #[error("is for {found}, but the events go to {expected}")]
    OtherHost {
        /// The host in the string.
        found: String,
        /// The host that events are sent to.
        expected: String,
    },
    /// The string belongs to a different event hub.
    #[error("is for the event hub '{found}' (EntityPath), but it must be for '{expected}'")]
    OtherHub {
        /// The event hub in the string.
        found: String,
        /// The event hub that it is used for.
        expected: String,
    },
}

impl ConnectionString {
    /// Parses a connection string.
    ///
    /// # Errors
    /// If a part that Event Hubs needs is missing or malformed.
    pub fn parse(value: &str) -> Result<Self, ConnectionStringError> {
        let whole = value.trim();
        if whole.starts_with(QUOTATION_MARKS) || whole.ends_with(QUOTATION_MARKS) {
            return Err(ConnectionStringError::Quoted);
        }
        let (mut endpoint, mut entity_path) = (None, None);
        let (mut name, mut key, mut signature, mut emulator) = (false, false, false, false);
        for part in whole.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (field, value) = part.split_once('=').ok_or(ConnectionStringError::Malformed)?;
            let given = !value.trim().is_empty();
            match field.trim().to_ascii_lowercase().as_str() {
                "endpoint" => endpoint = Some(value.trim()),
                "sharedaccesskeyname" => name = given,
                "sharedaccesskey" => key = given,
                "sharedaccesssignature" => signature = given,
                "entitypath" => entity_path = Some(value.trim().to_owned()),
                "usedevelopmentemulator" => emulator = value.trim().eq_ignore_ascii_case("true"),
                _ => {}
            }
        }
        let endpoint = endpoint.ok_or(ConnectionStringError::Missing("Endpoint"))?;
        let host = host(endpoint).ok_or(ConnectionStringError::Endpoint)?;
        if !signature {
            if !name {
                return Err(ConnectionStringError::Missing("SharedAccessKeyName"));
            }
            if !key {
                return Err(ConnectionStringError::Missing("SharedAccessKey"));
            }
        }
        if !entity_path.as_deref().is_none_or(is_hub_name) {
            return Err(ConnectionStringError::EntityPath);
        }
        Ok(Self {
            whole: Secret::new(whole),
            host,
            entity_path,
            emulator,
        })
    }

    /// Checks that the string is valid for this event hub, and for this host if one is given.
    ///
    /// A connection string for a whole namespace names no event hub and is valid for all of its event hubs.
    ///
    /// # Errors
    /// [`ConnectionStringError::Emulator`], [`ConnectionStringError::OtherHost`],
    /// [`ConnectionStringError::OtherHub`].
    pub fn check(&self, host: Option<&str>, hub: &str) -> Result<(), ConnectionStringError> {
        if let Some(host) = host
            && self.emulator
        {
            return Err(ConnectionStringError::Emulator(host.to_owned()));
        }
        if let Some(host) = host
            && !self.host.eq_ignore_ascii_case(host)
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

    /// Returns the whole string, which is the SASL password.
    pub fn secret(&self) -> &Secret {
        &self.whole
    }

    /// Returns whether the string belongs to the emulator (`UseDevelopmentEmulator=true`), whose key is public.
    pub fn is_emulator(&self) -> bool {
        self.emulator
    }
}

const QUOTATION_MARKS: [char; 2] = ['"', '\''];

/// Returns the host of an endpoint `sb://HOST[:PORT]/`.
fn host(endpoint: &str) -> Option<String> {
    let (scheme, rest) = endpoint.split_once("://")?;
    let authority = rest.trim_end_matches('/');
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_good = scheme.eq_ignore_ascii_case("sb")
        && is_made_of(host, ".-")
        && port.is_none_or(|port| port.parse::<u16>().is_ok());
    is_good.then(|| host.to_ascii_lowercase())
}

/// <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsofteventhub>
fn is_hub_name(name: &str) -> bool {
    is_made_of(name, "._-/")
}

/// Returns whether `text` is not empty and consists only of letters, digits and `others`.
fn is_made_of(text: &str, others: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    !text.is_empty() && text.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Endpoint=sb://Playground.servicebus.windows.net/;SharedAccessKeyName=send;\
                        SharedAccessKey=PLANTEDkey+/=;EntityPath=pageviews";

    #[test]
    fn a_hubs_own_string_is_valid_for_that_hub_only() {
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
        assert_eq!(string.secret().expose(), GOOD);
    }

    #[test]
    fn a_namespaces_string_is_valid_for_every_hub() {
        let string = GOOD.replace(";EntityPath=pageviews", "");
        let string = ConnectionString::parse(&string).unwrap();
        assert_eq!(
            string.check(Some("playground.servicebus.windows.net"), "stars"),
            Ok(())
        );
    }

    #[test]
    fn the_emulators_string_is_not_valid_in_azure() {
        let string = ConnectionString::parse(
            "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;\
             SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;",
        )
        .unwrap();
        assert!(string.is_emulator());
        assert_eq!(string.check(None, "stars"), Ok(()));
        let error = string
            .check(Some("ns.servicebus.windows.net"), "stars")
            .unwrap_err();
        assert!(error.to_string().starts_with("is the emulator's"), "{error}");
    }

    #[test]
    fn schemes_and_names_of_parts_are_case_insensitive() {
        let string = GOOD.replace("Endpoint=sb://", "endpoint=SB://");
        let string = ConnectionString::parse(&string.replace(".net/", ".net:5671/")).unwrap();
        assert_eq!(
            string.check(Some("playground.servicebus.windows.net"), "pageviews"),
            Ok(())
        );
        assert!(!string.is_emulator());
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
            ("Endpoint=sb://x/;SharedAccessKey=PLANTED\"", "quotation marks"),
            // A space instead of the ';', at each position.
            (
                "Endpoint=sb://x/ SharedAccessKeyName=send;SharedAccessKey=PLANTED",
                "an Endpoint that is not",
            ),
            (
                "Endpoint=sb://x SharedAccessKey=PLANTED;SharedAccessKeyName=send;SharedAccessKey=PLANTED",
                "an Endpoint that is not",
            ),
            (
                "Endpoint=sb://x:PLANTED/;SharedAccessKeyName=send;SharedAccessKey=PLANTED",
                "an Endpoint that is not",
            ),
            (
                "Endpoint=sb://x/;SharedAccessKeyName=send SharedAccessKey=PLANTED",
                "has no SharedAccessKey=",
            ),
            (
                "EntityPath=stars SharedAccessKey=PLANTED;Endpoint=sb://x/;SharedAccessKeyName=send;\
                 SharedAccessKey=PLANTED",
                "an EntityPath that is not",
            ),
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
