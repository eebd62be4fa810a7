//! The declaration of settings: what is known about a variable, and the macro that declares a group of them.

use std::fmt;

use crate::ConfigurationErrors;
use crate::value::{Value, ValueError, ValueKind};

/// A documented environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name, in upper case.
    pub name: &'static str,
    /// The type of its values.
    pub kind: ValueKind,
    /// What applies when it is not set.
    pub default: DefaultValue,
    /// The lowest and the highest value, where there are bounds.
    pub range: Option<fn() -> [String; 2]>,
    /// The lines of its description.
    #[doc(hidden)]
    pub description: &'static [&'static str],
}

/// What applies when a variable is not set.
#[derive(Clone, Copy, Debug)]
pub enum DefaultValue {
    /// Nothing: the setting is optional.
    None,
    /// This value, as text that the variable could be set to.
    Value(fn() -> String),
    /// Something that depends on other facts, in words.
    Words(&'static str),
}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Value(text) => f.write_str(&text()),
            Self::Words(words) => f.write_str(words),
        }
    }
}

impl Variable {
    /// Returns what it means, with its unit: full sentences.
    pub fn meaning(&self) -> String {
        let lines: Vec<_> = self.description.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// Returns the values that are allowed, to follow «give»: `0 to 100`, `text or json`, `a whole number`.
    pub fn allowed(&self) -> String {
        match (self.range, self.kind) {
            (Some(range), _) => range().join(" to "),
            (None, ValueKind::Address) => format!("{}, such as 0.0.0.0:9464", ValueKind::Address.noun()),
            (None, kind) => kind.noun(),
        }
    }
}

/// The type of a field of a settings struct: a [`Value`], which has a default, or an optional one.
#[doc(hidden)]
pub trait Field: Sized {
    type Value: Value;

    fn new(value: Option<Self::Value>, default: Option<Self>) -> Self;
}

impl<V: Value> Field for V {
    type Value = V;

    fn new(value: Option<V>, default: Option<V>) -> V {
        value
            .or(default)
            .expect("settings! requires a default for a field that is not an Option")
    }
}

impl<V: Value> Field for Option<V> {
    type Value = V;

