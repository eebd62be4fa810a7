//! The texts that are generated from the declaration.

use std::fmt::Write as _;

use serde::Serialize;

use crate::catalog::{GENERATORS, GeneratorSettings};
use crate::{DefaultValue, ValueKind, Variable};

/// The width of `--help`, in characters.
const HELP_WIDTH: usize = 100;

/// Returns the part of `--help` that lists the variables of `generator`.
pub fn help(generator: &GeneratorSettings) -> String {
    let mut text = String::new();
    for variable in generator.variables() {
        let _ = write!(text, "\n  {}", variable.name);
        match variable.default {
            DefaultValue::None => text.push('\n'),
            default => _ = writeln!(text, "  [default: {default}]"),
        }
        let range = variable.range_sentence().map(|range| format!(" {range}"));
        let meaning = variable.meaning() + range.as_deref().unwrap_or_default();
        for line in wrap(&meaning, HELP_WIDTH - 8) {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}

/// Returns the table of all variables, in Markdown. A variable has one row for all generators for which it is the same.
pub fn markdown() -> String {
    let mut rows: Vec<(Vec<&str>, &Variable)> = Vec::new();
    for generator in GENERATORS {
        for variable in generator.variables() {
            let same = rows
                .iter_mut()
                .find(|(_, other)| SettingRow::new(other) == SettingRow::new(variable));
            match same {
                Some((generators, _)) => generators.push(generator.name),
                None => rows.push((vec![generator.name], variable)),
            }
        }
    }
    let mut text =
        "| variable | read by | meaning | allowed values | default |\n|---|---|---|---|---|\n".to_owned();
    for (generators, variable) in rows {
        let generators = match generators.len() == GENERATORS.len() {
            true => "all".to_owned(),
            false => generators.join(", "),
        };
        let (allowed, default) = (cell(&variable.allowed()), cell(&variable.default.to_string()));
        let meaning = cell(&variable.meaning());
        let _ = writeln!(
            text,
            "| `{}` | {generators} | {meaning} | {allowed} | {default} |",
            variable.name
        );
    }
    text
}

/// Returns `text` as a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('[', "\\[").replace('<', "&lt;")
}

/// A variable of one generator, in the machine-readable form.
#[derive(Debug, PartialEq, Serialize)]
pub struct SettingRow {
    /// The name of the variable.
    pub name: &'static str,
    /// `integer`, `number`, `boolean`, `date`, `timestamp`, `address`, `text`, `secret`, `flag` or `choice`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The words of a choice.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub choices: &'static [&'static str],
    /// The lowest value, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// The highest value, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// The value that applies when the variable is not set, if it is always the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What applies when the variable is not set, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<&'static str>,
    /// What the variable means.
    pub meaning: String,
}

impl SettingRow {
    /// Describes `variable`.
    pub fn new(variable: &Variable) -> Self {
        let [min, max] = match variable.range {
            Some(range) => range().map(Some),
            None => [None, None],
        };
        let (default, otherwise) = match variable.default {
            DefaultValue::None => (None, None),
            DefaultValue::Value(text) => (Some(text()), None),
            DefaultValue::Words(words) => (None, Some(words)),
        };
        Self {
            name: variable.name,
            kind: variable.kind.name(),
            choices: match variable.kind {
                ValueKind::Choice(words) => words,
                _ => &[],
            },
            min,
            max,
            default,
            otherwise,
            meaning: variable.meaning(),
        }
    }
}

impl Variable {
    /// Returns the allowed values as a separate sentence, if the meaning does not state them.
    fn range_sentence(&self) -> Option<String> {
        let is_limited = self.range.is_some()
            || matches!(
                self.kind,
                ValueKind::Choice(_) | ValueKind::Boolean | ValueKind::Date
            );
        is_limited.then(|| {
            let allowed = self.allowed();
            format!("{}{}.", allowed[..1].to_uppercase(), &allowed[1..])
        })
    }
}

/// Breaks `text` into lines of at most `width` characters, at spaces.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is always a line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    #[test]
    fn help_lists_every_variable_in_short_lines() {
        for generator in GENERATORS {
            let help = help(generator);
            for variable in generator.variables() {
                assert!(
                    help.contains(&format!("\n  {}", variable.name)),
                    "{}",
                    variable.name
                );
            }
            let longest = help.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(HELP_WIDTH), "{longest:?}");
        }
        let help = help(&catalog::GEN_ORDERS);
        assert!(
            help.contains("\n  SQL_PORT  [default: 1433]\n      TCP port of SQL_SERVER. 1 to 65535.\n"),
            "{help}"
        );
    }

    #[test]
    fn the_table_has_one_row_per_different_variable() {
        let table = markdown();
        let rows = |name: &str| {
            table
                .lines()
                .filter(|line| line.starts_with(&format!("| `{name}` ")))
                .count()
        };
        assert_eq!(rows("COUNT"), 3);
        assert_eq!(rows("LAKE_URL"), 1);
        assert_eq!(rows("SEED"), 2);
        assert!(table.contains("| `SHARD_COUNT` | all | "), "{table}");
    }
}
