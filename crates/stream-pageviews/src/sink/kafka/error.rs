//! Errors of the Kafka destination. This is the only file that parses English texts of librdkafka and OpenSSL, and it
//! does so only where no error code provides the same information; tests with the real library pin each of these texts.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why nothing can be delivered: one line that says what to check, without secrets.
#[derive(Clone)]
pub struct KafkaSinkError {
    message: Arc<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl fmt::Display for KafkaSinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for KafkaSinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// Without the source, whose text may contain a secret.
impl fmt::Debug for KafkaSinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KafkaSinkError").field(&self.message).finish()
    }
}

impl KafkaSinkError {
    pub(super) fn new(message: impl Into<Arc<str>>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the error that this one explains. It is never printed, since its text may contain a secret.
    pub(super) fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into().into()),
            ..self
        }
    }

    /// Returns librdkafka's error code, if librdkafka reported the error.
    pub(super) fn code(&self) -> Option<RDKafkaErrorCode> {
        self.source
            .as_ref()?
            .downcast_ref::<KafkaError>()?
            .rdkafka_error_code()
    }

    /// Creates the error for properties that librdkafka does not accept. librdkafka's text is not used: it quotes the
    /// value, which may be a password.
    pub(super) fn properties(error: KafkaError) -> Self {
        Self::new(match &error {
            KafkaError::ClientConfig(_, description, name, _) => {
                format!("the setting {name} is not accepted: {description}")
            }
            KafkaError::ClientCreation(reason) if reason.contains("ssl.ca.location") => {
                format!("KAFKA_CA_FILE cannot be used: {reason}; it must be a file of PEM certificates")
            }
            other => format!("no producer could be made: {other}"),
        })
        .because(error)
    }
}

/// What an error reported by librdkafka means for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// librdkafka retries by itself.
    Transient,
    /// The broker does not accept the client's sign-in.
    SignIn,
    /// The client does not accept the broker's certificate, or the broker does not speak TLS.
    Tls,
    /// The producer can never send again.
    Fatal,
}

/// OpenSSL's reasons for failures that no retry can fix. A connection that breaks during the handshake is not among
/// them.
const PERMANENT_TLS_REASONS: [&str; 4] = [
    "certificate",
    "hostname mismatch",
    "IP address mismatch",
    "wrong version number",
];

pub(super) fn classify(code: RDKafkaErrorCode, reason: &str) -> ErrorClass {
    match code {
        RDKafkaErrorCode::Fatal => ErrorClass::Fatal,
        RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::UnsupportedSASLMechanism
        | RDKafkaErrorCode::IllegalSASLState => ErrorClass::SignIn,
        RDKafkaErrorCode::SSL if PERMANENT_TLS_REASONS.iter().any(|sign| reason.contains(sign)) => {
            ErrorClass::Tls
        }
        _ => ErrorClass::Transient,
    }
}

/// What librdkafka logs about the id of an idempotent producer. Its API reports the id only in the statistics, half a
/// second late, and does not report a refusal of the id at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProducerIdEvent<'a> {
    Assigned,
    /// The request failed for this reason and is repeated.
    Refused(&'a str),
}

impl<'a> ProducerIdEvent<'a> {
    pub(super) fn of_log(facility: &str, message: &'a str) -> Option<Self> {
        match facility {
            "IDEMPSTATE" => message.ends_with("-> Assigned").then_some(Self::Assigned),
            "GETPID" => message.strip_suffix(": retrying").map(Self::Refused),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use datagen_process::error::{DestinationError, causes};

    use super::*;

    #[test]
    fn a_destination_error_keeps_the_error_of_librdkafka_and_does_not_print_it() {
        let refused = rdkafka::ClientConfig::new()
            .set("sasl.password", "PLANTED")
            .set("acks", "PLANTED")
            .create_native_config()
            .map(drop)
            .unwrap_err();
        assert!(refused.to_string().contains("PLANTED"), "{refused}");
        let error = KafkaSinkError::properties(refused);
        let error = DestinationError::permanent("localhost:9092", error.to_string()).caused_by(error);
        assert!(causes(&error).any(|cause| cause.is::<KafkaError>()));
        let printed = format!("{error} {error:?}");
        assert!(
            printed.contains("acks") && !printed.contains("PLANTED"),
            "{printed}"
        );
    }

    #[test]
    fn permanent_errors_are_distinguished_from_transient_ones() {
        use RDKafkaErrorCode as Code;
        for (code, reason, expected) in [
            (
                Code::BrokerTransportFailure,
                "Connect failed: Connection refused",
                ErrorClass::Transient,
            ),
            (
                Code::AllBrokersDown,
                "1/1 brokers are down",
                ErrorClass::Transient,
            ),
            (
                Code::SSL,
                "SSL handshake failed: connection reset",
                ErrorClass::Transient,
            ),
            (
                Code::SSL,
                "error:0A000086:SSL routines::certificate verify failed",
                ErrorClass::Tls,
            ),
            (
                Code::SSL,
                "error:0A00010B:SSL routines::wrong version number",
                ErrorClass::Tls,
            ),
            (
                Code::Authentication,
                "SASL authentication error: no",
                ErrorClass::SignIn,
            ),
            (Code::Fatal, "Fatal error: fenced", ErrorClass::Fatal),
        ] {
            assert_eq!(classify(code, reason), expected, "{code:?} {reason}");
        }
    }
}