    fn new(value: Option<V>, _default: Option<Self>) -> Self {
        value
    }
}

/// Reads the value of a field: that of `text` if it is allowed, otherwise `default`, with a problem reported if there
/// is a text.
#[doc(hidden)]
pub fn read<F: Field>(
    variable: &Variable,
    text: Option<String>,
    is_in_range: Option<fn(&F::Value) -> bool>,
    default: Option<F>,
    problems: &mut ConfigurationErrors,
) -> F {
    let value = text.and_then(|text| parse(variable, text.trim(), is_in_range, problems));
    F::new(value, default)
}

fn parse<V: Value>(
    variable: &Variable,
    text: &str,
    is_in_range: Option<fn(&V) -> bool>,
    problems: &mut ConfigurationErrors,
) -> Option<V> {
    let allowed = variable.allowed();
    if text.is_empty() {
        if !V::MAY_BE_EMPTY {
            problems.report(
                variable,
                format_args!("is set but empty: give {allowed}, or unset it"),
            );
        }
        return None;
    }
    let in_range = |value: &V| is_in_range.is_none_or(|is_in_range| is_in_range(value));
    let error = match V::parse(text) {
        Ok(value) if in_range(&value) => return Some(value),
        Ok(_) => ValueError::OutOfRange,
        Err(error) => error,
    };
    // A password may have been put into the wrong variable: only what looks like a number or a date is repeated.
    let shown = match harmless(text) {
        true => format!(" {text},"),
        false => String::new(),
    };
    let problem = match error {
        ValueError::OutOfRange => format!("is{shown} out of range: give {allowed}"),
        ValueError::Malformed => {
            let noun = match variable.kind {
                ValueKind::Choice(_) => "an allowed value".to_owned(),
                kind => kind.noun(),
            };
            format!("is{shown} not {noun}: give {allowed}")
        }
        ValueError::Explained(what) => format!("{what}: give {allowed}"),
    };
    problems.report(variable, problem);
    None
}

fn harmless(text: &str) -> bool {
    // `T` and `Z` are part of times.
    let is_harmless = |c: char| c.is_ascii_digit() || "-+._,: TZ".contains(c);
    text.len() <= 40 && (text.chars().all(is_harmless) || text.parse::<f64>().is_ok())
}

/// Declares a group of settings:
///
/// ```
/// datagen_settings::settings! {
///     /// Settings of the sample.
///     pub struct SampleSettings {
///         /// Number of records.
///         COUNT => count: u64 = 1_000, in 0..=1_000_000;
///         /// Records per second. Unset: as fast as possible.
///         RATE => rate: Option<f64>, in 0.0..=1e9, otherwise "unlimited";
///     }
/// }
/// let mut problems = datagen_settings::ConfigurationErrors::default();
/// let environment = [("COUNT", "7")].into_iter().collect::<datagen_settings::Environment>();
/// let settings: SampleSettings = environment.read(&mut problems);
/// assert_eq!((settings.count, settings.rate), (7, None));
/// ```
///
/// Each setting has the name of its variable, the field (the same name in lower case, by which `envy` matches them),
/// the type, and its documentation. A type other than an `Option` needs a default (`=`). `in` bounds the values, and
/// `otherwise` says in words what applies when an optional setting is not set.
///
/// The struct implements [`Settings`](crate::Settings) and has an associated constant of type [`Variable`] for each
/// setting, for reporting problems.
#[macro_export]
macro_rules! settings {
    (
        $(#[$attr:meta])*
        $vis:vis struct $Struct:ident {
            $(
                $(#[doc = $description:literal])+
                $NAME:ident => $field:ident: $type:ty
                    $(= $default:expr)? $(, in $range:expr)? $(, otherwise $words:literal)?;
            )+
        }
    ) => {
        $(#[$attr])*
        // The descriptions are written for `--help`, where the brackets around a URL would be in the way.
        #[allow(rustdoc::bare_urls)]
        #[derive(Clone, Debug)]
        $vis struct $Struct {
            $( $(#[doc = $description])+ $vis $field: $type, )+
        }

        impl $Struct {
            $(
                #[doc = concat!("The variable ", stringify!($NAME), ".")]
                $vis const $NAME: $crate::Variable = $crate::Variable {
                    name: stringify!($NAME),
                    kind: <<$type as $crate::Field>::Value as $crate::Value>::KIND,
                    default: $crate::settings!(@default $type $(= $default)? $(, $words)?),
                    range: $crate::settings!(@range $type $(, $range)?),
                    description: &[$($description),+],
                };
            )+
        }

        impl $crate::Settings for $Struct {
            const VARIABLES: &'static [$crate::Variable] = &[$(Self::$NAME),+];

            fn read(environment: &$crate::Environment, problems: &mut $crate::ConfigurationErrors) -> Self {
                #[derive(Default, $crate::serde::Deserialize)]
                #[serde(default, crate = "datagen_settings::serde")]
                struct RawValues { $( $field: Option<String>, )+ }

                let texts: RawValues = environment.texts(Self::VARIABLES, problems);
                Self {
                    $(
                        $field: $crate::read::<$type>(
                            &Self::$NAME,
                            texts.$field,
                            $crate::settings!(@check $type $(, $range)?),
                            None $(.or(Some($default)))?,
                            problems,
                        ),
                    )+
                }
            }
        }
    };
    (@default $type:ty) => { $crate::DefaultValue::None };
    (@default $type:ty, $words:literal) => { $crate::DefaultValue::Words($words) };
    (@default $type:ty = $default:expr) => {
        $crate::DefaultValue::Value(|| { let value: $type = $default; value.to_string() })
    };
    (@range $type:ty) => { None };
    (@range $type:ty, $range:expr) => {
        Some(|| {
            let range: ::std::ops::RangeInclusive<<$type as $crate::Field>::Value> = $range;
            [range.start().to_string(), range.end().to_string()]
        })
    };
    (@check $type:ty) => { None };
    (@check $type:ty, $range:expr) => { Some(|value| ($range).contains(value)) };
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use chrono::NaiveDate;

    use crate::{ConfigurationErrors, Environment, Secret, Settings, TextLine};

    settings! {
        /// Settings of these tests.
        struct SampleSettings {
            /// Number of records,
            /// all together.
            COUNT => count: u64 = 5, in 1..=100;
            /// The password.
            PASSWORD => password: Option<Secret>;
            /// The first day.
            DATE_FROM => date_from: Option<NaiveDate>, otherwise "today";
            /// A port.
            SQL_PORT => sql_port: u16 = 1433, in 1..=u16::MAX;
            /// A mean.
            MEAN => mean: f64 = 2.5, in 0.0..=10_000.0;
            /// A label.
            LABEL => label: Option<TextLine>;
        }
    }

    fn read(pairs: &[(&str, &str)]) -> (SampleSettings, String) {
        let mut problems = ConfigurationErrors::default();
        let sample = pairs.iter().copied().collect::<Environment>().read(&mut problems);
        (sample, problems.to_string())
    }

    #[test]
    fn unset_variables_have_their_defaults() {
        let (sample, problems) = read(&[("OTHER", "x")]);
        assert_eq!(problems, "");
        assert_eq!((sample.count, sample.sql_port, sample.mean), (5, 1433, 2.5));
        assert_eq!((sample.password, sample.date_from), (None, None));
        let (sample, problems) = read(&[("COUNT", " 7 "), ("PASSWORD", "x"), ("LABEL", "a b")]);
        assert_eq!(problems, "");
        assert_eq!(sample.count, 7);
        assert_eq!(sample.password.unwrap().expose(), "x");
        assert_eq!(sample.label, Some(TextLine("a b".to_owned())));
    }

    #[test]
    fn all_problems_are_reported_with_what_is_allowed() {
        let (_, problems) = read(&[("COUNT", "-1"), ("PASSWORD", " "), ("DATE_FROM", "2024-02-30")]);
        assert_eq!(
            problems,
            "COUNT is -1, out of range: give 1 to 100\n\
             PASSWORD is set but empty: give the secret text, of one line, or unset it\n\
             DATE_FROM is 2024-02-30, not a date as YYYY-MM-DD: give a date as YYYY-MM-DD"
        );
        for (text, problem) in [
            ("0", "COUNT is 0, out of range: give 1 to 100"),
            ("1.5", "COUNT is 1.5, not a whole number: give 1 to 100"),
            ("many", "COUNT is not a whole number: give 1 to 100"),
            (
                "99999999999999999999",
                "COUNT is 99999999999999999999, out of range: give 1 to 100",
            ),
            ("-1_000", "COUNT is -1_000, out of range: give 1 to 100"),
            ("", "COUNT is set but empty: give 1 to 100, or unset it"),
        ] {
            assert_eq!(read(&[("COUNT", text)]).1, problem);
        }
    }

    #[test]
    fn values_that_might_be_secrets_are_not_repeated() {
        for secret in [
            "hunter2",
            "sig=abc",
            &"7".repeat(60),
            &format!("-{}", "7".repeat(60)),
        ] {
            let (_, problems) = read(&[("COUNT", secret)]);
            assert!(problems.starts_with("COUNT is "), "{problems}");
            assert!(!problems.contains(secret), "{problems}");
        }
    }

    #[test]
    fn the_address_of_a_kubernetes_service_is_recognized() {
        let (_, problems) = read(&[("SQL_PORT", "tcp://10.0.0.1:1433")]);
        assert!(
            problems.starts_with("SQL_PORT is the address that Kubernetes"),
            "{problems}"
        );
        assert!(
            problems.ends_with("enableServiceLinks to false): give 1 to 65535"),
            "{problems}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn text_that_is_not_utf8_is_reported_once() {
        use std::os::unix::ffi::OsStringExt;
        let pairs = [(OsString::from("COUNT"), OsString::from_vec(vec![b'1', 0xff]))];
        let mut problems = ConfigurationErrors::default();
        let environment = pairs.into_iter().collect::<Environment>();
        let sample: SampleSettings = environment.read(&mut problems);
        assert!(environment.is_set(&SampleSettings::COUNT) && problems.concern(&SampleSettings::COUNT));
        assert_eq!(sample.count, 5);
        assert_eq!(problems.to_string(), "COUNT is not valid UTF-8: give 1 to 100");
    }

    #[test]
    fn the_declaration_is_documented() {
        let variables = SampleSettings::VARIABLES;
        assert_eq!(variables.len(), 6);
        assert_eq!(
            SampleSettings::COUNT.meaning(),
            "Number of records, all together."
        );
        let defaults: Vec<_> = variables
            .iter()
            .map(|variable| variable.default.to_string())
            .collect();
        assert_eq!(defaults, ["5", "", "today", "1433", "2.5", ""]);
        assert_eq!(SampleSettings::MEAN.allowed(), "0 to 10000");
    }
}
