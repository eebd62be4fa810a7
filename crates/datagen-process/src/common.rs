//! The settings that all generators read, validated.

use datagen_settings::catalog::{CommonSettings, LogFormat};
use datagen_settings::{ConfigurationErrors, Environment};

use crate::shard::Shard;
use crate::telemetry::check_filter;

/// The validated settings that all generators share.
#[derive(Clone, Debug)]
pub struct Common {
    /// This process's part of the work.
    pub shard: Shard,
    /// The form of the log.
    pub log_format: LogFormat,
    /// Which log lines are written, in the syntax of `EnvFilter`.
    pub log_filter: String,
    /// Whether the log may have colours on a terminal.
    pub colors: bool,
}

impl Common {
    /// Reads and validates the settings. What is wrong is reported to `problems`.
    pub fn read(environment: &Environment, problems: &mut ConfigurationErrors) -> Self {
        let settings: CommonSettings = environment.read(problems);
        let (index, count) = (settings.shard_index, settings.shard_count);
        let is_concerned = [CommonSettings::SHARD_INDEX, CommonSettings::SHARD_COUNT]
            .iter()
            .any(|variable| problems.concern(variable));
        if index >= count && !is_concerned {
            problems.report(
                &CommonSettings::SHARD_INDEX,
                format_args!("is {index}, but SHARD_COUNT is {count}: give 0 to {}", count - 1),
            );
        }
        let log_filter = settings.rust_log.0;
        if let Err(problem) = check_filter(&log_filter) {
            problems.report(
                &CommonSettings::RUST_LOG,
                format_args!("is not a log filter ({problem}): give error, warn, info, debug, trace or off"),
            );
        }
        Self {
            shard: Shard { index, count },
            log_format: settings.log_format,
            log_filter,
            colors: settings.no_color.is_none(),
        }
    }
}

/// Returns the configured form of the log, whatever else is wrong with the configuration.
pub(crate) fn log_format(environment: &Environment) -> LogFormat {
    let settings: CommonSettings = environment.read(&mut ConfigurationErrors::default());
    settings.log_format
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Common, String> {
        let mut problems = ConfigurationErrors::default();
        let common = Common::read(&pairs.iter().copied().collect(), &mut problems);
        match problems.is_empty() {
            true => Ok(common),
            false => Err(problems.to_string()),
        }
    }

    #[test]
    fn no_color_is_any_value_but_an_empty_one() {
        let colors = |pairs| read(pairs).unwrap().colors;
        assert!(colors(&[]));
        assert!(colors(&[("NO_COLOR", "")]));
        assert!(!colors(&[("NO_COLOR", "1")]));
        assert!(!colors(&[("NO_COLOR", "false")]));
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        let fault = read(&[("RUST_LOG", "debg")]).unwrap_err();
        assert!(
            fault.starts_with("RUST_LOG is not a log filter (")
                && fault.ends_with("give error, warn, info, debug, trace or off"),
            "{fault}"
        );
        assert!(!fault.contains("debg"), "{fault}");
    }
}
