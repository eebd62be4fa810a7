//! One environment variable's value: unset, read, or wrong in a way that can be told.

use std::fmt::Display;
use std::ops::RangeInclusive;

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer};

use super::Problems;
use crate::secret::Secret;

/// What stands for a value that is not UTF-8: no environment variable can have a NUL in it.
pub(super) const NOT_UTF8: &str = "\0";

/// The value of a variable. Deserializing one never fails; asking it for its value reports what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setting<T> {
    /// Not in the environment.
    #[default]
    Unset,
    /// Read.
    Value(T),
    /// In the environment, but not a `T`: what is wrong and what is allowed, after the variable's name.
    Wrong(String),
}

impl<'de, T: FromSetting> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == NOT_UTF8 {
            return Ok(Self::Wrong(format!("is not valid UTF-8: give {}", T::EXPECTED)));
        }
        if text.trim().is_empty() {
            return Ok(Self::Wrong(format!(
                "is set but empty: give {}, or unset it",
                T::EXPECTED
            )));
        }
        Ok(match T::from_setting(text.trim()) {
            Ok(value) => Self::Value(value),
            Err(fault) => Self::Wrong(fault),
        })
    }
}

impl<T> Setting<T> {
    /// Whether the variable is in the environment, right or wrong.
    pub fn is_set(&self) -> bool {
        !matches!(self, Self::Unset)
    }

    /// The value, if the variable is set and right. What is wrong is reported under `name`.
    pub fn value(self, name: &str, problems: &mut Problems) -> Option<T> {
        match self {
            Self::Unset => None,
            Self::Value(value) => Some(value),
            Self::Wrong(fault) => {
                problems.report(name, fault);
                None
            }
        }
    }
}

impl<T: PartialOrd + Display> Setting<T> {
    /// As [`value`](Self::value), with bounds.
    pub fn within(self, name: &str, range: RangeInclusive<T>, problems: &mut Problems) -> Option<T> {
        let (low, high) = (range.start(), range.end());
        match self.clone_fault() {
            Some(fault) => {
                problems.report(name, format_args!("{fault}: give {low} to {high}"));
                None
            }
            None => {
                let value = self.value(name, problems)?;
                if range.contains(&value) {
                    return Some(value);
                }
                let text = value.to_string();
                problems.report(name, out_of_range(&text, &format!("{low} to {high}")));
                None
            }
        }
    }

    /// The fault without its advice, which a range says better.
    fn clone_fault(&self) -> Option<String> {
        match self {
            Self::Wrong(fault) => Some(fault.split(": give ").next().unwrap_or(fault).to_owned()),
            _ => None,
        }
    }
}

/// A type that can be read from a variable's text.
pub trait FromSetting: Sized {
    /// What is allowed, for messages: «a whole number».
    const EXPECTED: &'static str;

    /// Reads `text`, which is trimmed and not empty.
    ///
    /// # Errors
    /// What is wrong and what is allowed, to follow the variable's name: «is not a number: give …».
    fn from_setting(text: &str) -> Result<Self, String>;
}

/// Shows a value that cannot be a secret: only what looks like a number or a date is repeated in a message,
/// since a password may have been put into the wrong variable.
fn shown(text: &str) -> Option<&str> {
    let harmless = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | '_' | ',' | ':' | ' ');
    (text.len() <= 40 && text.chars().all(harmless)).then_some(text)
}

/// «is X, out of range: give …», or without X where it might be a secret or is too long to be read.
fn out_of_range(text: &str, allowed: &str) -> String {
    match shown(text) {
        Some(text) => format!("is {text}, out of range: give {allowed}"),
        None => format!("is out of range: give {allowed}"),
    }
}

/// «is X, not a whole number: give a whole number», or without X where it might be a secret.
fn not_a<T: FromSetting>(text: &str) -> String {
    match shown(text) {
        Some(text) => format!("is {text}, not {0}: give {0}", T::EXPECTED),
        None => format!("is not {0}: give {0}", T::EXPECTED),
    }
}

/// `text` without the underscores that group its digits, as in `1_000_000`.
fn ungrouped(text: &str) -> String {
    let is_digit = |place: usize| text.as_bytes().get(place).is_some_and(u8::is_ascii_digit);
    let groups = |place: usize| place > 0 && is_digit(place - 1) && is_digit(place + 1);
    text.char_indices()
        .filter(|&(place, c)| c != '_' || !groups(place))
        .map(|(_, c)| c)
        .collect()
}

/// Whether `text` is the address of a service, `tcp://10.0.0.1:1433`. Kubernetes sets `NAME_PORT` to it for each
/// service `name`: <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
fn is_service_address(text: &str) -> bool {
    ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

fn is_negative_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

macro_rules! whole_number {
    ($($type:ty),+) => {$(
        impl FromSetting for $type {
            const EXPECTED: &'static str = "a whole number";

            fn from_setting(text: &str) -> Result<Self, String> {
                let digits = ungrouped(text);
                digits.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
                    std::num::IntErrorKind::PosOverflow => {
                        out_of_range(text, &format!("a whole number up to {}", <$type>::MAX))
                    }
                    _ if is_service_address(text) => format!(
                        "is the address that Kubernetes puts into this variable for a service of a matching name (set \
                         the variable in the pod, or enableServiceLinks to false): give {}",
                        Self::EXPECTED
                    ),
                    _ if is_negative_number(&digits) => out_of_range(text, "a whole number from 0"),
                    _ => not_a::<Self>(text),
                })
            }
        }
    )+};
}
whole_number!(u16, u32, u64);

