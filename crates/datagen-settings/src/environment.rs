//! The environment variables of a process, and the settings that are read from them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

use crate::{ConfigurationErrors, Variable};

/// A struct made with [`settings!`](crate::settings).
pub trait Settings: Sized {
    /// The variables that it reads, in the order of `--help`.
    const VARIABLES: &'static [Variable];

    /// Reads all fields. A value that is not allowed is reported to `problems`, and its field gets the default.
    fn read(environment: &Environment, problems: &mut ConfigurationErrors) -> Self;
}

/// The environment variables of a process.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Returns the environment of this process. Variables whose names are not UTF-8 are left out: no setting has such a
    /// name.
    pub fn of_process() -> Self {
        Self::from_iter(std::env::vars_os())
    }

    /// Reads a group of settings. A value that is not allowed is reported to `problems`, and its field gets the
    /// default, so that the other settings can still be checked.
    pub fn read<S: Settings>(&self, problems: &mut ConfigurationErrors) -> S {
        S::read(self, problems)
    }

    /// Returns whether `variable` is set, to whatever value.
    pub fn is_set(&self, variable: &Variable) -> bool {
        self.variables.contains_key(variable.name)
    }

    /// Returns the names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Returns the text of `variable`, if it is set. Text that is not UTF-8 is reported.
    fn text(&self, variable: &Variable, problems: &mut ConfigurationErrors) -> Option<&str> {
        let text = self.variables.get(variable.name).map(OsString::as_os_str)?;
        let utf8 = OsStr::to_str(text);
        if utf8.is_none() {
            problems.report(
                variable,
                format_args!("is not valid UTF-8: give {}", variable.allowed()),
            );
        }
        utf8
    }

    /// Returns the texts of `variables`, in a struct that has a field `Option<String>` for each.
    #[doc(hidden)]
    pub fn texts<T>(&self, variables: &[Variable], problems: &mut ConfigurationErrors) -> T
    where
        T: serde::de::DeserializeOwned,
    {
        let set: Vec<_> = variables
            .iter()
            .filter_map(|variable| {
                let text = self.text(variable, problems)?;
                Some((variable.name.to_owned(), text.to_owned()))
            })
            .collect();
        envy::from_iter(set)
            .unwrap_or_else(|error| unreachable!("every field accepts any text or none: {error}"))
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

/// Values may be secrets, so only the names are shown.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
