//! Configuration by environment variables: typed, documented, and judged as a whole.
//!
//! Each part of the program declares its variables once, with the [`settings!`](crate::settings) macro: the
//! declaration is the struct that `envy` fills, the text of `--help`, and the list of names that are read.
//! A [`Setting`] never fails to deserialize: it remembers what was wrong, so that [`Problems`] can report
//! every fault of a configuration at once.
//!
//! - [`common`]: what all four generators read;
//! - [`lake`](crate::lake::config), and the `config` modules of the binaries: their own variables.

pub mod common;
mod host;
mod local_path;
mod setting;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

pub use host::is_host;
pub use local_path::local_path;
pub use setting::{FromSetting, Setting, Text};

/// A documented environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name, upper case.
    pub name: &'static str,
    /// What applies when it is unset, in words; empty where there is no default.
    pub default: &'static str,
    /// What it means, its unit and range.
    pub meaning: &'static str,
}

/// Declares a struct of [`Setting`]s and documents their environment variables.
///
/// The struct gets a field `name_in_lower_case: Setting<Type>` for each variable (`envy` matches them by
/// name), `VARIABLES` for `--help`, and `Deserialize`.
#[macro_export]
macro_rules! settings {
    (
        $(#[$attr:meta])*
        $vis:vis struct $name:ident {
            $( $field:ident: $type:ty = $variable:literal, default $default:expr, $meaning:literal; )+
        }
    ) => {
        $(#[$attr])*
        // The meanings are written for `--help`, where brackets would be in the way.
        #[allow(rustdoc::bare_urls)]
        #[derive(Debug, Default, $crate::serde::Deserialize)]
        #[serde(default, crate = "datagen_core::serde")]
        $vis struct $name {
            $( #[doc = $meaning] $vis $field: $crate::config::Setting<$type>, )+
        }

        impl $crate::config::Settings for $name {
            const VARIABLES: &'static [$crate::config::Variable] = &[
                $( $crate::config::Variable { name: $variable, default: $default, meaning: $meaning }, )+
            ];
        }
    };
}

/// A struct made by [`settings!`](crate::settings).
pub trait Settings: serde::de::DeserializeOwned + Default {
    /// The variables that it reads, in the order of `--help`.
    const VARIABLES: &'static [Variable];
}

/// The process's environment as it was at the start.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// The environment of this process. Names that are not UTF-8 are none of ours.
    pub fn of_process() -> Self {
        Self::from_iter(std::env::vars_os())
    }

    /// Reads the variables of `S`. What is wrong with one is told when it is asked for its value.
    pub fn read<S: Settings>(&self) -> S {
        let known = S::VARIABLES.iter().filter_map(|variable| {
            let value = self.variables.get(variable.name)?;
            let text = value.to_str().unwrap_or(setting::NOT_UTF8);
            Some((variable.name.to_owned(), text.to_owned()))
        });
        let known: Vec<_> = known.collect();
        envy::from_iter(known).unwrap_or_else(|error| {
            // A `Setting` takes any text, so this is a fault of the declaration, not of the user.
            unreachable!("settings read any text: {error}")
        })
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(pairs: I) -> Self {
        let variables = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        Self { variables }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        pairs
            .into_iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect()
    }
}

/// Values may be secrets: only the names are shown.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Reports that `variable` `fault`: what is wrong and what is allowed.
    pub fn report(&mut self, variable: &str, fault: impl fmt::Display) {
        let line = format!("{variable} {fault}");
        if !self.0.contains(&line) {
            self.0.push(line);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many problems there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The lines, in the order of their report.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    settings! {
        struct Sample {
            count: u64 = "COUNT", default "5", "How many.";
            password: crate::secret::Secret = "PASSWORD", default "", "The password.";
        }
    }

    #[test]
    fn every_fault_is_reported_and_no_value_is_lost() {
        let environment: Environment = [("COUNT", "-1"), ("PASSWORD", ""), ("OTHER", "x")]
            .into_iter()
            .collect();
        let mut problems = Problems::default();
        let sample: Sample = environment.read();
        assert_eq!(sample.count.within("COUNT", 0..=9, &mut problems), None);
        assert_eq!(sample.password.value("PASSWORD", &mut problems), None);
        let lines: Vec<_> = problems.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("COUNT is -1"), "{lines:?}");
        assert!(lines[1].starts_with("PASSWORD is set but empty"), "{lines:?}");
    }

    #[test]
    fn unset_is_not_a_problem() {
        let mut problems = Problems::default();
        let sample: Sample = Environment::default().read();
        assert_eq!(sample.count.within("COUNT", 0..=9, &mut problems), None);
        assert!(problems.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn text_that_is_not_utf8_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let pairs = [(OsString::from("COUNT"), OsString::from_vec(vec![b'1', 0xff]))];
        let mut problems = Problems::default();
        let sample: Sample = pairs.into_iter().collect::<Environment>().read();
        assert!(sample.count.is_set());
        assert_eq!(sample.count.within("COUNT", 0..=9, &mut problems), None);
        assert_eq!(problems.to_string(), "COUNT is not valid UTF-8: give 0 to 9");
    }
}
