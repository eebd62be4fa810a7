//! The types that a setting can have.

use std::fmt;
use std::net::SocketAddr;
use std::num::IntErrorKind;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use datagen_core::model::Profile;

use crate::Secret;

/// A type of settings, as far as documentation and error messages need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A whole number.
    Integer,
    /// A finite number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A date, `YYYY-MM-DD`.
    Date,
    /// A point in time: a date, or RFC 3339.
    Timestamp,
    /// An IP address with a port.
    Address,
    /// Text of one line.
    Text,
    /// Text of one line that must not be printed.
    Secret,
    /// Any text: it only matters whether there is any.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl ValueKind {
    /// Returns its name in the machine-readable form.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Address => "address",
            Self::Text => "text",
            Self::Secret => "secret",
            Self::Flag => "flag",
            Self::Choice(_) => "choice",
        }
    }

    /// Returns what a value is, with an article where one is needed: `a whole number`, `text or json`.
    pub fn noun(self) -> String {
        match self {
            Self::Integer => "a whole number".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Date => "a date as YYYY-MM-DD".to_owned(),
            Self::Timestamp => "a time as YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ".to_owned(),
            Self::Address => "an IP address with a port".to_owned(),
            Self::Text => "text of one line".to_owned(),
            Self::Secret => "the secret text, of one line".to_owned(),
            Self::Flag => "any text".to_owned(),
            Self::Choice([words @ .., last]) if !words.is_empty() => {
                format!("{} or {last}", words.join(", "))
            }
            Self::Choice(words) => words.concat(),
        }
    }
}

/// A type that the text of a variable can be read as.
pub trait Value: Sized {
    /// Its kind, which documentation and messages use.
    const KIND: ValueKind;
    /// Whether empty text means that the variable is not set. Otherwise empty text is an error.
    const MAY_BE_EMPTY: bool = false;

    /// Reads `text`, which is trimmed and not empty.
    ///
    /// # Errors
    /// If the text is not such a value.
    fn parse(text: &str) -> Result<Self, ValueError>;
}

/// Why a text is not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// It has another form.
    Malformed,
    /// It has the form, but the value is too small or too large.
    OutOfRange,
    /// Another reason, as a text that follows the name of the variable.
    Explained(&'static str),
}

/// Returns `text` without the underscores that group its digits, as in `1_000_000`.
fn ungrouped(text: &str) -> String {
    let is_digit = |place: usize| text.as_bytes().get(place).is_some_and(u8::is_ascii_digit);
    let groups = |place: usize| place > 0 && is_digit(place - 1) && is_digit(place + 1);
    text.char_indices()
        .filter(|&(place, c)| c != '_' || !groups(place))
        .map(|(_, c)| c)
        .collect()
}

/// Returns whether `text` is the address of a service, `tcp://10.0.0.1:1433`. Kubernetes sets `NAME_PORT` to it for
/// each service `name`: <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
fn is_service_address(text: &str) -> bool {
    let schemes = ["tcp://", "udp://", "sctp://"];
    schemes.iter().any(|scheme| text.starts_with(scheme))
}

fn is_negative(digits: &str) -> bool {
    let digits = digits.strip_prefix('-').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

macro_rules! whole_number {
    ($($type:ty),+) => {$(
        impl Value for $type {
            const KIND: ValueKind = ValueKind::Integer;

            fn parse(text: &str) -> Result<Self, ValueError> {
                let digits = ungrouped(text);
                digits.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
                    IntErrorKind::PosOverflow => ValueError::OutOfRange,
                    _ if is_negative(&digits) => ValueError::OutOfRange,
                    _ if is_service_address(text) => ValueError::Explained(
                        "is the address that Kubernetes puts into this variable for a service of a matching name (set \
                         the variable in the pod, or enableServiceLinks to false)",
                    ),
                    _ => ValueError::Malformed,
                })
            }
        }
    )+};
}
whole_number!(u16, u32, u64);

impl Value for f64 {
    const KIND: ValueKind = ValueKind::Number;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let number = ungrouped(text).parse().ok();
        number
            .filter(|number: &f64| number.is_finite())
            .ok_or(ValueError::Malformed)
    }
}

impl Value for bool {
    const KIND: ValueKind = ValueKind::Boolean;

    fn parse(text: &str) -> Result<Self, ValueError> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => Err(ValueError::Malformed),
        }
    }
}

impl Value for NaiveDate {
    const KIND: ValueKind = ValueKind::Date;

