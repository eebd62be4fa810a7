//! The variables that all four generators read.

use super::{Environment, FromSetting, Problems, Setting, Text};
use crate::settings;
use crate::shard::Shard;
use crate::telemetry::{LogFormat, check_filter};

settings! {
    /// What every generator reads.
    pub struct CommonSettings {
        seed: u64 = "SEED", default "0",
            "Which data: the same seed gives the same bytes. 0 to 18446744073709551615.";
        shard_index: u32 = "SHARD_INDEX", default "0",
            "This process's part of the work, from 0 to SHARD_COUNT - 1.";
        shard_count: u32 = "SHARD_COUNT", default "1",
            "How many processes share the work. 1 to 99999.";
        log_format: LogFormat = "LOG_FORMAT", default "text",
            "Form of the log on standard error: text or json.";
        rust_log: Text = "RUST_LOG", default "info",
            "Which log lines are written: error, warn, info, debug, trace, off, or directives such as info,gen_users=debug.";
        no_color: Text = "NO_COLOR", default "",
            "No colours on a terminal, if it is set to anything.";
    }
}

/// The highest SHARD_COUNT: file names give the shard five digits.
pub const MAX_SHARDS: u32 = 99_999;

/// What every generator is told.
#[derive(Clone, Debug)]
pub struct Common {
    /// Which data; `None` where it was left to the generator.
    pub seed: Option<u64>,
    /// Which part of the work.
    pub shard: Shard,
    /// The form of the log.
    pub log_format: LogFormat,
    /// Which log lines are written, as an `EnvFilter` reads it.
    pub log_filter: String,
    /// Whether a terminal may be shown colours.
    pub colors: bool,
}

impl Common {
    /// Reads and judges the variables.
    pub fn read(environment: &Environment, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let settings: CommonSettings = environment.read();
        let seed = settings.seed.value("SEED", problems);
        let count = settings
            .shard_count
            .within("SHARD_COUNT", 1..=MAX_SHARDS, problems)
            .unwrap_or(1);
        let index = settings
            .shard_index
            .within("SHARD_INDEX", 0..=MAX_SHARDS - 1, problems)
            .unwrap_or(0);
        if problems.len() == before && index >= count {
            problems.report(
                "SHARD_INDEX",
                format_args!("is {index}, but SHARD_COUNT is {count}: give 0 to {}", count - 1),
            );
        }
        let log_format = settings
            .log_format
            .value("LOG_FORMAT", problems)
            .unwrap_or_default();
        let log_filter = settings.rust_log.value("RUST_LOG", problems);
        let log_filter = log_filter.map_or_else(|| "info".to_owned(), |Text(filter)| filter);
        if let Err(fault) = check_filter(&log_filter) {
            problems.report(
                "RUST_LOG",
                format_args!("is not a log filter ({fault}): give error, warn, info, debug, trace or off"),
            );
        }
        (problems.len() == before).then_some(Self {
            seed,
            shard: Shard { index, count },
            log_format,
            log_filter,
            // Any value counts, and an empty one does not: <https://no-color.org>.
            colors: !matches!(settings.no_color, Setting::Value(_)),
        })
    }
}

impl LogFormat {
    /// The form that is asked for, whatever else is wrong with the configuration.
    pub(crate) fn of(environment: &Environment) -> Self {
        let settings: CommonSettings = environment.read();
        settings
            .log_format
            .value("LOG_FORMAT", &mut Problems::default())
            .unwrap_or_default()
    }
}

impl FromSetting for LogFormat {
    const EXPECTED: &'static str = "text or json";

    fn from_setting(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("is not a log format: give {}", Self::EXPECTED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Common, String> {
        let mut problems = Problems::default();
        let common = Common::read(&pairs.iter().copied().collect(), &mut problems);
        common.ok_or_else(|| problems.to_string())
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