impl FromSetting for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_setting(text: &str) -> Result<Self, String> {
        ungrouped(text)
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .ok_or_else(|| not_a::<Self>(text))
    }
}

impl FromSetting for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_setting(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => Err(not_a::<Self>(text)),
        }
    }
}

impl FromSetting for NaiveDate {
    const EXPECTED: &'static str = "a date as YYYY-MM-DD";

    fn from_setting(text: &str) -> Result<Self, String> {
        // `%Y` and `%d` also take signs and spaces, which the form does not have.
        let is_of_the_form = text.len() == 10
            && text.bytes().enumerate().all(|(place, byte)| match place {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let date = is_of_the_form
            .then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
            .flatten();
        date.ok_or_else(|| not_a::<Self>(text))
    }
}

/// Free text of one line, not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

fn one_line<T: FromSetting>(text: &str) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err(format!(
            "has a line break or another control character in it: give {}",
            T::EXPECTED
        ));
    }
    Ok(text.to_owned())
}

impl FromSetting for Text {
    const EXPECTED: &'static str = "text of one line";

    fn from_setting(text: &str) -> Result<Self, String> {
        one_line::<Self>(text).map(Text)
    }
}

impl FromSetting for Secret {
    const EXPECTED: &'static str = "the secret text, of one line";

    fn from_setting(text: &str) -> Result<Self, String> {
        one_line::<Self>(text).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromSetting>(text: &str) -> Setting<T> {
        let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
            serde::de::IntoDeserializer::into_deserializer(text);
        Setting::deserialize(text).unwrap()
    }

    #[test]
    fn faults_say_what_is_wrong_and_what_is_allowed() {
        let fault = |setting: Setting<u64>| {
            let mut problems = Problems::default();
            assert_eq!(setting.within("COUNT", 1..=100, &mut problems), None);
            problems.to_string()
        };
        assert_eq!(fault(read("0")), "COUNT is 0, out of range: give 1 to 100");
        assert_eq!(fault(read("-3")), "COUNT is -3, out of range: give 1 to 100");
        assert_eq!(
            fault(read("1.5")),
            "COUNT is 1.5, not a whole number: give 1 to 100"
        );
        assert_eq!(fault(read("many")), "COUNT is not a whole number: give 1 to 100");
        assert_eq!(
            fault(read("99999999999999999999")),
            "COUNT is 99999999999999999999, out of range: give 1 to 100"
        );
        assert_eq!(fault(read("  ")), "COUNT is set but empty: give 1 to 100");
    }

    #[test]
    fn values_that_might_be_secrets_are_not_repeated() {
        for secret in [
            "hunter2",
            "sig=abc",
            &"7".repeat(60),
            &format!("-{}", "7".repeat(60)),
        ] {
            let mut problems = Problems::default();
            assert_eq!(read::<u64>(secret).value("COUNT", &mut problems), None);
            assert!(!problems.to_string().contains(secret), "{problems}");
        }
    }

    #[test]
    fn underscores_may_group_digits() {
        assert_eq!(read::<u64>("1_000"), Setting::Value(1_000));
        assert_eq!(read::<u32>("1_0_0"), Setting::Value(100));
        assert_eq!(read::<f64>("10_000.5"), Setting::Value(10_000.5));
        for text in ["_1", "1_", "1__0", "_", "1_ 0"] {
            assert!(matches!(read::<u64>(text), Setting::Wrong(_)), "{text}");
        }
        let mut problems = Problems::default();
        assert_eq!(read::<u64>("-1_000").within("COUNT", 0..=9, &mut problems), None);
        assert_eq!(problems.to_string(), "COUNT is -1_000, out of range: give 0 to 9");
    }

    #[test]
    fn the_address_of_a_kubernetes_service_is_recognized() {
        for text in ["tcp://10.0.0.1:1433", "udp://10.0.0.1:53"] {
            let mut problems = Problems::default();
            assert_eq!(
                read::<u16>(text).within("SQL_PORT", 1..=65535, &mut problems),
                None
            );
            let fault = problems.to_string();
            assert!(
                fault.starts_with("SQL_PORT is the address that Kubernetes"),
                "{fault}"
            );
            assert!(
                fault.ends_with("enableServiceLinks to false): give 1 to 65535"),
                "{fault}"
            );
        }
    }

    #[test]
    fn other_types() {
        assert_eq!(read::<bool>("Yes"), Setting::Value(true));
        assert_eq!(read::<f64>("2.5"), Setting::Value(2.5));
        assert!(matches!(read::<f64>("inf"), Setting::Wrong(_)));
        assert!(matches!(read::<f64>("NaN"), Setting::Wrong(_)));
        assert!(matches!(read::<NaiveDate>("2024-02-30"), Setting::Wrong(_)));
        for text in ["24-2-3", "+2024-1-01", "2024- 1-01", "2024-01- 1"] {
            assert!(matches!(read::<NaiveDate>(text), Setting::Wrong(_)), "{text}");
        }
        assert_eq!(
            read::<NaiveDate>("2024-02-29"),
            Setting::Value(NaiveDate::from_ymd_opt(2024, 2, 29).unwrap())
        );
        assert!(matches!(read::<Text>("a\nb"), Setting::Wrong(_)));
    }
}