    fn parse(text: &str) -> Result<Self, ValueError> {
        // `%Y` and `%d` also accept signs and spaces.
        let is_of_the_form = text.len() == 10
            && text.bytes().enumerate().all(|(place, byte)| match place {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let date = is_of_the_form.then(|| Self::parse_from_str(text, "%Y-%m-%d").ok());
        date.flatten().ok_or(ValueError::Malformed)
    }
}

/// A point in time, exact to the millisecond. A date stands for its first moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Returns the first moment of `date` in UTC.
    pub const fn of_date(date: NaiveDate) -> Self {
        Self(date.and_hms_opt(0, 0, 0).expect("midnight is a time").and_utc())
    }

    /// Returns the time `millis` milliseconds after 1970, or the latest possible time if that is earlier.
    pub fn of_millis(millis: u64) -> Self {
        let time = i64::try_from(millis)
            .ok()
            .and_then(DateTime::from_timestamp_millis);
        Self(time.unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// Returns the milliseconds since 1970.
    pub fn as_millis(self) -> i64 {
        self.0.timestamp_millis()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl Value for Timestamp {
    const KIND: ValueKind = ValueKind::Timestamp;

    fn parse(text: &str) -> Result<Self, ValueError> {
        if let Ok(date) = NaiveDate::parse(text) {
            return Ok(Self::of_date(date));
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| ValueError::Malformed)?;
        Ok(Self(time.to_utc()))
    }
}

impl Value for SocketAddr {
    const KIND: ValueKind = ValueKind::Address;

    fn parse(text: &str) -> Result<Self, ValueError> {
        text.parse().map_err(|_| ValueError::Malformed)
    }
}

impl Value for Profile {
    const KIND: ValueKind = ValueKind::Choice(&[Self::Shop.as_str(), Self::Uniform.as_str()]);

    fn parse(text: &str) -> Result<Self, ValueError> {
        let found = Self::ALL
            .into_iter()
            .find(|profile| text.eq_ignore_ascii_case(profile.as_str()));
        found.ok_or(ValueError::Malformed)
    }
}

/// Text of one line, not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextLine(pub String);

fn one_line(text: &str) -> Result<String, ValueError> {
    match text.contains(char::is_control) {
        true => Err(ValueError::Explained(
            "has a line break or another control character in it",
        )),
        false => Ok(text.to_owned()),
    }
}

impl Value for TextLine {
    const KIND: ValueKind = ValueKind::Text;

    fn parse(text: &str) -> Result<Self, ValueError> {
        one_line(text).map(TextLine)
    }
}

impl fmt::Display for TextLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for Secret {
    const KIND: ValueKind = ValueKind::Secret;

    fn parse(text: &str) -> Result<Self, ValueError> {
        one_line(text).map(Secret::new)
    }
}

/// A variable for which it only matters whether it has any text: <https://no-color.org>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag;

impl Value for Flag {
    const KIND: ValueKind = ValueKind::Flag;
    const MAY_BE_EMPTY: bool = true;

    fn parse(_text: &str) -> Result<Self, ValueError> {
        Ok(Self)
    }
}

/// Declares an enum of settings: the words that a variable can be set to, in any case.
macro_rules! choice {
    (
        $(#[$attr:meta])*
        pub enum $Enum:ident { $( $(#[$variant_attr:meta])* $Variant:ident = $word:literal, )+ }
    ) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Enum { $( $(#[$variant_attr])* $Variant, )+ }

        impl $Enum {
            /// Returns the word in the variable.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $word, )+ }
            }
        }

        impl std::fmt::Display for $Enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::Value for $Enum {
            const KIND: $crate::ValueKind = $crate::ValueKind::Choice(&[$($word),+]);

            fn parse(text: &str) -> Result<Self, $crate::value::ValueError> {
                match text {
                    $( _ if text.eq_ignore_ascii_case($word) => Ok(Self::$Variant), )+
                    _ => Err($crate::value::ValueError::Malformed),
                }
            }
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_each_type() {
        assert_eq!(bool::parse("Yes"), Ok(true));
        assert_eq!(f64::parse("2.5"), Ok(2.5));
        assert_eq!(f64::parse("10_000.5"), Ok(10_000.5));
        assert_eq!(f64::parse("inf"), Err(ValueError::Malformed));
        assert_eq!(f64::parse("NaN"), Err(ValueError::Malformed));
        assert_eq!(u64::parse("1_000"), Ok(1_000));
        assert_eq!(u32::parse("1_0_0"), Ok(100));
        for text in ["_1", "1_", "1__0", "_", "1_ 0"] {
            assert_eq!(u64::parse(text), Err(ValueError::Malformed), "{text}");
        }
        for text in ["2024-02-30", "24-2-3", "+2024-1-01", "2024- 1-01", "2024-01- 1"] {
            assert_eq!(NaiveDate::parse(text), Err(ValueError::Malformed), "{text}");
        }
        assert_eq!(
            NaiveDate::parse("2024-02-29"),
            Ok(NaiveDate::from_ymd_opt(2024, 2, 29).unwrap())
        );
        for (text, millis) in [
            ("1970-01-02", 86_400_000),
            ("2026-11-26T10:00:00Z", 1_795_687_200_000),
            ("2026-11-26T11:00:00.123456+01:00", 1_795_687_200_123),
        ] {
            assert_eq!(
                Timestamp::parse(text).map(Timestamp::as_millis),
                Ok(millis),
                "{text}"
            );
        }
        for text in [
            "2026-11-26T10:00:00",
            "2026-11-26T25:00:00Z",
            "10:00",
            "1795687200",
        ] {
            assert_eq!(Timestamp::parse(text), Err(ValueError::Malformed), "{text}");
        }
        assert_eq!(
            Timestamp::parse("2026-11-26T11:00:00+01:00").unwrap().to_string(),
            "2026-11-26T10:00:00Z"
        );
        assert!(matches!(TextLine::parse("a\nb"), Err(ValueError::Explained(_))));
        assert!(matches!(
            u16::parse("tcp://10.0.0.1:1433"),
            Err(ValueError::Explained(_))
        ));
    }

    #[test]
    fn choices_are_listed_as_in_a_sentence() {
        assert_eq!(ValueKind::Choice(&["a"]).noun(), "a");
        assert_eq!(ValueKind::Choice(&["a", "b"]).noun(), "a or b");
        assert_eq!(ValueKind::Choice(&["a", "b", "c"]).noun(), "a, b or c");
    }
}
