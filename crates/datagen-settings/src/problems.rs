//! Everything that is wrong with a configuration.

use std::fmt;

use crate::Variable;

/// The problems of a configuration, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigurationErrors(Vec<ConfigurationError>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct ConfigurationError {
    variable: &'static str,
    text: String,
}

impl ConfigurationErrors {
    /// Reports a problem of `variable`. `problem` follows its name and says what is wrong and what is allowed.
    /// A problem that was reported before is not repeated.
    pub fn report(&mut self, variable: &Variable, problem: impl fmt::Display) {
        let problem = ConfigurationError {
            variable: variable.name,
            text: problem.to_string(),
        };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Returns whether a problem of `variable` has been reported.
    pub fn concern(&self, variable: &Variable) -> bool {
        self.0.iter().any(|problem| problem.variable == variable.name)
    }

    /// Returns whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of problems.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the lines, in the order of their report.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ConfigurationError::to_string)
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.text)
    }
}

impl fmt::Display for ConfigurationErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}
