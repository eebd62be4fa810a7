//! Advice on misspelt names: a variable that is set, unknown to all generators, and very similar to one of ours.

use crate::catalog::GENERATORS;
use crate::{Environment, Variable};

/// A variable that is probably meant to be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misspelling {
    /// The name that is set.
    pub found: String,
    /// The name that is known.
    pub known: &'static str,
}

/// Returns the names in `environment` that no generator knows and that are probably misspelt names of `variables`.
pub fn misspellings<'a>(
    environment: &Environment,
    variables: impl Iterator<Item = &'a Variable> + Clone,
) -> Vec<Misspelling> {
    let is_known = |name: &str| {
        let mut known = GENERATORS.iter().flat_map(|generator| generator.variables());
        known.any(|variable| variable.name == name)
    };
    environment
        .names()
        .filter(|name| !is_known(name))
        .filter_map(|found| {
            let known = variables
                .clone()
                .find(|variable| is_similar(found, variable.name))?;
            Some(Misspelling {
                found: found.to_owned(),
                known: known.name,
            })
        })
        .collect()
}

/// Returns whether the names differ in case and underscores only, or by one mistyped, missing, additional or transposed
/// letter. Short names, which are similar to many words, must have the same first letter, too.
fn is_similar(found: &str, known: &str) -> bool {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_uppercase();
    let (found, known) = (plain(found), plain(known));
    let distance = strsim::osa_distance(&found, &known);
    distance == 0
        || (distance == 1
            && (known.len() > 6 || (known.len() > 4 && found.chars().next() == known.chars().next())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    #[test]
    fn misspelt_names_are_found_and_others_are_not() {
        let names = [
            "COUTN",
            "SHARDINDEX",
            "shard_count",
            "SQL_PASWORD",
            "COUNT",
            "SQL_PORT",
            "DATE",
            "LATE",
            "PATH",
            "HOME",
            "MOUNT",
            "SPEED",
        ];
        let environment = names.iter().map(|name| (*name, "x")).collect();
        let found = misspellings(&environment, catalog::GEN_ORDERS.variables());
        let found: Vec<_> = found.iter().map(|m| (m.found.as_str(), m.known)).collect();
        assert_eq!(
            found,
            [
                ("COUTN", "COUNT"),
                ("SHARDINDEX", "SHARD_INDEX"),
                ("SQL_PASWORD", "SQL_PASSWORD"),
                ("shard_count", "SHARD_COUNT"),
            ]
        );
    }

    #[test]
    fn no_setting_is_similar_to_another() {
        let names: Vec<_> = GENERATORS
            .iter()
            .flat_map(|generator| generator.variables())
            .map(|v| v.name)
            .collect();
        for a in &names {
            for b in names.iter().filter(|b| *b != a) {
                assert!(!is_similar(a, b), "{a} {b}");
            }
        }
    }
}
