//! The log: one line per event on standard error, as text or as JSON, with limited levels for libraries that print
//! secrets.

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::{ChronoLocal, ChronoUtc};
use tracing_subscriber::layer::{Filter, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use datagen_settings::catalog::LogFormat;

use crate::progress::Bar;

/// Libraries that write URLs with their SAS, request headers or bodies at DEBUG and TRACE: their level is never below
/// INFO, whatever RUST_LOG says. Matched as prefixes of a log line's target.
const CAPPED_AT_INFO: &[&str] = &[
    "reqwest",
    "hyper",
    "h2",
    "rustls",
    "tiberius",
    "rdkafka",
    "librdkafka",
];

/// Azure's SDKs, which also log each response that is not a success at INFO, even expected ones. Their level is never
/// below WARN.
const CAPPED_AT_WARN: &[&str] = &["azure_", "typespec"];

/// A library that logs every error that it also returns and that the program reports: silent unless RUST_LOG names it.
const REPORTED_BY_US: &str = "tiberius";

/// Returns the most verbose level that a log line's target may have.
fn cap(target: &str, directives: &str) -> LevelFilter {
    let is_of = |libraries: &[&str]| libraries.iter().any(|library| target.starts_with(library));
    if target.starts_with(REPORTED_BY_US) && !directives.contains(REPORTED_BY_US) {
        LevelFilter::OFF
    } else if is_of(CAPPED_AT_WARN) {
        LevelFilter::WARN
    } else if is_of(CAPPED_AT_INFO) {
        LevelFilter::INFO
    } else {
        LevelFilter::TRACE
    }
}

/// Checks that [`init`] can use `directives`.
///
/// A word by itself must be a level. `EnvFilter` would take any other word for a target, so that a misspelt level
/// would hide the whole log.
///
/// # Errors
/// A description of what is wrong. The text itself is not repeated.
pub fn check_filter(directives: &str) -> Result<(), &'static str> {
    let is_word = |directive: &&str| !directive.contains(['=', '[']);
    let mut words = directives
        .split(',')
        .filter(|directive| !directive.is_empty())
        .filter(is_word);
    if !words.all(|word| word.trim().parse::<LevelFilter>().is_ok()) {
        return Err("it has a part that is neither a level nor TARGET=LEVEL");
    }
    match EnvFilter::builder().parse(directives) {
        Ok(_) => Ok(()),
        Err(_) => Err("it cannot be parsed"),
    }
}

/// Times on a terminal, where people read them: local time, in whole seconds.
const TIME_FOR_PEOPLE: &str = "%Y-%m-%d %H:%M:%S";
/// Times elsewhere: UTC, in microseconds.
const TIME_FOR_COLLECTORS: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// Returns a layer that writes events to `writer`. Only a log in text form can be `on_terminal`, and only then does it
/// have `colors`.
fn layer<W>(format: LogFormat, on_terminal: bool, colors: bool, writer: W) -> BoxedLayer
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_target(false);
    let for_collectors = ChronoUtc::new(TIME_FOR_COLLECTORS.to_owned());
    match format {
        LogFormat::Text if on_terminal => layer
            .with_timer(ChronoLocal::new(TIME_FOR_PEOPLE.to_owned()))
            .with_ansi(colors)
            .boxed(),
        LogFormat::Text => layer.with_timer(for_collectors).with_ansi(false).boxed(),
        LogFormat::Json => layer
            .with_timer(for_collectors)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
    }
}

/// A layer of any form.
type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging. `bar` is drawn below the log lines on a terminal, which shows them in `colors` if that is set.
///
/// Later calls in the same process change nothing, so that tests may run several generators.
pub fn init(format: LogFormat, directives: &str, colors: bool, bar: &Bar) {
    let layer = layer(format, bar.is_on_terminal(), colors, AroundBar(bar.clone()));
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(filter(directives)))
        .try_init();
}

/// Returns a filter for what `directives` select, as far as [`cap`] allows it.
fn filter(directives: &str) -> impl Filter<Registry> + use<> {
    let selected = EnvFilter::builder().parse_lossy(directives);
    let directives = directives.to_owned();
    // With the hint, events of a level that is never selected cost nothing: librdkafka's client logs several per message.
    let allowed = filter_fn(move |event| *event.level() <= cap(event.target(), &directives))
        .with_max_level_hint(LevelFilter::TRACE);
    selected.and(allowed)
}

/// Writes to standard error while the progress bar is removed.
struct AroundBar(Bar);

impl<'a> MakeWriter<'a> for AroundBar {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(&self.0)
    }
}

/// The writer of one event: `tracing_subscriber` writes each event with one call.
struct LineWriter<'a>(&'a Bar);

impl Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_print_secrets_are_kept_quiet_and_ours_are_not() {
        assert_eq!(cap("azure_storage::authorization", "trace"), LevelFilter::WARN);
        assert_eq!(cap("typespec_client_core::http", "trace"), LevelFilter::WARN);
        assert_eq!(cap("hyper_util::client", "trace"), LevelFilter::INFO);
        assert_eq!(cap("datagen_lake", "trace"), LevelFilter::TRACE);
        assert_eq!(cap("gen_users", "trace"), LevelFilter::TRACE);
    }

    #[test]
    fn events_of_a_level_that_is_never_selected_are_not_even_filtered() {
        for (directives, most_verbose) in [
            ("info", LevelFilter::INFO),
            ("warn,gen_users=debug", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ] {
            assert_eq!(
                filter(directives).max_level_hint(),
                Some(most_verbose),
                "{directives}"
            );
        }
    }

    #[test]
    fn a_word_of_a_filter_is_a_level() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,gen_users=debug",
            "gen_users=trace, warn",
            "[load]=debug",
        ] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in [
            "debg",
            "info,verbose",
            "gen_users",
            "gen_users=debg",
            "=",
            "[load",
        ] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }

    /// Returns what the log contains of one event.
    fn logged(format: LogFormat, on_terminal: bool, colors: bool) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = std::sync::Mutex::new(file.reopen().unwrap());
        let subscriber = tracing_subscriber::registry().with(layer(format, on_terminal, colors, writer));
        tracing::subscriber::with_default(subscriber, || tracing::warn!(records = 7, "done"));
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn a_terminal_has_colours_unless_they_are_unwanted() {
        assert!(logged(LogFormat::Text, true, true).contains('\u{1b}'));
        assert!(!logged(LogFormat::Text, true, false).contains('\u{1b}'));
        assert!(!logged(LogFormat::Text, false, true).contains('\u{1b}'));
        assert!(!logged(LogFormat::Json, false, true).contains('\u{1b}'));
    }

    #[test]
    fn times_have_microseconds_except_on_a_terminal() {
        let line = logged(LogFormat::Text, true, false);
        let (time, rest) = line.split_at("2026-01-01 00:00:00".len());
        let time = chrono::NaiveDateTime::parse_from_str(time, TIME_FOR_PEOPLE).unwrap();
        let age = chrono::Local::now().naive_local() - time;
        assert!(age.num_minutes().abs() < 5, "not local time: {line}");
        assert_eq!(rest, "  WARN done records=7\n");

        let line = logged(LogFormat::Json, false, false);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let time = line["timestamp"].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
        assert_eq!(time.len(), "2026-01-01T00:00:00.000000Z".len(), "{time}");
    }
}
